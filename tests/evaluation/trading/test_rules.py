"""Trading rules and cost models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.errors import ConfigError
from gafcnn.evaluation.backtest import backtest, buy_and_hold, coin
from gafcnn.evaluation.positions import choose_threshold
from gafcnn.evaluation.trading_rules import FixedCosts, cost_per_side, register_costs
from gafcnn.evaluation.trading_rules import TradingRules as Rules
from gafcnn.settings import as_plain, create

Bars = Callable[..., pd.DataFrame]


@dataclass(frozen=True)
class RangeCosts:
    """A cost that grows with the range of the bar."""

    share: float = 0.1

    def per_side(self, bars: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
        return 1e4 * self.share * ((bars["high"] - bars["low"]) / bars["close"]).to_numpy()[rows]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cost_bps", -1), ("cost_bps", float("nan")), ("threshold", 0.51), ("coverages", []),
        ("coverages", [0.5, 0]), ("least_trades", 0), ("take_profit_bps", 0), ("sides", "up"),
        ("stop_loss_bps", float("inf")), ("costs", 5),
    ],
)  # fmt: skip
def test_invalid_rules_are_named(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^trading.{key}"):
        Rules(**{key: value})


def test_rules_are_hashable_and_survive_storage() -> None:
    rules = Rules(coverages=[1, 0.5], costs={"kind": "fixed", "bps": 3})
    assert rules.cost_model == FixedCosts(3)
    plain = as_plain(rules)
    assert plain["costs"] == {"kind": "fixed", "bps": 3.0}
    assert create(Rules, "trading", plain) == rules
    assert hash(rules) == hash(create(Rules, "trading", plain))
    with pytest.raises(ConfigError, match="unknown_kind"):
        Rules(costs={"kind": "unknown_kind"})


def test_a_registered_cost_model_is_created_by_name() -> None:
    register_costs("range_of_test")(RangeCosts)
    rules = Rules(costs={"kind": "range_of_test", "share": 0.2})
    assert rules.costs == RangeCosts(0.2)


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_invalid_costs_are_reported_with_their_bar(walk: Bars, bad: float) -> None:
    class Bad:
        def per_side(self, bars: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
            return np.where(rows == 5, bad, 1.0)

    bars = walk(20, 0)
    with pytest.raises(ConfigError, match=r"Bad.per_side.*00:06"):
        backtest(bars, bars.index[4:8], [1, 0, 0, 0], "2min", Rules(costs=Bad()))


def test_a_cost_for_each_row(walk: Bars) -> None:
    class Whole:
        def per_side(self, bars: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
            return np.ones(len(bars))

    with pytest.raises(ConfigError, match=r"\(20,\) for 3 rows"):
        cost_per_side(Whole(), walk(20, 0), np.arange(3))
    with pytest.raises(ConfigError, match=r"RangeCosts.per_side failed: KeyError: 'high'"):
        cost_per_side(RangeCosts(), pd.DataFrame(), np.arange(3))


@pytest.mark.parametrize("barrier", [None, 5.0])
@pytest.mark.parametrize("overlapping", [False, True])
def test_costs_of_a_model_are_those_of_its_bars(
    walk: Bars, barrier: float | None, overlapping: bool
) -> None:
    """Each side pays the cost of its own bar on its own notional."""
    bars, model = walk(200, 1), RangeCosts()
    rules = Rules(costs=model, stop_loss_bps=barrier, overlapping=overlapping)
    position = np.random.default_rng(0).choice([-1, 0, 1], 180)
    result = backtest(bars, bars.index[:180], position, "5min", rules)
    trades = result.trades
    enter = bars.index.get_indexer(pd.DatetimeIndex(trades["decided"])) + 1
    leave = bars.index.get_indexer(pd.DatetimeIndex(trades["left"]))
    x = trades["exit"] / trades["entry"]
    paid = (model.per_side(bars, enter) + model.per_side(bars, leave) * x) / 1e4
    np.testing.assert_allclose(trades["gross"] - trades["net"], paid, atol=1e-15)
    if not overlapping:
        assert result.equity.iloc[-1] == pytest.approx(np.prod(1 + trades["net"]))


def test_a_model_of_constant_costs_equals_fixed_costs(walk: Bars) -> None:
    class Constant:
        def per_side(self, bars: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
            return np.full(len(rows), 4.0)

    bars, p = walk(300, 2), np.random.default_rng(1).random(280)
    fixed, model = Rules(cost_bps=4), Rules(costs=Constant())
    times = bars.index[:280]
    assert choose_threshold(bars, times, p, "5min", fixed) == choose_threshold(
        bars, times, p, "5min", model
    )
    position = np.sign(p - 0.5)
    ours, theirs = (backtest(bars, times, position, "5min", rules) for rules in (fixed, model))
    pd.testing.assert_series_equal(ours.equity, theirs.equity)
    assert coin(ours, bars, fixed, draws=20) == coin(theirs, bars, model, draws=20)
    held = [buy_and_hold(bars, times[0], times[-1], rules).equity for rules in (fixed, model)]
    pd.testing.assert_series_equal(*held)
