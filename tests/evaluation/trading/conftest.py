"""Small markets: some to trade by hand, and random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from gafcnn.evaluation.backtest import Backtest, backtest
from gafcnn.evaluation.positions import positions
from gafcnn.evaluation.trading_rules import TradingRules as Rules

MINUTE = pd.Timedelta("1min")


def make_bars(
    prices: Sequence[tuple[float, float, float, float]], missing: Sequence[int] = ()
) -> pd.DataFrame:
    """Minute bars of (open, high, low, close), the first of which closes at 00:01.

    The minutes that are `missing`, counted from 0, have no bar; later bars shift back.
    """
    minutes = np.setdiff1d(np.arange(len(prices) + len(missing)), missing)
    index = pd.DatetimeIndex(
        pd.Timestamp("2025-06-20 00:01", tz="UTC") + MINUTE * minutes, name="close_time"
    ).as_unit("ns")
    bars = pd.DataFrame(prices, index, ["open", "high", "low", "close"], dtype=np.float64)
    bars["volume"] = 1.0
    bars.attrs = {"interval": MINUTE, "label": "close"}
    return bars


def random_bars(n: int, seed: int, missing: Sequence[int] = ()) -> pd.DataFrame:
    """A random walk of about 10 bps per bar, with jumps between bars."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    opens = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0, 5e-4, n))
    high = np.maximum(opens, close) * np.exp(rng.exponential(3e-4, n))
    low = np.minimum(opens, close) * np.exp(-rng.exponential(3e-4, n))
    return make_bars(list(zip(opens, high, low, close, strict=True)), missing)


@pytest.fixture(scope="session")
def bars_of() -> Callable[..., pd.DataFrame]:
    return make_bars


@pytest.fixture(scope="session")
def walk() -> Callable[..., pd.DataFrame]:
    return random_bars


@dataclass(frozen=True)
class Market:
    """Bars, and positions at some of their rows."""

    bars: pd.DataFrame
    rows: list[int]
    position: list[int]
    ahead: int
    rules: Rules

    def backtest(self) -> Backtest:
        times = self.bars.index[self.rows]
        return backtest(self.bars, times, self.position, self.ahead * MINUTE, self.rules)


@pytest.fixture(scope="session")
def market() -> Callable[[int, int, Rules], Market]:
    """A random market with a gap, and random positions at some of its rows."""

    def draw(seed: int, ahead: int, rules: Rules) -> Market:
        rng = np.random.default_rng([seed, ahead])
        n, gap = 40, int(rng.integers(1, 40))
        bars = random_bars(n, seed, missing=range(gap, gap + int(rng.integers(1, 4))))
        whole = [i for i in range(n - ahead) if not i < gap <= i + ahead]
        rows = sorted(rng.choice(whole, int(rng.integers(1, len(whole) + 1)), replace=False))
        position = positions(rng.random(len(rows)), rng.uniform(0, 0.4), rules.sides)
        return Market(bars, rows, position.tolist(), ahead, rules)

    return draw
