"""Candlestick patterns: which of them stands on the bar that closes at the decision time.

The patterns are TA-Lib's (https://ta-lib.org), with its default settings, after Nison, Japanese
Candlestick Charting Techniques (1991). Nothing is forecast: a network that is shown the bars up to
`t` is asked what it is looking at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import talib
from numpy.typing import NDArray
from talib.abstract import Function  # pyright: ignore[reportAttributeAccessIssue]  made at import

from gafcnn.data.bars import PRICES, stretches
from gafcnn.data.labels import NULL, Outcomes
from gafcnn.data.windows import close_times
from gafcnn.durations import parse_duration
from gafcnn.errors import SamplesError

PATTERNS = (
    "none",
    "morning_star",
    "evening_star",
    "bullish_engulfing",
    "bearish_engulfing",
    "shooting_star",
    "inverted_hammer",
    "bullish_harami",
    "bearish_harami",
)
"""The classes, in the order of their numbers."""

# what TA-Lib says of a bar is above 0 where a pattern is bullish, below 0 where it is bearish
_BULLISH = {
    "CDLMORNINGSTAR": "morning_star",
    "CDLENGULFING": "bullish_engulfing",
    "CDLINVERTEDHAMMER": "inverted_hammer",
    "CDLHARAMI": "bullish_harami",
}
_BEARISH = {
    "CDLEVENINGSTAR": "evening_star",
    "CDLENGULFING": "bearish_engulfing",
    "CDLSHOOTINGSTAR": "shooting_star",
    "CDLHARAMI": "bearish_harami",
}
_FUNCTIONS = tuple(dict.fromkeys((*_BULLISH, *_BEARISH)))

# TA-Lib says 0 of a bar before which it has too few, as it does of one without a pattern
LOOKBACK = max(Function(name).lookback for name in _FUNCTIONS)
"""Bars of the same stretch that must be before a bar, for all of its patterns to be judged."""


def patterns(bars: pd.DataFrame) -> NDArray[np.int8]:
    """The pattern that stands on each bar, known when that bar closes.

    Each gap-free stretch is judged by itself, on the bars' own interval, so that no pattern and no
    average that it is measured by reaches over a gap.

    Args:
        bars: Bars indexed by close time.

    Returns:
        ndarray of shape (n_bars,): the position in `PATTERNS`; `NULL` on a bar on which more than
        one pattern stands, and on the first `LOOKBACK` bars of a stretch.
    """
    return _judged(bars)[0]


@dataclass(frozen=True)
class Candlestick:
    """The candlestick pattern on the bar that closes at `t`, one of `PATTERNS`.

    A bar of several patterns has no label: it is of no single class. It stays among the samples,
    so that it is counted.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """No pattern (0), then the patterns."""
        return PATTERNS

    @property
    def horizon(self) -> pd.Timedelta:
        """Nothing: the label looks at no bar after `t`."""
        return parse_duration("label.horizon", "0min")

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """What stands on each row's bar.

        The label is a function of bars up to and with `t`, and so known at `t`: nothing of a later
        part is in it, and there is nothing to purge. Images of either side of a border may share
        bars, as they may show what was known; an embargo keeps them apart where that is wanted.
        """
        pattern, judged = _judged(bars)
        known_at = np.where(judged[rows], close_times(bars)[rows], np.datetime64("NaT", "ns"))
        return Outcomes(np.full(len(rows), np.nan), known_at, pattern=pattern[rows])

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:  # noqa: ARG002  TA-Lib fits nothing
        """Labels by the pattern: ndarray of shape (n,), int8.

        Raises:
            SamplesError: The outcomes are of a label that looks ahead.
        """
        if outcomes.pattern is None:
            raise SamplesError(
                "the outcomes tell of no pattern",
                expected="outcomes of Candlestick",
                instead="take them from the outcomes() of the same label",
            )
        return outcomes.pattern.copy()


def _judged(bars: pd.DataFrame) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """The pattern on each bar, and whether enough bars are before it: shape (n_bars,) each."""
    parts = [_of_stretch(stretch) for stretch in stretches(bars)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _of_stretch(bars: pd.DataFrame) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    standing = _standing(bars)
    judged = np.arange(len(bars)) >= LOOKBACK
    single = judged & (np.count_nonzero(standing, axis=1) <= 1)
    return np.where(single, standing.argmax(axis=1), NULL).astype(np.int8), judged


def _standing(bars: pd.DataFrame) -> NDArray[np.bool_]:
    """Which patterns stand on each bar: shape (n_bars, classes), the column of none all False."""
    prices = [bars[name].to_numpy(np.float64, copy=True) for name in PRICES]
    standing = np.zeros((len(bars), len(PATTERNS)), dtype=bool)
    for name in _FUNCTIONS:
        said = getattr(talib, name)(*prices)
        for called, of_sign in ((_BULLISH, said > 0), (_BEARISH, said < 0)):
            if name in called:
                standing[:, PATTERNS.index(called[name])] = of_sign
    return standing
