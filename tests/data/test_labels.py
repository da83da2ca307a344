"""Labels: hand cases, pandas, TA-Lib, a walk from bar to bar, and what they must not depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from gafcnn.data.bars import interval_of
from gafcnn.data.labels import (
    LABELS,
    NULL,
    PATTERNS,
    Candlestick,
    Direction,
    Outcomes,
    TripleBarrier,
    pattern_lookback,
    patterns,
)
from gafcnn.data.samples import make_samples
from gafcnn.data.splits import Chronological, WalkForward
from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.errors import ConfigError, SamplesError
from gafcnn.settings import as_plain

Bars = Callable[..., pd.DataFrame]


def _rows(bars: pd.DataFrame) -> NDArray[np.int64]:
    return decision_rows(bars, interval_of(bars))


# --- faults of the seed ---------------------------------------------------------------------------


def test_horizon_is_counted_from_the_decision_time_for_all_windows(make_bars: Bars) -> None:
    """The seed's horizons for windows of 15, 30 and 60 minutes were 29, 44 and 74 minutes."""
    minutes = np.arange(1000.0, 1400.0)  # the close of a bar is the number of its minute
    bars = make_bars(minutes)
    rows = decision_rows(bars, "60min")
    outcomes = Direction(horizon="15min").outcomes(bars, rows)
    known = ~np.isnan(outcomes.forward_return)
    assert known.sum() == len(rows) - 15
    for span in ("15min", "30min", "60min"):
        last_seen = WindowReader(bars, Window(span))(rows)[:, 0, -1]
        looked_at = last_seen * (1 + outcomes.forward_return)
        assert_allclose(looked_at[known] - last_seen[known], 15, rtol=0, atol=1e-9)
    times = bars.index.to_numpy("datetime64[ns]")[rows]
    assert set(outcomes.known_at[known] - times[known]) == {np.timedelta64(15, "m")}


# --- direction ------------------------------------------------------------------------------------


def test_forward_return_by_hand(make_bars: Bars) -> None:
    bars = make_bars([100, 110, 121, 60.5, 121])
    outcomes = Direction("2min").outcomes(bars, np.array([0, 1, 2, 3, 4]))
    assert_allclose(outcomes.forward_return, [0.21, -0.45, 0.0, np.nan, np.nan])
    assert outcomes.value is None
    known = ["2024-01-01T00:03", "2024-01-01T00:04", "2024-01-01T00:05", "NaT", "NaT"]
    assert_array_equal(outcomes.known_at, np.array(known, "datetime64[ns]"))


def test_a_future_with_a_gap_is_unknown(make_bars: Bars) -> None:
    # minutes 1 2 3 _ 5 6 7: only 1->3 and 5->7 have both of the two bars after them
    bars = make_bars(np.arange(1.0, 8.0), missing=[3])
    outcomes = Direction("2min").outcomes(bars, np.arange(6))
    assert_array_equal(~np.isnan(outcomes.forward_return), [True, False, False, True, False, False])
    assert_array_equal(np.isnat(outcomes.known_at), np.isnan(outcomes.forward_return))


@pytest.mark.parametrize(
    ("neutral", "thresholds", "labels"),
    [
        # quantiles of the training returns -2, -1, 0, 1, 2 %; the last two are not trained on
        (0.5, (-0.01, 0.01), [0, NULL, NULL, NULL, 1, 1, NULL]),
        (0.25, (-0.005, 0.005), [0, 0, NULL, 1, 1, 1, NULL]),
        (0.0, (0.0, 0.0), [0, 0, NULL, 1, 1, 1, NULL]),
    ],
)
def test_labels_by_hand(neutral: float, thresholds: tuple[float, float], labels: list[int]) -> None:
    outcomes = _outcomes([-0.02, -0.01, 0.0, 0.01, 0.02, 0.5, np.nan])
    label = Direction(neutral=neutral)
    assert label.thresholds(outcomes, np.arange(5)) == pytest.approx(thresholds, abs=1e-15)
    assigned = label.assign(outcomes, np.arange(5))
    assert assigned.tolist() == labels
    assert assigned.dtype == np.int8


@pytest.mark.parametrize(
    ("label", "option", "value"),
    [(Direction, "neutral", value) for value in (-0.1, 1.0, float("nan"), "much")]
    + [(TripleBarrier, "width", value) for value in (0, -1.0, float("inf"), float("nan"), "wide")]
    + [(Direction, "horizon", value) for value in (15, "15", "soon", "-5min", None)],
)
def test_option_out_of_range(label: Any, option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"label\.{option} is "):
        label(**{option: value})


@pytest.mark.parametrize("train", [[], [1]])
def test_thresholds_need_a_training_sample(train: list[int]) -> None:
    with pytest.raises(SamplesError, match=f"none of {len(train)} training samples"):
        Direction().assign(_outcomes([0.1, np.nan]), np.array(train, dtype=np.int64))


@pytest.mark.parametrize("label", [Direction, TripleBarrier])
def test_horizon_that_is_not_a_multiple_of_the_interval(make_bars: Bars, label: Any) -> None:
    bars = make_bars(np.ones(100))
    for horizon, instead in (("30s", "1min"), ("90s", "1min or 2min"), ("0min", "1min")):
        with pytest.raises(ConfigError, match=rf"label\.horizon .* to {instead}\."):
            label(horizon).outcomes(bars, _rows(bars))


def test_labels_are_values() -> None:
    assert Direction("1h") == Direction(pd.Timedelta("60min"), 0.2)
    assert len({Direction("1h"), Direction("60min"), Direction("1h", 0.1)}) == 2
    assert TripleBarrier() == TripleBarrier("15min", 1.0, "60min")
    for kind, label in (("direction", Direction("1h")), ("triple_barrier", TripleBarrier("1h"))):
        assert as_plain(label)["kind"] == kind
        assert LABELS.create(as_plain(label), "label") == label
    with pytest.raises(ConfigError, match=r"label\.neutrall .* neutral\?"):
        LABELS.create({"kind": "direction", "neutrall": 0.1}, "label")


# --- triple barrier -------------------------------------------------------------------------------

# closes 100, 101, 100: two log returns of +-ln 1.01, their standard deviation is sqrt(2) ln 1.01
_SIGMA = np.sqrt(2) * np.log(1.01)
_FAR = 0.5 * _SIGMA * np.sqrt(3)  # half a volatility over three bars: 1.22 %
_UP, _DOWN = 100 * (1 + _FAR), 100 * (1 - _FAR)


@pytest.mark.parametrize(
    ("high", "low", "touched", "forward_return", "minutes"),
    [
        ([101, 102, 103], [100, 100, 100], 1, _FAR, 2),  # the upper one, in the second bar
        ([101, 101, 101], [99, 99, 98], 0, -_FAR, 3),  # the lower one, in the last bar
        ([101, 102, 102], [98, 98, 98], 0, -_FAR, 1),  # the lower one before the upper one
        ([102, 101, 101], [98, 99, 99], NULL, 0.001, 1),  # both in the first bar
        ([101, 102, 101], [99, 98, 99], NULL, 0.002, 2),  # both in the second bar
        ([101, 101, 101], [99, 99, 99], NULL, 0.003, 3),  # neither
        ([_UP, 101, 101], [99, 99, 99], 1, _FAR, 1),  # exactly the upper one
        ([101, 101, 101], [99, _DOWN, 99], 0, -_FAR, 2),  # exactly the lower one
    ],
)
def test_the_first_barrier_touched_by_hand(
    make_bars: Bars, high: Any, low: Any, touched: int, forward_return: float, minutes: int
) -> None:
    # the bar at t reaches both barriers, which must not count
    bars = make_bars(
        [100, 101, 100, 100.1, 100.2, 100.3],
        high=[200, 200, 200, *high],
        low=[50, 50, 50, *low],
    )
    label = TripleBarrier("3min", width=0.5, volatility_lookback="3min")
    outcomes = label.outcomes(bars, np.array([2]))
    assert outcomes.value is not None
    assert outcomes.value.tolist() == [touched]
    assert outcomes.forward_return == pytest.approx([forward_return], rel=1e-9)
    assert outcomes.known_at[0] == np.datetime64("2024-01-01T00:03") + np.timedelta64(minutes, "m")
    assert label.assign(outcomes, np.array([], dtype=np.int64)).tolist() == [touched]


@settings(max_examples=50)
@given(
    seed=st.integers(0, 1000),
    horizon=st.integers(1, 8),
    width=st.sampled_from([0.2, 0.6, 1.5]),
    missing=st.sets(st.integers(0, 59), max_size=3),
)
def test_barriers_agree_with_a_walk_from_bar_to_bar(
    random_bars: Bars, seed: int, horizon: int, width: float, missing: set[int]
) -> None:
    bars = random_bars(60, missing=missing, seed=seed)
    label = TripleBarrier(pd.to_timedelta(horizon, "min"), width, "5min")
    rows = _rows(bars)
    outcomes = label.outcomes(bars, rows)
    assert outcomes.value is not None
    walked = [_walk(bars, row, horizon, width, 5) for row in rows]
    assert outcomes.value.tolist() == [touched for touched, _, _ in walked]
    assert_allclose(outcomes.forward_return, [far for _, far, _ in walked], rtol=1e-7, atol=1e-12)
    assert_array_equal(
        outcomes.known_at, np.array([when for _, _, when in walked], dtype="datetime64[ns]")
    )


def _walk(
    bars: pd.DataFrame, row: int, horizon: int, width: float, lookback: int
) -> tuple[int, float, np.datetime64]:
    """The barriers for one sample, by times instead of row numbers."""
    times, minute = bars.index.to_numpy("datetime64[ns]"), np.timedelta64(1, "m")
    t, close = times[row], bars["close"].to_numpy()
    past = close[(times > t - lookback * minute) & (times <= t)]
    future = (times > t) & (times <= t + horizon * minute)
    if len(past) < lookback or future.sum() < horizon:
        return NULL, np.nan, np.datetime64("NaT", "ns")
    far = width * np.diff(np.log(past)).std(ddof=1) * np.sqrt(horizon)
    for when, (high, low, last) in zip(
        times[future], bars.loc[future, ["high", "low", "close"]].to_numpy(), strict=True
    ):
        above, below = high >= close[row] * (1 + far), low <= close[row] * (1 - far)
        if above and below:
            return NULL, last / close[row] - 1, when
        if above or below:
            return int(above), far if above else -far, when
    return NULL, close[future][-1] / close[row] - 1, t + horizon * minute


def test_volatility_lookback_of_fewer_than_three_bars(make_bars: Bars) -> None:
    bars = make_bars(np.ones(60))
    with pytest.raises(ConfigError, match=r"label\.volatility_lookback is 2min.*3min"):
        TripleBarrier(volatility_lookback="2min").outcomes(bars, _rows(bars))


def _outcomes(returns: list[float]) -> Outcomes:
    """Outcomes of samples a minute apart, known five minutes later."""
    forward_return = np.array(returns)
    known_at = np.datetime64("2024-01-01T00:05", "ns") + np.arange(len(returns)) * np.timedelta64(
        1, "m"
    )
    known_at[np.isnan(forward_return)] = np.datetime64("NaT")
    return Outcomes(forward_return, known_at)


# --- candlestick patterns -------------------------------------------------------------------------

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
def bars(tick_bars: Bars) -> pd.DataFrame:
    return tick_bars(6000)


def drawn(make_bars: Bars, last: list[Bar]) -> pd.DataFrame:
    opened, high, low, close = np.array([*BEFORE, *last]).T
    return make_bars(close, open=opened, high=high, low=low)


def by_loop(bars: pd.DataFrame) -> np.ndarray:
    """The patterns of bars without a gap, bar by bar."""
    prices = [bars[name].to_numpy(np.float64) for name in ("open", "high", "low", "close")]
    bullish = ("morning_star", "bullish_engulfing", "inverted_hammer", "bullish_harami")
    found = {}
    for name in PATTERNS[1:]:
        pattern = name.removeprefix("bullish_").removeprefix("bearish_").replace("_", "").upper()
        sign = 1 if name in bullish else -1
        found[name] = np.sign(getattr(talib, f"CDL{pattern}")(*prices)) == sign
    labels = np.full(len(bars), NULL, np.int8)
    for row in range(LOOKBACK, len(bars)):
        names = [name for name in found if found[name][row]] or ["none"]
        if len(names) == 1:
            labels[row] = PATTERNS.index(names[0])
    return labels


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_drawn_by_hand_is_found_where_it_ends(make_bars: Bars, name: str) -> None:
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


def test_no_pattern_spans_a_gap(tick_bars: Bars) -> None:
    gapped = tick_bars(900, missing=range(400, 405))
    before, after = gapped.iloc[:400], gapped.iloc[400:]
    found = patterns(gapped)
    assert_array_equal(found[:400], patterns(before))
    assert_array_equal(found[400:], patterns(after))
    assert (found[400 : 400 + LOOKBACK] == NULL).all()
    outcomes = Candlestick().outcomes(gapped, np.arange(len(gapped)))
    unknown = np.flatnonzero(np.isnat(outcomes.known_at))
    assert_array_equal(unknown, [*range(LOOKBACK), *range(400, 400 + LOOKBACK)])


def test_a_bar_with_two_patterns_has_no_label_but_is_a_sample(make_bars: Bars) -> None:
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
