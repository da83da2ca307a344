"""A market: bars of one symbol, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gafcnn.durations import Duration
from gafcnn.market.bars import resample
from gafcnn.market.reading import read_bars


@dataclass(frozen=True, eq=False)  # frames have no single answer to ==
class Market:
    """Bars of one symbol.

    Attributes:
        symbol: Its name, as in `BNBUSDT`; stores and predictions carry it.
        bars: See `gafcnn.market.bars`.
        oracle: P(up) at each decision time, by close time, where the market is simulated.
    """

    symbol: str
    bars: pd.DataFrame
    oracle: pd.Series | None = None


def from_file(symbol: str, path: str | Path, interval: Duration | None = None) -> Market:
    """A market from a file of bars; with a coarser `interval` than the file's, resampled.

    Raises:
        BarsError: See `read_bars` and `resample`.
    """
    bars = read_bars(path)
    return Market(symbol, bars if interval is None else resample(bars, interval))
