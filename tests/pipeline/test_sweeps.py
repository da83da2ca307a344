"""Sweeps whose jobs are processes of their own: side by side here, or as a cluster runs them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import hydra
import joblib
import pandas as pd
import pytest
from submitit.slurm.slurm import SlurmExecutor, _make_sbatch_string

import gafcnn.app.command  # noqa: F401 - names what conf/ asks for
from gafcnn import load_run
from gafcnn.app.runs import find_runs

Command = Callable[..., subprocess.CompletedProcess[str]]
Words = tuple[str, ...]


@pytest.mark.slow
def test_jobs_side_by_side_land_in_one_study_share_the_cores_and_are_not_done_twice(
    judged_study: Path, tmp_path: Path, command: Command, tiny: Words
) -> None:
    shutil.copytree(judged_study / "data", tmp_path / "data")
    words = ["train.py", "-m", "hydra/launcher=joblib", "window=15m,30m", *tiny]
    swept = command(tmp_path, *words)
    assert swept.returncode == 0, swept.stderr
    assert "Warning" not in swept.stderr
    assert f"n_jobs={min(2, joblib.cpu_count())}," in swept.stdout
    for window in ("15m", "30m"):
        run = load_run(tmp_path / "outputs" / "tiny" / window)
        assert run.metrics["threads"] == max(joblib.cpu_count() // 2, 1)
        alone = load_run(judged_study / "outputs" / "tiny" / window)
        pd.testing.assert_frame_equal(run.predictions, alone.predictions, rtol=1e-4)

    again = command(tmp_path, *words)
    assert again.stdout.count("is complete: nothing to do") == 2
    assert list(find_runs(tmp_path / "outputs" / "tiny")) == ["15m", "30m"]


@pytest.mark.parametrize(
    "launcher", ["joblib", pytest.param("submitit_local", marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_a_job_that_is_refused_ends_in_one_sentence(
    launcher: str, tmp_path: Path, command: Command, tiny: Words
) -> None:
    words = ["-m", f"hydra/launcher={launcher}", "window=15m,30m", *tiny, "model.batch_size=100000"]
    swept = command(tmp_path, "train.py", *words)
    assert swept.returncode == 1
    last = swept.stderr.splitlines()[-1]
    assert last.startswith("error: model.batch_size=100000 with 2692 labelled training samples; ")
    assert "Traceback" not in swept.stderr + swept.stdout
    told = [*tmp_path.glob("outputs/.submitit/*/*_log.out")]
    printed = swept.stdout + "".join(path.read_text() for path in told)
    assert printed.count("error: model.batch_size=100000") == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are told in /proc")
def test_a_job_whose_time_is_over_is_started_again_and_goes_on(
    judged_study: Path, tmp_path: Path, root: Path, command: Command, tiny: Words
) -> None:
    shutil.copytree(judged_study / "data", tmp_path / "data")
    longer = ["trainer.max_epochs=30", "callbacks.early_stopping.patience=30"]
    words = ["-m", "hydra/launcher=submitit_local", "window=15m", *tiny, *longer]
    line = [sys.executable, str(root / "train.py"), *words]
    sweep = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    last = tmp_path / "outputs" / "tiny" / "15m" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    jobs = [path.name for path in (tmp_path / "outputs" / ".submitit").iterdir()]
    pid = next(name for name in jobs if name.isdigit())
    job = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(job[0]), signal.SIGUSR2)  # as Slurm does, through submitit, before the time is over
    sweep.communicate(timeout=240)
    assert sweep.returncode == 0
    log = next((tmp_path / "outputs" / ".submitit").glob(f"{pid}/*_log.out")).read_text()
    assert "Requeued job" in log
    assert "going on with 15m" in log
    assert load_run(last.parents[1]).metrics["epochs"] == 30
    judged = command(tmp_path, "evaluate.py", "study=tiny", "judging.resamples=0")
    assert judged.returncode == 0, judged.stderr
    assert (tmp_path / "outputs" / "tiny" / "evaluation" / "report.html").is_file()


@pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/\w+' is validated against")
def test_what_slurm_is_told_of_a_job(root: Path, tmp_path: Path) -> None:
    """By submitit, from conf/; a machine with Slurm is not needed for it."""
    with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
        cfg = hydra.compose(
            "train",
            ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"],
            return_hydra_config=True,
        )
    launcher = hydra.utils.instantiate({**cfg.hydra.launcher, "submitit_folder": "x", "name": "y"})
    params = {key: value for key, value in launcher.params.items() if value is not None}
    assert params.pop("max_num_timeout") == 10
    params.pop("submitit_folder")
    # not by its constructor, which looks for Slurm
    params = SlurmExecutor.__new__(SlurmExecutor)._convert_parameters(params)
    told = _make_sbatch_string("job", tmp_path, **params, map_count=100)
    for line in (
        "#SBATCH --partition=gpu",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=16GB",
        "#SBATCH --time=240",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --array=0-99%64",
        "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK NUMBA_NUM_THREADS=$SLURM_CPUS_PER_TASK",
    ):
        assert line in told.splitlines()
