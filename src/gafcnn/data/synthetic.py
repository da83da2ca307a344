"""Bars that never were: made of real ones, or of nothing but chance. To learn from, never to judge.

All stand on a grid, as real prices do, so that equal prices are equal to the last bit: rules that
compare an open with the close before meet both cases.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import COLUMNS, bar_interval, check_bars, interval_of
from gafcnn.data.sources import Market, check_symbol, count_bars
from gafcnn.durations import DurationLike, format_duration
from gafcnn.errors import ConfigError

Ints = NDArray[np.int64]

DIGITS = 14  # of a price that count: whole numbers of so many are exact, and so are their sums
TICKS_A_UNIT = 100  # of `tick_walk`: its tick is 0.01
_BASE = 10**7  # ticks; far above any walk
_MOVES = 16  # inside a bar, of which its high and low are made
_START, _END = pd.Timestamp("1980-01-01", tz="UTC"), pd.Timestamp("2099-12-31", tz="UTC")


def mirrored(bars: pd.DataFrame) -> pd.DataFrame:
    """The bars upside down: each price p becomes K - p, with K so large that all stay positive.

    Every rise is a fall of the same size, every upper shadow a lower one; times, gaps in time and
    volumes are kept.
    """
    (opened, high, low, close), scale = _units(bars)
    top = 2 * int(high.max())
    return _like(bars, scale, top - opened, top - low, top - high, top - close)


def shuffled(bars: pd.DataFrame, block: int = 200, seed: int = 0) -> pd.DataFrame:
    """The bars' candles in another order, `block` after `block`.

    A candle is its gap from the close before, its body and its shadows, all in units of price, and
    its volume. Inside a block, candles of about the same time and volatility follow each other in
    random order; where the order is another, so are the patterns. The bars left over at the end are
    left out. A gap in time is closed, and the candle after it opens at the close before.

    Args:
        bars: Bars indexed by close time.
        block: Candles that are shuffled among themselves.
        seed: Of the order.

    Returns:
        Bars of the same interval from the same first time on, without a gap.

    Raises:
        ConfigError: There are fewer bars than a block.
    """
    if not 1 < block <= len(bars):
        raise ConfigError(
            f"a block of {block} candles of {len(bars)} bars",
            expected="at least two candles, and no more than there are bars",
            instead=f"set augmentation.block to {max(2, len(bars) // 4)}, say, or give more bars",
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
    lift = max(0, 1 - int(lows.min()))  # sums of moves in another order may fall below zero
    index = pd.date_range(bars.index[0], periods=len(order), freq=interval_of(bars))
    frame = bars.iloc[: len(order)].assign(volume=bars["volume"].to_numpy()[order])
    highs = np.maximum(begins, ends) + above
    return _like(frame.set_axis(index), scale, *(x + lift for x in (begins, highs, lows, ends)))


def tick_walk(n_bars: int, interval: DurationLike = "15min", seed: int = 0) -> pd.DataFrame:
    """A random walk on a grid of ticks, of bars that open where the last one closed, or beside it.

    A bar is 16 Gaussian moves, rounded to ticks. Their size is drawn around 6 ticks and wanders
    (an autoregression of its logarithm), so that quiet stretches and single large bars both occur.
    Every other bar, by chance, opens some ticks away from the close before.

    Args:
        n_bars: Number of bars.
        interval: Time between two bars.
        seed: Seed of all randomness.

    Raises:
        ConfigError: There are fewer than two bars, more than fit in a calendar (`most_bars`), or an
            interval of no length.
    """
    interval = bar_interval(interval)
    if not 2 <= n_bars <= most_bars(interval):
        raise ConfigError(
            f"{n_bars} bars of {format_duration(interval)} to simulate",
            expected=f"two or more, and at most {most_bars(interval):,}",
            instead="set market.days to 365, say",
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
    return _like(frame, TICKS_A_UNIT, opened, high, low, close)


def most_bars(interval: pd.Timedelta) -> int:
    """How many bars a walk may have, so that its calendar ends in this century."""
    return int((_END - _START) / interval)


def from_tick_walk(symbol: str, days: float, interval: DurationLike, seed: int) -> Market:
    """A market that is a random walk on a grid of ticks, see `tick_walk`.

    Raises:
        ConfigError: The symbol is no plain name, or `days` is no number of days.
    """
    check_symbol(symbol)
    return Market(symbol, tick_walk(count_bars(days, bar_interval(interval)), interval, seed))


def _units(bars: pd.DataFrame) -> tuple[tuple[Ints, Ints, Ints, Ints], int]:
    """Open, high, low and close as whole numbers, and how many of these are a price of 1."""
    decimals = max(0, DIGITS - 1 - int(np.log10(bars["high"].max())))
    scale = 10**decimals
    opened, high, low, close = (
        np.rint(bars[name].to_numpy(np.float64) * scale).astype(np.int64) for name in COLUMNS[:4]
    )
    return (opened, high, low, close), scale


def _like(
    bars: pd.DataFrame, scale: int, opened: Ints, high: Ints, low: Ints, close: Ints
) -> pd.DataFrame:
    """Bars of these prices, in whole numbers, at the times and with the volume of others."""
    prices = dict(zip(COLUMNS, (opened, high, low, close), strict=False))
    # divided, not multiplied: so that a price is the float that its decimals are read as
    columns = {name: values / scale for name, values in prices.items()}
    frame = pd.DataFrame(columns | {"volume": bars["volume"].to_numpy(np.float64)}, bars.index)
    return check_bars(frame, "synthetic bars", interval_of(bars))
