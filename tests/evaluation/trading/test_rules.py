"""Trading rules and cost models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.backtest import backtest, buy_and_hold, coin
from gafcnn.evaluation.positions import choose_threshold, confidence, positions, threshold_of
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
    with pytest.raises(ConfigError, match=r"Bad.*00:06"):
        backtest(bars, bars.index[4:8], [1, 0, 0, 0], "2min", Rules(costs=Bad()))


def test_a_cost_for_each_row(walk: Bars) -> None:
    class Whole:
        def per_side(self, bars: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
            return np.ones(len(bars))

    with pytest.raises(ConfigError, match=r"\(20,\) for 3 rows"):
        cost_per_side(Whole(), walk(20, 0), np.arange(3))


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


probabilities = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1))


def test_positions_by_hand() -> None:
    p = [0.0, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0]
    np.testing.assert_array_equal(confidence(p), [0.5, 0.25, 0.125, 0, 0.125, 0.25, 0.5])
    assert positions(p, 0.25).tolist() == [-1, -1, 0, 0, 0, 1, 1]
    assert positions(p, 0.25, "long").tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert positions(p, 0.25, "short").tolist() == [-1, -1, 0, 0, 0, 0, 0]
    assert positions(p, 0.0).tolist() == [-1, -1, -1, 0, 1, 1, 1]
    assert positions(p, 0.25).dtype == np.int8


@pytest.mark.parametrize("members", [3, 5, 6, 7, 9, 10])
def test_confidence_is_symmetric(members: int) -> None:
    up = np.arange(1 + members) / members  # in floats, 2/3 - 1/2 is less than 1/2 - 1/3
    np.testing.assert_array_equal(confidence(up), confidence(1 - up))
    threshold = threshold_of(up, 0.5)
    taken = positions(up, threshold)
    assert taken.sum() == 0
    assert set(taken) >= {1, -1}


@given(p=probabilities, coverage=st.floats(0, 1, exclude_min=True))
def test_threshold_is_the_highest_with_the_coverage(p: np.ndarray, coverage: float) -> None:
    threshold = threshold_of(p, coverage)
    assert (confidence(p) >= threshold).mean() >= coverage - 1e-9
    assert (confidence(p) > threshold).mean() < coverage


def test_coverage_is_exact() -> None:
    p = 0.5 + np.arange(100) / 1000
    for rows in range(1, 101):  # 0.07 * 100 is 7.000000000000001
        assert (confidence(p) >= threshold_of(p, rows / 100)).sum() == rows


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_invalid_probabilities(bad: float) -> None:
    for make in (confidence, lambda p: positions(p, 0.1), lambda p: threshold_of(p, 0.5)):
        with pytest.raises(PredictionsError, match="1 of 3 probabilities"):
            make([0.5, bad, 0.4])


# --- choosing the threshold -------------------------------------------------------------------


def _forecasts(bars: pd.DataFrame, n: int, seed: int = 0) -> np.ndarray:
    """P(up) that is right where it is confident, and wrong where it is not."""
    rng = np.random.default_rng(seed)
    went_up = bars["close"].to_numpy()[5 : n + 5] > bars["open"].to_numpy()[1 : n + 1]
    sure = rng.random(n) < 0.3
    right = np.where(went_up, 1, -1) * np.where(sure, 1, -1)
    return 0.5 + right * np.where(sure, 0.4, 0.1) * rng.uniform(0.9, 1, n)


def test_the_most_profitable_coverage_is_chosen(walk: Bars) -> None:
    bars, n, rules = walk(1000, 3), 900, Rules(cost_bps=1)
    times, p = bars.index[:n], _forecasts(bars, n)
    earned = {}
    for coverage in rules.coverages:
        made = backtest(bars, times, positions(p, threshold_of(p, coverage)), "5min", rules)
        if len(made.trades) >= rules.least_trades:
            earned[coverage] = made.equity.iloc[-1]
    choice = choose_threshold(bars, times, p, "5min", rules)
    assert choice.coverage == max(earned, key=earned.__getitem__) == 0.2
    assert choice.threshold == threshold_of(p, 0.2)
    assert len(earned) < len(rules.coverages)  # the smallest shares have too few trades


def test_without_enough_trades_the_most_trades_are_chosen(walk: Bars) -> None:
    bars, n = walk(1000, 3), 900
    rules = Rules(least_trades=1000, coverages=(0.01, 0.5, 0.1))
    assert (
        choose_threshold(bars, bars.index[:n], _forecasts(bars, n), "5min", rules).coverage == 0.5
    )


def test_the_last_bar_counts(bars_of: Bars) -> None:
    """Both coverages are equal until the last bar, in which the less confident trade loses."""
    flat = (100, 100, 100, 100)
    bars = bars_of([flat, (100, 101, 100, 101), (101, 101, 101, 101), (101, 101, 50, 50)])
    rules = Rules(coverages=(1.0, 0.5), least_trades=1, cost_bps=0)
    choice = choose_threshold(bars, bars.index[:3:2], np.array([0.9, 0.6]), "1min", rules)
    assert choice.coverage == 0.5


def test_ties_go_to_the_larger_coverage(walk: Bars) -> None:
    bars = walk(200, 0)
    p = np.where(np.arange(150) % 2, 0.9, 0.1)  # equally confident, so every coverage is all rows
    rules = Rules(coverages=(0.1, 0.5, 0.2))
    assert choose_threshold(bars, bars.index[:150], p, "5min", rules).coverage == 0.5


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    overlapping=st.booleans(),
    stop=st.sampled_from([None, 12.0]),
    factor=st.floats(0.1, 10),
)
def test_later_bars_do_not_matter(
    walk: Bars, seed: int, overlapping: bool, stop: float | None, factor: float
) -> None:
    bars, n = walk(300, seed), 200
    rules = Rules(cost_bps=1, overlapping=overlapping, stop_loss_bps=stop, least_trades=5)
    times, p = bars.index[:n], _forecasts(bars, n, seed)
    choice = choose_threshold(bars, times, p, "5min", rules)
    altered = bars.copy()
    altered.iloc[n + 5 :, :4] *= factor
    assert choose_threshold(altered, times, p, "5min", rules) == choice
    assert choose_threshold(bars.iloc[: n + 5], times, p, "5min", rules) == choice


# --- holding ----------------------------------------------------------------------------------


def test_holding_by_hand(bars_of: Bars) -> None:
    bars = bars_of(
        [(90, 90, 90, 90), (100, 105, 99, 104), (120, 130, 50, 125), (110, 110, 110, 110)],
        missing=[2],
    )
    rules = Rules(cost_bps=100, stop_loss_bps=1, sides="short")  # neither applies to holding
    held = buy_and_hold(bars, bars.index[0], bars.index[-1], rules)
    assert held.equity.tolist() == pytest.approx([1.03, 1.24, 1.10 - 0.01 - 0.011])
    assert held.trades["entered"].tolist() == [bars.index[0]]
    assert held.trades["left"].tolist() == [bars.index[-1]]
    assert held.exposure.tolist() == [1, 1, 1]
    assert held.horizon == bars.index[-1] - bars.index[0]
    assert held.summary()["trades"] == 1


# --- a coin -----------------------------------------------------------------------------------


def _trades(
    bars: pd.DataFrame, position: np.ndarray, rules: Rules, draws: int = 1000
) -> dict[str, Any]:
    made = backtest(bars, bars.index[: len(position)], position, "5min", rules)
    return coin(made, bars, rules, draws=draws)


def test_a_coin_loses_the_costs(walk: Bars) -> None:
    bars = walk(2000, 0)
    free = _trades(bars, np.ones(1900), Rules(cost_bps=0))
    net = free["net_bps"]
    assert net["value"] == pytest.approx(0, abs=0.2)  # 1.2 bps is the deviation of one draw
    assert net["low"] < -1 < 1 < net["high"]
    assert free["win_rate_gross"]["value"] == pytest.approx(0.5, abs=0.01)
    dear = _trades(bars, np.ones(1900), Rules(cost_bps=10))
    # about 20 bps a round trip, and the same draws
    assert dear["net_bps"]["value"] == pytest.approx(net["value"] - 20, abs=0.01)
    assert dear["win_rate_gross"] == free["win_rate_gross"]


def test_four_trades_drawn_in_sixteen_ways(bars_of: Bars) -> None:
    """Rises of 1, 2, 4 and 8 %: the mean identifies the sides, and all are equally likely."""
    rises = [0.01, 0.02, 0.04, 0.08]
    bars = bars_of([(100, 100, 100, 100), *((100, 110, 100, 100 * (1 + rise)) for rise in rises)])
    rules = Rules(cost_bps=0)
    draws = 4000
    for rank, position in ((1, [1, 1, 1, 1]), (5, [1, 1, -1, 1]), (16, [-1, -1, -1, -1])):
        made = backtest(bars, bars.index[:4], position, "1min", rules)
        tossed = coin(made, bars, rules, draws=draws, seed=rank)
        assert tossed["p_value"] == pytest.approx(rank / 16, abs=4 * np.sqrt(0.25 / draws))
        ends = {name: (one["low"], one["high"]) for name, one in tossed.items() if name[0] != "p"}
        assert ends["net_bps"] == pytest.approx((-375, 375))
        assert ends["win_rate_net"] == (0, 1)


def test_draws_do_not_depend_on_the_sides_traded(walk: Bars) -> None:
    bars, rng = walk(500, 2), np.random.default_rng(0)
    for rules in (Rules(), Rules(overlapping=True), Rules(take_profit_bps=9)):
        position = rng.choice([-1, 0, 1], 400)
        made = backtest(bars, bars.index[:400], position, "5min", rules)
        other = replace(made, trades=made.trades.assign(side=-made.trades["side"]))
        ours, theirs = coin(made, bars, rules), coin(other, bars, rules)
        assert ours.pop("p_value") != theirs.pop("p_value")
        assert ours == theirs


def test_seed_and_no_trades(walk: Bars) -> None:
    bars = walk(300, 0)
    made = backtest(bars, bars.index[:200], np.ones(200), "5min", Rules())
    assert coin(made, bars, Rules(), draws=50) == coin(made, bars, Rules(), draws=50)
    assert coin(made, bars, Rules(), draws=50) != coin(made, bars, Rules(), draws=50, seed=1)
    idle = _trades(bars, np.zeros(200), Rules())
    assert idle.pop("p_value") is None
    assert all(one["value"] is None for one in idle.values())
