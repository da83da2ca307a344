"""Downloads from an exchange: requests, storage, resumption and network faults.

The exchange is a local HTTP server with the klines API of Binance, and that of Bitstamp.
"""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gafcnn.data.bars import COLUMNS, EXTRAS, gaps, interval_of
from gafcnn.data.exchange import (
    ExchangeSource,
    NewestBars,
    damaged_parts,
    held,
    keep,
    pair_of,
    utc_time,
)
from gafcnn.data.sources import SOURCES
from gafcnn.errors import BarsError, ConfigError, DownloadError
from gafcnn.settings import as_plain, create

MINUTE, STEP = 60_000, 900_000  # ms
DAY, QUARTER = timedelta(days=1), timedelta(minutes=15)

LISTED = utc_time("2017-01-01")
END = "2025-05-10T06:00"
UNTIL = utc_time(END)


@dataclass(frozen=True)
class Request:
    """A request, and when it arrived by the server's clock."""

    at: float
    path: str
    asked: dict[str, str]

    @property
    def start(self) -> Any:
        return pd.Timestamp(int(self.asked["startTime"]), unit="ms", tz="UTC")

    @property
    def end(self) -> Any:
        """Exclusive."""
        return pd.Timestamp(int(self.asked["endTime"]) + 1, unit="ms", tz="UTC")


Fault = Callable[[Any, list[Any]], None]  # given the handler of a request, and the klines


@dataclass
class LocalExchange:
    """Has bars of any time, except in outages and before the listing; faults on demand."""

    url: str
    listed: pd.Timestamp = LISTED
    outages: list[tuple[pd.Timestamp, pd.Timestamp]] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    always: Fault | None = None
    requests: list[Request] = field(default_factory=list)

    def react(self, handler: Any) -> None:
        parts = urlsplit(handler.path)
        asked = dict(parse_qsl(parts.query))
        self.requests.append(Request(time.monotonic(), parts.path, asked))
        fault = self.faults.pop(len(self.requests), self.always) or type(handler).answer
        if parts.path == "/api/v3/klines":
            self.klines(handler, asked, fault)
        elif parts.path.rstrip("/").endswith("/markets"):
            fault(handler, [BITSTAMP_MARKET])
        elif parts.path.rstrip("/").endswith("/ohlc/bnbusdt"):
            self.ohlc(handler, asked)
        else:
            handler.answer({"code": -1100, "msg": "no such place"}, 404)

    def klines(self, handler: Any, asked: dict[str, str], fault: Fault) -> None:
        if asked["symbol"] != "BNBUSDT":
            handler.answer({"code": -1121, "msg": "Invalid symbol."}, 400)
            return
        assert asked["interval"] == "15m"
        first, last = int(asked["startTime"]), int(asked["endTime"])
        rows = self.rows(first, last, min(int(asked["limit"]), 1000))
        fault(handler, [kline(row) for row in rows])

    def ohlc(self, handler: Any, asked: dict[str, str]) -> None:
        first, last = int(asked["start"]) * 1000, int(asked["end"]) * 1000
        rows = self.rows(first, last, int(asked["limit"]))
        names = ("timestamp", *COLUMNS)
        bars = [
            dict(zip(names, map(str, [int(opened) // 1000, *values]), strict=True))
            for opened, *values in reversed(rows)
        ]
        handler.answer({"data": {"pair": "BNB/USDT", "ohlc": bars}})

    def rows(self, first: int, last: int, limit: int) -> list[list[float]]:
        """Time (ms), open, high, low, close and volume of the bars that open in [first, last]."""
        out = [(LISTED, self.listed), *self.outages]
        lacking = [(begin.value // 10**6, end.value // 10**6) for begin, end in out]
        opens = range(-(-first // STEP) * STEP, min(last, int(time.time() * 1000)) + 1, STEP)
        present = (t for t in opens if not any(begin <= t < end for begin, end in lacking))
        return [[t, *bar(t)] for t in islice(present, limit)]

    def expected(self, since: pd.Timestamp, until: pd.Timestamp = UNTIL) -> pd.DataFrame:
        """Return the bars that opened in [since, until), labelled by close time, as of Binance."""
        rows = self.rows(since.value // 10**6, until.value // 10**6 - 1, 10**9)
        times = pd.to_datetime([row[0] for row in rows], unit="ms", utc=True).as_unit("ns")
        index = (times + QUARTER).rename("close_time")
        values = [(*row[1:], *extras(*row[4:])) for row in rows]
        return pd.DataFrame(values, index, [*COLUMNS, *EXTRAS], "float64")


def bar(opened: int) -> tuple[float, float, float, float, float]:
    """Return a bar that depends on its time only."""
    turn = opened / MINUTE / 97
    first, last = (round(600 + 50 * math.sin(t), 2) for t in (turn, turn + 0.01))
    return first, max(first, last) + 1, min(first, last) - 1, last, round(5 + math.cos(turn), 3)


def extras(close: float, volume: float) -> tuple[float, float, float]:
    """Return quote volume, number of trades and taker-buy volume of a bar."""
    return round(close * volume, 3), round(100 * volume), round(volume / 4, 3)


def kline(row: list[Any]) -> list[Any]:
    """Return a bar as Binance writes it."""
    quote_volume, trades, taken = extras(*row[4:])
    opened, *values = row
    closed = int(opened) + STEP - 1
    return [int(opened), *map(str, values), closed, str(quote_volume), trades, str(taken), "0", "0"]


BITSTAMP_MARKET = {
    "name": "BNB/USDT", "market_symbol": "bnbusdt", "description": "BNB / Tether",
    "base_currency": "BNB", "base_decimals": 8, "counter_currency": "USDT", "counter_decimals": 2,
    "minimum_order_value": "10", "trading": "Enabled", "instant_order_counter_decimals": 2,
    "instant_and_market_orders": "Enabled", "market_type": "SPOT",
}  # fmt: skip


@pytest.fixture
def server(http_server: Any) -> LocalExchange:
    exchange = LocalExchange(http_server.url)
    http_server.react = exchange.react
    return exchange


def download(server: LocalExchange, folder: Path, **options: Any) -> pd.DataFrame:
    """Return three days of bars of 15 minutes (288 bars) by default."""
    asked = {"interval": "15min", "days": 3, "end": END, "folder": folder}
    asked |= {"source": "api", "url": server.url}
    (bars,) = create(ExchangeSource, "market", asked | options).load().values()
    return bars


def may(text: str) -> pd.Timestamp:
    return utc_time(f"2025-05-{text}")


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*/*.parquet"))


def period(name: str) -> list[pd.Timestamp]:
    """Return the period of a file's name."""
    return [utc_time(time) for time in name.split("_")[:2]]


def check_asked_once(exchange: LocalExchange) -> None:
    """Check that no period is requested twice."""
    stretches = sorted((request.start, request.end) for request in exchange.requests)
    assert all(a[1] <= b[0] for a, b in pairwise(stretches))


# --- bars -----------------------------------------------------------------------------------------


def test_long_period_comes_in_pages(server: LocalExchange, tmp_path: Path) -> None:
    bars = download(server, tmp_path, days=30)
    assert interval_of(bars) == QUARTER
    assert (bars.index[0], bars.index[-1]) == (UNTIL - 30 * DAY + QUARTER, UNTIL)
    assert_frame_equal(bars, server.expected(UNTIL - 30 * DAY))
    assert [int(request.asked["limit"]) for request in server.requests] == [1000, 1000, 880]
    assert [name[:35] for name in parts(tmp_path)] == [
        "2025-04-10T060000_2025-04-20T160000",
        "2025-04-20T160000_2025-05-01T020000",
        "2025-05-01T020000_2025-05-10T060000",
    ]
    assert {request.path for request in server.requests} == {"/api/v3/klines"}


def test_without_end_the_last_bar_is_closed(server: LocalExchange, tmp_path: Path) -> None:
    before = pd.Timestamp.now("UTC")
    bars = download(server, tmp_path, end=None, days=1)
    last = bars.index[-1]
    assert before - timedelta(minutes=16) < last <= pd.Timestamp.now("UTC")
    assert len(bars) == 96


def test_outage_is_a_gap_and_is_requested_once(
    server: LocalExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the end of one answer, a whole answer, and the beginning of the next
    monkeypatch.setattr("gafcnn.data.exchange._PAGE", 40)
    server.outages = [(may("07T22:00"), may("09T03:00"))]
    bars = download(server, tmp_path)
    found = gaps(bars)
    assert found["missing"].tolist() == [29 * 4]
    assert found["after"].tolist() == [may("07T22:00")]
    assert [may("08T08:00"), may("08T18:00")] in [period(name) for name in parts(tmp_path)]
    asked = len(server.requests)
    again = download(server, tmp_path)
    assert_frame_equal(again, bars)
    assert len(server.requests) == asked


def test_symbol_listed_later_starts_at_its_first_bar(server: LocalExchange, tmp_path: Path) -> None:
    server.listed = may("08T10:00")
    bars = download(server, tmp_path, days=30)
    assert_frame_equal(bars, server.expected(may("08T10:00")))


def test_exchange_with_other_conventions(server: LocalExchange, tmp_path: Path) -> None:
    # Bitstamp answers newest bar first, and ccxt loads its markets before
    bars = download(server, tmp_path, exchange="bitstamp", days=30)
    assert_frame_equal(bars, server.expected(UNTIL - 30 * DAY)[[*COLUMNS]])


# --- storage --------------------------------------------------------------------------------------


def test_new_bars_and_more_days_are_requested_alone(server: LocalExchange, tmp_path: Path) -> None:
    download(server, tmp_path)
    later = UNTIL + DAY + 2 * QUARTER
    bars = download(server, tmp_path, end=later.isoformat(), refresh=True, days=4)
    expected = server.expected(later - 4 * DAY, later)
    assert_frame_equal(bars, expected)
    assert server.requests[-1].start == UNTIL
    check_asked_once(server)
    assert period(parts(tmp_path)[-1]) == [UNTIL, later]
    # the end has moved for good
    again = download(server, tmp_path, end=None, days=4)
    assert_frame_equal(again, expected)
    more = download(server, tmp_path, end=None, days=5)
    assert_frame_equal(more, server.expected(later - 5 * DAY, later))
    check_asked_once(server)


def _spoil(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[len(content) // 4] ^= 1
    part.write_bytes(content)


@pytest.mark.parametrize("number", [0, 1, -1])
def test_damaged_file_is_downloaded_again(
    number: int, server: LocalExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("gafcnn.data.exchange._PAGE", 100)
    first = download(server, tmp_path)
    part = tmp_path / "BNBUSDT_15min" / parts(tmp_path)[number]
    _spoil(part)
    server.requests.clear()
    assert_frame_equal(download(server, tmp_path), first)
    assert [str(part) in message for message in caplog.messages] == [True]
    (request,) = server.requests
    assert [request.start, request.end] == period(part.name)
    assert_frame_equal(download(server, tmp_path), first)
    assert len(server.requests) == 1


def test_complete_bars_are_read_without_lock_or_network(
    server: LocalExchange, tmp_path: Path
) -> None:
    first = download(server, tmp_path)
    place = tmp_path / "BNBUSDT_15min"
    (place / ".lock").unlink()
    before = sorted(place.iterdir())
    for end in (END, None):
        again = download(server, tmp_path, url="http://127.0.0.1:9", end=end)
        assert_frame_equal(again, first)
    assert sorted(place.iterdir()) == before


def test_parallel_downloads_request_once(server: LocalExchange, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        markets = list(pool.map(lambda _: download(server, tmp_path), range(2)))
    assert_frame_equal(markets[0], markets[1])
    check_asked_once(server)


KILLED = """
import sys
from gafcnn.data.exchange import ExchangeSource
url, folder, end = sys.argv[1:]
where = {"source": "api", "url": url, "folder": folder}
ExchangeSource(interval="15min", days=30, end=end, **where).load()
"""


def test_killed_download_resumes(server: LocalExchange, tmp_path: Path) -> None:
    arrived, over = threading.Event(), threading.Event()

    def silence(handler: Any, klines: list[Any]) -> None:
        arrived.set()
        over.wait(30)
        handler.close_connection = True

    server.faults[3] = silence
    command = [sys.executable, "-c", KILLED, server.url, str(tmp_path), END]
    with subprocess.Popen(command) as process:
        try:
            assert arrived.wait(60)
        finally:
            process.send_signal(signal.SIGKILL)
            over.set()
    del server.requests[2]  # the unanswered one
    first, second = server.requests
    bars = download(server, tmp_path, days=30)
    assert_frame_equal(bars, server.expected(UNTIL - 30 * DAY))
    assert first.end == second.start
    assert [request.start for request in server.requests[2:]] == [second.end]
    asked = len(server.requests)
    download(server, tmp_path, days=30, end=None)
    assert len(server.requests) == asked


# --- network faults -------------------------------------------------------------------------------


def answering(content: Any, status: int = 200, **headers: str) -> Fault:
    return lambda handler, klines: handler.answer(content, status, **headers)


def changed(change: Callable[[list[Any]], Any]) -> Fault:
    return lambda handler, klines: handler.answer(change(klines))


def at_row(row: int, change: Callable[[list[Any]], list[list[Any]]]) -> Fault:
    return changed(lambda klines: [*klines[:row], *change(klines[row]), *klines[row + 1 :]])


def dropped(handler: Any, klines: list[Any]) -> None:
    handler.answer(json.dumps(klines).encode()[: len(klines)], Content_Length="1000000")
    handler.close_connection = True


def hung_up(handler: Any, klines: list[Any]) -> None:
    handler.close_connection = True


BUSY = {"code": -1003, "msg": "Too many requests"}
failing = answering({"code": -1000, "msg": "An unknown error occurred"}, 500)

FAULTS = {
    "server error": failing,
    "too many requests": answering(BUSY, 429),
    "a ban without a length": answering(BUSY, 418),
    "a connection cut": hung_up,
    "connection dropped mid-body": dropped,
    "half a JSON": changed(lambda klines: json.dumps(klines).encode()[:1000]),
    "an empty body": answering(b""),
}


def test_temporary_faults_do_no_harm(
    server: LocalExchange, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gafcnn.data.exchange._PAGE", 60)
    # as many as are tolerated: four before each answer
    numbers = [n for n in range(1, 100) if n % 5]
    names = dict(zip(numbers, FAULTS, strict=False))
    server.faults = {n: FAULTS[name] for n, name in names.items()}
    bars = download(server, tmp_path, days=4)
    assert_frame_equal(bars, server.expected(UNTIL - 4 * DAY))
    asked = [request.start for request in server.requests]
    assert [name for n, name in names.items() if asked[n - 1] != asked[n]] == []
    assert len(asked) == len(FAULTS) + 7


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_permanent_fault_raises_and_stores_nothing(
    fault: Fault, server: LocalExchange, tmp_path: Path, quick: None
) -> None:
    server.always = fault
    with pytest.raises(DownloadError, match="BNB/USDT"):
        download(server, tmp_path, days=1)
    assert len(server.requests) == 5
    assert [path.name for path in tmp_path.glob("*/*")] == [".lock"]


@pytest.mark.parametrize(
    ("fault", "left_out"),
    [(at_row(9, lambda row: [[*row[:4], None, *row[5:]]]), 1),
     (at_row(7, lambda row: [[row[0], row[1], row[3], row[2], *row[4:]]]), 1),
     (at_row(5, lambda row: [[row[0] + MINUTE, *row[1:]]]), 1),
     (at_row(4, lambda row: [row, row]), 0),
     (at_row(99, lambda row: [[*row[:4], "0", *row[5:]]]), 1),
     (changed(lambda rows: [[*row[:4], "0", *row[5:]] for row in rows]), 100)],
    ids=["null", "low above high", "off the grid", "twice", "the last", "all of an answer"],
)  # fmt: skip
def test_impossible_bars_are_left_out(
    fault: Fault, left_out: int, server: LocalExchange, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("gafcnn.data.exchange._PAGE", 100)
    server.faults[2] = fault
    bars = download(server, tmp_path)
    assert gaps(bars)["missing"].sum() == left_out
    expected = server.expected(UNTIL - 3 * DAY)
    assert_frame_equal(bars, expected[expected.index.isin(bars.index)])
    (message,) = caplog.messages
    assert re.search(rf"{max(left_out, 1)} of 10[01] bars of BNB/USDT .* at 2025-05-0[89]", message)
    assert_frame_equal(download(server, tmp_path), bars)
    assert len(server.requests) == 3


def test_bars_of_another_period_raise(server: LocalExchange, tmp_path: Path) -> None:
    # some exchanges return their newest bars, whatever was requested
    server.always = changed(lambda ks: [[k[0] + 10**5 * MINUTE, *k[1:]] for k in ks])
    with pytest.raises(DownloadError, match=r"closes at 2025-07-.*market\.days"):
        download(server, tmp_path)
    assert parts(tmp_path) == []


def stuck(handler: Any, klines: list[Any]) -> None:
    handler.answer(b"[[", Content_Length="1000")
    time.sleep(1)
    handler.close_connection = True


def test_silent_exchange_is_asked_again(
    server: LocalExchange, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccxt.Exchange.timeout", 300)
    server.faults[1] = stuck
    bars = download(server, tmp_path, days=1)
    assert_frame_equal(bars, server.expected(UNTIL - DAY))
    first, second = server.requests
    assert second.at - first.at < 1
    monkeypatch.setattr("ccxt.Exchange.timeout", 50)
    server.always = stuck
    with pytest.raises(DownloadError, match="RequestTimeout"):
        download(server, tmp_path, days=2)


def test_requested_pause_is_kept_and_logged(
    server: LocalExchange, tmp_path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults[1] = answering(BUSY, 429, Retry_After="1")
    with caplog.at_level("INFO", "gafcnn"):
        download(server, tmp_path)
    assert re.fullmatch(
        r"Retrying .* in 1 seconds as it raised .*binance.*Too many requests.*",
        caplog.messages[0],
    )
    first, second = server.requests
    assert second.at - first.at >= 1
    assert (first.start, first.end) == (second.start, second.end)


def test_ban_is_not_waited_for(server: LocalExchange, tmp_path: Path) -> None:
    server.always = answering(BUSY, 418, Retry_After="86400")
    with pytest.raises(DownloadError, match="86,400 s"):
        download(server, tmp_path)
    assert len(server.requests) == 1


# --- invalid settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "facts"),
    [({"exchange": "binanse"}, "binanse.* binance"), ({"pair": "BNB/UDST"}, "Invalid symbol"),
     ({"interval": "10min"}, "10min.* 15m, 30m"),
     ({"exchange": "bitstamp", "symbol": "BNBEUR"}, "BNB/EUR.*market=file")],
)  # fmt: skip
def test_what_the_exchange_lacks_is_not_recorded(
    option: dict[str, Any], facts: str, server: LocalExchange, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=facts):
        download(server, tmp_path, **option)
    assert len(download(server, tmp_path)) == 288


def test_folder_of_another_pair(server: LocalExchange, tmp_path: Path) -> None:
    download(server, tmp_path)
    with pytest.raises(DownloadError, match="BNB/USDT of binance.* BTC/USDT of binance"):
        download(server, tmp_path, pair="BTC/USDT")


def test_damaged_record(server: LocalExchange, tmp_path: Path) -> None:
    first = download(server, tmp_path)
    asked = len(server.requests)
    record = tmp_path / "BNBUSDT_15min" / "download.json"
    whole = record.read_text()
    for damaged in ("", "{", "[]", "{}", whole.replace("06:00:00", "05:00:00"), whole[:-3]):
        record.write_text(damaged)
        with pytest.raises(BarsError, match=r"download\.json"):
            download(server, tmp_path)
    record.unlink()
    assert_frame_equal(download(server, tmp_path), first)
    assert len(server.requests) == asked


@pytest.mark.parametrize(
    "option",
    [{"interval": "7min"}, {"interval": "7D"}, {"days": 0}, {"days": 1e9}, {"end": "soon"},
     {"end": "2999-01-01"}, {"symbol": "BNBXYZ"}, {"symbols": ["BNB/USDT"]}],
)  # fmt: skip
def test_invalid_period(option: dict[str, Any], server: LocalExchange, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        download(server, tmp_path, **option)
    assert not server.requests
    assert list(tmp_path.iterdir()) == []


def test_pair_of_a_symbol() -> None:
    for pair in ("BNB/USDT", "BTC/FDUSD", "ADA/TUSD", "USDT/TRY", "ETH/BTC", "1000SATS/USDT"):
        assert pair_of(pair.replace("/", "")) == pair
    assert pair_of("BNB-XYZ") == "BNB/XYZ"
    for symbol in ("BNBXYZ", "USDT", "-USDT-", "BNB-"):
        with pytest.raises(ConfigError, match=symbol):
            pair_of(symbol)


def test_settings_survive_plain_data() -> None:
    source = ExchangeSource(symbols=("BTCUSDT", "ETH-XYZ"), end="2025-05-04", interval="1h")
    assert source.pairs() == {"BTCUSDT": "BTC/USDT", "ETH-XYZ": "ETH/XYZ"}
    assert SOURCES.create(as_plain(source), "market") == source
    rest = ExchangeSource(refresh=True, url="http://a", archive_url="http://b").at_rest()
    assert (rest.refresh, rest.url, rest.archive_url) == (False, None, None)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(ConfigError, match=r"pip install 'gafcnn\[exchange\]'"):
        ExchangeSource(folder=tmp_path).load()


# --- newest bars ----------------------------------------------------------------------------------


def newest(server: LocalExchange, count: int = 96) -> NewestBars:
    source = ExchangeSource(interval="15min", url=server.url)
    return source.newest(count)["BNBUSDT"]


def test_newest_bars_are_settled_and_requested_once(server: LocalExchange) -> None:
    held = newest(server)
    first = held(UNTIL + timedelta(seconds=10))
    assert_frame_equal(first, server.expected(UNTIL - DAY))
    assert interval_of(first) == QUARTER
    # the next bar is requested once it has settled, and no other
    later = held(UNTIL + QUARTER + timedelta(seconds=9))
    assert_frame_equal(later, first)
    assert len(server.requests) == 1
    later = held(UNTIL + QUARTER + timedelta(seconds=10))
    assert_frame_equal(later, server.expected(UNTIL + QUARTER - DAY, UNTIL + QUARTER))
    assert server.requests[-1].start == UNTIL
    assert len(server.requests) == 2


def test_late_bar_is_requested_again(server: LocalExchange) -> None:
    held = newest(server)
    late = UNTIL - 4 * QUARTER
    server.outages = [(late, late + QUARTER)]
    assert len(gaps(held(UNTIL + QUARTER))) == 1
    server.outages = []
    whole = held(UNTIL + 2 * QUARTER)
    assert server.requests[-1].start == late
    expected = server.expected(whole.index[-1] - DAY, whole.index[-1])
    assert_frame_equal(whole, expected)


# --- one file per answer --------------------------------------------------------------------------

MIDNIGHT = utc_time("2025-05-08")
HOUR = timedelta(hours=1)


def _bars(hours: int = 24, start: pd.Timestamp = MIDNIGHT) -> pd.DataFrame:
    closes = pd.date_range(start + HOUR, periods=hours, freq=HOUR, name="close_time", unit="ns")
    prices = 600 + np.random.default_rng(0).normal(size=(hours, len(COLUMNS)))
    return pd.DataFrame(prices, columns=list(COLUMNS), index=closes)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a day."""
    place = tmp_path_factory.mktemp("parts")
    keep(place, _bars(), MIDNIGHT, MIDNIGHT + DAY)
    return next(place.iterdir())


def test_bars_are_read_unchanged(part: Path, tmp_path: Path) -> None:
    bars, missing = held(part.parent, MIDNIGHT, MIDNIGHT + DAY)
    assert_frame_equal(bars, _bars(), check_exact=True, check_freq=False)
    assert missing == damaged_parts(part.parent) == []
    # an outage is a file without bars
    keep(tmp_path, _bars()[:0], MIDNIGHT, MIDNIGHT + DAY)
    bars, missing = held(tmp_path, MIDNIGHT, MIDNIGHT + DAY)
    assert bars.empty
    assert missing == damaged_parts(tmp_path) == []


def test_further_volumes_are_those_that_all_files_have(tmp_path: Path) -> None:
    keep(tmp_path, _bars(), MIDNIGHT, MIDNIGHT + DAY)
    later = _bars(start=MIDNIGHT + DAY).assign(**dict.fromkeys(EXTRAS, 1.0))
    keep(tmp_path, later, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)
    bars, missing = held(tmp_path, MIDNIGHT, MIDNIGHT + 2 * DAY)
    assert ([*bars.columns], missing) == ([*COLUMNS], [])
