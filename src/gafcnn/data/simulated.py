"""A market whose signal is known: what a model finds can be compared with what there is to find."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from gafcnn.atomic_io import make_folder, wait_for_lock, write_bytes, write_json
from gafcnn.data.bars import bar_interval, check_bars
from gafcnn.data.reading import write_bars
from gafcnn.data.sources import Market, check_symbol, count_bars
from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import ConfigError

MADE_OF, LOCK = "simulation.json", ".lock"

MEMORY = 8  # bars that the momentum of the next one is made of
VOLATILITY = 6e-4  # a minute, of the log return: about 44 % a year
START, PRICE = pd.Timestamp("2024-01-01", tz="UTC"), 600.0
PATH_POINTS = 8  # moves inside a bar, of which its high and low are made
WARM_UP = 1000  # bars before the first, after which the process has forgotten where it began


def simulate(
    n_bars: int,
    interval: DurationLike = "1min",
    strength: float = 0.5,
    horizon: DurationLike = "15min",
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.Series]:
    """Simulate bars with a planted momentum, and the exact probability that prices rise.

    One-bar log returns are an autoregression on the last m = 8 of them, with equal coefficients:

        r[t+1] = strength / m * (r[t] + ... + r[t-m+1]) + e[t+1],    e ~ N(0, sigma^2)

    Given all bars up to t, the return to the horizon h is Gaussian. Its mean is linear in the last
    m returns, its variance follows from the impulse response psi of the autoregression, so that

        P(close[t+h] > close[t]) = Phi(mean / sd),   sd^2 = sigma^2 sum_j (psi_0 + ... + psi_j)^2

    with j from 0 to h - 1. At a horizon of 15 bars this oracle reaches an AUC of

        strength   0.0    0.25   0.5    0.75   0.9
        AUC        0.500  0.562  0.649  0.783  0.898

    More bars of the same seed begin with the same bars.

    Args:
        n_bars: Number of bars.
        interval: Time between two bars.
        strength: 0 for a random walk, up to, but not including, 1 for ever longer trends.
        horizon: How far the oracle looks ahead; a multiple of the interval.
        seed: Seed of all randomness.

    Returns:
        Bars (see `gafcnn.data.bars`), and P(up) as float64 by close time, shape (n_bars,).

    Raises:
        ConfigError: For a strength outside [0, 1), too few bars, an interval of no length, or a
            horizon between two bars.
    """
    interval = bar_interval(interval)
    ahead = multiple_of("market.horizon", parse_duration("market.horizon", horizon), interval)
    _check(n_bars, strength)
    moves, paths, volumes = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
    )
    sigma = VOLATILITY * np.sqrt(interval.total_seconds() / 60)

    shocks = sigma * moves.standard_normal(WARM_UP + n_bars)
    momentum = np.r_[1.0, np.full(MEMORY, -strength / MEMORY)]
    past = _filtered(np.ones(1), momentum, shocks)
    returns = past[WARM_UP:]

    first = START + interval  # the close of the bar that opens with the year
    index = pd.date_range(first, periods=n_bars, freq=interval, name="close_time", unit="ns")
    bars = _bars(returns, sigma, paths, volumes).set_index(index)
    mean, deviation = _forecast(past, strength, ahead, sigma)
    oracle = pd.Series(ndtr(mean[WARM_UP:] / deviation), index=index, name="p_up")
    return check_bars(bars, "the simulation", interval), oracle


def from_simulation(
    symbol: str,
    days: float,
    interval: DurationLike,
    strength: float,
    horizon: DurationLike,
    seed: int,
    folder: str | Path | None,
) -> Market:
    """A simulated market, kept as `folder/<symbol>_<interval>/{bars,oracle}.parquet`, if anywhere.

    Raises:
        ConfigError: The symbol is no plain name, `days` is no number of days, or see `simulate`.
    """
    check_symbol(symbol)
    interval = bar_interval(interval)
    n_bars = count_bars(days, interval)
    bars, oracle = simulate(n_bars, interval, strength, horizon, seed)
    made_of = {
        "n_bars": n_bars,
        "interval": format_duration(interval),
        "strength": strength,
        "horizon": format_duration(parse_duration("market.horizon", horizon)),
        "seed": seed,
    }
    if folder is not None:
        _keep(Path(folder, f"{symbol}_{format_duration(interval)}"), bars, oracle, made_of)
    return Market(symbol, bars, oracle)


def _keep(kept: Path, bars: pd.DataFrame, oracle: pd.Series, made_of: dict[str, object]) -> None:
    if _holds(kept, made_of):
        return
    make_folder(kept)
    with wait_for_lock(kept / LOCK, f"writing {kept}"):
        if not _holds(kept, made_of):
            (kept / MADE_OF).unlink(missing_ok=True)  # until bars and oracle are both there
            write_bars(kept / "bars.parquet", bars)
            write_bytes(kept / "oracle.parquet", oracle.to_frame().to_parquet(None))
            write_json(kept / MADE_OF, made_of)


def _check(n_bars: int, strength: float) -> None:
    if not 0 <= strength < 1:
        raise ConfigError(
            f"market.strength={strength}",
            expected="0 for a random walk, or up to (not including) 1",
            instead="set market.strength=0.5",
        )
    if n_bars < 2:
        raise ConfigError(
            f"{n_bars} bars to simulate",
            expected="two or more",
            instead="set market.days=30",
        )


def _bars(
    returns: NDArray[np.float64],
    sigma: float,
    paths: np.random.Generator,
    volumes: np.random.Generator,
) -> pd.DataFrame:
    """Bars around given close-to-close log returns: each opens where the last one closed."""
    n, steps = len(returns), np.arange(1, PATH_POINTS + 1) / PATH_POINTS
    walk = paths.normal(0, sigma / np.sqrt(PATH_POINTS), (n, PATH_POINTS)).cumsum(axis=1)
    bridge = walk - steps * walk[:, -1:] + steps * returns[:, None]  # ends at the bar's return
    close = PRICE * np.exp(returns.cumsum())
    opened = np.r_[PRICE, close[:-1]]
    turns = opened[:, None] * np.exp(bridge)
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum.reduce([opened, close, turns.max(axis=1)]),
            "low": np.minimum.reduce([opened, close, turns.min(axis=1)]),
            "close": close,
            "volume": volumes.lognormal(3, 0.5, n),
        }
    )


def _forecast(
    returns: NDArray[np.float64], strength: float, ahead: int, sigma: float
) -> tuple[NDArray[np.float64], float]:
    """Mean and standard deviation of the log return over the next `ahead` bars, given the past."""
    transition = np.eye(MEMORY, k=-1)  # the state is the last m returns, the newest first
    transition[0] = strength / MEMORY
    power, summed = np.eye(MEMORY), np.zeros(MEMORY)
    response = np.zeros(ahead)
    for step in range(ahead):
        response[step] = power[0, 0]
        power = transition @ power
        summed += power[0]  # what each past return adds to the return `step + 1` bars ahead
    mean = _filtered(summed, np.ones(1), returns)
    return mean, sigma * float(np.sqrt((response.cumsum() ** 2).sum()))


def _holds(folder: Path, made_of: dict[str, object]) -> bool:
    if not all((folder / name).is_file() for name in ("bars.parquet", "oracle.parquet")):
        return False
    try:
        return json.loads((folder / MADE_OF).read_text(encoding="utf-8")) == made_of
    except (OSError, ValueError):
        return False


def _filtered(
    past: NDArray[np.float64], own: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A linear filter of values, by the weights of their past and of its own."""
    from scipy.signal import lfilter  # takes 70 MB, which whoever only reads bars need not have

    return np.asarray(lfilter(past, own, values))
