"""Regimes: by hand, known at the decision time, and with terciles of the reference times."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.evaluation.regimes import regimes

LOOKBACK = pd.Timedelta("10min")


def bars_of(log_returns: Iterable[float], start: str = "2025-06-20 00:01") -> pd.DataFrame:
    """Minute bars whose closes move by these log returns."""
    close = 100 * np.exp(np.concatenate([[0.0], np.cumsum(list(log_returns))]))
    index = pd.date_range(start, periods=len(close), freq="1min", tz="UTC", name="close_time")
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), index.as_unit("ns"))
    bars["volume"] = 1.0
    bars.attrs = {"interval": pd.Timedelta("1min"), "label": "close"}
    return bars


def market(n: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return bars_of(rng.normal(0, 1e-3, n) * np.exp(np.sin(np.arange(n) / 30)))


def test_trends_by_hand() -> None:
    """Four returns each: mean m and standard deviation s make z = 4 m / (2 s) = 2 m / s."""
    up, flat, down = [3e-3, -1e-3] * 2, [1e-3, -1e-3] * 2, [-3e-3, 1e-3] * 2
    bars = bars_of([*up, *flat, *down])
    found = regimes(bars, bars.index[[4, 8, 12]], bars.index[4:], pd.Timedelta("5min"))
    assert found["trend"].tolist() == ["up", "flat", "down"]


@pytest.mark.parametrize(
    ("z", "trend"), [(0.49, "flat"), (0.51, "up"), (-0.49, "flat"), (-0.51, "down")]
)
def test_half_a_standard_deviation_makes_a_trend(z: float, trend: str) -> None:
    noise = np.array([1e-3, -1e-3] * 2)
    bars = bars_of(noise + z * noise.std(ddof=1) / 2)
    found = regimes(bars, bars.index[-1:], bars.index[-1:], pd.Timedelta("5min"))
    assert found["trend"].tolist() == [trend]


def test_volatility_by_hand_is_relative_to_reference_terciles() -> None:
    sizes = np.repeat([1e-3, 2e-3, 3e-3, 5e-3], 4)
    bars = bars_of(sizes * np.tile([1.0, -1.0], 8))
    times = bars.index[[4, 8, 12, 16]]
    lookback = pd.Timedelta("5min")
    # the terciles of volatilities in the proportion 1 2 3 are 1.67 and 2.33
    found = regimes(bars, times, times[:3], lookback)["volatility"]
    assert found.tolist() == ["low", "middle", "high", "high"]
    found = regimes(bars, times, times[2:], lookback)["volatility"]
    assert found.tolist() == ["low", "low", "low", "high"]


@settings(max_examples=20, deadline=None)
@given(at=st.integers(9, 390), factor=st.floats(0.1, 10))
def test_a_regime_is_known_at_its_time(at: int, factor: float) -> None:
    bars, train = market(), market().index[9:60]
    altered = bars.copy()
    later = slice(max(at, 60) + 1, None)
    altered.iloc[later] = bars.iloc[later] * factor
    times = bars.index[9 : at + 1]
    pd.testing.assert_frame_equal(
        regimes(altered, times, train, LOOKBACK), regimes(bars, times, train, LOOKBACK)
    )


def test_judged_rows_do_not_determine_the_terciles() -> None:
    bars, train = market(), market().index[9:200]
    whole = regimes(bars, bars.index[200:], train, LOOKBACK)
    pd.testing.assert_frame_equal(regimes(bars, bars.index[300:], train, LOOKBACK), whole[100:])


def test_a_lookback_with_a_gap_has_no_regime_but_a_month() -> None:
    whole = market()
    bars = whole.drop(whole.index[50])
    bars.attrs = whole.attrs
    found = regimes(bars, bars.index[45:70], bars.index[9:40], LOOKBACK)
    undefined = found["volatility"].isna().to_numpy()
    assert np.flatnonzero(undefined).tolist() == list(range(5, 14))
    assert found["trend"].isna().tolist() == undefined.tolist()
    assert set(found["month"]) == {"2025-06"}


def test_months_are_those_of_utc() -> None:
    bars = bars_of([1e-3] * 3, start="2025-06-30 23:58")
    found = regimes(bars, bars.index, bars.index, pd.Timedelta("3min"))
    assert found["month"].tolist() == ["2025-06"] * 2 + ["2025-07"] * 2
