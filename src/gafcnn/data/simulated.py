"""Simulated markets: with a known signal, and random walks on a grid of ticks.

The first shows what a model finds of what exists. In the second nothing can be forecast, but every
candlestick pattern occurs.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from gafcnn.data.bars import check_bars
from gafcnn.data.sources import Days, Interval, Seed, Symbol, Symbols, count_bars, register_source
from gafcnn.durations import Duration, DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import ConfigError
from gafcnn.settings import settings

MEMORY = 8  # past returns that enter the next one
VOLATILITY = 6e-4  # standard deviation of the log return per minute, about 44 % per year
START, PRICE = pd.Timestamp("2024-01-01", tz="UTC"), 600.0
PATH_POINTS = 8  # moves inside a bar, which determine its high and low
WARM_UP = 1000  # bars that are simulated before the first and dropped

TICKS_PER_UNIT = 100  # the tick of a walk is 0.01, so that equal prices are exactly equal
FIRST_TICKS = 10**7  # first price of a walk in ticks, so high that none reaches 0
TICK_MOVES = 16  # moves inside a bar of a walk
WALK_START, WALK_END = pd.Timestamp("1980-01-01", tz="UTC"), pd.Timestamp("2099-12-31", tz="UTC")


def simulate(
    n_bars: int,
    interval: DurationLike = "1min",
    strength: float = 0.5,
    horizon: DurationLike = "15min",
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.Series]:
    """Simulate bars with momentum, and the exact probability that prices rise.

    One-bar log returns are an autoregression on the last m = 8 of them, with equal coefficients:

        r[t+1] = strength / m * (r[t] + ... + r[t-m+1]) + e[t+1],    e ~ N(0, sigma^2)

    Given all bars up to t, the return to the horizon h is Gaussian. Its mean is linear in the last
    m returns, its variance follows from the impulse response psi of the autoregression, so that

        P(close[t+h] > close[t]) = Phi(mean / sd),   sd^2 = sigma^2 sum_j (psi_0 + ... + psi_j)^2

    with j from 0 to h - 1. At a horizon of 15 bars, the AUC of this oracle is

        strength   0.0    0.25   0.5    0.75   0.9
        AUC        0.500  0.562  0.649  0.783  0.898

    A longer simulation with the same seed begins with the same bars.

    Args:
        n_bars: Number of bars.
        interval: Time between two bars.
        strength: 0 for a random walk, up to less than 1 for longer and longer trends.
        horizon: How far the oracle looks ahead; a multiple of the interval.
        seed: Seed of all randomness.

    Returns:
        Bars (see `gafcnn.data.bars`), and P(up) as float64 by close time, shape (n_bars,).

    Raises:
        ConfigError: `strength` is outside [0, 1), `n_bars` is below 2, or `seed` or a time is
            invalid.
    """
    from scipy.signal import lfilter  # scipy takes time to import, and only simulations need it
    from scipy.special import ndtr

    interval = parse_duration("market.interval", interval)
    if n_bars < 2 or not 0 <= strength < 1 or not interval or seed < 0:
        raise ConfigError(
            f"{n_bars} bars of {format_duration(interval)}, strength {strength} and seed {seed}",
            expected="2 bars or more, longer than 0, a strength from 0 to less than 1, and a seed "
            "of 0 or more",
            instead='call simulate(10_000, "1min", strength=0.5, seed=0), for example',
        )
    ahead = multiple_of("market.horizon", parse_duration("market.horizon", horizon), interval)
    moves, paths, volumes = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
    )
    sigma = VOLATILITY * np.sqrt(interval.total_seconds() / 60)

    shocks = sigma * moves.standard_normal(WARM_UP + n_bars)
    momentum = np.r_[1.0, np.full(MEMORY, -strength / MEMORY)]
    past = np.asarray(lfilter(np.ones(1), momentum, shocks))
    returns = past[WARM_UP:]

    # bars open at the previous close; a bridge of moves between open and close gives high and low
    close = PRICE * np.exp(returns.cumsum())
    opened = np.r_[PRICE, close[:-1]]
    share = np.arange(1, PATH_POINTS + 1) / PATH_POINTS
    walk = paths.normal(0, sigma / np.sqrt(PATH_POINTS), (n_bars, PATH_POINTS)).cumsum(axis=1)
    bridge = walk - share * walk[:, -1:] + share * returns[:, None]
    turns = opened[:, None] * np.exp(bridge)
    values = {
        "open": opened,
        "high": np.maximum.reduce([opened, close, turns.max(axis=1)]),
        "low": np.minimum.reduce([opened, close, turns.min(axis=1)]),
        "close": close,
        "volume": volumes.lognormal(3, 0.5, n_bars),
    }
    # the first bar opens at START
    index = pd.date_range(START + interval, periods=n_bars, freq=interval, unit="ns")

    # the return to the horizon: weights of the past returns, and its standard deviation
    transition = np.eye(MEMORY, k=-1)  # the state: the last m returns, newest first
    transition[0] = strength / MEMORY
    power, weights = np.eye(MEMORY), np.zeros(MEMORY)
    response = np.zeros(ahead)
    for step in range(ahead):
        response[step] = power[0, 0]
        power = transition @ power
        weights += power[0]  # weight of each past return, `step + 1` bars ahead
    deviation = sigma * float(np.sqrt((response.cumsum() ** 2).sum()))
    mean = np.asarray(lfilter(weights, np.ones(1), past))[WARM_UP:]
    bars = check_bars(pd.DataFrame(values, index), "the simulation", interval)
    oracle = pd.Series(ndtr(mean / deviation), index=bars.index, name="p_up")
    return bars, oracle


@register_source("simulated")
@settings("market")
class SimulatedSource:
    """Simulated markets with a known signal, see `simulate`.

    Attributes:
        symbol: Name of the symbol.
        symbols: Names of several symbols; the first has the seed `seed`, the next `seed + 1`.
        days: Length of the period.
        interval: Time between two bars.
        strength: Strength of the momentum, from 0 to less than 1.
        horizon: How far the oracle looks ahead.
        seed: Seed of all randomness.
    """

    symbol: Symbol = "SIMULATED"
    symbols: Symbols | None = None
    days: Days = 30
    interval: Interval = pd.to_timedelta("1min")
    strength: Annotated[float, Field(ge=0, lt=1)] = 0.5
    horizon: Duration = pd.to_timedelta("15min")
    seed: Seed = 0

    def load(self) -> dict[str, pd.DataFrame]:
        """Return the bars of each symbol."""
        return {symbol: bars for symbol, (bars, _) in self._simulate().items()}

    def oracles(self) -> dict[str, pd.Series]:
        """Return the exact P(up) of each symbol."""
        return {symbol: oracle for symbol, (_, oracle) in self._simulate().items()}

    def _simulate(self) -> dict[str, tuple[pd.DataFrame, pd.Series]]:
        n_bars = count_bars(self.days, self.interval)
        return {
            symbol: simulate(n_bars, self.interval, self.strength, self.horizon, self.seed + number)
            for number, symbol in enumerate(self.symbols or (self.symbol,))
        }


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
        ConfigError: `n_bars` is below 2 or above `most_bars`, or `interval` or `seed` is invalid.
    """
    interval = parse_duration("market.interval", interval)
    most = most_bars(interval) if interval else 0
    if not 2 <= n_bars <= most or seed < 0:
        raise ConfigError(
            f"{n_bars} bars of {format_duration(interval)} to simulate with seed {seed}",
            expected=f"from 2 to {most:,} bars, longer than 0, and a seed of 0 or more",
            instead="set market.days to 365, for example",
        )
    rng = np.random.default_rng(seed)
    level = pd.Series(rng.normal(0, 0.3, n_bars)).ewm(halflife=20).mean().to_numpy() * 3
    size = 6 * np.exp(level + rng.normal(0, 0.5, n_bars))
    path = np.rint((rng.standard_normal((n_bars, TICK_MOVES)) * size[:, None]).cumsum(axis=1))
    jump = rng.random(n_bars) < 0.5
    gap = np.where(jump, np.rint(rng.normal(0, 1, n_bars) * size), 0).astype(np.int64)
    path = path.astype(np.int64)
    close = FIRST_TICKS + np.cumsum(gap + path[:, -1])
    opened = close - path[:, -1]
    high = opened + np.maximum(path.max(axis=1), 0)
    low = opened + np.minimum(path.min(axis=1), 0)
    index = pd.date_range(WALK_START + interval, periods=n_bars, freq=interval)
    ticks = {"open": opened, "high": high, "low": low, "close": close}
    # division gives the float nearest to the decimal number, as reading it from a text does
    frame = pd.DataFrame({name: values / TICKS_PER_UNIT for name, values in ticks.items()}, index)
    return check_bars(frame.assign(volume=rng.lognormal(3, 0.5, n_bars)), "the walk", interval)


def most_bars(interval: pd.Timedelta) -> int:
    """Return how many bars a walk may have to end before 2100."""
    return int((WALK_END - WALK_START) / interval)


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
    seed: Seed = 0

    def load(self) -> dict[str, pd.DataFrame]:
        """Return the bars of each symbol."""
        n_bars = count_bars(self.days, self.interval)
        names = enumerate(self.symbols or (self.symbol,))
        return {name: tick_walk(n_bars, self.interval, self.seed + k) for k, name in names}
