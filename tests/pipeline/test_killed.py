"""Commands that are ended at any moment, without a word: given again, they go on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gafcnn.app.runs import damaged_files, load_run
from gafcnn.models.checkpoints import load_plain

KILLED, ENDED = -9, 143
MORE = ["window=15m", "trainer.max_epochs=4", "callbacks.early_stopping.patience=2"]

Command = Callable[..., subprocess.CompletedProcess[str]]
Typed = tuple[str, ...]


def given(
    command: Command, folders: dict[Path, str], killed: Typed, again: Typed
) -> list[list[int]]:
    """Give a command in each folder, end it as that says, and give it again; how each ended."""
    ended = []
    for folder, traps in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        done = [command(folder, *killed, trap=trap) for trap in traps.split()]
        done.append(command(folder, *again))
        told = "".join(one.stdout + one.stderr for one in done)
        (folder / "said.txt").write_text(told, encoding="utf-8")
        ended.append([one.returncode for one in done])
    return ended


def said(folder: Path) -> str:
    return (folder / "said.txt").read_text(encoding="utf-8")


def same(one: Any, other: Any) -> bool:
    """Whether two states are the same to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes()
    return one == other


def state(path: Path) -> dict[str, Any]:
    """What a checkpoint says of the training, less where and how fast it was done."""
    content = load_plain(path, "")
    stopping = [
        kept for name, kept in content["callbacks"].items() if name.startswith("EarlyStopping")
    ]
    wanted = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers")
    return {name: content[name] for name in wanted} | {"stopping": stopping}


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("best", "last"):
        assert same(*(state(run / "checkpoints" / f"{name}.ckpt") for run in (one, other)))
    name = "predictions.parquet"
    assert (one / name).read_bytes() == (other / name).read_bytes()
    runs = [load_run(run) for run in (one, other)]
    assert [damaged_files(run.folder) for run in runs] == [[], []]
    metrics = [
        {
            key: of
            for key, of in run.metrics.items()
            if key in ("val", "epochs", "best_epoch", "steps")
        }
        for run in runs
    ]
    assert metrics[0] == metrics[1]
    assert not list(one.rglob("*.partial"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, root: Path, tiny: Typed) -> Path:
    """The folder of a training that nothing befell, in an interpreter that knows of no other."""
    folder = tmp_path_factory.mktemp("undisturbed")
    line = [sys.executable, str(root / "train.py"), *tiny, *MORE]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def assert_goes_on(
    command: Command, tmp_path: Path, undisturbed: Path, tiny: Typed, moments: Sequence[str]
) -> None:
    folders = {tmp_path / f"{number}": moment for number, moment in enumerate(moments)}
    words = ("train.py", *tiny, *MORE)
    ended = given(command, folders, words, words)
    for (folder, moment), (*killed, last) in zip(folders.items(), ended, strict=True):
        assert set(killed) <= {KILLED, ENDED, 0}, said(folder)  # 0: where it was done by that time
        wanted = [ENDED if one.startswith("term") else KILLED for one in moment.split()]
        assert moment.startswith("after") or killed == wanted, moment
        assert last == 0, said(folder)
        assert (ENDED in wanted) == ("the same command goes on" in said(folder))
        assert_same_run(*(place / "outputs" / "tiny" / "15m" for place in (folder, undisturbed)))
        assert not {"Traceback", "Warning", "HINT"} & set(re.findall(r"\w+", said(folder)))


# an epoch has 10 steps or 11; the best epoch's checkpoint is written before the last's
MOMENTS = [
    "step:10",
    "step:15 step:12",  # in the second epoch, and once more in the third
    "write:last.ckpt:2 term:15",
    "rename:best.ckpt:1",
    "rename:last.ckpt:1",
    "write:predictions.parquet:1",
    "rename:metrics.json:1",
]


def test_a_training_killed_in_a_step_or_a_checkpoint_ends_as_an_undisturbed_one(
    command: Command, tmp_path: Path, undisturbed: Path, tiny: Typed
) -> None:
    assert_goes_on(command, tmp_path, undisturbed, tiny, ["step:15 write:last.ckpt:1 term:6"])


@pytest.mark.slow
def test_a_training_killed_at_any_moment_ends_as_an_undisturbed_one(
    command: Command, tmp_path: Path, undisturbed: Path, tiny: Typed
) -> None:
    rng = np.random.default_rng(0)
    steps = [f"step:{step}" for step in rng.integers(1, 42, 20)]
    instants = [f"after:{seconds:.2f}" for seconds in rng.uniform(0.05, 4, 20)]
    assert_goes_on(command, tmp_path, undisturbed, tiny, [*MOMENTS, *steps, *instants])


@pytest.mark.slow
def test_a_sweep_killed_in_its_second_job_goes_on_there(
    command: Command, tmp_path: Path, tiny: Typed
) -> None:
    sweep = ("train.py", "-m", "window=15m,30m,60m", *tiny, "trainer.max_epochs=1")
    assert given(command, {tmp_path: "rename:metrics.json:2"}, sweep, sweep) == [[KILLED, 0]]
    told = said(tmp_path)
    assert told.count("outputs/tiny/15m is complete: nothing to do") == 1
    assert told.count("going on with 30m") == 1
    ledger = (tmp_path / "outputs" / "tiny" / "ledger.jsonl").read_text()
    trained = [json.loads(line) for line in ledger.splitlines()]
    assert [(Path(line["run"]).name, line["resumed"]) for line in trained] == [
        ("15m", False),
        ("30m", False),
        ("30m", True),
        ("60m", False),
    ]
    for name in ("15m", "30m", "60m"):
        assert damaged_files(tmp_path / "outputs" / "tiny" / name) == []


def evaluation(folder: Path) -> dict[str, Any]:
    """What an evaluation left, less what says how often it was asked for."""
    found = folder / "outputs" / "tiny" / "evaluation"
    metrics = json.loads((found / "metrics.json").read_text())
    verdict = [line for line in metrics.pop("verdict") if not line.startswith("This is look")]
    assert metrics.pop("looks") >= 2
    assert damaged_files(found) == []
    for sealed in ("seal", "checksums"):  # which are of the looks and the verdict, too
        del metrics[sealed]
    tables = {path.name: path.read_bytes() for path in found.glob("tables/*.csv")}
    predictions = (found / "predictions.parquet").read_bytes()
    assert not list(found.rglob("*.partial"))
    assert (found / "report.html").read_text().rstrip().endswith("</html>")
    return {"verdict": verdict, **metrics, **tables, "predictions": predictions}


def assert_evaluation_goes_on(
    command: Command, tmp_path: Path, judged_study: Path, moments: Sequence[str]
) -> None:
    folders = {tmp_path / "undisturbed": ""}
    folders |= {tmp_path / f"{number}": moment for number, moment in enumerate(moments)}
    for folder in folders:
        shutil.copytree(judged_study, folder)
        for name in ("evaluation", "xgboost"):
            shutil.rmtree(folder / "outputs" / "tiny" / name)
    words = ("evaluate.py", "study=tiny", "judging.resamples=100")
    ended = given(command, folders, words, words)
    assert ended[0] == [0], said(tmp_path / "undisturbed")
    whole = evaluation(tmp_path / "undisturbed")
    for (folder, moment), (*killed, last) in zip(folders.items(), ended, strict=True):
        assert set(killed) <= {KILLED, 0}, said(folder)
        assert moment.startswith("after") or killed == [KILLED] * len(moment.split()), moment
        assert last == 0, said(folder)
        assert evaluation(folder) == whole
        assert "Traceback" not in said(folder)


EVALUATING = [
    "write:trees.json:1",
    "rename:metrics.json:1 write:report.html:1",  # the baseline's; then the page
    "rename:predictions.parquet:2",  # the first is the baseline's
    "write:metrics.json:2",
    "rename:report.html:1",
]


@pytest.mark.slow
def test_an_evaluation_killed_in_a_baseline_or_a_page_gives_the_same_numbers(
    command: Command, tmp_path: Path, judged_study: Path
) -> None:
    assert_evaluation_goes_on(command, tmp_path, judged_study, EVALUATING[1:2])


@pytest.mark.slow
def test_an_evaluation_killed_at_any_moment_gives_the_same_numbers(
    command: Command, tmp_path: Path, judged_study: Path
) -> None:
    instants = np.random.default_rng(0).uniform(0.05, 6, 15)
    moments = [*EVALUATING, *(f"after:{seconds:.2f}" for seconds in instants)]
    assert_evaluation_goes_on(command, tmp_path, judged_study, moments)
