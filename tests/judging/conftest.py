"""A small simulated market, forecasts of it whose skill is known, and what there is to judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from gafcnn.data.labels import NULL, Direction, Label, TripleBarrier
from gafcnn.data.samples import LabelledSamples, Splitter
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological, WalkForward
from gafcnn.evaluation.ensembles import ensemble, two_stage
from gafcnn.evaluation.judge import Study, judge
from gafcnn.evaluation.regimes import regimes
from gafcnn.evaluation.test_set import Ground
from gafcnn.evaluation.trading_rules import Rules

HORIZON, LOOKBACK = pd.Timedelta("15min"), pd.Timedelta("60min")
DIRECTION = Direction(HORIZON)
N_BARS = 3000
TRAINED = slice(60, 1000)  # bars that are before every validation
WINDOWS = ["15m", "30m", "60m"]
SKILLS = {"15m": 0.6, "30m": 1.0, "60m": 0.0, "xgboost": 0.8}
MODELS = [*WINDOWS, "mean", "vote", "xgboost", "two_stage", "oracle"]
RULES = Rules(cost_bps=1.0, least_trades=5)


def forecasts(oracle: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """P(up) that knows of the oracle's log-odds the share that its skill says, and errs besides."""
    rng = np.random.default_rng(seed)
    return {
        name: expit(skill * logit(oracle) + rng.normal(0, 0.3, len(oracle)))
        for name, skill in SKILLS.items()
    }


def predicted(
    bars: pd.DataFrame,
    oracle: pd.Series,
    splitter: Splitter,
    fold: int | None = None,
    label: Label = DIRECTION,
) -> pd.DataFrame:
    """Validation and test rows of one split, windows and baseline side by side."""
    samples = LabelledSamples.make(bars, LOOKBACK, label, splitter)
    at = np.concatenate([samples.part("val"), samples.part("test")])
    time = pd.DatetimeIndex(samples.times[at]).tz_localize("UTC")
    p = oracle.loc[time].to_numpy()
    number = samples.label[at]
    return pd.DataFrame(
        {
            "symbol": "SIM",
            "time": time,
            "fold": pd.array([fold] * len(at), dtype="Int64"),
            "split": np.repeat(
                ["val", "test"], [len(samples.part("val")), len(samples.part("test"))]
            ),
            "label": pd.array(np.where(number == NULL, np.nan, number), dtype="Int8"),
            "forward_return": samples.outcomes.forward_return[at],
            "known_at": pd.DatetimeIndex(samples.outcomes.known_at[at]).tz_localize("UTC"),
            **forecasts(p, seed=0 if fold is None else fold),
            "oracle": p,
        }
    )


def combined(joined: pd.DataFrame) -> pd.DataFrame:
    return two_stage(ensemble(joined, WINDOWS, ["mean", "vote"]), "xgboost", WINDOWS)


@pytest.fixture(scope="session")
def simulated() -> tuple[pd.DataFrame, pd.Series]:
    return simulate(N_BARS, strength=0.75, horizon=HORIZON, seed=3)


@pytest.fixture(scope="session")
def bars(simulated: tuple[pd.DataFrame, pd.Series]) -> pd.DataFrame:
    return simulated[0]


@pytest.fixture(scope="session")
def joined(simulated: tuple[pd.DataFrame, pd.Series]) -> pd.DataFrame:
    """One split: some 600 validation rows, then some 900 test rows."""
    return combined(predicted(*simulated, Chronological(test=0.3, val=0.3)))


@pytest.fixture(scope="session")
def walked(simulated: tuple[pd.DataFrame, pd.Series]) -> pd.DataFrame:
    """Two folds, the second of which validates on what the first one tests."""
    folds = [
        predicted(*simulated, WalkForward(fold, folds=2, first=0.5, val=0.4), fold)
        for fold in (0, 1)
    ]
    return combined(pd.concat(folds, ignore_index=True))


@pytest.fixture(scope="session")
def barriers(simulated: tuple[pd.DataFrame, pd.Series]) -> pd.DataFrame:
    """Labels that are known as soon as a barrier is touched, which may be at once."""
    label = TripleBarrier(HORIZON, width=0.3)
    return combined(predicted(*simulated, Chronological(0.3, 0.3, embargo="0min"), label=label))


@pytest.fixture(scope="session")
def ground_of(bars: pd.DataFrame) -> Callable[..., Ground]:
    def make(joined: pd.DataFrame, rules: Rules = RULES, bars: pd.DataFrame = bars) -> Ground:
        return Ground.of(joined, bars, HORIZON, rules)

    return make


@pytest.fixture(scope="session")
def ground(ground_of: Callable[..., Ground], joined: pd.DataFrame) -> Ground:
    return ground_of(joined)


@pytest.fixture(scope="session")
def study_of(ground_of: Callable[..., Ground]) -> Callable[..., Study]:
    """A study of a joined table; all but the table may be left out."""

    def make(joined: pd.DataFrame, rules: Rules = RULES, **changed: Any) -> Study:
        ground = ground_of(joined, rules)
        options: dict[str, Any] = {
            "members": WINDOWS,
            "models": MODELS,
            "baseline": "xgboost",
            "headline": "two_stage",
            "trials": 4,
        }
        if "regimes" not in changed:
            times = pd.DatetimeIndex(ground.test["time"])
            trained = ground.bars.index[TRAINED]
            options["regimes"] = regimes(ground.bars, times, trained, LOOKBACK)
        return Study(ground, **options | changed)

    return make


@pytest.fixture(scope="session")
def judged(study_of: Callable[..., Study], joined: pd.DataFrame) -> dict[str, Any]:
    """The judgement of a single split, by few resamples."""
    return judge(study_of(joined), resamples=60)


@pytest.fixture(scope="session")
def judged_folds(study_of: Callable[..., Study], walked: pd.DataFrame) -> dict[str, Any]:
    """The judgement of two folds, without intervals."""
    return judge(study_of(walked), resamples=0)
