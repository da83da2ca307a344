from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

import gafcnn as gc
from gafcnn.app.command import main

Run = Callable[..., str]

# a simulated market of three days and a network that learns it in seconds
TINY = (
    "market=simulated",
    "market.days=3",
    "model=small_cnn",
    "model.network.width=4",
    "images.size=16",
    "trainer.accelerator=cpu",  # where the same command gives the same bits
    "trainer.max_epochs=2",
    "study=tiny",
)


def run_command(folder: Path, command: str, *words: str) -> str:
    """Run a command in a folder, in this process; return what it prints."""
    printed = io.StringIO()
    with chdir(folder), redirect_stdout(printed):
        main(command, words=words)
    return printed.getvalue()


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder that all test processes share."""
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    return TINY


@pytest.fixture(scope="session")
def run_in() -> Run:
    """Run a command in a folder; return what it prints."""
    return run_command


@pytest.fixture
def typed(tmp_path: Path) -> Run:
    """Run a command in an empty folder; return what it prints."""
    return lambda command, *words: run_command(tmp_path, command, *words)


@pytest.fixture
def refused(tmp_path: Path) -> Run:
    """Run a command that fails in an empty folder; return the message that it ends with."""

    def run(command: str, *words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            run_command(tmp_path, command, *words)
        message = str(ended.value.code)
        assert message.startswith("error: ")
        assert "\n" not in message
        return message.removeprefix("error: ")

    return run


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with study `tiny`: two windows by one sweep, evaluated.

    What the sweep and the evaluation printed is in train.txt and evaluate.txt.
    """
    folder = shared_folder(tmp_path_factory, "tiny")
    with FileLock(folder / ".lock"):
        if not (folder / "evaluate.txt").is_file():
            printed = run_command(folder, "train", "-m", "window=15m,30m", *TINY)
            (folder / "train.txt").write_text(printed)
            printed = run_command(folder, "evaluate", "study=tiny", "judging.resamples=100")
            (folder / "evaluate.txt").write_text(printed)
    return folder


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with study `pool`: a window on two symbols, evaluated."""
    folder = shared_folder(tmp_path_factory, "pool")
    with FileLock(folder / ".lock"):
        if not (folder / "evaluate.txt").is_file():
            words = [*TINY, "market.symbols=[AAA,BBB]", "window=15m", "study=pool"]
            (folder / "train.txt").write_text(run_command(folder, "train", *words))
            printed = run_command(folder, "evaluate", "study=pool", "judging.resamples=100")
            (folder / "evaluate.txt").write_text(printed)
    return folder


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    """The bars of study `tiny`."""
    return gc.simulate(3 * 1440)[0]


@pytest.fixture(scope="session")
def live(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder of `study`, with stored images, evaluated at 5 bps, and exported."""
    folder = shared_folder(tmp_path_factory, "live")
    with FileLock(folder / ".lock"):
        if not (folder / "outputs" / "tiny" / "export" / "metadata.json").is_file():
            for name in (
                "outputs/tiny",
                "data/bars",
                "data/gaf/SIMULATED_15m",
                "data/gaf/SIMULATED_30m",
            ):
                shutil.copytree(study / name, folder / name, dirs_exist_ok=True)
            words = ["study=tiny", "judging.resamples=0", "trading.cost_bps=5"]
            run_command(folder, "evaluate", *words)
            run_command(folder, "export", "study=tiny")
    return folder


@pytest.fixture
def harmed(live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of `live`, to be changed; the test runs in it."""
    for name in ("outputs", "data"):
        shutil.copytree(live / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
