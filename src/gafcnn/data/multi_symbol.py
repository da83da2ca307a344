"""Several symbols: the options of each one's market, of those of all, and what they must share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gafcnn.data.bars import interval_of
from gafcnn.data.sources import Market, check_symbol, own_name
from gafcnn.durations import format_duration
from gafcnn.errors import ConfigError

# in whole, so that BTCFDUSD is no BTCFD/USD: the longest that fits is the quote
QUOTES = (
    *("FDUSD", "USDT", "USDC", "USDP", "BUSD", "TUSD", "USD", "DAI"),
    *("EUR", "GBP", "TRY", "BRL", "JPY", "BTC", "ETH", "BNB"),
)
"""Currencies that a symbol may end in."""


def per_symbol(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The options of each symbol's market, of those of a market of several.

    Without `symbols`, or a list under `path`, it is one market, of the options as they are. Else
    each symbol has its own of them: its `symbol`; its `pair` on an exchange, by its quote currency;
    its file, in the order of the symbols; and a `seed` that is larger by one than that of the
    symbol before, where bars are simulated.

    Args:
        options: Those of `conf/market`, as plain values.

    Raises:
        ConfigError: `symbols` is no list of names, each once; there are more or fewer files; or a
            symbol ends in no known currency.
    """
    one = {key: value for key, value in options.items() if key != "symbols"}
    symbols, path = options.get("symbols"), options.get("path")
    if symbols is None and not isinstance(path, list):
        return [one]
    files = path if isinstance(path, list) else [path]
    names = _own_names(files, one["symbol"]) if symbols is None else _checked(symbols)
    if path is not None and len(files) != len(names):
        raise ConfigError(
            f"market.symbols names {len(names)} symbols and market.path {len(files)} files",
            expected="a file for each symbol, in their order",
            instead="write market.path=[one.parquet,another.feather]",
        )
    return [_node(one, name, number, files) for number, name in enumerate(names)]


def check_together(markets: Sequence[Market]) -> None:
    """Assert that one window can be of all these markets.

    Raises:
        ConfigError: The time between two bars is not the same in all, or bars of one close between
            those of another.
    """
    first, *others = markets
    for other in others:
        intervals = [interval_of(market.bars) for market in (first, other)]
        if intervals[0] != intervals[1]:
            raise ConfigError(
                f"{first.symbol} has bars of {format_duration(intervals[0])} and {other.symbol} of "
                f"{format_duration(intervals[1])}",
                expected="the same time between two bars of every symbol",
                instead=f"set market.interval={format_duration(max(intervals))}",
            )
        if (other.bars.index[0] - first.bars.index[0]) % intervals[0]:
            raise ConfigError(
                f"a bar of {first.symbol} closes at {first.bars.index[0]} and one of "
                f"{other.symbol} at {other.bars.index[0]}",
                expected=f"times that are multiples of {format_duration(intervals[0])} apart, so that "
                "symbols are decided on at the same moments",
                instead="leave one of them out of market.symbols",
            )


def pair_of(symbol: str) -> str:
    """Base and quote of a symbol, as exchanges write them: BNB/USDT of BNBUSDT, or of BNB-USDT.

    Raises:
        ConfigError: It ends in no known currency, and has no dash before one.
    """
    if symbol.count("-") == 1 and not symbol.startswith("-") and not symbol.endswith("-"):
        return symbol.replace("-", "/")
    fitting = [quote for quote in QUOTES if symbol.endswith(quote) and symbol != quote]
    if not fitting:
        raise ConfigError(
            f"the symbol {symbol} ends in no known currency",
            expected=f"one of {', '.join(QUOTES)}",
            instead="put a dash before its quote currency, as in BNB-XYZ",
        )
    quote = max(fitting, key=len)
    return f"{symbol.removesuffix(quote)}/{quote}"


def _node(
    one: Mapping[str, Any], name: str | None, number: int, files: Sequence[Any]
) -> dict[str, Any]:
    """The options of one of several symbols."""
    changed: dict[str, Any] = {"symbol": name}
    if "pair" in one and name is not None:
        changed["pair"] = pair_of(name)
    if "path" in one:
        changed["path"] = files[number]
    if number and "seed" in one:
        changed["seed"] = one["seed"] + number
    return {**one, **changed}


def _checked(symbols: Any) -> list[str]:
    if not isinstance(symbols, list) or not symbols:
        raise ConfigError(
            f"market.symbols is {'[]' if symbols == [] else symbols}",
            expected="a list of names, or null for one market",
            instead="write market.symbols=[BNBUSDT,BTCUSDT], say",
        )
    for symbol in symbols:
        check_symbol(symbol)
    if twice := sorted({symbol for symbol in symbols if symbols.count(symbol) > 1}):
        raise ConfigError(
            f"market.symbols names {twice[0]} more than once",
            expected="each symbol once",
            instead=f"write market.symbols=[{','.join(dict.fromkeys(symbols))}]",
        )
    if len({symbol.casefold() for symbol in symbols}) < len(symbols):
        raise ConfigError(
            f"market.symbols is [{','.join(symbols)}], of which some differ in their case alone",
            expected="names of folders that every disk tells apart",
            instead="give one of them another name",
        )
    return symbols


def _own_names(files: Sequence[Any], symbol: str | None) -> list[str | None]:
    """What files are named by without `symbols`: None, for each one's own name."""
    if not files:
        raise ConfigError(
            "market.path is []",
            expected="a file, or a list of them",
            instead="write market.path=[one.parquet,another.feather]",
        )
    if symbol is not None and len(files) > 1:
        raise ConfigError(
            f"market.path lists {len(files)} files for market.symbol={symbol}",
            expected="a name for each",
            instead="write market.symbols=[ONE,ANOTHER] in its place, a symbol for each file",
        )
    own = [own_name(file) for file in files]
    if len(set(own)) < len(own):
        raise ConfigError(
            f"market.path lists files of the names {', '.join(own)}",
            expected="files of different symbols, each by its own name",
            instead="write market.symbols=[ONE,ANOTHER], a symbol for each file",
        )
    return [symbol] * len(files)
