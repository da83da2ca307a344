"""Memory, time and disk of one study of millions of samples, made on the fly.

python benchmarks/large.py [--samples 3000000]

A market of that many simulated minutes; a small network of one window for one epoch, its
evaluation with the baseline, and what lies on disk afterwards. Each command is a process of its own
and tells its peak memory, of which pages of mapped files, that are given back where others need
them, are a part.
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


def measured(folder: Path, script: str, *words: str) -> tuple[float, int]:
    """Give a command in a folder; its seconds, and its peak memory in bytes."""
    begun = time.perf_counter()
    child = subprocess.Popen([sys.executable, str(ROOT / script), *words], cwd=folder)  # noqa: S603
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{script} ended with {child.returncode}")
    return time.perf_counter() - begun, used.ru_maxrss * 1024


def size(folder: Path) -> int:
    """The bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=3_000_000)
    samples = parser.parse_args().samples
    days = samples // DAY + 1
    study = [
        "study=large",
        "window=15m",
        "market=simulated",
        f"market.days={days}",
        "images=on_the_fly",
        "images.size=16",
    ]
    network = [
        "model=small_cnn",
        "model.network.width=4",
        "model.batch_size=1024",
        "trainer.max_epochs=1",
        "callbacks.progress=null",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = {
            "prepare.py": measured(folder, "prepare.py", *study),
            "train.py, small_cnn": measured(folder, "train.py", *study, *network),
            "train.py, xgboost": measured(folder, "train.py", *study, "model=xgboost"),
            "evaluate.py": measured(folder, "evaluate.py", "study=large", "judging.resamples=200"),
        }
        disk = {name: size(folder / name) for name in ("data", "outputs")}
    print(f"{days * DAY:,} bars; {machine()}\n")
    print("| command | seconds | peak memory | bytes a bar |\n|---|---:|---:|---:|")
    for command, (seconds, peak) in rows.items():
        print(f"| {command} | {seconds:.0f} | {peak / 1e6:,.0f} MB | {peak / days / DAY:,.0f} |")
    print("\non disk:", ", ".join(f"{name} {used / 1e6:,.0f} MB" for name, used in disk.items()))


if __name__ == "__main__":
    main()
