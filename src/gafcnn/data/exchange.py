"""Bars from an exchange, downloaded once and kept by the day, see `gafcnn.data.daily_cache`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from gafcnn.atomic_io import (
    disk_errors,
    make_folder,
    read_sealed,
    remove_partial_files,
    seal,
    wait_for_lock,
    write_json,
)
from gafcnn.data.bars import check_bars
from gafcnn.data.daily_cache import DAY, Held, held, keep, utc_time
from gafcnn.data.klines import Klines
from gafcnn.data.sources import Market, check_symbol, count_bars
from gafcnn.durations import DurationLike, format_duration, parse_duration
from gafcnn.errors import BarsError, ConfigError, DownloadError
from gafcnn.progress import counting

RECORD, LOCK = "download.json", ".lock"

# the clocks of exchange and machine differ a little, and the newest bar may come a little late
_SETTLED = timedelta(seconds=10)

log = logging.getLogger(__name__)


def from_exchange(
    symbol: str,
    exchange: str,
    pair: str,
    interval: DurationLike,
    days: float,
    end: str | None,
    folder: str | Path,
    refresh: bool = False,  # noqa: FBT001, FBT002 - an option of the configuration
    url: str | None = None,
) -> Market:
    """A market from an exchange's public API, downloaded once and from then on read from disk.

    The first download pins its end, so that the same command gives the same bars later. A download
    that was broken off goes on where it was, and a day that is damaged on disk is asked for again.
    Where all is there, nothing is asked, locked or written. Bars that the exchange lacks are gaps;
    a symbol listed later than the period begins at its first bar; bars not yet closed, by the clock
    of this machine, are left out.

    Args:
        symbol: The name that stores and predictions carry.
        exchange: One of ccxt's, as in `binance`.
        pair: Base and quote, as in `BNB/USDT`.
        interval: Time between two bars; a divisor of a day that the exchange offers.
        days: Length of the period, counted back from its end.
        end: End of the period, ISO, UTC; by default the pinned one, at first the present.
        folder: Where the bars are kept.
        refresh: Whether to move the pinned end to the present (or to `end`).
        url: Base address of a mirror of the exchange's API; by default the exchange's own.

    Raises:
        ConfigError: The symbol is no plain name, or interval, days or end make no period.
        DownloadError: The exchange cannot be reached or does not answer with bars; what has come
            until then is kept.
        BarsError: The bars on disk may not be read, their record is damaged, or the exchange's
            cannot be trusted.
    """
    check_symbol(symbol)
    step = checked_interval(interval)
    place = Path(folder) / f"{symbol}_{format_duration(step)}"
    length = count_bars(days, step) * step
    record = _recorded(place, exchange, pair)
    kept = None
    if record is not None and not refresh:
        until = _end(record, end, step, refresh=False)
        kept = held(place, until - length, until)
    if kept is None or kept.missing:
        with _sole_user(place):
            record = _recorded(place, exchange, pair)
            until = _end(record, end, step, refresh=refresh)
            if record is None or refresh:
                record = _record(exchange, pair, step, until - length, until)
            kept = _completed(place, record, until - length, until, url)
    if kept.bars.empty:
        raise DownloadError(
            f"{exchange} has no {pair} bars from {kept.since:%Y-%m-%d %H:%M} "
            f"to {kept.until:%Y-%m-%d %H:%M}",
            expected="some",
            instead=f"choose another period, or remove {place} to ask again",
        )
    return Market(symbol, check_bars(kept.bars, place, step))


# --- the period -----------------------------------------------------------------------------------


def checked_interval(interval: DurationLike) -> pd.Timedelta:
    """The time between two bars of an exchange, from the value of the option `market.interval`.

    Raises:
        ConfigError: It does not divide a day.
    """
    step = parse_duration("market.interval", interval)
    if step < timedelta(seconds=1) or step * (DAY // step) != DAY:
        raise ConfigError(
            f"market.interval is {format_duration(step)}",
            expected="a divisor of a day, such as 1min, 15min or 1h",
            instead="set market.interval to one that the exchange offers",
        )
    return step


def _end(
    record: dict[str, Any] | None, end: str | None, step: pd.Timedelta, *, refresh: bool
) -> pd.Timestamp:
    closed = _floor(pd.Timestamp.now("UTC") - _SETTLED, step)
    if end is None:
        return closed if record is None or refresh else utc_time(record["end"])
    try:
        asked = _floor(utc_time(end), step)
    except (ValueError, TypeError) as error:
        raise _wrong_end(end, closed) from error
    if asked > closed:
        raise _wrong_end(end, closed)
    return asked


def _floor(time: pd.Timestamp, step: timedelta) -> pd.Timestamp:
    return time.floor(step)  # pyright: ignore[reportReturnType] # never NaT


def _wrong_end(end: str, closed: pd.Timestamp) -> ConfigError:
    return ConfigError(
        f"market.end is {end}",
        expected=f"an ISO time, UTC, up to {closed:%Y-%m-%dT%H:%M}, the last bar that is closed",
        instead="set market.end to one, or to null",
    )


# --- the record -----------------------------------------------------------------------------------


def _record(
    exchange: str, pair: str, step: pd.Timedelta, since: pd.Timestamp, until: pd.Timestamp
) -> dict[str, Any]:
    period = {"start": since.isoformat(), "end": until.isoformat()}
    return {"exchange": exchange, "pair": pair, "interval": format_duration(step), **period}


def _recorded(place: Path, exchange: str, pair: str) -> dict[str, Any] | None:
    """What download.json says; None before the first answer of the exchange."""
    path = place / RECORD
    try:
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BarsError(
            f"{path} may not be read ({error.strerror})",
            expected="bars that this user may read",
            instead="allow it, or set market.folder to a place of one's own",
        ) from error
    record = read_sealed(path)
    if record is None:
        raise BarsError(
            f"{path} cannot be read",
            expected="exchange, pair, interval, start and end, as they were written",
            instead="remove it: the bars beside it are kept, and market.end is pinned anew",
        )
    whose = record["exchange"], record["pair"]
    if whose != (exchange, pair):
        raise DownloadError(
            f"{place} holds {whose[1]} of {whose[0]}",
            expected=f"{pair} of {exchange}",
            instead="set market.symbol or market.folder to one of its own",
        )
    return record


def _keep_record(place: Path, record: dict[str, Any]) -> None:
    if _recorded(place, record["exchange"], record["pair"]) != record:
        write_json(place / RECORD, seal(record))


# --- the download ---------------------------------------------------------------------------------


def _completed(
    place: Path, record: dict[str, Any], since: pd.Timestamp, until: pd.Timestamp, url: str | None
) -> Held:
    """The bars of [since, until), of which the exchange is asked for what is not on disk."""
    kept = held(place, since, until)
    for part in kept.damaged:
        log.warning("%s is damaged and is fetched again", part)
    if kept.missing:
        try:
            _download(place, record, kept.missing, url)
        except DownloadError as error:
            raise _not_mended(held(place, since, until).damaged, error) from error
        kept = held(place, since, until)
    if kept.damaged:
        raise BarsError(
            f"{kept.damaged[0]} is damaged as soon as it is written",
            expected="a disk that keeps what is written to it",
            instead="set market.folder to another disk",
        )
    _keep_record(place, record)
    return kept


def _not_mended(damaged: list[Path], error: DownloadError) -> DownloadError:
    if not damaged:
        return error
    return DownloadError(
        f"{damaged[0]} is damaged, and {error.found}",
        expected="the bars as they were written, or an exchange that gives them again",
        instead="run the command again with the network, or put an undamaged copy in its place",
    )


def _download(
    place: Path,
    record: dict[str, Any],
    missing: list[tuple[pd.Timestamp, pd.Timestamp]],
    url: str | None,
) -> None:
    step = parse_duration("market.interval", record["interval"])
    total = sum((end - begin) // step for begin, end in missing)
    name = f"bars {record['pair']}"
    klines = Klines(record["exchange"], record["pair"], step, url, kept=place)
    with closing(klines), counting(name, total, "bars") as advance:
        for begin, end in missing:
            for bars, since, until in klines.pages(begin, end):
                _keep_record(place, record)  # not before an answer: a misspelt pair is not pinned
                keep(place, bars, since, until)
                advance((until - since) // step)


@contextmanager
def _sole_user(place: Path) -> Iterator[None]:
    with disk_errors(place, 0):
        make_folder(place)
    with wait_for_lock(place / LOCK, f"downloading to {place}"):
        remove_partial_files(place)
        yield
