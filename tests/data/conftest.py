"""Small bars for the tests of data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike

from gafcnn.durations import format_duration


def _make_bars(
    close: ArrayLike, *, interval: str = "1min", missing: Iterable[int] = (), **columns: ArrayLike
) -> pd.DataFrame:
    """Bars from 2024-01-01 on; a column that is not given equals the close.

    Rows in `missing` are dropped, which leaves gaps.
    """
    close = np.asarray(close, dtype=np.float64)
    length = pd.Timedelta(interval)
    times = pd.date_range(
        pd.Timestamp("2024-01-01", tz="UTC") + length, periods=len(close), freq=length, unit="ns"
    )
    values = {
        name: np.asarray(columns.get(name, close), dtype=np.float64)
        for name in ("open", "high", "low", "close", "volume")
    }
    bars = pd.DataFrame(values, index=pd.DatetimeIndex(times, name="close_time"))
    bars = bars.drop(index=bars.index[sorted(missing)])
    bars.attrs = {"interval": format_duration(length)}
    return bars


def _random_bars(
    n: int, *, interval: str = "1min", missing: Iterable[int] = (), seed: int = 0
) -> pd.DataFrame:
    """A random walk with highs and lows around it."""
    rng = np.random.default_rng(seed)
    walk = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, n + 1)))
    begin, close = walk[:-1], walk[1:]
    wicks = 1 + np.abs(rng.normal(0, 0.001, (2, n)))
    return _make_bars(
        close,
        interval=interval,
        missing=missing,
        open=begin,
        high=np.maximum(begin, close) * wicks[0],
        low=np.minimum(begin, close) / wicks[1],
        volume=rng.uniform(1, 10, n),
    )


def _tick_bars(
    n: int, *, interval: str = "1min", missing: Iterable[int] = (), seed: int = 0
) -> pd.DataFrame:
    """A random walk on a grid of prices, in which every candlestick pattern occurs.

    A bar opens at or near the previous close, and often has no shadows.
    """
    rng = np.random.default_rng(seed)
    close = 2000 + np.cumsum(rng.integers(-6, 7, n))
    begin = np.concatenate([[2000], close[:-1]]) + rng.integers(-3, 4, n)
    wicks = rng.geometric(0.35, (2, n)) - 1
    return _make_bars(
        close / 10,
        interval=interval,
        missing=missing,
        open=begin / 10,
        high=(np.maximum(begin, close) + wicks[0]) / 10,
        low=(np.minimum(begin, close) - wicks[1]) / 10,
        volume=rng.uniform(1, 10, n),
    )


@pytest.fixture(scope="session")
def make_bars() -> Callable[..., pd.DataFrame]:
    return _make_bars


@pytest.fixture(scope="session")
def random_bars() -> Callable[..., pd.DataFrame]:
    return _random_bars


@pytest.fixture(scope="session")
def tick_bars() -> Callable[..., pd.DataFrame]:
    return _tick_bars
