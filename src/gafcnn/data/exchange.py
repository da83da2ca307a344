"""Bars from an exchange, downloaded once and kept by the day, see `gafcnn.data.daily_cache`."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias

import pandas as pd
from pydantic import AfterValidator, PlainValidator

from gafcnn.atomic_io import (
    disk_errors,
    locked,
    make_folder,
    read_sealed,
    remove_partial_files,
    seal,
    write_json,
)
from gafcnn.data.bars import check_bars
from gafcnn.data.daily_cache import DAY, Held, held, keep, utc_time
from gafcnn.data.klines import Klines, NewestBars
from gafcnn.data.sources import Days, Interval, Symbol, Symbols, count_bars, register_source
from gafcnn.durations import format_duration
from gafcnn.errors import BarsError, ConfigError, DownloadError
from gafcnn.progress import counting
from gafcnn.settings import settings

RECORD, LOCK = "download.json", ".lock"

SETTLE = pd.to_timedelta("10s")
"""How long after its close a bar is requested: clocks differ, and new bars may be late."""

# the longest that fits is the quote currency, so that BTCFDUSD is not BTCFD/USD
QUOTES = (
    *("FDUSD", "USDT", "USDC", "USDP", "BUSD", "TUSD", "USD", "DAI"),
    *("EUR", "GBP", "TRY", "BRL", "JPY", "BTC", "ETH", "BNB"),
)
"""Quote currencies that are recognised at the end of a symbol."""

log = logging.getLogger(__name__)


def _divides_a_day(step: pd.Timedelta) -> pd.Timedelta:
    if step < timedelta(seconds=1) or step * (DAY // step) != DAY:
        raise ValueError("expected a divisor of a day, such as 1min, 15min or 1h")
    return step


def _utc_or_none(value: Any) -> pd.Timestamp | None:
    try:
        return None if value is None else utc_time(str(value))
    except (ValueError, TypeError):
        raise ValueError("expected an ISO time, UTC, such as 2025-05-04T00:00") from None


_Interval: TypeAlias = Annotated[Interval, AfterValidator(_divides_a_day)]
_Time: TypeAlias = Annotated[pd.Timestamp | None, PlainValidator(_utc_or_none)]


@register_source("exchange")
@settings("market")
class ExchangeSource:
    """Bars from an exchange's public API, downloaded once and from then on read from disk.

    The first download fixes the end of the period, so that later calls return the same bars. An
    interrupted download resumes, and a day that is damaged on disk is downloaded again. If nothing
    is missing, there is no request, no lock and no write. Bars that the exchange lacks are gaps. A
    symbol that was listed later starts with its first bar. Bars that are not closed yet, by the
    clock of this machine, are dropped.

    Attributes:
        symbol: Name of the symbol.
        symbols: Names of several symbols, in place of `symbol` and `pair`.
        exchange: An exchange that ccxt supports.
        pair: Base and quote, such as BNB/USDT; by default derived from the symbol.
        interval: Time between two bars; a divisor of a day that the exchange offers.
        days: Length of the period, counted back from its end.
        end: End of the period; by default that of the first download, or at first now.
        refresh: Whether to move the stored end of the period to now, or to `end`.
        url: Base address of a mirror of the exchange's API; by default the exchange's own.
        folder: Where the bars are stored.
    """

    symbol: Symbol = "BNBUSDT"
    symbols: Symbols | None = None
    exchange: str = "binance"
    pair: str | None = None
    interval: _Interval = pd.to_timedelta("1min")
    days: Days = 180
    end: _Time = None
    refresh: bool = False
    url: str | None = None
    folder: Path = Path("data/bars")

    def __post_init__(self) -> None:
        count_bars(self.days, self.interval)
        self.pairs()

    def pairs(self) -> dict[str, str]:
        """Return the pair of each symbol.

        Raises:
            ConfigError: A symbol ends in no known quote currency.
        """
        if self.symbols is not None:
            return {symbol: pair_of(symbol) for symbol in self.symbols}
        return {self.symbol: self.pair or pair_of(self.symbol)}

    def load(self) -> dict[str, pd.DataFrame]:
        """Return the bars of each symbol.

        Raises:
            ConfigError: `end` is in the future.
            DownloadError: The exchange cannot be reached or does not answer with bars. Bars that
                were received are kept.
            BarsError: The bars are invalid, or the record on disk is damaged.
        """
        return {symbol: self._load(symbol, pair) for symbol, pair in self.pairs().items()}

    def at_rest(self) -> Self:
        """Return the source of the bars as they were downloaded, from the exchange's own address.

        A `url` in a stored configuration may come from somebody else.
        """
        return replace(self, refresh=False, url=None)

    def newest(self, count: int, settle: pd.Timedelta = SETTLE) -> dict[str, NewestBars]:
        """Return readers of the newest `count` bars of each symbol; nothing is stored."""
        return {
            symbol: NewestBars(self.exchange, pair, self.interval, count, settle, self.url)
            for symbol, pair in self.pairs().items()
        }

    def _load(self, symbol: str, pair: str) -> pd.DataFrame:
        place = self.folder / f"{symbol}_{format_duration(self.interval)}"
        record = _read_record(place, self.exchange, pair)
        kept = None
        if record is not None and not self.refresh:
            kept = held(place, *self._period(record))
        if kept is None or kept.missing:
            with disk_errors(place, 0):
                make_folder(place)
            with locked(place / LOCK, f"downloading to {place}"):
                remove_partial_files(place)
                kept = self._download(place, pair)
        if kept.bars.empty:
            raise DownloadError(
                f"{self.exchange} has no {pair} bars in the {self.days:g} days before market.end",
                expected="at least two",
                instead=f"choose another period, or remove {place} to ask again",
            )
        return check_bars(kept.bars, place, self.interval)

    def _period(self, record: dict[str, Any] | None) -> tuple[pd.Timestamp, pd.Timestamp]:
        closed: Any = (pd.Timestamp.now("UTC") - SETTLE).floor(self.interval)
        until: Any = closed if self.end is None else self.end.floor(self.interval)
        if self.end is None and record is not None and not self.refresh:
            until = utc_time(record["end"])
        if until > closed:
            raise ConfigError(
                f"market.end is {until}",
                expected=f"a time up to {closed:%Y-%m-%dT%H:%M}, the last closed bar",
                instead="set market.end=null",
            )
        return until - count_bars(self.days, self.interval) * self.interval, until

    def _download(self, place: Path, pair: str) -> Held:
        """Return the bars of the period, after a download of those that are not on disk."""
        record = _read_record(place, self.exchange, pair)
        since, until = self._period(record)
        if record is None or self.refresh:
            record = {"exchange": self.exchange, "pair": pair, "end": until.isoformat()}
        kept = held(place, since, until)
        for part in kept.damaged:
            log.warning("%s is damaged and is downloaded again", part)
        if not kept.missing:
            write_json(place / RECORD, seal(record))
            return kept
        total = sum((end - begin) // self.interval for begin, end in kept.missing)
        klines = Klines(self.exchange, pair, self.interval, self.url)
        with closing(klines), counting(f"bars {pair}", total, "bars") as advance:
            for bars, begin, end in klines.pages(kept.missing):
                # written after the first answer, so that a wrong pair is not recorded
                write_json(place / RECORD, seal(record))
                keep(place, bars, begin, end)
                advance((end - begin) // self.interval)
        return held(place, since, until)


def pair_of(symbol: str) -> str:
    """Return base and quote of a symbol: BNB/USDT for BNBUSDT or BNB-USDT.

    Raises:
        ConfigError: It ends in no known quote currency, and has no dash before one.
    """
    base, dash, quote = symbol.partition("-")
    if not dash:
        quote = max((q for q in QUOTES if symbol.endswith(q)), key=len, default="")
        base = symbol.removesuffix(quote)
    if not base or not quote or "-" in quote:
        raise ConfigError(
            f"the symbol {symbol} ends in no known quote currency",
            expected=f"one of {', '.join(QUOTES)}",
            instead="write a dash before the quote currency, as in BNB-XYZ",
        )
    return f"{base}/{quote}"


def _read_record(place: Path, exchange: str, pair: str) -> dict[str, Any] | None:
    """Return the content of download.json; None before the first answer of the exchange."""
    path = place / RECORD
    if not path.exists():
        return None
    record = read_sealed(path)
    if record is None:
        raise BarsError(
            f"{path} cannot be read",
            expected="the file as it was written",
            instead="remove it; the bars in its folder are kept, and market.end is fixed again",
        )
    stored = record["exchange"], record["pair"]
    if stored != (exchange, pair):
        raise DownloadError(
            f"{place} holds {stored[1]} of {stored[0]}",
            expected=f"{pair} of {exchange}",
            instead="set another market.symbol or market.folder",
        )
    return record
