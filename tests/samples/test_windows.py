from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.errors import ConfigError, SamplesError

Bars = Callable[..., pd.DataFrame]
MINUTE = pd.to_timedelta("1min")
FIELDS = ("open", "high", "low", "close", "volume")


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "step", "lookback", "interval", "points"),
    [
        ("15min", None, "60min", "1min", 15),
        ("60min", None, "60min", "1min", 60),
        ("16h", "15min", "64h", "1min", 64),
        ("16h", "15min", "64h", "15min", 64),
        ("64h", "60min", "64h", "15min", 64),
    ],
)
def test_a_window_has_a_point_for_every_step_of_its_span(
    span: str, step: str | None, lookback: str, interval: str, points: int
) -> None:
    window = Window("w", span, step, lookback)
    assert window.points(pd.to_timedelta(interval)) == points


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"span": "16min", "step": "3min"},
            "window.span is 16min; expected a multiple of window.step, 3min; "
            "set window.span to 15min or 18min.",
        ),
        (
            {"span": "15min", "step": "90s"},
            "window.step is 90s; expected a multiple of the bars' interval, 1min; "
            "set window.step to 1min or 2min.",
        ),
        (
            {"span": "15min", "step": "30s"},
            "window.step is 30s; expected a multiple of the bars' interval, 1min; "
            "set window.step to 1min.",
        ),
        (
            {"span": "90min"},
            "window.span is 90min; expected at most window.lookback, 1h; "
            "set window.lookback to 90min or more.",
        ),
        (
            {"span": "15min", "lookback": "1200s500ms"},
            "window.lookback is 1200500ms; expected a multiple of the bars' interval, 1min; "
            "set window.lookback to 20min or 21min.",
        ),
        (
            {"span": "0min"},
            "window.span is 0D; expected a multiple of window.step, 1min; set window.span to 1min.",
        ),
    ],
)
def test_a_window_that_the_bars_cannot_fill_is_refused(
    options: dict[str, Any], sentence: str
) -> None:
    window = Window("w", **options)
    with pytest.raises((ConfigError, SamplesError)) as caught:
        window.points(MINUTE)
    assert str(caught.value) == sentence
    with pytest.raises((ConfigError, SamplesError)):
        window.check(MINUTE)


@pytest.mark.parametrize("value", [15, "15", "1.5", "a while", "-15min", None, "NaT", [15]])
def test_a_length_of_time_needs_its_unit(value: Any) -> None:
    with pytest.raises((ConfigError, SamplesError)) as caught:
        Window("w", value)
    assert str(caught.value) == (
        f'window.span is {value!r}; expected a length of time with its unit, such as "15min" '
        'or "1h"; write window.span=15min, say.'
    )


def test_a_window_is_a_value_whatever_its_lengths_were_written_as() -> None:
    written = Window("15m", "15min", "60s", "1h")
    assert written == Window("15m", pd.to_timedelta("15min"), MINUTE, np.timedelta64(60, "m"))
    assert hash(written) == hash(Window("15m", "15min", "1min", "60min"))
    assert written.span == pd.to_timedelta("15min")
    assert written.name == "15m"


# --- decision rows --------------------------------------------------------------------------------


def test_a_decision_needs_its_whole_lookback_without_a_gap(make_bars: Bars) -> None:
    # minutes 1 2 3 4 _ 6 7 8 9: rows 0 to 3, then 4 to 7
    bars = make_bars(np.arange(1.0, 10.0), missing=[4])
    assert decision_rows(bars, "3min").tolist() == [2, 3, 6, 7]
    assert decision_rows(bars, "4min").tolist() == [3, 7]
    assert decision_rows(bars, "1min").tolist() == list(range(8))


def test_too_few_bars_are_told_apart_from_bars_with_too_many_gaps(make_bars: Bars) -> None:
    with pytest.raises((ConfigError, SamplesError)) as caught:
        decision_rows(make_bars(np.ones(40)), "60min")
    assert str(caught.value) == (
        "there are only 40 bars of 1min; expected 60 without a gap, for window.lookback=1h; "
        "give more bars or choose a window of a shorter window.lookback."
    )
    with pytest.raises(SamplesError, match=r"^the longest gap-free stretch is 30 bars of 1min;"):
        decision_rows(make_bars(np.ones(90), missing=range(29, 90, 31)), "60min")
    with pytest.raises(SamplesError, match=r"^there are only 0 bars of 1min;"):
        decision_rows(make_bars(np.ones(0)), "60min")


@settings(max_examples=80, deadline=None)
@given(
    missing=st.sets(st.integers(0, 39), max_size=12),
    lookback=st.integers(1, 8),
    interval=st.sampled_from([1, 15]),
)
def test_decision_rows_are_those_whose_every_bar_is_there(
    make_bars: Bars, missing: set[int], lookback: int, interval: int
) -> None:
    bars = make_bars(np.ones(40), interval=f"{interval}min", missing=missing)
    length = pd.to_timedelta(interval, "min")
    there = set(bars.index)
    expected = [
        row
        for row, t in enumerate(bars.index)
        if all(t - back * length in there for back in range(lookback))
    ]
    if expected:
        assert decision_rows(bars, length * lookback).tolist() == expected
    else:
        with pytest.raises((ConfigError, SamplesError)):
            decision_rows(bars, length * lookback)


# --- reading --------------------------------------------------------------------------------------


def test_windows_of_a_family_end_at_the_same_bar(make_bars: Bars) -> None:
    bars = make_bars(np.arange(100.0, 300.0))
    rows = decision_rows(bars, "60min")
    for span in (15, 30, 60):
        series = WindowReader(bars, Window("w", f"{span}min"))(rows)
        assert series.shape == (len(rows), 1, span)
        assert series.dtype == np.float64
        np.testing.assert_array_equal(series[:, 0, -1], bars["close"].iloc[rows])
        np.testing.assert_array_equal(series[:, 0, 0], bars["close"].iloc[rows - span + 1])


def test_a_point_of_several_bars_is_one_coarse_bar(make_bars: Bars) -> None:
    bars = make_bars(
        [3, 1, 4, 1, 5, 9],
        open=[2, 7, 1, 8, 2, 8],
        high=[6, 5, 9, 8, 7, 9],
        low=[3, 2, 3, 1, 2, 5],
        volume=[1, 2, 4, 8, 16, 32],
    )
    window = Window("w", span="4min", step="2min", lookback="4min")
    series = WindowReader(bars, window, FIELDS)(np.array([3, 4]))
    # bars 0-1 and 2-3 for row 3; bars 1-2 and 3-4 for row 4: the last point ends at the row
    np.testing.assert_array_equal(series[0], [[2, 1], [6, 9], [2, 1], [1, 1], [3, 12]])
    np.testing.assert_array_equal(series[1], [[7, 8], [9, 8], [2, 1], [4, 5], [6, 24]])


def test_fields_come_in_the_order_asked_for(make_bars: Bars) -> None:
    bars = make_bars([1, 2, 3], volume=[7, 8, 9])
    window = Window("w", "2min", lookback="2min")
    series = WindowReader(bars, window, ["volume", "close"])(np.array([2, 1]))
    np.testing.assert_array_equal(series, [[[8, 9], [2, 3]], [[7, 8], [1, 2]]])


@pytest.mark.parametrize("row", [-1, 1, 4, 9])
def test_a_window_over_a_gap_or_beyond_the_bars_is_not_read(make_bars: Bars, row: int) -> None:
    bars = make_bars(np.ones(10), missing=[4])
    reader = WindowReader(bars, Window("w", "3min", lookback="3min"))
    reader(np.array([2, 3, 6, 7, 8]))
    with pytest.raises(SamplesError, match=rf"^row {row} does not end 3 bars without a gap;"):
        reader(np.array([2, row, 3]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    interval=st.sampled_from(["1min", "15min"]),
    step=st.integers(1, 5),
    points=st.integers(1, 6),
    after=st.integers(0, 20),
)
def test_points_are_those_of_pandas_resampling_up_to_the_decision(
    random_bars: Bars, seed: int, interval: str, step: int, points: int, after: int
) -> None:
    bars = random_bars(step * points + after, interval=interval, seed=seed)
    length = pd.to_timedelta(interval)
    window = Window("w", length * step * points, length * step, length * step * points)
    rows = decision_rows(bars, window.lookback)
    series = WindowReader(bars, window, FIELDS)(rows)
    seen = bars.iloc[: rows[-1] + 1]
    peer = seen.resample(length * step, label="right", closed="right", origin=seen.index[-1]).agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    assert peer.index[-1] == seen.index[-1]
    np.testing.assert_allclose(series[-1], peer.iloc[-points:].to_numpy().T, rtol=1e-14)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    step=st.sampled_from([1, 2, 4]),
    cut=st.integers(30, 90),
    missing=st.sets(st.integers(0, 99), max_size=4),
)
def test_what_a_window_shows_does_not_know_the_future(
    random_bars: Bars, seed: int, step: int, cut: int, missing: set[int]
) -> None:
    bars = random_bars(100, missing=missing, seed=seed)
    altered = bars.copy()
    altered.iloc[cut:] *= 3.0
    window = Window("w", "8min", f"{step}min", "8min")
    rows = decision_rows(bars, window.lookback)
    np.testing.assert_array_equal(decision_rows(altered, window.lookback), rows)

    # nor whether there is one at all
    past = rows[rows < cut]
    np.testing.assert_array_equal(decision_rows(bars.iloc[:cut], window.lookback), past)
    shown = WindowReader(bars, window, FIELDS)(past)
    np.testing.assert_array_equal(WindowReader(altered, window, FIELDS)(past), shown)
    np.testing.assert_array_equal(WindowReader(bars.iloc[:cut], window, FIELDS)(past), shown)
