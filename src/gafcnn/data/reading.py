"""Reading and writing files of bars: csv, csv.gz, Binance kline zip, parquet, feather."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import reprlib
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from pyarrow import dataset as pa_dataset

from gafcnn.atomic_io import write_bytes
from gafcnn.data.bars import COLUMNS, REPAIR, Origin, convert, ensure_bars, select_columns
from gafcnn.durations import DurationLike
from gafcnn.errors import BarsError, ConfigError

ENDINGS = (".csv", ".csv.gz", ".zip", ".parquet", ".feather")

# the columns of Binance's klines, which have no header
_KLINE = ("open_time", *COLUMNS)


def read_bars(path: str | Path, interval: DurationLike | None = None) -> pd.DataFrame:
    """Read bars from a csv (with or without header), csv.gz, kline zip, parquet or feather file.

    Times may be epochs in s, ms, us or ns, or ISO times with an offset. They are open times, as
    exchanges write them, unless the file's only time is `close_time` (or `closeTime`). A file may
    lack the column volume; its bars then have NaN there.

    Args:
        path: The file; the ending of its name gives the format.
        interval: Time between two bars; by default the most common one.

    Returns:
        Bars, see `gafcnn.data.bars`.

    Raises:
        BarsError: The file has no valid bars. Names file, row, value and remedy: the line of a csv,
            counted from 1, or the row of another format, counted from 0.
        ConfigError: `interval` is invalid.
    """
    if isinstance(path, pd.DataFrame):
        return ensure_bars(path)
    path = Path(path)
    try:
        frame, origin = _read_table(path)
    except BarsError:
        raise
    except Exception as error:  # the parsers raise many types for damaged files
        raise _unreadable(path, error) from error
    return convert(frame, origin, None, interval)


def write_bars(path: str | Path, bars: pd.DataFrame) -> None:
    """Write bars to a parquet file, which `read_bars` returns unchanged.

    Raises:
        ConfigError: The path does not end in .parquet.
        BarsError: They are not bars of gafcnn, see `gafcnn.as_bars`.
        DiskError: The file cannot be written.
    """
    if Path(path).suffix != ".parquet":
        raise ConfigError(
            f"the path is {path}", expected="one that ends in .parquet", instead="rename it"
        )
    write_bytes(Path(path), ensure_bars(bars).reset_index().to_parquet(None, index=False))


def _read_table(path: Path) -> tuple[pd.DataFrame, Origin]:
    """Return the columns in use: the times first, then `COLUMNS`, with or without volume."""
    if not path.is_file():
        raise BarsError(
            f"{path} is {'a folder' if path.is_dir() else 'not a file'}",
            expected="a file of bars",
            instead="correct the path, or use market=bnb or market=simulated",
        )
    ending = next((end for end in reversed(ENDINGS) if path.name.lower().endswith(end)), None)
    if ending is None:
        raise BarsError(
            f"{path} has an unknown ending",
            expected=", ".join(ENDINGS),
            instead="rename or convert the file",
        )
    if ending in (".parquet", ".feather"):
        dataset = pa_dataset.dataset(path, format=ending[1:])
        columns = select_columns(path, dataset.schema.names)
        table = dataset.to_table(list(columns)).rename_columns(list(columns.values()))
        origin = Origin(path)
    else:
        table, origin = _from_csv(path, _text(path, ending))
    if not table.num_rows:
        raise _unreadable(path, "it has no rows")
    table.validate(full=True)  # pandas would fail later, at the first use of a damaged value
    return table.to_pandas(ignore_metadata=True, split_blocks=True), origin


def _text(path: Path, ending: str) -> bytes:
    if ending == ".csv":
        return path.read_bytes()
    if ending == ".csv.gz":
        return gzip.decompress(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1 or not names[0].lower().endswith(".csv"):
            raise BarsError(
                f"{path} holds {reprlib.repr(names)}",
                expected="one csv file, as in Binance's kline archives",
                instead="unpack it and give the path of the csv",
            )
        return archive.read(names[0])


def _from_csv(path: Path, content: bytes) -> tuple[pa.Table, Origin]:
    """Return the table of a csv; blank lines are skipped."""
    content = content.removeprefix(codecs.BOM_UTF8)
    content.decode()  # fails here if it is not UTF-8
    head = re.match(rb"\s*(\S[^\r\n]*)[\r\n]*", content)
    if head is None:
        raise _unreadable(path, "it is empty")
    names = next(csv.reader([head[1].decode()]))
    has_header = not _is_number(names[min(1, len(names) - 1)])
    if not has_header:
        names = [*_KLINE, *[""] * (len(names) - len(_KLINE))][: len(names)]
    columns = select_columns(path, names)
    invalid: list[str] = []

    def skip_or_fail(row: pa_csv.InvalidRow) -> str:
        invalid.extend([row.text] if row.text.strip() else [])
        return "error" if invalid else "skip"

    try:
        table = pa_csv.read_csv(
            pa.BufferReader(content[head.end() if has_header else 0 :]),
            pa_csv.ReadOptions(column_names=names),
            pa_csv.ParseOptions(invalid_row_handler=skip_or_fail),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), include_columns=list(columns)
            ),
        )
    except pa.ArrowInvalid:
        if not invalid:
            raise
        line = content.splitlines().index(invalid[0].encode()) + 1
        raise BarsError(
            f"{path}, line {line}: it has more or fewer cells than the first row",
            expected=f"{len(names)} cells",
            instead=REPAIR,
        ) from None
    if b'"' in content and table.num_rows != len(_filled_lines(content)) - has_header:
        raise _unreadable(path, "a quotation mark is not closed in its line")
    origin = Origin(path, lambda row: _filled_lines(content)[row + has_header])
    return table.rename_columns(list(columns.values())), origin


def _filled_lines(content: bytes) -> list[int]:
    """Return the numbers of the lines that are not blank, counted from 1."""
    return [number for number, line in enumerate(content.splitlines(), 1) if line.strip()]


def _unreadable(path: Path, why: object) -> BarsError:
    first_line = (str(why).splitlines() or ["it is incomplete"])[0]
    return BarsError(
        f"{path} cannot be read: {first_line[:200].rstrip('. ')}",
        expected="a complete file of bars",
        instead="check its permissions and format, or download it again",
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
