"""Candlestick patterns: which pattern ends with the bar that closes at the decision time.

The patterns are TA-Lib's (https://ta-lib.org), with its default settings, after Nison, Japanese
Candlestick Charting Techniques (1991). Nothing is forecast: a network that sees the bars up to `t`
is asked what it is looking at.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import PRICES, stretches
from gafcnn.data.labels import NULL, Outcomes, register_label
from gafcnn.data.windows import close_times, stretch_starts
from gafcnn.durations import NO_TIME
from gafcnn.settings import settings

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
    """Return the pattern that ends with each bar, known when that bar closes.

    Patterns are found in each gap-free stretch separately, on the bars' own interval.

    Args:
        bars: Bars indexed by close time.

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
class Candlestick:
    """The candlestick pattern that ends with the bar that closes at `t`, one of `PATTERNS`.

    A bar with several patterns has no label. It remains among the samples, so that it is counted.
    """

    classes: ClassVar = PATTERNS
    horizon: ClassVar = NO_TIME

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """Return the pattern at each row.

        The label depends on bars up to `t` only and is known at `t`, so there is nothing to purge.
        """
        judged = rows - stretch_starts(bars)[rows] >= pattern_lookback()
        known_at = np.where(judged, close_times(bars)[rows], np.datetime64("NaT", "ns"))
        return Outcomes(np.full(len(rows), np.nan), known_at, patterns(bars)[rows])

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return labels by the pattern: int8, shape (n,)."""
        assert outcomes.value is not None
        return outcomes.value.copy()
