"""Binance's public archive of klines: a zip with a checksum for each month and each day.

    <url>/data/spot/monthly/klines/BNBUSDT/1m/BNBUSDT-1m-2024-01.zip, and .zip.CHECKSUM
    <url>/data/spot/daily/klines/BNBUSDT/1m/BNBUSDT-1m-2024-01-31.zip

A day's file appears on the next day, a month's within a week. The archive is fast, and can be
reached where the exchange's API is blocked.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import pandas as pd

from gafcnn.data.bars import COLUMNS, EXTRAS
from gafcnn.data.reading import parts_in, unreadable, zipped_tables
from gafcnn.errors import BarsError, import_extra

URL = "https://data.binance.vision"

_ATTEMPTS, _FIRST_PAUSE = 3, 1.0  # seconds; doubled with each attempt
_TIMEOUT = 10.0, 30.0  # seconds, to connect and of silence
_DAY, _WEEK = pd.Timedelta(days=1), pd.Timedelta(days=7)

Period = tuple[pd.Timestamp, pd.Timestamp]

log = logging.getLogger(__name__)


def archived_bars(
    url: str, symbol: str, timeframe: str, interval: pd.Timedelta, periods: Sequence[Period]
) -> Iterator[tuple[pd.DataFrame, *Period]]:
    """Yield the bars that the archive has of some periods, file by file.

    After the first file that cannot be had for another reason than that the archive lacks it, no
    other is requested. The archive, or a mirror, has its symbols without a separator; the interval,
    at most a day, is also given as Binance writes it; periods [since, until) are of open times.

    Yields:
        Bars of a file indexed by close time, not yet checked, and the period that they cover.
    """
    with import_extra("requests", "exchange").Session() as session:
        for since, until in periods:
            for kind, name, begin, end in _files(since, until):
                folder = f"{url.rstrip('/')}/data/spot/{kind}/klines/{symbol}/{timeframe}"
                file = f"{folder}/{symbol}-{timeframe}-{name}.zip"
                try:
                    content = _download(session, file)
                    if content is None:
                        continue
                    bars = _bars(file, content, interval)
                    if bars.index[0] <= begin or bars.index[-1] > end:
                        raise unreadable(file, "it holds bars of another time")
                except (OSError, BarsError) as error:
                    reason = " ".join(str(getattr(error, "found", error)).split())[:200]
                    log.warning("the API is used in place of the archive (%s)", reason)
                    return
                begin, end = max(begin, since), min(end, until)
                yield bars.loc[(bars.index > begin) & (bars.index <= end)], begin, end


def _files(
    since: pd.Timestamp, until: pd.Timestamp
) -> Iterator[tuple[str, str, pd.Timestamp, pd.Timestamp]]:
    """Yield kind, name, begin and end of the files that contain a period, as far as they exist.

    A month's file takes fewer requests than those of two days.
    """
    now = pd.Timestamp.now("UTC")
    month: Any = since.normalize().replace(day=1)
    while month < until:
        following = month + pd.offsets.MonthBegin()
        first, last = max(month, since), min(following, until)
        if following + _WEEK <= now and last - first > _DAY:
            yield "monthly", f"{month:%Y-%m}", month, following
        else:
            for day in pd.date_range(first.normalize(), last, freq=_DAY, inclusive="left"):
                if day + _DAY <= now:
                    yield "daily", f"{day:%Y-%m-%d}", day, day + _DAY
        month = following


def _download(session: Any, url: str) -> bytes | None:
    """Return a file whose checksum is right; None if the archive lacks it."""
    tenacity = import_extra("tenacity", "exchange")
    ask = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_temporary),
        wait=tenacity.wait_exponential(_FIRST_PAUSE),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        before_sleep=tenacity.before_sleep_log(log, logging.INFO),
        reraise=True,
    )
    checksum = ask(_answer, session, f"{url}.CHECKSUM")
    content = None if checksum is None else ask(_answer, session, url)
    if checksum is None or content is None:
        return None
    if hashlib.sha256(content).hexdigest().encode() not in checksum.split():
        raise unreadable(url, "its checksum is wrong")
    return content


def _answer(session: Any, url: str) -> bytes | None:
    answer = session.get(url, timeout=_TIMEOUT)
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    return answer.content


def _is_temporary(error: BaseException) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", 500)
    return isinstance(error, OSError) and (status == 429 or status >= 500)


def _bars(file: str, content: bytes, interval: pd.Timedelta) -> pd.DataFrame:
    """Return the bars of a zip, by close time."""
    try:
        [table] = zipped_tables(file, BytesIO(content))
        [part] = parts_in(table)
        closes: Any = part.frame.index + interval
        bars = part.frame.set_axis(closes.as_unit("ns").rename("close_time")).sort_index()
        return bars.loc[:, [*COLUMNS, *EXTRAS]]
    except Exception as error:  # the parsers raise many types for damaged files
        raise unreadable(file, error) from error
