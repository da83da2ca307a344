"""Images per second, compared with pyts and with the bandwidth of the memory.

    python benchmarks/encoding.py [--images 4000] [--rounds 7]

In turns, in one process: pyts' GramianAngularField by both methods, resized bilinearly in float32
where there are fewer points than pixels; `encode` into new memory, as pyts does; `encode` into
memory that is used again, as when a store is written; and the same memory filled with one number,
with as many threads. Medians over the rounds, after a first one that is not counted.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from pyts.image import GramianAngularField
from timing import in_turns, machine
from torch.nn import functional

from gafcnn import encode

SIZE = 64
TARGETS = {
    (64, "float32"): 150,
    (64, "int8"): 280,
    (15, "int8"): 300,
    (30, "int8"): 300,
    (60, "int8"): 300,
}


def main() -> None:
    """Time all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4000, help="per round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    threads: int = numba.config.NUMBA_NUM_THREADS  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]
    print(
        f"{machine()}, {threads} threads: {options.images:,} images of 2 x {SIZE} x {SIZE} pixels"
    )
    print(f"{'':14}{'images per second':>34}{'times pyts':>16}{'':8}{'share of':>8}")
    print(f"{'points, pixels':14}{'pyts':>10}{'encode':>12}{'reused':>12}", end="")
    print(f"{'encode':>9}{'reused':>7}{'target':>8}{'memory':>8}")
    for (points, dtype), target in TARGETS.items():
        series = np.random.default_rng(0).normal(size=(options.images, points)).cumsum(axis=1)
        reused_memory = encode(series, SIZE, dtype)
        actions = [
            partial(by_pyts, series),
            partial(encode, series, SIZE, dtype),
            partial(encode, series, SIZE, dtype, out=reused_memory),
            partial(fill, np.empty_like(reused_memory), threads),
        ]
        times = in_turns(actions, options.rounds)
        pyts, new, reused, filled = (np.array(column) for column in times)
        rates = "".join(f"{options.images / median(times):12,.0f}" for times in (new, reused))
        print(f"{f'{points}, {dtype}':14}{options.images / median(pyts):10,.0f}{rates}", end="")
        print(f"{median(pyts / new):9.1f}{median(pyts / reused):7.1f}{target:8}", end="")
        print(f"{median(filled / reused):8.0%}", flush=True)


def by_pyts(series: NDArray[np.float64]) -> list[Any]:
    """Return the images of pyts, resized as it is usually done."""
    fields = [
        GramianAngularField(image_size=series.shape[1], method=method).fit_transform(series)
        for method in ("summation", "difference")
    ]
    if series.shape[1] == SIZE:
        return fields
    return [
        functional.interpolate(
            torch.from_numpy(field.astype(np.float32))[:, None],
            (SIZE, SIZE),
            mode="bilinear",
            align_corners=False,
        )
        for field in fields
    ]


def fill(array: NDArray[Any], threads: int) -> None:
    """Write to memory that was written to before, in equal parts by all threads."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: part.fill(1), np.array_split(array, threads)))


if __name__ == "__main__":
    main()
