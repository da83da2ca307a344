from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gafcnn.evaluation import figures, statistics
from gafcnn.evaluation.backtest import backtest, coin
from gafcnn.evaluation.trading_rules import TradingRules as Rules

Bars = Callable[..., pd.DataFrame]

some_rules = st.builds(
    Rules,
    cost_bps=st.sampled_from([0, 1.0, 10.0]),
    stop_loss_bps=st.none() | st.floats(2, 30),
    overlapping=st.booleans(),
)
seeds = st.integers(0, 100_000)
horizons = st.integers(1, 7)


def test_a_return_of_zero_is_not_a_win(bars_of: Bars) -> None:
    bars = bars_of([(100, 100, 100, 100)] * 4)
    made = backtest(bars, bars.index[:2], [1, -1], "1min", Rules(cost_bps=0))
    bar = made.per_bar()
    assert bar["trades"].sum() == 2
    assert bar["wins_gross"].sum() == bar["wins_net"].sum() == 0
    tossed = coin(made, bars, Rules(cost_bps=0), draws=10)
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0, "n": 2}
    assert tossed["win_rate_gross"] == tossed["win_rate_net"] == nothing


@settings(max_examples=50, deadline=None)
@given(seed=seeds, ahead=horizons, rules=some_rules)
def test_statistics_are_sums_over_sums(
    market: Callable[..., Any], seed: int, ahead: int, rules: Rules
) -> None:
    made = market(seed, ahead, rules).backtest()
    figures, bar = made.summary(), made.per_bar()
    total = {name: values.sum() for name, values in bar.items()}
    assert all(values.shape == (len(made.returns),) for values in bar.values())
    assert figures["trades"] == total["trades"] == len(made.trades)
    assert figures["exposure"] == pytest.approx(total["exposure"] / len(made.returns))
    days = len(made.returns) / 1440
    assert figures["turnover"] == pytest.approx(total["traded"] / made.slices / days)
    assert figures["total_return"] == pytest.approx(made.equity.iloc[-1] - 1, abs=1e-12)
    assume(total["trades"])
    for name, numerator, denominator in (
        ("win_rate_gross", total["wins_gross"], total["trades"]),
        ("win_rate_net", total["wins_net"], total["trades"]),
        ("net_bps", 1e4 * total["net"], total["trades"]),
        ("gross_bps", 1e4 * total["gross"], total["trades"]),
        ("break_even_bps", 1e4 * total["gross"], total["traded"]),
    ):
        assert figures[name] == pytest.approx(numerator / denominator, abs=1e-9)
    factor = total["gains"] / total["losses"] if total["losses"] else None
    assert figures["profit_factor"] == (None if factor is None else pytest.approx(factor))


@settings(max_examples=50, deadline=None)
@given(seed=seeds, ahead=horizons, rules=some_rules)
def test_trades_earn_nothing_at_the_break_even_cost(
    market: Callable[..., Any], seed: int, ahead: int, rules: Rules
) -> None:
    case = market(seed, ahead, replace(rules, cost_bps=0))
    cost = case.backtest().summary()["break_even_bps"]
    assume(cost is not None and cost >= 0)
    again = replace(case, rules=replace(rules, cost_bps=cost)).backtest()
    assert again.trades["net"].sum() == pytest.approx(0, abs=1e-9)


def test_a_year_is_365_days(walk: Bars) -> None:
    bars = walk(300, 2)
    made = backtest(bars, bars.index[:290], np.ones(290), "5min", Rules(cost_bps=1))
    returns, minutes = made.returns.to_numpy(), 365 * 24 * 60
    found = made.summary()
    for name in ("sharpe", "sortino"):
        assert found[name] == getattr(figures, name)(returns, minutes).value
    assert found.items() >= statistics.growth(returns, minutes).items()
    assert found["max_drawdown"] == statistics.max_drawdown(returns)


def test_no_trades(walk: Bars) -> None:
    bars = walk(30, 0)
    idle = backtest(bars, bars.index[:20], np.zeros(20), "5min", Rules())
    figures = {name: value for name, value in idle.summary().items() if value is not None}
    sums = ("trades", "total_return", "annual_return", "max_drawdown", "turnover", "exposure")
    assert figures == dict.fromkeys(sums, 0)
    bars_with = {name: each.sum() for name, each in idle.per_bar().items()}
    assert bars_with == {**dict.fromkeys(bars_with, 0), "every": 24}
