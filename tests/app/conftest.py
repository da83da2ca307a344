from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

import gafcnn as gc
from gafcnn.app.command import main

Run = Callable[..., str]
Words = tuple[str, ...]
Start = Callable[..., subprocess.Popen[str]]

FAST = "judging.resamples=100"
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


def run_command(folder: Path, command: str, *words: str, pictures: bool = False) -> str:
    """Run a command in a folder, in this process; return what it prints.

    Without pictures, an evaluation takes a fourth of the time; those of all tasks are drawn in the
    tests of the report.
    """
    printed = io.StringIO()
    with chdir(folder), redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        # Hydra would compose all options once more, to read its own mode
        patch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **more: None)
        if not pictures:
            patch.setattr("gafcnn.report.page.build_figures", lambda _: ())
            patch.setattr("gafcnn.app.evaluate.sample_pictures", lambda *_: [])
        main(command, words=words)
    return printed.getvalue()


def made(
    factory: pytest.TempPathFactory, name: str, *commands: Words, copied: Path | None = None
) -> Path:
    """A folder that all test processes share, in which commands ran.

    What they printed is in files like train.txt. It begins as a copy of another one.
    """
    shared = factory.getbasetemp()
    folder = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / name
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):
        if copied is not None and not (folder / "outputs").is_dir():
            unlike = shutil.ignore_patterns("*.txt", ".lock", "*.tmp")
            shutil.copytree(copied, folder, dirs_exist_ok=True, ignore=unlike)
        for command, *words in commands:
            if not (printed := folder / f"{command}.txt").is_file():
                printed.write_text(run_command(folder, command, *words, pictures=name == "tiny"))
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
    return partial(run_command, tmp_path)


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


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a script in a process of its own, which ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(
        script: str, *words: str, folder: Path = tmp_path, prefix: Words = (),
        launcher: Words = (), env: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:  # fmt: skip
        process = subprocess.Popen(
            [*prefix, sys.executable, *launcher, str(root / script), *words],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**(os.environ if env is None else env), "PYTHONPATH": str(root / "src")},
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def ended(start: Start) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a process of its own until it ends."""

    def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        process = start(*words, **more)
        printed = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, *printed)

    return run


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with study `tiny`: two windows by one sweep, evaluated."""
    train, evaluate = ("train", "-m", "window=15m,30m", *TINY), ("evaluate", "study=tiny", FAST)
    return made(tmp_path_factory, "tiny", train, evaluate)


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with study `pool`: a window on two symbols, evaluated."""
    train = ("train", *TINY, "market.symbols=[AAA,BBB]", "window=15m", "study=pool")
    return made(tmp_path_factory, "pool", train, ("evaluate", "study=pool", FAST))


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    """The bars of study `tiny`."""
    return gc.simulate(3 * 1440)[0]


@pytest.fixture(scope="session")
def live(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder of `study`, with stored images, evaluated at 5 bps, and exported."""
    evaluate = ("evaluate", "study=tiny", "judging.resamples=0", "trading.cost_bps=5")
    return made(tmp_path_factory, "live", evaluate, ("export", "study=tiny"), copied=study)


@pytest.fixture
def harmed(live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of `live`, to be changed; the test runs in it."""
    for name in ("outputs", "data"):
        shutil.copytree(live / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
