"""How long a decision takes, from bars to the answer: three windows, baseline, all ensembles.

python benchmarks/live.py [--decisions 200] [--models small_cnn,resnet18]

On one thread, after loading. The networks are as they begin, in runs like those that a training
leaves, for what they say is nothing to the time; the trees are grown on the bars. Also told is the
time of the thread alone, without what it waited for other processes, and the least of all times,
which is the least disturbed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import pandas as pd

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as predict.py does
import torch
from omegaconf import DictConfig
from timing import machine

from gafcnn.app.deciding import Decider
from gafcnn.app.factory import fingerprints, load_samples, new_module, plain
from gafcnn.app.runs import BEST, PREDICTIONS, claim, find_runs, finish
from gafcnn.app.studies import markets_of
from gafcnn.app.train import predictions_of, train
from gafcnn.data.simulated import simulate
from gafcnn.data.sources import Market
from gafcnn.evaluation.predictions import write_predictions
from gafcnn.evaluation.trading_rules import TradingRules as Rules
from gafcnn.models.checkpoints import WholeCheckpoints
from gafcnn.models.module import GafModule

CONF = Path(__file__).parents[1] / "conf"
WINDOWS = ("15m", "30m", "60m")
TARGET = 50  # ms, the median


def main() -> None:
    """Time decisions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=200)
    parser.add_argument("--models", default="small_cnn,resnet18")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}, 1 thread: {asked.decisions} decisions, three windows of 64 x 64")
    print(
        f"{'ms':14}{'median':>10}{'p99':>8}{'target':>8}{'least':>8}"
        f"{'of the thread: median':>24}{'p99':>8}{'least':>8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for model in asked.models.split(","):
            decider, bars = loaded(Path(folder), model)
            print(f"{model:14}{told(decider, bars, asked.decisions)}", flush=True)


def loaded(folder: Path, model: str) -> tuple[Decider, pd.DataFrame]:
    """A study of a model at three windows, loaded; and its bars."""
    words = [f"model={model}", "market=simulated", "market.days=4", f"study={model}"]
    words += [f"paths.data={folder}", f"paths.outputs={folder}", "trainer.accelerator=cpu"]
    words += ["model.weights=null", "trainer.precision=32-true"]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        for window in WINDOWS:
            untrained(hydra.compose("train", [*words, f"window={window}"]), folder / model / window)
        words[0] = "model=xgboost"
        train(hydra.compose("train", words[:-2]), folder / model / "xgboost")
    runs = find_runs(folder / model)
    bars, _ = simulate(4 * 1440)
    return Decider(runs, markets_of(runs), Rules(), ["mean", "weighted", "vote", "stacking"]), bars


def untrained(cfg: DictConfig, folder: Path) -> None:
    """Write a run whose network is as it begins, and whose predictions are any."""
    torch.manual_seed(0)
    bars, oracle = simulate(4 * 1440)
    market = Market("SIMULATED", bars, oracle)
    samples = load_samples(cfg, [market])
    rng = np.random.default_rng(0)
    rows = len(samples.split.val) + len(samples.split.test)
    claim(folder, plain(cfg) | {"bars": fingerprints([market])}, overwrite=False)
    write_predictions(folder / PREDICTIONS, predictions_of(cfg, samples, rng.uniform(0, 1, rows)))
    module: GafModule = new_module(cfg)
    state = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    (folder / BEST).parent.mkdir()
    WholeCheckpoints().save_checkpoint(state, folder / BEST)
    finish(folder, {"val": {}})


def told(decider: Decider, bars: pd.DataFrame, decisions: int) -> str:
    """Milliseconds of a decision, the median and the 99th percentile of so many."""
    ends = np.linspace(decider.history, len(bars), decisions + 5).astype(int)
    newest = [bars.iloc[end - decider.history : end] for end in ends]
    walls, threads = [], []
    for held in newest:
        walls.append(milliseconds(time.perf_counter, decider, held))
        threads.append(milliseconds(time.thread_time, decider, held))
    wall, thread = (np.percentile(times[5:], [50, 99, 0]) for times in (walls, threads))
    return (
        f"{wall[0]:10.1f}{wall[1]:8.1f}{TARGET:8}{wall[2]:8.1f}"
        f"{thread[0]:24.1f}{thread[1]:8.1f}{thread[2]:8.1f}"
    )


def milliseconds(clock: Callable[[], float], decider: Decider, bars: pd.DataFrame) -> float:
    """How long a decision takes, by a clock."""
    begun = clock()
    decider.decide("SIMULATED", bars)
    return 1e3 * (clock() - begun)


if __name__ == "__main__":
    main()
