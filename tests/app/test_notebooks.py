"""Every notebook runs from its first cell to its last and draws figures."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[2]
FIRST, *OTHERS = NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", OTHERS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_writes_nothing(notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy(notebook, folder)
    script = Path(__file__).with_name("notebook.py")
    own = {"PYTHONPATH": str(ROOT / "src"), "IPYTHONDIR": str(tmp_path / ".i")}
    done = subprocess.run(
        [sys.executable, script, notebook.name],
        cwd=folder, env={**os.environ, **own}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "<Figure size" in done.stdout
    assert [path.name for path in folder.iterdir()] == [notebook.name]


def test_the_first_hour_runs_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIRST.parent)  # a process of its own would import torch again
    plt.close("all")  # those of other tests
    files = sorted(FIRST.parent.iterdir())
    cells = json.loads(FIRST.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    exec("\n".join(code), scope := {})
    gc, pd = scope["gc"], scope["pd"]
    assert len(plt.get_fignums()) == 3
    plt.close("all")
    assert sorted(FIRST.parent.iterdir()) == files
    simulated, _ = gc.simulate(5_760, strength=0.75, seed=0)  # as it says
    pd.testing.assert_frame_equal(scope["bars"], simulated, atol=0.0051, rtol=0)


def test_notebooks_are_short_and_without_outputs() -> None:
    assert len(NOTEBOOKS) == 6
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert len(cells) < 40
        assert not any(cell.get("outputs") for cell in cells), path.name
        code = "\n".join("".join(one["source"]) for one in cells if one["cell_type"] == "code")
        for line in re.findall(r"^from gafcnn.*", code, re.MULTILINE):
            exec(line)  # what is imported exists
