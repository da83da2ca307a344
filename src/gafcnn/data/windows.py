"""Which bars make a sample, and what of them one image sees.

    bars     . . . . . . . . . . . . t . . . .
    lookback         |---------------|            gap-free, the same for a family of windows
    span                   |---------|            what the image of one window shows
    points                   x   x   x            one every step, the last one at t

A sample is a row of the bars: the row of the bar that closes at its decision time `t`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data import talib_rules as _rules  # noqa: F401 - it registers its fields
from gafcnn.data.bars import has_volume, interval_of
from gafcnn.data.features import FIELDS, Candles, known_fields
from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import ConfigError, SamplesError


def close_times(bars: pd.DataFrame) -> NDArray[np.datetime64]:
    """The bars' close times: ndarray of shape (n_bars,), datetime64[ns], UTC."""
    return bars.index.to_numpy("datetime64[ns]")


def stretch_starts(bars: pd.DataFrame) -> NDArray[np.int64]:
    """For every row, the first row of the gap-free stretch of bars it stands in: shape (n_bars,).

    The bars from row `i` to row `j` have no gap between them exactly when
    `stretch_starts(bars)[j] <= i`.
    """
    rows = np.arange(len(bars), dtype=np.int64)
    after_gap = np.zeros(len(bars), dtype=bool)
    after_gap[1:] = np.diff(close_times(bars)) != interval_of(bars).to_timedelta64()
    return np.maximum.accumulate(np.where(after_gap, rows, 0))


@dataclass(frozen=True)
class Window:
    """What one image spans: the `span` that ends at the decision time, seen every `step`.

    Args:
        name: The name of the window, such as "30m".
        span: How much time the image shows; a multiple of `step`.
        step: The time between two points; a multiple of the bars' interval, which it is by default.
        lookback: The gap-free stretch that each sample needs, at least `span`. Windows that share
            their lookback share their decision times.
    """

    name: str
    span: pd.Timedelta
    step: pd.Timedelta | None
    lookback: pd.Timedelta

    def __init__(
        self,
        name: str,
        span: DurationLike,
        step: DurationLike | None = None,
        lookback: DurationLike = "60min",
    ) -> None:
        # through __dict__, as a frozen dataclass has no other way to hold what its options mean
        self.__dict__.update(
            name=name,
            span=parse_duration("window.span", span),
            step=None if step is None else parse_duration("window.step", step),
            lookback=parse_duration("window.lookback", lookback),
        )

    def check(self, interval: pd.Timedelta) -> None:
        """Assert that bars of this interval can fill the window.

        Raises:
            ConfigError: The step is no multiple of the interval, the span none of the step, the
                lookback none of the interval, or the span is longer than the lookback.
        """
        step = interval if self.step is None else self.step
        multiple_of("window.step", step, interval)
        multiple_of("window.span", self.span, step, "window.step")
        multiple_of("window.lookback", self.lookback, interval)
        if self.span > self.lookback:
            raise ConfigError(
                f"window.span is {format_duration(self.span)}",
                expected=f"at most window.lookback, {format_duration(self.lookback)}",
                instead=f"set window.lookback to {format_duration(self.span)} or more",
            )

    def points(self, interval: pd.Timedelta) -> int:
        """How many points the window has over bars of this interval: span / step.

        Raises:
            ConfigError: As `check`.
        """
        self.check(interval)
        return self.span // (interval if self.step is None else self.step)

    def offsets(self, interval: pd.Timedelta) -> NDArray[np.int64]:
        """How many bars each point is before the decision, 0 or less: ndarray of shape (points,).

        Raises:
            ConfigError: As `check`.
        """
        points = self.points(interval)
        return np.arange(1 - points, 1, dtype=np.int64) * (self.span // interval // points)


def decision_rows(bars: pd.DataFrame, lookback: DurationLike) -> NDArray[np.int64]:
    """The rows at which a sample can be decided: those that end a gap-free `lookback`.

    Args:
        bars: Bars indexed by close time.
        lookback: A multiple of the bars' interval.

    Returns:
        ndarray of shape (n,), increasing: row `i` is in it when the `lookback / interval` bars that
        end with bar `i` follow each other without a gap.

    Raises:
        ConfigError: The lookback is no multiple of the interval.
        SamplesError: No row ends such a stretch.
    """
    interval = interval_of(bars)
    needed = multiple_of("window.lookback", parse_duration("window.lookback", lookback), interval)
    lengths = np.arange(len(bars)) - stretch_starts(bars) + 1
    rows = np.flatnonzero(lengths >= needed)
    if not len(rows):
        longest = int(lengths.max(initial=0))
        found = "there are only" if longest == len(bars) else "the longest gap-free stretch is"
        raise SamplesError(
            f"{found} {longest} bars of {format_duration(interval)}",
            expected=f"{needed} without a gap, for window.lookback={format_duration(interval * needed)}",
            instead="give more bars or choose a window of a shorter window.lookback",
        )
    return rows


class WindowReader:
    """Reads the series of a window at any decision rows, in chunks of thousands.

    What a step holds is computed once for every row; a read is then one gather a field. A step of
    several bars is one candle: the first open, highest high, lowest low, last close and summed
    volume of them.

    Args:
        bars: Bars indexed by close time.
        window: What to read of them.
        fields: Names of `gafcnn.data.features.FIELDS`, in the order wanted.

    Attributes:
        offsets: How many bars each point is before the decision, 0 or less: shape (points,).

    Raises:
        ConfigError: Bars of this interval cannot fill the window, see `Window.check`, or a field
            reads candles from before the lookback.
        SamplesError: A field is unknown, or of volume where the bars have none.
    """

    def __init__(
        self, bars: pd.DataFrame, window: Window, fields: Iterable[str] = ("close",)
    ) -> None:
        interval = interval_of(bars)
        points = window.points(interval)
        self.fields = known_fields(fields)
        self.offsets = window.offsets(interval)
        step = window.span // interval // points
        reach = _reach(self.fields, window, step * interval)
        self._needed = (points + reach) * step
        self._starts = stretch_starts(bars)
        candles = Candles(bars, step)
        self._series = [FIELDS[field].of(candles) for field in self.fields]
        self._refuse_no_volume(bars)

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The window's series at these rows: ndarray of shape (n, fields, points), oldest first.

        Raises:
            SamplesError: A row is none of the bars, or the window that ends at it, together with
                the candles before it that a field reads, spans a gap.
        """
        rows = np.asarray(rows, dtype=np.int64)
        self._refuse_gaps(rows)
        where = rows[:, None] + self.offsets
        return np.stack([series[where] for series in self._series], axis=1)

    @property
    def bar_values(self) -> NDArray[np.float64]:
        """The fields at every bar: ndarray of shape (n_bars, fields), NaN where bars are too few.

        The series of the window at row `i` is `bar_values[i + offsets]`, transposed.
        """
        return np.stack(self._series, axis=1)

    def _refuse_gaps(self, rows: NDArray[np.int64]) -> None:
        firsts = rows - self._needed + 1
        inside = (firsts >= 0) & (rows < len(self._starts))
        readable = inside.copy()
        readable[inside] = self._starts[rows[inside]] <= firsts[inside]
        if not readable.all():
            raise SamplesError(
                f"row {rows[~readable][0]} does not end {self._needed} bars without a gap",
                expected=f"rows among the {len(self._starts)} bars that do",
                instead="read at the rows that decision_rows(bars, window.lookback) gives",
            )

    def _refuse_no_volume(self, bars: pd.DataFrame) -> None:
        if has_volume(bars):
            return
        for name, series in zip(self.fields, self._series, strict=True):
            if len(bars) and np.isnan(series).all():
                raise SamplesError(
                    f"the {len(bars):,} bars from {bars.index[0]:%Y-%m-%d %H:%M} to "
                    f"{bars.index[-1]:%Y-%m-%d %H:%M} UTC have no volume to make the field "
                    f"{name!r} of",
                    expected="bars with a column volume, or fields that are made of prices",
                    instead="write images.fields=[close], say",
                )


def _reach(fields: tuple[str, ...], window: Window, step: pd.Timedelta) -> int:
    """How many candles before the window's first one the fields read.

    Raises:
        ConfigError: The lookback does not reach as far.
    """
    farthest = max(fields, key=lambda field: FIELDS[field].back)
    reach = FIELDS[farthest].back
    needed = window.span + reach * step
    if needed > window.lookback:
        raise ConfigError(
            f"the field {farthest!r} reads {reach} candle{'s' * (reach > 1)} of {format_duration(step)} "
            f"before window.span={format_duration(window.span)}",
            expected=f"all of them within window.lookback, {format_duration(window.lookback)}",
            instead=f"set window.lookback to {format_duration(needed)} or more",
        )
    return reach
