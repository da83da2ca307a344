"""Candlestick patterns: those of TA-Lib, known at the close of their bar, never across a gap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import talib
from numpy.testing import assert_array_equal

from gafcnn.data.labels import NULL, PATTERNS, Candlestick, pattern_lookback, patterns
from gafcnn.data.samples import make_samples
from gafcnn.data.splits import Chronological, WalkForward

Make = Callable[..., pd.DataFrame]
Bar = tuple[float, float, float, float]  # open, high, low, close

LOOKBACK = pattern_lookback()

# twelve bars up and down between 100 and 102: bodies of 2, wicks of a half
BEFORE: list[Bar] = [
    (100, 102.5, 99.5, 102) if row % 2 else (102, 102.5, 99.5, 100) for row in range(12)
]
DRAWN: dict[str, list[Bar]] = {
    # a long fall, a small body below it, a rise far into the first body
    "morning_star": [(102, 102, 97, 97), (96.5, 96.8, 96.2, 96.6), (97, 101.2, 96.9, 101)],
    "evening_star": [(100, 105, 100, 105), (105.5, 105.8, 105.2, 105.4), (105, 105.1, 100.8, 101)],
    "bullish_engulfing": [(101, 101, 100, 100), (99.8, 102.1, 99.6, 102)],
    "bearish_engulfing": [(100, 101, 100, 101), (101.2, 101.4, 98.9, 99)],
    # a small body beyond the one before, and one long wick above it
    "shooting_star": [(100, 103, 100, 103), (103.6, 106, 103.3, 103.3)],
    "inverted_hammer": [(102, 102, 99, 99), (98.4, 101, 98.4, 98.7)],
    # a small body inside a long one
    "bullish_harami": [(104, 104, 100, 100), (101, 102.5, 100.5, 102)],
    "bearish_harami": [(100, 104, 100, 104), (103, 103.5, 101.5, 102)],
    "none": [(100, 102, 100, 102), (102, 104, 101, 104)],
}


@pytest.fixture(scope="module")
def bars(tick_bars: Make) -> pd.DataFrame:
    return tick_bars(6000)


def drawn(make_bars: Make, last: list[Bar]) -> pd.DataFrame:
    opened, high, low, close = np.array([*BEFORE, *last]).T
    return make_bars(close, open=opened, high=high, low=low)


TALIB = {
    "morning_star": (talib.CDLMORNINGSTAR, 1),
    "evening_star": (talib.CDLEVENINGSTAR, -1),
    "bullish_engulfing": (talib.CDLENGULFING, 1),
    "bearish_engulfing": (talib.CDLENGULFING, -1),
    "shooting_star": (talib.CDLSHOOTINGSTAR, -1),
    "inverted_hammer": (talib.CDLINVERTEDHAMMER, 1),
    "bullish_harami": (talib.CDLHARAMI, 1),
    "bearish_harami": (talib.CDLHARAMI, -1),
}


def by_loop(bars: pd.DataFrame) -> np.ndarray:
    """The patterns of bars without a gap, bar by bar."""
    prices = [bars[name].to_numpy(np.float64) for name in ("open", "high", "low", "close")]
    found = {name: np.sign(of(*prices)) == sign for name, (of, sign) in TALIB.items()}
    labels = np.full(len(bars), NULL, np.int8)
    for row in range(LOOKBACK, len(bars)):
        names = [name for name in found if found[name][row]] or ["none"]
        if len(names) == 1:
            labels[row] = PATTERNS.index(names[0])
    return labels


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_drawn_by_hand_is_found_where_it_ends(make_bars: Make, name: str) -> None:
    found = patterns(drawn(make_bars, DRAWN[name]))
    assert PATTERNS[found[-1]] == name


def test_labels_equal_talib_and_every_class_occurs(bars: pd.DataFrame) -> None:
    found = patterns(bars)
    assert_array_equal(found, by_loop(bars))
    assert set(found) == {NULL, *range(len(PATTERNS))}
    assert found.dtype == np.int8


def test_a_bar_with_too_few_bars_before_it_has_no_label(bars: pd.DataFrame) -> None:
    assert LOOKBACK == 12  # of the stars: two bars, and ten bodies before them
    for n in (2, LOOKBACK, LOOKBACK + 1, LOOKBACK + 40):
        found = patterns(bars.iloc[:n])
        assert len(found) == n
        assert (found[:LOOKBACK] == NULL).all()
    assert_array_equal(found[LOOKBACK:], patterns(bars)[LOOKBACK : LOOKBACK + 40])


def test_no_pattern_spans_a_gap(tick_bars: Make) -> None:
    gapped = tick_bars(900, missing=range(400, 405))
    before, after = gapped.iloc[:400], gapped.iloc[400:]
    found = patterns(gapped)
    assert_array_equal(found[:400], patterns(before))
    assert_array_equal(found[400:], patterns(after))
    assert (found[400 : 400 + LOOKBACK] == NULL).all()
    outcomes = Candlestick().outcomes(gapped, np.arange(len(gapped)))
    unknown = np.flatnonzero(np.isnat(outcomes.known_at))
    assert_array_equal(unknown, [*range(LOOKBACK), *range(400, 400 + LOOKBACK)])


def test_a_bar_with_two_patterns_has_no_label_but_is_a_sample(make_bars: Make) -> None:
    # the third bar ends a morning star, and engulfs the small black body of the star
    star = [(102, 102, 97, 97), (96.6, 96.8, 96.2, 96.5), (96.4, 101.2, 96.3, 101)]
    bars = drawn(make_bars, star)
    prices = [bars[name].to_numpy() for name in ("open", "high", "low", "close")]
    assert talib.CDLMORNINGSTAR(*prices)[-1] > 0
    assert talib.CDLENGULFING(*prices)[-1] > 0
    assert patterns(bars)[-1] == NULL
    outcomes = Candlestick().outcomes(bars, np.array([len(bars) - 1]))
    assert outcomes.known_at[0] == bars.index.to_numpy("datetime64[ns]")[-1]


def test_labels_are_known_at_the_decision_time(bars: pd.DataFrame) -> None:
    label = Candlestick()
    assert (label.classes, label.horizon) == (PATTERNS, pd.Timedelta(0))
    for splitter in (Chronological(), WalkForward(1)):
        samples = make_samples(bars, label=label, split=splitter)
        assert (samples.classes, samples.task) == (PATTERNS, "classification")
        assert_array_equal(samples.outcomes.known_at, samples.times)
        assert np.isnan(samples.outcomes.forward_return).all()
        assert_array_equal(samples.label, patterns(bars)[samples.bar_rows("")])
        train, val = (samples.times[samples.part(name)] for name in ("train", "val"))
        assert val[0] - train[-1] == np.timedelta64(61, "m")
