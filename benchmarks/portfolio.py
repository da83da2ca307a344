"""Duration of portfolios: ten models on 100 symbols and 50,000 bars, with a decision at each bar.

python benchmarks/portfolio.py [--bars 50000] [--symbols 100] [--models 10]
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd
from timing import machine, seconds

from gafcnn.data.bars import check_bars
from gafcnn.evaluation.portfolio import PortfolioRules, PortfolioTrial

TARGET = 30.0  # seconds
BAND, COST = 0.5, 5e-4
PART = 300  # decisions of the plain loop


def main() -> None:
    """Measure the alignment of the market, each model, and a plain loop on a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=50_000)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--models", type=int, default=10)
    options = parser.parse_args()
    bars = walks(options.bars, options.symbols)
    rows = decisions(bars)
    rng = np.random.default_rng(1)
    small, rules = rows[rows["time"] < rows["time"].iloc[9]], PortfolioRules()
    # compiles
    PortfolioTrial(small.assign(split="test"), bars, "1h", rules).trade(np.arange(len(small)))
    trials, busy = [], time.process_time()
    aligned = seconds(lambda: trials.append(PortfolioTrial(rows, bars, "1h", rules)))
    scores = (rng.normal(size=len(rows)) for _ in range(options.models))
    models = sum(seconds(lambda one=one: trials[0].trade(one)) for one in scores)
    total, busy = aligned + models, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{machine()}: {options.symbols} symbols, {options.bars:,} bars, {options.models} models")
    print(f"alignment {aligned:.1f} s, models {models:.1f} s with the choice among 12 candidates")
    print(f"total {total:.1f} s, target {TARGET:.0f} s, ratio {total / TARGET:.2f}")
    print(f"CPU time {busy:.1f} s, peak memory {peak:.1f} GB")
    table, price = loop_input(bars, rng)
    begun = time.process_time()
    plain_loop(table, price)
    slow, fast = (time.process_time() - begun) / PART, busy / options.bars / options.models
    print(
        f"plain pandas loop: {1e3 * slow:.2f} ms of CPU per decision; {slow / fast:.0f} times more"
    )


def walks(n: int, symbols: int) -> dict[str, pd.DataFrame]:
    """Return random walks of 15-minute bars."""
    times = pd.date_range("2023-01-01", periods=n, freq="15min", tz="UTC")
    rng, bars = np.random.default_rng(0), {}
    for k in range(symbols):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 2e-3, n)))
        opens = np.r_[100.0, close[:-1]]
        high, low = np.maximum(opens, close), np.minimum(opens, close)
        prices = {"open": opens, "high": high, "low": low, "close": close, "volume": 1e4}
        bars[f"S{k:03}"] = check_bars(pd.DataFrame(prices, times), "walks", "15min")
    return bars


def decisions(bars: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return a row per symbol and bar; the first tenth is for validation."""
    times = next(iter(bars.values())).index
    rows = pd.DataFrame({"time": np.tile(times, len(bars))})
    rows["symbol"] = pd.Categorical.from_codes(np.repeat(range(len(bars)), len(times)), [*bars])
    rows["split"] = np.where(rows["time"] < times[len(times) // 10], "val", "test")
    return rows


def loop_input(bars: dict[str, pd.DataFrame], rng: np.random.Generator) -> tuple:
    """Return scores and opens of the part, a column per symbol."""
    times = next(iter(bars.values())).index[100 : 100 + PART]
    table = pd.DataFrame(rng.normal(size=(PART, len(bars))), times, [*bars])
    return table, pd.DataFrame({name: frame["open"] for name, frame in bars.items()})


def plain_loop(table: pd.DataFrame, price: pd.DataFrame) -> pd.Series:
    """Trade quantiles with a band, in a loop over decisions with pandas."""
    held, found = pd.Series(0.0, table.columns), {}
    for when, scores in table.iterrows():
        rank = scores.rank(pct=True)
        long, short = rank > 0.8, rank <= 0.2
        target = 0.5 * long / long.sum() - 0.5 * short / short.sum()
        unit = 1 / (target != 0).sum()
        weights = target.where((target - held).abs() > BAND * unit, held)
        after = price.loc[when:].iloc[1:3]
        returns = after.iloc[1] / after.iloc[0] - 1
        gross = (weights * returns).sum()
        found[when] = gross - (weights - held).abs().sum() * COST
        held = weights * (1 + returns) / (1 + gross)
    return pd.Series(found)


if __name__ == "__main__":
    main()
