"""How many images a second are made, against pyts, and how near that is to the memory's bandwidth.

python benchmarks/encoding.py [--images 4000] [--rounds 5]

In turns, in one process: pyts' GramianAngularField by both methods, resized bilinearly where there
are fewer points than pixels, then `encode`. Medians of the rounds, after one that is not timed.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from pyts.image import GramianAngularField
from torch.nn import functional

from gafcnn.images import encode

SIZE = 64
CASES = [(64, "float32"), (64, "int8"), (15, "int8"), (30, "int8"), (60, "int8")]


def main() -> None:
    """Time all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4000, help="that are made a round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    threads: int = numba.config.NUMBA_NUM_THREADS  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]
    print(f"{platform.machine()}, {threads} threads, images of 2 x {SIZE} x {SIZE} pixels")
    print(f"{'points, pixels':16}{'pyts/s':>10}{'encode/s':>12}{'ratio':>7}{'of memory':>11}")
    for points, dtype in CASES:
        series = np.random.default_rng(0).normal(size=(asked.images, points)).cumsum(axis=1)
        theirs, ours, filled = in_turns(
            [
                partial(by_pyts, series, dtype),
                partial(encode, series, SIZE, dtype),
                partial(fill, encode(series[:1], SIZE, dtype).nbytes * asked.images, threads),
            ],
            asked.rounds,
        )
        ratio = median(a / b for a, b in zip(theirs, ours, strict=True))
        share = median(a / b for a, b in zip(filled, ours, strict=True))
        rates = [asked.images / median(times) for times in (theirs, ours)]
        print(
            f"{f'{points}, {dtype}':16}{rates[0]:10,.0f}{rates[1]:12,.0f}{ratio:7.1f}{share:11.0%}"
        )


def in_turns(actions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each action, once a round, after a round that is not timed."""
    times = [[seconds(action) for action in actions] for _ in range(rounds + 1)]
    return [list(of_action) for of_action in zip(*times[1:], strict=True)]


def by_pyts(series: NDArray[np.float64], dtype: str) -> NDArray[np.floating | np.integer]:
    """Both fields as pyts makes them, resized, as the dtype stores them."""
    fields = [
        GramianAngularField(image_size=series.shape[1], method=method).transform(series)
        for method in ("summation", "difference")
    ]
    images = np.stack(fields, axis=1)
    if series.shape[1] < SIZE:
        images = functional.interpolate(
            torch.from_numpy(images), (SIZE, SIZE), mode="bilinear", align_corners=False
        ).numpy()
    return np.rint(127 * images).astype(dtype) if dtype == "int8" else images.astype(dtype)


def fill(n_bytes: int, threads: int) -> None:
    """Write so many bytes to new memory, as encode does, by as many threads."""
    array = np.empty(n_bytes, np.uint8)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: part.fill(1), np.array_split(array, threads)))


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
