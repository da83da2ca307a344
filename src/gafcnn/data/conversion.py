"""Conversion of tables of prices, from files or in memory, to bars."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import (
    COLUMNS,
    OPTIONAL,
    PRICES,
    Origin,
    check_bars,
    check_times,
    ensure_bars,
    interval_between,
    on_grid,
    possible,
)
from gafcnn.data.calendars import ALWAYS, detect_calendar, load_calendar
from gafcnn.data.columns import Columns, find_columns
from gafcnn.data.times import as_numbers, parse_times
from gafcnn.durations import DurationLike
from gafcnn.errors import BarsError, ConfigError

Repair = Literal["drop"]

_UNKNOWN = ("", "-", "--", "n/a", "n.a.", "na", "nan", "null", "none")
_JUMP = 10  # factor between two closes that is warned of
# of volumes, as Investing.com writes them
_UNITS = {r"(?<=\d)K$": "e3", r"(?<=\d)M$": "e6", r"(?<=\d)B$": "e9"}

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """Rows of one symbol of a table, by their times as given; not yet checked."""

    symbol: str | None  # if the table names it
    frame: pd.DataFrame  # prices and volumes by time, UTC
    origin: Origin  # where the rows come from
    is_open: bool  # whether the times are open times
    timezone: str | None  # in which a day of the bars begins, if it is known
    description: str  # what was recognised, in words


def parts_of(
    table: pd.DataFrame,
    columns: Columns,
    origin: Origin,
    timezone: str | None,
    symbol: str | None = None,
) -> list[Part]:
    """Return the rows of each symbol of a table, whose columns in use are given by their role.

    The timezone is that of times without one, the symbol that of a table without such a column.
    """
    written: Any = table["time"]
    if "clock" in table:
        written = written.astype("str").str.strip() + " " + table["clock"].astype("str").str.strip()
    times, notation = parse_times(written, origin, timezone)
    zone = str(getattr(written.dtype, "tz", None) or timezone or "") or None
    known = [name for name in (*COLUMNS, *OPTIONAL) if name in table]
    values = {name: _numbers(table[name], origin, units=name not in PRICES) for name in known}
    for name in known[len(PRICES) :]:
        if (values[name] == -1).all():  # unknown, as Interactive Brokers writes it
            values[name] = np.full(len(times), np.nan)
    if "unadjusted" in table:
        ratio = values["close"] / _numbers(table["unadjusted"], origin)
        values |= {name: values[name] * ratio for name in PRICES[:3]}
    frame = pd.DataFrame(values, times)
    kind = "open" if columns.is_open else "close"
    text = f"{notation}, as {kind} times, {columns.description}"
    # some exporters write a row without prices where nothing was traded
    traded = ~np.logical_and.reduce([np.isnan(values[name]) for name in PRICES])
    if not traded.all() and traded.any():
        text += f", rows without prices left out: {(~traded).sum():,}"
        table, frame = table.loc[traded], frame.loc[traded]
        origin = origin.at(np.flatnonzero(traded))
    if "symbol" not in table:
        return [Part(symbol, frame, origin, columns.is_open, zone, text)]
    groups = table["symbol"].groupby(table["symbol"].astype("str"), sort=False).indices
    return [
        Part(str(name), frame.iloc[rows], origin.at(rows), columns.is_open, zone, text)
        for name, rows in groups.items()
    ]


def join(
    parts: Sequence[Part],
    source: object,
    interval: DurationLike | None = None,
    repair: Repair | None = None,
    calendar: str | None = None,
) -> pd.DataFrame:
    """Return the bars of one symbol from parts, in any order; overlaps must agree.

    With `repair="drop"` rows with impossible values are left out, and then are gaps. By default the
    interval is the most common one, and the calendar the common one that the bars clearly follow.

    Raises:
        BarsError: The bars are invalid; names row, value and remedy.
        ConfigError: The calendar is unknown.
    """
    frames = []
    for part in parts:
        times = pd.DatetimeIndex(part.frame.index)
        check_times(times, part.origin)
        frames.append(part.frame.set_axis(times.as_unit("ns")))
    # of all parts together, since one may have a single bar
    every = frames[0].index
    if len(frames) > 1 or not every.is_monotonic_increasing:
        every = every.append([one.index for one in frames[1:]]).unique().sort_values()
    length = None
    if interval is not None or len(every) > 1:
        length = interval_between(every, interval)
        for k, part in enumerate(parts):
            if part.is_open:
                closes = _close_times(frames[k].index, length, part.timezone)
                frames[k] = frames[k].set_axis(closes)
    frame = frames[0] if len(frames) == 1 else pd.concat(frames)
    origin = _joined(source, parts)
    times = pd.DatetimeIndex(frame.index)
    if not times.is_monotonic_increasing or not times.is_unique:
        frame, origin = _in_order(frame, origin)
    if repair is not None:
        frame, origin = _without(~possible(frame), "impossible", frame, origin)
    if len(frame) < 2 or length is None:
        return check_bars(frame, origin, interval)
    if calendar is None:
        calendar = detect_calendar(pd.DatetimeIndex(frame.index).asi8, length)
        if calendar is not None:
            log.info("%s: trading calendar %s", source, calendar)
    if repair is not None and calendar in (None, ALWAYS):
        frame, origin = _without(~on_grid(frame, length), "off the grid", frame, origin)
    elif repair is not None and length < pd.Timedelta(days=1):
        sessions = load_calendar(calendar, int(frame.index[0].year))
        opens = pd.DatetimeIndex(frame.index).asi8 - length.value
        frame, origin = _without(~sessions.is_open(opens), "outside sessions", frame, origin)
        opens = pd.DatetimeIndex(frame.index).asi8 - length.value
        rare = sessions.rare_offsets(opens, length)
        frame, origin = _without(rare, "off the grid", frame, origin)
    bars = check_bars(frame, origin, length, calendar)
    moves = np.abs(np.diff(np.log(bars["close"].to_numpy())))
    if moves.max() > np.log(_JUMP):
        log.warning(
            "%s: the close moves by a factor of %.3g at %s: a split, or separators of thousands?",
            *(source, np.exp(moves.max()), bars.index[moves.argmax() + 1]),
        )
    return bars


def _close_times(opens: pd.Index, length: pd.Timedelta, timezone: str | None) -> pd.DatetimeIndex:
    """Return the close times of bars by their open times.

    Bars of a day and longer close at the same hour of the clock in the time zone.
    """
    times = pd.DatetimeIndex(opens)
    if timezone is None or length < pd.Timedelta(days=1):
        return times + length
    clock = times.tz_convert(timezone).tz_localize(None) + length
    first = np.ones(len(times), bool)  # of two equal hours at the end of summer time
    closes = clock.tz_localize(timezone, ambiguous=first, nonexistent="shift_forward")
    return closes.tz_convert("UTC")


def _without(
    faulty: NDArray[np.bool_], what: str, frame: pd.DataFrame, origin: Origin
) -> tuple[pd.DataFrame, Origin]:
    """Return the rows that are not faulty; log how many are."""
    if not faulty.any():
        return frame, origin
    log.warning(
        "%s: rows left out as %s: %d, the first at %s",
        *(origin.source, what, int(faulty.sum()), frame.index[faulty][0]),
    )
    return frame.loc[~faulty], origin.at(np.flatnonzero(~faulty))


def _in_order(frame: pd.DataFrame, origin: Origin) -> tuple[pd.DataFrame, Origin]:
    """Return rows in the order of time, without those that occur twice."""
    order = np.argsort(pd.DatetimeIndex(frame.index).asi8, kind="stable")
    frame, origin = frame.iloc[order], origin.at(order)
    values, before = frame.to_numpy(), np.roll(frame.to_numpy(), 1, axis=0)
    # one of two files may lack a column
    same = (np.isclose(values, before, 1e-9, 0) | np.isnan(values) | np.isnan(before)).all(axis=1)
    again = frame.index.duplicated()
    origin.require(
        ~again | same,
        lambda row: f"the time {frame.index[row]} occurs twice, with other values",
        "one bar of one symbol at a time",
        "remove the wrong one, such as the unfinished last bar of a file; if they are of two "
        'symbols, read each on its own, or name their column: columns={"symbol": "..."}',
    )
    if again.any():
        log.info("%s: %d rows that occur twice are left out", origin.source, again.sum())
    return frame.loc[~again], origin.at(np.flatnonzero(~again))


def as_bars(
    frame: pd.DataFrame,
    *,
    time: str | None = None,
    timezone: str | None = None,
    label: Literal["open", "close"] | None = None,
    interval: DurationLike | None = None,
    columns: Mapping[str, str] | None = None,
    calendar: str | None = None,
) -> pd.DataFrame:
    """Return a DataFrame of prices as bars.

    Bars that come from gafcnn are returned unchanged, unless `time` or `label` is given.

    Args:
        frame: Columns open, high, low, close and, optionally, volume, in any case.
        time: The column that holds the times (timestamps, texts, or epochs in s, ms, us or ns); by
            default the index, or where it holds numbers, a column with a usual name, as "date".
        timezone: Time zone of times without one, for example "UTC" or "America/New_York".
        label: Whether the times are open times, as most exchanges give them, or close times; by
            default close times if they are named close_time or closeTime, otherwise open times.
        interval: Time between two bars; by default the most common one.
        columns: Names of other columns, see `gafcnn.read_bars`.
        calendar: The trading calendar, see `gafcnn.read_bars`.

    Raises:
        BarsError: The frame has no valid bars; names row, value and remedy.
        ConfigError: `label`, `timezone` or `interval` is invalid.
    """
    unchanged = time is None and label is None
    if not isinstance(frame, pd.DataFrame) or (unchanged and "interval" in frame.attrs):
        return ensure_bars(frame)
    if frame.columns.nlevels > 1:  # as of yfinance.download
        frame = _without_symbols(frame)
    if label not in ("open", "close", None):
        raise ConfigError(f"label is {label!r}", expected="open or close", instead="correct label")
    if frame.index.nlevels > 1:  # of symbols and times, as Alpaca returns it
        frame = frame.reset_index()
        times = [name for name in frame.columns if frame[name].dtype.kind == "M"]
        time = times[0] if time is None and times else time
    if time is None and not pd.api.types.is_numeric_dtype(frame.index):
        time = "time" if frame.index.name in (None, *frame.columns) else str(frame.index.name)
        frame = frame.rename_axis(time).reset_index()
    origin, names = Origin("the DataFrame"), [str(name) for name in frame.columns]
    first = [None if frame.empty else column.iloc[0] for _, column in frame.items()]
    chosen = ({} if time is None else {"time": str(time)}) | dict(columns or {})
    found = find_columns(names, first, origin.source, chosen)
    if label is not None:
        found = replace(found, is_open=label == "open")
    table = pd.DataFrame({role: frame.iloc[:, place] for role, place in found.places.items()})
    if table.empty:
        return check_bars(table, origin)
    parts = parts_of(table.reset_index(drop=True), found, origin, timezone)
    if len(parts) > 1:
        column = names[found.places["symbol"]]
        raise _of_several([part.symbol for part in parts], f'df[df["{column}"] == "{{}}"]')
    return join(parts, origin.source, interval, calendar=calendar)


def _without_symbols(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame without the level of its columns that names the one symbol."""
    prices = [{str(name).lower() for name in frame.columns.get_level_values(k)} for k in (0, 1)]
    level = int(not prices[0].isdisjoint(PRICES))
    columns: Any = frame.columns
    names = [*dict.fromkeys(one[level] for one in columns if one[1 - level].lower() in PRICES)]
    if len(names) > 1:
        raise _of_several(names, f'df.xs("{{}}", axis=1, level={level})')
    return frame.droplevel(level, axis=1)


def _of_several(symbols: Sequence[object], one: str) -> BarsError:
    return BarsError(
        f"the DataFrame holds {len(symbols)} symbols, among them {symbols[0]}",
        expected="bars of one symbol",
        instead=f"pass those of each one, as in {one.format(symbols[0])}",
    )


def _joined(source: object, parts: Sequence[Part]) -> Origin:
    """Return the origin of the rows of parts, one after another."""
    if len(parts) == 1:
        return parts[0].origin
    starts = np.cumsum([0, *(len(part.frame) for part in parts)])

    def place(row: int) -> str:
        number = int(np.searchsorted(starts, row, side="right")) - 1
        origin = parts[number].origin
        return f"{origin.source}, {origin.place(row - int(starts[number]))}"

    return Origin(source, place)


def _numbers(column: Any, origin: Origin, *, units: bool = False) -> NDArray[np.float64]:
    """Return the numbers of a column, NaN for unknown ones; `units` are K, M and B after them."""
    numbers = as_numbers(column).to_numpy("float64")
    if column.dtype.kind in "iuf" or not np.isnan(numbers).any():
        return numbers
    texts: Any = column.astype("str").fillna("").str.strip()
    texts = texts.str.replace(r"^\$(?=\d)", "", regex=True)
    if texts.str.contains(r",\d{3}[,.]").any():  # else a comma may be decimal
        grouped = texts.str.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?[A-Z]?")
        texts = texts.where(~grouped, texts.str.replace(",", ""))
    if units:
        texts = texts.replace(_UNITS, regex=True)
    numbers = as_numbers(texts).to_numpy("float64")
    origin.require(
        ~np.isnan(numbers) | texts.str.lower().isin(_UNKNOWN).to_numpy(),
        lambda row: f"{column.name} is {reprlib.repr(str(column.iloc[row]))}",
        "a number",
    )
    return numbers
