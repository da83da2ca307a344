"""A small simulated market, predictions whose skill is known, and their judgement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from gafcnn.data.labels import Label, TripleBarrier
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological, Splitter, WalkForward
from gafcnn.evaluation.ensembles import combine
from gafcnn.evaluation.joining import join
from gafcnn.evaluation.judge import Judgement, judge
from gafcnn.evaluation.predictions import prediction_table
from gafcnn.evaluation.test_set import Candidate, Panel, TestSet, split_rows
from gafcnn.evaluation.trading_rules import TradingRules

HORIZON = pd.Timedelta("15min")
WINDOWS = ["15m", "30m", "60m"]
SKILLS = {"15m": 0.6, "30m": 1.0, "60m": 0.0, "xgboost": 0.8}
RULES = TradingRules(cost_bps=1.0, least_trades=5)

Tables = dict[str, pd.DataFrame]
Market = tuple[pd.DataFrame, pd.Series]


def predict(
    bars: pd.DataFrame, oracle: pd.Series, split: Splitter, label: Label | None = None
) -> tuple[Samples, Tables]:
    """Samples, and P(up): each skill's share of the oracle's log-odds, plus noise."""
    samples = make_samples({"SIM": bars}, label=label, split=split)
    at = np.concatenate([samples.split.val, samples.split.test])
    log_odds = logit(oracle.loc[pd.DatetimeIndex(samples.times[at]).tz_localize("UTC")])
    rng = np.random.default_rng(samples.split.fold or 0)
    p = {
        name: expit(skill * log_odds + rng.normal(0, 0.3, len(at)))
        for name, skill in SKILLS.items()
    }
    return samples, {
        name: prediction_table(samples, values.to_numpy(), name, 0) for name, values in p.items()
    }


def side_by_side(tables: Tables) -> pd.DataFrame:
    """Models and ensembles."""
    return combine(join(tables), WINDOWS, ["mean", "vote", "two_stage"], "xgboost")[0]


@pytest.fixture(scope="session")
def market() -> Market:
    return simulate(3000, strength=0.75, horizon=HORIZON, seed=3)


@pytest.fixture(scope="session")
def bars(market: Market) -> pd.DataFrame:
    return market[0]


@pytest.fixture(scope="session")
def single(market: Market) -> tuple[Samples, Tables]:
    """One split: some 600 validation rows, then some 900 test rows."""
    return predict(*market, Chronological(test=0.3, val=0.3))


@pytest.fixture(scope="session")
def tables(single: tuple[Samples, Tables]) -> Tables:
    return single[1]


@pytest.fixture(scope="session")
def folds(market: Market) -> Tables:
    """Two folds, the second of which validates on what the first one tests."""
    each = [predict(*market, WalkForward(k, folds=2, first=0.5, val=0.4))[1] for k in (0, 1)]
    return {name: pd.concat([one[name] for one in each], ignore_index=True) for name in SKILLS}


@pytest.fixture(scope="session")
def joined(tables: Tables) -> pd.DataFrame:
    return side_by_side(tables)


@pytest.fixture(scope="session")
def walked(folds: Tables) -> pd.DataFrame:
    return side_by_side(folds)


@pytest.fixture(scope="session")
def barriers(market: Market) -> pd.DataFrame:
    """Labels that are known as soon as a barrier is touched, which may be at once."""
    split = Chronological(0.3, 0.3, embargo="0min")
    return side_by_side(predict(*market, split, TripleBarrier(HORIZON, width=0.3))[1])


@pytest.fixture(scope="session")
def test_set_of(bars: pd.DataFrame) -> Callable[..., TestSet]:
    def make(
        joined: pd.DataFrame, rules: TradingRules = RULES, bars: pd.DataFrame = bars
    ) -> TestSet:
        return TestSet(bars, *split_rows(joined), HORIZON, rules)

    return make


@pytest.fixture(scope="session")
def candidate_of(test_set_of: Callable[..., TestSet]) -> Callable[..., Candidate]:
    """A model of a joined table, with its trades and its panel."""

    def make(joined: pd.DataFrame, model: str, **changed: Any) -> Candidate:
        rows = test_set_of(joined, **changed)
        return Candidate(Panel([rows]), model, [rows.trade(model)])

    return make


@pytest.fixture(scope="session")
def judge_tables(bars: pd.DataFrame) -> Callable[..., Judgement]:
    """Judges tables of the market; without intervals unless `resamples` is given."""

    def run(tables: Tables, **changed: Any) -> Judgement:
        return judge(tables, bars, **{"rules": RULES, "resamples": 0, **changed})

    return run


@pytest.fixture(scope="session")
def judgement(
    judge_tables: Callable[..., Judgement], single: tuple[Samples, Tables], market: Market
) -> Judgement:
    """The judgement of a single split with ensembles and oracle, with few resamples."""
    samples, tables = single
    return judge_tables(
        tables, ensembles=["mean", "vote"], baseline="xgboost", trials=4, oracle=market[1],
        samples=samples, resamples=100,
    )  # fmt: skip


@pytest.fixture(scope="session")
def judgement_of_folds(judge_tables: Callable[..., Judgement], folds: Tables) -> Judgement:
    """The judgement of two folds, without intervals."""
    return judge_tables(folds, ensembles=["mean", "vote"], baseline="xgboost")
