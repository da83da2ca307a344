"""Simulated bars and their oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn.metrics import roc_auc_score

from gafcnn.data.bars import COLUMNS, check_bars, interval_of
from gafcnn.data.reading import read_bars
from gafcnn.data.simulated import (
    MEMORY,
    VOLATILITY,
    SimulatedSource,
    TickWalkSource,
    most_bars,
    simulate,
    tick_walk,
)
from gafcnn.errors import ConfigError


def went_up(bars: pd.DataFrame, ahead: int) -> np.ndarray:
    close = bars["close"].to_numpy()
    return close[ahead:] > close[:-ahead]


def test_oracle_without_signal() -> None:
    bars, oracle = simulate(500, strength=0, seed=1)
    assert (oracle == 0.5).all()
    assert oracle.index.equals(bars.index)


def test_random_walk_has_its_volatility_and_no_memory() -> None:
    bars, _ = simulate(50_000, strength=0, seed=2)
    returns = bars["close"].apply(np.log).diff().dropna()
    assert returns.std() == pytest.approx(VOLATILITY, rel=0.02)
    assert abs(returns.autocorr()) < 0.015


def test_oracle_agrees_with_monte_carlo() -> None:
    strength, ahead, at = 0.6, 7, 300
    bars, oracle = simulate(400, strength=strength, horizon=f"{ahead}min", seed=4)
    past = bars["close"].apply(np.log).diff().to_numpy()[at - MEMORY + 1 : at + 1]
    rng = np.random.default_rng(0)
    state = np.tile(past, (200_000, 1))
    total = np.zeros(len(state))
    for _ in range(ahead):
        new = strength * state[:, -MEMORY:].mean(axis=1) + VOLATILITY * rng.standard_normal(
            len(state)
        )
        state = np.column_stack([state, new])
        total += new
    assert oracle.iloc[at] == pytest.approx((total > 0).mean(), abs=0.005)


@pytest.mark.parametrize(("strength", "auc"), [(0.25, 0.562), (0.5, 0.649), (0.75, 0.783)])
def test_oracle_reaches_the_documented_auc(strength: float, auc: float) -> None:
    bars, oracle = simulate(300_000, strength=strength, seed=5)
    reached = roc_auc_score(went_up(bars, 15), oracle.to_numpy()[:-15])
    assert reached == pytest.approx(auc, abs=0.01)


def test_bars_are_valid() -> None:
    bars, _ = simulate(1000, interval="15min", horizon="1h", seed=6)
    check_bars(bars, "the simulation")
    assert interval_of(bars) == pd.Timedelta("15min")
    assert bars.index[0] == pd.Timestamp("2024-01-01 00:15", tz="UTC")
    assert bars["open"].iloc[1:].to_numpy() == pytest.approx(bars["close"].iloc[:-1].to_numpy())
    assert (bars["high"] > bars["low"]).all()


def test_same_seed_gives_the_same_bars() -> None:
    bars, oracle = simulate(300, seed=7)
    longer, known_longer = simulate(500, seed=7)
    other, _ = simulate(300, seed=8)
    assert_frame_equal(bars, longer.iloc[:300], check_exact=True, check_freq=False)
    assert_series_equal(oracle, known_longer.iloc[:300], check_exact=True, check_freq=False)
    assert not np.allclose(bars["close"], other["close"])


def test_bars_and_oracle_are_written(tmp_path: Path) -> None:
    source = SimulatedSource(symbols=("ONE", "TWO"), days=1, seed=5, folder=tmp_path)
    bars, oracles = source.load(), source.oracles()
    assert_frame_equal(bars["TWO"], simulate(1440, seed=6)[0])
    place = tmp_path / "TWO_1min"
    assert_frame_equal(read_bars(place / "bars.parquet"), bars["TWO"], check_freq=False)
    stored = pd.read_parquet(place / "oracle.parquet")["p_up"]
    assert_series_equal(stored, oracles["TWO"], check_freq=False)
    assert source.at_rest().folder is None


def test_invalid_simulations() -> None:
    for arguments in ({"strength": 1.5}, {"horizon": "90s"}, {"interval": "0min"}):
        with pytest.raises(ConfigError):
            simulate(100, **arguments)
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            SimulatedSource(**arguments).load()  # pyright: ignore[reportArgumentType]
    for make in (simulate, tick_walk):
        for arguments, fact in (({"n_bars": 1}, "1 bars"), ({"seed": -1}, "seed -1")):
            with pytest.raises(ConfigError, match=fact):
                make(**({"n_bars": 100} | arguments))
        with pytest.raises(ConfigError, match="bars of 0D"):
            make(100, "0min")
    for source in (SimulatedSource, TickWalkSource):
        with pytest.raises(ConfigError, match=r"market\.seed is -1"):
            source(seed=-1)


# --- random walks on a grid ---------------------------------------------------------------------


def test_tick_walk() -> None:
    bars = tick_walk(20_000, seed=4)
    assert_frame_equal(bars, tick_walk(20_000, seed=4))
    assert not bars.equals(tick_walk(20_000, seed=5))
    at_the_close = bars["open"].to_numpy()[1:] == bars["close"].to_numpy()[:-1]
    assert 0.45 < at_the_close.mean() < 0.6
    ticks = bars[list(COLUMNS[:4])].to_numpy() * 100
    assert_allclose(ticks, np.rint(ticks), atol=1e-6)


def test_walks_end_before_2100() -> None:
    days = most_bars(pd.Timedelta("1D"))
    assert tick_walk(days, "1D").index[-1].year == 2099
    with pytest.raises(ConfigError, match=f"{days:,}"):
        tick_walk(days + 1, "1D")


def test_source_of_walks() -> None:
    bars = TickWalkSource(symbols=("ONE", "TWO"), days=1, seed=3).load()
    assert_frame_equal(bars["TWO"], tick_walk(96, seed=4))
