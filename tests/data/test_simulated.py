"""Simulated bars and their oracle, and sources of bars: registration, files, several symbols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn.metrics import roc_auc_score

from gafcnn.data.bars import COLUMNS, check_bars, interval_of, resample
from gafcnn.data.reading import FileSource, write_bars
from gafcnn.data.simulated import (
    MEMORY,
    VOLATILITY,
    SimulatedSource,
    SimulatedUniverseSource,
    TickWalkSource,
    most_bars,
    simulate,
    simulate_universe,
    tick_walk,
)
from gafcnn.data.sources import SOURCES, at_rest, load_bars, load_oracles, register_source
from gafcnn.errors import BarsError, ConfigError
from gafcnn.evaluation.statistics import rank_correlations
from gafcnn.settings import as_plain, create


def went_up(bars: pd.DataFrame, ahead: int) -> np.ndarray:
    close = bars["close"].to_numpy()
    return close[ahead:] > close[:-ahead]


def test_random_walk_has_its_volatility_and_no_memory() -> None:
    bars, oracle = simulate(50_000, strength=0, seed=2)
    assert (oracle == 0.5).all()
    assert oracle.index.equals(bars.index)
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


def test_each_symbol_has_a_seed_of_its_own() -> None:
    source = SimulatedSource(symbols=("ONE", "TWO"), days=1, seed=5)
    bars, oracle = simulate(1440, seed=6)
    assert_frame_equal(source.load()["TWO"], bars)
    assert_series_equal(source.oracles()["TWO"], oracle)
    walks = TickWalkSource(symbols=("ONE", "TWO"), days=1, seed=3).load()
    assert_frame_equal(walks["TWO"], tick_walk(96, seed=4))


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


# --- universes ------------------------------------------------------------------------------------


def forward(bars: dict[str, pd.DataFrame], ahead: int) -> Any:
    """The returns of the next bars by symbol and time."""
    returns = {key: one["close"].shift(-ahead) / one["close"] - 1 for key, one in bars.items()}
    return pd.concat(returns, names=["symbol", "time"])


@pytest.mark.parametrize(("strength", "ic"), [(-0.5, 0.13), (0.25, 0.10), (0.5, 0.24), (0.9, 0.74)])
def test_scores_reach_the_documented_rank_ic(strength: float, ic: float) -> None:
    bars, scores = simulate_universe(20, 8000, strength=strength, seed=4)
    table = scores.set_index(["symbol", "time"])["score"]
    found = forward(bars, 24).reindex(table.index)
    times = table.index.get_level_values("time")
    some = np.asarray(times.day % 2 == 0)
    reached = rank_correlations(table.to_numpy()[some], found.to_numpy()[some], times[some]).mean()
    assert reached == pytest.approx(ic, abs=0.025)


def test_scores_are_expected_returns_relative_to_the_cross_section() -> None:
    bars, scores = simulate_universe(10, 15_000, strength=0.75, seed=1, listed=0.3, delisted=0.3)
    table = scores.set_index(["symbol", "time"])["score"]
    assert_allclose(table.groupby("time").mean(), 0, atol=1e-12)
    returns = forward(bars, 24).reindex(table.index)
    relative = returns - returns.groupby("time").transform("mean")
    slope = (relative * table).sum() / (table[relative.notna()] ** 2).sum()
    assert slope == pytest.approx(1, abs=0.06)


def test_universe_without_signal() -> None:
    bars, scores = simulate_universe(3, 20_000, strength=0, seed=2)
    assert (scores["score"] == 0).all()
    closes = pd.DataFrame({symbol: one["close"] for symbol, one in bars.items()})
    returns = np.log(closes).diff().dropna()
    assert all(abs(one.autocorr()) < 0.02 for _, one in returns.items())
    assert returns.corr().to_numpy()[np.triu_indices(3, 1)].min() > 0.05  # of the market


def test_listings_and_delistings() -> None:
    bars, scores = simulate_universe(10, 500, listed=0.4, delisted=0.2, seed=3)
    firsts, lasts = ([one.index[at] for one in bars.values()] for at in (0, -1))
    assert sum(first > min(firsts) for first in firsts) == 4
    assert sum(last < max(lasts) for last in lasts) == 2
    for symbol, one in bars.items():
        check_bars(one, symbol)
        assert scores.loc[scores["symbol"] == symbol, "time"].tolist() == one.index.tolist()


def test_same_seed_gives_the_same_universe() -> None:
    bars, scores = simulate_universe(4, 300, seed=7)
    longer, of_longer = simulate_universe(4, 400, seed=7)
    larger, other = (simulate_universe(n, 300, seed=seed)[0] for n, seed in ((6, 7), (4, 8)))
    partly, _ = simulate_universe(4, 300, seed=7, listed=0.5, delisted=0.5)
    for symbol, one in bars.items():
        assert_frame_equal(one, longer[symbol].iloc[:300], check_exact=True, check_freq=False)
        assert_frame_equal(one, larger[symbol], check_exact=True)
        assert_frame_equal(one.loc[partly[symbol].index], partly[symbol], check_freq=False)
        assert not np.allclose(one["close"], other[symbol]["close"])
    known = of_longer[of_longer["time"] <= scores["time"].max()]
    assert_frame_equal(scores, known.reset_index(drop=True), check_exact=True)
    assert not np.allclose(bars["SIM000"]["close"], bars["SIM001"]["close"])


def test_source_of_a_universe() -> None:
    options = {"kind": "simulated_universe", "symbols": 3, "days": 9, "delisted": 0.4, "seed": 5}
    source = SOURCES.create(options, "market")
    assert SOURCES.create(as_plain(source), "market") == source
    bars, _ = simulate_universe(3, 216, seed=5, delisted=0.4)
    for symbol, one in load_bars(source).items():
        assert_frame_equal(one, bars[symbol])
    assert load_oracles(source) == {}


@pytest.mark.parametrize(
    "option",
    [{"symbols": 1}, {"strength": -1.0}, {"listed": 1.1}, {"delisted": -0.1}, {"seed": -1}],
)
def test_invalid_universes(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(option.values())))):
        simulate_universe(**option)
    with pytest.raises(ConfigError, match=rf"market\.{next(iter(option))} is"):
        SimulatedUniverseSource(**option)
    with pytest.raises(ConfigError, match=r"market\.days is 0\.5"):
        SimulatedUniverseSource(days=0.5)


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


# --- sources --------------------------------------------------------------------------------------

BARS, _ = simulate(60)


@dataclass(frozen=True)
class Given:
    """A user's own source, in its shortest form."""

    bars: Any

    def load(self) -> dict[str, pd.DataFrame]:
        return self.bars


def test_library_sources() -> None:
    source = SOURCES.create({"kind": "simulated", "days": 2, "symbols": ["A", "B"]}, "market")
    assert {"exchange", "file", "simulated", "tick_walk"} <= set(SOURCES)
    assert source == SimulatedSource(days=2, symbols=("A", "B"))
    assert SOURCES.create(as_plain(source), "market") == source
    assert set(load_bars(source)) == set(load_oracles(source)) == {"A", "B"}


def test_own_source() -> None:
    register_source("given")(Given)
    source = SOURCES.create({"kind": "given", "bars": {"ONE": BARS}}, "market")
    assert load_bars(source)["ONE"] is BARS
    assert load_oracles(source) == {}
    assert at_rest(source) is source
    with pytest.raises(BarsError, match="as_bars"):
        load_bars(Given({"ONE": pd.DataFrame(BARS.to_numpy())}))


@pytest.mark.parametrize("symbol", ["../BNB", "BNB/USDT", "", "..", ".BNB", "BNB\n", "BNB USDT"])
def test_symbol_that_cannot_be_a_file_name(symbol: str) -> None:
    with pytest.raises(ConfigError, match=r"market\.symbol"):
        SimulatedSource(symbol=symbol)
    with pytest.raises(ConfigError, match=r"market\.symbols"):
        SimulatedSource(symbols=("BNB", symbol))
    with pytest.raises(ConfigError, match="symbol"):
        load_bars(Given({symbol: BARS}))


@pytest.mark.parametrize("days", [float("nan"), float("inf"), "x", None, 0, -3, 1e-3, 10**9])
def test_days_that_are_not_a_period(days: Any) -> None:
    with pytest.raises(ConfigError, match=r"market\.days"):
        SimulatedSource(days=days).load()


def test_files_name_their_symbols(tmp_path: Path) -> None:
    paths = [tmp_path / "BTC-1m.parquet", tmp_path / "BRK.B.parquet"]
    for path in paths:
        write_bars(path, BARS)
    assert list(load_bars(FileSource(paths[0]))) == ["BTC-1m"]
    assert list(load_bars(FileSource(paths[0], symbol="BTC"))) == ["BTC"]
    assert list(load_bars(FileSource(tuple(paths)))) == ["BTC-1m", "BRK.B"]
    source = FileSource(tuple(paths), symbols=("BTC", "BRK.B"), interval="5min")  # pyright: ignore[reportArgumentType]
    bars = load_bars(source)
    assert_frame_equal(bars["BRK.B"], resample(BARS, "5min"), check_freq=False)
    assert SOURCES.create(as_plain(source), "market") == source


@pytest.mark.parametrize(
    "options",
    [{}, {"path": []}, {"path": "a.csv", "symbols": []}, {"path": "a.csv", "interval": "0min"},
     {"path": ["a.csv", "b.csv"], "symbols": ["one", "ONE"]}],
)  # fmt: skip
def test_invalid_files(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"market\."):
        create(FileSource, "market", options)


def test_symbols_have_one_interval_and_close_together() -> None:
    load_bars(Given({"ONE": BARS, "TWO": BARS[7:]}))
    with pytest.raises(ConfigError, match="15min"):
        load_bars(Given({"ONE": BARS, "TWO": resample(BARS, "15min")}))
    late = BARS.set_axis(BARS.index + pd.Timedelta("30s"))
    with pytest.raises(ConfigError, match="00:01:30"):
        load_bars(Given({"ONE": BARS, "TWO": late}))
