"""Reading and writing files of bars: csv, csv.gz, Binance kline zip, parquet, feather."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import reprlib
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from gafcnn.atomic_io import write_bytes
from gafcnn.data.bars import COLUMNS, REPAIR, Origin, from_columns
from gafcnn.data.columns import select_columns, to_numbers, to_times
from gafcnn.data.table_files import MAX_GROWTH, read_feather, read_parquet, too_large, unreadable
from gafcnn.durations import DurationLike
from gafcnn.errors import BarsError

# the columns of Binance's klines, which have no header
_KLINE = ("open_time", *COLUMNS)

_VISIBLE = bytes(not bytes([byte]).isspace() for byte in range(256))

_Table = tuple[pd.DataFrame, NDArray[np.int64] | None]


def read_bars(path: str | Path, interval: DurationLike | None = None) -> pd.DataFrame:
    """Read bars from a csv (with or without header), csv.gz, kline zip, parquet or feather file.

    Times may be epochs in s, ms, us or ns, or ISO times with an offset. They are open times, as
    exchanges write them, unless the file's only time is `close_time`. A file may lack the column
    volume; its bars then have NaN there.

    Args:
        path: The file; its name's ending gives the format.
        interval: Time between two bars; by default the most common one.

    Returns:
        Bars, see `gafcnn.data.bars`.

    Raises:
        BarsError: The file has no valid bars. Names file, row, value and remedy: the line of a csv,
            counted from 1, or the row of another format, counted from 0.
        ConfigError: `interval` is invalid.
    """
    if isinstance(path, pd.DataFrame):
        raise BarsError(
            "a DataFrame instead of a file",
            expected="the path of a file",
            instead="call gc.as_bars(df, time=...) for a DataFrame",
        )
    path = Path(path)
    try:
        frame, lines = _read_table(path)
    except BarsError:
        raise
    except PermissionError as error:
        raise BarsError(
            f"{path} cannot be read (permission denied)",
            expected="a file that this user may read",
            instead=f"run chmod u+r {path}",
        ) from error
    except Exception as error:  # the parsers raise many types for damaged files
        raise unreadable(path, error) from error
    origin, time = Origin(path, lines), frame.columns[0]
    numbers = {name: to_numbers(pd.Series(frame[name]), origin) for name in frame.columns[1:]}
    times = to_times(pd.Series(frame[time]), origin)
    label = "close" if time == "close_time" else "open"
    return from_columns(numbers, times, origin, label=label, interval=interval)


def write_bars(path: str | Path, bars: pd.DataFrame) -> None:
    """Write bars as parquet, atomically; `read_bars` returns them unchanged."""
    frame = bars.reset_index()
    frame.attrs = {}  # a Timedelta cannot be written
    write_bytes(Path(path), frame.to_parquet(None, index=False))


# --- files to tables: a column of times, then COLUMNS, with or without volume ---------------------


def _read_table(path: Path) -> _Table:
    """Return the used columns, and the line number of each row of a text."""
    if not path.is_file():
        raise BarsError(
            f"{path} is {'a folder' if path.is_dir() else 'not a file'}",
            expected="a file of bars",
            instead="correct the path, or use market=bnb or market=simulated",
        )
    for ending, read in _FORMATS.items():
        if path.name.lower().endswith(ending):
            return read(path)
    raise BarsError(
        f"{path} has an unknown ending",
        expected=", ".join(_FORMATS),
        instead="rename or convert the file",
    )


def _from_csv(path: Path) -> _Table:
    return _parsed(path, path.read_bytes())


def _from_gzip(path: Path) -> _Table:
    with gzip.open(path) as stream:
        return _parsed(path, _unpacked(path, stream.read))


def _from_zip(path: Path) -> _Table:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1 or not names[0].lower().endswith(".csv"):
            raise BarsError(
                f"{path} holds {reprlib.repr(names)}",
                expected="one csv file, as in Binance's kline archives",
                instead="unpack it and give the path of the csv",
            )
        with archive.open(names[0]) as stream:
            return _parsed(path, _unpacked(path, stream.read))


def _from_parquet(path: Path) -> _Table:
    return _to_frame(path, read_parquet(path, partial(select_columns, path))), None


def _from_feather(path: Path) -> _Table:
    return _to_frame(path, read_feather(path, partial(select_columns, path))), None


_FORMATS: dict[str, Callable[[Path], _Table]] = {
    ".csv": _from_csv,
    ".csv.gz": _from_gzip,
    ".zip": _from_zip,
    ".parquet": _from_parquet,
    ".feather": _from_feather,
}


def _unpacked(path: Path, read: Callable[[int], bytes]) -> bytes:
    limit = MAX_GROWTH * path.stat().st_size
    content = read(limit + 1)
    if len(content) > limit:
        raise too_large(path)
    return content


def _parsed(path: Path, content: bytes) -> _Table:
    """Return the table of a csv. Blank lines are skipped, but counted."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"the byte {content[error.start : error.start + 1]!r} is not UTF-8"
        remedy = "save the file as UTF-8"
        raise BarsError.at(
            path, f"line {line}", found, expected="UTF-8 text", instead=remedy
        ) from error
    content, lines = _without_blank_lines(content.removeprefix(codecs.BOM_UTF8))
    head = re.match(rb"[^\r\n]+[\r\n]*", content)
    if head is None:
        raise unreadable(path, "it is empty")
    names = next(csv.reader([head[0].decode()]))
    if _is_number(names[min(1, len(names) - 1)]):
        names = [*_KLINE, *[""] * (len(names) - len(_KLINE))][: len(names)]
    else:
        content, lines = content[len(head[0]) :], lines[1:]
    if not len(lines):
        raise unreadable(path, "it has no rows")
    columns = select_columns(path, names)
    table = _cells(Origin(path, lines), names, columns, content)
    if table.num_rows != len(lines):
        raise unreadable(path, "a quotation mark is not closed in its line")
    return _to_frame(path, table.rename_columns(list(columns.values()))), lines


def _without_blank_lines(content: bytes) -> tuple[bytes, NDArray[np.int64]]:
    """Return the lines that are not blank, and their numbers, counted from 1."""
    text = np.frombuffer(content, np.uint8)
    ends, returns = text == ord("\n"), text == ord("\r")
    returns[:-1] &= ~ends[1:]  # \r\n is one line end
    begins = np.r_[0, np.flatnonzero(ends | returns) + 1]
    begins = begins[begins < len(text)]
    visible = np.frombuffer(content.translate(_VISIBLE), np.bool_)
    filled = np.logical_or.reduceat(visible, begins) if len(begins) else np.zeros(0, bool)
    if not filled.all():
        content = text[np.repeat(filled, np.diff(begins, append=len(text)))].tobytes()
    return content, np.flatnonzero(filled) + 1


def _cells(
    origin: Origin, names: list[str], columns: Mapping[str, str], content: bytes
) -> pa.Table:
    """Return the texts of the columns.

    Raises:
        BarsError: A row has more or fewer cells than there are names.
    """
    ragged: list[pa_csv.InvalidRow] = []
    try:
        return pa_csv.read_csv(
            pa.BufferReader(content),
            # with several threads, an invalid row comes without its number
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
        expected=f"{len(names)}, as in the first row",
        instead=REPAIR,
    )


def _to_frame(path: Path, table: pa.Table) -> pd.DataFrame:
    if not table.num_rows:
        raise unreadable(path, "it has no rows")
    table.validate(full=True)  # pandas would fail later, at the first use of a damaged value
    schema = pa.schema([(field.name, _lean(field.type)) for field in table.schema])
    return table.cast(schema).to_pandas(ignore_metadata=True, split_blocks=True)


def _lean(kind: pa.DataType) -> pa.DataType:
    """Return a type whose values pandas does not hold as Python objects."""
    if pa.types.is_decimal(kind):
        return pa.string()
    return pa.timestamp("s") if pa.types.is_date(kind) else kind


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
