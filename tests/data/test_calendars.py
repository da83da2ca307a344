"""Trading time: nights, weekends and holidays are no gaps, missing bars of a session are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gafcnn.data.bars import (
    bars_apart,
    bars_per_day,
    bars_per_year,
    check_together,
    gaps,
    interval_of,
    resample,
)
from gafcnn.data.calendars import load_calendar
from gafcnn.data.conversion import as_bars
from gafcnn.data.labels import Direction, TripleBarrier
from gafcnn.data.reading import read_bars
from gafcnn.data.samples import make_samples
from gafcnn.data.splits import Chronological
from gafcnn.data.windows import Window, decision_rows, longest_span, stretch_starts
from gafcnn.errors import BarsError, ConfigError, SamplesError
from gafcnn.evaluation.backtest import backtest
from gafcnn.evaluation.trading_rules import TradingRules

NEW_YORK = "America/New_York"

# 2024-01-15 (Martin Luther King), 2024-02-19 (Presidents) and 2024-03-29 (Good Friday) are holidays
HOLIDAYS = pd.to_datetime(["2024-01-15", "2024-02-19", "2024-03-29"])


def prices(opens: pd.DatetimeIndex, seed: int = 0) -> pd.DataFrame:
    """A random walk by open time."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(opens))))
    begin = np.r_[100, close[:-1]]
    high, low = np.maximum(begin, close) * 1.001, np.minimum(begin, close) * 0.999
    values = {"open": begin, "high": high, "low": low, "close": close, "volume": 1.0}
    return pd.DataFrame(values, opens)


def days(first: str = "2024-01-02", last: str = "2024-06-28") -> pd.DatetimeIndex:
    """The days on which New York trades, at local midnight."""
    found = pd.bdate_range(first, last)
    closed = [*HOLIDAYS, *pd.to_datetime(["2024-05-27", "2024-06-19"])]
    return found[~found.isin(closed)].tz_localize(NEW_YORK)


def within(step: str, begin: str = "9h30min", end: str = "16h", **options: Any) -> pd.DatetimeIndex:
    """Open times from the beginning to the end of each day, by default of New York's sessions."""
    spans = [(day + pd.Timedelta(begin), day + pd.Timedelta(end)) for day in days(**options)]
    parts = [pd.date_range(*span, freq=step, inclusive="left") for span in spans]
    return pd.DatetimeIndex(parts[0].append(parts[1:]))


@pytest.fixture(scope="module")
def daily() -> pd.DataFrame:
    return as_bars(prices(days()))


@pytest.fixture(scope="module")
def quarters() -> pd.DataFrame:
    """Bars of 15 minutes, 26 a session."""
    return as_bars(prices(within("15min", last="2024-03-28")))


INTRADAY = {"5min": 78, "15min": 26, "39min": 10, "65min": 6, "30min": 13, "60min": 7}


@pytest.mark.parametrize("step", INTRADAY)
def test_sessions_are_no_gaps(step: str) -> None:
    bars = as_bars(prices(within(step, last="2024-03-28")))
    assert bars.attrs["calendar"] == "XNYS"
    assert interval_of(bars) == pd.Timedelta(step)
    assert gaps(bars).empty
    assert bars_per_day(bars) == pytest.approx(INTRADAY[step], rel=0.08)


def test_a_first_bar_of_half_an_hour() -> None:
    """Hourly bars of some exporters begin at half past nine, at ten, at eleven."""
    opens = within("30min", last="2024-03-28").tz_convert(NEW_YORK)
    hourly = opens[(opens.minute == 0) | (opens.hour == 9)]
    bars = as_bars(prices(hourly))
    assert (bars.attrs["calendar"], interval_of(bars)) == ("XNYS", pd.Timedelta("1h"))
    assert gaps(bars).empty


@pytest.mark.parametrize("zone", [NEW_YORK, "UTC"])
def test_daily_bars_by_local_midnight_or_by_date(zone: str) -> None:
    opens = days().tz_localize(None).tz_localize(zone)
    bars = as_bars(prices(opens))
    assert bars.attrs == {"interval": "1D", "calendar": "XNYS"}
    assert gaps(bars).empty
    assert bars_per_year(bars) == pytest.approx(252, abs=2)
    assert bars_per_day(bars) == 1
    # the close is a day later by the clock, also where daylight saving time begins
    assert (bars.index.tz_convert(zone).hour == 0).all()


def test_weekly_bars() -> None:
    weeks = pd.date_range("2023-01-02", periods=60, freq="7D", tz=NEW_YORK)
    bars = as_bars(prices(weeks))
    assert interval_of(bars) == pd.Timedelta("7D")
    assert gaps(bars).empty


@pytest.mark.parametrize("step", ["5min", "1h", "1D"])
def test_the_week_of_currencies(step: str) -> None:
    local = pd.date_range("2024-01-07 17:00", "2024-06-28 16:59", freq=step, tz=NEW_YORK)
    weekend = (local + pd.Timedelta("7h")).day_of_week >= 5  # Friday 17:00 to Sunday 17:00
    bars = as_bars(prices(local[~weekend].tz_convert("UTC")))
    assert bars.attrs["calendar"] == ("24/5" if step == "1D" else "forex")
    assert gaps(bars).empty
    assert bars_per_day(bars) == pytest.approx(pd.Timedelta("1D") / pd.Timedelta(step), rel=0.01)


def test_other_calendars_of_weekdays_do_not_pass_for_one_of_few_holidays() -> None:
    brazil = load_calendar("BVMF", 2018)
    closed = pd.DatetimeIndex(brazil.ends.view("datetime64[ns]")).normalize()
    assert as_bars(prices(closed.tz_localize("America/Sao_Paulo"))).attrs["calendar"] == "BVMF"


@pytest.mark.parametrize("step", ["5min", "1h"])
def test_extended_hours_follow_no_calendar(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gafcnn.data.calendars.COMMON", ("XNYS", "us_futures", "24/5", "forex"))
    bars = prices(within(step, "4h", "20h"))
    assert "calendar" not in as_bars(bars).attrs
    with pytest.raises(BarsError, match='repair="drop"'):
        as_bars(bars, calendar="XNYS")


def test_bars_outside_sessions_and_off_the_grid_may_be_left_out(tmp_path: Path) -> None:
    table = prices(within("15min", last="2024-03-28"))
    late = prices(table.index[25::26] + pd.Timedelta("30min"))
    moved = table.index[40:41] + pd.Timedelta("7min")
    pd.concat([table, late, prices(moved)]).sort_index().to_csv(tmp_path / "bars.csv")
    found = read_bars(tmp_path / "bars.csv", calendar="XNYS", repair="drop")
    assert_frame_equal(found, as_bars(table), check_freq=False)


def test_the_first_week_of_a_year_is_whole_or_left_out() -> None:
    weekly = resample(as_bars(prices(pd.bdate_range("2015-01-02", periods=60, tz=NEW_YORK)),
                              calendar="24/5"), "7D")  # fmt: skip
    assert weekly.index[0] > pd.Timestamp("2015-01-08", tz="UTC")


def test_a_market_that_never_closes_has_no_calendar() -> None:
    opens = pd.date_range("2024-01-01", periods=2000, freq="15min", tz="UTC").delete([5, 6, 900])
    bars = as_bars(prices(opens))
    assert "calendar" not in bars.attrs
    assert gaps(bars)["missing"].tolist() == [2, 1]


def test_a_missing_bar_of_a_session_is_a_gap(daily: pd.DataFrame, quarters: pd.DataFrame) -> None:
    for bars, at in ((daily, 20), (quarters, 30)):
        frame = bars.drop(bars.index[[at, at + 1]])
        assert gaps(frame)["missing"].tolist() == [2]
        assert np.flatnonzero(bars_apart(frame) > 1).tolist() == [at - 1]


def test_calendars_by_name_and_by_mistake(daily: pd.DataFrame) -> None:
    frame = prices(days())
    assert gaps(as_bars(frame, calendar="24/7"))["missing"].max() == 3
    holiday = as_bars(frame, calendar="24/5")
    assert gaps(holiday)["missing"].tolist() == [1] * 5
    with pytest.raises(ConfigError, match="XNYZ"):
        as_bars(frame, calendar="XNYZ")
    with pytest.raises(ConfigError, match=r"XNYS.*24/5"):
        check_together({"ONE": daily, "TWO": holiday})


def test_trading_time_by_hand() -> None:
    calendar = load_calendar("XNYS", 2024)

    def minutes(first: str, second: str) -> float:
        moments = pd.DatetimeIndex([first, second]).tz_localize(NEW_YORK).as_unit("ns").asi8
        one, two = calendar.trading_time(moments)
        return (two - one) / 60e9

    assert minutes("2024-01-02 09:30", "2024-01-02 16:00") == 390
    assert minutes("2024-01-02 15:00", "2024-01-03 10:00") == 90
    assert minutes("2024-01-12 15:59", "2024-01-16 09:31") == 2  # a weekend and a holiday
    assert minutes("2024-01-12 20:00", "2024-01-16 04:00") == 0
    tokyo = load_calendar("XTKS", 2024)
    noon = pd.DatetimeIndex(["2024-01-04 11:00", "2024-01-04 13:00"]).tz_localize("Asia/Tokyo")
    one, two = tokyo.trading_time(noon.as_unit("ns").asi8)
    assert (two - one) / 60e9 == 60  # without the lunch break


# --- windows, labels, splits, trades --------------------------------------------------------------


def test_windows_and_horizons_count_bars(daily: pd.DataFrame) -> None:
    rows = decision_rows(daily, "20D")
    assert rows.tolist() == list(range(19, len(daily)))
    label = Direction("5D", neutral=0)
    outcomes = label.outcomes(daily, rows)
    close = daily["close"].to_numpy()
    expected = close[24:] / close[19:-5] - 1
    np.testing.assert_allclose(outcomes.forward_return[:-5], expected)
    assert np.isnan(outcomes.forward_return[-5:]).all()
    assert (outcomes.known_at[:-5] == daily.index[24:].to_numpy("datetime64[ns]")).all()
    barriers = TripleBarrier("3D", volatility_lookback="10D").outcomes(daily, rows)
    assert np.isfinite(barriers.forward_return[:-3]).all()


def test_the_embargo_covers_the_lookback_by_the_clock(daily: pd.DataFrame) -> None:
    split = Chronological(test=0.3, val=0.4)
    samples = make_samples(daily, label=Direction("1D", neutral=0), split=split, lookback="10D")
    assert samples.embargo == longest_span(daily, pd.Timedelta("10D")) > pd.Timedelta("14D")
    closes = daily.index.to_numpy("datetime64[ns]")
    first_shown = np.searchsorted(closes, samples.times[samples.split.val].min()) - 9
    assert samples.outcomes.known_at[samples.split.train].max() < closes[first_shown]


def test_a_lookback_may_stay_within_a_session(quarters: pd.DataFrame) -> None:
    every = decision_rows(quarters, "2h")
    inside = decision_rows(quarters, "2h", overnight=False)
    local = quarters.index[inside].tz_convert(NEW_YORK)
    assert len(every) == len(quarters) - 7
    assert len(inside) == len(days(last="2024-03-28")) * (26 - 7)
    assert (local.time >= pd.Timestamp("11:30").time()).all()
    assert (stretch_starts(quarters, overnight=False) >= stretch_starts(quarters)).all()
    with pytest.raises(SamplesError, match="26 bars"):
        decision_rows(quarters, "8h", overnight=False)
    samples = make_samples(quarters, lookback="2h", overnight=False)
    assert len(samples) == len(inside)
    assert not Window("2h", overnight=False).overnight


def test_trades_carry_the_return_of_a_night(daily: pd.DataFrame) -> None:
    made = backtest(daily, daily.index[[3]], [1], "1D", TradingRules(cost_bps=0))
    [gross] = made.trades["gross"]
    assert gross == pytest.approx(daily["close"].iloc[4] / daily["open"].iloc[4] - 1)
    friday = int(np.flatnonzero(np.diff(daily.index) > pd.Timedelta("2D"))[0])
    made = backtest(daily, daily.index[[friday]], [1], "2D", TradingRules(cost_bps=0))
    assert made.trades["left"].iloc[0] == daily.index[friday + 2]
    assert made.bars_per_year == pytest.approx(252, abs=2)


# --- coarser bars ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("interval", "count"), [("60min", 7), ("65min", 6), ("195min", 2)])
def test_coarser_bars_begin_with_the_session(
    quarters: pd.DataFrame, interval: str, count: int
) -> None:
    if pd.Timedelta(interval) % pd.Timedelta("15min"):
        quarters = as_bars(prices(within("5min", last="2024-03-28")))
    coarse = resample(quarters, interval)
    sessions = len(days(last="2024-03-28"))
    assert len(coarse) == count * sessions
    assert gaps(coarse).empty
    assert coarse["volume"].sum() == quarters["volume"].sum()
    last = coarse.index.tz_convert(NEW_YORK).time.max()  # pyright: ignore[reportAttributeAccessIssue]
    assert last == pd.Timestamp("16:00").time()


@pytest.mark.parametrize("interval", ["1D", "7D"])
def test_days_and_weeks_of_sessions(quarters: pd.DataFrame, interval: str) -> None:
    coarse = resample(quarters, interval)
    local = quarters.index.tz_convert(NEW_YORK).tz_localize(None)
    keys = local.to_period("W" if interval == "7D" else "D")
    peer = quarters.groupby(keys).agg({"open": "first", "high": "max", "low": "min"})
    whole = peer.iloc[: len(coarse)] if interval == "1D" else peer.iloc[-len(coarse) :]
    np.testing.assert_allclose(coarse[["open", "high", "low"]], whole)
    assert gaps(coarse).empty
    with pytest.raises(ConfigError, match="3D"):
        resample(quarters, "3D")


def test_coarser_bars_hold_nothing_from_after_their_close(quarters: pd.DataFrame) -> None:
    """An auction at four, as a bar of its own, is part of no session."""
    opens = quarters.index - pd.Timedelta("15min")
    auctions = (days(last="2024-03-28") + pd.Timedelta("16h")).tz_convert("UTC")
    frame = pd.DataFrame(quarters.to_numpy(), opens, quarters.columns)
    frame = pd.concat([frame, frame.iloc[: len(auctions)].set_axis(auctions) * 2]).sort_index()
    found = resample(as_bars(frame, calendar="XNYS"), "30min")
    assert_frame_equal(found, resample(quarters, "30min"), check_freq=False)


def test_two_intervals_are_refused_in_a_calendar(quarters: pd.DataFrame) -> None:
    mixed = pd.concat([quarters.iloc[:520:2], quarters.iloc[520:]])
    with pytest.raises(BarsError, match="30min"):
        as_bars(mixed, label="close", calendar="XNYS")


def test_a_calendar_that_does_not_fit_is_refused() -> None:
    around_the_clock = pd.date_range("2024-01-02", periods=2000, freq="15min", tz="UTC")
    with pytest.raises(BarsError, match="outside"):
        as_bars(prices(around_the_clock), calendar="XNYS")
