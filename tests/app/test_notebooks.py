"""Every notebook runs from its first cell to its last and draws figures."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FAST = "01_from_bars_to_images"  # trains nothing


@pytest.mark.parametrize(
    "notebook",
    [pytest.param(path, marks=[] if path.stem == FAST else pytest.mark.slow) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs_and_writes_nothing(notebook: Path, tmp_path: Path) -> None:
    shutil.copy(notebook, tmp_path)
    script = Path(__file__).with_name("notebook.py")
    own = {"PYTHONPATH": str(ROOT / "src"), "IPYTHONDIR": str(tmp_path / ".i")}
    done = subprocess.run(
        [sys.executable, script, notebook.name],
        cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "<Figure size" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} - {".i"} == {notebook.name}


def test_notebooks_are_short_and_without_outputs() -> None:
    assert len(NOTEBOOKS) == 4
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert len(cells) < 40
        assert not any(cell.get("outputs") for cell in cells), path.name
        code = "\n".join("".join(one["source"]) for one in cells if one["cell_type"] == "code")
        for line in re.findall(r"^from gafcnn.*", code, re.MULTILINE):
            exec(line)  # what is imported exists
