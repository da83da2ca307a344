"""Time and memory of writing and verifying stored images, compared with writing plain bytes.

    python benchmarks/store.py [--images 207360] [--rounds 5] [--times 10] [--size 64] [--folder .]

In turns, in one process: a store from bars to closed, synced files, and as many bytes in blocks of
4 MiB, synced once. The store that is verified is still in the system's cache. Peak memory is that
of a separate process that reads the bars and writes their store: for --images, and for --times as
many.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from timing import in_turns, machine, seconds

import gafcnn as gc
from gafcnn.atomic_io import sync
from gafcnn.data.reading import write_bars
from gafcnn.images.store import build_store, open_store

WINDOW = gc.Window("60min")
SHORT = 59  # bars before the first full lookback
BLOCK = 4 * 2**20
TARGET = 1.3  # times the time of plain bytes


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=207_360, help="144 days of minutes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=10, help="factor for the memory")
    parser.add_argument("--size", type=int, default=64, help="pixels per side")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure")
    parser.add_argument("--peaks-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peaks_of:
        return print_peaks(options.peaks_of, options.size)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        compare(Path(folder), options.images, options.size, options.rounds)
        print(f"{'':24}{'bars read':>12}{'store written':>15}")
        for images in (options.images, options.images * options.times):
            before, most = peaks_of_another(Path(folder), images, options.size)
            print(f"{f'peak, {images:,} images':24}{before:9,.0f} MB{most:12,.0f} MB", flush=True)
    return None


def compare(folder: Path, images: int, size: int, rounds: int) -> None:
    """Print the time of a store and of plain bytes, in turns."""
    bars, spec = gc.simulate(images + SHORT)[0], gc.ImageSpec(size)
    n_bytes = images * len(spec.channels) * size * size
    store, plain = folder / "store", folder / "plain"
    actions = [
        partial(build_store, store, bars, WINDOW, spec),
        partial(write_plain, plain, n_bytes),
    ]
    times = []
    for _ in range(rounds + 1):  # the first compiles, and is not counted
        times.append([seconds_and_delete(action, store, plain) for action in actions])
    ratios = [ours / theirs for ours, theirs in times[1:]]
    ours, theirs = (median(column) for column in zip(*times[1:], strict=True))
    print(f"{machine()}: {images:,} images, {n_bytes:,} bytes")
    print(f"{'store':>9}{'plain':>9}{'ratio':>8}{'lowest':>8}{'highest':>9}{'target':>8}")
    spread = f"{min(ratios):8.2f}{max(ratios):9.2f}{TARGET:8.1f}"
    print(f"{ours:7.2f} s{theirs:7.2f} s{median(ratios):8.2f}{spread}")
    actions[0]()
    verified = median(in_turns([partial(open_store, store)], rounds)[0])
    print(f"verified on opening: {verified:.2f} s, {n_bytes / verified / 1e9:.2f} GB/s", flush=True)
    shutil.rmtree(store)


def seconds_and_delete(action: Callable[[], object], *written: Path) -> float:
    """Return the time of a call; then delete its files, and wait for the disk."""
    duration = seconds(action)
    for path in written:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    os.sync()  # otherwise the deletion would slow down the next call
    return duration


def write_plain(path: Path, n_bytes: int) -> None:
    """Write bytes to a file, and sync it."""
    block = np.random.default_rng(0).bytes(BLOCK)
    with path.open("wb", buffering=0) as file:
        for start in range(0, n_bytes, BLOCK):
            file.write(block[: n_bytes - start])
        os.fsync(file.fileno())
    sync(path.parent)


def peaks_of_another(folder: Path, images: int, size: int) -> tuple[float, float]:
    """Return the peak memory of another process, in MB: with the bars, and after the store."""
    bars, _ = gc.simulate(images + SHORT)
    write_bars(folder / "bars.parquet", bars)
    command = [sys.executable, __file__, "--peaks-of", str(folder), "--size", str(size)]
    printed = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603
    shutil.rmtree(folder / "store")
    before, most = printed.stdout.split()
    return float(before), float(most)


def print_peaks(folder: Path, size: int) -> None:
    """Read the bars, write their store, and print the peak memory before and after."""
    bars = gc.read_bars(folder / "bars.parquet")
    before = peak()
    build_store(folder / "store", bars, WINDOW, gc.ImageSpec(size))
    print(before, peak())


def peak() -> float:
    """Return the peak memory of this process, in MB of 10^6 bytes."""
    # not getrusage: it starts with the memory of the parent process
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
