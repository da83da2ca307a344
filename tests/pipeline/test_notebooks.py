"""Every notebook is run from its first cell to its last, and draws what it is for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
SCRIPT = Path(__file__).with_name("notebook.py")


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_a_notebook_runs_as_it_stands(
    name: str, root: Path, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "conf").symlink_to(root / "conf")  # beside it, as in the project
    (tmp_path / "notebooks").mkdir()
    shutil.copy(root / "notebooks" / name, tmp_path / "notebooks")
    done = command(tmp_path / "notebooks", str(SCRIPT), name)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "<Figure size" in done.stdout
    assert {path.name for path in tmp_path.rglob("*")} == {"conf", "notebooks", name}


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 4
