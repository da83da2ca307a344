"""An exchange's klines over the network: asked page by page, patiently, and judged on arrival."""

from __future__ import annotations

import difflib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from requests import ConnectionError as BrokenError
from requests import PreparedRequest, RequestException, Response, Timeout
from requests.adapters import HTTPAdapter

from gafcnn.data.bars import COLUMNS, run_of_another
from gafcnn.durations import format_duration
from gafcnn.errors import DownloadError

_PAGE = 1000  # bars
_FIRST_ATTEMPTS = 3  # until it has answered once: there may be no network at all
_ATTEMPTS = 6  # from then on
_FIRST_PAUSE = 1.0  # seconds; doubled from attempt to attempt
_SILENCE = 10.0  # seconds without a byte, after which an answer is given up
_LONGEST = 30.0  # seconds for a whole body: one of a byte now and then never falls silent
_LARGEST = 16 * 2**20  # bytes of a body, unpacked; a page of bars has some 200 kB
_BLOCK = 2**16  # bytes read at a time
_PATIENCE = 600.0  # seconds; an exchange that asks for more has banned the address

# what ccxt stumbles over where an answer is of a shape that it does not expect
_MISSHAPEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

log = logging.getLogger(__name__)


class _AnswerError(Exception):
    """An answer that holds no bars, or not those asked for; another may."""


class Klines:
    """The klines of one pair at one exchange.

    Args:
        exchange: One of ccxt's.
        pair: Base and quote, as in `BNB/USDT`.
        interval: Time between two bars.
        url: Base address of a mirror of the exchange's API.
        kept: Where the bars go, for the error; None where they are not kept.

    Raises:
        DownloadError: ccxt knows no such exchange, or it offers no such pair or interval.
    """

    def __init__(
        self, exchange: str, pair: str, interval: pd.Timedelta, url: str | None, kept: Path | None
    ) -> None:
        self.pair, self.interval, self.kept = pair, interval, kept
        self._attempts = _FIRST_ATTEMPTS
        self._client = _client(exchange, url)
        self._timeframe = _timeframe(self._client, interval)
        self._page = _page(self._client)
        self._know_pair()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def pages(
        self, since: pd.Timestamp, until: pd.Timestamp
    ) -> Iterator[tuple[pd.DataFrame, pd.Timestamp, pd.Timestamp]]:
        """The bars that opened in [since, until), page by page.

        Yields:
            Bars indexed by close time (possibly none), and the stretch that they are all bars of.

        Raises:
            DownloadError: The exchange does not answer with bars, after some attempts.
        """
        while since < until:
            end = min(until, since + self._page * self.interval)
            bars = self._patiently(self._bars, since, end)
            # some exchanges give fewer bars than asked for: only up to the last is sure
            reached = end if bars.empty else bars.index[-1]
            yield bars, since, reached
            since = reached

    def _know_pair(self) -> None:
        base, _, quote = self.pair.partition("/")
        if self._client.id in ("binance", "binanceus"):
            # ccxt would load all markets of three APIs, of which one may be barred in a country
            names = {"base": base, "quote": quote, "baseId": base, "quoteId": quote}
            kind = {"spot": True, "type": "spot"}
            self._client.set_markets([{"id": base + quote, "symbol": self.pair, **names, **kind}])
            return
        self._client.has["fetchCurrencies"] = False
        self._patiently(self._client.load_markets)
        if self.pair not in self._client.markets:
            raise self._error(f"{self._client.id} has no pair {self.pair}", "a pair it trades")

    def _patiently(self, ask: Any, *args: Any) -> Any:
        """Ask again after errors that may pass, later from time to time, or when told to."""
        import ccxt

        why = ""
        for attempt in range(self._attempts):
            self._client.last_response_headers = self._client.last_json_response = None
            try:
                answer = ask(*args)
            except (ccxt.OperationFailed, _AnswerError) as error:
                why = _reason(error)
            except _MISSHAPEN:
                why = "its answer is of no shape that ccxt knows"
            except ccxt.BaseError as error:
                raise self._error(_reason(error), f"{self.pair} bars") from error
            else:
                self._attempts = _ATTEMPTS
                return answer
            pause = max(_FIRST_PAUSE * 2**attempt, self._retry_after())
            if pause > _PATIENCE:
                why = f"{why}; it asks to wait {pause:,.0f} s"
                break
            if attempt < self._attempts - 1:
                log.info("%s; asking again in %.1f s", why, pause)
                time.sleep(pause)
        raise self._error(f"{self._client.id} cannot be asked for {self.pair} ({why})", "bars")

    def _retry_after(self) -> float:
        headers = self._client.last_response_headers or {}
        seconds = headers.get("Retry-After", "")
        return float(seconds) if seconds.isdecimal() else 0.0

    def _bars(self, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        step, first, end = (time.value // 10**6 for time in (self.interval, since, until))
        rows = self._client.fetch_ohlcv(
            self.pair, self._timeframe, first, (end - first) // step, {"until": end - 1}
        )
        answer = self._client.last_json_response
        if not rows and not _says_none(answer):
            raise _AnswerError("its answer is empty, cut short or of another shape")
        table = _checked(_table(rows), range(first, end, step))
        closed = pd.to_datetime(table[:, 0].astype("int64") + step, unit="ms", utc=True)
        index = closed.as_unit("ns").rename("close_time")
        return pd.DataFrame(table[:, 1:], index=index, columns=list(COLUMNS))

    def _error(self, found: str, expected: str) -> DownloadError:
        goes_on = "" if self.kept is None else f" (it goes on after what is in {self.kept})"
        return DownloadError(
            found,
            expected=expected,
            instead="check market.exchange, market.pair and the network and run the command again"
            f"{goes_on}, or take market=file market.path=... or market=simulated",
        )


class _BoundedAdapter(HTTPAdapter):
    """Answers whose bodies end: requests would read one of any size for any time."""

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """Send a request, and read its answer whole.

        Raises:
            ConnectionError: The body is larger than `_LARGEST`.
            Timeout: The body takes longer than `_LONGEST`.
        """
        response = super().send(request, *args, **(options | {"stream": True}))
        # where requests keeps a body that has been read; it does not read it again
        response._content = _body(response)
        return response


def _body(response: Response) -> bytes:
    body = bytearray()
    end = time.monotonic() + _LONGEST
    # a block that trickles in is not handed on before it is full: the connection is cut meanwhile
    with socket.fromfd(response.raw.fileno(), socket.AF_INET, socket.SOCK_STREAM) as connection:
        timer = threading.Timer(_LONGEST, _cut, [connection])
        timer.daemon = True
        timer.start()
        try:
            for block in response.iter_content(_BLOCK):  # unpacked
                body += block
                if len(body) > _LARGEST:
                    response.close()
                    raise BrokenError(f"more than {_LARGEST:,} bytes")
        except RequestException:
            if time.monotonic() < end:
                raise
        finally:
            timer.cancel()
            timer.join()
    if time.monotonic() >= end:  # a body of unknown length ends without an error where it is cut
        response.close()
        raise Timeout(f"more than {_LONGEST} s")
    return bytes(body)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


def _client(name: str, url: str | None) -> Any:
    import ccxt  # takes seconds, and only a download needs it

    if name not in ccxt.exchanges:
        near = difflib.get_close_matches(name, ccxt.exchanges, n=3)
        raise DownloadError(
            f"market.exchange={name} is none that ccxt knows",
            expected=f"one such as {', '.join(near) or 'binance, kraken or coinbase'}",
            instead="correct it, or take market=file market.path=... or market=simulated",
        )
    options = {"enableRateLimit": True, "requests_trust_env": True, "timeout": 1000 * _SILENCE}
    client = getattr(ccxt, name)(options)
    for scheme in ("http://", "https://"):
        client.session.mount(scheme, _BoundedAdapter())
    client.enableLastJsonResponse = True
    # ccxt drops rows that it cannot read, and an answer of such rows would pass for an outage
    client.parse_ohlcvs = lambda rows, market=None, *_: [
        client.parse_ohlcv(r, market) for r in rows
    ]
    if url is not None:
        client.urls["api"] = _moved(client.urls["api"], url.rstrip("/"))
    return client


def _moved(addresses: Any, url: str) -> Any:
    """The API's addresses, nested as they are, at another host."""
    if isinstance(addresses, dict):
        return {name: _moved(address, url) for name, address in addresses.items()}
    return url + urlsplit(addresses).path if isinstance(addresses, str) else addresses


def _timeframe(client: Any, interval: pd.Timedelta) -> str:
    offered = {
        int(client.parse_timeframe(name)): name
        for name in (client.timeframes or {})
        if client.has["fetchOHLCV"] is True and not name.endswith(("M", "y"))
    }
    seconds = int(interval.total_seconds())
    if seconds not in offered:
        raise DownloadError(
            f"{client.id} has no bars of {format_duration(interval)}",
            expected=f"one of {', '.join(offered.values()) or 'no interval: it has no bars'}",
            instead="set market.interval to one, or market.exchange to another exchange",
        )
    return offered[seconds]


def _page(client: Any) -> int:
    limit = client.feature_value_by_type("spot", None, "fetchOHLCV", "limit")
    return min(limit or _PAGE, _PAGE)


def _table(rows: Any) -> NDArray[np.float64]:
    """Rows of time (ms), open, high, low, close and volume, ordered by time."""
    try:
        table = np.array(rows, dtype="float64").reshape(len(rows), 1 + len(COLUMNS))
    except (TypeError, ValueError) as error:
        raise _AnswerError("its answer is no table of bars") from error
    if not np.isfinite(table).all():
        raise _AnswerError("its answer has bars without numbers")
    return table[table[:, 0].argsort(kind="stable")]


def _says_none(answer: Any) -> bool:
    """Whether an answer without bars has a list of none, as that of an outage has."""
    if isinstance(answer, dict):
        return any(_says_none(value) for value in answer.values())
    return isinstance(answer, list) and (not answer or any(_says_none(value) for value in answer))


def _checked(table: NDArray[np.float64], asked: range) -> NDArray[np.float64]:
    """What may be kept: `check_bars` comes too late for what is on disk and not asked for again."""
    opened, prices = table[:, 0], table[:, 1:5]
    if not np.isin(opened, asked).all():
        raise _AnswerError("its answer has bars of times that were not asked for")
    steps = np.diff(opened).astype("int64")
    if (steps == 0).any():
        raise _AnswerError("its answer has a bar twice")
    if len(steps) and len(run_of_another(steps, asked.step)):
        raise _AnswerError("its answer has bars of another interval")
    extremes = np.c_[prices.max(axis=1), prices.min(axis=1)]
    if (prices <= 0).any() or (table[:, 5] < 0).any() or (prices[:, 1:3] != extremes).any():
        raise _AnswerError("its answer has bars with impossible prices or volumes")
    return table


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    told = f"{text[:160]}..." if len(text) > 160 else text
    return told if isinstance(error, _AnswerError) else f"{type(error).__name__}: {told}"
