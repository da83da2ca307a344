"""Synthetic bars: mirrored and shuffled bars, and random walks. For training, not for evaluation.

All prices lie on a grid, as real prices do, so that equal prices are exactly equal. Rules that
compare an open with the previous close therefore see both cases.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import COLUMNS, bar_interval, check_bars, interval_of
from gafcnn.data.sources import Days, Interval, Symbol, Symbols, count_bars, register_source
from gafcnn.durations import DurationLike, format_duration
from gafcnn.errors import ConfigError
from gafcnn.settings import settings

Ints = NDArray[np.int64]

_DIGITS = 14  # significant digits of a price; integers of this size and their sums are exact
_TICKS_PER_UNIT = 100  # the tick of `tick_walk` is 0.01
_BASE = 10**7  # first price in ticks, so high that no walk reaches 0
_MOVES = 16  # moves inside a bar, which determine its high and low
_START, _END = pd.Timestamp("1980-01-01", tz="UTC"), pd.Timestamp("2099-12-31", tz="UTC")


def mirrored(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars upside down: each price p becomes K - p, with K large enough for p > 0.

    A rise becomes a fall of the same size, an upper shadow a lower one. Times, gaps and volumes
    stay the same.
    """
    (opened, high, low, close), scale = _units(bars)
    top = 2 * int(high.max())
    return _like(bars, scale, top - opened, top - low, top - high, top - close)


def shuffled(bars: pd.DataFrame, block: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return the bars' candles in random order within each block.

    A candle consists of its gap from the previous close, its body and shadows (in units of price)
    and its volume. Candles of a block have about the same time and volatility; a new order makes
    new patterns. The incomplete block at the end is dropped. Gaps in time are closed, and the
    candle after one opens at the previous close.

    Args:
        bars: Bars indexed by close time.
        block: Number of candles per block.
        seed: Seed of the order.

    Returns:
        Bars of the same interval and first time, without gaps.

    Raises:
        ConfigError: There are fewer bars than `block`, or `block` is below 2.
    """
    if not 1 < block <= len(bars):
        raise ConfigError(
            f"a block of {block} candles of {len(bars)} bars",
            expected="at least two candles, and at most the number of bars",
            instead=f"set augmentation.block to {max(2, len(bars) // 4)}, or use more bars",
        )
    (opened, high, low, close), scale = _units(bars)
    before = np.concatenate([opened[:1], close[:-1]])
    whole = np.concatenate([[False], np.diff(bars.index) == interval_of(bars)])
    gap = np.where(whole, opened - before, 0)
    blocks = len(bars) // block
    rng = np.random.default_rng(seed)
    order = (
        rng.random((blocks, block)).argsort(axis=1) + np.arange(blocks)[:, None] * block
    ).ravel()

    ends = int(before[0]) + np.cumsum((gap + close - opened)[order])
    begins = ends - (close - opened)[order]
    above = (high - np.maximum(opened, close))[order]
    below = (np.minimum(opened, close) - low)[order]
    lows = np.minimum(begins, ends) - below
    lift = max(0, 1 - int(lows.min()))  # another order may lead below zero
    index = pd.date_range(bars.index[0], periods=len(order), freq=interval_of(bars))
    frame = bars.iloc[: len(order)].assign(volume=bars["volume"].to_numpy()[order])
    highs = np.maximum(begins, ends) + above
    return _like(frame.set_axis(index), scale, *(x + lift for x in (begins, highs, lows, ends)))


def tick_walk(n_bars: int, interval: DurationLike = "15min", seed: int = 0) -> pd.DataFrame:
    """Return a random walk on a grid of ticks.

    A bar consists of 16 Gaussian moves, rounded to ticks. Their size varies around 6 ticks (its
    logarithm is autoregressive), so that quiet periods and single large bars occur. A bar opens at
    the previous close with probability 0.5, otherwise some ticks away from it.

    Args:
        n_bars: Number of bars.
        interval: Time between two bars.
        seed: Seed of all randomness.

    Raises:
        ConfigError: `n_bars` is below 2 or above `most_bars`, or `interval` is invalid.
    """
    interval = bar_interval(interval)
    if not 2 <= n_bars <= most_bars(interval):
        raise ConfigError(
            f"{n_bars} bars of {format_duration(interval)} to simulate",
            expected=f"from 2 to {most_bars(interval):,}",
            instead="set market.days to 365, for example",
        )
    rng = np.random.default_rng(seed)
    level = pd.Series(rng.normal(0, 0.3, n_bars)).ewm(halflife=20).mean().to_numpy() * 3
    size = 6 * np.exp(level + rng.normal(0, 0.5, n_bars))
    path = np.rint((rng.standard_normal((n_bars, _MOVES)) * size[:, None]).cumsum(axis=1))
    jump = rng.random(n_bars) < 0.5
    gap = np.where(jump, np.rint(rng.normal(0, 1, n_bars) * size), 0).astype(np.int64)
    path = path.astype(np.int64)
    close = _BASE + np.cumsum(gap + path[:, -1])
    opened = close - path[:, -1]
    high = opened + np.maximum(path.max(axis=1), 0)
    low = opened + np.minimum(path.min(axis=1), 0)
    index = pd.date_range(_START + interval, periods=n_bars, freq=interval)
    frame = pd.DataFrame({"volume": rng.lognormal(3, 0.5, n_bars)}, index=index)
    frame.attrs = {"interval": interval}
    return _like(frame, _TICKS_PER_UNIT, opened, high, low, close)


def most_bars(interval: pd.Timedelta) -> int:
    """Return how many bars a walk may have to end before 2100."""
    return int((_END - _START) / interval)


@register_source("tick_walk")
@settings("market")
class TickWalkSource:
    """Random walks on a grid of ticks, see `tick_walk`.

    Attributes:
        symbol: Name of the symbol.
        symbols: Names of several symbols; the first has the seed `seed`, the next `seed + 1`.
        days: Length of the period.
        interval: Time between two bars.
        seed: Seed of all randomness.
    """

    symbol: Symbol = "TICKS"
    symbols: Symbols | None = None
    days: Days = 365
    interval: Interval = pd.to_timedelta("15min")
    seed: int = 0

    def __post_init__(self) -> None:
        count_bars(self.days, self.interval)

    def load(self) -> dict[str, pd.DataFrame]:
        """Return the bars of each symbol."""
        n_bars = count_bars(self.days, self.interval)
        names = enumerate(self.symbols or (self.symbol,))
        return {name: tick_walk(n_bars, self.interval, self.seed + k) for k, name in names}


def _units(bars: pd.DataFrame) -> tuple[tuple[Ints, Ints, Ints, Ints], int]:
    """Return open, high, low and close as integers, and the integer that a price of 1 becomes."""
    decimals = max(0, _DIGITS - 1 - int(np.log10(bars["high"].max())))
    scale = 10**decimals
    opened, high, low, close = (
        np.rint(bars[name].to_numpy(np.float64) * scale).astype(np.int64) for name in COLUMNS[:4]
    )
    return (opened, high, low, close), scale


def _like(
    bars: pd.DataFrame, scale: int, opened: Ints, high: Ints, low: Ints, close: Ints
) -> pd.DataFrame:
    """Return bars of these integer prices, with the times and volumes of `bars`."""
    prices = dict(zip(COLUMNS, (opened, high, low, close), strict=False))
    # division gives the float nearest to the decimal number, as reading it from a text does
    columns = {name: values / scale for name, values in prices.items()}
    frame = pd.DataFrame(columns | {"volume": bars["volume"].to_numpy(np.float64)}, bars.index)
    return check_bars(frame, "synthetic bars", interval_of(bars))
