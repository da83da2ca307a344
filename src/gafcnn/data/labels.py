"""Labels: what happens after a decision time, and the class derived from it.

The future of a sample is the bars after its decision time `t`, up to and including the one that
closes at `t + horizon`. The horizon is counted from `t` whatever the window. An outcome is a fact
of the bars; a label may also need thresholds, which are fitted on training samples only.

Candlestick patterns are TA-Lib's (https://ta-lib.org), with its default settings, after Nison,
Japanese Candlestick Charting Techniques (1991). Nothing is forecast: a network that sees the bars
up to `t` is asked what it is looking at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Protocol, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.data.bars import PRICES, interval_of, rolling_volatility, stretches
from gafcnn.data.windows import close_times, stretch_starts
from gafcnn.durations import NO_TIME, Duration, multiple_of
from gafcnn.errors import SamplesError
from gafcnn.registry import Registry
from gafcnn.settings import settings

L = TypeVar("L")

NULL = -1
"""The label of a sample without a class, or whose class is not known."""

DIRECTIONS = ("down", "up")
"""The classes of a direction, in the order of their numbers."""

LABELS: Registry[Any] = Registry("label", ("gafcnn.data.cross_section",))


def register_label(name: str) -> Callable[[type[L]], type[L]]:
    """Register a `Label` under a name, which `label.kind` then accepts."""

    def add(label: type[L]) -> type[L]:
        if not hasattr(label, "horizon"):
            label.horizon = NO_TIME  # pyright: ignore[reportAttributeAccessIssue]
        return LABELS.register(name)(label)

    return add


@dataclass(frozen=True)
class Outcomes:
    """What happened after n samples.

    Attributes:
        forward_return: Simple return from the close at `t`: float64, shape (n,); NaN where the
            future has a gap or lies beyond the bars, and for a label that does not look ahead.
        known_at: When the outcome is known: datetime64[ns], UTC, shape (n,); NaT for never.
        value: Anything else that the label's `assign` needs, shape (n,); None if nothing.
    """

    forward_return: NDArray[np.float64]
    known_at: NDArray[np.datetime64]
    value: NDArray[Any] | None = None

    def __getitem__(self, where: Any) -> Self:
        """Return the outcomes of some of the samples."""
        value = None if self.value is None else self.value[where]
        return type(self)(self.forward_return[where], self.known_at[where], value)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the outcomes of several parts, one after another; all of one label."""
        values = [part.value for part in parts if part.value is not None]
        return cls(
            np.concatenate([part.forward_return for part in parts]),
            np.concatenate([part.known_at for part in parts]),
            np.concatenate(values) if values else None,
        )


class _Found:
    """The method of labels whose class is already part of the outcome."""

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return labels by the outcomes' `value`: int8, shape (n,)."""
        assert outcomes.value is not None
        return outcomes.value.copy()


class Label(Protocol):
    """A way to label samples: any class with these attributes, registered by `register_label`.

    Two classes ("down", "up") are a direction, which is traded; any others are a classification.
    These also have `assign(outcomes, train)`, which returns class numbers (n,), `NULL` for none,
    fitted at the positions `train` only (see `Direction.assign`). A label of a cross-section has
    `relate` instead (see `Relative.relate`).
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        ...

    @property
    def horizon(self) -> pd.Timedelta:
        """How far ahead of the decision time the label looks; 0 (or no attribute): not at all."""
        ...

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """Return the outcomes of the samples decided at these rows of the bars."""
        ...


@register_label("direction")
@settings("label")
class Direction:
    """Up or down over the horizon, without the middle of the returns.

    The forward return is `close[t + horizon] / close[t] - 1`. A sample is up (1) strictly above the
    `0.5 + neutral / 2` quantile of the training samples' returns, down (0) strictly below the
    `0.5 - neutral / 2` quantile, else `NULL`. With `neutral=0` both are the median, so that the
    training labels are balanced: "up" then means above the median, not above zero.

    Args:
        horizon: A multiple of the bars' interval.
        neutral: Share of the training samples, in the middle, that get no label, in [0, 1).
    """

    classes = DIRECTIONS
    horizon: Duration = pd.Timedelta("15min")
    neutral: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """Return the return to the close one horizon later, see `forward_outcomes`."""
        return forward_outcomes(bars, rows, self.horizon)

    def thresholds(self, outcomes: Outcomes, train: NDArray[np.int64]) -> tuple[float, float]:
        """Return the returns below which a sample is down and above which it is up.

        Raises:
            SamplesError: No training sample has a known return.
        """
        returns = outcomes.forward_return[train]
        returns = returns[~np.isnan(returns)]
        if not len(returns):
            raise SamplesError(
                f"none of {len(train)} training samples has a known return",
                expected="at least one, to fit the label's thresholds",
                instead="use more bars or a shorter label.horizon",
            )
        lower, upper = np.quantile(returns, [0.5 - self.neutral / 2, 0.5 + self.neutral / 2])
        return float(lower), float(upper)

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return labels by `thresholds` of the training samples: int8, shape (n,)."""
        lower, upper = self.thresholds(outcomes, train)
        returns = outcomes.forward_return
        return np.select([returns > upper, returns < lower], [1, 0], NULL).astype(np.int8)


@register_label("triple_barrier")
@settings("label")
class TripleBarrier(_Found):
    """Which of two price barriers, scaled by volatility, is reached first within the horizon.

    Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 3. The barriers are at
    `close_t * (1 ± width * sigma_t * sqrt(h))`, with `h` the bars of the horizon and `sigma_t` the
    standard deviation of the log returns between the closes of the bars of `volatility_lookback`,
    the last of which closes at `t`. The label is 1 if a later bar's high reaches the upper barrier
    first, 0 if a low reaches the lower one first. It is `NULL` if neither is reached, or if one bar
    reaches both, because its prices do not show which came first.

    The forward return is the barrier's if one is reached; otherwise that of the close of the bar
    that reached both, or of the last bar. It is known when that bar closes. A sample needs all bars
    up to `t + horizon` even if a barrier was reached earlier: otherwise which samples exist would
    depend on their outcome.

    Args:
        horizon: The time barrier; a multiple of the bars' interval.
        width: Distance of the barriers, in standard deviations over the horizon.
        volatility_lookback: A multiple of the bars' interval, at least three bars.
    """

    classes = DIRECTIONS
    horizon: Duration = pd.Timedelta("15min")
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    volatility_lookback: Duration = pd.Timedelta("60min")

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """Return the first barrier reached by each row, the return there, and when it is known."""
        ahead = multiple_of("label.horizon", self.horizon, interval_of(bars))
        key = "label.volatility_lookback"
        sigma = rolling_volatility(bars, key, self.volatility_lookback)
        lookback = multiple_of(key, self.volatility_lookback, interval_of(bars))
        distance = self.width * np.sqrt(ahead) * sigma[rows]
        gap_free = rows - stretch_starts(bars)[rows] + 1 >= lookback
        known = _has_future(bars, rows, ahead) & gap_free & ~np.isnan(distance)
        now, distance = rows[known], distance[known]
        high, low, close = (bars[name].to_numpy(np.float64) for name in ("high", "low", "close"))
        upper, lower = close[now] * (1 + distance), close[now] * (1 - distance)
        above, below = np.full((2, len(now)), ahead + 1)  # bars until the barriers are reached
        for step in range(ahead, 0, -1):  # backwards, so that the earliest touch is written last
            above[high[now + step] >= upper] = step
            below[low[now + step] <= lower] = step
        last = now + np.minimum(np.minimum(above, below), ahead)
        up, down = above < below, below < above
        returns = np.select([up, down], [distance, -distance], close[last] / close[now] - 1)
        touched = np.full(len(rows), NULL, dtype=np.int8)
        touched[known] = np.select([up, down], [1, 0], NULL)
        return _outcomes(bars, known, last, returns, touched)


def forward_outcomes(
    bars: pd.DataFrame, rows: NDArray[np.int64], horizon: pd.Timedelta
) -> Outcomes:
    """Return the return from each row's close to the close one horizon later.

    Raises:
        ConfigError: The horizon is not a multiple of the bars' interval.
    """
    ahead = multiple_of("label.horizon", horizon, interval_of(bars))
    known = _has_future(bars, rows, ahead)
    close = bars["close"].to_numpy(np.float64)
    now = rows[known]
    return _outcomes(bars, known, now + ahead, close[now + ahead] / close[now] - 1)


def _has_future(bars: pd.DataFrame, rows: NDArray[np.int64], ahead: int) -> NDArray[np.bool_]:
    """Whether the `ahead` bars after each row exist without a gap: shape (n,)."""
    inside = rows + ahead < len(bars)
    inside[inside] = stretch_starts(bars)[rows[inside] + ahead] <= rows[inside]
    return inside


def _outcomes(
    bars: pd.DataFrame,
    known: NDArray[np.bool_],
    known_row: NDArray[np.int64],
    returns: NDArray[np.float64],
    value: NDArray[np.int8] | None = None,
) -> Outcomes:
    """Outcomes of all samples from the rows and returns of those that are known."""
    forward_return = np.full(len(known), np.nan)
    forward_return[known] = returns
    known_at = np.full(len(known), np.datetime64("NaT", "ns"))
    known_at[known] = close_times(bars)[known_row]
    return Outcomes(forward_return, known_at, value)


# TA-Lib returns a positive number for a bullish pattern and a negative one for a bearish pattern
_TALIB = {
    "morning_star": ("CDLMORNINGSTAR", 1),
    "evening_star": ("CDLEVENINGSTAR", -1),
    "bullish_engulfing": ("CDLENGULFING", 1),
    "bearish_engulfing": ("CDLENGULFING", -1),
    "shooting_star": ("CDLSHOOTINGSTAR", -1),
    "inverted_hammer": ("CDLINVERTEDHAMMER", 1),
    "bullish_harami": ("CDLHARAMI", 1),
    "bearish_harami": ("CDLHARAMI", -1),
}

PATTERNS = ("none", *_TALIB)
"""The classes, in the order of their numbers."""


@cache
def pattern_lookback() -> int:
    """Return the bars of the same gap-free stretch that all patterns of a bar need before it."""
    from talib.abstract import Function  # pyright: ignore[reportAttributeAccessIssue]

    # TA-Lib returns 0 for a bar with too few bars before it, as for a bar without a pattern
    return max(Function(name).lookback for name, _ in _TALIB.values())


def patterns(bars: pd.DataFrame) -> NDArray[np.int8]:
    """Return the pattern that ends with each of the bars, known when that bar closes.

    Patterns are found in each gap-free stretch separately, on the bars' own interval.

    Returns:
        Position in `PATTERNS`, shape (n_bars,); `NULL` for a bar with several patterns, and for the
        first `pattern_lookback()` bars of a stretch.
    """
    import talib

    found = []
    for stretch in stretches(bars):
        prices = [stretch[name].to_numpy(np.float64, copy=True) for name in PRICES]
        present = np.zeros((len(stretch), len(PATTERNS)), dtype=bool)
        for number, (function, sign) in enumerate(_TALIB.values(), 1):
            present[:, number] = np.sign(getattr(talib, function)(*prices)) == sign
        pattern = np.where(np.count_nonzero(present, axis=1) <= 1, present.argmax(axis=1), NULL)
        pattern[: pattern_lookback()] = NULL
        found.append(pattern.astype(np.int8))
    return np.concatenate(found)


@register_label("candlestick")
@settings("label")
class Candlestick(_Found):
    """The candlestick pattern that ends with the bar that closes at `t`, one of `PATTERNS`.

    A bar with several patterns has no label. It remains among the samples, so that it is counted.
    """

    classes = PATTERNS
    horizon = NO_TIME  # the label does not look ahead

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """Return the pattern at each row.

        The label depends on bars up to `t` only and is known at `t`, so there is nothing to purge.
        """
        judged = rows - stretch_starts(bars)[rows] >= pattern_lookback()
        known_at = np.where(judged, close_times(bars)[rows], np.datetime64("NaT", "ns"))
        return Outcomes(np.full(len(rows), np.nan), known_at, patterns(bars)[rows])
