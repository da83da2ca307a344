"""What holds for bars, whatever they were read from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.data.bars import (
    COLUMNS,
    check_bars,
    fingerprint,
    gaps,
    interval_of,
    resample,
    stretches,
)
from gafcnn.data.reading import read_bars
from gafcnn.data.sources import from_file
from gafcnn.errors import BarsError, ConfigError

MINUTE = pd.to_timedelta("1min")


# Any: what a slice of a frame is, a frame or a column, type checkers do not know
def _frame(n: int, *, interval: str = "1min", missing: Iterable[int] = ()) -> Any:
    """A random walk from 2025-01-01 UTC on; the rows in `missing` are left out."""
    rng = np.random.default_rng(n)
    walk = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n + 1)))
    begin, end = walk[:-1], walk[1:]
    length = pd.to_timedelta(interval)
    first = pd.Timestamp("2025-01-01", tz="UTC") + length
    frame = pd.DataFrame(
        {
            "open": begin,
            "high": np.maximum(begin, end) * 1.001,
            "low": np.minimum(begin, end) * 0.999,
            "close": end,
            "volume": rng.uniform(0, 10, n),
        },
        index=pd.date_range(first, periods=n, freq=length, name="close_time"),
    )
    return frame.drop(index=frame.index[sorted(missing)])


def _bars(n: int, *, interval: str = "1min", missing: Iterable[int] = ()) -> Any:
    return check_bars(_frame(n, interval=interval, missing=missing), "a walk")


# --- what bars are --------------------------------------------------------------------------------


def test_bars_are_float64_by_close_time_in_ns_utc() -> None:
    frame = _frame(30).assign(volume=5, trades=7)
    bars = check_bars(frame.tz_convert("Asia/Tokyo").iloc[:, ::-1], "a walk")
    assert tuple(bars.columns) == COLUMNS
    assert (bars.dtypes == "float64").all()
    assert str(bars.index.dtype) == "datetime64[ns, UTC]"
    assert bars.index.name == "close_time"
    assert bars.attrs == {"interval": MINUTE}
    assert (bars.index == frame.index).all()


def test_stretches_are_all_bars_cut_at_the_gaps() -> None:
    bars = _bars(40, missing=[10, 11, 30])
    parts = [*stretches(bars)]
    assert [len(part) for part in parts] == [10, 18, 9]
    pd.testing.assert_frame_equal(pd.concat(parts), bars)
    assert all(gaps(part).empty for part in parts)
    assert [len(part) for part in stretches(_bars(7))] == [7]


def test_checking_leaves_the_frame_as_it_was() -> None:
    frame = _frame(30)
    before = frame.copy()
    bars = check_bars(frame, "a walk")
    bars *= 2
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("row", "column", "value", "sentence"),
    [
        (
            3,
            "close",
            np.nan,
            "close is nan at 2025-01-01 00:04:00+00:00; expected a finite positive",
        ),
        (0, "open", np.inf, "open is inf at 2025-01-01 00:01:00+00:00; expected a finite positive"),
        (
            7,
            "low",
            0.0,
            "low is 0.0 at 2025-01-01 00:08:00+00:00; expected a finite positive price",
        ),
        (9, "high", -1.0, "high is -1.0 at"),
        (
            2,
            "volume",
            -0.5,
            "volume is -0.5 at 2025-01-01 00:03:00+00:00; expected a finite volume",
        ),
        (2, "volume", np.nan, "volume is nan at"),
        (2, "volume", np.inf, "volume is inf at"),
    ],
)
def test_a_value_that_cannot_be_is_named(
    row: int, column: str, value: float, sentence: str
) -> None:
    frame = _frame(20)
    frame.iloc[row, frame.columns.get_loc(column)] = value
    with pytest.raises(BarsError) as refused:
        check_bars(frame, "walk.csv")
    assert str(refused.value).startswith(f"walk.csv, row {row}: {sentence}")
    assert str(refused.value).endswith("repair the row, or leave it out: a gap is allowed.")


@pytest.mark.parametrize(
    ("bar", "extreme"),
    [
        ((10, 9, 11, 10), "highest price as high"),  # high below low
        ((10, 10, 9, 11), "highest price as high"),  # high below close
        ((12, 11, 9, 10), "highest price as high"),  # high below open
        ((10, 12, 11, 12), "lowest price as low"),  # low above open
        ((12, 12, 11, 10), "lowest price as low"),  # low above close
    ],
)
def test_high_and_low_enclose_the_bar(bar: tuple[float, ...], extreme: str) -> None:
    frame = _frame(20)
    frame.iloc[5, :4] = bar
    told = ", ".join(f"{name} is {float(v)}" for name, v in zip(COLUMNS[:4], bar, strict=True))
    with pytest.raises(BarsError, match=f"row 5: {told} at .*; expected the {extreme}"):
        check_bars(frame, "walk.csv")


def test_a_column_that_is_missing_is_named() -> None:
    with pytest.raises(
        BarsError, match="^walk.csv has no column low or volume; expected open, high, low, close"
    ):
        check_bars(_frame(20).drop(columns=["low", "volume"]), "walk.csv")


def test_a_bar_without_trades_is_a_bar() -> None:
    frame = _frame(20)
    frame.iloc[4] = [5.0, 5.0, 5.0, 5.0, 0.0]
    assert check_bars(frame, "a walk").iloc[4].tolist() == [5.0, 5.0, 5.0, 5.0, 0.0]


def test_a_market_may_have_no_volume_at_all_and_keeps_having_none() -> None:
    bars = check_bars(_frame(20).assign(volume=np.nan), "a walk")
    assert bars["volume"].isna().all()
    coarse = resample(bars, "2min")
    assert coarse["volume"].isna().all()
    assert coarse["close"].notna().all()
    assert fingerprint(bars) == fingerprint(bars.copy()) != fingerprint(_bars(20))


# --- times and intervals --------------------------------------------------------------------------


def test_times_increase() -> None:
    frame = _frame(20)
    twice = frame.iloc[[0, 1, 2, 2, 3]]
    with pytest.raises(
        BarsError, match="row 3: the time 2025-01-01 00:03:00.* stands twice; .* remove"
    ):
        check_bars(twice, "walk.csv")
    with pytest.raises(
        BarsError, match="row 1: the time 2025-01-01 00:19:00.* is before .* sort the"
    ):
        check_bars(frame[::-1], "walk.csv")


@pytest.mark.parametrize("index", [pd.RangeIndex(20), _frame(20).index.tz_localize(None)])
def test_times_have_a_timezone(index: pd.Index) -> None:
    with pytest.raises(BarsError, match="walk.csv, row 0: the time .* has no timezone"):
        check_bars(_frame(20).set_axis(index), "walk.csv")


@pytest.mark.parametrize("time", ["NaT", "1969-12-31T23:59:00Z", "9999-01-01T00:00:00Z"])
def test_times_are_of_this_age(time: str) -> None:
    index = _frame(20).index.as_unit("s").to_series()
    index.iloc[-1] = pd.Timestamp(time)
    with pytest.raises(BarsError, match="row 19: the time is .* expected one from 1970 to 2100"):
        check_bars(_frame(20).set_axis(pd.DatetimeIndex(index)), "walk.csv")


@pytest.mark.parametrize(("n", "held"), [(0, "no bars"), (1, "1 bar")])
@pytest.mark.parametrize("interval", [None, "1min"])
def test_one_bar_is_not_enough(n: int, held: str, interval: str | None) -> None:
    with pytest.raises(BarsError, match=f"^walk.csv holds {held}; expected at least two"):
        check_bars(_frame(20)[:n], "walk.csv", interval)


def test_bars_of_two_intervals_are_refused() -> None:
    minutes = _frame(60)
    quarters = _frame(40, interval="15min").loc["2025-01-01 01:15":]
    with pytest.raises(
        BarsError, match="row 60: a step of 15min among bars of 1min; expected bars of"
    ):
        check_bars(pd.concat([minutes, quarters]), "walk.csv")
    with pytest.raises(BarsError, match="row 1: a step of 1min among bars of 15min"):
        check_bars(pd.concat([minutes[:16], quarters]), "walk.csv")


def test_a_step_that_is_no_multiple_is_refused() -> None:
    frame = _frame(20)
    late = frame.index.to_series()
    late.iloc[12:] += pd.to_timedelta("30s")
    with pytest.raises(BarsError, match="row 12: a step of 90s among bars of 1min"):
        check_bars(frame.set_axis(pd.DatetimeIndex(late)), "walk.csv")


@pytest.mark.parametrize(("long", "refused"), [(9, False), (10, True)])
def test_ten_equal_gaps_in_a_row_are_another_interval(long: int, refused: bool) -> None:
    frame = _frame(200, missing=range(20, 20 + 2 * long, 2))
    if refused:
        with pytest.raises(BarsError, match="row 20: a step of 2min among bars of 1min"):
            check_bars(frame, "walk.csv")
    else:
        assert len(gaps(check_bars(frame, "walk.csv"))) == long


@pytest.mark.parametrize("asked", ["30s", "5min", "7min"])
def test_an_interval_that_contradicts_the_bars_is_refused(asked: str) -> None:
    with pytest.raises(BarsError, match="^walk.csv holds bars of 1min; expected bars of"):
        check_bars(_frame(20), "walk.csv", asked)


def test_an_interval_that_is_none_is_an_option_at_fault() -> None:
    with pytest.raises(ConfigError, match="market.interval is 'often'"):
        check_bars(_frame(20), "walk.csv", "often")
    with pytest.raises(ConfigError, match="^market.interval is 0min; expected the time between"):
        check_bars(_frame(20), "walk.csv", "0min")


def test_the_interval_can_be_told_where_gaps_outnumber_bars() -> None:
    frame = _frame(20).iloc[[0, 1, 3, 5, 7]]
    assert check_bars(frame, "a walk", "1min").attrs["interval"] == MINUTE
    with pytest.raises(BarsError, match="row 1: a step of 1min among bars of 2min"):
        check_bars(frame, "a walk")


def test_the_interval_is_known_with_and_without_attrs() -> None:
    bars = _bars(50, interval="15min", missing=[7, 8, 30])
    without = bars.copy()
    without.attrs = {}
    assert interval_of(bars) == interval_of(without) == pd.to_timedelta("15min")
    assert interval_of(bars[:1]) == pd.to_timedelta("15min")
    with pytest.raises(BarsError, match="1 bars do not tell their interval"):
        interval_of(without[:1])


# --- gaps -----------------------------------------------------------------------------------------


def test_gaps_are_kept_and_reported() -> None:
    bars = _bars(20, missing=[3, 10, 11])
    assert len(bars) == 17
    expected = pd.DataFrame(
        {
            "after": pd.to_datetime(["2025-01-01T00:03Z", "2025-01-01T00:10Z"]).as_unit("ns"),
            "before": pd.to_datetime(["2025-01-01T00:05Z", "2025-01-01T00:13Z"]).as_unit("ns"),
            "missing": [1, 2],
        }
    )
    pd.testing.assert_frame_equal(gaps(bars), expected)
    assert gaps(_bars(20)).empty


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(1, 98), max_size=8))
def test_gaps_tell_how_many_bars_are_missing(missing: set[int]) -> None:
    assert sum(gaps(_bars(100, missing=missing))["missing"].tolist()) == len(missing)


# --- coarser bars ---------------------------------------------------------------------------------


def test_a_coarse_bar_is_made_of_its_fine_ones() -> None:
    bars = _bars(4)
    bars[:] = [
        [10, 12, 9, 11, 1],
        [11, 15, 11, 14, 2],
        [14, 14, 8, 9, 0],
        [9, 10, 9, 10, 5],
    ]
    coarse: Any = resample(bars, "2min")
    assert coarse.to_numpy().tolist() == [[10, 15, 9, 14, 3], [14, 14, 8, 10, 5]]
    assert coarse.index.strftime("%H:%M").tolist() == ["00:02", "00:04"]
    assert coarse.attrs == {"interval": pd.to_timedelta("2min")}
    assert coarse.index.name == "close_time"


@pytest.mark.parametrize("interval", ["5min", "15min", "1h", "4h", "24h"])
def test_coarse_bars_without_gaps_are_those_of_pandas(interval: str) -> None:
    bars = _bars(3000)
    how = dict(zip(COLUMNS, ("first", "max", "min", "last", "sum"), strict=True))
    peer = bars.resample(interval, closed="right", label="right").agg(how)
    whole = 3000 // (pd.to_timedelta(interval) // MINUTE)
    pd.testing.assert_frame_equal(resample(bars, interval), peer[:whole], check_freq=False)


def test_a_coarse_bar_with_a_missing_fine_one_is_a_gap() -> None:
    coarse: Any = resample(_bars(60, missing=[0, 31]), "10min")
    assert coarse.index.strftime("%H:%M").tolist() == ["00:20", "00:30", "00:50", "01:00"]
    assert gaps(coarse)["missing"].tolist() == [1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 59), st.sets(st.integers(61, 238), max_size=6))
def test_coarse_bars_do_not_depend_on_where_the_fine_ones_begin(
    begin: int, missing: set[int]
) -> None:
    whole: Any = resample(_bars(240, missing=missing), "10min")
    later: Any = resample(_bars(240, missing=missing)[begin:], "10min")
    pd.testing.assert_frame_equal(later, whole[whole.index.isin(later.index)])
    assert set(whole.index) - set(later.index) == set(whole.index[whole.index < later.index[0]])


def test_a_session_a_day_makes_one_coarse_bar_a_day() -> None:
    outside = [row for row in range(20 * 24) if row % 24 not in range(12, 18)]
    coarse = resample(_bars(20 * 24, interval="1h", missing=outside), "6h")
    assert len(coarse) == 20
    assert interval_of(coarse) == pd.to_timedelta("6h")


def test_a_gap_of_a_century_costs_no_memory() -> None:
    frame = _frame(20, interval="1s")
    far = frame.set_axis(frame.index + pd.to_timedelta("20000D"))
    assert len(resample(check_bars(pd.concat([frame, far]), "a walk"), "2s")) == 20


def test_the_bars_own_interval_changes_nothing() -> None:
    bars = _bars(20, missing=[4])
    pd.testing.assert_frame_equal(resample(bars, "60s"), bars)


@pytest.mark.parametrize("interval", ["30s", "90s", "100s", "0s", "often"])
def test_a_coarser_interval_is_a_multiple(interval: str) -> None:
    with pytest.raises(ConfigError, match="^market.interval is "):
        resample(_bars(20), interval)


def test_fewer_than_two_whole_bars_are_none() -> None:
    with pytest.raises(BarsError, match="^100 bars hold 1 whole bars of 1h; expected at least two"):
        resample(_bars(100), "1h")


# --- fingerprint ----------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 19), st.sampled_from(COLUMNS))
def test_the_fingerprint_changes_with_any_value(row: int, column: str) -> None:
    bars = _bars(20)
    before = fingerprint(bars)
    bars.loc[bars.index[row], column] = np.nextafter(bars[column].iloc[row], np.inf)
    assert fingerprint(bars) != before


def test_the_fingerprint_changes_with_any_time() -> None:
    bars = _bars(20)
    assert fingerprint(bars.set_axis(bars.index + pd.Timedelta(1, "ns"))) != fingerprint(bars)
    assert fingerprint(bars[1:]) != fingerprint(bars)


def test_the_fingerprint_is_of_bars_only() -> None:
    bars = _bars(20)
    other = bars[list(COLUMNS[::-1])].assign(trades=3).tz_convert("Asia/Tokyo")
    other.attrs = {"anything": 1}
    assert fingerprint(other) == fingerprint(bars)
    assert len(fingerprint(bars)) == 64


# --- real bars, and markets of them ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "interval", "count", "n_gaps"),
    [
        ("bnbusdt-perp-1m-2025-05-04-2025-06-24.parquet", "1min", 73_139, 0),
        ("bnbusdt-spot-15m-2020-09-20-2025-09-19.feather", "15min", 175_201, 10),
        ("btcusdt-perp-1m-2025-05-25-2025-06-24.feather", "1min", 43_199, 0),
        ("ethusdt-perp-1m-2025-05-25-2025-06-24.feather", "1min", 43_200, 0),
    ],
)
def test_real_bars_are_read(
    real_bars_folder: Path, name: str, interval: str, count: int, n_gaps: int
) -> None:
    bars = read_bars(real_bars_folder / name)
    peer = pd.read_parquet if name.endswith("parquet") else pd.read_feather
    raw = peer(real_bars_folder / name)
    assert len(bars) == len(raw) == count
    assert interval_of(bars) == pd.to_timedelta(interval)
    assert (bars.index == pd.DatetimeIndex(raw["date"]) + interval_of(bars)).all()
    assert (bars.to_numpy() == raw[list(COLUMNS)].to_numpy()).all()
    assert len(gaps(bars)) == n_gaps


def test_the_outages_of_a_real_exchange_are_gaps(real_bars_folder: Path) -> None:
    market = from_file("BNBUSDT", next(real_bars_folder.glob("bnbusdt-spot-15m*")), "1h")
    fine = read_bars(next(real_bars_folder.glob("bnbusdt-spot-15m*")))
    outages = gaps(fine)
    assert outages["missing"].between(4, 18).all()
    assert interval_of(market.bars) == pd.to_timedelta("1h")
    # no hour that an outage touches is among the hourly bars
    hours = market.bars.index
    for after, before, _ in outages.itertuples(index=False):
        assert not ((hours > after) & (hours - pd.to_timedelta("1h") < before - MINUTE * 15)).any()
