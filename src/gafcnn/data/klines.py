"""An exchange's klines, requested page by page with retries, and checked before they are used.

The newest closed bars, for live decisions, are held in memory only.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from gafcnn.data.bars import COLUMNS, Origin, check_bars, check_values, gaps, other_interval
from gafcnn.durations import format_duration
from gafcnn.errors import BarsError, DownloadError

_PAGE = 1000  # bars
_FIRST_ATTEMPTS = 3  # before the first answer: there may be no network
_ATTEMPTS = 6  # afterwards
_FIRST_PAUSE = 1.0  # seconds; doubled with each attempt
_SILENCE = 10.0  # seconds without data after which a request fails
_MAX_PAUSE = 600.0  # seconds; an exchange that asks for more has banned the address

Period = tuple[pd.Timestamp, pd.Timestamp]

log = logging.getLogger(__name__)


class _AnswerError(Exception):
    """An answer without the bars that were requested."""


# raised when an answer has an unexpected shape, by ccxt as well
_INVALID = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    *(_AnswerError, BarsError),
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
        self,
        exchange: str,
        pair: str,
        interval: pd.Timedelta,
        url: str | None = None,
    ) -> None:
        self.pair, self.interval = pair, interval
        self._answered = False
        self._client = _client(exchange, url)
        self._timeframe = _timeframe(self._client, interval)
        limit = self._client.feature_value_by_type("spot", None, "fetchOHLCV", "limit")
        self._page = min(limit or _PAGE, _PAGE)
        self._load_pair()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

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
        if self._client.id in ("binance", "binanceus"):
            # ccxt would load the markets of three APIs, some of which are blocked in some countries
            base, _, quote = self.pair.partition("/")
            names = {"base": base, "quote": quote, "baseId": base, "quoteId": quote}
            kind = {"spot": True, "type": "spot"}
            self._client.set_markets([{"id": base + quote, "symbol": self.pair, **names, **kind}])
            return
        self._client.has["fetchCurrencies"] = False
        self._retry(self._client.load_markets)
        if self.pair not in self._client.markets:
            raise self._error(f"{self._client.id} has no pair {self.pair}")

    def _retry(self, request: Any, *args: Any) -> Any:
        """Return the answer to a request; retry after errors that may be temporary."""
        import ccxt
        import tenacity

        temporary = (ccxt.OperationFailed, *_INVALID)
        most = _ATTEMPTS if self._answered else _FIRST_ATTEMPTS
        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(temporary),
            wait=lambda s: max(_FIRST_PAUSE * 2 ** (s.attempt_number - 1), self._retry_after()),
            stop=lambda s: s.attempt_number >= most or self._retry_after() > _MAX_PAUSE,
            before_sleep=tenacity.before_sleep_log(log, logging.INFO),
            reraise=True,
        )
        try:
            self._client.last_response_headers = self._client.last_json_response = None
            answer = retry(request, *args)
        except (ccxt.BaseError, *_INVALID) as error:
            text = " ".join(str(error).split())
            reason = f"{type(error).__name__}: {text}".removeprefix("_AnswerError: ")
            if (pause := self._retry_after()) > _MAX_PAUSE:
                reason = f"it asks to wait {pause:,.0f} s; {reason}"
            raise self._error(
                f"no {self.pair} bars from {self._client.id} ({reason[:200]})"
            ) from error
        self._answered = True
        return answer

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
            raise _AnswerError("the answer is empty, incomplete or of another shape")
        table = np.array(rows, dtype="float64").reshape(len(rows), 1 + len(COLUMNS))
        table = table[table[:, 0].argsort(kind="stable")]
        if not np.isfinite(table).all() or not np.isin(table[:, 0], range(first, end, step)).all():
            raise _AnswerError("the answer has missing numbers, or bars of other times")
        steps = np.diff(table[:, 0]).astype("int64")
        if len(steps) and len(other_interval(steps, step)):
            raise _AnswerError("the answer has bars of another interval")
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


@dataclass(eq=False)
class NewestBars:
    """The newest bars of a pair. Each call of `read` requests those that closed since the last.

    Args:
        exchange: An exchange that ccxt supports.
        pair: Base and quote, such as BNB/USDT.
        interval: Time between two bars.
        count: Number of bars.
        settle: How long after its close a bar is requested.
        url: Base address of a mirror of the exchange's API; by default the exchange's own.
    """

    exchange: str
    pair: str
    interval: pd.Timedelta
    count: int
    settle: pd.Timedelta
    url: str | None = None

    def __post_init__(self) -> None:
        self._held: pd.DataFrame | None = None
        self._klines: Klines | None = None

    def read(self, now: pd.Timestamp) -> pd.DataFrame:
        """Return the bars up to the newest one that closed `settle` before `now`.

        Bars that are missing are requested again with the next call, since they may be late.

        Raises:
            DownloadError: The exchange cannot be reached or does not answer with bars.
            BarsError: The bars are invalid.
        """
        until: Any = (now - self.settle).floor(self.interval)
        since = until - self.count * self.interval
        found = []
        if self._held is not None:
            missing = gaps(self._held)
            last = missing["after"].iloc[0] if len(missing) else self._held.index[-1]
            found = [self._held.loc[since + self.interval : last]]
            since = max(since, last)
        if self._klines is None:
            self._klines = Klines(self.exchange, self.pair, self.interval, self.url)
        found = [*found, *(bars for bars, _, _ in self._klines.pages([(since, until)]))]
        if not any(map(len, found)):
            raise DownloadError(
                f"{self.exchange} has no {self.pair} bars of {format_duration(self.interval)} from "
                f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}",
                expected="at least two",
                instead="check market.pair",
            )
        bars = pd.concat([bars for bars in found if len(bars)])
        self._held = check_bars(bars, f"{self.exchange} {self.pair}", self.interval)
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
