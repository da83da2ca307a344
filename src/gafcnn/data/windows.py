"""Windows: which bars make a sample, and which of them an image shows.

    bars     . . . . . . . . . . . . t . . . .
    lookback         |---------------|            gap-free, the same for a family of windows
    span                   |---------|            what the image of one window shows
    points                   x   x   x            one every step, the last one at t

A sample is a row of the bars: the bar that closes at its decision time `t`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.data.bars import bars_apart, fill_quiet, interval_of
from gafcnn.data.features import FIELDS, Candles, find_field, split_asset
from gafcnn.data.market_columns import bars_of, check_columns
from gafcnn.durations import (
    NO_TIME,
    Duration,
    DurationLike,
    OptionalDuration,
    format_duration,
    multiple_of,
    parse_duration,
)
from gafcnn.errors import ConfigError, SamplesError
from gafcnn.settings import create, settings

LEAST_POINTS = 8
"""Points that an image needs: two of them only show whether prices rose."""

_SHORTEST_LOOKBACK = pd.Timedelta("60min")


@settings("window")
class Window:
    """What one image shows: the `span` that ends at the decision time, seen every `step`.

    Give a span (`Window("30min")`), or points and their step (`Window(points=64, step="15min")`).

    Args:
        span: How much time the image shows; a multiple of `step`.
        step: Time between two points, a multiple of the bars' interval; None for that interval.
        points: Number of points; needs `step`, and replaces `span`.
        lookback: The gap-free stretch that each sample needs; at least `span`, and 60 minutes by
            default. Windows that share their lookback share their decision times.
        name: Name in predictions and reports; by default "30m" for a span of 30 minutes and
            "64x15m" for 64 points 15 minutes apart.
        overnight: Whether the lookback may span the nights of a trading calendar.
    """

    span: OptionalDuration = None
    step: Annotated[Duration, Field(gt=NO_TIME)] | None = None
    points: Annotated[int, Field(ge=2)] | None = None
    lookback: OptionalDuration = None
    name: str = ""
    overnight: bool = True

    def __post_init__(self) -> None:
        span, step, points = self.span, self.step, self.points
        if points and step and points * step.value < 2**63 and span in (None, points * step):  # ns
            span = points * step
        elif points is not None or span is None or (step and span < step):
            lengths = ["null" if one is None else format_duration(one) for one in (span, step)]
            raise ConfigError(
                f"window.span={lengths[0]}, window.points={points}, window.step={lengths[1]}",
                expected="a span, at least one step, or points and their step, below 292 years",
                instead="set window.span=30min alone, or window.points=64 and window.step=15min",
            )
        name = self.name or (
            _short(span) if step is None else f"{points or span // step}x{_short(step)}"
        )
        lookback = max(span, _SHORTEST_LOOKBACK) if self.lookback is None else self.lookback
        for key, value in {"span": span, "lookback": lookback, "name": name}.items():
            object.__setattr__(self, key, value)

    def step_of(self, interval: pd.Timedelta) -> pd.Timedelta:
        """Return the time between two points over bars of this interval."""
        return interval if self.step is None else self.step

    def count_points(self, interval: pd.Timedelta) -> int:
        """Return the number of points over bars of this interval: span / step.

        Raises:
            ConfigError: The step is not a multiple of the interval, the span not of the step, the
                lookback not of the interval, or the span is longer than the lookback.
        """
        step = self.step_of(interval)
        multiple_of("window.step", step, interval)
        multiple_of("window.lookback", self.lookback, interval)
        if self.span > self.lookback:
            raise ConfigError(
                f"window.span is {format_duration(self.span)} with a shorter lookback",
                expected=f"at most the lookback, {format_duration(self.lookback)}",
                instead=f"set window.lookback={format_duration(self.span)}, in Python that of "
                f"samples: gc.make_samples(bars, lookback='{format_duration(self.span)}')",
            )
        return multiple_of("window.span", self.span, step, "window.step")

    def check_image(self, interval: pd.Timedelta) -> None:
        """Raise a ConfigError that names windows that fit if there are too few points for an image.

        Other errors are those of `count_points`.
        """
        short, length = self.span < LEAST_POINTS * interval, format_duration(interval)
        points = self.span // self.step_of(interval) if short else self.count_points(interval)
        if points < LEAST_POINTS:
            fitting = " or window=".join(
                name
                for name, one in WINDOWS.items()
                if one.fits(interval) and one.step_of(interval) <= LEAST_POINTS * interval
            )
            reach = format_duration(64 * interval)
            own = f"64x60m window.step={length} window.lookback={reach}"
            raise ConfigError(
                f"window {self.name} has {points} point{'s' * (points != 1)} over bars of {length}",
                expected=f"{LEAST_POINTS} or more",
                instead=f"use window={fitting or own}, and a label.horizon that is a multiple of "
                f"{length}",
            )

    def fits(self, interval: pd.Timedelta) -> bool:
        """Whether bars of this interval can fill the window with enough points for an image."""
        try:
            return self.count_points(interval) >= LEAST_POINTS
        except ConfigError:
            return False


def _short(length: pd.Timedelta) -> str:
    """A length of time as window names have it: "30m", "90m", "1d"."""
    text = format_duration(length)
    if text == "1h":
        text = "60min"
    return text.replace("min", "m").replace("D", "d")


WINDOWS = {
    window.name: window
    for window in (
        *(Window(span) for span in ("15min", "30min", "60min")),
        *(Window(points=64, step=step, lookback="64h") for step in ("15min", "30min", "60min")),
        Window(points=10, step="15min", lookback="6h"),
        Window(points=20, step="8h", lookback="320h"),
        Window(points=20, step="1D", lookback="40D"),
    )
}
"""Windows by name, as in conf/window."""


def as_window(window: str | Window | Mapping[str, Any]) -> Window:
    """Return a window by its name, such as "30m", "64x15m" or any other of this form, or options.

    Raises:
        ConfigError: It is not a name of a window, or an option is invalid.
    """
    if isinstance(window, Window):
        return window
    if isinstance(window, Mapping):
        return create(Window, "window", window)
    if isinstance(window, str) and window in WINDOWS:
        return WINDOWS[window]
    if found := re.fullmatch(r"(?:(\d+)x)?(\d+)(s|m|h|d)", str(window)):
        points, number, unit = found.groups()
        length = number + {"m": "min", "d": "D"}.get(unit, unit)
        return Window(points=int(points), step=length) if points else Window(length)
    raise ConfigError(
        f"window is {window!r}",
        expected=f"one of {', '.join(WINDOWS)}, or another of this form",
        instead='write window="30m", or window=gc.Window(points=64, step="15min")',
    )


def close_times(bars: pd.DataFrame) -> NDArray[np.datetime64]:
    """Return the bars' close times: datetime64[ns], UTC, shape (n_bars,)."""
    return bars.index.to_numpy("datetime64[ns]")


def stretch_starts(bars: pd.DataFrame, *, overnight: bool = True) -> NDArray[np.int64]:
    """Return, for every row, the first row of its gap-free stretch: shape (n_bars,).

    The bars from row `i` to row `j` have no gap exactly when `stretch_starts(bars)[j] <= i`. Nights
    and weekends of a trading calendar are gaps only without `overnight`.
    """
    rows = np.arange(len(bars), dtype=np.int64)
    after_gap = bars_apart(bars) > 1
    if not overnight:
        after_gap |= np.diff(close_times(bars)) > interval_of(bars).to_timedelta64()
    return np.maximum.accumulate(np.where(np.r_[False, after_gap][: len(bars)], rows, 0))


def decision_rows(
    bars: pd.DataFrame, lookback: DurationLike, *, overnight: bool = True
) -> NDArray[np.int64]:
    """Return the rows at which a sample can be decided: those that end a gap-free `lookback`.

    The lookback is a multiple of the bars' interval, and with `overnight` may span the nights of a
    trading calendar.

    Returns:
        Shape (n,), increasing: row `i` is included if the `lookback / interval` bars that end with
        bar `i` have no gap.

    Raises:
        ConfigError: The lookback is not a multiple of the interval.
        SamplesError: No row ends such a stretch.
    """
    interval = interval_of(bars)
    length = parse_duration("window.lookback", lookback)
    if length < interval:
        bar, example = format_duration(interval), format_duration(64 * interval)
        raise ConfigError(
            f"lookback is {format_duration(length)} for bars of {bar}",
            expected="at least the span of the longest window that will be used",
            instead=f'write lookback="{example}", for example, and a label of {bar} or more',
        )
    needed = multiple_of("window.lookback", length, interval)
    lengths = _run_lengths(bars, overnight)
    rows = np.flatnonzero(lengths >= needed)
    if not len(rows):
        longest = int(lengths.max(initial=0))
        found = "there are only" if longest == len(bars) else "the longest gap-free stretch is"
        found += f" {longest} bars of {format_duration(interval)}"
        instead = "use more bars, or a window with a shorter lookback"
        weekdays = pd.DatetimeIndex(bars.index - interval).day_of_week
        if "calendar" not in bars.attrs and len(bars) > 2 * longest and not (weekdays == 5).any():
            instead = 'name the calendar (calendar="XNYS", market.calendar=XNYS), ' + instead
        filled = fill_quiet(bars) if longest < len(bars) else bars
        if possible := np.count_nonzero(_run_lengths(filled, overnight) >= needed):
            found += f'; with fill="quiet" {possible:,} of {len(filled):,} bars could be decided on'
            instead = f'read them with fill="quiet" (market.fill=quiet), {instead}'
        expected = f"{needed} without a gap, for a lookback of {format_duration(length)}"
        raise SamplesError(found, expected=expected, instead=instead)
    return rows


def _run_lengths(bars: pd.DataFrame, overnight: bool) -> NDArray[np.int64]:  # noqa: FBT001
    """Return, for every row, how many bars without a gap end with it: shape (n_bars,)."""
    return np.arange(len(bars)) - stretch_starts(bars, overnight=overnight) + 1


def longest_span(
    bars: pd.DataFrame, lookback: pd.Timedelta, *, overnight: bool = True
) -> pd.Timedelta:
    """Return how long a gap-free `lookback` may last by the clock, nights and weekends included."""
    rows, closes = decision_rows(bars, lookback, overnight=overnight), close_times(bars)
    spans = closes[rows] - closes[rows - lookback // interval_of(bars) + 1]
    return pd.to_timedelta(spans.max()) + interval_of(bars)


class WindowReader:
    """Read the series of a window, of the fields in the order wanted, at any decision rows.

    The values of each field are computed once for every row; a read is then one gather per field.

    Attributes:
        offsets: How many bars each point is before the decision, 0 or less: shape (points,).
        series: Each field at every bar, shape (n_bars,), NaN where bars are too few. The series of
            the window at row `i` is `series[i + offsets]`, after `fill_before_start`.

    Raises:
        ConfigError: Bars of this interval cannot fill the window; a field is unknown, or reads
            candles before the lookback.
        SamplesError: A field needs volume, and the bars have none; or it needs the bars of other
            symbols (see `gafcnn.data.market_columns`).
    """

    def __init__(
        self, bars: pd.DataFrame, window: Window, fields: Iterable[str] = ("close",)
    ) -> None:
        interval = interval_of(bars)
        points = window.count_points(interval)
        self.fields = FIELDS.all_of(fields, "images.fields")
        step = window.step_of(interval)
        bars_of_step = step // interval
        self.offsets = np.arange(1 - points, 1, dtype=np.int64) * bars_of_step
        known = {name: find_field(name, points) for name in self.fields}
        reach, farthest = max((field.back, name) for name, field in known.items())
        if (needed := window.span + reach * step) > window.lookback:
            raise ConfigError(
                f"the field {farthest!r} reads {reach} candles of {format_duration(step)} before "
                f"the window of {format_duration(window.span)}",
                expected=f"all of them within the lookback, {format_duration(window.lookback)}",
                instead=f"set window.lookback to {format_duration(needed)} or more",
            )
        self._needed = (points + reach) * bars_of_step
        self._starts = stretch_starts(bars)
        check_columns(bars, self.fields)
        assets = {asset for asset, _ in map(split_asset, self.fields)}
        frames = {asset: bars_of(bars, asset) if asset else bars for asset in assets}
        candles = {asset: Candles(frame, bars_of_step) for asset, frame in frames.items()}
        self.series = [field.compute(candles[split_asset(k)[0]]) for k, field in known.items()]
        for name, series in zip(self.fields, self.series, strict=True):
            asset = split_asset(name)[0]
            begun = not asset or not np.isnan(candles[asset].close).all()
            # of fewer bars no row can be read, and fields may be NaN for want of bars
            if len(bars) >= self._needed and begun and np.isnan(series).all():
                raise SamplesError(
                    f"field {name!r} needs a column, such as volume, that {len(bars):,} bars lack",
                    expected="bars with such a column, or fields made from prices",
                    instead="set images.fields=[close], for example",
                )

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the window's series at these rows: shape (n, fields, points), oldest first.

        A row whose bars have a gap, or are too few, raises a SamplesError.
        """
        rows = np.asarray(rows, dtype=np.int64)
        firsts = rows - self._needed + 1
        readable = (firsts >= 0) & (rows < len(self._starts))
        readable[readable] = self._starts[rows[readable]] <= firsts[readable]
        if not readable.all():
            raise SamplesError(
                f"row {rows[~readable][0]} does not end {self._needed} bars without a gap",
                expected=f"rows among the {len(self._starts)} bars that do",
                instead="use the rows that decision_rows(bars, window.lookback) returns",
            )
        where = rows[:, None] + self.offsets
        read = np.stack([series[where] for series in self.series], axis=1)
        return fill_before_start(read, self.fields)


def fill_before_start(series: NDArray[np.float64], fields: Iterable[str]) -> NDArray[np.float64]:
    """Fill the points before an asset has its first bar with its first value in the window.

    A window without any of its bars is 0. The series, of shape (n, fields, points), are changed in
    place and returned.
    """
    for place, (asset, _) in enumerate(map(split_asset, fields)):
        if asset:
            values = series[:, place]
            missing = np.logical_and.accumulate(np.isnan(values), axis=1)
            first = np.minimum(missing.sum(axis=1), values.shape[1] - 1)
            known = np.nan_to_num(values[np.arange(len(values)), first])
            np.copyto(values, known[:, None], where=missing)
    return series
