"""Bars: what they must be, what they are, coarser ones.

Bars are a frame indexed by `close_time` (datetime64[ns, UTC], strictly increasing), float64 columns
`COLUMNS`, with the interval in `attrs["interval"]`. A bar is labelled with the moment at which it
is known. Gaps are facts, not faults; so is a market of which no volume is known: NaN in all rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import BarsError, ConfigError

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]

REPAIR = "repair the row, or leave it out: a gap is allowed"
"""What to do about a row at fault."""

# a century around today, so that no sum or difference of two times overflows int64 nanoseconds
_EARLIEST = pd.Timestamp("1970-01-01", tz="UTC")
_LATEST = pd.Timestamp("2100-01-01", tz="UTC")

# that many equal steps in a row, other than the interval, are bars of another interval, not gaps
_MIXED_RUN = 10

_HASHED = 2**16  # bars that are copied at a time


@dataclass(frozen=True)
class Origin:
    """Where rows come from, and how a user counts them there.

    Attributes:
        source: The file, or what else the rows were taken from.
        lines: The number of each row's line in a text, shape (n,); without them, rows are told,
            counted from 0.
    """

    source: object
    lines: NDArray[np.int64] | None = None

    def fault(self, row: int, found: str, *, expected: str, instead: str) -> BarsError:
        """The error that names the row in the user's count."""
        place = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        return BarsError.at(self.source, place, found, expected=expected, instead=instead)


def check_bars(
    frame: pd.DataFrame, source: object | Origin, interval: DurationLike | None = None
) -> pd.DataFrame:
    """Bars that can be trusted, or an error that says why not.

    Args:
        frame: Indexed by close time, tz-aware, with the columns `COLUMNS` (others are left out).
        source: The file or other origin, for the error.
        interval: Time between two bars; by default the most common one.

    Raises:
        BarsError: Naming source, row, value and remedy.
        ConfigError: `interval` is none.
    """
    origin = source if isinstance(source, Origin) else Origin(source)
    _check_columns(frame, origin)
    if len(frame) < 2:
        raise BarsError(
            f"{origin.source} holds {len(frame) or 'no'} bar{'s' * (len(frame) != 1)}",
            expected="at least two",
            instead="choose a file or a period with more of them",
        )
    # without a copy where the frame is as it should be: pandas copies what is written to
    values = frame.reindex(columns=list(COLUMNS)).astype("float64")
    bars = values.set_axis(_utc(frame.index, origin))
    _check_order(bars, origin)
    _check_prices(bars, origin)
    _check_volume(bars, origin)
    bars.attrs = {"interval": _check_interval(_steps(bars), origin, interval)}
    return bars


def by_close_time(bars: pd.DataFrame, origin: Origin) -> pd.DataFrame:
    """Checked bars that are labelled by their open time, labelled by their close time.

    Raises:
        BarsError: The last one closes later than any bar may.
    """
    closes = _from_nanoseconds(_nanoseconds(bars) + interval_of(bars).value)
    _check_calendar(closes, origin)
    return bars.set_axis(closes)


def bar_interval(value: DurationLike) -> pd.Timedelta:
    """The length of a bar, from the value of the option `market.interval`.

    Raises:
        ConfigError: `value` is no length of time, or of no length.
    """
    interval = parse_duration("market.interval", value)
    if interval == pd.Timedelta(0):
        raise ConfigError(
            f"market.interval is {value}",
            expected="the time between two bars, which is more than none",
            instead="write market.interval=1min, say",
        )
    return interval


def interval_of(bars: pd.DataFrame) -> pd.Timedelta:
    """The time between two bars: as the reader found it, else the most common step.

    Raises:
        BarsError: There are fewer than two bars, and nothing else tells.
    """
    known = bars.attrs.get("interval")
    if known is not None:
        return known
    if len(bars) < 2:
        raise BarsError(
            f"{len(bars)} bars do not tell their interval",
            expected="at least two",
            instead='keep more of them, or set bars.attrs["interval"]',
        )
    return _most_common(_steps(bars))


def stretches(bars: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The gap-free stretches of bars, in the order of time; together they are all bars.

    What is computed of each by itself never looks over a gap.
    """
    cuts = np.flatnonzero(_steps(bars) != interval_of(bars).value) + 1
    edges = [0, *cuts, len(bars)]
    return (bars.iloc[start:stop] for start, stop in pairwise(edges))


def has_volume(bars: pd.DataFrame) -> bool:
    """Whether the bars' volume is known: in all rows, or else in none."""
    return not np.isnan(bars["volume"].to_numpy("float64")).all()


def gaps(bars: pd.DataFrame) -> pd.DataFrame:
    """Where bars are missing: a row a gap.

    Returns:
        Columns `after` and `before` (close times, UTC, of the bars on both sides) and `missing`
        (number of bars).
    """
    steps, interval = _steps(bars), interval_of(bars).value
    at = np.flatnonzero(steps != interval)
    return pd.DataFrame(
        {
            "after": bars.index[at],
            "before": bars.index[at + 1],
            "missing": steps[at] // interval - 1,
        }
    )


def resample(bars: pd.DataFrame, interval: DurationLike) -> pd.DataFrame:
    """Coarser bars: first open, highest high, lowest low, last close, summed volume.

    A coarse bar of which a fine one is missing is left out and so becomes a gap. Bars close at
    multiples of the interval since 1970 (an hourly bar closes at the full hour).

    Raises:
        ConfigError: The interval is no multiple of the bars' own.
        BarsError: Fewer than two coarse bars are whole.
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
            "volume": groups["volume"].sum(min_count=1),  # of none, none is known
        }
    ).loc[groups.size() == count]
    if len(coarser) < 2:
        raise BarsError(
            f"{len(bars)} bars hold {len(coarser)} whole bars of {format_duration(coarse)}",
            expected="at least two",
            instead="choose a shorter market.interval, or give more bars",
        )
    coarser.attrs = {"interval": coarse}
    return coarser


def fingerprint(bars: pd.DataFrame) -> str:
    """SHA-256 of the bars' times and values, as 64 hexadecimal digits."""
    digest = hashlib.sha256(_nanoseconds(bars).tobytes())
    for start in range(0, len(bars), _HASHED):
        rows = bars.iloc[start : start + _HASHED]
        digest.update(rows[list(COLUMNS)].to_numpy("float64").tobytes())
    return digest.hexdigest()


def _nanoseconds(bars: pd.DataFrame) -> NDArray[np.int64]:
    return bars.index.to_numpy("datetime64[ns]").astype(np.int64)


def _from_nanoseconds(times: NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC", name="close_time")


def _steps(bars: pd.DataFrame) -> NDArray[np.int64]:
    return np.diff(_nanoseconds(bars))


def _most_common(steps: NDArray[np.int64]) -> pd.Timedelta:
    values, counts = np.unique(steps, return_counts=True)
    return _length(values[counts.argmax()])


def _length(nanoseconds: np.int64) -> pd.Timedelta:
    return pd.Timedelta(int(nanoseconds), unit="ns")  # pyright: ignore[reportReturnType] # never NaT


def _utc(index: pd.Index, origin: Origin) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        raise no_timezone(origin, 0, index[0])
    _check_calendar(index, origin)
    return _from_nanoseconds(index.to_numpy("datetime64[ns]").view(np.int64))


def _check_calendar(index: pd.DatetimeIndex, origin: Origin) -> None:
    known = np.asarray((index >= _EARLIEST) & (index < _LATEST))
    if not known.all():
        row = int(known.argmin())
        raise origin.fault(
            row,
            # numpy spells any time, pandas only those of the years 1 to 9999
            f"the time is {index.to_numpy(f'datetime64[{index.unit}]')[row]}",
            expected=f"one from {_EARLIEST.year} to {_LATEST.year}",
            instead=REPAIR,
        )


def no_timezone(origin: Origin, row: int, time: object) -> BarsError:
    """What to say of a time that could be any of two dozen."""
    return origin.fault(
        row,
        f"the time {time} has no timezone",
        expected="UTC epochs, or times with an offset such as 2025-05-04T00:00:00Z",
        instead="write the times with their offset",
    )


def _check_columns(frame: pd.DataFrame, origin: Origin) -> None:
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise BarsError(
            f"{origin.source} has no column {' or '.join(missing)}",
            expected=", ".join(COLUMNS),
            instead="add it, or rename the one that is meant",
        )


def _check_order(bars: pd.DataFrame, origin: Origin) -> None:
    steps = _steps(bars)
    if (steps > 0).all():
        return
    row = int((steps <= 0).argmax()) + 1
    same = steps[row - 1] == 0
    raise origin.fault(
        row,
        f"the time {bars.index[row]} {'stands twice' if same else 'is before the last one'}",
        expected="times that increase from row to row",
        instead="remove the duplicate" if same else "sort the rows by time",
    )


def _check_prices(bars: pd.DataFrame, origin: Origin) -> None:
    prices = bars.to_numpy()[:, : len(PRICES)]
    wrong = np.argwhere(~(np.isfinite(prices) & (prices > 0)))
    if len(wrong):
        row, column = wrong[0]
        raise _bad_bar(bars, origin, row, (PRICES[column],), "a finite positive price")
    for name, outermost in (("high", prices.max(axis=1)), ("low", prices.min(axis=1))):
        wrong = np.flatnonzero(bars[name].to_numpy() != outermost)
        if len(wrong):
            raise _bad_bar(bars, origin, wrong[0], PRICES, f"the {name}est price as {name}")


def _check_volume(bars: pd.DataFrame, origin: Origin) -> None:
    if not has_volume(bars):
        return
    volume = bars["volume"].to_numpy()
    wrong = np.flatnonzero(~(np.isfinite(volume) & (volume >= 0)))
    if len(wrong):
        raise _bad_bar(bars, origin, wrong[0], ("volume",), "a finite volume, 0 or more")


def _bad_bar(
    bars: pd.DataFrame, origin: Origin, row: int, columns: tuple[str, ...], expected: str
) -> BarsError:
    told = ", ".join(f"{name} is {float(bars[name].iloc[row])}" for name in columns)
    return origin.fault(
        row,
        f"{told} at {bars.index[row]}",
        expected=expected,
        instead=REPAIR,
    )


def _check_interval(
    steps: NDArray[np.int64], origin: Origin, asked: DurationLike | None
) -> pd.Timedelta:
    usual = _most_common(steps)
    interval = usual if asked is None else bar_interval(asked)
    if not (steps == interval.value).any():
        raise BarsError(
            f"{origin.source} holds bars of {format_duration(usual)}",
            expected=f"bars of {format_duration(interval)}, the interval asked for",
            instead="leave the interval out, or resample the bars once they are read",
        )
    uneven = np.flatnonzero(steps % interval.value)[:1]
    first = [*uneven, *run_of_another(steps, interval.value)]
    if first:
        row = int(min(first))
        raise origin.fault(
            row + 1,
            f"a step of {format_duration(_length(steps[row]))} among bars of {format_duration(interval)}",
            expected="bars of one interval, and gaps that are multiples of it",
            instead="split the bars by their interval",
        )
    return interval


def run_of_another(steps: NDArray[np.int64], interval: int) -> NDArray[np.intp]:
    """The first step of the first long run of equal steps that are not the interval, if any."""
    starts = np.flatnonzero(np.r_[True, steps[1:] != steps[:-1]])
    lengths = np.diff(np.r_[starts, len(steps)])
    return starts[(lengths >= _MIXED_RUN) & (steps[starts] != interval)][:1]
