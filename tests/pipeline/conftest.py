from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

# a simulated market of three days and a network that learns it in seconds
TINY = (
    "market=simulated",
    "market.days=3",
    "model=small_cnn",
    "model.network.width=4",
    "images.size=16",
    "trainer.max_epochs=2",
    "study=tiny",
)


@pytest.fixture(scope="session")
def command(root: Path) -> Command:
    """Run one of the scripts as a user would, in a folder of one's own."""

    def run(folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(root / script), *words]
        return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """The overrides of the tiny world."""
    return TINY


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    """The three windows trained by one multirun and evaluated; the folder they were run in."""
    folder = tmp_path_factory.mktemp("tiny")
    swept = command(folder, "train.py", "-m", "window=15m,30m,60m", *TINY)
    assert swept.returncode == 0, swept.stderr
    judged = command(folder, "evaluate.py", "study=tiny")
    assert judged.returncode == 0, judged.stderr
    return folder
