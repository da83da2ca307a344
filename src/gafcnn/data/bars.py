"""Bars: checks, gaps and resampling.

Bars are a DataFrame with the columns `COLUMNS` as float64, indexed by `close_time`
(datetime64[ns, UTC], strictly increasing). A bar is labelled by its close time, the moment at which
it is known. `attrs["interval"]` of every frame that was checked holds the time between two bars, as
a text such as "15min". Gaps are allowed. A market without volume has NaN in all rows.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.calendars import ALWAYS, Calendar, load_calendar
from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import BarsError, ConfigError

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]
EXTRAS = ("quote_volume", "trades", "taker_buy_volume")
"""Further columns, where a source has them: notional, number of trades, volume of buying takers."""

FUNDING = "funding"
"""What holders of a perpetual swap pay at the close of the bar, as a fraction of the notional: 0 in
most bars, negative if they receive it. Where a source has it."""

OPTIONAL = (*EXTRAS, FUNDING)

REPAIR = "repair the row, or remove it: gaps are allowed"
_CONVERT = 'pass it through gc.as_bars(df, label="open"), or label="close"'

_MOST_OUTSIDE = 0.05  # a share of bars outside the sessions, such as those of auctions
_ROUNDING = 1e-9  # a high may be so much below another price, as exporters round
_SHOWN = 3  # faulty rows that are described

# limits that keep sums and differences of two times within int64 nanoseconds
_EARLIEST, _LATEST = pd.Timestamp("1900-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")

# this many equal steps in a row, other than the interval, are bars of another interval, not gaps
_MIXED_RUN = 10

_HOUR, _DAY, _YEAR = (pd.to_timedelta(n, unit="h") for n in (1, 24, 365 * 24))

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Where rows come from, for error messages.

    Attributes:
        source: The file or other origin.
        place: Returns the place of a row, such as "line 7"; by default "row 5", counted from 0.
    """

    source: object
    place: Callable[[int], str] = "row {}".format

    def at(self, rows: NDArray[np.int64]) -> Origin:
        """Return the origin of some of the rows."""
        return Origin(self.source, lambda row: self.place(int(rows[row])))

    def require(
        self, valid: Any, found: Callable[[int], str], expected: str, instead: str = REPAIR
    ) -> None:
        """Raise a BarsError that counts the rows where `valid` is False, and names the first."""
        faulty = np.flatnonzero(~np.asarray(valid)).tolist()
        if faulty:
            first, *others = faulty[:_SHOWN]
            more = f" (and {len(faulty) - 1:,} more: " if others else ""
            more += "; ".join(f"{self.place(row)}: {found(row)}" for row in others)
            raise BarsError(
                f"{self.source}, {self.place(first)}: {found(first)}{more}{')' if others else ''}",
                expected=expected,
                instead=instead,
            )


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
            instead=_CONVERT if isinstance(bars, pd.DataFrame) else "use gc.read_bars(path)",
        )
    names = [*bars.columns]
    columns = {name: bars[name] for name in COLUMNS if names.count(name) == 1}
    if wrong := [c for c in COLUMNS if c not in columns or columns[c].dtype != "float64"]:
        raise BarsError(
            f"bars without one column {wrong[0]} of float64",
            expected=f"the columns {', '.join(COLUMNS)}",
            instead=_CONVERT,
        )
    steps, interval = _steps(bars), bars.attrs["interval"]
    prices = [columns[name].to_numpy() for name in PRICES if len(bars)]
    if steps.min(initial=1) <= 0 or not all(0 < p.min() <= p.max() < np.inf for p in prices):
        check_values(bars, Origin("the bars"))
    apart = _apart(bars)
    if len(steps) > 1 and ((apart > 1).all() or not apart.all()):
        raise BarsError(
            f"bars of {format_duration(interval_between(bars.index))} made of bars of {interval}",
            expected="bars of one interval",
            instead=f"make coarser bars with gc.resample(bars, ...), or {_CONVERT}",
        )
    return bars


def check_bars(
    frame: pd.DataFrame,
    source: object | Origin,
    interval: DurationLike | None = None,
    calendar: str | None = None,
) -> pd.DataFrame:
    """Return a frame as checked bars.

    Args:
        frame: Indexed by close time, timezone-aware, with the columns `COLUMNS`, and `OPTIONAL`
            if there are any; others are dropped.
        source: The file or other origin, for error messages.
        interval: Time between two bars; by default the most common one.
        calendar: The trading calendar, see `gafcnn.data.calendars`; None if trading never stops.

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
    extras = [name for name in OPTIONAL if name in frame.columns]
    bars = frame.reindex(columns=[*COLUMNS, *extras]).astype("float64")
    check_times(pd.DatetimeIndex(frame.index), origin)
    times = _nanoseconds(bars).view("datetime64[ns]")
    bars = bars.set_axis(pd.DatetimeIndex(times, tz="UTC", name="close_time"))
    check_values(bars, origin)
    checked = interval_between(bars.index, interval)
    if checked <= pd.Timedelta(0):
        raise ConfigError(
            f"interval is {format_duration(checked)}",
            expected="the time between two bars",
            instead="leave it out for the most common one",
        )
    bars.attrs = {"interval": format_duration(checked)}  # texts, which parquet can hold
    if calendar not in (None, ALWAYS):
        bars.attrs["calendar"] = calendar
    _check_steps(bars, origin)
    return bars


def rolling_volatility(bars: pd.DataFrame, key: str, lookback: pd.Timedelta) -> NDArray[np.float64]:
    """Return the standard deviation of the one-bar log returns up to each bar: shape (bars,).

    It is NaN before the first full lookback, which is a multiple of the interval and at least three
    bars; `key` names it in a ConfigError. Gaps are not treated specially.
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
    """Return the time between two bars, of a frame that passes `ensure_bars`."""
    return pd.to_timedelta(ensure_bars(bars).attrs["interval"])


def check_together(bars: Mapping[str, pd.DataFrame]) -> None:
    """Raise a ConfigError unless symbols have bars of one interval that close at the same times."""
    if not bars:
        raise ConfigError("no bars", expected="those of a symbol or more", instead="pass bars")
    (first, reference), *others = bars.items()
    interval, calendar = interval_of(reference), reference.attrs.get("calendar")
    for other, frame in others:
        if frame.attrs.get("calendar") != calendar:
            raise ConfigError(
                f"{first} follows the trading calendar {calendar or ALWAYS}, and {other} "
                f"{frame.attrs.get('calendar', ALWAYS)}",
                expected="one calendar for all symbols",
                instead=f"add calendar={calendar or ALWAYS!r} (market.calendar=...) when reading",
            )
        apart = np.array([(frame.index[0] - reference.index[0]).value % interval.value])
        on_one_grid = calendar is not None or _bars_apart(apart + interval.value, interval).any()
        if interval_of(frame) != interval or not on_one_grid:
            longer = format_duration(max(interval, interval_of(frame)))
            raise ConfigError(
                f"{first} has bars of {format_duration(interval)} from {reference.index[0]} on, "
                f"{other} of {format_duration(interval_of(frame))} from {frame.index[0]} on",
                expected="one interval, and close times that are multiples of it apart",
                instead=f"use gc.resample(bars, {longer!r}) or market.interval={longer}, "
                f"or remove {other}",
            )


def stretches(bars: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Split bars at their gaps, in the order of time.

    Anything that is computed per stretch never spans a gap.
    """
    cuts = np.flatnonzero(bars_apart(bars) > 1) + 1
    edges = [0, *cuts, len(bars)]
    return (bars.iloc[start:stop] for start, stop in pairwise(edges))


def has_volume(bars: pd.DataFrame) -> bool:
    """Whether the bars have a volume. It is known in all rows or in no row."""
    return "volume" in bars and not np.isnan(bars["volume"].to_numpy("float64")).all()


def gaps(bars: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the gaps, one row each.

    Its columns are `after` and `before`, the close times of the bars on both sides, and `missing`,
    the number of bars.
    """
    apart = bars_apart(bars)
    at = np.flatnonzero(apart > 1)
    closes = {"after": bars.index[at], "before": bars.index[at + 1]}
    return pd.DataFrame({**closes, "missing": apart[at] - 1})


def bars_apart(bars: pd.DataFrame) -> NDArray[np.int64]:
    """Return how many bars later each bar is than the one before it: 1 without a gap, (n - 1,)."""
    ensure_bars(bars)
    return _apart(bars)


def calendar_of(bars: pd.DataFrame) -> Calendar | None:
    """Return the trading calendar of bars; None if trading never stops."""
    name = bars.attrs.get("calendar")
    return None if name is None or bars.empty else load_calendar(name, int(bars.index[0].year))


def bars_per_year(bars: pd.DataFrame) -> float:
    """Return the number of bars in a year of 365 days."""
    interval, calendar = interval_of(bars), calendar_of(bars)
    return _YEAR / interval if calendar is None else calendar.bars_per_year(interval)


def bars_per_day(bars: pd.DataFrame) -> float:
    """Return the number of bars in a day, or in a session."""
    calendar = calendar_of(bars)
    return bars_per_year(bars) / (365 if calendar is None else calendar.bars_per_year(_DAY))


def fill_quiet(bars: pd.DataFrame, limit: DurationLike = "1h") -> pd.DataFrame:
    """Return bars in which gaps up to `limit` are filled: by the last close, and volumes of 0.

    Many exchanges write no bar for a minute without a trade.
    """
    interval = interval_of(bars)
    most = parse_duration("market.fill_limit", limit) // interval
    missing = gaps(bars)
    wide = (missing["before"] - missing["after"]) // interval - 1  # of a night, among others
    missing = missing.loc[(missing["missing"] <= most) & (missing["missing"] == wide)]
    if missing.empty:
        return bars
    after = missing["after"].repeat(missing["missing"])
    number = after.groupby(level=0).cumcount() + 1
    times = pd.DatetimeIndex(after + number * interval, name="close_time")
    filled = bars.reindex(bars.index.union(times))
    close = filled["close"].ffill()
    filled = filled.fillna({**dict.fromkeys(PRICES, close), FUNDING: 0.0})
    if has_volume(bars):
        filled.loc[times, filled.columns.intersection(["volume", *EXTRAS])] = 0.0
    return check_bars(filled, "the filled bars", interval, bars.attrs.get("calendar"))


def resample(bars: pd.DataFrame, interval: DurationLike) -> pd.DataFrame:
    """Return coarser bars: first open, highest high, lowest low, last close, sums of volumes.

    A coarse bar is made of the fine ones that there are, as exchanges make it of the trades; one
    without any is a gap. Those at both ends are left out if they are not complete. Bars close at
    multiples of the interval since 1970, so that an hourly bar closes at the full hour; with a
    trading calendar at multiples since the open of the session, and at its close.

    Raises:
        ConfigError: `interval` is not a multiple of the bars' interval.
        BarsError: There are fewer than two coarse bars.
    """
    coarse, fine = parse_duration("market.interval", interval), interval_of(bars)
    if multiple_of("market.interval", coarse, fine) == 1:
        return bars
    index, calendar = pd.DatetimeIndex(bars.index), calendar_of(bars)
    ends: Any = index.ceil(coarse)
    begins: Any = ends - coarse
    if calendar is not None:
        opens = _nanoseconds(bars) - fine.value
        inside = calendar.is_open(opens)
        if fine < _DAY and not inside.all():
            log.warning(
                "%d bars outside the sessions of %s are left out", (~inside).sum(), calendar.name
            )
            bars, opens, index = bars.loc[inside], opens[inside], index[inside]
        slots = calendar.slots(opens, coarse)
        begins, ends = (pd.DatetimeIndex(one.view("datetime64[ns]"), tz="UTC") for one in slots)
    groups = bars.groupby(ends)
    coarser: Any = groups.agg({"open": "first", "high": "max", "low": "min", "close": "last"})
    for name in bars.columns.intersection(["volume", *OPTIONAL]):
        coarser[name] = groups[name].sum(min_count=1)  # NaN if no volume is known
    first = int(index[0] - fine > begins[0])
    last = len(coarser) - int(index[-1] < ends[-1])
    source = f"the bars of {format_duration(coarse)}"
    made = check_bars(coarser.iloc[first:last], source, coarse, bars.attrs.get("calendar"))
    made.attrs = {**bars.attrs, **made.attrs}  # whether they are simulated
    return made


def release_memory() -> None:
    """Return free memory to the system: allocators keep half as much as the bars in small parts."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)  # of glibc


def fingerprint(bars: pd.DataFrame, columns: Sequence[str] = COLUMNS) -> str:
    """Return the SHA-256 of the bars' times and values, as 64 hexadecimal digits."""
    values = bars[list(columns)].to_numpy("float64").tobytes()
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

    valid = possible(bars)
    if valid.all():
        return
    rules = [(np.asarray(kept), columns, expected) for kept, columns, expected in _rules(bars)]

    def broken(row: int) -> tuple[Sequence[str], str]:
        return next((columns, expected) for kept, columns, expected in rules if not kept[row])

    def shown(row: int) -> str:
        values = (f"{name} is {float(bars[name].iloc[row])}" for name in broken(row)[0])
        return f"{', '.join(values)} at {bars.index[row]}"

    _, expected = broken(int(np.argmin(valid)))
    remedy = f'{REPAIR}; of a file, repair="drop" (market.repair=drop) removes them'
    origin.require(valid, shown, expected, remedy)


def possible(bars: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the values of each bar are possible: shape (n,)."""
    return np.logical_and.reduce([valid for valid, _, _ in _rules(bars)])


def on_grid(bars: pd.DataFrame, interval: pd.Timedelta) -> NDArray[np.bool_]:
    """Whether the time of each bar is a whole number of intervals from the others: shape (n,)."""
    phase = pd.Series(_nanoseconds(bars) % interval.value)
    usual = phase.mode().iloc[0]
    return _bars_apart((phase - usual).to_numpy() + interval.value, interval) > 0


def _rules(bars: pd.DataFrame) -> Iterator[tuple[Any, Sequence[str], str]]:
    """Yield the rows that keep a rule, the columns that it is about, and what it expects."""
    prices = [bars[name].to_numpy() for name in PRICES]
    for name, price in zip(PRICES, prices, strict=True):
        yield np.isfinite(price) & (price > 0), [name], "a finite positive price"
    highest, lowest = np.maximum.reduce(prices), np.minimum.reduce(prices)
    yield bars["high"] >= highest * (1 - _ROUNDING), PRICES, "the highest price as high"
    yield bars["low"] * (1 - _ROUNDING) <= lowest, PRICES, "the lowest price as low"
    if has_volume(bars):
        yield bars["volume"].between(0, np.inf, "left"), ["volume"], "a finite volume, 0 or more"
    for name in EXTRAS:
        if name in bars:
            yield ~(bars[name].to_numpy() < 0), [name], "0 or more"
    if FUNDING in bars:
        yield ~(np.abs(bars[FUNDING].to_numpy()) >= 1), [FUNDING], "a fraction between -1 and 1"


def _check_steps(bars: pd.DataFrame, origin: Origin) -> None:
    steps, interval, apart = _steps(bars), pd.to_timedelta(bars.attrs["interval"]), _apart(bars)
    if (calendar := calendar_of(bars)) is not None:
        share = calendar.share_outside(_nanoseconds(bars), interval)
        if share > _MOST_OUTSIDE:
            raise BarsError(
                f"{origin.source}: {share:.0%} of the bars are outside sessions of {calendar.name}",
                expected="bars of its sessions",
                instead='choose another calendar, such as "24/7", or add repair="drop"',
            )
    if not (apart == 1).any():
        raise BarsError(
            f"{origin.source} holds bars of {format_duration(interval_between(bars.index))}",
            expected=f"bars of {format_duration(interval)}",
            instead="omit the interval if one is given, use gc.resample, or read more bars",
        )
    valid = np.r_[True, apart > 0]
    starts = np.flatnonzero(np.r_[True, steps[1:] != steps[:-1]])
    lengths = np.diff(np.r_[starts, len(steps)])
    valid[starts[(lengths >= _MIXED_RUN) & (apart[starts] != 1)] + 1] = False
    origin.require(
        valid,
        lambda row: (
            f"a step of {format_duration(pd.to_timedelta(steps[row - 1], unit='ns'))} "
            f"to {bars.index[row]} among bars of {format_duration(interval)}"
        ),
        "bars of one interval, and gaps that are multiples of it",
        'name the calendar of a market that closes, as calendar="XNYS" (market.calendar=XNYS), or '
        'leave such rows out with repair="drop"',
    )


def check_times(times: pd.DatetimeIndex, origin: Origin) -> None:
    """Check that times are in the range that the library can compute with."""
    moments = times.to_numpy(f"datetime64[{times.unit}]")  # formats years above 9999 as well
    origin.require(
        (times >= _EARLIEST) & (times < _LATEST),
        lambda row: f"the time is {moments[row]}",
        f"a time from {_EARLIEST.year} to {_LATEST.year}",
    )


def interval_between(times: pd.Index, given: DurationLike | None = None) -> pd.Timedelta:
    """Return the time between two bars: as it is given, or else the most common one."""
    if given is not None:
        return parse_duration("interval", given)
    steps, counts = np.unique(np.diff(times.to_numpy("datetime64[ns]")), return_counts=True)
    return pd.to_timedelta(steps[counts.argmax()])


def _apart(bars: pd.DataFrame) -> NDArray[np.int64]:
    """Return how many bars later each bar is; 0 for a step that does not fit."""
    interval, calendar = pd.to_timedelta(bars.attrs["interval"]), calendar_of(bars)
    if calendar is not None:
        return calendar.apart(_nanoseconds(bars), interval)
    return _bars_apart(_steps(bars), interval)


def _bars_apart(steps: NDArray[np.int64], interval: pd.Timedelta) -> NDArray[np.int64]:
    """Return how many bars there are from each bar to the next; 0 for a step that does not fit.

    Bars of hours and days may be an hour off where a change of daylight saving time lies between.
    """
    tolerance = _HOUR.value if interval >= 4 * _HOUR else 0
    apart = np.ones(len(steps), np.int64)
    others = np.flatnonzero(steps != interval.value)  # few, and a division is slow
    found = (steps[others] + tolerance) // interval.value
    fits = np.abs(steps[others] - found * interval.value) <= tolerance
    apart[others] = np.where(fits, found, 0)
    return apart
