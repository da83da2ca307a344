from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.backtest import RoundTrips, compute_fills
from gafcnn.evaluation.trading_rules import TradingRules as Rules

Bars = Callable[..., pd.DataFrame]

BARRIERS = Rules(take_profit_bps=100, stop_loss_bps=50)  # 101 and 99.5 from 100, long
QUIET = (100, 100.2, 99.8, 100)


def _only(trips: RoundTrips) -> tuple[int, float]:
    return int(trips.exit_bar[0]), float(trips.exit[0])


def test_entry_at_the_next_open_and_exit_at_the_horizon(
    bars_of: Bars,
) -> None:
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
    bars_of: Bars,
    second: tuple[float, float, float, float],
    long: tuple[int, float],
    short: tuple[int, float],
) -> None:
    bars = bars_of([QUIET, QUIET, second, QUIET])
    fills = compute_fills(bars, bars.index[:1], "3min", BARRIERS)
    assert _only(fills.long) == pytest.approx(long, abs=1e-12)
    assert _only(fills.short) == pytest.approx(short, abs=1e-12)


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
