from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkstemp

import pytest
from filelock import FileLock

from gafcnn.app.command import main
from gafcnn.app.runs import write_metrics

Command = Callable[..., subprocess.CompletedProcess[str]]
Refuse = Callable[..., str]

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


@pytest.fixture(scope="session")
def command(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Run one of the scripts as a user would, in a folder of one's own and a process of its own.

    Which is a fork, see `forking.py`, and may be ended by a trap, see `killed.py`; `test_killed.py`
    and `test_places.py` begin new interpreters.
    """
    server = [sys.executable, str(Path(__file__).with_name("forking.py"))]
    told = tmp_path_factory.mktemp("told")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(server, **pipes) as forks:
        assert forks.stdin is not None
        assert forks.stdout is not None
        asked, answered = forks.stdin, forks.stdout

        def run(
            folder: Path, script: str, *words: str, trap: str = ""
        ) -> subprocess.CompletedProcess[str]:
            out, err = (Path(mkstemp(dir=told)[1]) for _ in range(2))
            line = {
                "folder": str(folder),
                "script": str(root / script),
                "words": words,
                "trap": trap,
                "environment": dict(os.environ),
                "out": str(out),
                "err": str(err),
            }
            asked.write(json.dumps(line) + "\n")
            asked.flush()
            status = int(answered.readline())
            return subprocess.CompletedProcess(
                [script, *words], status, out.read_text(), err.read_text()
            )

        yield run
        asked.close()


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """The overrides of the tiny world."""
    return TINY


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder that all test processes share, to be made under a lock."""
    shared = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else None
    folder = (shared or tmp_path_factory.mktemp("study")) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def reseal() -> Callable[[Path], None]:
    """Give finished runs in a folder new checksums, after one was changed on purpose."""

    def run(folder: Path) -> None:
        for config in folder.rglob("config.yaml"):
            metrics = json.loads((config.parent / "metrics.json").read_text())
            names = metrics.pop("checksums")
            del metrics["seal"]
            write_metrics(config.parent, metrics, *names)

    return run


@pytest.fixture(scope="session")
def judged_study(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    """The three windows trained by one multirun, and evaluated; the folder they were run in.

    Made once, whatever the number of test processes; `judgement` holds what evaluation printed.
    """
    folder = shared_folder(tmp_path_factory, "tiny")
    with FileLock(folder / ".made.lock"):
        if not (folder / "judgement").is_file():
            swept = command(folder, "train.py", "-m", "window=15m,30m,60m", *TINY)
            assert swept.returncode == 0, swept.stderr
            judged = command(folder, "evaluate.py", "study=tiny", "judging.resamples=200")
            assert judged.returncode == 0, judged.stderr
            (folder / "judgement").write_text(judged.stdout)
    return folder


@pytest.fixture(scope="session")
def study_of_two(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    """A window and the baseline on two simulated symbols, evaluated; the folder it was done in.

    What training and evaluation printed is in `train.txt` and `evaluate.txt`.
    """
    folder = shared_folder(tmp_path_factory, "two")
    with FileLock(folder / ".made.lock"):
        if not (folder / "evaluate.txt").is_file():
            words = [*TINY, "market.symbols=[AAA,BBB]", "window=15m", "study=pool"]
            trained = command(folder, "train.py", *words)
            assert trained.returncode == 0, trained.stderr
            judged = command(folder, "evaluate.py", "study=pool", "judging.resamples=100")
            assert judged.returncode == 0, judged.stderr
            (folder / "train.txt").write_text(trained.stdout)
            (folder / "evaluate.txt").write_text(judged.stdout)
    return folder


@pytest.fixture(scope="session")
def judgement(judged_study: Path) -> str:
    """What the evaluation of the study printed."""
    return (judged_study / "judgement").read_text()


@pytest.fixture
def typed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Type a command in an empty folder, without a process of its own; what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"{command}.py", *words])
        main(command, root / "conf")
        os.environ.pop("HYDRA_FULL_ERROR", None)
        return capfd.readouterr().out

    return run


@pytest.fixture
def refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Refuse:
    """Type a command in an empty folder, and give back the sentence it ends with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(command: str, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"{command}.py", *words])
        with pytest.raises(SystemExit) as ended:
            main(command, root / "conf")
        os.environ.pop("HYDRA_FULL_ERROR", None)
        assert "Traceback" not in capfd.readouterr().err
        told = str(ended.value.code)
        assert told.startswith("error: ")
        assert "\n" not in told
        return told

    return run
