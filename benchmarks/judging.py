"""Duration of judging: nine models on 200,000 test rows, without and with intervals.

python benchmarks/judging.py [--rows 200000] [--resamples 2000]
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd
from scipy.special import expit
from timing import machine

from gafcnn.data.labels import Direction
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological
from gafcnn.evaluation.ensembles import ENSEMBLES, log_odds
from gafcnn.evaluation.judge import judge
from gafcnn.evaluation.predictions import prediction_table

TRAIN = 20_000
SKILLS = {"15m": 0.4, "30m": 0.5, "60m": 0.3, "xgboost": 0.4}
TARGETS = {"without intervals": 10.0, "with intervals": 60.0}  # seconds


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="test rows")
    parser.add_argument("--resamples", type=int, default=2000, help="resamples of the bootstrap")
    options = parser.parse_args()
    samples, tables = predictions(options.rows, max(options.rows // 10, 1000))
    [bars] = samples.bars.values()
    ensembles = [*ENSEMBLES]
    print(
        f"{machine()}: {len(SKILLS) + len(ensembles) + 1} models, "
        f"{len(samples.split.test):,} test rows of 1min bars"
    )
    print(f"{'':36}{'seconds':>9}{'target':>9}{'ratio':>8}{'CPU s':>9}{'peak GB':>9}")
    for (name, target), resamples in zip(TARGETS.items(), (0, options.resamples), strict=True):
        begun, busy = time.perf_counter(), time.process_time()
        judge(
            tables, bars, baseline="xgboost", ensembles=ensembles, samples=samples,
            resamples=resamples,
        )  # fmt: skip
        seconds, busy = time.perf_counter() - begun, time.process_time() - busy
        label = f"{name} ({resamples:,} resamples)"
        timed = f"{seconds:9.1f}{target:9.0f}{seconds / target:8.2f}{busy:9.1f}"
        print(f"{label:36}{timed}{peak():9.2f}")


def predictions(test: int, val: int) -> tuple[Samples, dict[str, pd.DataFrame]]:
    """Return the samples of a simulated market, and predictions of different skills."""
    total = TRAIN + val + test
    bars, oracle = simulate(total + 100, horizon="15min")
    split = Chronological(test=test / total, val=val / (TRAIN + val))
    samples = make_samples(bars, label=Direction("15min"), split=split)
    rows = np.concatenate([samples.split.val, samples.split.test])
    signal = log_odds(oracle.to_numpy()[samples.bar_rows("")[rows]])
    rng = np.random.default_rng(0)
    noise = {name: rng.normal(0, 0.3, len(rows)) for name in SKILLS}
    return samples, {
        name: prediction_table(samples, expit(skill * signal + noise[name]), name, 0)
        for name, skill in SKILLS.items()
    }


def peak() -> float:
    """Return the most memory that this process has held so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
