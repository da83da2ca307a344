"""What a store takes: seconds to write, against as many plain bytes, and to verify, and memory.

python benchmarks/store.py [--images 207360] [--rounds 5] [--times 10] [--size 64] [--folder .]

In turns, in one process: a store from bars to closed, synced files, then as many bytes in blocks of
4 MB, synced once. Verified is a store that the system still holds in memory. Peak memory is that of
a process of its own, which reads the bars from a file and writes their store: for so many images,
and for so many times as many.
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

from gafcnn.atomic_io import sync
from gafcnn.data.reading import read_bars, write_bars
from gafcnn.data.simulated import simulate
from gafcnn.data.windows import Window
from gafcnn.durations import parse_duration
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import build_store, open_store

WINDOW = Window("60min")
SHORT = 59  # bars that end no lookback of 60 minutes
BLOCK = 4 * 2**20
TARGET = 1.3  # times the seconds of plain bytes


def main() -> None:
    """Time both in turns, weigh the writer, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=207_360, help="144 days of minutes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=10, help="as many bars, for the memory")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--weigh", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.weigh:
        return weigh(asked.weigh, asked.size)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        compare(Path(folder), asked.images, asked.size, asked.rounds)
        print(f"{'':24}{'bars read':>12}{'store written':>15}")
        for images in (asked.images, asked.images * asked.times):
            before, most = peak_of_another(Path(folder), images, asked.size)
            print(f"{f'peak, {images:,} images':24}{before:9,.0f} MB{most:12,.0f} MB", flush=True)
    return None


def compare(folder: Path, images: int, size: int, rounds: int) -> None:
    """Print the seconds of a store and of plain bytes, in turns."""
    bars, spec = (
        simulate(images + SHORT, horizon=parse_duration("horizon", "15min"))[0],
        ImageSpec(size),
    )
    n_bytes = images * len(spec.channels) * size * size
    store, plain = folder / "store", folder / "plain"
    actions = [
        partial(build_store, store, bars, WINDOW, spec),
        partial(write_plain, plain, n_bytes),
    ]
    times = []
    for _ in range(rounds + 1):  # the first compiles, and is not counted
        times.append([seconds_and_gone(action, store, plain) for action in actions])
    ratios = [ours / theirs for ours, theirs in times[1:]]
    ours, theirs = (median(of_action) for of_action in zip(*times[1:], strict=True))
    print(f"{machine()}: {images:,} images, {n_bytes:,} bytes")
    print(f"{'store':>9}{'plain':>9}{'ratio':>8}{'lowest':>8}{'highest':>9}{'target':>8}")
    spread = f"{min(ratios):8.2f}{max(ratios):9.2f}{TARGET:8.1f}"
    print(f"{ours:7.2f} s{theirs:7.2f} s{median(ratios):8.2f}{spread}")
    actions[0]()
    verified = median(in_turns([partial(open_store, store)], rounds)[0])
    print(f"verified on opening: {verified:.2f} s, {n_bytes / verified / 1e9:.2f} GB/s", flush=True)
    shutil.rmtree(store)


def seconds_and_gone(action: Callable[[], object], *written: Path) -> float:
    """How long it takes; then what it wrote is removed, and the disk at rest."""
    taken = seconds(action)
    for path in written:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    os.sync()  # a disk that is told of what is removed would be slow at what is next
    return taken


def write_plain(path: Path, n_bytes: int) -> None:
    """Write so many bytes one after another, to a closed and synced file."""
    block = np.random.default_rng(0).bytes(BLOCK)
    with path.open("wb", buffering=0) as file:
        for start in range(0, n_bytes, BLOCK):
            file.write(block[: n_bytes - start])
        os.fsync(file.fileno())
    sync(path.parent)


def peak_of_another(folder: Path, images: int, size: int) -> tuple[float, float]:
    """The most memory, in MB, of a process that reads bars and writes their store; first the bars.

    Returns:
        What it held once it had the bars, and the most until the store was there.
    """
    bars, _ = simulate(images + SHORT, horizon=parse_duration("horizon", "15min"))
    write_bars(folder / "bars.parquet", bars)
    command = [sys.executable, __file__, "--weigh", str(folder), "--size", str(size)]
    told = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603
    shutil.rmtree(folder / "store")
    before, most = told.stdout.split()
    return float(before), float(most)


def weigh(folder: Path, size: int) -> None:
    """Read the bars, write their store, and print the peak memory before and after."""
    bars = read_bars(folder / "bars.parquet")
    before = peak()
    build_store(folder / "store", bars, WINDOW, ImageSpec(size))
    print(before, peak())


def peak() -> float:
    """The most memory that this process has held so far, in MB of 10^6 bytes."""
    # not getrusage: it begins with the memory of the process that started this one
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
