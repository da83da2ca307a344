"""Seconds and memory to read a csv of one-minute bars, compared with pandas.read_csv alone.

    python benchmarks/reading.py [--rows 1000000] [--rounds 3]

In turns, in one process; medians over the rounds, after a first one that is not counted. The memory
is the most that a process of its own needs to read the file once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from timing import in_turns, machine

from gafcnn import read_bars

# not ru_maxrss, which begins with the memory of the process that started this one
READ_ONCE = """
import re, sys
from gafcnn import read_bars
read_bars(sys.argv[1])
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3)
"""


def main() -> None:
    """Time reading, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{machine()}: {options.rows:,} rows")
    print(f"{'times':10}{'read_bars, s':>14}{'read_csv, s':>14}{'ratio':>8}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for notation in ("epochs", "ISO"):
            path = Path(folder, f"{notation}.csv")
            write(path, options.rows, notation)
            actions = [partial(read_bars, path), partial(pd.read_csv, path)]
            ours, pandas = map(median, in_turns(actions, options.rounds))
            command = [sys.executable, "-c", READ_ONCE, str(path)]
            peak = float(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603
            print(f"{notation:10}{ours:14.2f}{pandas:14.2f}{ours / pandas:8.2f}{peak:9.0f}")


def write(path: Path, n: int, notation: str) -> None:
    """Write a random walk of one-minute bars."""
    moves = np.random.default_rng(0).normal(0, 1e-3, n)
    close = np.round(100 * np.exp(moves.cumsum()), 4)
    opens = np.r_[100, close[:-1]]
    times = pd.date_range("2023-01-01", periods=n, freq="1min", tz="UTC", unit="ms")
    frame = pd.DataFrame(
        {
            "open_time": times.asi8 if notation == "epochs" else times.strftime("%FT%TZ"),
            "open": opens,
            "high": np.maximum(opens, close) + 0.01,
            "low": np.minimum(opens, close) - 0.01,
            "close": close,
            "volume": 1.5,
        }
    )
    frame.to_csv(path, index=False)


if __name__ == "__main__":
    main()
