"""Downloaded bars on disk, one file per day.

<folder>/<symbol>_<interval>/
    download.json                     exchange, pair, and the period of the first download
    2025-05-04.parquet                the bars that opened on that day, UTC; possibly none
    2025-05-05.until-133000.parquet   a day that was incomplete when it was requested
A file's name tells which period was requested, whether or not the exchange had bars then, so that
an outage is not requested twice. Each file holds the fingerprint of its bars, so that damage is
detected. A file that is missing or damaged is downloaded again, and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gafcnn.atomic_io import write_bytes
from gafcnn.data.bars import COLUMNS, fingerprint

DAY = timedelta(days=1)

_UNTIL = "%Y-%m-%d.until-%H%M%S"
_SCHEMA = pa.schema(
    [("close_time", pa.timestamp("ns", "UTC")), *((name, pa.float64()) for name in COLUMNS)]
)
_SEAL = b"fingerprint"


@dataclass(frozen=True)
class Held:
    """The bars on disk of the period [since, until).

    Attributes:
        bars: The bars, by close time, not yet checked.
        missing: Periods that were never requested or are damaged; the first day starts at midnight.
        damaged: Damaged files.
    """

    bars: pd.DataFrame
    missing: list[tuple[pd.Timestamp, pd.Timestamp]]
    damaged: list[Path]


def held(place: Path, since: pd.Timestamp, until: pd.Timestamp) -> Held:
    """Return the bars on disk of the period [since, until)."""
    found = [_SCHEMA.empty_table().to_pandas().set_index("close_time")]
    missing, damaged = [], []
    for day in _days(since, until):
        part, begin = _find_part(place, day)
        end = min(day + DAY, until)
        bars = None if part is None else _read(part)
        if bars is not None:
            found.append(bars)
        elif part is not None:
            damaged.append(part)
            begin, end = day, max(begin, end)  # the whole period of the file
        if begin >= end:
            continue
        if missing and missing[-1][1] == begin:
            begin = missing.pop()[0]
        missing.append((begin, end))
    bars = pd.concat(found)
    return Held(bars.loc[(bars.index > since) & (bars.index <= until)], missing, damaged)


def keep(place: Path, bars: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> None:
    """Write an answer for [since, until) to the files of its days.

    Raises:
        DiskError: The disk is full or cannot be written.
    """
    for day in _days(since, until):
        before, _ = _find_part(place, day)
        begun = None if before is None else _read(before)
        end = min(day + DAY, until)
        new = bars.loc[(bars.index > day) & (bars.index <= end)]
        part = _part(place, day, end)
        _write(part, new if begun is None else pd.concat([begun, new]))
        if before not in (None, part):
            before.unlink()


def damaged_parts(place: Path) -> list[Path]:
    """Return the damaged files, in the order of their days."""
    return [part for part in sorted(place.glob("*.parquet")) if _read(part) is None]


def utc_time(text: str, notation: str = "ISO8601") -> pd.Timestamp:
    """Return a time from a text; UTC if it has no offset. Raises ValueError for other texts."""
    time = pd.to_datetime(text, utc=True, format=notation)
    if not isinstance(time, pd.Timestamp):
        raise ValueError(text)
    return time.as_unit("ns")


def _days(since: pd.Timestamp, until: pd.Timestamp) -> pd.DatetimeIndex:
    return pd.date_range(since.normalize(), until, freq="D", inclusive="left")


def _find_part(place: Path, day: pd.Timestamp) -> tuple[Path | None, pd.Timestamp]:
    """Return the file of a day, and the end of the period that it holds."""
    whole = _part(place, day, day + DAY)
    if whole.exists():
        return whole, day + DAY
    begun = sorted(place.glob(f"{day:%Y-%m-%d}.until-{'[0-9]' * 6}.parquet"))
    if not begun:
        return None, day
    return begun[-1], utc_time(begun[-1].stem, _UNTIL)


def _part(place: Path, day: pd.Timestamp, until: pd.Timestamp) -> Path:
    return place / f"{until.strftime(_UNTIL) if until < day + DAY else day.date()}.parquet"


def _write(part: Path, bars: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(bars.reset_index(), _SCHEMA, preserve_index=False)
    packed = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({_SEAL: fingerprint(bars)}), packed)
    write_bytes(part, memoryview(packed.getvalue()))


def _read(part: Path) -> pd.DataFrame | None:
    """Return the bars of a file; None if it is damaged."""
    try:
        table = pq.ParquetFile(part).read()
        bars = table.to_pandas(ignore_metadata=True).set_index("close_time")
        seal = (table.schema.metadata or {}).get(_SEAL)
        whole = table.schema.equals(_SCHEMA) and seal == fingerprint(bars).encode()
    except PermissionError:
        raise
    except Exception:  # noqa: BLE001 - the parser raises many types for damaged files
        return None
    return bars if whole else None
