"""What a study of all pairs of a large exchange costs: disk, memory, network, hours of a GPU.

python benchmarks/scaling.py [--pairs 400] [--years 5] [--epochs 15] [--rate 91529]

Arithmetic over figures that were measured (docs/performance.md); each may be given anew. A pair is
counted as if it had been listed for all the years, so that all figures are upper ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from math import log10

MINUTES = 365 * 24 * 60  # of a year; one bar each
WINDOWS = 3  # 15m, 30m, 60m
POINTS = 60  # of the longest of them
IMAGE = 2 * 64 * 64  # bytes: int8
SERIES = 16  # bytes a bar: one field and its time
BARS = 49  # bytes a bar of a parquet file
KLINE = 150  # bytes a bar of an exchange's answer
ANSWER, ANSWERS = 1000, 3000  # bars an answer; answers a minute that an exchange gives
MEMORY = 290  # bytes a bar that a training holds at its peak, of bars, labels and splits
TRAINED = 0.9 * 0.9 * 0.8  # share of the samples: before test and validation, and not neutral
GRADIENTS = 4 * 10_565_889  # bytes that processes of one training exchange a step, each way
BATCH = 1024
PLAIN = 2 * 64 * 64 * 8  # bytes of an image where nothing is done about it: float64


@dataclass(frozen=True)
class Study:
    """A study of so many pairs.

    Attributes:
        pairs: Symbols.
        years: Of one-minute bars of each.
        epochs: That a window is trained for; early stopping decides.
        rate: Samples a second that a GPU trains on.
    """

    pairs: float
    years: float
    epochs: float
    rate: float

    @property
    def bars(self) -> float:
        """One-minute bars, and about as many samples of each window."""
        return self.pairs * self.years * MINUTES

    @property
    def hours(self) -> float:
        """Of a GPU, for one epoch of one window."""
        return self.bars * TRAINED / self.rate / 3600

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """What it costs, stored and on the fly."""
        bars, steps = self.bars, self.rate / BATCH
        both = "the same"
        yield "one-minute bars", f"{bars / 1e9:.2f} billion", both
        yield "download", f"{size(bars * KLINE)}, {bars / ANSWER / ANSWERS / 60:.0f} h", both
        yield "bars on disk", size(bars * BARS), both
        yield "images or series on disk, a window", size(bars * IMAGE), size(bars * SERIES)
        yield "three windows", size(WINDOWS * bars * IMAGE), size(WINDOWS * bars * SERIES)
        yield "the same as float64 images", size(WINDOWS * bars * PLAIN), "-"
        yield "memory of one process", size(bars * MEMORY), both
        yield "of it beside, to read from", "page cache, what is free", size(bars * SERIES)
        yield (
            "read while training",
            f"{size(self.rate * IMAGE)}/s",
            f"{size(self.rate * POINTS * 8)}/s",
        )
        yield (
            "gradients that trainer=ddp sends",
            f"{size(2 * GRADIENTS * steps)}/s from each GPU",
            both,
        )
        yield "GPU hours, an epoch of a window", f"{self.hours:.1f}", both
        yield (
            f"GPU hours, three windows, {self.epochs} epochs each",
            f"{WINDOWS * self.epochs * self.hours:.0f}",
            both,
        )


def size(count: float) -> str:
    """Bytes, in the unit that they are told in."""
    units = ("B", "kB", "MB", "GB", "TB")
    power = min(int(log10(max(count, 1)) // 3), len(units) - 1)
    return f"{count / 1000**power:.3g} {units[power]}"


def positive(text: str) -> float:
    """A number above 0, whole where it can be."""
    if not (number := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text}; expected a number above 0")
    return int(number) if number.is_integer() else number


def main() -> None:
    """Print the table, as docs/scaling.md has it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=positive, default=400)
    parser.add_argument("--years", type=positive, default=5)
    parser.add_argument("--epochs", type=positive, default=15, help="of a window")
    parser.add_argument("--rate", type=positive, default=91_529, help="samples a second of a GPU")
    asked = parser.parse_args()
    study = Study(asked.pairs, asked.years, asked.epochs, asked.rate)
    print("| what | images=stored | images=on_the_fly |\n|---|---:|---:|")
    for row in study.rows():
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
