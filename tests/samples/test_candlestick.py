"""Candlestick patterns: TA-Lib's, known at their bar's close, never over a gap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.data.candlestick import LOOKBACK, PATTERNS, Candlestick, patterns
from gafcnn.data.labels import NULL, Direction
from gafcnn.data.samples import PARTS, LabelledSamples
from gafcnn.data.splits import Chronological, WalkForward
from gafcnn.data.windows import decision_rows
from gafcnn.errors import SamplesError

Make = Callable[..., pd.DataFrame]
Bar = tuple[float, float, float, float]  # open, high, low, close

HOUR = pd.Timedelta("60min")

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


def by_loop(bars: pd.DataFrame) -> np.ndarray:
    """What TA-Lib says of bars without a gap, bar by bar in plain words."""
    prices = [bars[name].to_numpy(np.float64) for name in ("open", "high", "low", "close")]
    said = {
        "morning_star": talib.CDLMORNINGSTAR(*prices) > 0,
        "evening_star": talib.CDLEVENINGSTAR(*prices) < 0,
        "bullish_engulfing": talib.CDLENGULFING(*prices) > 0,
        "bearish_engulfing": talib.CDLENGULFING(*prices) < 0,
        "shooting_star": talib.CDLSHOOTINGSTAR(*prices) < 0,
        "inverted_hammer": talib.CDLINVERTEDHAMMER(*prices) > 0,
        "bullish_harami": talib.CDLHARAMI(*prices) > 0,
        "bearish_harami": talib.CDLHARAMI(*prices) < 0,
    }
    found = []
    for row in range(len(bars)):
        names = [name for name in said if said[name][row]]
        single = PATTERNS.index(names[0] if names else "none") if len(names) < 2 else NULL
        found.append(single if row >= LOOKBACK else NULL)
    return np.array(found, np.int8)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_drawn_by_hand_is_found_where_it_ends(make_bars: Make, name: str) -> None:
    found = patterns(drawn(make_bars, DRAWN[name]))
    assert PATTERNS[found[-1]] == name


def test_labels_are_what_talib_says_and_every_class_is_among_them(bars: pd.DataFrame) -> None:
    found = patterns(bars)
    np.testing.assert_array_equal(found, by_loop(bars))
    assert set(found) == {NULL, *range(len(PATTERNS))}
    assert found.dtype == np.int8


def test_a_bar_with_too_few_before_it_is_not_judged(bars: pd.DataFrame) -> None:
    assert LOOKBACK == 12  # of the stars: ten bodies to compare with, and two bars
    for n in (2, LOOKBACK, LOOKBACK + 1, LOOKBACK + 40):
        found = patterns(bars.iloc[:n])
        assert len(found) == n
        assert (found[:LOOKBACK] == NULL).all()
    np.testing.assert_array_equal(found[LOOKBACK:], patterns(bars)[LOOKBACK : LOOKBACK + 40])


def test_no_pattern_reaches_over_a_gap(tick_bars: Make) -> None:
    gapped = tick_bars(900, missing=range(400, 405))
    before, after = gapped.iloc[:400], gapped.iloc[400:]
    found = patterns(gapped)
    np.testing.assert_array_equal(found[:400], patterns(before))
    np.testing.assert_array_equal(found[400:], patterns(after))
    assert (found[400 : 400 + LOOKBACK] == NULL).all()
    outcomes = Candlestick().outcomes(gapped, np.arange(len(gapped)))
    unknown = np.flatnonzero(np.isnat(outcomes.known_at))
    np.testing.assert_array_equal(unknown, [*range(LOOKBACK), *range(400, 400 + LOOKBACK)])


@settings(max_examples=25)
@given(row=st.integers(0, 898), seed=st.integers(0, 2**32 - 1))
def test_bars_after_a_row_change_nothing_up_to_it(tick_bars: Make, row: int, seed: int) -> None:
    bars = tick_bars(900)
    other = bars.copy()
    rng = np.random.default_rng(seed)
    other.iloc[row + 1 :] *= rng.uniform(0.2, 5, (len(bars) - row - 1, 1))
    assert patterns(other)[: row + 1].tobytes() == patterns(bars)[: row + 1].tobytes()


def test_an_altered_future_alters_later_patterns(bars: pd.DataFrame) -> None:
    other = bars.copy()
    other.iloc[3000:] *= np.random.default_rng(0).uniform(0.2, 5, (3000, 1))
    assert (patterns(other)[3000:] != patterns(bars)[3000:]).mean() > 0.1


def test_two_patterns_on_one_bar_are_no_class_and_stay_to_be_counted(make_bars: Make) -> None:
    # the third bar ends a morning star, and engulfs the star's own small black body
    star = [(102, 102, 97, 97), (96.6, 96.8, 96.2, 96.5), (96.4, 101.2, 96.3, 101)]
    bars = drawn(make_bars, star)
    prices = [bars[name].to_numpy() for name in ("open", "high", "low", "close")]
    assert talib.CDLMORNINGSTAR(*prices)[-1] > 0
    assert talib.CDLENGULFING(*prices)[-1] > 0
    assert patterns(bars)[-1] == NULL
    outcomes = Candlestick().outcomes(bars, np.array([len(bars) - 1]))
    assert outcomes.known_at[0] == bars.index.to_numpy("datetime64[ns]")[-1]


def test_samples_are_known_when_they_are_decided_and_the_embargo_is_kept(
    bars: pd.DataFrame,
) -> None:
    label = Candlestick()
    assert label.classes == PATTERNS
    assert label.horizon == pd.Timedelta(0)
    for splitter in (Chronological(), WalkForward(1)):
        samples = LabelledSamples.make(bars, HOUR, label, splitter)
        samples.check()
        assert samples.classes == PATTERNS
        np.testing.assert_array_equal(samples.outcomes.known_at, samples.times)
        assert np.isnan(samples.outcomes.forward_return).all()
        rows = decision_rows(bars, HOUR)
        np.testing.assert_array_equal(samples.label, patterns(bars)[rows])
        train, val = (samples.times[samples.part(name)] for name in ("train", "val"))
        assert val[0] - train[-1] == np.timedelta64(61, "m")


def test_bars_of_several_patterns_are_in_their_part_and_not_learned_from(
    bars: pd.DataFrame,
) -> None:
    samples = LabelledSamples.make(bars, HOUR, Candlestick(), Chronological())
    for part in PARTS:
        left_out = np.setdiff1d(samples.part(part), samples.labelled(part))
        assert len(left_out) == (samples.label[samples.part(part)] == NULL).sum()
        assert samples.counts(part).sum() == len(samples.labelled(part))
    assert len(samples.part("train")) > len(samples.labelled("train"))


def test_outcomes_of_another_label_are_refused(bars: pd.DataFrame) -> None:
    outcomes = Direction().outcomes(bars, decision_rows(bars, HOUR))
    with pytest.raises(SamplesError, match="tell of no pattern; expected outcomes of Candlestick"):
        Candlestick().assign(outcomes, np.arange(10))
