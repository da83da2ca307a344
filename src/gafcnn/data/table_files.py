"""Parquet and feather files as tables, with limits on their size before they are unpacked.

A few kilobytes can unpack to gigabytes, so rows and bytes are read from the file's metadata first.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq

from gafcnn.data.bars import COLUMNS
from gafcnn.errors import BarsError

# bars are compressed five- to tenfold, so a file that grows far more is damaged or malicious
MAX_GROWTH = 200
_MAX_ROWS = 100_000_000
_ALWAYS_ALLOWED = 2**26  # bytes; bars without trades are compressed to almost nothing

_NUMBERS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_string,
    pa.types.is_large_string,
)
_TIMES = (pa.types.is_timestamp, pa.types.is_date)

Select = Callable[[Sequence[str]], Mapping[str, str]]
"""Returns the columns of a file to read, and the names to give them."""


def unreadable(path: Path, why: object) -> BarsError:
    """Return the error for a damaged file."""
    first_line = (str(why).splitlines() or ["it is incomplete"])[0]
    return BarsError(
        f"{path} cannot be read: {first_line[:200].rstrip('. ')}",
        expected="a complete file of bars",
        instead="download or write it again",
    )


def too_large(path: Path) -> BarsError:
    """Return the error for a file that unpacks to an implausible size."""
    return unreadable(path, f"it unpacks to more than {MAX_GROWTH} times its size")


def read_parquet(path: Path, select: Select) -> pa.Table:
    """Return the selected columns of a parquet file.

    Raises:
        BarsError: A column is not numeric, or the file is too large.
    """
    with pq.ParquetFile(path) as file:
        columns = select(file.schema_arrow.names)
        _check_types(path, file.schema_arrow, columns)
        groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        _check_size(path, file.metadata.num_rows, size, len(columns))
        table = file.read(columns=list(columns))
    return table.select(list(columns)).rename_columns(list(columns.values()))


def read_feather(path: Path, select: Select) -> pa.Table:
    """Return the selected columns of a feather file (an Arrow IPC file).

    Raises:
        BarsError: A column is not numeric, or the file is too large.
    """
    with pa.memory_map(str(path)) as source:
        schema = pa_ipc.open_file(source).schema
        columns = select(schema.names)
        _check_types(path, schema, columns)
        options = pa_ipc.IpcReadOptions(
            included_fields=[schema.get_field_index(name) for name in columns]
        )
        reader = pa_ipc.open_file(source, options=options)
        _check_size(path, reader.count_rows(), 0, len(columns))
        batches, size = [], 0
        for number in range(reader.num_record_batches):
            batches.append(reader.get_batch(number))
            size += batches[-1].nbytes
            _check_size(path, 0, size, len(columns))
        table = pa.Table.from_batches(batches, reader.schema)
    return table.select(list(columns)).rename_columns(list(columns.values()))


def _check_types(path: Path, schema: pa.Schema, columns: Mapping[str, str]) -> None:
    for name, plain in columns.items():
        kind = schema.field(name).type
        if not any(fits(kind) for fits in (_NUMBERS if plain in COLUMNS else _NUMBERS + _TIMES)):
            raise BarsError(
                f"{path} holds {plain} as {reprlib.repr(str(kind))}",
                expected="numbers for prices and volumes, times or epochs for times",
                instead="convert the column",
            )


def _check_size(path: Path, rows: int, size: int, n_columns: int) -> None:
    if rows > _MAX_ROWS:
        raise unreadable(path, f"it has {rows:,} rows")
    if max(size, 8 * rows * n_columns) > MAX_GROWTH * path.stat().st_size + _ALWAYS_ALLOWED:
        raise too_large(path)
