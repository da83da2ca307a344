"""Downloads from Binance's archive, and from the API what that lacks.

Both are one local HTTP server. Its market has a few bars at the ends of each day.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import zipfile
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gafcnn.data.bars import COLUMNS, EXTRAS
from gafcnn.data.exchange import ExchangeSource, utc_time
from gafcnn.errors import DownloadError
from gafcnn.settings import create

DAY, QUARTER = pd.Timedelta(days=1), pd.Timedelta(minutes=15)
END = utc_time("2025-05-10T06:00")
MONTH = "BNBUSDT-15m-2025-05.zip"


def rows(since: Any, until: Any, step: pd.Timedelta) -> list[list[Any]]:
    """Return the klines that open in [since, until), times in ms."""
    opens = pd.date_range(since.normalize(), until, freq=DAY, inclusive="left")
    found = [day + k * step for day in opens for k in (0, 1, 2, DAY // step - 2, DAY // step - 1)]
    return [kline(time, step) for time in found if since <= time < until]


def kline(time: pd.Timestamp, step: pd.Timedelta) -> list[Any]:
    opened, length = time.value // 10**6, step.value // 10**6
    first, last = (round(600 + 50 * math.sin(opened / 1e8 + k), 2) for k in (0, 0.01))
    prices = first, max(first, last) + 1, min(first, last) - 1, last
    volume = round(5 + math.cos(opened), 3)
    of_takers = opened + length - 1, str(volume * last), int(volume * 100), str(volume / 4), "0"
    return [opened, *map(str, (*prices, volume)), *of_takers, "0"]


def expected(since: Any, until: Any, step: pd.Timedelta) -> pd.DataFrame:
    klines = rows(since, until, step)
    opens = pd.to_datetime([one[0] for one in klines], unit="ms", utc=True).as_unit("ns")
    values = [[float(one[k]) for k in (1, 2, 3, 4, 5, 7, 8, 9)] for one in klines]
    return pd.DataFrame(values, (opens + step).rename("close_time"), [*COLUMNS, *EXTRAS])


@dataclass
class Server:
    """Serves files and klines, and notes what is asked."""

    url: str
    lacking: str = "nothing"  # in the names of files
    contents: dict[str, bytes] = field(default_factory=dict)  # of files, if not those of the market
    failing: dict[str, list[int]] = field(default_factory=dict)  # the first answers; 0: is cut off
    blocked: bool = False  # the API
    files: list[str] = field(default_factory=list)
    asked: list[tuple[pd.Timestamp, pd.Timestamp]] = field(default_factory=list)

    def react(self, handler: Any) -> None:
        parts = urlsplit(handler.path)
        if parts.path == "/api/v3/klines":
            self.klines(handler, dict(parse_qsl(parts.query)))
            return
        name = parts.path.rpartition("/")[2]
        self.files.append(name)
        if self.lacking in name:
            handler.answer(b"<Error><Code>NoSuchKey</Code></Error>", 404)
        elif not (statuses := self.failing.get(name)):
            handler.answer(self.content(parts.path))
        elif status := statuses.pop(0):
            handler.answer(b"an error", status)
        else:
            handler.answer(b"an error", Content_Length="9")
            handler.close_connection = True

    def content(self, path: str) -> bytes:
        name = path.rpartition("/")[2]
        if name in self.contents:
            return self.contents[name]
        whole = path.removesuffix(".CHECKSUM")
        if whole == path:
            return self.zipped(path)
        return f"{hashlib.sha256(self.content(whole)).hexdigest()}  {name}\n".encode()

    def klines(self, handler: Any, asked: dict[str, str]) -> None:
        since, until = (
            pd.Timestamp(int(asked[name]) + k, unit="ms", tz="UTC")
            for k, name in enumerate(("startTime", "endTime"))
        )
        self.asked.append((since, until))
        if self.blocked:
            handler.answer({"code": 0, "msg": "a restricted location"}, 451)
            return
        step = pd.Timedelta(asked["interval"].replace("m", "min"))
        handler.answer(rows(since, until, step)[: int(asked["limit"])])

    def zipped(self, path: str) -> bytes:
        pattern = r"/data/spot/(\w+)/klines/BNBUSDT/(\w+)/BNBUSDT-\2-([\d-]+)\.zip"
        found = re.fullmatch(pattern, path)
        assert found is not None
        begin = pd.Timestamp(found[3], tz="UTC")
        end = begin + (pd.offsets.MonthBegin() if found[1] == "monthly" else DAY)
        step = pd.Timedelta(found[2].replace("m", "min"))
        return archive(rows(begin, end, step), f"BNBUSDT-{found[2]}-{found[3]}.csv")


def archive(klines: list[list[Any]], name: str = "bars.csv") -> bytes:
    """Return a zip as Binance writes it, with times in us from 2025 on."""
    lines = []
    for opened, *values in klines:
        unit = 1000 if opened >= 1735689600000 else 1
        lines.append(",".join(map(str, [opened * unit, *values])))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        # with a fixed date, so that the checksum holds a second later
        file.writestr(zipfile.ZipInfo(name), "\n".join(lines) + "\n")
    return written.getvalue()


@pytest.fixture
def server(http_server: Any, quick: None) -> Server:
    state = Server(http_server.url)
    http_server.react = state.react
    return state


def download(server: Server, folder: Path, **options: Any) -> pd.DataFrame:
    """Return five days of bars of 15 minutes by default, and check them."""
    asked = {"interval": "15min", "days": 5, "end": END.isoformat(), "folder": folder}
    asked |= {"url": server.url, "archive_url": server.url} | options
    source = create(ExchangeSource, "market", asked)
    (bars,) = source.load().values()
    until = END if source.end is None else source.end
    assert_frame_equal(bars, expected(until - int(source.days) * DAY, until, source.interval))
    return bars


def with_checksums(*names: str) -> list[str]:
    return [f"BNBUSDT-{name}.zip{ending}" for name in names for ending in (".CHECKSUM", "")]


def test_180_days_of_minutes_take_a_handful_of_requests(server: Server, tmp_path: Path) -> None:
    # milliseconds in 2024, microseconds in 2025, and the beginning of a day
    bars = download(server, tmp_path, interval="1min", days=180)
    months = ["2024-11", "2024-12", *(f"2025-0{k}" for k in range(1, 6))]
    assert server.files == with_checksums(*(f"1m-{month}" for month in months))
    assert server.asked == []
    again = download(server, tmp_path, interval="1min", days=180, end=None)
    assert_frame_equal(again, bars)
    assert (len(server.files), server.asked) == (14, [])


def test_newest_days_come_by_day_and_then_from_the_api(server: Server, tmp_path: Path) -> None:
    # a few quarters of an hour ago, and so on both sides of midnight if it is early
    now = pd.Timestamp.now("UTC")
    until: Any = now.floor("15min") - pd.Timedelta("30min")
    download(server, tmp_path, end=until.isoformat(), days=3)
    days = pd.date_range(until.normalize() - 3 * DAY, until, freq=DAY, inclusive="left")
    over = [f"15m-{day:%Y-%m-%d}" for day in days if day + DAY <= now]
    assert all("-15m-" in name for name in server.files)
    if now.day > 10:  # no file of a month
        assert server.files == with_checksums(*over)
    assert all(since >= until.normalize() for since, _ in server.asked)


def test_new_bars_come_from_the_files_of_days(server: Server, tmp_path: Path) -> None:
    download(server, tmp_path)
    assert server.files == with_checksums("15m-2025-05")
    server.files.clear()
    later = (END + DAY).isoformat()
    download(server, tmp_path, end=later, refresh=True)
    assert server.files == with_checksums("15m-2025-05-10", "15m-2025-05-11")
    periods = sorted(path.name[:35] for path in tmp_path.glob("*/*.parquet"))
    assert periods == [
        "2025-05-05T060000_2025-05-10T060000",
        "2025-05-10T060000_2025-05-11T000000",
        "2025-05-11T000000_2025-05-11T060000",
    ]
    assert server.asked == []


def test_what_the_archive_lacks_comes_from_the_api(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.lacking = "2025-04"
    download(server, tmp_path, days=60)
    files = [name for name in server.files if not name.endswith(".CHECKSUM")]
    assert files == ["BNBUSDT-15m-2025-03.zip", MONTH]
    assert min(server.asked)[0] == utc_time("2025-04-01")
    assert max(until for _, until in server.asked) == utc_time("2025-05-01")
    assert caplog.messages == []


FAULTS: dict[str, dict[str, Any]] = {
    "wrong checksum": {"contents": {f"{MONTH}.CHECKSUM": b"0" * 64}},
    "no checksum": {"contents": {f"{MONTH}.CHECKSUM": b"<html>log in</html>"}},
    "no zip": {"contents": {MONTH: b"<html>log in</html>"}},
    "six columns": {"contents": {MONTH: archive([[1746057600000, 1, 1, 1, 1, 1]] * 3)}},
    "another time": {"contents": {MONTH: archive(rows(END, END + 30 * DAY, QUARTER))}},
    "forbidden": {"failing": {f"{MONTH}.CHECKSUM": [403]}},
    "server error": {"failing": {MONTH: [500] * 3}},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_api_takes_over_from_a_faulty_archive(
    fault: dict[str, Any], server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in deepcopy(fault).items():
        setattr(server, name, value)
    until = utc_time("2025-06-03")
    download(server, tmp_path, end=until.isoformat(), days=10)
    assert not [name for name in server.files if "2025-06" in name]
    assert min(server.asked)[0] == until - 10 * DAY
    assert [one.levelname for one in caplog.records].count("WARNING") == 1


def test_api_takes_over_if_the_archive_cannot_be_reached(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    download(server, tmp_path, days=60, archive_url="http://127.0.0.1:9")
    assert [one.levelname for one in caplog.records].count("WARNING") == 1
    assert len(server.asked) > 1


@pytest.mark.parametrize("status", [0, 429, 503])
def test_file_is_requested_again(status: int, server: Server, tmp_path: Path) -> None:
    server.failing = {MONTH: [status]}
    download(server, tmp_path)
    assert server.files == [f"{MONTH}.CHECKSUM", MONTH, MONTH]
    assert server.asked == []


@pytest.mark.parametrize("option", [{"source": "api"}, {"exchange": "binanceus"}])
def test_archive_is_not_asked(option: dict[str, str], server: Server, tmp_path: Path) -> None:
    download(server, tmp_path, **option)
    assert server.files == []
    assert server.asked


def test_faulty_bars_of_a_file_are_left_out(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    klines = rows(utc_time("2025-05-01"), utc_time("2025-06-01"), QUARTER)
    faulty = [list(one) for one in klines]
    faulty[25][3] = "9999"  # the low
    faulty[30][0] += 60_000
    faulty[31][9] = ""
    faulty[32] = faulty[33]
    server.contents = {MONTH: archive(faulty)}
    asked = {"interval": "15min", "days": 5, "end": END.isoformat(), "folder": tmp_path}
    source = ExchangeSource(**asked, url=server.url, archive_url=server.url)
    (bars,) = source.load().values()
    there = expected(END - 5 * DAY, END, QUARTER)
    missing = there.index.difference(bars.index)
    opens = [klines[k][0] for k in (25, 30, 31, 32)]
    assert [time.value // 10**6 - 900_000 for time in missing] == opens
    assert_frame_equal(bars, there.drop(missing))
    (message,) = caplog.messages
    assert re.search("4 of 25 bars of BNB/USDT", message)
    assert server.asked == []


def test_archive_suffices_where_the_api_is_blocked(server: Server, tmp_path: Path) -> None:
    server.blocked = True
    # the newest bars are asked of the API at any time of the day
    server.lacking = f"{pd.Timestamp.now('UTC') - DAY:%Y-%m-%d}"
    with pytest.raises(DownloadError, match="451") as raised:
        download(server, tmp_path, end=None)
    found = re.search(r"market\.end=(\S+) market\.refresh=true", str(raised.value))
    assert found is not None
    bars = download(server, tmp_path, end=found[1], refresh=True)
    asked = len(server.asked)
    # the end has moved for good
    source = ExchangeSource(interval="15min", days=5, url=server.url, folder=tmp_path)
    assert_frame_equal(source.load()["BNBUSDT"], bars)
    assert len(server.asked) == asked
