"""Small bars and a local HTTP server for the tests of data."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike

from gafcnn.durations import format_duration


def _make_bars(
    close: ArrayLike, *, interval: str = "1min", missing: Iterable[int] = (), **columns: ArrayLike
) -> pd.DataFrame:
    """Bars from 2024-01-01 on; a column that is not given equals the close.

    Rows in `missing` are dropped, which leaves gaps.
    """
    close = np.asarray(close, dtype=np.float64)
    length = pd.Timedelta(interval)
    times = pd.date_range(
        pd.Timestamp("2024-01-01", tz="UTC") + length, periods=len(close), freq=length, unit="ns"
    )
    values = {
        name: np.asarray(columns.get(name, close), dtype=np.float64)
        for name in ("open", "high", "low", "close", "volume")
    }
    bars = pd.DataFrame(values, index=pd.DatetimeIndex(times, name="close_time"))
    bars = bars.drop(index=bars.index[sorted(missing)])
    bars.attrs = {"interval": format_duration(length)}
    return bars


def _random_bars(
    n: int, *, interval: str = "1min", missing: Iterable[int] = (), seed: int = 0
) -> pd.DataFrame:
    """A random walk with highs and lows around it."""
    rng = np.random.default_rng(seed)
    walk = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, n + 1)))
    begin, close = walk[:-1], walk[1:]
    wicks = 1 + np.abs(rng.normal(0, 0.001, (2, n)))
    return _make_bars(
        close,
        interval=interval,
        missing=missing,
        open=begin,
        high=np.maximum(begin, close) * wicks[0],
        low=np.minimum(begin, close) / wicks[1],
        volume=rng.uniform(1, 10, n),
    )


def _tick_bars(
    n: int, *, interval: str = "1min", missing: Iterable[int] = (), seed: int = 0
) -> pd.DataFrame:
    """A random walk on a grid of prices, in which every candlestick pattern occurs.

    A bar opens at or near the previous close, and often has no shadows.
    """
    rng = np.random.default_rng(seed)
    close = 2000 + np.cumsum(rng.integers(-6, 7, n))
    begin = np.concatenate([[2000], close[:-1]]) + rng.integers(-3, 4, n)
    wicks = rng.geometric(0.35, (2, n)) - 1
    return _make_bars(
        close / 10,
        interval=interval,
        missing=missing,
        open=begin / 10,
        high=(np.maximum(begin, close) + wicks[0]) / 10,
        low=(np.minimum(begin, close) - wicks[1]) / 10,
        volume=rng.uniform(1, 10, n),
    )


@pytest.fixture(scope="session")
def make_bars() -> Callable[..., pd.DataFrame]:
    return _make_bars


@pytest.fixture(scope="session")
def random_bars() -> Callable[..., pd.DataFrame]:
    return _random_bars


@pytest.fixture(scope="session")
def tick_bars() -> Callable[..., pd.DataFrame]:
    return _tick_bars


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    react: Callable[[Any], None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two packets

    def do_GET(self) -> None:
        self.server.react(self)

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        """Send bytes, or anything else as JSON; a header is named with underscores."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        fields = {"Content_Type": "application/json", "Content_Length": str(len(body)), **headers}
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Do not log."""


@pytest.fixture
def http_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    """A local server; a test sets `react`, which is given the handler of each request."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with _Server(("127.0.0.1", 0), _Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.005})
        thread.start()
        yield http
        http.shutdown()
        thread.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without a pause, unless the exchange asks for one."""
    for module in ("archive", "exchange"):
        monkeypatch.setattr(f"gafcnn.data.{module}._FIRST_PAUSE", 0.001)
    monkeypatch.setattr("ccxt.Exchange.throttle", lambda self, cost=None: None)
