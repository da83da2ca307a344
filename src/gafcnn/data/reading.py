"""Reading bars from files: csv, csv.gz, Binance kline zip, parquet, feather."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import reprlib
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from gafcnn.atomic_io import write_bytes
from gafcnn.data.bars import COLUMNS, PRICES, REPAIR, Origin, by_close_time, check_bars
from gafcnn.data.columns import to_numbers, to_times
from gafcnn.data.feather import read_feather
from gafcnn.data.parquet import read_parquet
from gafcnn.data.table_files import MOST_GROWTH, grown, unreadable
from gafcnn.durations import DurationLike
from gafcnn.errors import BarsError

# the time of a bar, by the names that exchanges and tools give it; all but the last are openings
_TIMES = ("open_time", "opentime", "date", "timestamp", "time", "datetime", "close_time")

# Binance's klines come without a header, in this order
_KLINE = ("open_time", *COLUMNS)

# a bar's line takes ten bytes at the least, but blank lines may stand between
_SHORT_LINE = 4  # bytes
_SHORT_LINES = 1000  # that any file may have

_INK = bytes(not bytes([byte]).isspace() for byte in range(256))

_MOST_COLUMNS = 1000

_Table = tuple[pd.DataFrame, NDArray[np.int64] | None]


def read_bars(path: str | Path, interval: DurationLike | None = None) -> pd.DataFrame:
    """Bars from a file: csv (with or without header), csv.gz, kline zip, parquet or feather.

    Times may be epochs in s, ms, us or ns, or ISO times with an offset. They are the bars' *open*
    times, as exchanges write them, unless the file's only time is `close_time`; the bars returned
    are labelled by close time. A file may lack the column volume; its bars then have NaN there.

    Args:
        path: The file, its format told by its ending.
        interval: Time between two bars; by default the most common one.

    Returns:
        Bars, see `gafcnn.data.bars`.

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
    except PermissionError as error:
        raise BarsError(
            f"{path} may not be read",
            expected="bars that this user may read",
            instead="allow it",
        ) from error
    except Exception as error:  # whatever the parsers make of a damaged file
        raise unreadable(path, error) from error
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
        inside = archive.infolist()
        names = [member.filename for member in inside]
        if len(names) != 1 or not re.fullmatch(r"[^/\\:\r\n]+\.csv", names[0], re.IGNORECASE):
            raise _other_zip(path, f"holds {reprlib.repr(names)}")
        (member,) = inside
        # the half of its attributes that Unix writes, 0 where another system packed it
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _other_zip(path, f"holds a link or a folder by the name {names[0]}")
        # others can ask for gigabytes before they have unpacked a byte
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _other_zip(path, f"is packed by method {member.compress_type}")
        with archive.open(member) as stream:
            return _parsed(path, _unpacked(path, stream.read))


def _other_zip(path: Path, found: str) -> BarsError:
    return BarsError(
        f"{path} {found}",
        expected="one csv file and no folder, stored or deflated, as in Binance's kline archives",
        instead="unpack it and give the path of the csv",
    )


def _from_parquet(path: Path) -> _Table:
    return _frame(path, read_parquet(path, partial(_columns, path))), None


def _from_feather(path: Path) -> _Table:
    return _frame(path, read_feather(path, partial(_columns, path))), None


_FORMATS: dict[str, Callable[[Path], _Table]] = {
    ".csv": _from_csv,
    ".csv.gz": _from_gzip,
    ".zip": _from_zip,
    ".parquet": _from_parquet,
    ".feather": _from_feather,
}


def _unpacked(path: Path, read: Callable[[int], bytes]) -> bytes:
    limit = MOST_GROWTH * path.stat().st_size
    content = read(limit + 1)
    if len(content) > limit:
        raise grown(path)
    return content


def _parsed(path: Path, content: bytes) -> _Table:
    """The csv's table; blank lines are left out of it, but counted."""
    _check_text(path, content)
    content, lines = _filled_lines(path, content.removeprefix(codecs.BOM_UTF8))
    if not content:
        raise unreadable(path, "it is empty")
    head = re.match(rb"[^\r\n]*[\r\n]*", content)
    first = next(csv.reader([head[0].decode()])) if head else []
    if _is_number(first[min(1, len(first) - 1)]):
        names = [*_KLINE, *[""] * (len(first) - len(_KLINE))][: len(first)]
        return _parsed_rows(path, names, content, lines)
    return _parsed_rows(path, first, content[len(head[0]) if head else 0 :], lines[1:])


def _check_text(path: Path, content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        ends = (content.count(end, 0, error.start) for end in (b"\n", b"\r"))
        raise BarsError.at(
            path,
            f"line {sum(ends) - content.count(bytes([13, 10]), 0, error.start) + 1}",
            f"the byte {content[error.start : error.start + 1]!r} is no text",
            expected="UTF-8",
            instead="save the file as UTF-8, or fetch it again",
        ) from error


def _filled_lines(path: Path, content: bytes) -> tuple[bytes, NDArray[np.int64]]:
    """The lines that are not blank, and their numbers, counted from 1.

    No line is an object of its own: there may be a hundred million of them.
    """
    text = np.frombuffer(content, np.uint8)
    ends, returns = text == ord("\n"), text == ord("\r")
    returns[:-1] &= ~ends[1:]  # of \r\n, only the second ends the line
    ends |= returns
    del returns
    if np.count_nonzero(ends) > len(text) // _SHORT_LINE + _SHORT_LINES:
        raise unreadable(path, "its lines are too short to hold bars")
    begins = np.r_[0, np.flatnonzero(ends) + 1]
    begins = begins[begins < len(text)]
    inked = np.frombuffer(content.translate(_INK), np.bool_)
    filled = np.logical_or.reduceat(inked, begins) if len(begins) else np.zeros(0, bool)
    if not filled.all():
        content = text[np.repeat(filled, np.diff(begins, append=len(text)))].tobytes()
    return content, np.flatnonzero(filled) + 1


def _parsed_rows(path: Path, names: list[str], content: bytes, lines: NDArray[np.int64]) -> _Table:
    if len(names) > _MOST_COLUMNS:
        raise BarsError(
            f"{path} has {len(names):,} columns",
            expected=f"{_MOST_COLUMNS:,} at most",
            instead="leave out those that are no times, prices or volumes",
        )
    columns = _columns(path, names)
    if not len(lines):
        raise unreadable(path, "it holds no rows")
    origin = Origin(path, lines)
    table = _cells(origin, names, columns, content)
    if table.num_rows != len(lines):
        raise unreadable(path, "it has a quotation mark that is not closed in its line")
    return _frame(path, table.rename_columns(list(columns.values()))), lines


def _cells(
    origin: Origin, names: list[str], columns: Mapping[str, str], content: bytes
) -> pa.Table:
    """The texts of the columns.

    Raises:
        BarsError: A row has more or fewer cells than there are names.
    """
    ragged: list[pa_csv.InvalidRow] = []
    try:
        return pa_csv.read_csv(
            pa.BufferReader(content),
            # one thread, since only then a ragged row comes with its number
            pa_csv.ReadOptions(column_names=names, use_threads=False),
            pa_csv.ParseOptions(invalid_row_handler=lambda row: ragged.append(row) or "error"),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), include_columns=list(columns)
            ),
        )
    except pa.ArrowInvalid:
        if not ragged:
            raise
    raise origin.fault(
        ragged[0].number - 1,
        f"it has {ragged[0].actual_columns} cells",
        expected=f"{len(names)}, as in the file's first row",
        instead=REPAIR,
    )


def _frame(path: Path, table: pa.Table) -> pd.DataFrame:
    if not table.num_rows:
        raise unreadable(path, "it holds no rows")
    table.validate(full=True)  # here, and not wherever pandas first touches a damaged value
    return table.cast(_lean(table.schema)).to_pandas(ignore_metadata=True, split_blocks=True)


def _lean(schema: pa.Schema) -> pa.Schema:
    """The schema with types whose cells are no Python objects, each of a hundred bytes."""
    lean = {pa.types.is_decimal: pa.string(), pa.types.is_date: pa.timestamp("s")}
    kinds = [
        next((other for is_kind, other in lean.items() if is_kind(field.type)), field.type)
        for field in schema
    ]
    return pa.schema(list(zip(schema.names, kinds, strict=True)))


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
