"""A market: bars of one symbol, and where they come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pandas as pd

from gafcnn.data.bars import resample
from gafcnn.data.reading import read_bars
from gafcnn.durations import DurationLike, format_duration
from gafcnn.errors import ConfigError

_MOST_DAYS = 10_000  # no exchange is as old


@dataclass(frozen=True, eq=False)  # frames have no single answer to ==
class Market:
    """Bars of one symbol.

    Attributes:
        symbol: Its name, as in `BNBUSDT`; stores and predictions carry it.
        bars: See `gafcnn.data.bars`.
        oracle: P(up) at each decision time, by close time, where the market is simulated.
    """

    symbol: str
    bars: pd.DataFrame
    oracle: pd.Series | None = None


def from_file(symbol: str | None, path: str | Path, interval: DurationLike | None = None) -> Market:
    """A market from a file of bars; with a coarser `interval` than the file's, resampled.

    Args:
        symbol: What the bars are of; None for the file's own name, up to its first dot.
        path: The file.
        interval: Time between two bars; None for the file's own.

    Raises:
        ConfigError: The symbol is no plain name.
        BarsError: See `read_bars` and `resample`.
    """
    symbol = own_name(path) if symbol is None else symbol
    check_symbol(symbol)
    bars = read_bars(path)
    return Market(symbol, bars if interval is None else resample(bars, interval))


def own_name(path: str | Path) -> str:
    """A file's own name, up to its first dot."""
    return Path(path).name.partition(".")[0]


def check_symbol(symbol: str) -> None:
    """Assert that a symbol can be part of a file's name, and of a table, as it is.

    Raises:
        ConfigError: It cannot.
    """
    if not isinstance(symbol, str) or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", symbol):
        raise ConfigError(
            f"market.symbol is {symbol!r}",
            expected="letters, digits, dots, dashes and underscores, the first of them no dot",
            instead="write market.symbol=BNBUSDT, say",
        )


def count_bars(days: float, interval: pd.Timedelta) -> int:
    """How many whole bars these days hold.

    Raises:
        ConfigError: Fewer than two, or `days` is no number of days.
    """
    known = isinstance(days, int | float) and 0 < days <= _MOST_DAYS
    count = int(timedelta(days=days) / interval) if known else 0
    if count < 2:
        raise ConfigError(
            f"market.days is {days}",
            expected=f"two bars of {format_duration(interval)} at least, and {_MOST_DAYS} days at most",
            instead="set market.days to 180, say",
        )
    return count
