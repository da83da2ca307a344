"""How many images a second are made, against pyts, and how near that is to the memory's bandwidth.

python benchmarks/encoding.py [--images 4000] [--rounds 7]

In turns, in one process, all of them in one call: pyts' GramianAngularField by both methods, in
float64 as it gives them, resized bilinearly in float32 where there are fewer points than pixels;
`encode` into new memory, as pyts does; `encode` into memory that is used anew, as a store is
written; and that memory filled with one number, by as many threads. Medians of the rounds, after
one that is not timed.
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

from gafcnn.images.encoding import encode

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
    parser.add_argument("--images", type=int, default=4000, help="that are made a round")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    threads: int = numba.config.NUMBA_NUM_THREADS  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]
    print(f"{machine()}, {threads} threads: {asked.images:,} images of 2 x {SIZE} x {SIZE} pixels")
    print(f"{'':14}{'images a second':>34}{'times pyts':>16}{'':8}{'of the':>8}")
    print(f"{'points, pixels':14}{'pyts':>10}{'encode':>12}{'anew':>12}", end="")
    print(f"{'encode':>9}{'anew':>7}{'target':>8}{'memory':>8}")
    for (points, dtype), target in TARGETS.items():
        series = np.random.default_rng(0).normal(size=(asked.images, points)).cumsum(axis=1)
        kept = encode(series, SIZE, dtype)
        actions = [
            partial(by_pyts, series),
            partial(encode, series, SIZE, dtype),
            partial(encode, series, SIZE, dtype, out=kept),
            partial(fill, np.empty_like(kept), threads),
        ]
        times = in_turns(actions, asked.rounds)
        pyts, new, anew, filled = (np.array(of_action) for of_action in times)
        rates = "".join(f"{asked.images / median(of):12,.0f}" for of in (new, anew))
        print(f"{f'{points}, {dtype}':14}{asked.images / median(pyts):10,.0f}{rates}", end="")
        print(f"{median(pyts / new):9.1f}{median(pyts / anew):7.1f}{target:8}", end="")
        print(f"{median(filled / anew):8.0%}", flush=True)


def by_pyts(series: NDArray[np.float64]) -> list[Any]:
    """Both fields as pyts makes them, and as the usual next step resizes them."""
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
    """Write to memory that was written to before, as much of it a thread."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: part.fill(1), np.array_split(array, threads)))


if __name__ == "__main__":
    main()
