"""Commands that are killed at any moment, or whose disk fills up: run again, they resume."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gafcnn as gc
from gafcnn.app.runs import damaged_files
from gafcnn.models.module import load_plain

Run = Callable[..., str]
Words = tuple[str, ...]
Disk = Callable[[int], Path]
Start = Callable[..., subprocess.Popen[str]]
Ended = Callable[..., subprocess.CompletedProcess[str]]
After = Callable[[str, Callable[[], object]], None]

MORE = ("window=15m", "trainer.max_epochs=6", "trainer.patience=2")
LAST = Path("outputs/tiny/15m/seed=0/checkpoints/last.ckpt")
NEEDS = r"(/\S+/)?{} needs [\d,]+ bytes"


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def kill(process: subprocess.Popen[str], seconds: float = 0) -> None:
    """Kill a process after so many seconds."""
    time.sleep(seconds)
    process.kill()
    process.communicate()


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes()
    return one == other


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("best", "last"):
        states = [load_plain(run / f"checkpoints/{name}.ckpt", "") for run in (one, other)]
        for key in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers"):
            assert same(states[0][key], states[1][key]), (name, key)
    name = "predictions.parquet"
    assert (one / name).read_bytes() == (other / name).read_bytes()
    metrics = [gc.load_run(run).metrics for run in (one, other)]
    for key in ("val", "epochs", "best_epoch", "steps"):
        assert metrics[0][key] == metrics[1][key]
    assert damaged_files(one) == []
    assert not list(one.rglob("*.partial"))


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> After:
    """Act once, as soon as a file of that name was written."""

    def arm(name: str, act: Callable[[], object]) -> None:
        replace, seen = os.replace, count(1)

        def acting(source: Path, target: Path) -> None:
            replace(source, target)
            if Path(target).name == name and next(seen) == 1:
                monkeypatch.setattr(os, "replace", replace)
                act()

        monkeypatch.setattr(os, "replace", acting)

    return arm


def test_a_killed_training_ends_as_an_undisturbed_one(
    after: After, tmp_path: Path, run_in: Run, typed: Run, tiny: Words
) -> None:
    whole, last = tmp_path / "whole", tmp_path / LAST
    whole.mkdir()
    # the files that a process leaves that is killed at this moment
    after(LAST.name, lambda: shutil.copytree(whole / "outputs", tmp_path / "outputs"))
    run_in(whole, "train", *tiny, *MORE)
    typed("train", *tiny, *MORE)
    assert_same_run(last.parents[1], (whole / LAST).parents[1])
    ledger = (tmp_path / "outputs" / "tiny" / "ledger.jsonl").read_text().splitlines()
    assert {json.loads(line)["config"] for line in ledger} == {json.loads(ledger[0])["config"]}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, run_in: Run, tiny: Words) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_in(folder, "train", *tiny, *MORE)
    return (folder / LAST).parents[1]


@pytest.mark.slow
def test_a_training_killed_at_any_moment_ends_as_an_undisturbed_one(
    start: Start, tmp_path: Path, run_in: Run, tiny: Words, undisturbed: Path
) -> None:
    for number, seconds in enumerate(np.random.default_rng(0).uniform(2, 12, 15)):
        folder = tmp_path / str(number)
        folder.mkdir()
        kill(start("train.py", *tiny, *MORE, folder=folder), seconds)
        run_in(folder, "train", *tiny, *MORE)
        assert_same_run((folder / LAST).parents[1], undisturbed)


@pytest.mark.slow
def test_a_training_that_is_stopped_says_how_to_resume_it(
    start: Start, tmp_path: Path, run_in: Run, tiny: Words, undisturbed: Path
) -> None:
    stopped = start("train.py", *tiny, *MORE)
    wait_for((tmp_path / LAST).is_file, stopped)
    stopped.terminate()
    printed = "".join(stopped.communicate(timeout=60))
    assert stopped.returncode in (0, 128 + signal.SIGTERM, -signal.SIGTERM)  # it may have ended
    assert ("the same command resumes" in printed) == (stopped.returncode > 0)
    assert "Traceback" not in printed
    run_in(tmp_path, "train", *tiny, *MORE)
    assert_same_run((tmp_path / LAST).parents[1], undisturbed)


@pytest.mark.slow
def test_an_evaluation_killed_at_any_moment_gives_the_same_numbers(
    start: Start, study: Path, tmp_path: Path, run_in: Run
) -> None:
    words = ("study=tiny", "judging.resamples=100")
    whole = json.loads((study / "outputs/tiny/evaluation/metrics.json").read_text())
    for number, seconds in enumerate(np.random.default_rng(0).uniform(1, 12, 8)):
        folder = shutil.copytree(study, tmp_path / str(number))
        for name in ("evaluation", "xgboost", "ledger.jsonl"):
            place = folder / "outputs" / "tiny" / name
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        kill(start("evaluate.py", *words, folder=folder), seconds)
        run_in(folder, "evaluate", *words)
        evaluation = folder / "outputs" / "tiny" / "evaluation"
        found = json.loads((evaluation / "metrics.json").read_text())
        assert found["models"] == whole["models"]
        assert damaged_files(evaluation) == []
        assert not list(evaluation.rglob("*.partial"))


# --- a full disk ----------------------------------------------------------------------------------


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (2**16, 1):  # the last write that fits is a part of a page
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


@pytest.mark.parametrize(
    ("full", "refused_at"),
    [
        ("config.yaml", "ledger.jsonl"),
        ("best.ckpt", r"\S*last.ckpt"),
        ("last.ckpt", r"\S+"),
        ("predictions.parquet", r"\S*metrics.json"),
    ],
)
def test_a_disk_that_fills_during_a_training_is_named_and_the_training_resumes(
    full: str, refused_at: str, small_disk: Disk, after: After, refused: Run, typed: Run,
    tiny: Words,
) -> None:  # fmt: skip
    disk = small_disk(2_000_000)
    words = ["window=15m", *tiny, f"paths.outputs={disk}"]
    after(full, partial(fill, disk))
    message = refused("train", *words)
    assert re.match(NEEDS.format(rf"{disk.name}/tiny/{refused_at}"), message), message
    (disk / "filler").unlink()
    typed("train", *words)
    run = gc.load_run(disk / "tiny" / "15m")
    assert damaged_files(run.folder) == []
    assert run.metrics["epochs"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("full", "refused_at"),
    [("predictions.parquet", "evaluation/"), ("report.html", "evaluation/metrics.json")],
)
def test_a_disk_that_fills_during_an_evaluation_is_named(
    full: str, refused_at: str, small_disk: Disk, after: After, study: Path, refused: Run,
    typed: Run,
) -> None:  # fmt: skip
    disk = small_disk(30_000_000)
    shutil.copytree(study / "outputs" / "tiny", disk / "tiny")
    shutil.rmtree(disk / "tiny" / "evaluation")
    words = ["study=tiny", "judging.resamples=0", f"paths.outputs={disk}"]
    after(full, partial(fill, disk))
    message = refused("evaluate", *words)
    assert re.match(NEEDS.format(rf"{disk.name}/tiny/{refused_at}\S*"), message), message
    assert not (disk / "tiny" / "evaluation" / "metrics.json").exists()
    (disk / "filler").unlink()
    typed("evaluate", *words)
    assert damaged_files(disk / "tiny" / "evaluation") == []


# --- where a command may not write ----------------------------------------------------------------

NOT_ABOVE_RIGHTS = [
    "setpriv",
    *(f"--{caps}=-dac_override,-dac_read_search,-fowner" for caps in ("bounding-set", "inh-caps")),
]


@pytest.mark.slow
def test_a_complete_run_can_be_read_only_and_a_new_one_is_refused(
    study: Path, ended: Ended, tmp_path: Path, tiny: Words
) -> None:
    """In a folder with a space and an umlaut in its name, without a home."""
    bound = NOT_ABOVE_RIGHTS if os.geteuid() == 0 else []
    if bound and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to give that up")
    folder = shutil.copytree(study, tmp_path / "mein Ordner ü")
    closed = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    for path in closed:
        path.chmod(0o555)
    more: Any = {"folder": folder, "prefix": bound, "env": {"PATH": os.environ["PATH"]}}
    try:
        done = ended("train.py", *tiny, "window=15m", **more)
        assert done.returncode == 0, done.stderr
        assert "is complete: nothing to do" in done.stdout
        done = ended("train.py", *tiny, "window=15m", "study=other", **more)
        assert done.returncode == 1
        assert re.match(r"error: outputs\S* .*\(Permission denied\)", done.stderr)
    finally:
        for path in closed:
            path.chmod(0o755)
