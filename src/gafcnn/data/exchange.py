"""Bars from an exchange, downloaded once and kept in one file per answer.

<folder>/<symbol>_<interval>/
    download.json    exchange, pair, and the end of the first download
    2025-05-04T000000_2025-05-04T164000_6d7f0a1c.parquet    the bars that opened in that period, UTC
A file's name tells which period was requested, whether or not the exchange had bars then, so that
an outage is not requested twice. It ends with the CRC-32 of the file, so that damage is detected. A
file that is missing or damaged is downloaded again, and no other. Bars of Binance come from its
archive (`gafcnn.data.archive`), as far as that has them; those of others, and the newest, come from
the API, page by page with retries. Impossible bars are left out, with a warning. The newest closed
bars, for live decisions, are held in memory only.
"""

from __future__ import annotations

import difflib
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from pydantic import AfterValidator, PlainValidator

from gafcnn import atomic_io
from gafcnn.data.archive import URL, Period, archived_bars
from gafcnn.data.bars import COLUMNS, EXTRAS, check_bars, gaps, possible
from gafcnn.data.columns import KLINE, QUOTES
from gafcnn.data.sources import Days, Interval, Symbol, Symbols, count_bars, register_source
from gafcnn.durations import format_duration
from gafcnn.errors import BarsError, ConfigError, DownloadError, import_extra
from gafcnn.progress import counting
from gafcnn.settings import settings

RECORD, LOCK = "download.json", ".lock"
_NOTATION = "%Y-%m-%dT%H%M%S"  # in the name of a file
DAY = timedelta(days=1)

SETTLE = pd.to_timedelta("10s")
"""How long after its close a bar is requested: clocks differ, and new bars may be late."""

_PAGE = 1000  # bars
_ATTEMPTS = 5
_FIRST_PAUSE = 1.0  # seconds; doubled with each attempt
_MAX_PAUSE = 600.0  # seconds; an exchange that asks for more has banned the address

NewestBars: TypeAlias = Callable[[pd.Timestamp], pd.DataFrame]

log = logging.getLogger(__name__)


def utc_time(text: str) -> pd.Timestamp:
    """Return a time from a text; UTC if it has no offset. Raises ValueError for other texts."""
    time = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
    if not isinstance(time, pd.Timestamp):
        raise ValueError("expected an ISO time, UTC, such as 2025-05-04T00:00")
    return time.as_unit("ns")


def _divides_a_day(step: pd.Timedelta) -> pd.Timedelta:
    if step < timedelta(seconds=1) or DAY % step:
        raise ValueError("expected a divisor of a day, such as 1min, 15min or 1h")
    return step


_Interval: TypeAlias = Annotated[Interval, AfterValidator(_divides_a_day)]
_Time: TypeAlias = Annotated[pd.Timestamp, PlainValidator(lambda time: utc_time(str(time)))]


@register_source("exchange")
@settings("market")
class ExchangeSource:
    """Bars from an exchange's public API, downloaded once and from then on read from disk.

    The first download fixes the end of the period, so that later calls return the same bars. An
    interrupted download resumes, and bars that are damaged on disk are downloaded again. If nothing
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
        source: "archive" reads Binance's public archive first and asks the API for what that lacks;
            "api" asks the API alone, as is always done for other exchanges.
        url: Base address of a mirror of the exchange's API; by default the exchange's own.
        archive_url: Base address of a mirror of the archive; by default Binance's own.
        folder: Where the bars are stored.
    """

    symbol: Symbol = "BNBUSDT"
    symbols: Symbols | None = None
    exchange: str = "binance"
    pair: str | None = None
    interval: _Interval = pd.to_timedelta("1min")
    days: Days = 180
    end: _Time | None = None
    refresh: bool = False
    source: Literal["archive", "api"] = "archive"
    url: str | None = None
    archive_url: str | None = None
    folder: Path = Path("data/bars")

    def __post_init__(self) -> None:
        self.pairs()

    def pairs(self) -> dict[str, str]:
        """Return the pair of each symbol, see `pair_of`."""
        if self.symbols is None:
            return {self.symbol: self.pair or pair_of(self.symbol)}
        return {symbol: pair_of(symbol) for symbol in self.symbols}

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

        An address in a stored configuration may come from somebody else.
        """
        return replace(self, refresh=False, url=None, archive_url=None)

    def newest(self, count: int, settle: pd.Timedelta = SETTLE) -> dict[str, NewestBars]:
        """Return, for each symbol, a function of the current time that returns its newest bars.

        Nothing is stored. See `Klines` and `Klines.newest` for the arguments and errors.
        """
        api, pairs = replace(self, source="api"), self.pairs().items()
        return {symbol: partial(Klines(api, pair).newest, count, settle) for symbol, pair in pairs}

    def _load(self, symbol: str, pair: str) -> pd.DataFrame:
        place = self.folder / f"{symbol}_{format_duration(self.interval)}"
        stored = _stored_end(place, self.exchange, pair)
        bars, missing = held(place, *self._period(stored))
        if stored is None or self.refresh or missing:
            with atomic_io.locked(place / LOCK, f"downloading to {place}"):
                atomic_io.remove_partial_files(place)
                bars = self._download(place, pair)
        return check_bars(bars, place, self.interval)

    def _period(self, stored: pd.Timestamp | None) -> Period:
        """Return since, until: the period asked for, given the end of the first download."""
        closed: Any = (pd.Timestamp.now("UTC") - SETTLE).floor(self.interval)
        asked = self.end or (None if self.refresh else stored)
        until: Any = closed if asked is None else asked.floor(self.interval)
        if until > closed:
            raise ConfigError(
                f"market.end is {until}",
                expected=f"a time up to {closed:%Y-%m-%dT%H:%M}, the last closed bar",
                instead="set market.end=null",
            )
        return until - count_bars(self.days, self.interval) * self.interval, until

    def _download(self, place: Path, pair: str) -> pd.DataFrame:
        """Download the bars of the period that are not on disk, and return all of them."""
        stored = _stored_end(place, self.exchange, pair)
        since, until = self._period(stored)
        end = until if stored is None or self.refresh else stored
        record = atomic_io.seal({"exchange": self.exchange, "pair": pair, "end": end.isoformat()})
        for part in damaged_parts(place):
            log.warning("%s is damaged, and is downloaded again", part)
            part.unlink()
        _, missing = held(place, since, until)
        total = sum((end - begin) // self.interval for begin, end in missing)
        klines = Klines(self, pair)
        with counting(f"bars {pair}", total, "bars") as advance:
            for answers in (klines.archived, klines.pages):
                for page, begin, end in answers(held(place, since, until)[1]):
                    # written after the first answer, so that a wrong pair is not recorded
                    atomic_io.write_json(place / RECORD, record)
                    keep(place, page, begin, end)
                    advance((end - begin) // self.interval)
        atomic_io.write_json(place / RECORD, record)
        return held(place, since, until)[0]


def pair_of(symbol: str) -> str:
    """Return base and quote of a symbol: BNB/USDT for BNBUSDT or BNB-USDT.

    Raises:
        ConfigError: It ends in no known quote currency, and has no dash before one.
    """
    base, dash, quote = symbol.partition("-")
    if not dash:  # the longest that fits: BTCFDUSD is not BTCFD/USD
        quote = max((q for q in QUOTES if symbol.endswith(q)), key=len, default="")
        base = symbol.removesuffix(quote)
    if not base or not quote or "-" in quote:
        raise ConfigError(
            f"the symbol {symbol} ends in no known quote currency",
            expected=f"one of {', '.join(QUOTES)}",
            instead="write a dash before the quote currency, as in BNB-XYZ",
        )
    return f"{base}/{quote}"


def _stored_end(place: Path, exchange: str, pair: str) -> pd.Timestamp | None:
    """Return the end of the first download; None before the first answer of the exchange."""
    path = place / RECORD
    if not path.exists():
        return None
    record = atomic_io.read_sealed(path)
    if record is None:
        raise BarsError(
            f"{path} cannot be read",
            expected="the file as it was written",
            instead="remove it; the bars in its folder are kept, and market.end is fixed again",
        )
    if (record["exchange"], record["pair"]) != (exchange, pair):
        raise DownloadError(
            f"{place} holds {record['pair']} of {record['exchange']}",
            expected=f"{pair} of {exchange}",
            instead="set another market.symbol or market.folder",
        )
    return utc_time(record["end"])


def held(
    place: Path, since: pd.Timestamp, until: pd.Timestamp
) -> tuple[pd.DataFrame, list[Period]]:
    """Return the bars on disk of the period [since, until), by close time, not yet checked.

    Returns:
        The bars, and the periods whose bars were never requested or are damaged.
    """
    found: list[pd.DataFrame] = []
    missing: list[Period] = []
    reached = since
    for part in sorted(place.glob("*_*_*.parquet")):
        begin, end = map(utc_time, part.stem.split("_")[:2])
        if end <= reached or begin >= until or (bars := _read(part)) is None:
            continue
        if reached < begin:
            missing.append((reached, begin))
        found.append(bars.loc[(bars.index > reached) & (bars.index <= until)])
        reached = end
    if reached < until:
        missing.append((reached, until))
    return pd.concat(found, join="inner") if found else pd.DataFrame(), missing


def keep(place: Path, bars: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> None:
    """Write the bars that opened in [since, until), possibly none, to a file."""
    content = bars.to_parquet(None)
    name = f"{since:{_NOTATION}}_{until:{_NOTATION}}_{zlib.crc32(content):08x}.parquet"
    atomic_io.write_bytes(place / name, content)


def damaged_parts(place: Path) -> list[Path]:
    """Return the damaged files, in the order of their periods."""
    return [part for part in sorted(place.glob("*_*_*.parquet")) if _read(part) is None]


def _read(part: Path) -> pd.DataFrame | None:
    """Return the bars of a file; None if it is damaged."""
    checksum = part.stem.split("_")[2]
    return pd.read_parquet(part) if f"{atomic_io.checksum(part):08x}" == checksum else None


class Klines:
    """The klines of a pair, such as BNB/USDT, at the exchange, interval and addresses of a source.

    Raises:
        DownloadError: The exchange or the interval does not exist.
        ConfigError: ccxt is not installed.
    """

    def __init__(self, source: ExchangeSource, pair: str) -> None:
        self.exchange, self.pair, self.interval = source.exchange, pair, source.interval
        self._newest: pd.DataFrame | None = None
        self._client = client = _client(source.exchange, source.url)
        seconds = int(self.interval.total_seconds())
        offered = {int(client.parse_timeframe(name)): name for name in client.timeframes or ()}
        if seconds not in offered:
            raise DownloadError(
                f"{self.exchange} has no bars of {format_duration(self.interval)}",
                expected=f"one of {', '.join(offered.values()) or 'no interval: it has no bars'}",
                instead="change market.interval or market.exchange",
            )
        self._timeframe = offered[seconds]
        limit = client.feature_value_by_type("spot", None, "fetchOHLCV", "limit")
        self._page = min(limit or _PAGE, _PAGE)
        of_binance = source.exchange == "binance" and source.source == "archive"
        self._archive = source.archive_url or URL if of_binance else None
        self._columns = [*COLUMNS]
        client.has["fetchCurrencies"] = False
        if self.exchange in ("binance", "binanceus"):
            # as ccxt parses a kline, and with the volumes that it leaves out
            self._columns = [*COLUMNS, *EXTRAS]
            places = [KLINE.index(name) for name in ("open_time", *self._columns)]
            client.parse_ohlcv = lambda kline, *_: [client.safe_number(kline, k) for k in places]
            # ccxt would load the markets of three APIs, some of which are blocked in some countries
            base, _, quote = pair.partition("/")
            names = {"base": base, "quote": quote, "baseId": base, "quoteId": quote}
            kind = {"spot": True, "type": "spot"}
            client.set_markets([{"id": base + quote, "symbol": pair, **names, **kind}])

    def archived(self, periods: Sequence[Period]) -> Iterator[tuple[pd.DataFrame, *Period]]:
        """Yield what `pages` yields, as far as Binance's archive has it and is to be read."""
        if self._archive is not None:
            names = self.pair.replace("/", ""), self._timeframe
            found = archived_bars(self._archive, *names, self.interval, periods)
            for bars, since, until in found:
                yield self._possible(bars, "the archive"), since, until

    def pages(self, periods: Sequence[Period]) -> Iterator[tuple[pd.DataFrame, *Period]]:
        """Request the bars that opened in each period [since, until), page by page.

        Yields:
            Bars indexed by close time (possibly none), and the period that they cover.
        """
        for since, until in periods:
            while since < until:
                end = min(until, since + self._page * self.interval)
                bars, reached = self._retry(since, end)
                yield bars, since, reached
                since = reached

    def newest(self, count: int, settle: pd.Timedelta, now: pd.Timestamp) -> pd.DataFrame:
        """Return `count` bars up to the newest one that closed `settle` before `now`.

        Each call requests the bars that closed since the last one, and those that were missing,
        since they may be late. Errors are those of `ExchangeSource.load`.
        """
        until: Any = (now - settle).floor(self.interval)
        since = until - count * self.interval
        found = []
        if self._newest is not None:
            missing = gaps(self._newest)
            last = missing["after"].iloc[0] if len(missing) else self._newest.index[-1]
            found = [self._newest.loc[since + self.interval : last]]
            since = max(since, last)
        found += [bars for bars, _, _ in self.pages([(since, until)])]
        self._newest = check_bars(pd.concat(found), f"{self.exchange} {self.pair}", self.interval)
        return self._newest

    def _retry(self, since: pd.Timestamp, until: pd.Timestamp) -> tuple[pd.DataFrame, pd.Timestamp]:
        """Return what `_bars` returns; request again after errors that may be temporary."""
        import ccxt
        import tenacity

        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ccxt.OperationFailed),
            wait=lambda s: max(_FIRST_PAUSE * 2 ** (s.attempt_number - 1), self._asked_pause()),
            stop=lambda s: s.attempt_number >= _ATTEMPTS or self._asked_pause() > _MAX_PAUSE,
            before_sleep=tenacity.before_sleep_log(log, logging.INFO),
            reraise=True,
        )
        try:
            return retry(self._bars, since, until)
        except ccxt.BaseError as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            if (pause := self._asked_pause()) > _MAX_PAUSE:
                reason = f"it asks to wait {pause:,.0f} s; {reason}"
            without = ""
            if self._archive is not None and isinstance(error, ccxt.NetworkError):
                end = f"market.end={pd.Timestamp.now('UTC') - 2 * DAY:%Y-%m-%d}"
                without = f"or add {end} market.refresh=true, for which the archive suffices; "
            raise DownloadError(
                f"no {self.pair} bars from {self.exchange} ({reason})",
                expected="an exchange that can be reached and a pair that it trades",
                instead="check market.exchange, market.pair and the network and run the command "
                f"again, which resumes a download; {without}or use market=file market.path=... or "
                "market=simulated",
            ) from error

    def _asked_pause(self) -> float:
        """The seconds that the last answer asks to wait."""
        seconds = (self._client.last_response_headers or {}).get("Retry-After", "")
        return float(seconds) if seconds.isdecimal() else 0.0

    def _bars(self, since: pd.Timestamp, until: pd.Timestamp) -> tuple[pd.DataFrame, pd.Timestamp]:
        """Return the possible bars of the period, and until when the answer reaches."""
        import ccxt

        step, first, end = (time.value // 10**6 for time in (self.interval, since, until))
        rows = self._client.fetch_ohlcv(
            self.pair, self._timeframe, first, (end - first) // step, {"until": end - 1}
        )
        # ccxt takes what is not JSON, such as a page about maintenance, for an answer without bars
        if not rows and self._client.last_json_response is None:
            raise ccxt.BadResponse("the answer is not JSON, or incomplete")
        table = np.array(rows, dtype="float64").reshape(len(rows), 1 + len(self._columns))
        closed = pd.to_datetime(table[:, 0].astype("int64") + step, unit="ms", utc=True)
        index: Any = closed.as_unit("ns").rename("close_time")
        for closes in index[(index <= since) | (index > until)]:
            raise DownloadError(
                f"{self.exchange} answers with a bar of {self.pair} that closes at {closes}",
                expected=f"bars that close after {since}, up to {until}",
                instead="choose fewer market.days, or another market.exchange",
            )
        bars = self._possible(pd.DataFrame(table[:, 1:], index, self._columns), self.exchange)
        # some exchanges return fewer bars than requested, so only those are certain
        return bars, index[-1].ceil(self.interval) if rows else until

    def _possible(self, bars: pd.DataFrame, origin: str) -> pd.DataFrame:
        """Return bars without those that have impossible values or times, which are logged."""
        index: Any = bars.index
        on_grid = index == index.floor(self.interval)
        valid = on_grid & ~index.duplicated() & possible(bars) & bars.notna().all(axis=1)
        if not valid.all():
            log.warning(
                "%d of %d bars of %s from %s are left out as impossible, the first closes at %s",
                *((~valid).sum(), len(bars), self.pair, origin, index[~valid][0]),
            )
        return bars.loc[valid]


def _client(name: str, url: str | None) -> Any:
    ccxt = import_extra("ccxt", "exchange")  # takes seconds, and only a download needs it
    import_extra("tenacity", "exchange")
    if name not in ccxt.exchanges:
        near = difflib.get_close_matches(name, ccxt.exchanges, n=3)
        raise DownloadError(
            f"market.exchange={name} is unknown to ccxt",
            expected=f"an exchange such as {', '.join(near) or 'binance, kraken or coinbase'}",
            instead="correct it, or use market=file market.path=... or market=simulated",
        )
    client = getattr(ccxt, name)({"enableRateLimit": True, "requests_trust_env": True})
    client.enableLastJsonResponse = True
    if url is not None:
        client.urls["api"] = _moved(client.urls["api"], url.rstrip("/"))
    return client


def _moved(addresses: Any, url: str) -> Any:
    """Return the API's addresses, nested as they are, at another host."""
    if isinstance(addresses, dict):
        return {name: _moved(address, url) for name, address in addresses.items()}
    return url + urlsplit(addresses).path if isinstance(addresses, str) else addresses
