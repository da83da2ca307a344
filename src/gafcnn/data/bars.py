"""Bars: conversion, checks, gaps and resampling.

Bars are a DataFrame with the columns `COLUMNS` as float64, indexed by `close_time`
(datetime64[ns, UTC], strictly increasing). A bar is labelled by its close time, the moment at which
it is known. `attrs["interval"]` of every frame that was checked holds the time between two bars, as
a text such as "15min". Gaps are allowed. A market without volume has NaN in all rows.
"""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import BarsError, ConfigError

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]

_CLOSE_TIMES = ("close_time", "closetime")

TIMES = ("open_time", "opentime", "date", "timestamp", "time", "datetime", *_CLOSE_TIMES)
"""Names that exchanges and tools give to the time of a bar; all but the last two are open times."""

REPAIR = "repair the row, or remove it: gaps are allowed"
_CONVERT = 'pass it through gc.as_bars(df, time=..., label="open" or "close")'

# limits that keep sums and differences of two times within int64 nanoseconds
_EARLIEST, _LATEST = pd.Timestamp("1970-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")

# this many equal steps in a row, other than the interval, are bars of another interval, not gaps
_MIXED_RUN = 10

# the size of an epoch determines its unit: seconds from 1973 to 2100 are not milliseconds
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # ns
_EPOCHS = (1e8, 4.1e9)

# the end of a time with an offset; a date alone ends in a hyphen and digits as well
_OFFSET = r"[T ]\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"


@dataclass(frozen=True)
class Origin:
    """Where rows come from, for error messages; rows are counted from 0, lines of a text from 1."""

    source: object
    line_of: Callable[[int], int] | None = None

    def require(
        self, valid: Any, found: Callable[[int], str], expected: str, instead: str = REPAIR
    ) -> None:
        """Raise a BarsError that names the first row where `valid`, shape (n,), is False."""
        for row in np.flatnonzero(~np.asarray(valid)).tolist():
            place = f"row {row}" if self.line_of is None else f"line {self.line_of(row)}"
            fact = f"{self.source}, {place}: {found(row)}"
            raise BarsError(fact, expected=expected, instead=instead)


def as_bars(
    frame: pd.DataFrame,
    *,
    time: str | None = None,
    timezone: str | None = None,
    label: Literal["open", "close"] | None = None,
    interval: DurationLike | None = None,
) -> pd.DataFrame:
    """Return a DataFrame of prices as bars.

    Bars that come from gafcnn are returned unchanged, unless `time` or `label` is given.

    Args:
        frame: Columns open, high, low, close and, optionally, volume, in any case.
        time: The column that holds the times (timestamps, ISO texts, or epochs in s, ms, us or ns);
            None for the index.
        timezone: Time zone of times without one, for example "UTC" or "America/New_York".
        label: Whether the times are open times, as most exchanges give them, or close times; by
            default close times if they are named close_time or closeTime, otherwise open times.
        interval: Time between two bars; by default the most common one.

    Raises:
        BarsError: The frame has no valid bars; names row, value and remedy.
        ConfigError: `label`, `timezone` or `interval` is invalid.
    """
    unchanged = time is None and label is None
    if not isinstance(frame, pd.DataFrame) or (unchanged and "interval" in frame.attrs):
        return ensure_bars(frame)
    label = label or _label_of(frame.index.name if time is None else time)
    if label not in ("open", "close"):
        raise ConfigError(f"label is {label!r}", expected="open or close", instead="correct label")
    if time is None:
        if not isinstance(frame.index, pd.DatetimeIndex):
            raise BarsError(
                f"the index of the DataFrame holds {frame.index.dtype}, not times",
                expected="a DatetimeIndex, or the name of the column that holds the times",
                instead='write as_bars(df, time="date"), for example',
            )
        time = "the index"
        frame = frame.rename_axis(time).reset_index()
    origin = Origin("the DataFrame")
    columns = select_columns(origin.source, [str(name) for name in frame.columns], time)
    table = frame.set_axis(frame.columns.astype(str), axis=1).filter(columns)
    return convert(table.set_axis([*columns.values()], axis=1), origin, label, interval, timezone)


def _label_of(time: object) -> Literal["open", "close"]:
    return "close" if _plain(str(time)) in _CLOSE_TIMES else "open"


def ensure_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Return bars unchanged if they come from `read_bars`, `as_bars` or another gafcnn function.

    pandas copies `attrs` to whatever is made of bars, so that the frame itself is checked as well.

    Raises:
        BarsError: They do not, so that their times may be open times, or they were changed to
            something that is not bars.
    """
    known = isinstance(bars, pd.DataFrame) and "interval" in bars.attrs
    if not known or bars.index.name != "close_time" or getattr(bars.index, "tz", None) is None:
        raise BarsError(
            f"a {type(bars).__name__} whose times may be open or close times",
            expected="bars from gc.read_bars, gc.as_bars or gc.simulate",
            instead=_CONVERT,
        )
    names = [*bars.columns]
    if wrong := [c for c in COLUMNS if names.count(c) != 1 or bars[c].dtype != "float64"]:
        raise BarsError(
            f"bars without one column {wrong[0]} of float64",
            expected=f"the columns {', '.join(COLUMNS)}",
            instead=_CONVERT,
        )
    steps, interval = _steps(bars), pd.to_timedelta(bars.attrs["interval"])
    others = steps[steps != interval.value]
    prices = [bars[name].to_numpy() for name in PRICES if len(bars)]
    if others.min(initial=1) <= 0 or not all(0 < p.min() <= p.max() < np.inf for p in prices):
        check_values(bars, Origin("the bars"))
    if len(steps) > 1 and (len(others) == len(steps) or (others % interval.value).any()):
        raise BarsError(
            f"bars of {format_duration(_usual(steps))} that were made of bars of "
            f"{format_duration(interval)}, and whose times may be open or close times",
            expected="bars of one interval",
            instead=f"make coarser bars with gc.resample(bars, ...), or {_CONVERT}",
        )
    return bars


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
    if len(frame) < 2:
        raise BarsError(
            f"{origin.source} holds {len(frame)} bar{'s' * (len(frame) != 1)}",
            expected="at least two",
            instead="choose a file, a period or an interval with more of them",
        )
    # pandas copies on write, so a frame that is correct already is not copied here
    bars = frame.reindex(columns=list(COLUMNS)).astype("float64")
    index = pd.DatetimeIndex(frame.index)
    moments = index.to_numpy(f"datetime64[{index.unit}]")  # formats years above 9999 as well
    origin.require(
        (index >= _EARLIEST) & (index < _LATEST),
        lambda row: f"the time is {moments[row]}",
        f"a time from {_EARLIEST.year} to {_LATEST.year}",
    )
    times = _nanoseconds(bars).view("datetime64[ns]")
    bars = bars.set_axis(pd.DatetimeIndex(times, tz="UTC", name="close_time"))
    check_values(bars, origin)
    checked = _check_interval(_steps(bars), origin, interval)
    bars.attrs = {"interval": format_duration(checked)}  # a text, which parquet can hold
    return bars


def select_columns(source: object, names: Sequence[str], time: str | None = None) -> dict[str, str]:
    """Return the columns of a table to use, and the standard name of each, the time first.

    Args:
        source: The file or other origin, for error messages.
        names: The table's column names; case, spaces and underscores do not matter.
        time: The column of times, which is returned as "time"; None for the first of `TIMES` that
            the table has.

    Raises:
        BarsError: A column is missing or occurs twice.
    """
    plain = [_plain(name) for name in names]
    if time is None:
        time = found = next((name for name in TIMES if name in plain), TIMES[0])
    else:
        found = "time"
        plain = [
            "time" if name == time else other for name, other in zip(names, plain, strict=True)
        ]
    # a volume of another name is an error, so that it is not ignored unnoticed
    wanted = (found, *(COLUMNS if any("vol" in name for name in plain) else PRICES))
    for name in wanted:
        if (count := plain.count(name)) != 1:
            shown = time if name == found else name
            raise BarsError(
                f"{source} has {'the' if count else 'no'} column {shown}{' twice' if count else ''}"
                f", among {reprlib.repr(list(names))}",
                expected=f"a time ({', '.join(TIMES)}) and {', '.join(COLUMNS)}, each once",
                instead="rename the columns (volume may be absent)",
            )
    return {names[plain.index(name)]: name for name in wanted}


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def convert(
    table: pd.DataFrame,
    origin: Origin,
    label: str | None,
    interval: DurationLike | None,
    timezone: str | None = None,
) -> pd.DataFrame:
    """Return checked bars from a table whose first column holds the open or close times.

    If `label` is None, the name of that column tells which.

    Raises:
        BarsError: See `check_bars`.
    """
    times = _to_times(table.iloc[:, 0], origin, timezone)
    values = {name: _to_numbers(column, origin) for name, column in table.iloc[:, 1:].items()}
    bars = check_bars(pd.DataFrame(values, times), origin, interval)
    is_open = (label or _label_of(table.columns[0])) == "open"
    return bars.set_axis(bars.index + interval_of(bars)) if is_open else bars


def rolling_volatility(bars: pd.DataFrame, key: str, lookback: pd.Timedelta) -> NDArray[np.float64]:
    """Return the standard deviation of the one-bar log returns in the lookback up to each bar.

    Args:
        bars: Bars; gaps are not treated specially.
        key: Name of the lookback in error messages.
        lookback: At least three bars.

    Returns:
        ndarray of shape (bars,), NaN before the first full lookback.

    Raises:
        ConfigError: The lookback is not a multiple of the bars' interval, or below three bars.
    """
    length = multiple_of(key, lookback, interval_of(bars))
    if length < 3:
        raise ConfigError(
            f"{key} is {format_duration(lookback)}",
            expected="at least three bars, which have two returns",
            instead=f"set {key} to {format_duration(interval_of(bars) * 3)} or more",
        )
    log_close = pd.Series(np.log(bars["close"]))
    return log_close.diff().rolling(length - 1).std().to_numpy(np.float64)


def interval_of(bars: pd.DataFrame) -> pd.Timedelta:
    """Return the time between two bars.

    Raises:
        BarsError: The frame did not come from `read_bars`, `as_bars` or another gafcnn function.
    """
    return pd.to_timedelta(ensure_bars(bars).attrs["interval"])


def check_together(bars: Mapping[str, pd.DataFrame]) -> None:
    """Check that the bars of several symbols have one interval and close at the same times.

    Raises:
        ConfigError: They do not, or there is no symbol.
    """
    if not bars:
        raise ConfigError("no bars", expected="those of a symbol or more", instead="pass bars")
    (first, reference), *others = bars.items()
    interval = interval_of(reference)
    for other, frame in others:
        if interval_of(frame) != interval or (frame.index[0] - reference.index[0]) % interval:
            longer = format_duration(max(interval, interval_of(frame)))
            raise ConfigError(
                f"{first} has bars of {format_duration(interval)}, one of which closes at "
                f"{reference.index[0]}, and {other} of {format_duration(interval_of(frame))}, at "
                f"{frame.index[0]}",
                expected="one interval, and close times that are multiples of it apart",
                instead=f"use gc.resample(bars, {longer!r}) or market.interval={longer}, "
                f"or remove {other}",
            )


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

    Its columns are `after` and `before`, the close times of the bars on both sides, and `missing`,
    the number of bars.
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
    coarse = parse_duration("market.interval", interval)
    count = multiple_of("market.interval", coarse, interval_of(bars))
    if count == 1:
        return bars
    groups = bars.groupby(pd.DatetimeIndex(bars.index).ceil(coarse))
    coarser = groups.agg({"open": "first", "high": "max", "low": "min", "close": "last"})
    coarser["volume"] = groups["volume"].sum(min_count=1)  # NaN if no volume is known
    coarser = coarser.loc[groups.size() == count]
    return check_bars(coarser, f"the bars of {format_duration(coarse)}", coarse)


def fingerprint(bars: pd.DataFrame) -> str:
    """Return the SHA-256 of the bars' times and values, as 64 hexadecimal digits."""
    values = bars[list(COLUMNS)].to_numpy("float64").tobytes()
    return hashlib.sha256(_nanoseconds(bars).tobytes() + values).hexdigest()


def _nanoseconds(bars: pd.DataFrame) -> NDArray[np.int64]:
    return bars.index.to_numpy("datetime64[ns]").astype(np.int64)


def _steps(bars: pd.DataFrame) -> NDArray[np.int64]:
    return np.diff(_nanoseconds(bars))


def check_values(bars: pd.DataFrame, origin: Origin) -> None:
    """Check that times increase, and that prices and volumes are possible."""
    origin.require(
        np.r_[True, _steps(bars) > 0],
        lambda row: f"the time {bars.index[row]} is not after that of the previous row",
        "times that increase from row to row",
        "remove duplicates and sort the rows by time",
    )

    def shown(columns: Sequence[str], row: int) -> str:
        values = (f"{name} is {float(bars[name].iloc[row])}" for name in columns)
        return f"{', '.join(values)} at {bars.index[row]}"

    for valid, columns, expected in _rules(bars):
        origin.require(valid, partial(shown, columns), expected)


def possible(bars: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the values of each bar are possible: shape (n,)."""
    return np.logical_and.reduce([valid for valid, _, _ in _rules(bars)])


def _rules(bars: pd.DataFrame) -> Iterator[tuple[Any, Sequence[str], str]]:
    """Yield the rows that keep a rule, the columns that it is about, and what it expects."""
    prices = bars[list(PRICES)].to_numpy()
    for name, price in zip(PRICES, prices.T, strict=True):
        yield np.isfinite(price) & (price > 0), [name], "a finite positive price"
    yield bars["high"] == prices.max(axis=1), PRICES, "the highest price as high"
    yield bars["low"] == prices.min(axis=1), PRICES, "the lowest price as low"
    if has_volume(bars):
        volume = bars["volume"].to_numpy()
        yield np.isfinite(volume) & (volume >= 0), ["volume"], "a finite volume, 0 or more"


def _check_interval(
    steps: NDArray[np.int64], origin: Origin, asked: DurationLike | None
) -> pd.Timedelta:
    usual = _usual(steps)
    interval = usual if asked is None else parse_duration("market.interval", asked)
    if not (steps == interval.value).any():
        raise BarsError(
            f"{origin.source} holds bars of {format_duration(usual)}",
            expected=f"bars of {format_duration(interval)}, as requested",
            instead="omit the interval, or resample the bars after reading",
        )
    valid = np.r_[True, steps % interval.value == 0]
    starts = np.flatnonzero(np.r_[True, steps[1:] != steps[:-1]])
    lengths = np.diff(np.r_[starts, len(steps)])
    valid[starts[(lengths >= _MIXED_RUN) & (steps[starts] != interval.value)] + 1] = False
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


def _usual(steps: NDArray[np.int64]) -> pd.Timedelta:
    values, counts = np.unique(steps, return_counts=True)
    return pd.to_timedelta(values[counts.argmax()], unit="ns")


def _to_numbers(column: pd.Series, origin: Origin) -> NDArray[np.float64]:
    numbers = _as_numbers(column).to_numpy("float64")
    # NaN in a numeric column is left to check_bars
    valid = ~np.isnan(numbers) | (column.dtype.kind in "iuf")
    origin.require(
        valid, lambda row: f"{column.name} is {reprlib.repr(str(column.iloc[row]))}", "a number"
    )
    return numbers


def _to_times(column: pd.Series, origin: Origin, timezone: str | None) -> pd.DatetimeIndex:
    """Return timestamps, epochs or ISO texts as times with a timezone, shape (n,)."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(column)
    if column.dtype.kind == "M":
        times, aware = pd.DatetimeIndex(column), np.zeros(len(column), bool)
    elif _as_numbers(column.head(1)).notna().all():  # the first row determines the format of all
        return from_epochs(column, origin)
    else:
        column = column.astype("str").str.strip()
        parsed = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
        origin.require(
            parsed.notna(),
            lambda row: f"the time is {reprlib.repr(str(column.iloc[row]))}",
            "an epoch in s, ms, us or ns, or a time such as 2025-05-04T00:00:00Z",
        )
        times = pd.DatetimeIndex(parsed).tz_localize(None)
        aware = column.str.contains(_OFFSET).to_numpy(dtype=bool)
    if timezone is None or aware.any():
        origin.require(
            aware,
            lambda row: f"the time {column.iloc[row]} has no timezone",
            "UTC epochs, or times with an offset such as 2025-05-04T00:00:00Z",
            "write the times with their offset, or convert the file: "
            'gc.write_bars("bars.parquet", gc.as_bars(df, time=..., timezone="UTC"))',
        )
        return times.tz_localize("UTC")
    try:
        return times.tz_localize(timezone)
    except Exception as error:  # an unknown zone, or an hour that occurs twice or never
        raise BarsError(
            f"{origin.source}: the times cannot be read with timezone={timezone!r} ({error})",
            expected='a zone such as "UTC" or "America/New_York" where each time occurs once',
            instead="convert the times to UTC",
        ) from error


def _as_numbers(column: pd.Series) -> pd.Series:
    """Return numbers unchanged and texts as the numbers they hold, NaN for other texts."""
    if column.dtype.kind in "iuf":
        return column
    return pd.Series(pd.to_numeric(column.astype("str"), errors="coerce"))


def from_epochs(column: pd.Series, origin: Origin) -> pd.DatetimeIndex:
    """Return epochs in s, ms, us or ns, whichever their size shows, as times in UTC."""
    epochs = _as_numbers(column)
    values = epochs.to_numpy("float64")
    # per value, since Binance's klines change from ms to us with the year 2025
    scale = np.zeros(len(values), np.int64)
    for length in _UNITS.values():
        earliest, latest = (second * (10**9 // length) for second in _EPOCHS)
        scale[(values >= earliest) & (values < latest)] = length
    origin.require(
        (scale > 0) & (values == np.trunc(values)),
        lambda row: f"the time is {reprlib.repr(str(column.iloc[row]))}",
        f"a whole epoch in {', '.join(_UNITS)}, from 1973 on",
    )
    times = epochs.to_numpy("int64") * scale
    return pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC")
