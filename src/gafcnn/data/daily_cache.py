"""Downloaded bars on disk, a part a day.

<folder>/<symbol>_<interval>/
    download.json                     whose bars these are, and the period of the first download
    2025-05-04.parquet                the bars that opened on that day, UTC; possibly none
    2025-05-05.until-133000.parquet   a day that was not over when it was asked for
A part's name tells what was asked for, whether or not the exchange had bars there: an outage is not
asked about twice. Its bars are sealed by their fingerprint, so that no byte of them can change
unnoticed. A part that is removed, or damaged, is fetched again, it alone.
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
from gafcnn.data.parquet import read_parquet
from gafcnn.errors import BarsError

DAY = timedelta(days=1)

_UNTIL = "%Y-%m-%d.until-%H%M%S"
_SCHEMA = pa.schema(
    [("close_time", pa.timestamp("ns", "UTC")), *((name, pa.float64()) for name in COLUMNS)]
)
_SEAL = b"fingerprint"


@dataclass(frozen=True)
class Held:
    """What is on disk of the period [since, until).

    Attributes:
        since: The open of its first bar.
        until: The close of its last.
        bars: Those that opened in it, by close time, not yet checked.
        missing: Stretches that were never asked for, or that are damaged; the first day is taken
            from its midnight on.
        damaged: Parts that are not as they were written.
    """

    since: pd.Timestamp
    until: pd.Timestamp
    bars: pd.DataFrame
    missing: list[tuple[pd.Timestamp, pd.Timestamp]]
    damaged: list[Path]


def held(place: Path, since: pd.Timestamp, until: pd.Timestamp) -> Held:
    """What is on disk of the period [since, until).

    Raises:
        BarsError: This user may not read it.
    """
    found: list[pd.DataFrame] = [_SCHEMA.empty_table().to_pandas().set_index("close_time")]
    missing: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    damaged: list[Path] = []
    for day in _days(since, until):
        part, begin = _part_of(place, day)
        end = min(day + DAY, until)
        bars = None if part is None else _bars(part)
        if bars is not None:
            found.append(bars)
        elif part is not None:
            damaged.append(part)
            begin, end = day, max(begin, end)  # all that its name promises
        if begin >= end:
            continue
        if missing and missing[-1][1] == begin:
            begin = missing.pop()[0]
        missing.append((begin, end))
    bars = pd.concat(found)
    asked = bars.loc[(bars.index > since) & (bars.index <= until)]
    return Held(since, until, asked, missing, damaged)


def keep(place: Path, bars: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> None:
    """Write an answer for [since, until) to the parts of its days.

    Raises:
        BarsError: What it goes on from is no longer there.
        DiskError: There is no room for it, or it may not be written.
    """
    for day in _days(since, until):
        before, _ = _part_of(place, day)
        begun = None if before is None else _bars(before)
        if begun is None and since > day:
            raise BarsError(
                f"the bars of {day:%Y-%m-%d} in {place} were removed or damaged by another",
                expected="those before the ones that came now",
                instead="run the command again: the day is fetched anew",
            )
        end = min(day + DAY, until)
        new = bars.loc[(bars.index > day) & (bars.index <= end)]
        part = _part(place, day, end)
        _write(part, new if begun is None else pd.concat([begun, new]))
        if before not in (None, part):
            before.unlink()


def damaged_parts(place: Path) -> list[Path]:
    """The parts that are not as they were written, in order of their days.

    Raises:
        BarsError: This user may not read one.
    """
    return [part for part in sorted(place.glob("*.parquet")) if _bars(part) is None]


def utc_time(text: str, notation: str = "ISO8601") -> pd.Timestamp:
    """A time from ISO text, UTC where it has no offset."""
    time = pd.to_datetime(str(text), utc=True, format=notation)
    if not isinstance(time, pd.Timestamp):
        raise ValueError(text)
    return time.as_unit("ns")


def _days(since: pd.Timestamp, until: pd.Timestamp) -> pd.DatetimeIndex:
    return pd.date_range(since.normalize(), until, freq="D", inclusive="left")


def _part_of(place: Path, day: pd.Timestamp) -> tuple[Path | None, pd.Timestamp]:
    """The part of a day, and until when it holds the day's bars."""
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


def _bars(part: Path) -> pd.DataFrame | None:
    """The bars of a part; None where it is not as it was written."""
    try:
        table = read_parquet(part, lambda _: dict(zip(_SCHEMA.names, _SCHEMA.names, strict=True)))
        bars = table.to_pandas(ignore_metadata=True).set_index("close_time")
        seal = (table.schema.metadata or {}).get(_SEAL)
        whole = table.schema.equals(_SCHEMA) and seal == fingerprint(bars).encode()
    except PermissionError as error:
        raise BarsError(
            f"{part} may not be read",
            expected="bars that this user may read",
            instead="allow it, or set market.folder to a place of one's own",
        ) from error
    except Exception:  # noqa: BLE001 - whatever the parser makes of a damaged part
        return None
    return bars if whole else None
