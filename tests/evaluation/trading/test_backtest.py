"""Backtests: by hand, against a plain loop, fills, and the figures of trades."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gafcnn.errors import PredictionsError
from gafcnn.evaluation import figures, statistics
from gafcnn.evaluation.backtest import RoundTrips, backtest, coin, compute_fills
from gafcnn.evaluation.trading_rules import TradingRules as Rules

Bars = Callable[..., pd.DataFrame]

FREE = Rules(cost_bps=0)


# --- by hand ----------------------------------------------------------------------------------


def test_one_purchase_with_its_costs(bars_of: Bars) -> None:
    """Bought at 100, seen at 104, sold at 110: 10 % less 1 % of 100 and 1 % of 110."""
    bars = bars_of([(90, 90, 90, 90), (100, 105, 99, 104), (104, 110, 104, 110)])
    made = backtest(bars, bars.index[:1], [1], "2min", Rules(cost_bps=100))
    row = made.trades.iloc[0]
    assert (row["decided"], row["entered"], row["left"]) == tuple(bars.index[[0, 0, 2]])
    assert (row["side"], row["entry"], row["exit"]) == (1, 100, 110)
    assert row[["gross", "net"]].tolist() == pytest.approx([0.10, 0.10 - 0.01 - 0.011])
    assert made.equity.tolist() == pytest.approx([1.03, 1.079])
    assert made.returns.tolist() == pytest.approx([0.03, 1.079 / 1.03 - 1])
    assert made.exposure.tolist() == [1, 1]


def test_next_trade_after_a_stop_is_decided_at_its_close(bars_of: Bars) -> None:
    flat = (100, 100, 100, 100)
    bars = bars_of([flat, (100, 100, 98, 98), flat, flat, flat, flat, flat])
    rules = Rules(cost_bps=0, stop_loss_bps=100)
    made = backtest(bars, bars.index[:4], [1, 1, 1, 1], "3min", rules)
    assert made.trades["decided"].tolist() == bars.index[[0, 1]].tolist()
    assert made.trades["left"].tolist() == bars.index[[1, 4]].tolist()
    assert made.trades["exit"].tolist() == [99, 100]
    assert made.exposure.tolist() == [1, 1, 1, 1, 0, 0]
    assert made.equity.tolist() == pytest.approx([0.99] * 6)


def test_overlapping_slices_trade_every_row(bars_of: Bars) -> None:
    """Two halves: one earns 10 % over the first two bars, the other loses 10 % over the next."""
    bars = bars_of(
        [(100, 100, 100, 100), (100, 110, 100, 110), (110, 110, 110, 110), (99, 99, 99, 99)]
    )
    rules = Rules(cost_bps=0, overlapping=True)
    made = backtest(bars, bars.index[:2], [1, 1], "2min", rules)
    assert made.trades["gross"].tolist() == pytest.approx([0.10, -0.10])
    assert made.equity.tolist() == pytest.approx([1.05, 1.05, 1.0])
    assert made.exposure.tolist() == [0.5, 1.0, 0.5]
    assert made.slices == 2


def test_equity_stays_at_zero(bars_of: Bars) -> None:
    flat, tripled = (100, 100, 100, 100), (300, 300, 300, 300)
    bars = bars_of([flat, flat, tripled, tripled, flat, flat])
    made = backtest(bars, bars.index[[0, 3]], [-1, -1], "2min", FREE)
    assert made.trades["net"].tolist() == pytest.approx([-2, 0])
    assert made.equity.tolist() == [1, 0, 0, 0, 0]
    assert made.returns.tolist() == [0, -1, 0, 0, 0]
    assert made.summary()["annual_return"] == -1


# --- against a plain loop ---------------------------------------------------------------------


@dataclass
class Slow:
    """Results of a plain loop over accounts, rows and bars."""

    trades: list[dict[str, Any]] = field(default_factory=list)
    equity: list[np.ndarray] = field(default_factory=list)
    busy: list[np.ndarray] = field(default_factory=list)


def _exit(bars: pd.DataFrame, entry_bar: int, last: int, side: int, rules: Rules) -> tuple:
    entry = bars["open"].iloc[entry_bar]
    take, stop = rules.take_profit_bps, rules.stop_loss_bps
    for at in range(entry_bar, last + 1):
        opens, high, low = bars[["open", "high", "low"]].iloc[at]
        if stop is not None:
            price = entry * (1 - side * stop / 1e4)
            if side == 1 and low <= price:
                return at, min(price, opens)
            if side == -1 and high >= price:
                return at, max(price, opens)
        if take is not None:
            price = entry * (1 + side * take / 1e4)
            if side == 1 and high >= price:
                return at, max(price, opens)
            if side == -1 and low <= price:
                return at, min(price, opens)
    return last, bars["close"].iloc[last]


def _slowly(
    bars: pd.DataFrame, rows: list[int], position: list[int], ahead: int, rules: Rules
) -> Slow:
    slow, c = Slow(), rules.cost_bps / 1e4
    close = bars["close"].to_numpy()
    n_bars = rows[-1] + ahead - rows[0]
    slices = ahead if rules.overlapping else 1
    for account in range(slices):
        equity, free = 1.0, -1
        path, busy = np.full(n_bars, np.nan), np.zeros(n_bars)
        for row, side in zip(rows, position, strict=True):
            if row % slices != account or side == 0 or row < free:
                continue
            entry = bars["open"].iloc[row + 1]
            free, price = _exit(bars, row + 1, row + ahead, side, rules)
            x = price / entry
            gross = side * (x - 1)
            net = gross - c * (1 + x)
            for at in range(row + 1, free + 1):
                path[at - rows[0] - 1] = equity * (1 + side * (close[at] / entry - 1) - c)
                busy[at - rows[0] - 1] = 1
            path[free - rows[0] - 1] = equity = equity * (1 + net)
            slow.trades.append(
                {"decided": bars.index[row], "left": bars.index[free], "side": side}
                | {"entry": entry, "exit": price, "gross": gross, "net": net}
            )
        slow.equity.append(pd.Series(path).ffill().fillna(1.0).to_numpy())
        slow.busy.append(busy)
    slow.trades.sort(key=lambda made: made["decided"])
    return slow


all_rules = st.builds(
    Rules,
    cost_bps=st.sampled_from([0, 1.0, 10.0]),
    take_profit_bps=st.none() | st.floats(2, 30),
    stop_loss_bps=st.none() | st.floats(2, 30),
    overlapping=st.booleans(),
    sides=st.sampled_from(["both", "long", "short"]),
)
seeds = st.integers(0, 100_000)
horizons = st.integers(1, 7)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, ahead=horizons, rules=all_rules)
def test_backtest_equals_a_plain_loop(
    market: Callable[..., Any], seed: int, ahead: int, rules: Rules
) -> None:
    case = market(seed, ahead, rules)
    made = case.backtest()
    slow = _slowly(case.bars, case.rows, case.position, ahead, rules)
    assert len(made.trades) == len(slow.trades)
    for column in ("decided", "left", "side"):
        assert made.trades[column].tolist() == [trade[column] for trade in slow.trades]
    for column in ("entry", "exit", "gross", "net"):
        expected = [trade[column] for trade in slow.trades]
        np.testing.assert_allclose(made.trades[column], expected, rtol=1e-12, atol=1e-12)
    equity = np.mean(slow.equity, axis=0)
    np.testing.assert_allclose(made.equity, equity, rtol=1e-12)
    np.testing.assert_allclose(made.returns, equity / np.r_[1, equity[:-1]] - 1, atol=1e-12)
    np.testing.assert_allclose(made.exposure, np.mean(slow.busy, axis=0), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, ahead=horizons, rules=all_rules, after=st.integers(0, 39))
def test_past_results_do_not_depend_on_the_future(
    market: Callable[..., Any], seed: int, ahead: int, rules: Rules, after: int
) -> None:
    """Closed trades, and the equity so far, do not change with later bars."""
    case = market(seed, ahead, rules)
    altered = case.bars.copy()
    altered.iloc[after + 1 :, :4] *= 3
    made, again = case.backtest(), replace(case, bars=altered).backtest()
    now = case.bars.index[after]
    ended = made.trades["left"] <= now
    pd.testing.assert_frame_equal(made.trades[ended], again.trades[again.trades["left"] <= now])
    pd.testing.assert_series_equal(made.equity[:now], again.equity[:now])


# --- the table, and errors --------------------------------------------------------------------


def test_invalid_positions(walk: Bars) -> None:
    bars = walk(30, 0)
    with pytest.raises(PredictionsError, match=r"\(2,\).*3, one for each"):
        backtest(bars, bars.index[:3], [1, 0], "5min", Rules())
    with pytest.raises(PredictionsError, match=r"0\.7.*1 \(long\)"):
        backtest(bars, bars.index[:3], [0.7, 0, np.nan], "5min", Rules())


BARRIERS = Rules(take_profit_bps=100, stop_loss_bps=50)  # 101 and 99.5 from 100, long
QUIET = (100, 100.2, 99.8, 100)


def _only(trips: RoundTrips) -> tuple[int, float]:
    return int(trips.exit_bar[0]), float(trips.exit[0])


def test_entry_at_the_next_open_and_exit_at_the_horizon(bars_of: Bars) -> None:
    bars = bars_of([QUIET, (101, 105, 95, 103), (102, 110, 90, 104), QUIET])
    fills = compute_fills(bars, bars.index[:1], "2min", Rules())
    assert (fills.decided[0], fills.long.entry[0]) == (0, 101)
    assert _only(fills.long) == _only(fills.short) == (2, 104)
    assert (fills.ahead, fills.horizon) == (2, pd.Timedelta("2min"))


@pytest.mark.parametrize(
    ("second", "long", "short"),
    [
        pytest.param((100, 100.4, 99.7, 100.1), (3, 100.0), (3, 100.0), id="neither is reached"),
        pytest.param((100, 101.2, 99.9, 100.1), (2, 101.0), (2, 100.5), id="it rises"),
        pytest.param((100, 100.1, 98.9, 100.1), (2, 99.5), (2, 99.0), id="it falls"),
        pytest.param((100, 101.2, 98.9, 100.1), (2, 99.5), (2, 100.5), id="both: a stop"),
        pytest.param((99, 99.2, 98.9, 99.1), (2, 99.0), (2, 99.0), id="it opens below"),
        pytest.param((101.5, 102, 101.4, 102), (2, 101.5), (2, 101.5), id="it opens above"),
        pytest.param((100, 101.0, 100, 100), (2, 101.0), (2, 100.5), id="a touch is enough"),
        pytest.param((100, 100, 99.5, 100), (2, 99.5), (3, 100.0), id="to be stopped, too"),
    ],
)
def test_barriers(
    bars_of: Bars, second: tuple[float, float, float, float], long: tuple[int, float],
    short: tuple[int, float],
) -> None:  # fmt: skip
    bars = bars_of([QUIET, QUIET, second, QUIET])
    fills = compute_fills(bars, bars.index[:1], "3min", BARRIERS)
    assert _only(fills.long) == pytest.approx(long, abs=1e-12)
    assert _only(fills.short) == pytest.approx(short, abs=1e-12)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), row=st.integers(0, 24), barriers=st.booleans())
def test_fills_depend_on_bars_from_entry_to_horizon_only(
    walk: Bars, seed: int, row: int, barriers: bool
) -> None:
    rules = Rules(take_profit_bps=15, stop_loss_bps=10) if barriers else Rules()
    bars = walk(30, seed)
    altered = bars.copy()
    altered.iloc[: row + 1, :4] *= 1.5
    altered.iloc[row + 6 :, :4] *= 0.5
    fills, again = (
        compute_fills(each, bars.index[[row]], "5min", rules) for each in (bars, altered)
    )
    assert fills.long.entry == again.long.entry
    assert (_only(fills.long), _only(fills.short)) == (_only(again.long), _only(again.short))


def test_types_of_times(walk: Bars) -> None:
    bars = walk(20, 0)
    index = bars.index[3:9]
    for times in (index, pd.Series(index), index.to_numpy(), index.tz_convert("Asia/Tokyo")):
        assert compute_fills(bars, times, "5min", Rules()).decided.tolist() == list(range(3, 9))


@pytest.mark.parametrize(
    ("rows", "shift", "facts"),
    [
        ([3, 4, 5, 6, 7], "0s", ["3 of 5", "2025-06-20 00:06", "5min"]),  # a bar is missing
        ([15], "0s", ["1 of 1 decision times"]),  # the bars end
        ([1, 2, 4], "1s", ["3 of 3 decision times", "00:02:01"]),
        ([], "0s", ["0 of 0 decision times"]),
        ([2, 1], "0s", ["1 of 2 decision times", "2025-06-20 00:02", "increase"]),
        ([1, 1], "0s", ["1 of 2 decision times", "2025-06-20 00:02", "increase"]),
    ],
)
def test_times_that_cannot_be_traded(
    walk: Bars, rows: list[int], shift: str, facts: list[str]
) -> None:
    bars = walk(20, 0, missing=[10])
    assert len(compute_fills(bars, bars.index[:5], "5min", Rules()).decided) == 5
    with pytest.raises(PredictionsError) as error:
        compute_fills(bars, bars.index[rows] + pd.Timedelta(shift), "5min", Rules())
    assert all(fact in str(error.value) for fact in facts)


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
@given(seed=seeds, ahead=horizons, rules=all_rules)
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
@given(seed=seeds, ahead=horizons, rules=all_rules)
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
