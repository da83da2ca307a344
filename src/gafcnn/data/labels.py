"""What came of a sample, and the label that a study makes of it.

The future of a sample is the bars after its decision time `t`, up to and with the one that closes
at `t + horizon`; whatever the window, the horizon is counted from `t`. An outcome is a fact of the
bars; a label may need thresholds as well, and those are fitted on training samples alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import interval_of
from gafcnn.data.windows import close_times, stretch_starts
from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import ConfigError, SamplesError

NULL = -1
"""The label of a sample that is of no class, or of which the bars do not tell the class."""

DIRECTIONS = ("down", "up")
"""The classes of a direction, in the order of their numbers."""


@dataclass(frozen=True)
class Outcomes:
    """What came of n samples.

    Attributes:
        forward_return: Simple return from the close at `t`: ndarray of shape (n,), float64, NaN
            where the future reaches over a gap or beyond the bars, and throughout for a label
            that looks at no future.
        known_at: When what came of it is known: ndarray of shape (n,), datetime64[ns], UTC, NaT
            for never.
        touched: The barrier that was touched, 1 (upper), 0 (lower) or NULL: ndarray of shape (n,),
            int8; None for a label without barriers.
        pattern: The class of what stands at `t`, or NULL: ndarray of shape (n,), int8; None for a
            label that looks ahead.
    """

    forward_return: NDArray[np.float64]
    known_at: NDArray[np.datetime64]
    touched: NDArray[np.int8] | None = None
    pattern: NDArray[np.int8] | None = None

    def __getitem__(self, where: slice) -> Self:
        """What came of some of the samples."""
        return self._of(lambda arrays: arrays[0][where], self)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """What came of the samples of each part, one part after another; all of one label."""
        return cls._of(np.concatenate, *parts)

    @classmethod
    def _of(cls, make: Callable[[list[Any]], Any], *parts: Self) -> Self:
        """What is made of each array of the parts, where they have it."""
        arrays = {one.name: [getattr(part, one.name) for part in parts] for one in fields(cls)}
        found: dict[str, Any] = {
            name: None if one[0] is None else make(one) for name, one in arrays.items()
        }
        return cls(**found)


@runtime_checkable
class Label(Protocol):
    """A way to label samples."""

    @property
    def classes(self) -> tuple[str, ...]:
        """What a sample may be, in the order of the classes' numbers."""
        ...

    @property
    def horizon(self) -> pd.Timedelta:
        """How far ahead of the decision time the label looks; 0 for not at all."""
        ...

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """What came of the samples decided at these rows of the bars."""
        ...

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:
        """The labels (n,), class numbers or NULL, of all samples; fitted at `train` alone."""
        ...


@dataclass(frozen=True)
class Direction:
    """Up or down over the horizon, without the middle of the returns.

    The forward return is `close[t + horizon] / close[t] - 1`. A sample is up (1) strictly above the
    `0.5 + neutral / 2` quantile of the training samples' returns, down (0) strictly below the
    `0.5 - neutral / 2` quantile, NULL between. With `neutral=0` both are the median, so that the
    training labels are balanced whatever the drift: "up" is then above the median, not above zero.

    Args:
        horizon: A multiple of the bars' interval.
        neutral: The share of training samples in the middle that get no label, in [0, 1).

    Raises:
        ConfigError: `neutral` is not in [0, 1) or `horizon` no length of time.
    """

    horizon: pd.Timedelta
    neutral: float

    def __init__(self, horizon: DurationLike = "15min", neutral: float = 0.2) -> None:
        if not isinstance(neutral, int | float) or not 0 <= neutral < 1:
            raise ConfigError(
                f"label.neutral is {neutral}",
                expected="a share of at least 0 and less than 1",
                instead="write label.neutral=0.2 to leave the middle fifth without a label",
            )
        self.__dict__.update(
            horizon=parse_duration("label.horizon", horizon), neutral=float(neutral)
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Down (0) and up (1)."""
        return DIRECTIONS

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """The return from each row's close to the close a horizon later, known at that close.

        Raises:
            ConfigError: The horizon is no multiple of the bars' interval.
        """
        ahead = multiple_of("label.horizon", self.horizon, interval_of(bars))
        known = _future_is_whole(bars, rows, ahead)
        close = bars["close"].to_numpy(np.float64)
        now = rows[known]
        return _outcomes(bars, known, now + ahead, close[now + ahead] / close[now] - 1)

    def thresholds(self, outcomes: Outcomes, train: NDArray[np.int64]) -> tuple[float, float]:
        """The returns below which a sample is down and above which it is up.

        Raises:
            SamplesError: No training sample has a known return.
        """
        returns = outcomes.forward_return[train]
        returns = returns[~np.isnan(returns)]
        if not len(returns):
            raise SamplesError(
                f"none of {len(train)} training samples has a known return",
                expected="at least one to fit the label's thresholds on",
                instead="give more bars or shorten label.horizon",
            )
        lower, upper = np.quantile(returns, [0.5 - self.neutral / 2, 0.5 + self.neutral / 2])
        return float(lower), float(upper)

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:
        """Labels by the thresholds of the training samples: ndarray of shape (n,), int8.

        Raises:
            SamplesError: No training sample has a known return.
        """
        lower, upper = self.thresholds(outcomes, train)
        labels = np.full(len(outcomes.forward_return), NULL, dtype=np.int8)
        labels[outcomes.forward_return > upper] = 1
        labels[outcomes.forward_return < lower] = 0
        return labels


@dataclass(frozen=True)
class TripleBarrier:
    """Which of two prices is reached first within the horizon, scaled by volatility.

    Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 3. The barriers stand at
    `close_t * (1 ± width * sigma_t * sqrt(h))`, with `h` the bars of the horizon and `sigma_t` the
    standard deviation of the log returns between the closes of the bars of `volatility_lookback`,
    the last of which closes at `t`. The first later bar whose high reaches the upper barrier makes
    a 1, whose low reaches the lower one a 0. NULL where neither is reached, and where one bar
    reaches both, as its prices do not tell which came first.

    The forward return is the barrier's where one is touched; else the close's, of the bar that
    touched both or of the last one. It is known when that bar closes. A sample needs all bars up to
    `t + horizon`, also where a barrier was touched earlier: samples that depended on their outcome
    would be a selection made with knowledge of the future.

    Args:
        horizon: The time barrier; a multiple of the bars' interval.
        width: Distance of the barriers, in volatilities over the horizon.
        volatility_lookback: At least three bars.

    Raises:
        ConfigError: `width` is not positive, or a length of time is none.
    """

    horizon: pd.Timedelta
    width: float
    volatility_lookback: pd.Timedelta

    def __init__(
        self,
        horizon: DurationLike = "15min",
        width: float = 1.0,
        volatility_lookback: DurationLike = "60min",
    ) -> None:
        if not isinstance(width, int | float) or not 0 < width < np.inf:
            raise ConfigError(
                f"label.width is {width}",
                expected="a positive number of volatilities",
                instead="write label.width=1.0, say",
            )
        self.__dict__.update(
            horizon=parse_duration("label.horizon", horizon),
            width=float(width),
            volatility_lookback=parse_duration("label.volatility_lookback", volatility_lookback),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Down (0) and up (1)."""
        return DIRECTIONS

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """The first barrier touched after each row, the return there, and when that is known.

        Raises:
            ConfigError: The horizon or the volatility lookback is no multiple of the bars'
                interval, or the lookback is shorter than three bars.
        """
        ahead = multiple_of("label.horizon", self.horizon, interval_of(bars))
        distance = self.width * np.sqrt(ahead) * self._volatility(bars)[rows]
        known = _future_is_whole(bars, rows, ahead) & ~np.isnan(distance)
        now, distance = rows[known], distance[known]
        above, below = _first_touches(bars, now, distance, ahead)
        last = now + np.minimum(np.minimum(above, below), ahead)

        close = bars["close"].to_numpy(np.float64)
        first = np.where(above < below, 1, np.where(below < above, 0, NULL))
        returns = np.select(
            [first == 1, first == 0], [distance, -distance], close[last] / close[now] - 1
        )
        touched = np.full(len(rows), NULL, dtype=np.int8)
        touched[known] = first
        return _outcomes(bars, known, last, returns, touched)

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:  # noqa: ARG002  the barriers were set at t: there is nothing to fit
        """Labels by the barrier touched: ndarray of shape (n,), int8.

        Raises:
            SamplesError: The outcomes are of a label without barriers.
        """
        if outcomes.touched is None:
            raise SamplesError(
                "the outcomes tell of no barrier",
                expected="outcomes of TripleBarrier",
                instead="take them from the outcomes() of the same label",
            )
        return outcomes.touched.copy()

    def _volatility(self, bars: pd.DataFrame) -> NDArray[np.float64]:
        """Standard deviation of one-bar log returns up to each row: (n_bars,), NaN over a gap."""
        interval = interval_of(bars)
        lookback = multiple_of("label.volatility_lookback", self.volatility_lookback, interval)
        if lookback < 3:
            raise ConfigError(
                f"label.volatility_lookback is {format_duration(self.volatility_lookback)}",
                expected="at least three bars, so that there are two returns",
                instead=f"set label.volatility_lookback to {format_duration(interval * 3)} or more",
            )
        log_close = pd.Series(np.log(bars["close"].to_numpy(np.float64)))
        sigma = log_close.diff().rolling(lookback - 1).std().to_numpy(np.float64)
        whole_stretch = np.arange(len(bars)) - stretch_starts(bars) + 1 >= lookback
        return np.where(whole_stretch, sigma, np.nan)


def _future_is_whole(bars: pd.DataFrame, rows: NDArray[np.int64], ahead: int) -> NDArray[np.bool_]:
    """Whether the `ahead` bars after each row are all there: shape (n,)."""
    inside = rows + ahead < len(bars)
    inside[inside] = stretch_starts(bars)[rows[inside] + ahead] <= rows[inside]
    return inside


def _outcomes(
    bars: pd.DataFrame,
    known: NDArray[np.bool_],
    known_row: NDArray[np.int64],
    returns: NDArray[np.float64],
    touched: NDArray[np.int8] | None = None,
) -> Outcomes:
    """Outcomes of all samples from the rows and returns of those that are known."""
    forward_return = np.full(len(known), np.nan)
    forward_return[known] = returns
    known_at = np.full(len(known), np.datetime64("NaT", "ns"))
    known_at[known] = close_times(bars)[known_row]
    return Outcomes(forward_return, known_at, touched)


def _first_touches(
    bars: pd.DataFrame, rows: NDArray[np.int64], distance: NDArray[np.float64], ahead: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many bars after each row the upper and the lower barrier are reached; else ahead + 1."""
    high, low = bars["high"].to_numpy(np.float64), bars["low"].to_numpy(np.float64)
    close = bars["close"].to_numpy(np.float64)[rows]
    upper, lower = close * (1 + distance), close * (1 - distance)
    above, below = np.full(len(rows), ahead + 1), np.full(len(rows), ahead + 1)
    for step in range(ahead, 0, -1):  # backwards, so that the earliest touch is the last to write
        above[high[rows + step] >= upper] = step
        below[low[rows + step] <= lower] = step
    return above, below
