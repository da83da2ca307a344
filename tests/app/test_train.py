"""Training by commands: complete runs, the same numbers as the API, skipping and resuming."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import gafcnn as gc
from gafcnn.app.runs import damaged_files, recorded
from gafcnn.app.train import score_part
from gafcnn.errors import BarsError, LearningError

Run = Callable[..., str]
Words = tuple[str, ...]


def folder_of(study: Path, name: str) -> Path:
    return study / "outputs" / "tiny" / name / "seed=0"


def test_each_window_leaves_a_complete_run(study: Path) -> None:
    for window in ("15m", "30m"):
        run = gc.load_run(folder_of(study, window))
        assert damaged_files(run.folder) == []
        assert run.settings.window.name == window
        assert run.metrics["epochs"] == 2
        assert run.metrics["embargo"] == "1h"
        assert run.metrics["samples_per_second"] > 0
        assert set(run.metrics["val"]) == {"labelled", "all"}
        assert run.metrics["val"]["labelled"]["majority"] >= 0.5
        assert "test" not in run.metrics
        assert list(run.folder.glob("csv/**/metrics.csv"))
    assert not (study / "outputs" / "multirun.yaml").read_text().count("_target_: gafcnn")


def test_the_score_of_a_ranking_is_its_mean_rank_correlation() -> None:
    rows = {"time": pd.to_datetime(["2025-01-01"] * 3 + ["2025-01-02"] * 3, utc=True)}
    rows |= {"split": "val", "score": [1, 2, 3, 1, 2, 3], "label": 0.0}
    table = pd.DataFrame(rows | {"forward_return": [0.1, 0.2, 0.3, 0.3, 0.1, 0.2]})
    assert score_part(table, "val") == {"labelled": {"rank_ic": pytest.approx(0.25), "n": 2}}
    same = score_part(table.assign(score=0.0), "val")
    assert same == {"labelled": {"rank_ic": None, "n": 0}}


def test_what_is_printed_has_the_shares_of_the_classes_and_the_embargo(study: Path) -> None:
    printed = (study / "train.txt").read_text()
    assert "SIMULATED: 4,320 bars from 2024-01-01 00:01" in printed
    assert "embargo 1h" in printed
    for pattern in (
        r"training 15m on 2,692 labelled samples of SIMULATED \(50\.0 % \w+\)",
        r"15m: 2 epochs, .*accuracy 0\.\d+ \(always the largest class: 0\.\d+\)",
    ):
        assert re.search(pattern, printed)


def test_the_api_and_loaded_models_give_the_numbers_of_the_command(
    study: Path, bars: pd.DataFrame
) -> None:
    samples = gc.make_samples({"SIMULATED": bars})
    network, spec = {"kind": "small_cnn", "width": 4}, gc.ImageSpec(size=16)
    options: Any = {"network": network, "max_epochs": 2, "accelerator": "cpu"}
    model = gc.GafClassifier("30m", image_spec=spec, **options)
    run = gc.load_run(folder_of(study, "30m"))
    pd.testing.assert_frame_equal(model.fit(samples).predict(samples), run.predictions)
    trees = gc.BoostedTrees().fit(samples).predict(samples)
    pd.testing.assert_frame_equal(trees, gc.load_run(folder_of(study, "xgboost")).predictions)
    for name in ("30m", "xgboost"):
        run = gc.load_run(folder_of(study, name))
        rows = bars.index.get_indexer(pd.DatetimeIndex(run.predictions["time"]))
        p = run.model().predict_at(bars, rows)
        np.testing.assert_allclose(p, run.predictions["p_up"], atol=1e-5)


def test_windows_share_times_horizon_and_labels(study: Path) -> None:
    """The actual horizons of an earlier system were 29 and 44 minutes instead of 15."""
    frames = [gc.load_run(folder_of(study, name)).predictions for name in ("15m", "30m")]
    shared = ["symbol", "time", "split", "label", "forward_return", "known_at"]
    pd.testing.assert_frame_equal(frames[0][shared], frames[1][shared])
    rows = frames[0]
    assert set(rows["known_at"] - rows["time"]) == {pd.Timedelta("15min")}
    assert 0.1 < rows["label"].isna().mean() < 0.3  # neutral rows are predicted
    val, test = (rows[rows["split"] == part] for part in ("val", "test"))
    assert val["known_at"].max() + pd.Timedelta("1h") <= test["time"].min()


def test_the_same_command_skips_and_another_is_refused(
    study: Path, tiny: Words, run_in: Run
) -> None:
    folder = folder_of(study, "15m")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert "is complete: nothing to do" in run_in(study, "train", "window=15m", *tiny)
    with pytest.raises(SystemExit) as ended:
        run_in(study, "train", "window=15m", *tiny, "model.lr=0.1")
    for fact in ("model.lr: 0.001 -> 0.1", "study=...", "overwrite=true"):
        assert fact in str(ended.value.code)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before
    assert recorded(study / "outputs" / "tiny", "train") == 3


def test_a_complete_training_without_metrics_is_predicted_again(
    study: Path, tmp_path: Path, typed: Run, tiny: Words
) -> None:
    shutil.copytree(study / "outputs", tmp_path / "outputs")
    folder = folder_of(tmp_path, "15m")
    (folder / "metrics.json").unlink()
    predictions = (folder / "predictions.parquet").read_bytes()
    assert "resuming" in typed("train", "window=15m", *tiny)
    assert (folder / "predictions.parquet").read_bytes() == predictions
    assert gc.load_run(folder).metrics["epochs"] == 2


@pytest.mark.parametrize(
    "words",
    [
        ["window=60m", "market.days=0.02"],
        ["window.lookback=6h", "market.days=0.1"],
        ["market=file", "market.path=bars.parquet"],
        ["images.fields=[body_to_mean_body]", "window=60m"],
        ["monitor=val/nothing"],
    ],
)
def test_wrong_input_changes_nothing(
    refused: Run, tmp_path: Path, tiny: Words, words: list[str]
) -> None:
    folder = tmp_path / "outputs" / "x" / "15m" / "seed=0"
    for name in ("config.yaml", "metrics.json", "checkpoints/last.ckpt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (tmp_path / "bars.parquet").write_bytes(b"PAR1 and no more")
    assert refused("train", *tiny, "study=x", "overwrite=true", *words)
    for name in ("config.yaml", "metrics.json", "checkpoints/last.ckpt"):
        assert (folder / name).read_text() == "{}"
    assert not list(tmp_path.rglob("*.npy"))


def test_cheap_checks_come_before_pretrained_weights(
    refused: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # a port where nothing listens
    message = refused("train", "market=simulated", "market.interval=15min", "window=30m")
    assert "window 30m has 2 points over bars of 15min" in message
    assert "64x15m" in message
    assert not (tmp_path / "torch").exists()


def test_bars_without_volume_have_no_field_volume(refused: Run, typed: Run, tmp_path: Path) -> None:
    bars, _ = gc.simulate(200)
    bars.drop(columns="volume").to_csv(tmp_path / "bars.csv")
    words = ["prepare", "market=file", "market.path=bars.csv", "images.size=8"]
    assert "volume" in refused(*words, "images.fields=[close,volume]")
    printed = typed(*words, "images.fields=[close,body]")
    assert "no gap, no volume" in printed
    assert [path.parent.name for path in tmp_path.glob("data/gaf/*/images.npy")] == ["bars_15m"]
    assert not (tmp_path / "outputs").exists()


def test_a_study_of_a_file_with_a_comma_and_few_bars(typed: Run, tmp_path: Path) -> None:
    bars, _ = gc.simulate(1440)
    thin = bars.drop(bars.index[[100, 700, 701]]).rename(columns={"close": "Last Price"})
    thin.to_csv(tmp_path / "BINANCE_BTCUSDT, 60.csv")
    words = ["market=file", "market.path=BINANCE_BTCUSDT, 60.csv", "model=xgboost"]
    words += ["model.rounds=5", "study=comma", "market.columns.close=Last Price"]
    assert "market.fill=quiet would fill 3 of them" in typed("train", *words)
    filled = typed("train", *words, "market.fill=quiet", "overwrite=true")
    assert "no gap" in filled
    assert "would fill" not in filled
    assert "complete" in typed("train", *words, "market.fill=quiet")
    with chdir(tmp_path):
        study = gc.load_study("outputs/comma")
        [(symbol, known)] = study.bars.items()
        decision = study.decide(known)  # fewer bars than the indicators need to settle
        assert (symbol, len(known), decision.time) == ("BINANCE_BTCUSDT", 1440, bars.index[-1])
        assert 0 < decision.models["xgboost"].p_up < 1
        with pytest.raises(BarsError):
            study.decide(known.iloc[1:])


def test_a_training_that_cannot_begin_leaves_no_run(refused: Run, tmp_path: Path) -> None:
    words = ["market=simulated", "market.days=1", "label.neutral=0.99", "model.rounds=5"]
    message = refused("train", *words, "model=xgboost", "study=none")
    assert "val has samples of" in message
    assert "the embargo is 1h" in message
    assert not [*tmp_path.rglob("config.yaml")]
    assert not (tmp_path / "outputs").exists()


def test_one_network_learns_from_several_symbols(pool: Path) -> None:
    stores = sorted(path.name for path in (pool / "data" / "gaf").iterdir() if path.is_dir())
    assert stores == ["AAA_15m", "BBB_15m"]
    run = gc.load_run(pool / "outputs" / "pool" / "15m")
    assert list(run.config["bars"]) == ["AAA", "BBB"]
    assert set(run.metrics["symbols"]) == {"AAA", "BBB"}
    parts = run.metrics["symbols"]
    for part in ("train", "val", "test"):
        total = sum(parts[symbol]["samples"][part]["all"] for symbol in parts)
        assert total == run.metrics["samples"][part]["all"]
    for part in ("val", "test"):
        rows = run.predictions[run.predictions["split"] == part]
        times = [rows.loc[rows["symbol"] == name, "time"].tolist() for name in ("AAA", "BBB")]
        assert times[0] == times[1]


def test_stride_thins_training_only_and_says_so(typed: Run, tmp_path: Path) -> None:
    words = ["model=xgboost", "market=simulated", "market.days=2", "model.rounds=5"]
    assert "thins training only" in typed("train", *words, "split.stride=4", "study=thin")
    typed("train", *words, "study=all")
    outputs = tmp_path / "outputs"
    thin, every = (gc.load_run(outputs / name).metrics["samples"] for name in ("thin", "all"))
    assert thin["train"]["all"] == -(-every["train"]["all"] // 4)
    assert thin["val"]["all"] == every["val"]["all"]


class Touch:
    """What would write a file if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_checkpoint_runs_no_code(
    study: Path, tmp_path: Path, refused: Run, tiny: Words, name: str
) -> None:
    shutil.copytree(study / "outputs", tmp_path / "outputs")
    folder = folder_of(tmp_path, "15m")
    path = folder / "checkpoints" / f"{name}.ckpt"
    (folder / "metrics.json").unlink()
    for other in (folder / "checkpoints").iterdir():
        other.write_bytes(pickle.dumps(Touch()))
    torch.save(Touch(), path)
    with pytest.raises(LearningError):
        gc.GafClassifier.load(path)
    with suppress(pytest.fail.Exception):  # refused, or trained from the start
        refused("train", "window=15m", *tiny)
    assert not list(tmp_path.rglob("ran"))
    assert not Path("ran").exists()


@pytest.mark.slow
def test_the_seeds_network_trains_the_same_way(tmp_path: Path, typed: Run) -> None:
    words = ["market=simulated", "market.days=1", "model.weights=null", "trainer.max_epochs=1"]
    typed("train", *words, "trainer.accelerator=cpu", "study=resnet")
    model = gc.load_run(tmp_path / "outputs" / "resnet").model()
    assert isinstance(model, gc.GafClassifier)
    assert sum(p.numel() for p in model.module_.network.parameters()) == 11_239_425


@pytest.mark.slow
def test_folds_and_seeds_are_runs_of_their_own(tmp_path: Path, typed: Run, tiny: Words) -> None:
    words = ["window=15m", *tiny, "study=folds", "trainer.max_epochs=1", "model.batch_size=64"]
    walk = ["split=walk_forward", "split.folds=2", "split.fold=0,1", "seed=0,1"]
    typed("train", "-m", *words, *walk)
    folder = tmp_path / "outputs" / "folds"
    runs = [path.parent.relative_to(folder / "15m") for path in folder.rglob("config.yaml")]
    assert {str(run) for run in runs} == {
        "seed=0/fold=0", "seed=0/fold=1", "seed=1/fold=0", "seed=1/fold=1",
    }  # fmt: skip
    typed("evaluate", "study=folds", "judging.resamples=0")
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert metrics["seeds"]["15m"]["seeds"] == [0, 1]
    low, high = metrics["seeds"]["15m"]["figures"]["auc"]
    assert low <= metrics["seeds"]["15m"]["means"]["auc"] <= high
    assert [(row["model"], row["fold"]) for row in metrics["folds"]][:2] == [("15m", 0), ("15m", 1)]
    assert gc.load_study(folder).folds == [0, 1]
