"""Downloaded bars on disk, a part a day.

<folder>/<symbol>_<interval>/
    download.json                     whose bars these are, and the period of the first download
    2025-05-04.parquet                the bars that opened on that day, UTC; possibly none
    2025-05-05.until-133000.parquet   a day that was not over when it was asked for
A part's name tells what was asked for, whether or not the exchange had bars there: an outage is not
asked about twice. A part that is removed is fetched again, it alone.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa

from gafcnn.errors import BarsError
from gafcnn.market.reading import write_bars

DAY = timedelta(days=1)

_UNTIL = "%Y-%m-%d.until-%H%M%S"


def missing_stretches(
    place: Path, since: pd.Timestamp, until: pd.Timestamp
) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Stretches that were never asked for; the first day is taken from its midnight on."""
    stretches: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    for day in _days(since, until):
        begin, end = _held(place, day)[1], min(day + DAY, until)
        if begin >= end:
            continue
        if stretches and stretches[-1][1] == begin:
            begin = stretches.pop()[0]
        stretches.append((begin, end))
    return stretches


def keep(place: Path, bars: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> None:
    """Write an answer for [since, until) to the parts of its days."""
    for day in _days(since, until):
        held, _ = _held(place, day)
        end = min(day + DAY, until)
        new = bars.loc[(bars.index > day) & (bars.index <= end)]
        write_bars(_part(place, day, end), new if held is None else pd.concat([_bars(held), new]))
        if held is not None:
            held.unlink()


def read_parts(place: Path, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    """The bars that opened in [since, until), by close time, not yet checked.

    Raises:
        BarsError: A part is damaged.
    """
    parts = [part for day in _days(since, until) if (part := _held(place, day)[0])]
    bars = pd.concat([_bars(part) for part in parts])
    return bars.loc[(bars.index > since) & (bars.index <= until)]


def utc_time(text: str, notation: str = "ISO8601") -> pd.Timestamp:
    """A time from ISO text, UTC where it has no offset."""
    time = pd.to_datetime(str(text), utc=True, format=notation)
    if not isinstance(time, pd.Timestamp):
        raise ValueError(text)
    return time.as_unit("ns")


def _days(since: pd.Timestamp, until: pd.Timestamp) -> pd.DatetimeIndex:
    return pd.date_range(since.normalize(), until, freq="D", inclusive="left")


def _held(place: Path, day: pd.Timestamp) -> tuple[Path | None, pd.Timestamp]:
    """The part of a day, and until when it holds the day's bars."""
    whole = _part(place, day, day + DAY)
    if whole.exists():
        return whole, day + DAY
    begun = sorted(place.glob(f"{day:%Y-%m-%d}.until-*.parquet"))
    if not begun:
        return None, day
    return begun[-1], utc_time(begun[-1].stem, _UNTIL)


def _part(place: Path, day: pd.Timestamp, until: pd.Timestamp) -> Path:
    return place / f"{until.strftime(_UNTIL) if until < day + DAY else day.date()}.parquet"


def _bars(part: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(part, partitioning=None).set_index("close_time")
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise BarsError(
            f"{part} cannot be read",
            expected="the bars of a day",
            instead="remove it: it is downloaded again, it alone",
        ) from error
