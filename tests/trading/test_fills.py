from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.fills import Exits, outcomes
from gafcnn.evaluation.trading_rules import Rules

Bars = Callable[..., pd.DataFrame]

BARRIERS = Rules(take_profit_bps=100, stop_loss_bps=50)  # 101 and 99.5 from 100, long
QUIET = (100, 100.2, 99.8, 100)


def _only(exits: Exits) -> tuple[int, float]:
    return int(exits.bar[0]), float(exits.price[0])


def test_a_trade_is_entered_at_the_next_open_and_left_at_the_close_at_the_horizon(
    bars_of: Bars,
) -> None:
    bars = bars_of([QUIET, (101, 105, 95, 103), (102, 110, 90, 104), QUIET])
    fills = outcomes(bars, bars.index[:1], "2min", Rules())
    assert (fills.entry_bar[0], fills.entry[0]) == (1, 101)
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
    bars_of: Bars,
    second: tuple[float, float, float, float],
    long: tuple[int, float],
    short: tuple[int, float],
) -> None:
    bars = bars_of([QUIET, QUIET, second, QUIET])
    fills = outcomes(bars, bars.index[:1], "3min", BARRIERS)
    assert _only(fills.long) == pytest.approx(long, abs=1e-12)
    assert _only(fills.short) == pytest.approx(short, abs=1e-12)


def test_the_bar_of_the_entry_can_end_the_trade_and_the_one_before_cannot(bars_of: Bars) -> None:
    wild = (100, 120, 80, 100)
    bars = bars_of([wild, QUIET, QUIET, wild])
    assert outcomes(bars, bars.index[:1], "2min", BARRIERS).long.bar[0] == 2
    bars = bars_of([QUIET, wild, QUIET, wild])
    assert _only(outcomes(bars, bars.index[:1], "2min", BARRIERS).long) == (1, 99.5)


def test_the_first_of_several_bars_counts_and_none_after_the_horizon(bars_of: Bars) -> None:
    up, down = (100, 101.5, 99.9, 100), (100, 100.1, 99, 100)
    bars = bars_of([QUIET, up, down, QUIET, down])
    assert _only(outcomes(bars, bars.index[:1], "4min", BARRIERS).long) == (1, 101.0)
    bars = bars_of([QUIET, QUIET, QUIET, up])
    assert _only(outcomes(bars, bars.index[:1], "2min", BARRIERS).long) == (2, 100.0)


def test_one_barrier_may_stand_alone(bars_of: Bars) -> None:
    bars = bars_of([QUIET, (100, 102, 98, 100), QUIET])
    gain = outcomes(bars, bars.index[:1], "2min", Rules(take_profit_bps=100))
    loss = outcomes(bars, bars.index[:1], "2min", Rules(stop_loss_bps=50))
    assert (_only(gain.long), _only(gain.short)) == ((1, 101.0), (1, 99.0))
    assert _only(loss.long) == pytest.approx((1, 99.5))
    assert _only(loss.short) == pytest.approx((1, 100.5))


@given(seed=st.integers(0, 10_000), row=st.integers(0, 24), barriers=st.booleans())
def test_nothing_up_to_t_and_nothing_after_the_horizon_is_in_a_fill(
    walk: Bars, seed: int, row: int, barriers: bool
) -> None:
    """No return may be earned in the bar that is seen: the open after `t` is the first price."""
    rules = Rules(take_profit_bps=15, stop_loss_bps=10) if barriers else Rules()
    bars = walk(30, seed)
    altered = bars.copy()
    altered.iloc[: row + 1, :4] *= 1.5
    altered.iloc[row + 6 :, :4] *= 0.5
    fills, again = (outcomes(each, bars.index[[row]], "5min", rules) for each in (bars, altered))
    assert fills.entry == again.entry
    assert (_only(fills.long), _only(fills.short)) == (_only(again.long), _only(again.short))


@given(seed=st.integers(0, 10_000), take=st.floats(1, 40), stop=st.floats(1, 40))
def test_a_short_sale_is_a_purchase_in_a_market_turned_upside_down(
    walk: Bars, seed: int, take: float, stop: float
) -> None:
    bars = walk(40, seed)
    turned = (200 - bars[["open", "low", "high", "close"]]).set_axis(bars.columns[:4], axis=1)
    turned.attrs = bars.attrs
    # barriers are fractions of the entry, which 200 - x keeps where the entry is 100
    for each in (bars, turned):
        each["open"] = 100.0
    rules = Rules(take_profit_bps=take, stop_loss_bps=stop)
    ours, theirs = (outcomes(each, bars.index[:34], "5min", rules) for each in (bars, turned))
    np.testing.assert_array_equal(ours.short.bar, theirs.long.bar)
    np.testing.assert_allclose(ours.short.price, 200 - theirs.long.price, rtol=1e-12)


def test_times_of_any_kind_are_the_same_times(walk: Bars) -> None:
    bars = walk(20, 0)
    index = bars.index[3:9]
    for times in (index, pd.Series(index), index.to_numpy(), index.tz_convert("Asia/Tokyo")):
        assert outcomes(bars, times, "5min", Rules()).decided.tolist() == list(range(3, 9))


def test_a_row_whose_bars_are_not_all_there_is_refused(walk: Bars) -> None:
    bars = walk(20, 0, missing=[10])
    assert len(outcomes(bars, bars.index[:5], "5min", Rules()).entry) == 5
    with pytest.raises(PredictionsError) as error:
        outcomes(bars, bars.index[3:8], "5min", Rules())
    assert str(error.value).startswith(
        "the bars after 3 of 5 decision times are not all there, first after "
        "2025-06-20 00:06:00 UTC; expected every bar up to the horizon, 5min;"
    )
    with pytest.raises(PredictionsError, match="the bars after 1 of 1 decision times"):
        outcomes(bars, bars.index[-5:-4], "5min", Rules())


def test_times_that_are_none_of_the_bars_are_refused(walk: Bars) -> None:
    bars = walk(20, 0)
    with pytest.raises(
        PredictionsError,
        match="2 of 3 decision times are not among the bars, first 2025-06-20 00:03:01 UTC; ",
    ):
        outcomes(bars, bars.index[[1, 2, 4]] + pd.to_timedelta(["0s", "1s", "1h"]), "5min", Rules())
    with pytest.raises(PredictionsError, match="there are no decision times"):
        outcomes(bars, bars.index[:0], "5min", Rules())


@pytest.mark.parametrize("rows", [[2, 1], [1, 1]])
def test_times_that_do_not_increase_are_refused(walk: Bars, rows: list[int]) -> None:
    bars = walk(20, 0)
    with pytest.raises(PredictionsError) as error:
        outcomes(bars, bars.index[rows], "5min", Rules())
    assert error.value.found == (
        f"decision time 1 is 2025-06-20 00:02:00 UTC, after 2025-06-20 00:0{rows[0] + 1}:00 UTC"
    )


def test_a_time_that_is_missing_is_refused(walk: Bars) -> None:
    bars = walk(20, 0)
    with pytest.raises(PredictionsError, match="decision time 1 is NaT"):
        outcomes(bars, pd.Series(bars.index[:3]).where([True, False, True]), "5min", Rules())


def test_the_horizon_must_be_of_whole_bars(walk: Bars) -> None:
    bars = walk(20, 0)
    with pytest.raises(ConfigError, match="label.horizon is 90s; expected a multiple of"):
        outcomes(bars, bars.index[:1], "90s", Rules())
