"""The whole job on a tiny simulated market, by the commands that a user types."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from gafcnn.app.leakage_future import images_at

from gafcnn import load_run
from gafcnn.data.simulated import simulate
from gafcnn.data.sources import Market

Command = Callable[..., subprocess.CompletedProcess[str]]
Words = tuple[str, ...]


def test_each_window_leaves_a_whole_run(judged_study: Path) -> None:
    for window in ("15m", "30m", "60m"):
        folder = judged_study / "outputs" / "tiny" / window
        run = load_run(folder)
        assert run.config["window"]["name"] == window
        assert run.metrics["epochs"] == 2
        assert run.metrics["steps"] == 2 * (run.metrics["samples"]["train"]["labelled"] // 256)
        assert run.metrics["samples_per_second"] > 0
        assert 0 < run.metrics["data_wait_share"] < 1
        assert set(run.metrics["val"]) == {"labelled", "all"}
        assert "test" not in run.metrics
        assert (folder / "checkpoints" / "last.ckpt").is_file()
        assert list(folder.glob("csv/**/metrics.csv"))
        assert list(folder.glob("tensorboard/**/events.out.tfevents.*"))


def test_a_loaded_model_makes_the_predictions_that_were_written(judged_study: Path) -> None:
    run = load_run(judged_study / "outputs" / "tiny" / "30m")
    store = judged_study / "data" / "gaf" / "SIMULATED_30m"
    images = np.load(store / "images.npy", mmap_mode="r", allow_pickle=False)
    times = np.load(store / "times.npy", allow_pickle=False)
    rows = run.predictions
    at = np.searchsorted(times, rows["time"].dt.tz_localize(None).to_numpy())
    with torch.no_grad():
        again = run.model()(torch.from_numpy(images[at]).float() / 127).sigmoid()
    np.testing.assert_allclose(again.numpy(), rows["p_up"], atol=1e-6)


def test_the_windows_share_times_horizon_and_labels(judged_study: Path) -> None:
    """The real horizons of an earlier system were 29, 44 and 74 minutes for 15."""
    frames = [
        load_run(judged_study / "outputs" / "tiny" / window).predictions
        for window in ("15m", "30m", "60m")
    ]
    shared = ["symbol", "time", "split", "label", "forward_return", "known_at"]
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame[shared], frames[0][shared])
    assert set(frames[0]["known_at"] - frames[0]["time"]) == {pd.Timedelta("15min")}


def test_neutral_samples_are_predicted_and_nothing_was_trained_past_its_knowledge(
    judged_study: Path,
) -> None:
    rows = load_run(judged_study / "outputs" / "tiny" / "15m").predictions
    assert 0.1 < rows["label"].isna().mean() < 0.3
    val, test = (rows[rows["split"] == part] for part in ("val", "test"))
    assert val["known_at"].max() < test["time"].min()


def test_the_same_command_skips_and_another_is_refused(
    judged_study: Path, command: Command, tiny: Words
) -> None:
    folder = judged_study / "outputs" / "tiny" / "15m"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = command(judged_study, "train.py", "window=15m", *tiny)
    assert again.returncode == 0
    assert "is complete: nothing to do" in again.stdout

    other = command(judged_study, "train.py", "window=15m", *tiny, "model.lr=0.1")
    assert other.returncode == 1
    assert other.stdout.count("\n") <= 2  # the device, the bars
    assert "model.lr: 0.001 -> 0.1" in other.stderr
    assert "study=..." in other.stderr
    assert "overwrite=true" in other.stderr
    assert "Traceback" not in other.stderr
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before


def test_a_training_that_goes_on_knows_its_best_epoch(
    judged_study: Path, tmp_path: Path, command: Command, tiny: Words
) -> None:
    shutil.copytree(judged_study, tmp_path, dirs_exist_ok=True)
    (tmp_path / "outputs" / "tiny" / "15m" / "metrics.json").unlink()
    again = command(tmp_path, "train.py", "window=15m", *tiny)
    assert again.returncode == 0
    assert "going on with 15m" in again.stdout
    assert again.stderr == ""  # Lightning warns where it starts to look for the best one anew


@pytest.mark.slow
def test_the_same_command_gives_the_same_numbers(
    judged_study: Path, tmp_path: Path, command: Command, tiny: Words
) -> None:
    done = command(tmp_path, "train.py", "window=60m", *tiny)
    assert done.returncode == 0, done.stderr
    first = load_run(judged_study / "outputs" / "tiny" / "60m").predictions
    second = load_run(tmp_path / "outputs" / "tiny" / "60m").predictions
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.slow
def test_jobs_of_a_sweep_over_anything_have_folders_of_their_own(
    tmp_path: Path, command: Command, tiny: Words
) -> None:
    words = ["window=15m", *tiny, "study=swept", "model.lr=0.01,0.001", "trainer.max_epochs=1"]
    swept = command(tmp_path, "train.py", "-m", *words)
    assert swept.returncode == 0, swept.stderr
    found = sorted(path.name for path in (tmp_path / "outputs" / "swept" / "15m").iterdir())
    assert found == ["model.lr=0.001", "model.lr=0.01"]


@pytest.mark.slow
def test_seeds_are_averaged_folds_are_pooled_and_other_runs_are_not_mixed_in(
    tmp_path: Path, command: Command, tiny: Words
) -> None:
    short = ["window=15m", *tiny, "study=folds", "trainer.max_epochs=1", "split.stride=4"]
    walk = ["split=walk_forward", "split.folds=2", "split.fold=0,1", "model.batch_size=64"]
    swept = command(tmp_path, "train.py", *short, *walk, "seed=0,1", "-m")
    assert swept.returncode == 0, swept.stderr
    folder = tmp_path / "outputs" / "folds"
    assert (folder / "15m" / "seed=1" / "fold=1" / "metrics.json").is_file()

    judged = command(tmp_path, "evaluate.py", "study=folds", "judging.resamples=100")
    assert judged.returncode == 0, judged.stderr
    assert "has no baseline of fold 1: training" in judged.stdout
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    told = [(row["model"], row["fold"]) for row in metrics["folds"]]
    assert told[:2] == [("15m", 0), ("15m", 1)]
    assert ("two_stage", 1) in told
    pooled = metrics["models"]["15m"]["accuracy"]
    assert pooled["n"] == sum(row["n"] for row in metrics["folds"] if row["model"] == "15m")
    table = pd.read_parquet(folder / "evaluation" / "predictions.parquet")
    test = table[(table["window"] == "15m") & (table["split"] == "test")]
    assert set(test["fold"]) == {0, 1}
    assert not test["time"].duplicated().any()
    first = [
        load_run(folder / "15m" / name).predictions.set_index("time")["p_up"]
        for name in ("fold=1", "seed=1/fold=1")
    ]
    one = test[test["fold"] == 1].set_index("time")["p_up"]
    np.testing.assert_allclose(one, (first[0] + first[1]).div(2).reindex(one.index))

    command(tmp_path, "train.py", *short)
    refused = command(tmp_path, "evaluate.py", "study=folds")
    assert refused.returncode == 1
    assert "differ in" in refused.stderr


@pytest.mark.slow
def test_prepare_makes_bars_and_stores_and_nothing_else(
    tmp_path: Path, command: Command, tiny: Words
) -> None:
    done = command(tmp_path, "prepare.py", "-m", "window=15m,30m", *tiny)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "data" / "gaf").iterdir() if path.is_dir()) == [
        "SIMULATED_15m",
        "SIMULATED_30m",
    ]
    assert not list(tmp_path.glob("outputs/**/*.*"))


@pytest.mark.slow
def test_a_study_with_a_window_missing_is_named(judged_study: Path, command: Command) -> None:
    judged = command(judged_study, "evaluate.py", "study=tiny", "windows=[15m,45m]")
    assert judged.returncode == 1
    assert "study tiny has no run for window 45m, only for 15m, 30m, 60m;" in judged.stderr
    assert "Traceback" not in judged.stderr


@pytest.mark.slow
def test_resnet18_goes_the_same_way(
    tmp_path: Path, command: Command, tiny: Words, last_bit: float
) -> None:
    words = [*tiny, "model=resnet18", "model.weights=null", "study=resnet"]
    words = [word for word in words if word not in ("model.network.width=4", "images.size=16")]
    done = command(tmp_path, "train.py", "window=15m", *words, "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "outputs" / "resnet" / "15m")
    model = run.model()
    assert sum(p.numel() for p in model.network.parameters()) == 11_239_425
    model.pack()  # as a decision on the newest bar is made, one sample at a time
    bars, _ = simulate(3 * 1440)
    rows = run.predictions.iloc[:20]
    seen = images_at(run, Market("SIMULATED", bars), bars.index.get_indexer(rows["time"]))
    with torch.inference_mode():
        alone = [model.predict_step((one, one), 0) for one in torch.from_numpy(seen).split(1)]
    np.testing.assert_allclose(torch.cat(alone).double(), rows["p_up"], rtol=0, atol=last_bit)
