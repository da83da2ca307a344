"""Conversion to bars, checks, gaps, resampling and fingerprints."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from gafcnn.data.bars import (
    COLUMNS,
    check_bars,
    ensure_bars,
    fill_quiet,
    fingerprint,
    gaps,
    has_volume,
    interval_of,
    resample,
    stretches,
)
from gafcnn.data.conversion import as_bars
from gafcnn.data.reading import read_bars, write_bars
from gafcnn.data.simulated import simulate
from gafcnn.errors import BarsError, ConfigError

MINUTE = pd.to_timedelta("1min")


# Any: type checkers do not know whether a slice of a frame is a frame or a column
def _frame(n: int, *, interval: str = "1min", missing: Iterable[int] = ()) -> Any:
    """Return a random walk from 2024-01-01 UTC on, without the rows in `missing`."""
    frame: Any = simulate(n, interval, seed=n)[0]
    frame.attrs = {}
    return frame.drop(index=frame.index[sorted(missing)])


def _bars(n: int, *, interval: str = "1min", missing: Iterable[int] = ()) -> Any:
    return check_bars(_frame(n, interval=interval, missing=missing), "a walk")


def _exchange(n: int = 20, interval: str = "1min") -> Any:
    """Return prices as exchanges give them: a column of naive open times, other names and order."""
    frame = _frame(n, interval=interval)
    opens = (frame.index - pd.to_timedelta(interval)).tz_localize(None)
    return (
        frame.set_axis(opens.rename("Date")).rename(columns=str.title).reset_index().iloc[:, ::-1]
    )


def _refused(frame: Any, *facts: str, interval: Any = None) -> None:
    with pytest.raises(BarsError) as caught:
        check_bars(frame, "walk.csv", interval)
    for fact in ("walk.csv", *facts):
        assert fact in str(caught.value)


# --- conversion of frames -------------------------------------------------------------------------


def test_frame_with_open_times_becomes_bars_by_close_time() -> None:
    bars = as_bars(_exchange(), time="Date", timezone="UTC")
    assert_frame_equal(bars, _bars(20), check_freq=False)
    assert bars.attrs == {"interval": "1min"}
    assert as_bars(bars) is ensure_bars(bars) is bars
    ensure_bars(resample(bars, "5min")[1:3])


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times_of_a_frame_in_any_notation(zone: str) -> None:
    frame, expected = _exchange(), _bars(20)
    local = frame["Date"].dt.tz_localize("UTC").dt.tz_convert(zone)
    naive = local.dt.tz_localize(None)
    epochs = frame["Date"].astype("datetime64[ms]").astype("int64")
    for times in (naive, naive.astype(str), local, local.map(str), epochs):
        bars = as_bars(frame.assign(Date=times), time="Date", timezone=zone)
        assert_frame_equal(bars, expected, check_freq=False)
    bars = as_bars(frame.set_index("Date").set_axis(pd.DatetimeIndex(naive)), timezone=zone)
    assert_frame_equal(bars, expected, check_freq=False)


@pytest.mark.parametrize("zone", ["Z", "+00:00", " UTC"])
def test_dates_alone_may_have_an_offset(zone: str) -> None:
    days = pd.date_range("2024-01-02", periods=20, tz="UTC")
    frame = _exchange().assign(Date=days.strftime("%Y-%m-%d") + zone)
    assert [*as_bars(frame, time="Date").index] == [*days + pd.Timedelta(days=1)]


def test_frame_with_close_times_or_without_volume() -> None:
    frame = _frame(20).drop(columns="volume")
    bars = as_bars(frame, label="close", interval="1min")
    assert_frame_equal(bars, _bars(20).assign(volume=np.nan), check_freq=False)


@pytest.mark.parametrize(
    ("frame", "options", "fact"),
    [
        (_exchange(), {}, "timezone="),
        (_exchange(), {"time": "when"}, "no column when"),
        (_exchange(), {"time": "Date"}, "timezone="),
        (_exchange().drop(columns="Low"), {"time": "Date"}, "no column low"),
        (_exchange().assign(low=1.0), {"time": "Date"}, "2 columns low"),
        (_exchange().rename(columns={"Volume": "vol"}), {"time": "Date"}, "no timezone"),
        (_exchange()[:1], {"time": "Date", "timezone": "UTC"}, "1 bar"),
        (_exchange().assign(Close="x"), {"time": "Date", "timezone": "UTC"}, "row 0: close is"),
        (_exchange(), {"time": "Date", "timezone": "UTC", "interval": "2min"}, "2min"),
    ],
)  # fmt: skip
def test_frame_that_is_not_bars(frame: Any, options: dict[str, Any], fact: str) -> None:
    with pytest.raises(BarsError, match=fact):
        as_bars(frame, **options)


def test_options_of_a_conversion() -> None:
    with pytest.raises(BarsError, match="Mars"):
        as_bars(_exchange(), time="Date", timezone="Mars/Olympus")
    with pytest.raises(ConfigError, match="opne"):
        as_bars(_exchange(), time="Date", label="opne")  # pyright: ignore[reportArgumentType]
    back = pd.date_range("2025-11-02", periods=20, freq="1h")  # 01:00 occurs twice in New York
    with pytest.raises(BarsError, match="2025-11-02"):
        as_bars(_frame(20).set_axis(back), timezone="America/New_York")


def test_frame_of_unknown_origin_is_refused() -> None:
    with pytest.raises(BarsError, match="as_bars"):
        ensure_bars(_frame(20))
    with pytest.raises(BarsError, match="as_bars"):
        ensure_bars(None)  # pyright: ignore[reportArgumentType]


CHANGES: list[tuple[Any, str]] = [
    (lambda bars: bars.reset_index(), "open or close times"),
    (lambda bars: bars.rename_axis("open_time"), "open or close times"),
    (lambda bars: bars.tz_localize(None), "open or close times"),
    (lambda bars: bars.assign(close=np.nan), "row 0: close is nan"),
    (lambda bars: bars.assign(low=-bars["low"]), "row 0: low is -"),
    (lambda bars: bars.iloc[::-1], "not after"),
    (lambda bars: bars.drop(columns="high"), "column high"),
    (lambda bars: bars.astype({"volume": str}), "column volume"),
    (lambda bars: bars.resample("5min").agg("last"), "5min .* 1min.*gc.resample"),
    (lambda bars: bars.set_axis(bars.index[0] + 1.5 * (bars.index - bars.index[0])), "of 90s"),
]


@pytest.mark.parametrize(("change", "fact"), CHANGES)
def test_a_frame_made_of_bars_is_checked_again(change: Any, fact: str) -> None:
    with pytest.raises(BarsError, match=fact):
        ensure_bars(change(_bars(20)))


def test_names_of_close_times(tmp_path: Path) -> None:
    bars = _bars(20)
    for name in ("close_time", "closeTime", "Close Time"):
        frame = bars.rename_axis(name).reset_index()
        assert_frame_equal(as_bars(frame, time=name), bars, check_freq=False)
        assert_frame_equal(as_bars(frame.set_index(name), label="close"), bars, check_freq=False)
    opened = as_bars(frame, time=name, label="open")
    assert (opened.index == bars.index + MINUTE).all()
    # parquet keeps attrs, and so the bars
    bars.to_parquet(tmp_path / "bars.parquet")
    assert_frame_equal(ensure_bars(pd.read_parquet(tmp_path / "bars.parquet")), bars)


def test_imports_are_light() -> None:
    steps = {
        "import gafcnn.data.samples": "scipy talib ccxt pyarrow.parquet torch hydra",
        "import gafcnn.images": "numba pyts torch",
        "gafcnn.GafClassifier(), gafcnn.BoostedTrees()": "torch lightning hydra",
    }
    check = "assert not set('{}'.split()) & set(sys.modules)"
    lines = [f"{step}; {check.format(heavy)}" for step, heavy in steps.items()]
    subprocess.run([sys.executable, "-c", "\n".join(["import sys", *lines])], check=True)


# --- checks ---------------------------------------------------------------------------------------


def test_bars_are_float64_by_close_time_in_ns_utc() -> None:
    frame = _frame(30).assign(volume=5, trades=7)
    before = frame.copy()
    bars = check_bars(frame.tz_convert("Asia/Tokyo").iloc[:, ::-1], "a walk")
    assert tuple(bars.columns) == (*COLUMNS, "trades")
    assert (bars.dtypes == "float64").all()
    assert (bars.index.name, str(bars.index.dtype)) == ("close_time", "datetime64[ns, UTC]")
    assert (bars.index == frame.index).all()
    bars *= 2
    assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [(3, "close", np.nan), (0, "open", np.inf), (7, "low", 0.0), (9, "high", -1.0),
     (2, "volume", -0.5), (2, "volume", np.nan), (2, "volume", np.inf)],
)  # fmt: skip
def test_impossible_value_is_named(row: int, column: str, value: float) -> None:
    frame = _frame(20)
    frame.iloc[row, frame.columns.get_loc(column)] = value
    _refused(frame, f"row {row}: {column} is {value}", str(frame.index[row]))


def test_high_and_low_enclose_the_bar() -> None:
    highest = [(10, 9, 11, 10), (10, 10, 9, 11), (12, 11, 9, 10)]  # high below low, close, open
    lowest = [(10, 12, 11, 12), (12, 12, 11, 10)]  # low above open, close
    for bar in (*highest, *lowest):
        frame = _frame(20)
        frame.iloc[5, :4] = bar
        extreme = "highest" if bar in highest else "lowest"
        _refused(frame, "row 5", extreme, f"close is {float(bar[3])}")


def test_bar_without_trades_and_market_without_volume() -> None:
    frame = _frame(20)
    frame.iloc[4] = [5.0, 5.0, 5.0, 5.0, 0.0]
    assert check_bars(frame, "a walk").iloc[4].tolist() == [5.0, 5.0, 5.0, 5.0, 0.0]
    bars = check_bars(_frame(20).assign(volume=np.nan), "a walk")
    assert (has_volume(bars), has_volume(_bars(20))) == (False, True)
    assert resample(bars, "2min")["volume"].isna().all()
    assert fingerprint(bars) == fingerprint(bars.copy()) != fingerprint(_bars(20))


def test_times_increase() -> None:
    frame = _frame(20)
    _refused(frame.iloc[[0, 1, 2, 2, 3]], "row 3", "00:03:00")
    _refused(frame[::-1], "row 1", "00:19:00")


@pytest.mark.parametrize("time", ["NaT", "1969-12-31T23:59:00Z", "9999-01-01T00:00:00Z"])
def test_times_are_from_1970_to_2100(time: str) -> None:
    index = _frame(20).index.as_unit("s").to_series()
    index.iloc[-1] = pd.Timestamp(time)
    _refused(_frame(20).set_axis(pd.DatetimeIndex(index)), "row 19", time[:10])


def test_bars_of_two_intervals() -> None:
    minutes = _frame(60)
    quarters = _frame(40, interval="15min").loc["2024-01-01 01:15":]
    _refused(pd.concat([minutes, quarters]), "row 60", "15min", "1min")
    _refused(pd.concat([minutes[:16], quarters]), "row 1", "1min", "15min")


def test_step_that_is_not_a_multiple() -> None:
    late = _frame(20).index.to_series()
    late.iloc[12:] += pd.to_timedelta("30s")
    _refused(_frame(20).set_axis(pd.DatetimeIndex(late)), "row 12", "90s")


def test_ten_equal_gaps_in_a_row_are_another_interval() -> None:
    assert len(gaps(_bars(200, missing=range(20, 38, 2)))) == 9
    _refused(_frame(200, missing=range(20, 40, 2)), "row 20", "2min")


def test_interval_is_given_where_gaps_outnumber_bars() -> None:
    frame = _frame(20).iloc[[0, 1, 3, 5, 7]]
    assert interval_of(check_bars(frame, "a walk", "1min")) == MINUTE
    _refused(frame, "row 1")
    for invalid in ("0min", "often"):
        with pytest.raises(ConfigError, match="interval is"):
            check_bars(frame, "walk.csv", invalid)


def test_interval_of_bars_with_gaps() -> None:
    bars = _bars(50, interval="15min", missing=[7, 8, 30])
    assert interval_of(bars) == interval_of(bars[:1]) == 15 * MINUTE
    with pytest.raises(BarsError, match="as_bars"):
        interval_of(_frame(20))


# --- gaps -----------------------------------------------------------------------------------------


def test_gaps_are_reported() -> None:
    bars = _bars(20, missing=[3, 10, 11])
    assert len(bars) == 17
    expected = pd.DataFrame(
        {
            "after": pd.to_datetime(["2024-01-01T00:03Z", "2024-01-01T00:10Z"]).as_unit("ns"),
            "before": pd.to_datetime(["2024-01-01T00:05Z", "2024-01-01T00:13Z"]).as_unit("ns"),
            "missing": [1, 2],
        }
    )
    assert_frame_equal(gaps(bars), expected)
    assert gaps(_bars(20)).empty


def test_stretches_are_split_at_the_gaps() -> None:
    bars = _bars(40, missing=[10, 11, 30])
    parts = [*stretches(bars)]
    assert [len(part) for part in parts] == [10, 18, 9]
    assert_frame_equal(pd.concat(parts), bars)
    assert all(gaps(part).empty for part in parts)
    assert [len(part) for part in stretches(_bars(7))] == [7]


# --- resampling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["5min", "15min", "1h", "4h", "24h"])
def test_coarse_bars_equal_those_of_pandas(interval: str) -> None:
    bars = _bars(3000)
    how = dict(zip(COLUMNS, ("first", "max", "min", "last", "sum"), strict=True))
    peer = bars.resample(interval, closed="right", label="right").agg(how)
    whole = 3000 // (pd.to_timedelta(interval) // MINUTE)
    coarse = resample(bars, interval)
    assert_frame_equal(coarse, peer[:whole], check_freq=False)
    assert coarse.attrs == {"interval": interval if interval != "24h" else "1D"}


def test_a_coarse_bar_is_made_of_the_fine_ones_that_there_are() -> None:
    bars = _bars(60, missing=[0, *range(20, 30), 31])
    coarse: Any = resample(bars, "10min")
    assert coarse.index.strftime("%H:%M").tolist() == ["00:20", "00:40", "00:50", "01:00"]
    assert gaps(coarse)["missing"].tolist() == [1]
    within = bars.loc[
        (bars.index > coarse.index[0] + 10 * MINUTE) & (bars.index <= coarse.index[1])
    ]
    assert len(within) == 9
    assert coarse["volume"].iloc[1] == within["volume"].sum()


@settings(max_examples=30)
@given(st.integers(0, 59), st.sets(st.integers(61, 238), max_size=6))
def test_coarse_bars_do_not_depend_on_the_first_bar(begin: int, missing: set[int]) -> None:
    whole: Any = resample(_bars(240, missing=missing), "10min")
    later: Any = resample(_bars(240, missing=missing)[begin:], "10min")
    assert_frame_equal(later, whole[whole.index.isin(later.index)])
    assert set(whole.index) - set(later.index) == set(whole.index[whole.index < later.index[0]])


@pytest.mark.parametrize("interval", ["30s", "90s", "100s", "0s", "often"])
def test_coarser_interval_is_a_multiple(interval: str) -> None:
    with pytest.raises(ConfigError, match="^market.interval is "):
        resample(_bars(20), interval)


def test_at_least_two_complete_coarse_bars() -> None:
    with pytest.raises(BarsError, match="1h"):
        resample(_bars(100), "1h")


# --- fingerprint ----------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 19), st.sampled_from(COLUMNS))
def test_fingerprint_changes_with_any_value_or_time(row: int, column: str) -> None:
    bars = _bars(20)
    before = fingerprint(bars)
    assert fingerprint(bars.set_axis(bars.index + pd.Timedelta(1, "ns"))) != before
    assert fingerprint(bars[1:]) != before
    bars.loc[bars.index[row], column] = np.nextafter(bars[column].iloc[row], np.inf)
    assert fingerprint(bars) != before


# --- real bars ---------------------------------------------------------------


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


def test_funding_is_kept_and_summed(tmp_path: Path) -> None:
    frame = _frame(20)
    bars = as_bars(frame.assign(funding=np.where(np.arange(20) % 4 == 1, -0.001, 0.0)))
    assert bars["funding"].sum() == pytest.approx(-0.005)
    assert resample(bars, "10min")["funding"].tolist() == pytest.approx([-0.003, -0.002])
    write_bars(tmp_path / "bars.parquet", bars)
    assert_frame_equal(read_bars(tmp_path / "bars.parquet"), bars, check_freq=False)
    filled = fill_quiet(bars.drop(bars.index[5]))
    assert filled["funding"].iloc[5] == 0
    _refused(frame.assign(funding=1.5), "row 0", "funding is 1.5")
