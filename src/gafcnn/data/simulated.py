"""Simulated markets: with a known signal, and random walks on a grid of ticks.

The first, of one symbol or a universe of them, shows what a model finds of what exists. In the
second nothing can be forecast, but every candlestick pattern occurs.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.data.bars import check_bars
from gafcnn.data.sources import Days, Interval, Seed, Symbol, Symbols, count_bars, register_source
from gafcnn.durations import Duration, DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import ConfigError
from gafcnn.settings import settings

Floats = NDArray[np.float64]

MEMORY = 8  # past returns that enter the next one
VOLATILITY = 6e-4  # standard deviation of the log return per minute, about 44 % per year
START, PRICE = pd.Timestamp("2024-01-01", tz="UTC"), 600.0
PATH_POINTS = 8  # moves inside a bar, which determine its high and low
WARM_UP = 1000  # bars that are simulated before the first and dropped

MARKET = 0.5  # volatility of a universe's market factor, as a multiple of a symbol's own
BETAS = (0.5, 1.5)  # range of the exposures to it
LEAST_BARS = 20  # of a universe, so that each symbol has some

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
        ConfigError: An option is out of its range.
    """
    from scipy.special import ndtr  # scipy takes time to import, and only simulations need it

    interval = parse_duration("market.interval", interval)
    if n_bars < 2 or not 0 <= strength < 1 or not interval or seed < 0:
        raise ConfigError(
            f"{n_bars} bars of {format_duration(interval)}, strength {strength} and seed {seed}",
            expected="2 bars or more, longer than 0, 0 <= strength < 1, and a seed of 0 or more",
            instead='call simulate(10_000, "1min", strength=0.5, seed=0), for example',
        )
    ahead = multiple_of("market.horizon", parse_duration("market.horizon", horizon), interval)
    moves, paths, volumes = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
    )
    sigma = _volatility(interval)
    returns, mean, variance = _momentum(sigma * _draw(moves, n_bars), strength, ahead)
    bars = _bars(returns, sigma, interval, paths, volumes)
    probability = ndtr(mean / (sigma * float(np.sqrt(variance))))
    return bars, pd.Series(probability, index=bars.index, name="p_up")


def simulate_universe(
    symbols: int = 20,
    n_bars: int = 4320,
    interval: DurationLike = "1h",
    strength: float = 0.5,
    horizon: DurationLike = "1D",
    seed: int = 0,
    *,
    listed: float = 0.0,
    delisted: float = 0.0,
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Simulate bars of many symbols, and the exact expected return of each relative to the others.

    The one-bar log return of symbol i is a share of the market's, and momentum of its own:

        r_i[t+1] = beta_i m[t+1] + u_i[t+1] - d_i,    beta_i ~ U(0.5, 1.5),    m ~ N(0, sigma^2 / 4)

    The market m cannot be forecast. The momentum u_i is the autoregression of `simulate`, with
    shocks of variance sigma^2; a negative strength makes it a reversal. The drift
    `d_i = (beta_i^2 / 4 + 1) sigma^2 / 2` makes prices martingales without a signal. With the mean
    and variance of the return of u_i to the horizon of h bars, the expected simple return is

        exp(mean_i[t] + (variance - h sigma^2) / 2) - 1

    The score is this less its mean over the symbols that have a bar at t. With hourly bars, a
    horizon of a day and 20 symbols, the mean rank correlation of the score and the return (rank IC)
    is

        strength   -0.9   -0.5   0.0    0.1    0.25   0.5    0.75   0.9
        rank IC    0.21   0.13   0.00   0.04   0.10   0.24   0.49   0.74

    The first symbols of a larger universe are the same, and a longer simulation with the same seed
    begins with the same bars; listings and delistings are at shares of the whole period.

    Args:
        symbols: Number of symbols, at least two.
        n_bars: Number of bars of the whole period, at least 20.
        interval: Time between two bars.
        strength: From -1 to 1, both excluded; 0 for no signal.
        horizon: How far the score looks ahead; a multiple of the interval.
        seed: Seed of all randomness.
        listed: Share of the symbols that begin later, between 10 % and 45 % of the period.
        delisted: Share that end earlier, between 55 % and 90 % of the period, without a warning:
            scores until then are those of a symbol that goes on.

    Returns:
        The bars of each symbol (see `gafcnn.data.bars`), and a table with `symbol`, `time` and
        `score`, a row per bar.
    """
    interval = parse_duration("market.interval", interval)
    valid = symbols >= 2 and n_bars >= LEAST_BARS and interval and seed >= 0
    if not (valid and abs(strength) < 1 and 0 <= listed <= 1 and 0 <= delisted <= 1):
        raise ConfigError(
            f"{symbols} symbols, {n_bars} bars of {format_duration(interval)}, strength "
            f"{strength}, listed {listed}, delisted {delisted} and seed {seed}",
            expected=f"2 symbols, {LEAST_BARS} bars, |strength| < 1, shares in [0, 1], seed >= 0",
            instead='call simulate_universe(20, 4320, "1h", strength=0.5), for example',
        )
    ahead = multiple_of("market.horizon", parse_duration("market.horizon", horizon), interval)
    of_market, of_period, *of_symbols = np.random.SeedSequence(seed).spawn(2 + symbols)
    sigma = _volatility(interval)
    market = MARKET * sigma * _draw(np.random.default_rng(of_market), n_bars)[WARM_UP:]
    rows = _periods(symbols, n_bars, listed, delisted, np.random.default_rng(of_period))
    bars, scores = {}, {}
    for number, own in enumerate(of_symbols):
        moves, paths, volumes, kind = (np.random.default_rng(s) for s in own.spawn(4))
        beta, size = kind.uniform(*BETAS), kind.lognormal()
        momentum, mean, variance = _momentum(sigma * _draw(moves, n_bars), strength, ahead)
        returns = beta * market + momentum - (beta**2 * MARKET**2 + 1) * sigma**2 / 2
        traded, symbol = rows[number], f"SIM{number:03}"
        bars[symbol] = _bars(returns, sigma, interval, paths, volumes, size).iloc[traded]
        expected = np.expm1(mean + (variance - ahead) * sigma**2 / 2)
        scores[symbol] = pd.Series(expected[traded], bars[symbol].index)
    found = pd.DataFrame(scores).rename_axis("time")
    relative: Any = found.sub(found.mean(axis="columns"), axis="index")
    table = relative.melt(ignore_index=False, var_name="symbol", value_name="score").dropna()
    return bars, table.reset_index().filter(["symbol", "time", "score"])


def _volatility(interval: pd.Timedelta) -> float:
    return float(VOLATILITY * np.sqrt(interval.total_seconds() / 60))


def _draw(rng: np.random.Generator, n_bars: int) -> Floats:
    return rng.standard_normal(WARM_UP + n_bars)


def _momentum(shocks: Floats, strength: float, ahead: int) -> tuple[Floats, Floats, float]:
    """Return autoregressive returns, and expectation (n,) and variance of the sum of the next ones.

    The variance is in units of that of the shocks, of shape (WARM_UP + n,).
    """
    from scipy.signal import lfilter

    past = np.asarray(lfilter(np.ones(1), np.r_[1.0, np.full(MEMORY, -strength / MEMORY)], shocks))
    transition = np.eye(MEMORY, k=-1)  # the state: the last m returns, newest first
    transition[0] = strength / MEMORY
    power, weights = np.eye(MEMORY), np.zeros(MEMORY)
    response = np.zeros(ahead)
    for step in range(ahead):
        response[step] = power[0, 0]
        power = transition @ power
        weights += power[0]  # weight of each past return, `step + 1` bars ahead
    mean = np.asarray(lfilter(weights, np.ones(1), past))
    return past[WARM_UP:], mean[WARM_UP:], float((response.cumsum() ** 2).sum())


def _bars(
    returns: Floats,
    sigma: float,
    interval: pd.Timedelta,
    paths: np.random.Generator,
    volumes: np.random.Generator,
    size: float = 1.0,
) -> pd.DataFrame:
    """Return bars of these log returns; the first opens at `START`."""
    # bars open at the previous close; a bridge of moves between open and close gives high and low
    close = PRICE * np.exp(returns.cumsum())
    opened = np.r_[PRICE, close[:-1]]
    share = np.arange(1, PATH_POINTS + 1) / PATH_POINTS
    moves = paths.normal(0, sigma / np.sqrt(PATH_POINTS), (len(returns), PATH_POINTS))
    walk = moves.cumsum(axis=1)
    bridge = walk - share * walk[:, -1:] + share * returns[:, None]
    turns = opened[:, None] * np.exp(bridge)
    values = {
        "open": opened,
        "high": np.maximum.reduce([opened, close, turns.max(axis=1)]),
        "low": np.minimum.reduce([opened, close, turns.min(axis=1)]),
        "close": close,
        "volume": size * volumes.lognormal(3, 0.5, len(returns)),
    }
    index = pd.date_range(START + interval, periods=len(returns), freq=interval, unit="ns")
    return _simulated(pd.DataFrame(values, index), interval)


def _simulated(frame: pd.DataFrame, interval: pd.Timedelta) -> pd.DataFrame:
    bars = check_bars(frame, "the simulation", interval)
    bars.attrs["simulated"] = True  # which a report says
    return bars


def _periods(
    symbols: int, n_bars: int, listed: float, delisted: float, rng: np.random.Generator
) -> list[slice]:
    """Return the rows of the whole period in which each symbol is traded."""
    begins, ends = rng.uniform(0.1, 0.45, symbols), rng.uniform(0.55, 0.9, symbols)
    begins[rng.permutation(symbols)[round(listed * symbols) :]] = 0
    ends[rng.permutation(symbols)[round(delisted * symbols) :]] = 1
    first, stop = (np.rint(share * n_bars).astype(int).tolist() for share in (begins, ends))
    return [slice(*rows) for rows in zip(first, stop, strict=True)]


@register_source("simulated")
@settings("market")
class SimulatedSource:
    """Simulated markets with a known signal, with the options of `simulate`.

    Of several `symbols` the first has the seed `seed`, the next `seed + 1` and so on; `days` is the
    length of the period.
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


@register_source("simulated_universe")
@settings("market")
class SimulatedUniverseSource:
    """A universe with a known signal, see `simulate_universe`; `days` is the whole period."""

    symbols: Annotated[int, Field(ge=2)] = 20
    days: Days = 180
    interval: Interval = pd.to_timedelta("1h")
    strength: Annotated[float, Field(gt=-1, lt=1)] = 0.5
    horizon: Duration = pd.to_timedelta("1D")
    seed: Seed = 0
    listed: Annotated[float, Field(ge=0, le=1)] = 0.0
    delisted: Annotated[float, Field(ge=0, le=1)] = 0.0

    def __post_init__(self) -> None:
        count_bars(self.days, self.interval, LEAST_BARS)

    def load(self) -> dict[str, pd.DataFrame]:
        """Return the bars of each symbol."""
        n_bars = count_bars(self.days, self.interval)
        options = self.interval, self.strength, self.horizon, self.seed
        ends = {"listed": self.listed, "delisted": self.delisted}
        return simulate_universe(self.symbols, n_bars, *options, **ends)[0]


def tick_walk(n_bars: int, interval: DurationLike = "15min", seed: int = 0) -> pd.DataFrame:
    """Return a random walk on a grid of ticks.

    A bar consists of 16 Gaussian moves, rounded to ticks. Their size varies around 6 ticks (its
    logarithm is autoregressive), so that quiet periods and single large bars occur. A bar opens at
    the previous close with probability 0.5, otherwise some ticks away from it.

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
    return _simulated(frame.assign(volume=rng.lognormal(3, 0.5, n_bars)), interval)


def most_bars(interval: pd.Timedelta) -> int:
    """Return how many bars a walk may have to end before 2100."""
    return int((WALK_END - WALK_START) / interval)


@register_source("tick_walk")
@settings("market")
class TickWalkSource:
    """Random walks on a grid of ticks, see `tick_walk`; symbols are as of `SimulatedSource`."""

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
