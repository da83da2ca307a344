"""How long judging takes: nine models on 200,000 test rows, without intervals and with them.

python benchmarks/judging.py [--rows 200000] [--resamples 2000]
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from timing import machine

from gafcnn.data.labels import NULL, Direction
from gafcnn.data.simulated import simulate
from gafcnn.data.windows import decision_rows
from gafcnn.durations import parse_duration
from gafcnn.evaluation.ensembles import ENSEMBLES, ensemble, log_odds, two_stage
from gafcnn.evaluation.joining import TWO_STAGE
from gafcnn.evaluation.judge import Study, judge
from gafcnn.evaluation.regimes import regimes
from gafcnn.evaluation.test_set import Ground
from gafcnn.evaluation.trading_rules import TradingRules as Rules

HORIZON, LOOKBACK = parse_duration("horizon", "15min"), parse_duration("lookback", "60min")
TRAIN = 20_000
SKILLS = {"15m": 0.4, "30m": 0.5, "60m": 0.3, "xgboost": 0.4}
WINDOWS = ["15m", "30m", "60m"]
MODELS = [*WINDOWS, *ENSEMBLES, "xgboost", TWO_STAGE]
TARGETS = {"without intervals": 10.0, "with intervals": 60.0}  # seconds


def main() -> None:
    """Time both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="test rows")
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    asked = parser.parse_args()
    bars, joined, train_times = market(asked.rows, max(asked.rows // 10, 1000))
    print(f"{machine()}: {len(MODELS)} models, {asked.rows:,} test rows of 1min bars")
    print(f"{'':36}{'seconds':>9}{'target':>9}{'ratio':>8}{'CPU s':>9}{'peak GB':>9}")
    for (name, target), resamples in zip(TARGETS.items(), (0, asked.resamples), strict=True):
        begun, busy = time.perf_counter(), time.process_time()
        judge(study(bars, joined, train_times), resamples=resamples)
        seconds, busy = time.perf_counter() - begun, time.process_time() - busy
        label = f"{name} ({resamples:,} resamples)"
        timed = f"{seconds:9.1f}{target:9.0f}{seconds / target:8.2f}{busy:9.1f}"
        print(f"{label:36}{timed}{peak():9.2f}")


def market(test: int, val: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DatetimeIndex]:
    """A simulated market: its bars, all models side by side, the times of the training samples."""
    n_bars = TRAIN + val + test + 1000
    bars, oracle = simulate(n_bars, horizon=HORIZON)
    rows = decision_rows(bars, LOOKBACK)[: TRAIN + val + test]
    label = Direction(HORIZON)
    outcomes = label.outcomes(bars, rows)
    labels = label.assign(outcomes, np.arange(TRAIN))
    times = pd.DatetimeIndex(bars.index[rows])
    joined = pd.DataFrame(
        {
            "symbol": "SIM",
            "time": times,
            "fold": pd.array([None] * len(rows), dtype="Int64"),
            "split": np.where(np.arange(len(rows)) < TRAIN + val, "val", "test"),
            "label": pd.array(np.where(labels == NULL, np.nan, labels), dtype="Int8"),
            "forward_return": outcomes.forward_return,
            "known_at": times + HORIZON,
            **forecasts(oracle.to_numpy()[rows]),
        }
    ).iloc[TRAIN:]
    joined = joined.reset_index(drop=True)
    combined = two_stage(ensemble(joined, WINDOWS), "xgboost", WINDOWS)
    return bars, combined, times[:TRAIN]


def forecasts(oracle: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Columns of P(up) that know of the oracle as much as their skill says."""
    rng = np.random.default_rng(0)
    signal = log_odds(oracle)
    return {
        name: expit(skill * signal + rng.normal(0, 0.3, len(signal)))
        for name, skill in SKILLS.items()
    }


def study(bars: pd.DataFrame, joined: pd.DataFrame, train_times: pd.DatetimeIndex) -> Study:
    """What is judged, nothing of it computed yet."""
    ground = Ground.of(joined, bars, HORIZON, Rules())
    times = pd.DatetimeIndex(ground.test["time"])
    return Study(
        ground,
        WINDOWS,
        MODELS,
        "xgboost",
        TWO_STAGE,
        regimes(bars, times, train_times, LOOKBACK),
        trials=len(SKILLS),
    )


def peak() -> float:
    """The most memory that this process has held so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
