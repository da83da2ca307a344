"""Time of one live decision on one thread: three ResNet18, trees on indicators, all ensembles.

    python benchmarks/live.py [--decisions 200] [--network resnet18]

Trains a study on three days of a simulated market (one short epoch, because the time does not
depend on the weights), loads it, and decides on 2,500 bars again and again. The CPU time is that of
the process: on a quiet machine it equals the time of the decision; on a busy one it leaves out the
wait for a core. The parts are timed after each decision, in CPU time; "rest" is the difference.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# before numpy, numba and torch are imported
os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
import pandas as pd
from timing import machine

import gafcnn as gc
from gafcnn.app.command import main as command
from gafcnn.app.predict import Decider
from gafcnn.data.windows import WindowReader

WINDOWS = ("15m", "30m", "60m")
TARGET = 50  # ms, for the median
DECISION, CPU_TIME = "decision", "decision, CPU time"
WARM = 5  # decisions that are not counted


def main() -> None:
    """Time decisions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=200)
    parser.add_argument("--network", default="resnet18", help="resnet18 or small_cnn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        decider = gc.load_study(trained_study(Path(folder), options.network)).decider
        times = measure(decider, options.decisions)
    print(f"{machine()}, 1 thread")
    print(f"{options.decisions} decisions on {decider.history:,} bars: {', '.join(decider.names)}")
    print(f"\n{'ms':24}{'median':>9}{'p99':>9}{'least':>9}{'target':>9}")
    for part, values in times.items():
        figures = np.percentile(values, [50, 99, 0])
        target = f"{TARGET:9}" if part in (DECISION, CPU_TIME) else ""
        print(f"{part:24}" + "".join(f"{figure:9.2f}" for figure in figures) + target)


def trained_study(folder: Path, network: str) -> Path:
    """Train a small study of all windows and the trees; return its folder."""
    words = ["market=simulated", "market.days=3", "study=live", "images=on_the_fly"]
    words += [f"paths.data={folder}", f"paths.outputs={folder}", "trainer.accelerator=cpu"]
    short = ["model.weights=null", "trainer.max_epochs=1", "split.stride=10", "logger=csv"]
    for window in WINDOWS:
        command("train", words=[*words, *short, f"model={network}", f"window={window}"])
    command("train", words=[*words, "model=xgboost", "window=60m", "split.stride=10"])
    return folder / "live"


def measure(decider: Decider, decisions: int) -> dict[str, np.ndarray]:
    """Return milliseconds of each decision, and of its parts."""
    market, _ = gc.simulate(decider.history + decisions + WARM, seed=1)
    rounds = []
    for start in range(decisions + WARM):
        bars = market.iloc[start : start + decider.history]
        wall = time.perf_counter()
        used = milliseconds(partial(decider.decide, bars))
        wall = 1000 * (time.perf_counter() - wall)
        rounds.append({DECISION: wall, CPU_TIME: used} | part_times(decider, bars))
    table = pd.DataFrame(rounds[WARM:])
    table["rest"] = table[CPU_TIME] - table.drop(columns=[DECISION, CPU_TIME]).sum(axis=1)
    return {str(name): column.to_numpy() for name, column in table.items()}


def milliseconds(action: Callable[[], object]) -> float:
    """Return the CPU time of a call, in all threads."""
    start = time.process_time()
    action()
    return 1000 * (time.process_time() - start)


def part_times(decider: Decider, bars: pd.DataFrame) -> dict[str, float]:
    """Return the CPU time of trees, encoding and networks."""
    last = np.array([len(bars) - 1])
    [trees] = decider.members["xgboost"]
    times = {"indicators and trees": milliseconds(partial(trees, bars, last)), "encoding": 0.0}
    for window in WINDOWS:
        predictor: Any = getattr(decider.members[window][0], "__self__")  # noqa: B009
        spec = predictor.image_spec

        def images(predictor: Any = predictor, spec: gc.ImageSpec = spec) -> np.ndarray:
            return spec.shown(WindowReader(bars, predictor.window, spec.fields)(last))

        times["encoding"] += milliseconds(images)
        times[f"network {window}"] = milliseconds(partial(predictor.predict, images()))
    return times


if __name__ == "__main__":
    main()
