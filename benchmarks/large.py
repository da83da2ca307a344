"""Memory, time and disk of one study of millions of samples, with images on the fly.

    python benchmarks/large.py [--samples 3000000]

Simulates that many minutes, trains a small network of one window for one epoch and the baseline,
and evaluates them. Each command runs in its own process. Peak memory includes pages of mapped
files, which the system takes back when others need them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import machine

ROOT = Path(__file__).parents[1]
DAY = 24 * 60  # minutes


def main() -> None:
    """Run the commands and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=3_000_000)
    days = parser.parse_args().samples // DAY + 1
    study = ["study=large", "window=15m", "market=simulated", "images=on_the_fly", "images.size=16"]
    study += [f"market.days={days}"]
    network = ["model=small_cnn", "model.network.width=4", "model.batch_size=1024"]
    network += ["trainer.max_epochs=1", "trainer.progress=false"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = {
            "prepare.py": measure(folder, "prepare.py", *study),
            "train.py, small_cnn": measure(folder, "train.py", *study, *network),
            "train.py, xgboost": measure(folder, "train.py", *study, "model=xgboost"),
            "evaluate.py": measure(folder, "evaluate.py", "study=large", "judging.resamples=200"),
        }
        disk = {name: folder_size(folder / name) for name in ("data", "outputs")}
    print(f"{days * DAY:,} bars; {machine()}\n")
    print("| command | seconds | peak memory | bytes per bar |\n|---|---:|---:|---:|")
    for command, (seconds, peak) in rows.items():
        print(f"| {command} | {seconds:.0f} | {peak / 1e6:,.0f} MB | {peak / days / DAY:,.0f} |")
    print("\non disk:", ", ".join(f"{name} {used / 1e6:,.0f} MB" for name, used in disk.items()))


def measure(folder: Path, script: str, *words: str) -> tuple[float, int]:
    """Run a command in a folder; return its seconds, and its peak memory in bytes."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, str(ROOT / script), *words], cwd=folder)  # noqa: S603
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{script} ended with exit code {child.returncode}")
    return time.perf_counter() - start, used.ru_maxrss * 1024


def folder_size(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
