"""Memory and time of a training on the fly, per bar and symbol, as a universe grows.

    python benchmarks/memory.py [FOLDER] [--interval 30min] [--label relative] [--rounds 3]

Reads a quarter, a half and all of the symbols of a folder of bars (by default 96 simulated ones,
hourly), makes samples, trains a small network for an epoch and predicts: each time in a process of
its own, and the median of several rounds. Bytes per bar and symbol are the slope of the peak memory
over the number of bars, beyond what a small training before has left, so that the fixed part, such
as that of torch, drops out. They include the bars: 40 bytes for prices and volume, and 8 for the
time where it is not shared. `--extras` keeps the further columns that files have, 8 bytes each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from timing import machine

import gafcnn as gc
from gafcnn.data.bars import release_memory

SYMBOLS, N_BARS = 96, 7296  # of the simulated universe
PHASES = ("reading", "samples", "training", "predicting")
LABELS = {"direction": gc.Direction, "relative": gc.Relative}
COLUMNS = ["open", "high", "low", "close", "volume"]


def main() -> None:
    """Measure, and print a table and the slopes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--interval", default="1h")
    parser.add_argument("--label", choices=LABELS, default="direction")
    parser.add_argument("--extras", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, help=argparse.SUPPRESS)  # of a process of its own
    options = parser.parse_args()
    if options.files:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or simulated(Path(name))
        symbols = len([*folder.glob("*.parquet")])
        command = [sys.executable, __file__, str(folder), *sys.argv[1 + bool(options.folder) :]]
        rows = [
            json.loads(subprocess.check_output([*command, "--files", str(symbols // part)]))  # noqa: S603
            for part in (4, 2, 1) * options.rounds
        ]
    table = pd.DataFrame(rows).groupby(["symbols", "bars"]).median()
    print(f"{machine()}\n\n{table.round(1).to_string()}\n")
    bars = table.index.get_level_values("bars")
    for phase in PHASES:
        slope = np.polyfit(bars, table[f"{phase} MB"] * 1e6, 1)[0]
        print(f"{phase}: {slope:.0f} bytes per bar and symbol")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Train on some of the symbols; return the bars, and the peak and the time of each phase."""
    interval = pd.Timedelta(options.interval)
    window = gc.Window(points=24, step=interval, lookback=32 * interval)
    label = LABELS[options.label](8 * interval)
    network = {"kind": "small_cnn", "width": 4}
    model = gc.GafClassifier(
        window, network=network, image_spec={"size": 16}, batch_size=1024, max_epochs=1,
        progress=False,
    )  # fmt: skip
    paths = sorted(options.folder.glob("*.parquet"))
    few = gc.make_samples(gc.read_markets(paths[:2]), label=label, lookback=window.lookback)
    model.fit(few).predict(few)  # imports what is needed
    del few
    release_memory()
    found = {"base MB": memory("VmRSS")}
    with phase("reading", found):
        bars = gc.read_markets(paths[: options.files])
        if not options.extras:  # copies: views would keep all columns
            bars = {symbol: frame.reindex(columns=COLUMNS).copy() for symbol, frame in bars.items()}
    with phase("samples", found):
        samples = gc.make_samples(bars, label=label, lookback=window.lookback)
    release_memory()  # as `fit` does, before the peak of the training starts anew
    with phase("training", found):
        model.fit(samples)
    with phase("predicting", found):
        model.predict(samples)
    return {"symbols": len(bars), "bars": sum(map(len, bars.values())), **found}


@contextmanager
def phase(name: str, found: dict[str, float]) -> Iterator[None]:
    """Add the peak memory of a phase, in MB of 10^6 bytes, and its seconds."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    start = time.perf_counter()
    yield
    found[f"{name} MB"] = memory("VmHWM") - found["base MB"]
    found[f"{name} s"] = time.perf_counter() - start


def memory(kind: str) -> float:
    """Return the memory of this process: "VmRSS" for now, "VmHWM" for the most so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{kind}:")[1].split()[0]) * 1024 / 1e6


def simulated(folder: Path) -> Path:
    """Write the bars of a simulated universe; return the folder."""
    for symbol, bars in gc.simulate_universe(SYMBOLS, N_BARS)[0].items():
        gc.write_bars(folder / f"{symbol}.parquet", bars)
    return folder


if __name__ == "__main__":
    main()
