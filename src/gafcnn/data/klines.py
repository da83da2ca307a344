"""An exchange's klines, requested page by page with retries, and checked before they are used.

The newest closed bars, for live decisions, are held in memory only.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from gafcnn.data.bars import COLUMNS, Origin, check_bars, check_values, gaps
from gafcnn.durations import format_duration
from gafcnn.errors import BarsError, DownloadError

_PAGE = 1000  # bars
_ATTEMPTS = 5
_FIRST_PAUSE = 1.0  # seconds; doubled with each attempt
_SILENCE = 10.0  # seconds without data after which a request fails
_MAX_PAUSE = 600.0  # seconds; an exchange that asks for more has banned the address

Period = tuple[pd.Timestamp, pd.Timestamp]

log = logging.getLogger(__name__)


# raised when an answer has an unexpected shape, by ccxt as well
_INVALID = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    BarsError,
)


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
        self._client = _client(exchange, url)
        self._timeframe = _timeframe(self._client, interval)
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
    try:
        import ccxt  # takes seconds, and only a download needs it
        import tenacity as tenacity
    except ImportError as error:
        raise DownloadError(
            f"{error.name} is not installed",
            expected="the packages of the extra exchange",
            instead="run pip install 'gafcnn[exchange]'",
        ) from error

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


def _timeframe(client: Any, interval: pd.Timedelta) -> str:
    offered = {int(client.parse_timeframe(name)): name for name in client.timeframes or ()}
    if int(interval.total_seconds()) not in offered:
        raise DownloadError(
            f"{client.id} has no bars of {format_duration(interval)}",
            expected=f"one of {', '.join(offered.values()) or 'no interval: it has no bars'}",
            instead="change market.interval or market.exchange",
        )
    return offered[int(interval.total_seconds())]


def _has_empty_list(answer: Any) -> bool:
    """Whether an answer contains an empty list, as the answer for an outage does."""
    if isinstance(answer, dict):
        return any(map(_has_empty_list, answer.values()))
    return isinstance(answer, list) and (not answer or any(map(_has_empty_list, answer)))


def _reason(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".removeprefix("ValueError: ")
    return " ".join(text.split())[:200]
