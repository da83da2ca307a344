"""Estimate of what a study of all pairs of an exchange needs: disk, memory, network, GPU hours.

    python benchmarks/scaling.py [--pairs 400] [--years 5] [--epochs 15] [--rate 91529]

Arithmetic with measured figures (docs/performance.md). Every pair counts as if it had been listed
for all the years, so that the figures are upper limits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from math import log10

MINUTES = 365 * 24 * 60  # per year; one bar each
WINDOWS = 3  # 15m, 30m, 60m
POINTS = 60  # of the longest window
IMAGE = 2 * 64 * 64  # bytes, int8
SERIES = 16  # bytes per bar: one field and its time
BARS = 49  # bytes per bar of a parquet file
KLINE = 150  # bytes per bar of an exchange's answer
ANSWER, ANSWERS = 1000, 3000  # bars per answer; answers per minute that an exchange allows
MEMORY = 117  # bytes per bar that a run holds at its peak, when it predicts (memory.py)
TRAINED = 0.9 * 0.9 * 0.8  # share of the samples: before test and validation, and labelled
GRADIENTS = 4 * 10_565_889  # bytes that processes of one training exchange per step, each way
BATCH = 1024
PLAIN = 8 * IMAGE  # bytes of a float64 image


def main() -> None:
    """Print the table of docs/clusters.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=float, default=400)
    parser.add_argument("--years", type=float, default=5)
    parser.add_argument("--epochs", type=float, default=15, help="per window")
    parser.add_argument("--rate", type=float, default=91_529, help="samples per second of a GPU")
    options = parser.parse_args()
    print("| what | images=stored | images=on_the_fly |\n|---|---:|---:|")
    bars = options.pairs * options.years * MINUTES
    for row in estimates(bars, options.epochs, options.rate):
        print("| " + " | ".join(row) + " |")


def estimates(bars: float, epochs: float, rate: float) -> Iterator[tuple[str, str, str]]:
    """Yield what is needed, with stored images and on the fly."""
    hours, same = bars * TRAINED / rate / 3600, "the same"
    yield "one-minute bars", f"{bars / 1e9:.2f} billion", same
    yield "download", f"{size(bars * KLINE)}, {bars / ANSWER / ANSWERS / 60:.0f} h", same
    yield "bars on disk", size(bars * BARS), same
    for name, n in (("a window", 1), ("three windows", WINDOWS)):
        name = f"images or series on disk, {name}"
        yield name, size(n * bars * IMAGE), size(n * bars * SERIES)
    yield "three windows as float64 images", size(WINDOWS * bars * PLAIN), "-"
    yield "memory of one process", size(bars * MEMORY), same
    yield "read while training", f"{size(rate * IMAGE)}/s", f"{size(rate * POINTS * 8)}/s"
    sent = size(2 * GRADIENTS * rate / BATCH)
    yield "gradients that trainer=ddp sends", f"{sent}/s from each GPU", same
    yield "GPU hours, an epoch of a window", f"{hours:.1f}", same
    total = f"{WINDOWS * epochs * hours:.0f}"
    yield f"GPU hours, three windows, {epochs:g} epochs each", total, same


def size(count: float) -> str:
    """Return bytes as text."""
    units = ("B", "kB", "MB", "GB", "TB")
    power = min(int(log10(max(count, 1)) // 3), len(units) - 1)
    return f"{count / 1000**power:.3g} {units[power]}"


if __name__ == "__main__":
    main()
