"""Reading bars from files: csv, csv.gz, Binance kline zip, parquet, feather."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import reprlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gafcnn.durations import Duration
from gafcnn.errors import BarsError
from gafcnn.files import write_bytes
from gafcnn.market.bars import COLUMNS, PRICES, REPAIR, Origin, by_close_time, check_bars
from gafcnn.market.columns import to_numbers, to_times

# the time of a bar, by the names that exchanges and tools give it; all but the last are openings
_TIMES = ("open_time", "opentime", "date", "timestamp", "time", "datetime", "close_time")

# Binance's klines come without a header, in this order
_KLINE = ("open_time", *COLUMNS)

# klines shrink five- to tenfold, and no market has two centuries of minutes: what unpacks to more
# than that is made to fill the memory
_MOST_GROWTH = 200
_MOST_ROWS = 100_000_000

_NUMBER_TYPES = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_string,
    pa.types.is_large_string,
)
_TIME_TYPES = (pa.types.is_timestamp, pa.types.is_date)

_Table = tuple[pd.DataFrame, NDArray[np.int64] | None]


def read_bars(path: str | Path, interval: Duration | None = None) -> pd.DataFrame:
    """Bars from a file: csv (with or without header), csv.gz, kline zip, parquet or feather.

    Times may be epochs in s, ms, us or ns, or ISO times with an offset. They are the bars' *open*
    times, as exchanges write them, unless the file's only time is `close_time`; the bars returned
    are labelled by close time. A file may lack the column volume; its bars then have NaN there.

    Args:
        path: The file, its format told by its ending.
        interval: Time between two bars; by default the most common one.

    Returns:
        Bars, see `gafcnn.market.bars`.

    Raises:
        BarsError: Naming file, row, value and remedy: the line of a csv, counted from 1 as an
            editor does, or the row of another format, counted from 0.
        ConfigError: `interval` is none.
    """
    path = Path(path)
    try:
        frame, lines = _table(path)
    except BarsError:
        raise
    except Exception as error:  # whatever the parsers make of a damaged file
        raise _unreadable(path, error) from error
    origin, time = Origin(path, lines), frame.columns[0]
    numbers = {name: to_numbers(pd.Series(frame[name]), origin) for name in frame.columns[1:]}
    times = to_times(pd.Series(frame[time]), origin)
    # ten million bars would else be in memory three times: as read, as parsed, and as returned
    del frame
    release = pa.default_memory_pool().release_unused
    release()
    values = pd.DataFrame(numbers)
    del numbers
    release()
    values = values.reindex(columns=list(COLUMNS))  # a volume that is not there is NaN
    values.index = times
    bars = check_bars(values, origin, interval)
    return bars if time == "close_time" else by_close_time(bars, origin)


def write_bars(path: Path, bars: pd.DataFrame) -> None:
    """Keep bars as parquet, whole or not at all; `read_bars` gives them back as they were."""
    frame = bars.reset_index()
    frame.attrs = {}  # parquet knows no Timedelta there, and the times tell the interval
    write_bytes(path, frame.to_parquet(None, index=False))


# --- files to tables: a column of times, by its name, then COLUMNS, the volume if there is one ----


def _table(path: Path) -> _Table:
    """The columns that matter, as the file has them, and the numbers of its lines, if any."""
    if not path.is_file():
        raise BarsError(
            f"{path} is {'a folder' if path.is_dir() else 'not a file'}",
            expected="a file of bars",
            instead="correct market.path, or take market=bnb or market=simulated",
        )
    for ending, read in _FORMATS.items():
        if path.name.lower().endswith(ending):
            return read(path)
    raise BarsError(
        f"{path} has an unknown ending",
        expected=", ".join(_FORMATS),
        instead="convert the file, or give it the ending of what it is",
    )


def _from_csv(path: Path) -> _Table:
    return _parsed(path, path.read_bytes())


def _from_gzip(path: Path) -> _Table:
    with gzip.open(path) as stream:
        return _parsed(path, _unpacked(path, stream.read))


def _from_zip(path: Path) -> _Table:
    with zipfile.ZipFile(path) as archive:
        inside = archive.namelist()
        if len(inside) != 1 or not re.fullmatch(r"[^/\\]+\.csv", inside[0], re.IGNORECASE):
            raise BarsError(
                f"{path} holds {reprlib.repr(inside)}",
                expected="one csv file and no folder, as in Binance's kline archives",
                instead="unpack it and give the path of the csv",
            )
        with archive.open(inside[0]) as stream:
            return _parsed(path, _unpacked(path, stream.read))


def _from_parquet(path: Path) -> _Table:
    with pq.ParquetFile(path, pre_buffer=False) as file:  # not all of it, packed, at once
        if file.metadata.num_rows > _MOST_ROWS:
            raise _unreadable(path, f"it claims to hold {file.metadata.num_rows:,} rows")
        columns = _columns(path, file.schema_arrow.names)
        return _frame(path, file.read(columns=list(columns)), columns), None


def _from_feather(path: Path) -> _Table:
    table = pa_feather.read_table(path)
    return _frame(path, table, _columns(path, table.column_names)), None


_FORMATS: dict[str, Callable[[Path], _Table]] = {
    ".csv": _from_csv,
    ".csv.gz": _from_gzip,
    ".zip": _from_zip,
    ".parquet": _from_parquet,
    ".feather": _from_feather,
}


def _unpacked(path: Path, read: Callable[[int], bytes]) -> bytes:
    limit = _MOST_GROWTH * path.stat().st_size
    content = read(limit + 1)
    if len(content) > limit:
        raise _unreadable(path, f"it unpacks to more than {_MOST_GROWTH} times its size")
    return content


def _parsed(path: Path, content: bytes) -> _Table:
    """The csv's table; blank lines are left out of it, but counted."""
    _check_text(path, content)
    lines = enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), start=1)
    filled = [(number, line) for number, line in lines if line.strip()]
    if not filled:
        raise _unreadable(path, "it is empty")
    first = next(csv.reader([filled[0][1].decode()]))
    if _is_number(first[min(1, len(first) - 1)]):
        names = [*_KLINE, *[""] * (len(first) - len(_KLINE))][: len(first)]
    else:
        names = first
        del filled[0]
    return _parsed_rows(path, names, filled)


def _check_text(path: Path, content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise BarsError.at(
            path,
            f"line {len(content[: error.start + 1].splitlines())}",
            f"the byte {content[error.start : error.start + 1]!r} is no text",
            expected="UTF-8",
            instead="save the file as UTF-8, or fetch it again",
        ) from error


def _parsed_rows(path: Path, names: list[str], rows: list[tuple[int, bytes]]) -> _Table:
    columns = _columns(path, names)
    if not rows:
        raise _unreadable(path, "it holds no rows")
    origin = Origin(path, np.array([number for number, _ in rows], dtype=np.int64))
    table, ragged = _cells(names, columns, b"\n".join(line for _, line in rows))
    if ragged:
        raise origin.fault(
            ragged[0].number - 1,
            f"it has {ragged[0].actual_columns} cells",
            expected=f"{len(names)}, as in the file's first row",
            instead=REPAIR,
        )
    if table.num_rows != len(rows):
        raise _unreadable(path, "it has a quotation mark that is not closed in its line")
    return _frame(path, table, columns), origin.lines


def _cells(
    names: list[str], columns: dict[str, str], content: bytes
) -> tuple[pa.Table, list[pa_csv.InvalidRow]]:
    """The texts of the columns, and the rows that have more or fewer cells than names."""
    ragged: list[pa_csv.InvalidRow] = []
    table = pa_csv.read_csv(
        pa.BufferReader(content),
        # one thread, since only then a ragged row comes with its number
        pa_csv.ReadOptions(column_names=names, use_threads=False),
        pa_csv.ParseOptions(invalid_row_handler=lambda row: ragged.append(row) or "skip"),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), include_columns=list(columns)
        ),
    )
    return table, ragged


def _frame(path: Path, table: pa.Table, columns: dict[str, str]) -> pd.DataFrame:
    table = table.select(list(columns)).rename_columns(list(columns.values()))
    for field in table.schema:
        kinds = _NUMBER_TYPES if field.name in COLUMNS else (*_NUMBER_TYPES, *_TIME_TYPES)
        if not any(is_kind(field.type) for is_kind in kinds):
            raise BarsError(
                f"{path} holds {field.name} as {reprlib.repr(str(field.type))}",
                expected="numbers for prices and volumes, and times or epochs for times",
                instead="convert the column",
            )
    if not table.num_rows:
        raise _unreadable(path, "it holds no rows")
    table.validate(full=True)  # here, and not wherever pandas first touches a damaged value
    return table.to_pandas(ignore_metadata=True, split_blocks=True)


def _columns(path: Path, names: Sequence[str]) -> dict[str, str]:
    """What the file calls the columns that matter, and what they are called here."""
    plain = [name.strip().lower().replace(" ", "_") for name in names]
    time = next((name for name in _TIMES if name in plain), _TIMES[0])
    # a volume by another name is asked about, not passed over
    without_volume = not any("vol" in name for name in plain)
    wanted = (time, *(PRICES if without_volume else COLUMNS))
    missing = [name for name in wanted if name not in plain]
    if missing:
        raise BarsError(
            f"{path} has no column {' or '.join(missing)}, only {reprlib.repr(list(names))}",
            expected=f"a time ({', '.join(_TIMES)}) and {', '.join(COLUMNS)}",
            instead="rename the columns (a file without any volume may lack that one)",
        )
    twice = [name for name in wanted if plain.count(name) > 1]
    if twice:
        raise BarsError(
            f"{path} has the column {twice[0]} twice",
            expected="each column once",
            instead="remove or rename one",
        )
    return {names[plain.index(name)]: name for name in wanted}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unreadable(path: Path, why: object) -> BarsError:
    first_line = (str(why).splitlines() or ["it is cut short"])[0]
    return BarsError(
        f"{path} cannot be read: {first_line[:200].rstrip('. ')}",
        expected="a whole file of bars",
        instead="fetch it again",
    )
