"""Windows: names, points, decision rows, and reading without gaps or future bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gafcnn.data.windows import WINDOWS, Window, WindowReader, as_window, decision_rows
from gafcnn.errors import ConfigError, SamplesError
from gafcnn.settings import as_plain, create

Bars = Callable[..., pd.DataFrame]
MINUTE = pd.to_timedelta("1min")
FIELDS = ("open", "high", "low", "close", "volume")


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "facts"),
    [({"span": "16min", "step": "3min"}, r"span is 16min.* 15min or 18min\."),
     ({"span": "15min", "step": "90s"}, r"step is 90s.* 1min or 2min\."),
     ({"span": "15min", "step": "30s"}, r"step is 30s.* to 1min\."),
     ({"span": "90min", "lookback": "1h"}, r"span is 90min.* 1h.*=90min"),
     ({"span": "15min", "lookback": "90s"}, r"lookback is 90s.* 1min or 2min\."),
     ({"span": "0min"}, r"span is 0D.* to 1min\.|0 points")],
)  # fmt: skip
def test_window_that_the_bars_cannot_fill(options: dict[str, Any], facts: str) -> None:
    window = Window(**options)
    for check in (window.count_points, window.check_image):
        with pytest.raises(ConfigError, match=facts):
            check(MINUTE)
    assert not window.fits(MINUTE)


@pytest.mark.parametrize(
    "options",
    [{}, {"step": "15min"}, {"points": 64}, {"points": 64, "step": "15min", "span": "8h"},
     {"span": "1h", "points": 4}, {"points": 1, "step": "15min"}, {"points": 64, "step": "0min"},
     {"span": 15}, {"span": "a while"}, {"span": "-15min"}, {"span": "15min", "lookback": "60"},
     {"points": 10**9, "step": "1D"}, {"span": "1h", "step": "2h"}],
)  # fmt: skip
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"window\."):
        Window(**options)


def test_windows_are_values() -> None:
    written = Window("15min", "60s", lookback="1h")
    assert written == Window(pd.Timedelta("15min"), MINUTE, lookback=np.timedelta64(60, "m"))
    assert hash(written) == hash(Window("15min", "1min"))
    for window in WINDOWS.values():
        assert create(Window, "window", as_plain(window)) == window


@pytest.mark.parametrize(
    ("window", "name", "lookback"),
    [(Window("30min"), "30m", "60min"), (Window("90min"), "90m", "90min"),
     (Window("2h"), "2h", "2h"), (Window(points=64, step="15min"), "64x15m", "16h"),
     (Window("16h", "15min"), "64x15m", "16h"), (Window(points=20, step="1D"), "20x1d", "20D"),
     (Window("30min", lookback="2h", name="mine"), "mine", "2h")],
)  # fmt: skip
def test_names_and_lookbacks(window: Window, name: str, lookback: str) -> None:
    assert (window.name, window.lookback) == (name, pd.Timedelta(lookback))


def test_as_window() -> None:
    known = "15m 30m 60m 64x15m 64x30m 64x60m 10x15m 20x8h 20x1d"
    assert [*WINDOWS] == known.split()
    assert as_window("64x15m").lookback == pd.Timedelta("64h")
    assert as_window("45m") == Window("45min")
    assert as_window("12x1d") == Window(points=12, step="1D")
    assert as_window(window := Window("45min")) is window
    for wrong in ("30", "30min", "m", "x15m", "", None, 30):
        with pytest.raises(ConfigError, match="64x15m"):
            as_window(wrong)  # pyright: ignore[reportArgumentType]


def test_an_image_needs_points_and_names_the_windows_that_fit() -> None:
    quarter = pd.Timedelta("15min")
    as_window("15m").check_image(MINUTE)
    as_window("64x15m").check_image(quarter)
    Window(points=8, step="15min").check_image(quarter)
    for window in (as_window("30m"), Window("1h"), Window(points=7, step="15min")):
        with pytest.raises(
            ConfigError, match="window=64x15m or window=64x30m or window=64x60m or window=10x15m, "
        ):
            window.check_image(quarter)
    with pytest.raises(ConfigError, match=r"window\.step is 15min.* 1h"):
        as_window("64x15m").check_image(pd.Timedelta("1h"))


# --- decision rows --------------------------------------------------------------------------------


def test_too_few_bars_or_too_many_gaps(make_bars: Bars) -> None:
    with pytest.raises(SamplesError, match="only 40 bars of 1min; expected 60 "):
        decision_rows(make_bars(np.ones(40)), "60min")
    with pytest.raises(SamplesError, match="longest gap-free stretch is 30 bars"):
        decision_rows(make_bars(np.ones(90), missing=range(29, 90, 31)), "60min")
    # rows 29 and 60 are filled, so that rows 59 to 89 end 60 bars
    with pytest.raises(SamplesError, match=r'fill="quiet" 31 of 90 bars'):
        decision_rows(make_bars(np.ones(90), missing=range(29, 90, 31)), "60min")
    with pytest.raises(SamplesError, match="longest gap-free stretch is 45 bars") as raised:
        decision_rows(make_bars(np.ones(200), missing=range(45, 155)), "60min")  # too long to fill
    assert "quiet" not in str(raised.value)
    with pytest.raises(SamplesError, match="only 0 bars"):
        decision_rows(make_bars(np.ones(0)), "60min")


def test_a_lookback_shorter_than_a_bar_names_one_that_fits(make_bars: Bars) -> None:
    bars = make_bars(np.ones(100), interval="1D")
    with pytest.raises(ConfigError, match='lookback is 1h for bars of 1D.*lookback="64D"'):
        decision_rows(bars, "60min")
    assert len(decision_rows(bars, "64D")) == 37


@settings(max_examples=80)
@given(
    missing=st.sets(st.integers(0, 39), max_size=12),
    lookback=st.integers(1, 8),
    interval=st.sampled_from([1, 15]),
)
def test_decision_rows_have_all_bars_of_their_lookback(
    make_bars: Bars, missing: set[int], lookback: int, interval: int
) -> None:
    bars = make_bars(np.ones(40), interval=f"{interval}min", missing=missing)
    length = pd.to_timedelta(interval, "min")
    existing = set(bars.index)
    expected = [
        row
        for row, t in enumerate(bars.index)
        if all(t - back * length in existing for back in range(lookback))
    ]
    if expected:
        assert decision_rows(bars, length * lookback).tolist() == expected
    else:
        with pytest.raises(SamplesError):
            decision_rows(bars, length * lookback)


# --- reading --------------------------------------------------------------------------------------


def test_a_point_of_several_bars_is_one_coarse_bar(make_bars: Bars) -> None:
    bars = make_bars(
        [3, 1, 4, 1, 5, 9],
        open=[2, 7, 1, 8, 2, 8],
        high=[6, 5, 9, 8, 7, 9],
        low=[3, 2, 3, 1, 2, 5],
        volume=[1, 2, 4, 8, 16, 32],
    )
    window = Window("4min", "2min", lookback="4min")
    series = WindowReader(bars, window, FIELDS)(np.array([3, 4]))
    # bars 0-1 and 2-3 for row 3; bars 1-2 and 3-4 for row 4: the last point ends at the row
    assert_array_equal(series[0], [[2, 1], [6, 9], [2, 1], [1, 1], [3, 12]])
    assert_array_equal(series[1], [[7, 8], [9, 8], [2, 1], [4, 5], [6, 24]])


@pytest.mark.parametrize("row", [-1, 1, 4, 9])
def test_a_window_over_a_gap_or_outside_the_bars(make_bars: Bars, row: int) -> None:
    bars = make_bars(np.ones(10), missing=[4])
    reader = WindowReader(bars, Window("3min", lookback="3min"))
    reader(np.array([2, 3, 6, 7, 8]))
    with pytest.raises(SamplesError, match=f"row {row} does not end 3 bars"):
        reader(np.array([2, row, 3]))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    interval=st.sampled_from(["1min", "15min"]),
    step=st.integers(1, 5),
    points=st.integers(1, 6),
    after=st.integers(0, 20),
)
def test_points_equal_pandas_resampling(
    random_bars: Bars, seed: int, interval: str, step: int, points: int, after: int
) -> None:
    bars = random_bars(step * points + after, interval=interval, seed=seed)
    length = pd.to_timedelta(interval)
    window = Window(length * step * points, length * step, lookback=length * step * points)
    rows = decision_rows(bars, window.lookback)
    series = WindowReader(bars, window, FIELDS)(rows)
    seen = bars.iloc[: rows[-1] + 1]
    peer = seen.resample(length * step, label="right", closed="right", origin=seen.index[-1]).agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    assert peer.index[-1] == seen.index[-1]
    assert_allclose(series[-1], peer.iloc[-points:].to_numpy().T, rtol=1e-14)
