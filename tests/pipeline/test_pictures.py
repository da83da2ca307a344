"""What the report shows of single samples is what the networks saw, and what they rested on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gafcnn.app.factory import load_markets, load_spec, load_window
from gafcnn.models.explanations.explain import explain
from omegaconf import OmegaConf

from gafcnn import load_run
from gafcnn.data.windows import WindowReader
from gafcnn.models.module import GafModule

Typed = Callable[..., str]

EXPLAINED = "of the attribution lies"


@pytest.fixture(scope="module")
def folder(judged_study: Path) -> Path:
    return judged_study / "outputs" / "tiny"


def test_the_surest_forecasts_of_each_window_are_shown_and_explained(folder: Path) -> None:
    page = (folder / "evaluation" / "report.html").read_text()
    assert page.count("<h2>What the network looked at</h2>") == 1
    assert page.count(EXPLAINED) == 2 * 6  # as the picture's words and as its region's
    names = [f"sample_{2 * k + j}_{name}" for k, name in enumerate(("15m", "30m", "60m"))
             for j in (1, 2)]  # fmt: skip
    checksums = json.loads((folder / "evaluation" / "metrics.json").read_text())["checksums"]
    for name in names:
        assert f"figures/{name}.png" in checksums
    table = pd.read_parquet(folder / "evaluation" / "predictions.parquet")
    test = table[(table["window"] == "30m") & (table["split"] == "test")]
    right = test[(test["p_up"] > 0.5) == (test["forward_return"] > 0)]
    surest = right.loc[(right["p_up"] - 0.5).abs().idxmax()]
    told = f"30m, t = {surest['time']:%Y-%m-%d %H:%M} UTC: P(up) {surest['p_up']:.1%}, then "
    assert f'alt="{told}{surest["forward_return"]:+.2%}, right; ' in page


def test_what_is_explained_is_the_forecast_that_was_made(
    folder: Path, judged_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(judged_study)
    run = load_run(folder / "15m")
    config, network = OmegaConf.create(run.config), run.model()
    assert isinstance(network, GafModule)
    [market] = load_markets(config)
    rows = run.predictions.query("split == 'test'").iloc[::50]
    images = load_spec(config)
    read = WindowReader(market.bars, load_window(config, market), images.fields)
    series = read(market.bars.index.get_indexer(pd.DatetimeIndex(rows["time"])))
    found = explain(network, series, images)
    p = rows["p_up"].to_numpy()
    np.testing.assert_array_equal(found.classes, p > 0.5)
    np.testing.assert_allclose(found.log_odds, np.abs(np.log(p / (1 - p))), atol=1e-4)


def test_of_several_symbols_the_first_is_explained(study_of_two: Path) -> None:
    symbols = study_of_two / "outputs" / "pool" / "evaluation" / "symbols"
    pages = {name: (symbols / name / "report.html").read_text() for name in ("AAA", "BBB")}
    assert pages["AAA"].count(EXPLAINED) == 2 * 2
    assert EXPLAINED not in pages["BBB"]
    assert pages["BBB"].count("15m, t = ") == 2 * 2


@pytest.mark.slow
def test_a_study_without_its_networks_is_shown_and_not_explained(
    folder: Path, tmp_path: Path, typed: Typed
) -> None:
    """Predictions are what is judged; a copy may have left the checkpoints behind."""
    study = shutil.copytree(folder, tmp_path / "outputs" / "copy")
    (study / "30m" / "checkpoints" / "best.ckpt").unlink()
    told = " ".join(typed("evaluate", "study=copy", "judging.resamples=0").split())
    assert "30m/checkpoints/best.ckpt is missing: what 30m looked at is not shown" in told
    page = (study / "evaluation" / "report.html").read_text()
    assert page.count(EXPLAINED) == 2 * 4
    assert page.count("30m, t = ") == 2 * 2
