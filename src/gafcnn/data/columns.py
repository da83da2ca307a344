"""Which columns of a table hold times, symbols, prices and volumes, by the names of exporters."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gafcnn.data.bars import OPTIONAL, PRICES
from gafcnn.data.times import Kind, kind_of
from gafcnn.errors import BarsError, ConfigError

CLOSE_TIMES = ("close_time", "closetime")

TIMES = (
    "open_time", "opentime", "unix", "unix_timestamp", "timestamp", "date", "time", "datetime",
    "date_time", "gmt_time", "local_time", "window_start", "start_time", "starttime", "start_at",
    "begins_at", "begin", "start", "t", *CLOSE_TIMES, "index", "",
)  # fmt: skip
"""Names that exporters give to the time of a bar, in plain form; all are open times but
`CLOSE_TIMES`. Without a name: the index of pandas."""

SYMBOLS = ("symbol", "ticker", "tic", "instrument", "pair", "ts_code", "name")

_DOLLARS = ("FDUSD", "USDT", "USDC", "USDP", "BUSD", "TUSD", "USD", "DAI")
MONEY = (*_DOLLARS, "EUR", "GBP", "TRY", "BRL", "JPY")
COINS = ("BTC", "ETH", "BNB")
QUOTES = (*MONEY, *COINS)
"""Usual quote currencies."""

_AVERAGES = ("SMA", "EMA", "WMA", "RMA", "VWMA", "VWAP", "AVG")  # of a volume, no currencies

# names in plain form, the first that a table has counts
_NAMES: dict[str, tuple[str, ...]] = {
    **{name: (name, name[0], f"{name}_price", f"{name}price") for name in PRICES},
    "volume": (
        "volume", "vol", "v", "base_volume", "volume_base", "real_volume", "tick_volume", "tickvol",
        "tickvolume",
    ),
    "quote_volume": ("quote_volume", "quote_asset_volume", "volume_quote", "quotevolume"),
    "trades": (
        "trades", "number_of_trades", "trade_count", "tradecount", "num_trades", "transactions",
        "count", "barcount", "n",
    ),
    "taker_buy_volume": (
        "taker_buy_volume", "taker_buy_base_asset_volume", "taker_buy_base_volume",
        "taker_buy_base",
    ),
    "funding": ("funding",),
}  # fmt: skip

_OTHER_CLOSES = ("close_last", "price")  # of Nasdaq and Investing.com, where nothing is "close"

KLINE = (
    "open_time", *PRICES, "volume", "close_time", "quote_volume", "trades", "taker_buy_volume",
    "taker_buy_quote_volume", "ignore",
)  # fmt: skip
"""The columns of Binance's klines, which have no header."""


@dataclass(frozen=True)
class Columns:
    """The columns in use.

    Attributes:
        places: Their positions by role: the time (or the date, with the times of day as clock, if
            they have a column of their own), the prices, and what there is of volumes, of a symbol,
            and of unadjusted, the close before adjustments, if another one was chosen.
        is_open: Whether the times are open times.
        description: The names of the columns that were not obvious, in words.
    """

    places: Mapping[str, int]
    is_open: bool
    description: str


def find_columns(
    names: Sequence[str],
    first: Sequence[object],
    source: object,
    chosen: Mapping[str, str] | None = None,
) -> Columns:
    """Return the columns to use.

    Args:
        names: The table's column names; case, spaces and brackets do not matter.
        first: The cells of the first row.
        source: The file or other origin, for error messages.
        chosen: The name of the column of some of time, symbol, prices and volumes; where it is
            another one than that of the close, the other prices are scaled with it.

    Raises:
        BarsError: A column is missing or occurs twice.
        ConfigError: `chosen` has an unknown key.
    """
    roles = ("time", "symbol", *_NAMES)
    for role in chosen or ():
        if role not in roles:
            raise ConfigError(
                f"columns has the key {role!r}",
                expected=f"one of {', '.join(roles)}",
                instead='write columns={"close": "Adj Close"}, for example',
            )
    plain = [_plain(name) for name in names]
    places = {role: _position(names, name, role, source) for role, name in (chosen or {}).items()}
    named, alone = _with_currencies(names), places.keys().isdisjoint(PRICES[:3])
    lacking = list[str]()
    for role, known in _NAMES.items():
        found = _first_named(named, known, first)
        if role == "close" and not found and role not in places:
            found = _first_named(named, _OTHER_CLOSES, first)
        if role not in places:
            if len(found) > 1:
                raise _not_once([role], names, source, len(found))
            if found:
                places[role] = found[0]
            elif role in PRICES:
                lacking.append(role)
        elif role == "close" and alone and found and found[0] != places[role]:
            places["unadjusted"] = found[0]
    if "time" not in places:
        places |= _find_time(plain, first)
    if lacking := ["time"] * ("time" not in places) + lacking:
        raise _not_once(lacking, names, source, 0)
    symbols = [plain.index(name) for name in SYMBOLS if name in plain]
    if symbols:
        places.setdefault("symbol", symbols[0])
    twice = [role for role, at in places.items() if [*places.values()].count(at) > 1]
    if twice:
        raise BarsError(
            f"{source} has one column {names[places[twice[0]]]!r} for {' and '.join(twice)}",
            expected="a column for each of them",
            instead=f'correct columns={{"{twice[0]}": ...}} (market.columns.{twice[0]}=...)',
        )
    shown = [role for role in ("volume", *OPTIONAL) if role in places]
    shown = ["close"] * (plain[places["close"]] != "close") + shown
    text = [f"times from {names[places['time']]!r}"]
    text += [f"{role} from {names[places[role]]!r}" for role in shown]
    text += ["other prices scaled with the close"] * ("unadjusted" in places)
    return Columns(places, plain[places["time"]] not in CLOSE_TIMES, ", ".join(text))


def _find_time(plain: Sequence[str], first: Sequence[object]) -> dict[str, int]:
    """Return the place of the times that need no guess, or those of dates and of times of day."""
    places = sorted(
        (place for place, name in enumerate(plain) if name in TIMES),
        key=lambda place: TIMES.index(plain[place]),
    )
    kinds = {place: kind_of(first[place]) for place in places}

    def of(*wanted: Kind | None) -> list[int]:
        return [place for one in wanted for place, kind in kinds.items() if kind == one]

    certain, dates = of("epoch", "aware"), of("date")
    clocks = [place for place in of("clock") if plain[place] == "time"]
    if clocks and dates and not certain:
        return {"time": dates[0], "clock": clocks[0]}
    # an unnamed column may hold row numbers
    named = [place for place in of("naive", "date", None) if plain[place]]
    others = [place for place in places if kinds[place] is not None]
    found = [*certain, *named, *others]
    return {"time": found[0]} if found else {}


def _plain(name: str) -> str:
    """Return a name in lower case, its words joined by underscores: <Volume BTC> -> volume_btc."""
    text = re.sub(r"^unnamed: \d+$|^__index_level_\d+__$|^none$", "", name.strip().lower())
    text = re.sub(r"^(time|date|datetime|timestamp)\W+[a-z]{3,4}\W*$", r"\1", text)  # Time (EET)
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def _with_currencies(names: Sequence[str]) -> list[str]:
    """Return plain names, in which the volume of a currency is volume_base or volume_quote.

    A currency is written in capitals, as in `Volume BTC` and `Volume USD`, or as `(Currency)`. Of
    two, the quote is the one that usually is, else the second; a single one is if it is money.
    """
    pattern = r"[Vv]olume[ _]\(?([A-Z0-9]{3,6}|Currency)\)?"
    words = {place: re.fullmatch(pattern, name) for place, name in enumerate(names)}
    currencies = {k: word[1] for k, word in words.items() if word and word[1] not in _AVERAGES}
    quotes = [k for k, currency in currencies.items() if currency in ("Currency", *MONEY)]
    if len(currencies) > 1:
        quotes = quotes or [k for k, currency in currencies.items() if currency in COINS]
        quotes = quotes if len(quotes) == 1 else [*currencies][1:]
    found = [_plain(name) for name in names]
    for place in currencies:
        found[place] = "volume_quote" if place in quotes else "volume_base"
    return found


def _first_named(plain: Sequence[str], known: Sequence[str], first: Sequence[object]) -> list[int]:
    """Return the positions of the first of the known names that occurs, and is not 0.

    MetaTrader has a real volume that is 0, and a tick volume, for currencies.
    """
    found = [[k for k, other in enumerate(plain) if other == name] for name in known]
    found = [places for places in found if places]
    filled = [places for places in found if str(first[places[0]]).strip() not in ("0", "0.0")]
    return next(iter(filled or found), [])


def _position(names: Sequence[str], name: str, role: str, source: object) -> int:
    found = [k for k, other in enumerate(names) if other == name]
    found = found or [k for k, other in enumerate(names) if _plain(other) == _plain(name)]
    if not found:
        raise BarsError(
            f"{source} has no column {name} for {role}",
            expected=f"one of {reprlib.repr(list(names))}",
            instead=f"correct the name of the column of {role}",
        )
    return found[0]


def _not_once(roles: Sequence[str], names: Sequence[str], source: object, count: int) -> BarsError:
    python = ", ".join(f'"{role}": "..."' for role in roles)
    words = " ".join(f"market.columns.{role}=..." for role in roles)
    return BarsError(
        f"{source} has {f'{count} columns' if count else 'no column'} {', '.join(roles)}, among "
        f"{reprlib.repr(list(names))}",
        expected="a time, open, high, low and close, each once",
        instead=f"name them: columns={{{python}}} ({words} on the command line)",
    )
