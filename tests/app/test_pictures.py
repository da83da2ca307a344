"""The report shows samples as the networks saw them, with explanations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from gc import collect
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gafcnn as gc
from gafcnn.app import evaluate as command
from gafcnn.app.evaluate import channel_names, sample_pictures
from gafcnn.evaluation.judge import Judgement
from gafcnn.report.sample_pictures import sample_image


@pytest.fixture
def judged(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[gc.Study, Judgement]:
    shutil.copytree(study, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    loaded = gc.load_study("outputs/tiny")
    return loaded, loaded.judge(resamples=0, count_look=False)


def test_the_most_certain_rows_are_shown(
    judged: tuple[gc.Study, Judgement], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(
        command, "sample_image", lambda *shown: drawn.append(shown) or sample_image(*shown)
    )
    study, judgement = judged
    samples = sample_pictures(study, judgement)
    found = [(shown.name, shown.title.split(",")[0], "correct" in shown.title) for shown in samples]
    each = enumerate(product(("15m", "30m"), (True, False)), start=1)
    assert found == [(f"sample_{k}_{name}", name, correct) for k, (name, correct) in each]
    table = judgement.predictions
    test = table[(table["window"] == "30m") & (table["split"] == "test")]
    right = test[(test["p_up"] > 0.5) == (test["forward_return"] > 0)]
    row = right.loc[(right["p_up"] - 0.5).abs().idxmax()]
    series, channels, title, attributions, upright = drawn[2]
    assert upright == []
    assert series.index[-1] == row["time"]
    assert f"t = {row['time']:%Y-%m-%d %H:%M} UTC: P(up) {row['p_up']:.1%}" in title
    bars = study.bars["SIMULATED"]
    at = bars.index.get_loc(row["time"])
    np.testing.assert_array_equal(series, bars["close"].iloc[at - 29 : at + 1])
    assert [image.shape for image in channels.values()] == [(16, 16), (16, 16)]
    assert attributions.folded.shape == (30,)
    assert samples[2].title == f"{title}; {attributions.describe(series.index)}"


def test_without_its_checkpoint_a_window_is_shown_without_explanation(
    judged: tuple[gc.Study, Judgement], caplog: pytest.LogCaptureFixture
) -> None:
    study, judgement = judged
    study.runs["30m"][0].checkpoint.unlink()
    samples = sample_pictures(study, judgement)
    assert ["attribution" in s.title for s in samples] == [True, True, False, False]
    assert "best.ckpt is missing" in caplog.text


def test_the_pictures_belong_to_the_evaluation(study: Path) -> None:
    metrics = json.loads((study / "outputs/tiny/evaluation/metrics.json").read_text())
    assert sum("figures/sample_" in name for name in metrics["checksums"]) == 4


def test_channels_of_another_field_than_the_first_name_it() -> None:
    spec = gc.ImageSpec(fields=("close", "body"), kinds=("gasf",))
    assert channel_names(spec) == ["GASF", "GASF of body"]
    spec = gc.ImageSpec(kinds=("ohlc",), assets=("BTCUSDT",))
    assert channel_names(spec) == ["Bars", "Bars of BTCUSDT:bars"]


@pytest.mark.slow
def test_memory_files_and_threads_do_not_grow(
    tmp_path: Path, run_in: Callable[..., str], tiny: tuple[str, ...]
) -> None:
    """Study after study in one process."""
    held = []
    for number in range(12):
        words = ["window=15m", *tiny, f"study=soak{number}", f"market.seed={number}"]
        run_in(tmp_path, "train", *words)
        run_in(tmp_path, "evaluate", f"study=soak{number}", "judging.resamples=100")
        collect()  # the tests collect rarely, and what waits for it is no leak
        status = Path("/proc/self/status").read_text()
        files = len(list(Path("/proc/self/fd").iterdir()))
        held.append((int(status.split("RssAnon:")[1].split()[0]) / 1024, files))
    memory, files = pd.DataFrame(held[4:]).T.to_numpy()  # by then, all is imported and compiled
    assert np.polyfit(np.arange(len(memory)), memory, 1)[0] < 5
    assert files.max() - files.min() <= 1
