from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read in /proc")
def test_thirty_studies_in_a_row_hold_no_more_than_a_few(root: Path, tmp_path: Path) -> None:
    script = Path(__file__).with_name("soak.py")
    done = subprocess.run(
        [sys.executable, str(script), str(root / "conf"), "30"],
        cwd=tmp_path, capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("held ")]
    held = np.array(told, dtype=np.int64)
    assert held.shape == (30, 3)
    memory, files, threads = held[5:].T  # what is loaded once is loaded by then
    slope = np.polyfit(np.arange(len(memory)), memory / 1024, 1)[0]
    assert slope < 0.5, f"{slope:.2f} MiB more a study: {memory}"
    assert files.max() == files.min(), files
    assert threads.max() == threads.min(), threads
