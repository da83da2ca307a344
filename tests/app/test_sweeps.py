"""Trainings in several processes: parallel sweeps, a training shared by two, loggers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from gafcnn import load_run
from gafcnn.app.runs import find_runs

Words = tuple[str, ...]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(root: Path, tmp_path: Path) -> Command:
    """Run train.py in a process, in an empty folder."""

    def run(*words: str, python: Words = ()) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, *python, str(root / "train.py"), *words]
        env = {**os.environ, "PYTHONPATH": str(root / "src")}
        return subprocess.run(
            line, cwd=tmp_path, capture_output=True, text=True, timeout=400, env=env
        )

    return run


@pytest.mark.slow
def test_parallel_jobs_are_runs_of_one_study(
    study: Path, tmp_path: Path, command: Command, tiny: Words
) -> None:
    words = ["-m", "hydra/launcher=parallel", "window=15m,30m", *tiny]
    swept = command(*words)
    assert swept.returncode == 0, swept.stderr
    assert list(find_runs(tmp_path / "outputs/tiny")) == ["15m", "30m"]
    for window in ("15m", "30m"):
        found, alone = (load_run(at / f"outputs/tiny/{window}") for at in (tmp_path, study))
        pd.testing.assert_frame_equal(found.predictions, alone.predictions, rtol=1e-2)
    times = [path.stat().st_mtime_ns for path in tmp_path.rglob("best.ckpt")]
    assert command(*words).returncode == 0
    assert [path.stat().st_mtime_ns for path in tmp_path.rglob("best.ckpt")] == times


@pytest.mark.slow
def test_a_refused_job_ends_in_one_sentence(command: Command, tiny: Words) -> None:
    swept = command(
        "-m", "hydra/launcher=parallel", "window=15m,30m", *tiny, "model.batch_size=100000"
    )
    assert swept.returncode == 1
    assert "model.batch_size" in swept.stderr.splitlines()[-1]
    assert "Traceback" not in swept.stderr + swept.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("python", "words"),
    [
        ((), ("trainer.devices=2",)),
        (("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"), ()),
    ],
    ids=["lightning", "torchrun"],
)
def test_two_processes_train_one_run(
    python: Words, words: Words, tmp_path: Path, command: Command, tiny: Words
) -> None:
    words = (*tiny, "window=15m", "trainer=ddp", *words)
    done = command(*words, python=python)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training 15m on") == 1
    run = load_run(tmp_path / "outputs/tiny/15m")
    assert run.metrics["processes"] == 2
    assert np.isfinite(run.predictions["p_up"]).all()
    assert len((tmp_path / "outputs/tiny/ledger.jsonl").read_text().splitlines()) == 1
    again = command(*words, python=python)
    assert again.returncode == 0, again.stderr
    assert len((tmp_path / "outputs/tiny/ledger.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_every_logger_keeps_the_figures_of_an_epoch(
    tmp_path: Path, command: Command, tiny: Words
) -> None:
    pytest.importorskip("mlflow", reason="the extra tracking is not installed")
    pytest.importorskip("wandb", reason="the extra tracking is not installed")
    done = command(*tiny, "window=15m", "logger=[default,tensorboard,mlflow,wandb]")
    assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "outputs/tiny/15m")
    [figures] = run.folder.glob("csv/**/metrics.csv")
    assert "val/auc" in pd.read_csv(figures)
    assert [*run.folder.glob("tensorboard/**/events.out.*")]
    assert [*run.folder.rglob("*wandb*")]
    assert [*tmp_path.rglob("*mlflow*")]


@pytest.mark.parametrize("launcher", ["parallel", "slurm"])
def test_launchers_are_those_of_hydra(root: Path, launcher: str) -> None:
    options = yaml.safe_load((root / f"conf/hydra/launcher/{launcher}.yaml").read_text())
    assert options["defaults"][0] in ("joblib", "submitit_slurm")
