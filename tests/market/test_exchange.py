"""A download is asked for once, kept, and gone on with, whatever the network does.

The exchange is a real HTTP server on this machine that speaks Binance's klines, and Bitstamp's.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pandas as pd
import pytest

from gafcnn.atomic_io import read_sealed
from gafcnn.data.bars import COLUMNS, gaps
from gafcnn.data.exchange import from_exchange
from gafcnn.data.newest import NewestBars
from gafcnn.data.sources import Market
from gafcnn.errors import BarsError, ConfigError, DiskError, DownloadError

MINUTE = 60_000  # ms
DAY, QUARTER = timedelta(days=1), timedelta(minutes=15)


def moment(time: int | str) -> pd.Timestamp:
    """A time from epoch milliseconds or ISO text."""
    found = pd.to_datetime(time, unit="ms" if isinstance(time, int) else None, utc=True)
    assert isinstance(found, pd.Timestamp)
    return found.as_unit("ns")


def milliseconds(time: pd.Timestamp) -> int:
    return time.value // 10**6


LISTED = moment("2017-01-01")
END = "2025-05-10T06:00"
UNTIL = moment(END)


@dataclass(frozen=True)
class Request:
    """What was asked, and when, by the server's own clock."""

    at: float
    path: str
    asked: dict[str, str]

    @property
    def start(self) -> pd.Timestamp:
        return moment(int(self.asked["startTime"]))

    @property
    def end(self) -> pd.Timestamp:
        """Exclusive."""
        return moment(int(self.asked["endTime"]) + 1)


Fault = Callable[["Handler", list[Any]], None]


@dataclass
class LocalExchange:
    """Bars of any time, but none in outages and before the listing; faults on demand."""

    url: str = ""
    listed: pd.Timestamp = LISTED
    outages: list[tuple[pd.Timestamp, pd.Timestamp]] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    always: Fault | None = None
    requests: list[Request] = field(default_factory=list)

    def rows(self, first: int, last: int, step: int, limit: int) -> list[list[float]]:
        """Time (ms), open, high, low, close and volume of the bars that open in [first, last]."""
        rows: list[list[float]] = []
        opened = -(-first // step) * step
        listed = milliseconds(self.listed)
        outages = [(milliseconds(begin), milliseconds(end)) for begin, end in self.outages]
        while opened <= min(last, int(time.time() * 1000)) and len(rows) < limit:
            out = any(begin <= opened < end for begin, end in outages)
            if opened >= listed and not out:
                rows.append([opened, *bar(opened)])
            opened += step
        return rows

    def expected(self, since: pd.Timestamp, until: pd.Timestamp, interval: str) -> pd.DataFrame:
        """The bars that opened in [since, until), labelled by close time."""
        step = pd.Timedelta(interval)
        first, last = milliseconds(since), milliseconds(until) - 1
        rows = self.rows(first, last, step.value // 10**6, 10**9)
        times = pd.to_datetime([row[0] for row in rows], unit="ms", utc=True).as_unit("ns") + step
        return pd.DataFrame(
            [row[1:] for row in rows], index=times.rename("close_time"), columns=list(COLUMNS)
        )


def bar(opened: int) -> tuple[float, float, float, float, float]:
    """Any bar is told by its time alone."""
    turn = opened / MINUTE / 97
    first, last = (round(600 + 50 * math.sin(t), 2) for t in (turn, turn + 0.01))
    return first, max(first, last) + 1, min(first, last) - 1, last, round(5 + math.cos(turn), 3)


class Handler(BaseHTTPRequestHandler):
    """One request, answered as the exchange's state says."""

    exchange: LocalExchange
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two packets

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = dict(parse_qsl(parts.query))
        self.exchange.requests.append(Request(time.monotonic(), parts.path, asked))
        fault = self.exchange.faults.pop(len(self.exchange.requests), self.exchange.always)
        if parts.path == "/api/v3/klines":
            self.klines(asked, fault)
        elif parts.path.rstrip("/").endswith("/markets"):
            (fault or Handler.answer)(self, [BITSTAMP_MARKET])
        elif parts.path.rstrip("/").endswith("/ohlc/bnbusdt"):
            self.ohlc(asked, fault)
        else:
            self.answer({"code": -1100, "msg": "no such place"}, 404)

    def klines(self, asked: dict[str, str], fault: Fault | None) -> None:
        if asked["symbol"] != "BNBUSDT":
            self.answer({"code": -1121, "msg": "Invalid symbol."}, 400)
            return
        step = int(pd.Timedelta(asked["interval"].replace("m", "min")).total_seconds() * 1000)
        first, last = int(asked["startTime"]), int(asked["endTime"])
        rows = self.exchange.rows(first, last, step, min(int(asked["limit"]), 1000))
        klines = [
            [int(opened), *map(str, values), int(opened) + step - 1, "0", 1, "0", "0", "0"]
            for opened, *values in rows
        ]
        if fault is None:
            self.answer(klines)
        else:
            fault(self, klines)

    def ohlc(self, asked: dict[str, str], fault: Fault | None) -> None:
        first, last = int(asked["start"]) * 1000, int(asked["end"]) * 1000
        rows = self.exchange.rows(first, last, int(asked["step"]) * 1000, int(asked["limit"]))
        bars = [
            {
                "timestamp": str(int(row[0]) // 1000),
                **dict(zip(COLUMNS, map(str, row[1:]), strict=True)),
            }
            for row in reversed(rows)
        ]
        if fault is None:
            self.answer({"data": {"pair": "BNB/USDT", "ohlc": bars}})
        else:
            fault(self, bars)

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        for name, value in told.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the tests' output to the tests."""


BITSTAMP_MARKET = {
    "name": "BNB/USDT",
    "market_symbol": "bnbusdt",
    "base_currency": "BNB",
    "base_decimals": 8,
    "counter_currency": "USDT",
    "counter_decimals": 2,
    "minimum_order_value": "10",
    "trading": "Enabled",
    "instant_order_counter_decimals": 2,
    "instant_and_market_orders": "Enabled",
    "description": "BNB / Tether",
    "market_type": "SPOT",
}


@pytest.fixture
def local_exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExchange]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    exchange = LocalExchange()
    handler = type("Handler", (Handler,), {"exchange": exchange})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
        thread.start()
        exchange.url = f"http://127.0.0.1:{server.server_port}"
        yield exchange
        server.shutdown()
        thread.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once, unless the exchange asks for a pause."""
    monkeypatch.setattr("gafcnn.data.klines._FIRST_PAUSE", 0.001)
    monkeypatch.setattr("ccxt.Exchange.throttle", lambda self, cost=None: None)


def download(server: LocalExchange, folder: Path, **options: Any) -> Market:
    """Three days of bars of 15 minutes (288 bars), unless options say otherwise."""
    asked: dict[str, Any] = {
        "symbol": "BNBUSDT",
        "exchange": "binance",
        "pair": "BNB/USDT",
        "interval": "15min",
        "days": 3,
        "end": END,
        "folder": folder,
        "url": server.url,
    }
    return from_exchange(**(asked | options))


def may(text: str) -> pd.Timestamp:
    return moment(f"2025-05-{text}")


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*/*.parquet"))


def check_asked_once(exchange: LocalExchange) -> None:
    """No moment is in two of the requests."""
    stretches = sorted((request.start, request.end) for request in exchange.requests)
    assert all(a[1] <= b[0] for a, b in pairwise(stretches))


# --- what comes -----------------------------------------------------------------------------------


def test_the_bars_are_the_exchanges_own_by_close_time(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    market = download(local_exchange, tmp_path)
    assert market.symbol == "BNBUSDT"
    assert market.bars.attrs["interval"] == pd.Timedelta("15min")
    assert len(market.bars) == 3 * 96
    assert market.bars.index[0] == UNTIL - 3 * DAY + QUARTER
    assert market.bars.index[-1] == UNTIL
    expected = local_exchange.expected(UNTIL - 3 * DAY, UNTIL, "15min")
    pd.testing.assert_frame_equal(market.bars, expected)


def test_a_long_period_comes_in_pages_and_is_kept_by_the_day(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    market = download(local_exchange, tmp_path, days=30)
    pd.testing.assert_frame_equal(
        market.bars, local_exchange.expected(UNTIL - 30 * DAY, UNTIL, "15min")
    )
    # the first day from its midnight on: 24 + 2880 bars, a thousand a page
    assert [int(request.asked["limit"]) for request in local_exchange.requests] == [1000, 1000, 904]
    assert parts(tmp_path)[0] == "2025-04-10.parquet"
    assert parts(tmp_path)[-1] == "2025-05-10.until-060000.parquet"
    assert len(parts(tmp_path)) == 31


def test_nothing_else_is_asked_for_than_klines(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    download(local_exchange, tmp_path)
    assert {request.path for request in local_exchange.requests} == {"/api/v3/klines"}


def test_without_an_end_the_last_bar_is_the_last_that_is_closed(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    before = pd.Timestamp.now("UTC")
    market = download(local_exchange, tmp_path, end=None, days=1)
    last = market.bars.index[-1]
    assert before - timedelta(minutes=16) < last <= pd.Timestamp.now("UTC")
    assert len(market.bars) == 96


def test_an_outage_is_a_gap_and_is_not_asked_about_twice(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    # the end of one day, a whole day, and the beginning of the next
    local_exchange.outages = [(may("07T22:00"), may("09T03:00"))]
    market = download(local_exchange, tmp_path)
    found = gaps(market.bars)
    assert found["missing"].tolist() == [29 * 4]
    assert found["after"].tolist() == [may("07T22:00")]
    assert "2025-05-08.parquet" in parts(tmp_path)
    asked = len(local_exchange.requests)
    again = download(local_exchange, tmp_path)
    pd.testing.assert_frame_equal(again.bars, market.bars)
    assert len(local_exchange.requests) == asked


def test_an_outage_up_to_the_end_is_not_asked_about_twice(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    local_exchange.outages = [(may("09T20:00"), may("11T00:00"))]
    assert download(local_exchange, tmp_path).bars.index[-1] == may("09T20:00")
    asked = len(local_exchange.requests)
    download(local_exchange, tmp_path)
    assert len(local_exchange.requests) == asked


def test_a_symbol_listed_later_begins_at_its_first_bar(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    local_exchange.listed = may("08T10:00")
    market = download(local_exchange, tmp_path, days=30)
    pd.testing.assert_frame_equal(
        market.bars, local_exchange.expected(may("08T10:00"), UNTIL, "15min")
    )


def test_a_symbol_listed_after_the_period_has_no_bars(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    local_exchange.listed = may("11")
    told = "binance has no BNB/USDT bars from 2025-05-07 06:00 to 2025-05-10 06:00; .* remove"
    with pytest.raises(DownloadError, match=told):
        download(local_exchange, tmp_path)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(
    terminal: bool,
    local_exchange: LocalExchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", str(int(terminal)))
    monkeypatch.setenv("COLUMNS", "100")
    download(local_exchange, tmp_path)
    told = capsys.readouterr().err
    assert ("bars BNB/USDT" in told, "312/312" in told) == (terminal, terminal)


def test_an_exchange_of_other_manners_is_read_as_well(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    # Bitstamp answers with the newest bar first, and ccxt has to learn its pairs beforehand
    market = download(local_exchange, tmp_path, exchange="bitstamp", days=30)
    pd.testing.assert_frame_equal(
        market.bars, local_exchange.expected(UNTIL - 30 * DAY, UNTIL, "15min")
    )
    with pytest.raises(DownloadError, match="bitstamp has no pair BNB/EUR; expected"):
        download(local_exchange, tmp_path, exchange="bitstamp", symbol="BNBEUR", pair="BNB/EUR")


# --- what is kept ---------------------------------------------------------------------------------


def test_the_same_command_gives_the_same_bars_though_time_goes_on(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    first = download(local_exchange, tmp_path)
    asked = len(local_exchange.requests)
    again = download(local_exchange, tmp_path, end=None)
    pd.testing.assert_frame_equal(again.bars, first.bars)
    assert len(local_exchange.requests) == asked
    assert read_sealed(tmp_path / "BNBUSDT_15min" / "download.json") == {
        "exchange": "binance",
        "pair": "BNB/USDT",
        "interval": "15min",
        "start": "2025-05-07T06:00:00+00:00",
        "end": "2025-05-10T06:00:00+00:00",
    }


def test_what_is_on_disk_needs_no_exchange(local_exchange: LocalExchange, tmp_path: Path) -> None:
    first = download(local_exchange, tmp_path)
    again = download(local_exchange, tmp_path, url="http://127.0.0.1:9")
    pd.testing.assert_frame_equal(again.bars, first.bars)


def test_a_refresh_asks_only_for_what_is_new(local_exchange: LocalExchange, tmp_path: Path) -> None:
    download(local_exchange, tmp_path)
    later = UNTIL + DAY + 2 * QUARTER
    market = download(local_exchange, tmp_path, end=later.isoformat(), refresh=True, days=4)
    expected = local_exchange.expected(later - 4 * DAY, later, "15min")
    pd.testing.assert_frame_equal(market.bars, expected)
    assert local_exchange.requests[-1].start == UNTIL
    check_asked_once(local_exchange)
    assert parts(tmp_path)[-2:] == ["2025-05-10.parquet", "2025-05-11.until-063000.parquet"]
    # the end has moved for good
    again = download(local_exchange, tmp_path, end=None, days=4)
    pd.testing.assert_frame_equal(again.bars, expected)


def test_a_refresh_goes_on_to_the_present(local_exchange: LocalExchange, tmp_path: Path) -> None:
    start = (pd.Timestamp.now("UTC") - 2 * DAY).floor("h")
    download(local_exchange, tmp_path, end=start.isoformat(), days=1)
    market = download(local_exchange, tmp_path, end=None, refresh=True, days=3)
    assert pd.Timestamp.now("UTC") - market.bars.index[-1] < timedelta(minutes=16)
    assert len(market.bars) == 3 * 96


def test_more_days_are_asked_for_at_the_front_alone(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    download(local_exchange, tmp_path)
    market = download(local_exchange, tmp_path, end=None, days=5)
    pd.testing.assert_frame_equal(
        market.bars, local_exchange.expected(UNTIL - 5 * DAY, UNTIL, "15min")
    )
    check_asked_once(local_exchange)


def test_another_end_leaves_the_pinned_one(local_exchange: LocalExchange, tmp_path: Path) -> None:
    first = download(local_exchange, tmp_path)
    download(local_exchange, tmp_path, end="2025-05-12")
    again = download(local_exchange, tmp_path, end=None)
    pd.testing.assert_frame_equal(again.bars, first.bars)


def test_a_part_that_is_removed_is_fetched_again_it_alone(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    first = download(local_exchange, tmp_path)
    part = tmp_path / "BNBUSDT_15min" / "2025-05-08.parquet"
    part.unlink()
    local_exchange.requests.clear()
    pd.testing.assert_frame_equal(download(local_exchange, tmp_path).bars, first.bars)
    (request,) = local_exchange.requests
    assert (request.start, request.end) == (may("08"), may("09"))


def _spoil(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "end"),
    [("2025-05-08.parquet", may("09")), ("2025-05-10.until-060000.parquet", UNTIL)],
)
def test_a_part_that_is_damaged_is_told_and_fetched_again_it_alone(
    name: str,
    end: pd.Timestamp,
    local_exchange: LocalExchange,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = download(local_exchange, tmp_path)
    part = tmp_path / "BNBUSDT_15min" / name
    _spoil(part)
    local_exchange.requests.clear()
    pd.testing.assert_frame_equal(download(local_exchange, tmp_path).bars, first.bars)
    assert caplog.messages == [f"{part} is damaged and is fetched again"]
    (request,) = local_exchange.requests
    assert (request.start, request.end) == (end.floor("D") - DAY * (end != UNTIL), end)
    pd.testing.assert_frame_equal(download(local_exchange, tmp_path).bars, first.bars)
    assert len(local_exchange.requests) == 1


def test_damage_without_a_network_is_told_in_a_sentence_and_mended_later(
    local_exchange: LocalExchange, tmp_path: Path, quick: None
) -> None:
    first = download(local_exchange, tmp_path)
    part = tmp_path / "BNBUSDT_15min" / "2025-05-08.parquet"
    _spoil(part)
    damaged = part.read_bytes()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DownloadError) as caught:
            download(local_exchange, tmp_path, url=f"http://127.0.0.1:{taken.getsockname()[1]}")
    told = str(caught.value)
    assert told.startswith(f"{part} is damaged, and binance cannot be asked for BNB/USDT (Net")
    assert told.endswith(
        "run the command again with the network, or put an undamaged copy in its place."
    )
    assert "\n" not in told
    assert part.read_bytes() == damaged
    pd.testing.assert_frame_equal(download(local_exchange, tmp_path).bars, first.bars)


def test_what_is_whole_is_read_without_a_lock(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    first = download(local_exchange, tmp_path)
    place = tmp_path / "BNBUSDT_15min"
    (place / ".lock").unlink()
    before = sorted(place.iterdir())
    for end in (END, None):
        again = download(local_exchange, tmp_path, url="http://127.0.0.1:9", end=end)
        pd.testing.assert_frame_equal(again.bars, first.bars)
    assert sorted(place.iterdir()) == before


def test_no_byte_of_the_record_changes_unnoticed(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    download(local_exchange, tmp_path)
    record = tmp_path / "BNBUSDT_15min" / "download.json"
    whole = record.read_bytes()
    said = read_sealed(record)
    for place in range(len(whole)):
        record.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_sealed(record) in (None, said)


def test_two_at_once_ask_once(local_exchange: LocalExchange, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        markets = list(pool.map(lambda _: download(local_exchange, tmp_path), range(2)))
    pd.testing.assert_frame_equal(markets[0].bars, markets[1].bars)
    check_asked_once(local_exchange)


KILLED = """
import sys
from gafcnn.data.exchange import from_exchange
url, folder, end = sys.argv[1:]
from_exchange("BNBUSDT", "binance", "BNB/USDT", "15min", 30, end, folder, url=url)
"""


def test_a_killed_download_goes_on_where_it_was(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    arrived, over = threading.Event(), threading.Event()

    def silence(handler: Handler, klines: list[Any]) -> None:
        arrived.set()
        over.wait(30)
        handler.close_connection = True

    local_exchange.faults[3] = silence
    command = [sys.executable, "-c", KILLED, local_exchange.url, str(tmp_path), END]
    with subprocess.Popen(command) as process:
        try:
            assert arrived.wait(60)
        finally:
            process.send_signal(signal.SIGKILL)
            over.set()
    del local_exchange.requests[2]  # the one without an answer
    first, second = local_exchange.requests
    market = download(local_exchange, tmp_path, days=30)
    pd.testing.assert_frame_equal(
        market.bars, local_exchange.expected(UNTIL - 30 * DAY, UNTIL, "15min")
    )
    assert first.end == second.start
    assert [request.start for request in local_exchange.requests[2:]] == [second.end]
    asked = len(local_exchange.requests)
    download(local_exchange, tmp_path, days=30, end=None)
    assert len(local_exchange.requests) == asked


FORKING = """
import os, signal, sys
import ccxt
from gafcnn.data.exchange import from_exchange
url, end = sys.argv[1:]
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            from_exchange(
                "BNBUSDT", "binance", "BNB/USDT", "15min", 30, end, line.strip(), url=url
            )
            os._exit(0)
        finally:
            os._exit(1)
    print("begun", flush=True)
    sys.stdin.readline()
    os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_downloads_killed_at_any_moment_lose_no_day_and_no_bar(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    expected = local_exchange.expected(UNTIL - 30 * DAY, UNTIL, "15min")
    command = [sys.executable, "-c", FORKING, local_exchange.url, END]
    delays, kills, attempt = random.Random(0), 0, 0
    folder = tmp_path / "0"
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forker:
        assert forker.stdin
        assert forker.stdout
        while kills < 25 or attempt < 2:
            begun = WholeDays(local_exchange, folder)
            print(folder, file=forker.stdin, flush=True)
            assert forker.stdout.readline() == "begun\n"
            begun.wait_for_a_request(seconds=delays.uniform(0, 5))
            time.sleep(delays.uniform(0, 0.3))
            print("kill", file=forker.stdin, flush=True)
            outcome = int(forker.stdout.readline())
            begun.check_not_asked_again()
            if outcome == -signal.SIGKILL:
                kills += 1
                continue
            assert outcome == 0
            again = download(local_exchange, folder, days=30, url="http://127.0.0.1:9")
            pd.testing.assert_frame_equal(again.bars, expected)
            assert not [path for path in folder.glob("*/*") if "partial" in path.name]
            attempt += 1
            folder = tmp_path / str(attempt)
        forker.stdin.close()
    begun = WholeDays(local_exchange, folder)
    pd.testing.assert_frame_equal(download(local_exchange, folder, days=30).bars, expected)
    begun.check_not_asked_again()


class WholeDays:
    """The days that were whole when a download began."""

    def __init__(self, exchange: LocalExchange, folder: Path) -> None:
        self.exchange, self.asked = exchange, len(exchange.requests)
        self.days = [moment(name[:10]) for name in parts(folder) if "until" not in name]

    def wait_for_a_request(self, seconds: float) -> None:
        over = time.monotonic() + seconds
        while len(self.exchange.requests) == self.asked and time.monotonic() < over:
            time.sleep(0.002)

    def check_not_asked_again(self) -> None:
        for request in self.exchange.requests[self.asked :]:
            assert not [day for day in self.days if day < request.end and request.start < day + DAY]


def test_a_full_disk_is_told_and_what_it_held_is_gone_on_with(
    local_exchange: LocalExchange, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(2**18)
    refused = 0
    for pages in range(100):
        folder, filler = disk / "bars", disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - 4096 * pages))
        try:
            download(local_exchange, folder)
        except DiskError as error:
            told = str(error)
        else:
            break
        finally:
            filler.unlink()
        refused += 1
        assert re.match(
            rf"{folder}/BNBUSDT_15min/[^ ]+ needs [\d,]+ bytes and its disk has [\d,]+ free ", told
        )
        assert "\n" not in told
        begun = WholeDays(local_exchange, folder)
        market = download(local_exchange, folder)
        pd.testing.assert_frame_equal(
            market.bars, local_exchange.expected(UNTIL - 3 * DAY, UNTIL, "15min")
        )
        begun.check_not_asked_again()
        shutil.rmtree(folder)
    assert refused >= 5  # the record, and each of the four days


def test_what_came_before_a_failure_is_kept(
    local_exchange: LocalExchange, tmp_path: Path, quick: None
) -> None:
    local_exchange.faults[2] = lambda handler, klines: (
        setattr(local_exchange, "always", failing) or failing(handler, klines)
    )
    with pytest.raises(DownloadError, match="OperationFailed: .*An unknown error"):
        download(local_exchange, tmp_path, days=30)
    assert len(parts(tmp_path)) == 11  # 1000 bars
    assert len(local_exchange.requests) == 1 + 6  # it is patient with one that has answered
    local_exchange.always = None
    local_exchange.requests.clear()
    market = download(local_exchange, tmp_path, days=30)
    assert len(market.bars) == 30 * 96
    assert len(local_exchange.requests) == 2


# --- a network that fails -------------------------------------------------------------------------


def failing(handler: Handler, klines: list[Any]) -> None:
    handler.answer({"code": -1000, "msg": "An unknown error occurred"}, 500)


def broken_off(handler: Handler, klines: list[Any]) -> None:
    body = json.dumps(klines).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def half(handler: Handler, klines: list[Any]) -> None:
    body = json.dumps(klines).encode()
    handler.answer(body[: len(body) // 2])


def a_page_for_people(handler: Handler, klines: list[Any]) -> None:
    handler.answer(b"<html>Please sign in to the network</html>", Content_Type="text/html")


def with_a_null(handler: Handler, klines: list[Any]) -> None:
    handler.answer([*klines[:-1], [*klines[-1][:4], None, *klines[-1][5:]]])


def earlier(handler: Handler, klines: list[Any]) -> None:
    handler.answer([[row[0] - 5 * MINUTE * 15, *row[1:]] for row in klines])


def uneven(handler: Handler, klines: list[Any]) -> None:
    handler.answer([*klines[:5], [klines[5][0] + MINUTE, *klines[5][1:]], *klines[6:]])


def twice(handler: Handler, klines: list[Any]) -> None:
    handler.answer([*klines[:5], klines[4], *klines[5:]])


def upside_down(handler: Handler, klines: list[Any]) -> None:
    row = klines[7]
    handler.answer([*klines[:7], [row[0], row[1], row[3], row[2], *row[4:]], *klines[8:]])


def hung_up(handler: Handler, klines: list[Any]) -> None:
    handler.close_connection = True


def shifted(handler: Handler, klines: list[Any]) -> None:
    handler.answer([[row[0] + MINUTE * 60 * 24 * 400, *row[1:]] for row in klines])


def hourly(handler: Handler, klines: list[Any]) -> None:
    handler.answer(klines[::4])


def too_busy(handler: Handler, klines: list[Any]) -> None:
    handler.answer({"code": -1003, "msg": "Too many requests"}, 429)


def banned(handler: Handler, klines: list[Any]) -> None:
    handler.answer({"code": -1003, "msg": "Way too many requests"}, 418)


def answering(content: Any) -> Fault:
    return lambda handler, klines: handler.answer(content)


FAULTS = {
    "server error": failing,
    "too many requests": too_busy,
    "a ban of unknown length": banned,
    "a connection cut": hung_up,
    "connection dropped mid-body": broken_off,
    "half a JSON": half,
    "a page for people": a_page_for_people,
    "a null among the prices": with_a_null,
    "bars before the period": earlier,
    "bars after the period": shifted,
    "bars of another interval": hourly,
    "a bar off the grid": uneven,
    "a bar twice": twice,
    "low above high": upside_down,
    "an empty body": answering(b""),
    "an empty object": answering({}),
    "an object": answering({"bars": 1}),
    "a number": answering(5),
    "a text": answering("bars"),
    "nothing": answering(None),
    "a list of numbers": answering([1, 2, 3, 4, 5, 6]),
    "a list of texts": answering(["bars"]),
    "a list of nothing": answering([None]),
    "a list of objects": answering([{"open": 1}]),
    "rows of lists": answering([[[1]] * 6]),
    "rows of truths": answering([[True] * 6]),
    "an endless time": answering(b"[[1e999,1,1,1,1,1]]"),
    "lists without end": answering(b"[" * 5000),
    "rows cut short": answering([[1, 2], [3]]),
    "rows of nothing": answering([[], []]),
    "a row of texts": answering([["a", "b", "c", "d", "e", "f"]]),
}


def test_faults_that_pass_do_no_harm(
    local_exchange: LocalExchange, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gafcnn.data.klines._PAGE", 60)
    # two of them before the first answer, five before each of the others: as many as are borne
    numbers = [n for n in range(1, 100) if n not in (3, *range(9, 100, 6))]
    names = dict(zip(numbers, FAULTS, strict=False))
    local_exchange.faults = {n: FAULTS[name] for n, name in names.items()}
    market = download(local_exchange, tmp_path, days=4)
    pd.testing.assert_frame_equal(
        market.bars, local_exchange.expected(UNTIL - 4 * DAY, UNTIL, "15min")
    )
    asked = [request.start for request in local_exchange.requests]
    assert [name for n, name in names.items() if asked[n - 1] != asked[n]] == []
    pages = 7  # of 408 bars, from the first midnight on
    assert len(asked) == len(FAULTS) + pages


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_that_stays_is_told_in_a_sentence_and_nothing_of_it_is_kept(
    fault: Fault, local_exchange: LocalExchange, tmp_path: Path, quick: None
) -> None:
    local_exchange.always = fault
    with pytest.raises(DownloadError) as caught:
        download(local_exchange, tmp_path, days=1)
    assert "market=file market.path=... or market=simulated." in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(local_exchange.requests) == 3  # it has never answered
    assert [path.name for path in tmp_path.glob("*/*")] == [".lock"]


NO_BARS = [
    {"data": None},
    {"data": {"ohlc": None}},
    {"data": {"ohlc": 5}},
    {"data": {"ohlc": {"open": 1}}},
    {"data": {"ohlc": [5]}},
    {"data": {"ohlc": [None]}},
    {"data": {"ohlc": [[1, 2]]}},
    {"data": {"ohlc": [{"timestamp": [1]}]}},
    {"data": {"ohlc": [{"timestamp": "soon", "open": "x"}]}},
]


@pytest.mark.parametrize(
    ("first", "content"),
    [
        *product([1, 2], [5, "bars", None, [1], [None], {"data": 5}]),
        *product(
            [2], NO_BARS
        ),  # where pairs are expected these are but an object, as the one above
    ],
    ids=str,
)
def test_another_exchange_of_no_sense_is_told_as_well(
    first: int, content: Any, local_exchange: LocalExchange, tmp_path: Path, quick: None
) -> None:
    local_exchange.faults = dict.fromkeys(range(first, 20), answering(content))
    with pytest.raises(DownloadError) as caught:
        download(local_exchange, tmp_path, exchange="bitstamp", days=1)
    assert "\n" not in str(caught.value)
    assert parts(tmp_path) == []


def test_what_ccxt_stumbles_over_is_told_as_well(
    local_exchange: LocalExchange, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: Any) -> Any:  # as its bitfinex, gate and mexc do over a number for a list
        raise TypeError("'int' object is not iterable")

    monkeypatch.setattr("ccxt.binance.parse_ohlcv", stumble)
    with pytest.raises(DownloadError, match="its answer is of no shape that ccxt knows"):
        download(local_exchange, tmp_path)
    assert parts(tmp_path) == []


def silent(handler: Handler, klines: list[Any]) -> None:
    time.sleep(1)
    handler.close_connection = True


def stuck(handler: Handler, klines: list[Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"[[")
    silent(handler, klines)


@pytest.mark.parametrize("fault", [silent, stuck])
def test_an_exchange_that_falls_silent_is_asked_again(
    fault: Fault,
    local_exchange: LocalExchange,
    tmp_path: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gafcnn.data.klines._SILENCE", 0.3)
    local_exchange.faults[1] = fault
    market = download(local_exchange, tmp_path, days=1)
    pd.testing.assert_frame_equal(market.bars, local_exchange.expected(UNTIL - DAY, UNTIL, "15min"))
    first, second = local_exchange.requests
    assert second.at - first.at < 1
    monkeypatch.setattr("gafcnn.data.klines._SILENCE", 0.05)
    local_exchange.always = fault
    with pytest.raises(DownloadError, match=r"binance cannot be asked .*\(RequestTimeout: "):
        download(local_exchange, tmp_path, days=2)


def endless(handler: Handler, klines: list[Any]) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    with suppress(OSError):
        for _ in range(500):
            handler.wfile.write(b" " * 2**16)
        handler.wfile.write(json.dumps(klines).encode())


def packed(handler: Handler, klines: list[Any], padding: int = 0) -> None:
    body = gzip.compress(b" " * padding + json.dumps(klines).encode())
    handler.answer(body, Content_Encoding="gzip")


def nothing_packed(handler: Handler, klines: list[Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    handler.close_connection = True
    end = time.monotonic() + 2
    with suppress(OSError):
        handler.wfile.write(gzip.compress(b"")[:10])
        while time.monotonic() < end:
            handler.wfile.write(b"\0\0\0\xff\xff" * 10_000)  # empty blocks


def drip(handler: Handler, klines: list[Any], **headers: str) -> None:
    handler.send_response(200)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.close_connection = True
    with suppress(OSError):
        if "Transfer_Encoding" in headers:
            handler.wfile.write(b"1000\r\n")
        for _ in range(30):
            handler.wfile.write(b" ")
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (endless, "NetworkError"),
        (partial(packed, padding=10**6), "NetworkError"),
        (drip, "RequestTimeout"),
        (partial(drip, Content_Length="1000"), "RequestTimeout"),
        (partial(drip, Transfer_Encoding="chunked"), "RequestTimeout"),
        (nothing_packed, "RequestTimeout"),
    ],
    ids=["endless", "packed", "drip", "drip of a length", "drip of a chunk", "nothing packed"],
)
def test_an_answer_without_end_is_ended(
    fault: Fault,
    why: str,
    local_exchange: LocalExchange,
    tmp_path: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gafcnn.data.klines._LARGEST", 500_000)
    monkeypatch.setattr("gafcnn.data.klines._LONGEST", 0.1 if why == "RequestTimeout" else 5)
    local_exchange.always = fault
    with pytest.raises(DownloadError, match=rf"binance cannot be asked .*\({why}: ") as caught:
        download(local_exchange, tmp_path, days=1)
    assert "\n" not in str(caught.value)
    asked = [request.at for request in local_exchange.requests]
    assert len(asked) == 3
    assert asked[-1] - asked[0] < 2
    assert [path.name for path in tmp_path.glob("*/*")] == [".lock"]


def test_a_packed_answer_is_as_good(local_exchange: LocalExchange, tmp_path: Path) -> None:
    local_exchange.always = packed
    market = download(local_exchange, tmp_path, days=1)
    pd.testing.assert_frame_equal(market.bars, local_exchange.expected(UNTIL - DAY, UNTIL, "15min"))
    assert len(local_exchange.requests) == 1


def test_a_host_that_does_not_answer_a_call_is_given_up(
    local_exchange: LocalExchange, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gafcnn.data.klines._SILENCE", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # and never accepting: what is beyond the queue gets no answer
        address = full.getsockname()
        with socket.create_connection(address), pytest.raises(DownloadError, match="RequestTimeou"):
            download(local_exchange, tmp_path, url=f"http://127.0.0.1:{address[1]}")


def test_bars_out_of_order_are_put_in_order(
    local_exchange: LocalExchange, tmp_path: Path, quick: None
) -> None:
    local_exchange.faults[1] = lambda handler, klines: handler.answer(klines[::2] + klines[1::2])
    market = download(local_exchange, tmp_path)
    pd.testing.assert_frame_equal(
        market.bars, local_exchange.expected(UNTIL - 3 * DAY, UNTIL, "15min")
    )


def test_bars_that_are_missing_are_a_gap(local_exchange: LocalExchange, tmp_path: Path) -> None:
    local_exchange.faults[1] = lambda handler, klines: handler.answer(klines[:50] + klines[57:])
    assert gaps(download(local_exchange, tmp_path).bars)["missing"].tolist() == [7]


@pytest.mark.parametrize("status", [418, 429])
def test_the_pause_that_the_exchange_asks_for_is_kept(
    local_exchange: LocalExchange, tmp_path: Path, quick: None, status: int
) -> None:
    local_exchange.faults[1] = partial(refusing, status=status, pause="1")
    download(local_exchange, tmp_path)
    first, second = local_exchange.requests
    assert second.at - first.at >= 1
    assert (first.start, first.end) == (second.start, second.end)


def refusing(handler: Handler, klines: list[Any], status: int, pause: str) -> None:
    content = {"code": -1003, "msg": "Too much request weight used"}
    handler.answer(content, status, Retry_After=pause)


def test_a_ban_is_not_waited_for(local_exchange: LocalExchange, tmp_path: Path) -> None:
    local_exchange.always = partial(refusing, status=418, pause="86400")
    with pytest.raises(DownloadError, match=r"it asks to wait 86,400 s"):
        download(local_exchange, tmp_path)
    assert len(local_exchange.requests) == 1


def test_without_network_the_error_names_the_ways_out(
    local_exchange: LocalExchange, tmp_path: Path, quick: None
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening: connections are refused
        with pytest.raises(DownloadError) as caught:
            download(local_exchange, tmp_path, url=f"http://127.0.0.1:{taken.getsockname()[1]}")
    told = str(caught.value)
    assert told.startswith("binance cannot be asked for BNB/USDT (NetworkError: ")
    assert told.endswith(
        "check market.exchange, market.pair and the network and run the command again "
        f"(it goes on after what is in {tmp_path / 'BNBUSDT_15min'}), "
        "or take market=file market.path=... or market=simulated."
    )


# --- places ---------------------------------------------------------------------------------------


@pytest.fixture
def anyone() -> Iterator[Path]:
    """A folder that others may enter, and the rest of the test as a user who may not do all."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        was = os.geteuid()
        yield Path(folder)
        os.seteuid(was)


def become_anyone() -> None:
    """Go on as a user of whom permissions are asked."""
    if os.geteuid() == 0:
        try:
            os.seteuid(65534)
        except OSError as error:
            pytest.skip(f"root cannot be another user here: {error.strerror}")


def close(folder: Path, mode: int) -> None:
    for path in [*folder.rglob("*"), folder]:
        path.chmod(mode if path.is_dir() else mode & 0o666)


def test_whole_bars_are_read_where_nothing_may_be_written(
    local_exchange: LocalExchange, anyone: Path
) -> None:
    first = download(local_exchange, anyone / "bars")
    close(anyone / "bars", 0o555)
    become_anyone()
    for end in (END, None):
        again = download(local_exchange, anyone / "bars", url="http://127.0.0.1:9", end=end)
        pd.testing.assert_frame_equal(again.bars, first.bars)
    with pytest.raises(DiskError, match=r"BNBUSDT_15min.* cannot be written \(Permission denied\)"):
        download(local_exchange, anyone / "bars", days=9)
    os.seteuid(os.getuid())
    close(anyone / "bars", 0o755)


@pytest.mark.parametrize("name", ["download.json", "2025-05-08.parquet"])
def test_bars_that_may_not_be_read_are_told(
    name: str, local_exchange: LocalExchange, anyone: Path
) -> None:
    download(local_exchange, anyone)
    (anyone / "BNBUSDT_15min" / name).chmod(0)
    become_anyone()
    with pytest.raises(BarsError, match=rf"{name} may not be read.*; allow it, or set market"):
        download(local_exchange, anyone)


@pytest.mark.parametrize("mode", [0, 0o444])
def test_a_folder_that_may_not_be_entered_is_told(
    mode: int, local_exchange: LocalExchange, anyone: Path
) -> None:
    download(local_exchange, anyone / "bars")
    (anyone / "bars").chmod(mode)
    become_anyone()
    with pytest.raises(BarsError, match=r"download.json may not be read \(Permission denied\); "):
        download(local_exchange, anyone / "bars")
    os.seteuid(os.getuid())
    (anyone / "bars").chmod(0o755)


def test_a_place_of_any_name_or_behind_a_link_is_as_good(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    folder = tmp_path / "Kurse für später, größer [1]" / "*?"
    first = download(local_exchange, folder)
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    (folder / "BNBUSDT_15min" / "2025-05-10.until-060000.parquet").unlink()
    asked = len(local_exchange.requests)
    for place in (tmp_path / "link", folder):
        pd.testing.assert_frame_equal(download(local_exchange, place).bars, first.bars)
    assert len(local_exchange.requests) == asked + 1


# --- a command that is wrong ----------------------------------------------------------------------


def test_a_folder_that_cannot_be_is_told(local_exchange: LocalExchange, tmp_path: Path) -> None:
    (tmp_path / "bars").write_text("a file")
    with pytest.raises(DiskError, match=r"cannot be written \(File exists\); expected a place"):
        download(local_exchange, tmp_path / "bars")
    assert (tmp_path / "bars").read_text() == "a file"


def test_a_misspelt_exchange_is_told_with_its_neighbours(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=r"market.exchange=binanse .* such as binance"):
        download(local_exchange, tmp_path, exchange="binanse")
    assert len(download(local_exchange, tmp_path).bars) == 288


def test_a_pair_that_is_not_traded_is_told_at_once_and_pins_nothing(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match="BadSymbol: binance .*Invalid symbol"):
        download(local_exchange, tmp_path, pair="BNB/UDST")
    assert len(local_exchange.requests) == 1
    assert len(download(local_exchange, tmp_path).bars) == 288


def test_another_pair_does_not_mix_with_the_bars_of_the_first(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    download(local_exchange, tmp_path)
    with pytest.raises(DownloadError, match=r"holds BNB/USDT of binance; expected BTC/USDT of"):
        download(local_exchange, tmp_path, pair="BTC/USDT")


def test_a_damaged_record_is_told_and_may_be_removed(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    first = download(local_exchange, tmp_path)
    asked = len(local_exchange.requests)
    record = tmp_path / "BNBUSDT_15min" / "download.json"
    whole = record.read_text()
    for damaged in ("", "{", "[]", "{}", whole.replace("06:00:00", "05:00:00"), whole[:-3]):
        record.write_text(damaged)
        with pytest.raises(BarsError, match="download.json cannot be read; .* remove it"):
            download(local_exchange, tmp_path)
    record.unlink()
    pd.testing.assert_frame_equal(download(local_exchange, tmp_path).bars, first.bars)
    assert len(local_exchange.requests) == asked


def test_an_interval_that_the_exchange_lacks_is_told_with_those_it_has(
    local_exchange: LocalExchange, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=r"no bars of 10min; expected one of .*15m, 30m"):
        download(local_exchange, tmp_path, interval="10min")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"interval": "7min"}, "market.interval is 7min; expected a divisor of a day"),
        ({"interval": "7D"}, "market.interval is 7D; expected a divisor of a day"),
        ({"days": 0}, "market.days is 0; expected"),
        ({"days": "many"}, "market.days is many; expected"),
        ({"days": float("nan")}, "market.days is nan; expected"),
        ({"days": -3}, "market.days is -3; expected"),
        ({"days": 10**9}, "market.days is 1000000000; expected"),
        ({"end": "soon"}, "market.end is soon; expected an ISO time, UTC"),
        ({"end": "2999-01-01"}, "market.end is 2999-01-01; expected an ISO time, UTC, up to 20"),
    ],
)
def test_a_period_that_cannot_be_is_refused(
    option: dict[str, Any], told: str, local_exchange: LocalExchange, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        download(local_exchange, tmp_path, **option)
    assert not local_exchange.requests


# --- the newest bars, held in memory --------------------------------------------------------------


def newest(server: LocalExchange, count: int = 96) -> NewestBars:
    return NewestBars(
        "BNBUSDT", "binance", "BNB/USDT", "15min", count, pd.Timedelta("10s"), server.url
    )


def test_the_newest_bars_are_as_many_as_asked_for_up_to_the_last_that_has_settled(
    local_exchange: LocalExchange,
) -> None:
    held = newest(local_exchange)
    first = held.read(UNTIL + timedelta(seconds=10))
    pd.testing.assert_frame_equal(first, local_exchange.expected(UNTIL - DAY, UNTIL, "15min"))
    assert first.attrs["interval"] == QUARTER
    # the bar that has closed since is known only when it has settled, and is all that is asked for
    later = held.read(UNTIL + QUARTER + timedelta(seconds=9))
    pd.testing.assert_frame_equal(later, first)
    assert len(local_exchange.requests) == 1
    later = held.read(UNTIL + QUARTER + timedelta(seconds=10))
    pd.testing.assert_frame_equal(
        later, local_exchange.expected(UNTIL + QUARTER - DAY, UNTIL + QUARTER, "15min")
    )
    assert local_exchange.requests[-1].start == UNTIL
    assert len(local_exchange.requests) == 2


def test_a_bar_that_comes_late_is_asked_for_again(local_exchange: LocalExchange) -> None:
    held = newest(local_exchange)
    late = UNTIL - 4 * QUARTER
    local_exchange.outages = [(late, late + QUARTER)]
    assert len(gaps(held.read(UNTIL + QUARTER))) == 1
    local_exchange.outages = []
    whole = held.read(UNTIL + 2 * QUARTER)
    assert local_exchange.requests[-1].start == late
    expected = local_exchange.expected(whole.index[-1] - DAY, whole.index[-1], "15min")
    pd.testing.assert_frame_equal(whole, expected)


def test_bars_that_were_not_to_be_had_are_asked_for_with_the_next(
    local_exchange: LocalExchange, quick: None
) -> None:
    held = newest(local_exchange)
    held.read(UNTIL + QUARTER)
    local_exchange.always = failing
    with pytest.raises(DownloadError) as error:
        held.read(UNTIL + 2 * QUARTER)
    assert "run the command again, or take market=file" in str(error.value)  # nothing is kept
    local_exchange.always = None
    bars = held.read(UNTIL + 5 * QUARTER)
    last = bars.index[-1]
    pd.testing.assert_frame_equal(bars, local_exchange.expected(last - DAY, last, "15min"))


def test_a_pair_without_bars_is_told(local_exchange: LocalExchange) -> None:
    local_exchange.listed = UNTIL + DAY
    with pytest.raises(
        DownloadError, match="binance has no BNB/USDT bars of 15min from 2025-05-09"
    ):
        newest(local_exchange).read(UNTIL + timedelta(seconds=10))


@pytest.mark.parametrize(
    ("symbol", "interval", "told"),
    [("B/N", "15min", "market.symbol is 'B/N'"), ("BNB", "7min", "market.interval is 7min")],
)
def test_newest_bars_of_no_sense_are_told(symbol: str, interval: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        NewestBars(symbol, "binance", "BNB/USDT", interval, 10, pd.Timedelta("1s"))
    assert told in str(error.value)
