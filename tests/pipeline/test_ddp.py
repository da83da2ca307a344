"""One training shared by two processes of the CPU: what it learns is what one process learns."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock

from gafcnn import load_run

Command = Callable[..., subprocess.CompletedProcess[str]]
Words = tuple[str, ...]

# dropout is drawn by each process for its own part of a batch, and no two trainings with it compare
PLAIN = ("model.network.dropout=0", "window=15m")
SHARED = ("trainer=ddp", "trainer.devices=2")
BY_TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="session")
def alone(judged_study: Path, command: Command, tiny: Words) -> Path:
    """A folder in which study `alone` is the training of one process."""
    with FileLock(judged_study / ".alone.lock"):
        if not (judged_study / "outputs" / "alone").is_dir():
            done = command(judged_study, "train.py", *tiny, *PLAIN, "study=alone")
            assert done.returncode == 0, done.stderr
    return judged_study


def assert_same_predicted(one: Path, other: Path, atol: float = 1e-4) -> None:
    first, second = load_run(one), load_run(other)
    for key in ("steps", "epochs", "best_epoch", "samples"):
        assert first.metrics[key] == second.metrics[key]
    a, b = first.predictions, second.predictions
    pd.testing.assert_frame_equal(a.drop(columns="p_up"), b.drop(columns="p_up"))
    np.testing.assert_allclose(a["p_up"], b["p_up"], atol=atol)


def assert_same_learned(one: Path, other: Path) -> None:
    assert_same_predicted(one, other)
    figures = [
        pd.read_csv(folder / "csv" / "version_0" / "metrics.csv").groupby("epoch").last()
        for folder in (one, other)
    ]
    told = [name for name in figures[0] if "/" in name]
    assert {"train/loss", "train/auc", "val/loss", "val/accuracy", "val/auc"} <= set(told)
    np.testing.assert_allclose(figures[0][told], figures[1][told], atol=1e-5)


@pytest.mark.slow
def test_two_processes_learn_what_one_does_and_leave_one_run(
    alone: Path, tmp_path: Path, command: Command, tiny: Words
) -> None:
    shutil.copytree(alone / "data", tmp_path / "data")
    done = command(tmp_path, "train.py", *tiny, *PLAIN, *SHARED)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "32-true, 2 processes" in done.stdout
    for line in ("SIMULATED: 4,320 bars", "training 15m on", "15m: 2 epochs, validation"):
        assert done.stdout.count(line) == 1  # what is told is told by the first alone
    folder = tmp_path / "outputs" / "tiny" / "15m"
    assert_same_learned(alone / "outputs" / "alone" / "15m", folder)
    assert load_run(folder).metrics["processes"] == 2
    assert len((folder.parent / "ledger.jsonl").read_text().splitlines()) == 1
    images = torch.zeros(1, 2, 16, 16)
    assert load_run(folder).model()(images).shape == (1,)

    again = command(tmp_path, "train.py", *tiny, *PLAIN)
    assert "is complete: nothing to do" in again.stdout  # by how many is no part of a run


@pytest.mark.slow
def test_torchrun_starts_the_same_training(
    alone: Path, tmp_path: Path, root: Path, tiny: Words
) -> None:
    """From nothing: the second process waits for the first to make bars and images."""
    line = [sys.executable, *BY_TORCHRUN, str(root / "train.py"), *tiny, *PLAIN, "trainer=ddp"]

    def typed(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*line, *more], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )

    done = typed()
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "outputs" / "tiny" / "15m"
    assert_same_learned(alone / "outputs" / "alone" / "15m", folder)
    assert done.stdout.count("training 15m on") == 1
    again = typed()
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is complete: nothing to do") == 1

    refused = typed("model.lr=0.1")
    assert refused.returncode == 1
    assert refused.stderr.count("error: ") == 1
    assert "15m holds another run (model.lr: 0.001 -> 0.1)" in refused.stderr
    assert len((folder.parent / "ledger.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_shared_training_that_was_killed_goes_on_in_one_process(
    alone: Path, tmp_path: Path, root: Path, command: Command, tiny: Words
) -> None:
    shutil.copytree(alone / "data", tmp_path / "data")
    longer = ["trainer.max_epochs=12", "callbacks.early_stopping.patience=12", "model.lr=1e-4"]
    words = [*tiny, *PLAIN, *longer]
    line = [sys.executable, str(root / "train.py"), *words, *SHARED]
    killed = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    last = tmp_path / "outputs" / "tiny" / "15m" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)  # until the other has let go of the output, too: it has ended
    assert not (last.parents[1] / "metrics.json").is_file()

    resumed = command(tmp_path, "train.py", *words)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on with 15m" in resumed.stdout
    undisturbed = command(tmp_path, "train.py", *words, "study=undisturbed")
    assert undisturbed.returncode == 0, undisturbed.stderr
    runs = [tmp_path / "outputs" / study / "15m" for study in ("undisturbed", "tiny")]
    assert_same_predicted(*runs, atol=1e-3)  # rounding, after so many steps
    told = [json.loads(line)["resumed"] for line in _ledger(runs[1])]
    assert told == [False, True]


def _ledger(run: Path) -> list[str]:
    return (run.parent / "ledger.jsonl").read_text().splitlines()


@pytest.mark.slow
def test_weighted_classes_and_averaged_weights_are_shared_alike(
    tmp_path: Path, command: Command
) -> None:
    words = [
        "market=simulated", "market.days=6", "market.interval=15min", "label=candlestick",
        "split=tenths", "window=15m_x10", "model=small_cnn", "model.network.dropout=0",
        "model.network.width=4", "model.batch_size=64", "model.class_weights=[1,5,5,5,5,5,5,5,5]",
        "images.size=16", "trainer.accelerator=cpu", "trainer.max_epochs=3", "callbacks=averaged",
    ]  # fmt: skip
    for study, more in (("one", ()), ("two", SHARED)):
        done = command(tmp_path, "train.py", *words, f"study={study}", *more)
        assert done.returncode == 0, done.stderr
    one, two = (load_run(tmp_path / "outputs" / study / "15m_x10") for study in ("one", "two"))
    names = [name for name in one.predictions if name.startswith("p_")]
    np.testing.assert_allclose(one.predictions[names], two.predictions[names], atol=1e-4)
    figures = [
        pd.read_csv(run.folder / "csv" / "version_0" / "metrics.csv").groupby("epoch").last()
        for run in (one, two)
    ]
    losses = ["train/loss", "val/loss"]
    np.testing.assert_allclose(figures[0][losses], figures[1][losses], atol=1e-5)
