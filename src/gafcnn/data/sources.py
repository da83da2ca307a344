"""Sources of bars: settings classes that load the bars of one or several symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Field

from gafcnn.data.bars import check_together, ensure_bars, resample
from gafcnn.durations import NO_TIME, Duration, format_duration
from gafcnn.errors import ConfigError
from gafcnn.registry import Registry
from gafcnn.settings import settings


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
    "source of bars", ("gafcnn.data.exchange", "gafcnn.data.simulated")
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
    return bars


def load_oracles(source: Source) -> dict[str, pd.Series]:
    """Return the true P(up) of each symbol by close time; empty if the source does not know it."""
    return getattr(source, "oracles", dict)()


def at_rest(source: Source) -> Source:
    """Return a source of the same bars that neither downloads new ones nor writes."""
    return getattr(source, "at_rest", lambda: source)()


def count_bars(days: float, interval: pd.Timedelta) -> int:
    """Return how many whole bars fit into these days.

    Raises:
        ConfigError: Fewer than two.
    """
    count = int(timedelta(days=days) / interval)
    if count < 2:
        raise ConfigError(
            f"market.days is {days}",
            expected=f"at least two bars of {format_duration(interval)}",
            instead="set market.days to 180, for example",
        )
    return count


_ONE_OR_MORE = BeforeValidator(lambda path: path if isinstance(path, list | tuple) else [path])


def _named(columns: Any) -> Any:
    """Leave out columns without a name, as conf/market/file.yaml lists them."""
    if not isinstance(columns, Mapping):
        return columns or {}
    return {role: name for role, name in columns.items() if name is not None}


@register_source("file")
@settings("market")
class FileSource:
    """Bars from files, see `gafcnn.read_bars`.

    Attributes:
        path: A file, a folder, a pattern, or a list of these.
        symbol: The only symbol; by default that in the file, else the file's name.
        symbols: The symbols to use, of files that hold several; or those of several files, in their
            order.
        interval: Resample to this time between two bars; by default the file's own.
        timezone: Time zone of times without one.
        fill: "quiet" to carry the close on where nothing was traded.
        fill_limit: The longest gap that is filled.
        repair: "drop" to leave out rows with impossible values.
        calendar: The trading calendar, see `gafcnn.read_bars`.
        columns: Names of columns that are not recognised, by time, open, high, low, close, volume
            or symbol; None for those that are.
    """

    path: Annotated[tuple[Path, ...], _ONE_OR_MORE, Field(min_length=1)]
    symbol: Symbol | None = None
    symbols: Symbols | None = None
    interval: Interval | None = None
    timezone: str | None = None
    fill: Literal["quiet"] | None = None
    fill_limit: Duration = pd.to_timedelta("1h")
    repair: Literal["drop"] | None = None
    calendar: str | None = None
    columns: Annotated[Mapping[str, str], BeforeValidator(_named)] = Field(default_factory=dict)

    def load(self) -> dict[str, pd.DataFrame]:
        """Return the bars of each symbol.

        Raises:
            BarsError: A file cannot be read, see `read_bars` and `resample`.
        """
        from gafcnn.data.reading import read_markets  # pyarrow's csv reader

        options: Any = {
            name: getattr(self, name) or None
            for name in ("timezone", "fill", "fill_limit", "repair", "calendar", "columns")
        }
        if self.symbols is not None and 1 < len(self.path) == len(self.symbols):
            found = {}
            for symbol, path in zip(self.symbols, self.path, strict=True):
                found |= read_markets(path, symbol=symbol, **options)
        else:
            found = read_markets(self.path, symbol=self.symbol, symbols=self.symbols, **options)
        if self.interval is not None:
            found = {symbol: resample(bars, self.interval) for symbol, bars in found.items()}
        return found
