"""Bars: conversion, checks, gaps and resampling.

Bars are a DataFrame with the columns `COLUMNS` as float64, indexed by `close_time`
(datetime64[ns, UTC], strictly increasing). A bar is labelled by its close time, the moment at which
it is known. `attrs["interval"]` holds the time between two bars, and `attrs["label"]` is "close" in
every frame that was checked. Gaps are allowed. A market without volume has NaN in all rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import BarsError, ConfigError

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]

REPAIR = "repair the row, or remove it: gaps are allowed"

# limits that keep sums and differences of two times within int64 nanoseconds
_EARLIEST = pd.Timestamp("1970-01-01", tz="UTC")
_LATEST = pd.Timestamp("2100-01-01", tz="UTC")

# this many equal steps in a row, other than the interval, are bars of another interval, not gaps
_MIXED_RUN = 10


@dataclass(frozen=True)
class Origin:
    """Where rows come from, for error messages.

    Attributes:
        source: The file or other origin.
        line_of: Returns the line of a row in a text file; None if rows are counted from 0.
    """

    source: object
    line_of: Callable[[int], int] | None = None

    def require(
        self, valid: Any, found: Callable[[int], str], expected: str, instead: str = REPAIR
    ) -> None:
        """Raise a BarsError that names the first row where `valid`, shape (n,), is False."""
        for row in np.flatnonzero(~np.asarray(valid)).tolist():
            place = f"row {row}" if self.line_of is None else f"line {self.line_of(row)}"
            raise BarsError.at(self.source, place, found(row), expected=expected, instead=instead)


def as_bars(
    frame: pd.DataFrame,
    *,
    time: str | None = None,
    timezone: str | None = None,
    label: Literal["open", "close"] = "open",
    interval: DurationLike | None = None,
) -> pd.DataFrame:
    """Return a DataFrame of prices as bars.

    Bars that come from gafcnn are returned unchanged.

    Args:
        frame: Columns open, high, low, close and, optionally, volume, in any case.
        time: The column that holds the times (timestamps, ISO texts, or epochs in s, ms, us or ns);
            None for the index.
        timezone: Time zone of times without one, for example "UTC" or "America/New_York".
        label: Whether the times are open times, as most exchanges give them, or close times.
        interval: Time between two bars; by default the most common one.

    Raises:
        BarsError: The frame has no valid bars; names row, value and remedy.
        ConfigError: `label`, `timezone` or `interval` is invalid.
    """
    if frame.attrs.get("label") == "close":
        return frame
    if label not in ("open", "close"):
        raise ConfigError(f"label is {label!r}", expected="open or close", instead="correct label")
    from gafcnn.data.columns import convert, select_columns

    if time is None and not isinstance(frame.index, pd.DatetimeIndex):
        raise BarsError(
            f"the index of the DataFrame holds {frame.index.dtype}, not times",
            expected="a DatetimeIndex, or the name of the column that holds the times",
            instead='write as_bars(df, time="date"), for example',
        )
    origin = Origin("the DataFrame")
    columns = select_columns(origin.source, [str(name) for name in frame.columns], time or "")
    table = frame.set_axis(frame.columns.astype(str), axis=1).filter(columns)
    table = table.set_axis(list(columns.values()), axis=1)
    moments = frame.index.to_series() if time is None else table.pop("time")
    return convert(table, moments, origin, timezone=timezone, label=label, interval=interval)


def ensure_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Return bars unchanged if they come from `read_bars`, `as_bars` or another gafcnn function.

    Raises:
        BarsError: They do not, so that their times may be open times.
    """
    marked = isinstance(bars, pd.DataFrame) and bars.attrs.get("label") == "close"
    if marked and getattr(bars.index, "tz", None) is not None:  # reset_index keeps attrs
        return bars
    raise BarsError(
        f"a {type(bars).__name__} whose times may be open or close times",
        expected="bars from gc.read_bars, gc.as_bars or gc.simulate",
        instead='pass it through gc.as_bars(df, time=..., label="open" or "close")',
    )


def check_bars(
    frame: pd.DataFrame, source: object | Origin, interval: DurationLike | None = None
) -> pd.DataFrame:
    """Return a frame as checked bars.

    Args:
        frame: Indexed by close time, timezone-aware, with the columns `COLUMNS`; others are
            dropped.
        source: The file or other origin, for error messages.
        interval: Time between two bars; by default the most common one.

    Raises:
        BarsError: The bars are invalid; names source, row, value and remedy.
    """
    origin = source if isinstance(source, Origin) else Origin(source)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise BarsError(
            f"{origin.source} has no column {' or '.join(missing)}",
            expected=", ".join(COLUMNS),
            instead="add it, or rename the column that holds it",
        )
    check_count(len(frame), origin)
    # pandas copies on write, so a frame that is correct already is not copied here
    values = frame.reindex(columns=list(COLUMNS)).astype("float64")
    aware = isinstance(frame.index, pd.DatetimeIndex) and frame.index.tz is not None
    check_timezone([aware], frame.index, origin)
    check_calendar(pd.DatetimeIndex(frame.index), origin)
    bars = values.set_axis(_from_nanoseconds(_nanoseconds(frame)))
    _check_values(bars, origin)
    length = _check_interval(_steps(bars), origin, interval)
    bars.attrs = {"interval": length, "label": "close"}
    return bars


def bar_interval(value: DurationLike) -> pd.Timedelta:
    """Return the option `market.interval` as a positive length of time.

    Raises:
        ConfigError: `value` is not one.
    """
    interval = parse_duration("market.interval", value)
    if interval == pd.Timedelta(0):
        raise ConfigError(
            f"market.interval is {value}",
            expected="the time between two bars, more than 0",
            instead="write market.interval=1min, for example",
        )
    return interval


def interval_of(bars: pd.DataFrame) -> pd.Timedelta:
    """Return the time between two bars: `attrs["interval"]`, or else the most common step."""
    if "interval" in bars.attrs:
        return bars.attrs["interval"]
    check_count(len(bars), Origin("the frame"))
    return _most_common(_steps(bars))


def stretches(bars: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Split bars at their gaps, in the order of time.

    Anything that is computed per stretch never spans a gap.
    """
    cuts = np.flatnonzero(_steps(bars) != interval_of(bars).value) + 1
    edges = [0, *cuts, len(bars)]
    return (bars.iloc[start:stop] for start, stop in pairwise(edges))


def has_volume(bars: pd.DataFrame) -> bool:
    """Whether the bars have a volume. It is known in all rows or in no row."""
    return not np.isnan(bars["volume"].to_numpy("float64")).all()


def gaps(bars: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the gaps, one row each.

    Returns:
        Columns `after` and `before` (close times of the bars on both sides, UTC) and `missing`
        (number of bars).
    """
    steps, interval = _steps(bars), interval_of(bars).value
    at = np.flatnonzero(steps != interval)
    missing = steps[at] // interval - 1
    return pd.DataFrame({"after": bars.index[at], "before": bars.index[at + 1], "missing": missing})


def resample(bars: pd.DataFrame, interval: DurationLike) -> pd.DataFrame:
    """Return coarser bars: first open, highest high, lowest low, last close, sum of volumes.

    A coarse bar with a missing fine bar is dropped and becomes a gap. Bars close at multiples of
    the interval since 1970, so that an hourly bar closes at the full hour.

    Raises:
        ConfigError: `interval` is not a multiple of the bars' interval.
        BarsError: Fewer than two coarse bars are complete.
    """
    coarse = bar_interval(interval)
    count = multiple_of("market.interval", coarse, interval_of(bars))
    if count == 1:
        return bars
    closes = -(-_nanoseconds(bars) // coarse.value) * coarse.value
    groups = bars.groupby(_from_nanoseconds(closes))
    coarser = pd.DataFrame(
        {
            "open": groups["open"].first(),
            "high": groups["high"].max(),
            "low": groups["low"].min(),
            "close": groups["close"].last(),
            "volume": groups["volume"].sum(min_count=1),  # NaN if no volume is known
        }
    ).loc[groups.size() == count]
    if len(coarser) < 2:
        raise BarsError(
            f"{len(bars)} bars hold {len(coarser)} complete bars of {format_duration(coarse)}",
            expected="at least two",
            instead="choose a shorter market.interval, or use more bars",
        )
    coarser.attrs = {"interval": coarse, "label": "close"}
    return coarser


def fingerprint(bars: pd.DataFrame) -> str:
    """Return the SHA-256 of the bars' times and values, as 64 hexadecimal digits."""
    values = bars[list(COLUMNS)].to_numpy("float64").tobytes()
    return hashlib.sha256(_nanoseconds(bars).tobytes() + values).hexdigest()


def other_interval(steps: NDArray[np.int64], interval: int) -> NDArray[np.intp]:
    """Return the start of the first long run of equal steps that differ from the interval."""
    starts = np.flatnonzero(np.r_[True, steps[1:] != steps[:-1]])
    lengths = np.diff(np.r_[starts, len(steps)])
    return starts[(lengths >= _MIXED_RUN) & (steps[starts] != interval)][:1]


def _nanoseconds(bars: pd.DataFrame) -> NDArray[np.int64]:
    return bars.index.to_numpy("datetime64[ns]").astype(np.int64)


def _from_nanoseconds(times: NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC", name="close_time")


def _steps(bars: pd.DataFrame) -> NDArray[np.int64]:
    return np.diff(_nanoseconds(bars))


def _most_common(steps: NDArray[np.int64]) -> pd.Timedelta:
    values, counts = np.unique(steps, return_counts=True)
    return pd.to_timedelta(values[counts.argmax()], unit="ns")


def check_calendar(index: pd.DatetimeIndex, origin: Origin) -> None:
    """Check that all times are from 1970 to 2100."""
    times = index.to_numpy(f"datetime64[{index.unit}]")  # formats years above 9999 as well
    expected = f"a time from {_EARLIEST.year} to {_LATEST.year}"
    valid = (index >= _EARLIEST) & (index < _LATEST)
    origin.require(valid, lambda row: f"the time is {times[row]}", expected)


def check_timezone(aware: Any, times: Any, origin: Origin) -> None:
    """Check that all times are aware, shape (n,), that is, have a timezone."""
    origin.require(
        aware,
        lambda row: f"the time {times[row]} has no timezone",
        "UTC epochs, or times with an offset such as 2025-05-04T00:00:00Z",
        'write the times with their offset, or use as_bars(df, timezone="UTC")',
    )


def check_count(count: int, origin: Origin) -> None:
    """Check that there are at least two bars."""
    if count < 2:
        raise BarsError(
            f"{origin.source} holds {count or 'no'} bar{'s' * (count != 1)}",
            expected="at least two",
            instead="choose a file or a period with more of them",
        )


def _check_values(bars: pd.DataFrame, origin: Origin) -> None:
    origin.require(
        np.r_[True, _steps(bars) > 0],
        lambda row: f"the time {bars.index[row]} is not after that of the previous row",
        "times that increase from row to row",
        "remove duplicates and sort the rows by time",
    )

    def shown(*columns: str) -> Callable[[int], str]:
        return lambda row: (
            ", ".join(f"{name} is {float(bars[name].iloc[row])}" for name in columns)
            + f" at {bars.index[row]}"
        )

    for name in PRICES:
        price = bars[name].to_numpy()
        origin.require(np.isfinite(price) & (price > 0), shown(name), "a finite positive price")
    prices = bars.to_numpy()[:, : len(PRICES)]
    origin.require(bars["high"] == prices.max(axis=1), shown(*PRICES), "the highest price as high")
    origin.require(bars["low"] == prices.min(axis=1), shown(*PRICES), "the lowest price as low")
    if has_volume(bars):
        volume = bars["volume"].to_numpy()
        valid = np.isfinite(volume) & (volume >= 0)
        origin.require(valid, shown("volume"), "a finite volume, 0 or more")


def _check_interval(
    steps: NDArray[np.int64], origin: Origin, asked: DurationLike | None
) -> pd.Timedelta:
    usual = _most_common(steps)
    interval = usual if asked is None else bar_interval(asked)
    if not (steps == interval.value).any():
        raise BarsError(
            f"{origin.source} holds bars of {format_duration(usual)}",
            expected=f"bars of {format_duration(interval)}, as requested",
            instead="omit the interval, or resample the bars after reading",
        )
    valid = np.r_[True, steps % interval.value == 0]
    valid[other_interval(steps, interval.value) + 1] = False
    origin.require(
        valid,
        lambda row: (
            f"a step of {format_duration(pd.to_timedelta(steps[row - 1], unit='ns'))} "
            f"among bars of {format_duration(interval)}"
        ),
        "bars of one interval, and gaps that are multiples of it",
        "split the bars by their interval",
    )
    return interval
