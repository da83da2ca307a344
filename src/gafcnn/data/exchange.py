"""Bars from an exchange, downloaded once and kept in one file per day.

<folder>/<symbol>_<interval>/
    download.json                     exchange, pair, and the end of the first download
    2025-05-04.parquet                the bars that opened on that day, UTC; possibly none
    2025-05-05.until-133000.parquet   a day that was incomplete when it was requested
A file's name tells which period was requested, whether or not the exchange had bars then, so that
an outage is not requested twice. Each file holds the fingerprint of its bars, so that damage is
detected. A file that is missing or damaged is downloaded again, and no other. Klines are requested
page by page with retries, and checked before they are used. The newest closed bars, for live
decisions, are held in memory only.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator, PlainValidator

from gafcnn import atomic_io
from gafcnn.data.bars import COLUMNS, Origin, check_bars, check_values, fingerprint, gaps
from gafcnn.data.sources import Days, Interval, Symbol, Symbols, count_bars, register_source
from gafcnn.durations import format_duration
from gafcnn.errors import BarsError, ConfigError, DownloadError, import_extra
from gafcnn.progress import counting
from gafcnn.settings import settings

RECORD, LOCK = "download.json", ".lock"
DAY = timedelta(days=1)

SETTLE = pd.to_timedelta("10s")
"""How long after its close a bar is requested: clocks differ, and new bars may be late."""

# the longest that fits is the quote currency, so that BTCFDUSD is not BTCFD/USD
QUOTES = (
    *("FDUSD", "USDT", "USDC", "USDP", "BUSD", "TUSD", "USD", "DAI"),
    *("EUR", "GBP", "TRY", "BRL", "JPY", "BTC", "ETH", "BNB"),
)
"""Quote currencies that are recognised at the end of a symbol."""

_UNTIL = "%Y-%m-%d.until-%H%M%S"
_SCHEMA = pa.schema(
    [("close_time", pa.timestamp("ns", "UTC")), *((name, pa.float64()) for name in COLUMNS)]
)
_SEAL = b"fingerprint"

_PAGE = 1000  # bars
_ATTEMPTS = 5
_FIRST_PAUSE = 1.0  # seconds; doubled with each attempt
_SILENCE = 10.0  # seconds without data after which a request fails
_MAX_PAUSE = 600.0  # seconds; an exchange that asks for more has banned the address

Period = tuple[pd.Timestamp, pd.Timestamp]

# raised when an answer has an unexpected shape, by ccxt as well
_INVALID = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    BarsError,
)

log = logging.getLogger(__name__)


def utc_time(text: str, notation: str = "ISO8601") -> pd.Timestamp:
    """Return a time from a text; UTC if it has no offset. Raises ValueError for other texts."""
    time = pd.to_datetime(text, utc=True, format=notation, errors="coerce")
    if not isinstance(time, pd.Timestamp):
        raise ValueError("expected an ISO time, UTC, such as 2025-05-04T00:00")
    return time.as_unit("ns")


def _divides_a_day(step: pd.Timedelta) -> pd.Timedelta:
    if step < timedelta(seconds=1) or step * (DAY // step) != DAY:
        raise ValueError("expected a divisor of a day, such as 1min, 15min or 1h")
    return step


_Interval: TypeAlias = Annotated[Interval, AfterValidator(_divides_a_day)]
_Time: TypeAlias = Annotated[pd.Timestamp, PlainValidator(lambda time: utc_time(str(time)))]


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
    end: _Time | None = None
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
            symbol: NewestBars(
                partial(Klines, self.exchange, pair, self.interval, self.url), count, settle
            )
            for symbol, pair in self.pairs().items()
        }

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
        until: Any = closed if self.end is None else self.end.floor(self.interval)
        if self.end is None and stored is not None and not self.refresh:
            until = stored
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
        bars, missing = held(place, since, until)
        if not missing:
            atomic_io.write_json(place / RECORD, record)
            return bars
        klines = Klines(self.exchange, pair, self.interval, self.url)
        total = sum((end - begin) // self.interval for begin, end in missing)
        with counting(f"bars {pair}", total, "bars") as advance:
            for page, begin, end in klines.pages(missing):
                # written after the first answer, so that a wrong pair is not recorded
                atomic_io.write_json(place / RECORD, record)
                keep(place, page, begin, end)
                advance((end - begin) // self.interval)
        return held(place, since, until)[0]


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


# --- one file per day -----------------------------------------------------------------------------


def held(
    place: Path, since: pd.Timestamp, until: pd.Timestamp
) -> tuple[pd.DataFrame, list[Period]]:
    """Return the bars on disk of the period [since, until), by close time, not yet checked.

    Returns:
        The bars, and the periods whose bars were never requested or are damaged. The first day is
        held or missing from midnight on.
    """
    found = [_SCHEMA.empty_table().to_pandas().set_index("close_time")]
    missing: list[Period] = []
    for day in _days(since, until):
        part, begin = _find_part(place, day)
        bars = None if part is None else _read(part)
        if bars is None:
            begin = day
        else:
            found.append(bars)
        end = min(day + DAY, until)
        if begin < end:
            if missing and missing[-1][1] == begin:
                begin = missing.pop()[0]
            missing.append((begin, end))
    bars = pd.concat(found)
    return bars.loc[(bars.index > since) & (bars.index <= until)], missing


def keep(place: Path, bars: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> None:
    """Write an answer for [since, until) to the files of its days.

    Raises:
        DiskError: The disk is full or cannot be written.
    """
    for day in _days(since, until):
        before, _ = _find_part(place, day)
        end = min(day + DAY, until)
        new = bars.loc[(bars.index > day) & (bars.index <= end)]
        begun = None if before is None else _read(before)
        if begun is not None:
            new = pd.concat([begun, new])
        table = pa.Table.from_pandas(new.reset_index(), _SCHEMA, preserve_index=False)
        packed = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({_SEAL: fingerprint(new)}), packed)
        atomic_io.write_bytes(_part(place, day, end), memoryview(packed.getvalue()))
        if before is not None:
            before.unlink()


def damaged_parts(place: Path) -> list[Path]:
    """Return the damaged files, in the order of their days."""
    return [part for part in sorted(place.glob("*.parquet")) if _read(part) is None]


def _days(since: pd.Timestamp, until: pd.Timestamp) -> pd.DatetimeIndex:
    return pd.date_range(since.normalize(), until, freq="D", inclusive="left")


def _find_part(place: Path, day: pd.Timestamp) -> tuple[Path | None, pd.Timestamp]:
    """Return the file of a day, and the end of the period that it holds."""
    whole = _part(place, day, day + DAY)
    if whole.exists():
        return whole, day + DAY
    begun = sorted(place.glob(f"{day:%Y-%m-%d}.until-{'[0-9]' * 6}.parquet"))
    if not begun:
        return None, day
    return begun[-1], utc_time(begun[-1].stem, _UNTIL)


def _part(place: Path, day: pd.Timestamp, until: pd.Timestamp) -> Path:
    return place / f"{until.strftime(_UNTIL) if until < day + DAY else day.date()}.parquet"


def _read(part: Path) -> pd.DataFrame | None:
    """Return the bars of a file; None if it is damaged."""
    try:
        table = pq.ParquetFile(part).read()
        bars = table.to_pandas(ignore_metadata=True).set_index("close_time")
        seal = (table.schema.metadata or {}).get(_SEAL)
        whole = table.schema.equals(_SCHEMA) and seal == fingerprint(bars).encode()
    except PermissionError:
        raise
    except Exception:  # noqa: BLE001 - the parser raises many types for damaged files
        return None
    return bars if whole else None


# --- klines ---------------------------------------------------------------------------------------


class Klines:
    """The klines of a pair at an exchange.

    Args:
        exchange: An exchange that ccxt supports.
        pair: Base and quote, such as BNB/USDT.
        interval: Time between two bars.
        url: Base address of a mirror of the exchange's API.

    Raises:
        DownloadError: The exchange, pair or interval does not exist, or ccxt is not installed.
    """

    def __init__(
        self, exchange: str, pair: str, interval: pd.Timedelta, url: str | None = None
    ) -> None:
        self.exchange, self.pair, self.interval = exchange, pair, interval
        self._client = client = _client(exchange, url)
        seconds = int(interval.total_seconds())
        offered = {int(client.parse_timeframe(name)): name for name in client.timeframes or ()}
        if seconds not in offered:
            raise DownloadError(
                f"{exchange} has no bars of {format_duration(interval)}",
                expected=f"one of {', '.join(offered.values()) or 'no interval: it has no bars'}",
                instead="change market.interval or market.exchange",
            )
        self._timeframe = offered[seconds]
        limit = self._client.feature_value_by_type("spot", None, "fetchOHLCV", "limit")
        self._page = min(limit or _PAGE, _PAGE)
        self._load_pair()

    def pages(self, periods: Sequence[Period]) -> Iterator[tuple[pd.DataFrame, *Period]]:
        """Request the bars that opened in each period [since, until), page by page.

        Yields:
            Bars indexed by close time (possibly none), and the period that they cover.

        Raises:
            DownloadError: The exchange does not answer with bars after several attempts.
        """
        for since, until in periods:
            while since < until:
                end = min(until, since + self._page * self.interval)
                bars = self._retry(self._bars, since, end)
                # some exchanges return fewer bars than requested, so only those are certain
                reached = end if bars.empty else bars.index[-1]
                yield bars, since, reached
                since = reached

    def _load_pair(self) -> None:
        if self.exchange in ("binance", "binanceus"):
            # ccxt would load the markets of three APIs, some of which are blocked in some countries
            base, _, quote = self.pair.partition("/")
            names = {"base": base, "quote": quote, "baseId": base, "quoteId": quote}
            kind = {"spot": True, "type": "spot"}
            self._client.set_markets([{"id": base + quote, "symbol": self.pair, **names, **kind}])
            return
        self._client.has["fetchCurrencies"] = False
        self._retry(self._client.load_markets)
        if self.pair not in self._client.markets:
            raise self._error(f"{self.exchange} has no pair {self.pair}")

    def _retry(self, request: Any, *args: Any) -> Any:
        """Return the answer to a request; retry after errors that may be temporary."""
        import ccxt
        import tenacity

        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((ccxt.OperationFailed, *_INVALID)),
            wait=lambda s: max(_FIRST_PAUSE * 2 ** (s.attempt_number - 1), self._retry_after()),
            stop=lambda s: s.attempt_number >= _ATTEMPTS or self._retry_after() > _MAX_PAUSE,
            before_sleep=self._log_retry,
            reraise=True,
        )
        try:
            self._client.last_response_headers = self._client.last_json_response = None
            return retry(request, *args)
        except (ccxt.BaseError, *_INVALID) as error:
            reason = _reason(error)
            if (pause := self._retry_after()) > _MAX_PAUSE:
                reason = f"it asks to wait {pause:,.0f} s; {reason}"
            raise self._error(f"no {self.pair} bars from {self.exchange} ({reason})") from error

    def _log_retry(self, state: Any) -> None:
        log.info(
            "no %s bars from %s yet (%s); asking again in %.3g s",
            *(self.pair, self.exchange, _reason(state.outcome.exception()), state.upcoming_sleep),
        )

    def _retry_after(self) -> float:
        headers = self._client.last_response_headers or {}
        seconds = headers.get("Retry-After", "")
        return float(seconds) if seconds.isdecimal() else 0.0

    def _bars(self, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        step, first, end = (time.value // 10**6 for time in (self.interval, since, until))
        rows = self._client.fetch_ohlcv(
            self.pair, self._timeframe, first, (end - first) // step, {"until": end - 1}
        )
        if not rows and not _has_empty_list(self._client.last_json_response):
            raise ValueError("the answer is empty, incomplete or of another shape")
        table = np.array(rows, dtype="float64").reshape(len(rows), 1 + len(COLUMNS))
        table = table[table[:, 0].argsort(kind="stable")]
        if not np.isfinite(table).all() or not np.isin(table[:, 0], range(first, end, step)).all():
            raise ValueError("the answer has missing numbers, or bars of other times")
        closed = pd.to_datetime(table[:, 0].astype("int64") + step, unit="ms", utc=True)
        index = closed.as_unit("ns").rename("close_time")
        bars = pd.DataFrame(table[:, 1:], index=index, columns=list(COLUMNS))
        check_values(bars, Origin("the answer"))
        return bars

    def _error(self, found: str) -> DownloadError:
        return DownloadError(
            found,
            expected="an exchange that can be reached and a pair that it trades",
            instead="check market.exchange, market.pair and the network and run the command again, "
            "which resumes a download; or use market=file market.path=... or market=simulated",
        )


class NewestBars:
    """The newest bars of a pair. Each call of `read` requests those that closed since the last.

    Args:
        connect: Returns the pair's klines; called by the first `read`.
        count: Number of bars.
        settle: How long after its close a bar is requested.
    """

    def __init__(self, connect: Callable[[], Klines], count: int, settle: pd.Timedelta) -> None:
        self._connect, self._count, self._settle = connect, count, settle
        self._klines: Klines | None = None
        self._held: pd.DataFrame | None = None

    def read(self, now: pd.Timestamp) -> pd.DataFrame:
        """Return the bars up to the newest one that closed `settle` before `now`.

        Bars that are missing are requested again with the next call, since they may be late.

        Raises:
            DownloadError: The exchange cannot be reached or does not answer with bars.
            BarsError: The bars are invalid.
        """
        self._klines = klines = self._klines or self._connect()
        until: Any = (now - self._settle).floor(klines.interval)
        since = until - self._count * klines.interval
        found = []
        if self._held is not None:
            missing = gaps(self._held)
            last = missing["after"].iloc[0] if len(missing) else self._held.index[-1]
            found = [self._held.loc[since + klines.interval : last]]
            since = max(since, last)
        found += [bars for bars, _, _ in klines.pages([(since, until)])]
        bars = pd.concat(found)
        self._held = check_bars(bars, f"{klines.exchange} {klines.pair}", klines.interval)
        return self._held


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
    options = {"enableRateLimit": True, "requests_trust_env": True, "timeout": 1000 * _SILENCE}
    client = getattr(ccxt, name)(options)
    client.enableLastJsonResponse = True
    # ccxt's own function drops malformed rows, which would then look like an outage
    client.parse_ohlcvs = lambda rows, market=None, *_: [
        client.parse_ohlcv(row, market) for row in rows
    ]
    if url is not None:
        client.urls["api"] = _moved(client.urls["api"], url.rstrip("/"))
    return client


def _moved(addresses: Any, url: str) -> Any:
    """Return the API's addresses, nested as they are, at another host."""
    if isinstance(addresses, dict):
        return {name: _moved(address, url) for name, address in addresses.items()}
    return url + urlsplit(addresses).path if isinstance(addresses, str) else addresses


def _has_empty_list(answer: Any) -> bool:
    """Whether an answer contains an empty list, as the answer for an outage does."""
    if isinstance(answer, dict):
        return any(map(_has_empty_list, answer.values()))
    return isinstance(answer, list) and (not answer or any(map(_has_empty_list, answer)))


def _reason(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".removeprefix("ValueError: ")
    return " ".join(text.split())[:200]
