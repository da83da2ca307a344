"""Jobs that are processes of their own: sweeps here and on a cluster, and a shared training."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import hydra
import joblib
import numpy as np
import pandas as pd
import pytest
from submitit.slurm.slurm import SlurmExecutor, _make_sbatch_string

import gafcnn as gc
from gafcnn.app.runs import find_runs

Run = Callable[..., str]
Words = tuple[str, ...]
Start = Callable[..., subprocess.Popen[str]]
Ended = Callable[..., subprocess.CompletedProcess[str]]

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


TREES = ("-m", "model=xgboost", "market=simulated", "market.days=2", "study=swept")


def test_a_sweep_over_any_option_has_a_folder_for_each_job(typed: Run, tmp_path: Path) -> None:
    words = (*TREES, "model.rounds=4,8")
    typed("train", *words)
    found = sorted(path.name for path in (tmp_path / "outputs/swept/xgboost").iterdir())
    assert found == ["model.rounds=4", "model.rounds=8"]
    assert typed("train", *words).count("is complete: nothing to do") == 2


def test_the_other_jobs_of_a_sweep_go_on(refused: Run, tmp_path: Path) -> None:
    assert "model.rounds" in refused("train", *TREES, "model.rounds=0,8")
    assert gc.load_run(tmp_path / "outputs/swept").metrics["rounds"] == 8


def test_a_shared_training_is_no_job_of_a_sweep(refused: Run, tiny: Words, tmp_path: Path) -> None:
    assert "trainer=ddp" in refused("train", "-m", *tiny, "window=15m,30m", "trainer=ddp")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.path.exists("/usr/bin/srun"), reason="there is a Slurm")  # noqa: PTH110
def test_a_sweep_for_slurm_is_refused_without_slurm(refused: Run) -> None:
    assert "srun" in refused("train", "-m", "hydra/launcher=slurm", "window=15m,30m")


def test_what_slurm_is_asked_for(root: Path, tmp_path: Path) -> None:
    """By submitit, from conf/; a machine with Slurm is not needed for it."""
    with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
        words = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu"]
        composed = hydra.compose("train", words, return_hydra_config=True)
    options = {**composed.hydra.launcher, "submitit_folder": "x", "name": "y"}
    launcher = hydra.utils.instantiate(options)
    params = {key: value for key, value in launcher.params.items() if value is not None}
    assert params.pop("max_num_timeout") == 10
    del params["submitit_folder"]
    # not by its constructor, which looks for Slurm
    params = SlurmExecutor.__new__(SlurmExecutor)._convert_parameters(params)
    script = _make_sbatch_string("job", tmp_path, **params, map_count=100).splitlines()
    asked = "partition=gpu gpus-per-node=1 cpus-per-task=8 mem=16GB time=240 signal=USR2@120"
    for option in (*asked.split(), "array=0-99%64"):
        assert f"#SBATCH --{option}" in script


@pytest.mark.slow
def test_parallel_jobs_share_a_study_and_the_cores(
    ended: Ended, study: Path, tmp_path: Path, tiny: Words
) -> None:
    words = ["train.py", "-m", "hydra/launcher=parallel", "window=15m,30m", *tiny]
    swept = ended(*words)
    assert swept.returncode == 0, swept.stderr
    assert "Warning" not in swept.stderr
    for window in ("15m", "30m"):
        run = gc.load_run(tmp_path / "outputs/tiny" / window)
        alone = gc.load_run(study / "outputs/tiny" / window)
        pd.testing.assert_frame_equal(run.predictions, alone.predictions, rtol=1e-4)
        assert run.metrics["threads"] <= max(joblib.cpu_count() // 2, 1)
    assert ended(*words).stdout.count("is complete: nothing to do") == 2
    assert list(find_runs(tmp_path / "outputs/tiny")) == ["15m", "30m"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_a_job_at_its_time_limit_is_started_again_and_resumes(
    start: Start, tmp_path: Path, tiny: Words
) -> None:
    words = ["hydra/launcher=submitit_local", "trainer.max_epochs=40", "trainer.patience=40"]
    sweep = start("train.py", "-m", "window=15m", *tiny, *words)
    last = tmp_path / "outputs/tiny/15m/seed=0/checkpoints/last.ckpt"
    deadline = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    jobs = tmp_path / "outputs" / ".submitit"
    pid = next(path.name for path in jobs.iterdir() if path.name.isdigit())
    job = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(job[0]), signal.SIGUSR2)  # as Slurm does before the time limit
    sweep.communicate(timeout=240)
    assert sweep.returncode == 0
    log = next(jobs.glob(f"{pid}/*_log.out")).read_text()
    assert "Requeued job" in log
    assert "resuming 15m" in log
    assert gc.load_run(last.parents[1]).metrics["epochs"] == 40


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), TORCHRUN])
def test_two_processes_share_a_training_and_leave_one_run(
    ended: Ended, tmp_path: Path, tiny: Words, launcher: Words
) -> None:
    words = ["train.py", "window=15m", *tiny]
    ddp = [*words, "trainer=ddp", *(() if launcher else ("trainer.devices=2",))]
    done = ended(*ddp, launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training 15m on") == done.stdout.count("epoch 1 of") == 1
    assert done.stdout.count("SIMULATED: 4,320 bars") == 1
    run = gc.load_run(tmp_path / "outputs/tiny/15m")
    assert run.metrics["processes"] == 2
    assert np.isfinite(run.predictions["p_up"]).all()
    assert len((tmp_path / "outputs/tiny/ledger.jsonl").read_text().splitlines()) == 1
    assert "is complete: nothing to do" in ended(*words).stdout
    refused = ended(*ddp, "model.lr=0.1", launcher=launcher)
    assert refused.returncode == 1
    assert "model.lr: 0.001 -> 0.1" in refused.stderr


@pytest.mark.slow
def test_every_logger_keeps_the_metrics_of_an_epoch(
    ended: Ended, tmp_path: Path, tiny: Words
) -> None:
    for package in ("mlflow", "wandb", "tensorboard"):
        pytest.importorskip(package, reason="the extras tracking and tensorboard are needed")
    done = ended("train.py", *tiny, "window=15m", "logger=[csv,tensorboard,mlflow,wandb]")
    assert done.returncode == 0, done.stderr
    run = gc.load_run(tmp_path / "outputs/tiny/15m")
    (csv,) = run.folder.glob("csv/**/metrics.csv")
    assert "val/auc" in pd.read_csv(csv)
    assert [*run.folder.glob("tensorboard/**/events.out.*")]
    assert b"val/loss" in next(tmp_path.rglob("offline-run-*/run-*.wandb")).read_bytes()
    assert (tmp_path / "outputs" / "mlflow.db").is_file()
