"""Sources of bars: settings classes that load the bars of one or several symbols."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Protocol, TypeAlias

import pandas as pd
from pydantic import AfterValidator, Field

from gafcnn.data.bars import check_together, ensure_bars, release_memory
from gafcnn.durations import NO_TIME, Duration, format_duration
from gafcnn.errors import ConfigError
from gafcnn.registry import Registry


class Source(Protocol):
    """Where bars come from: a settings class, registered under a name by `register_source`.

    Two more methods are optional. `oracles()` returns, by symbol, the true probability that prices
    rise at each close time, if it is known. `at_rest()` returns a source of the same bars that
    neither downloads new ones nor writes.
    """

    def load(self) -> dict[str, pd.DataFrame]:
        """Return the bars of each symbol, see `gafcnn.data.bars`."""
        ...


SOURCES: Registry[Any] = Registry(
    "source of bars", ("gafcnn.data.reading", "gafcnn.data.exchange", "gafcnn.data.simulated")
)
register_source = SOURCES.register
"""Register a `Source` under a name, which `market.kind` then accepts."""


def _valid_symbol(symbol: str) -> str:
    # part of file names and tables
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", symbol):
        raise ConfigError(
            f"the symbol is {symbol!r}",
            expected="letters, digits, dots, dashes and underscores, no dot in front",
            instead="correct market.symbol or market.symbols",
        )
    return symbol


def _distinct(symbols: tuple[str, ...]) -> tuple[str, ...]:
    # part of folder names, and some file systems ignore case
    if not symbols or len({symbol.casefold() for symbol in symbols}) < len(symbols):
        raise ValueError("expected names that differ, and not only in case")
    return symbols


Symbol: TypeAlias = Annotated[str, AfterValidator(_valid_symbol)]
Symbols: TypeAlias = Annotated[tuple[Symbol, ...], AfterValidator(_distinct)]
Interval: TypeAlias = Annotated[Duration, Field(gt=NO_TIME)]
Days: TypeAlias = Annotated[float, Field(gt=0, le=10_000)]
Seed: TypeAlias = Annotated[int, Field(ge=0)]
"""Types of options: names of symbols, the time between bars, a length in days, a random seed."""


def load_bars(source: Source) -> dict[str, pd.DataFrame]:
    """Return the bars of each symbol of a source, checked to fit together.

    Raises:
        ConfigError: A symbol's name is invalid, intervals differ between symbols, or bars of one
            close between those of another.
        BarsError: The bars are invalid.
    """
    bars = {_valid_symbol(symbol): ensure_bars(frame) for symbol, frame in source.load().items()}
    check_together(bars)
    release_memory()
    return bars


def load_oracles(source: Source) -> dict[str, pd.Series]:
    """Return the true P(up) of each symbol by close time; empty if the source does not know it."""
    return getattr(source, "oracles", dict)()


def at_rest(source: Source) -> Source:
    """Return a source of the same bars that neither downloads new ones nor writes."""
    return getattr(source, "at_rest", lambda: source)()


def count_bars(days: float, interval: pd.Timedelta, least: int = 2) -> int:
    """Return how many whole bars fit into these days.

    Raises:
        ConfigError: Fewer than `least`.
    """
    count = int(timedelta(days=days) / interval)
    if count < least:
        raise ConfigError(
            f"market.days is {days}",
            expected=f"at least {least} bars of {format_duration(interval)}",
            instead="set market.days to 180, for example",
        )
    return count
