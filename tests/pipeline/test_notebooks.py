"""Every notebook is run from its first cell to its last, and draws what it is for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
SCRIPT = Path(__file__).with_name("notebook.py")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_it_stands(
    path: Path, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = command(tmp_path, str(SCRIPT), str(path))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "<Figure size" in done.stdout
    assert not list(tmp_path.iterdir())  # what it writes it writes elsewhere, or nowhere


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 4
