"""What columns of bars may be of, and how large they may be, before a table of them is unpacked.

A few kilobytes of parquet or feather can stand for gigabytes: columns of one value, pages and
buffers of zeros, one long text a million times. So what a file unpacks to is summed up beforehand,
and columns of no use are not unpacked at all.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from gafcnn.data.bars import COLUMNS
from gafcnn.errors import BarsError

# bars shrink five- to tenfold, and no market has two centuries of minutes: what unpacks to more
# than that is made to fill the memory
MOST_GROWTH = 200
_MOST_ROWS = 100_000_000
_ALWAYS = 2**26  # bytes that any table may unpack to: quiet bars shrink to almost nothing

CELL, LONG_CELL = 8, 64  # bytes of a number or a time, and of what is told by a text

_TEXT_TYPES = (pa.types.is_string, pa.types.is_large_string)
_NUMBER_TYPES = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    *_TEXT_TYPES,
)
_TIME_TYPES = (pa.types.is_timestamp, pa.types.is_date)

Choice = Callable[[Sequence[str]], Mapping[str, str]]
"""Which columns of a file are read, of those that it has, and what they are called then."""


def unreadable(path: Path, why: object) -> BarsError:
    """What to say of a file that is none of its kind."""
    first_line = (str(why).splitlines() or ["it is cut short"])[0]
    return BarsError(
        f"{path} cannot be read: {first_line[:200].rstrip('. ')}",
        expected="a whole file of bars",
        instead="fetch it again",
    )


def grown(path: Path) -> BarsError:
    """What to say of a file that is made to fill the memory."""
    return unreadable(path, f"it unpacks to more than {MOST_GROWTH} times its size")


def chosen(path: Path, found: pa.Schema, columns: Mapping[str, str]) -> pa.Schema:
    """The fields of the chosen columns, as the file calls them.

    Raises:
        BarsError: One is of values that are no numbers or times.
    """
    for name, plain in columns.items():
        kind = found.field(name).type
        kinds = _NUMBER_TYPES if plain in COLUMNS else (*_NUMBER_TYPES, *_TIME_TYPES)
        if not any(is_kind(kind) for is_kind in kinds):
            raise BarsError(
                f"{path} holds {plain} as {reprlib.repr(str(kind))}",
                expected="numbers for prices and volumes, and times or epochs for times",
                instead="convert the column",
            )
    return pa.schema([found.field(name) for name in columns])


def check_size(path: Path, rows: int, unpacked: int, schema: pa.Schema) -> None:
    """Refuse what would be too large, packed as it is, or as the numbers that it becomes.

    Raises:
        BarsError: It would be.
    """
    if rows > _MOST_ROWS:
        raise unreadable(path, f"it claims to hold {rows:,} rows")
    numbers = rows * sum(_width(field.type) for field in schema)
    if max(numbers, unpacked) > MOST_GROWTH * path.stat().st_size + _ALWAYS:
        raise grown(path)


def _width(kind: pa.DataType) -> int:
    return LONG_CELL if is_text(kind) or pa.types.is_decimal(kind) else CELL


def is_text(kind: pa.DataType) -> bool:
    """Whether a column is of texts."""
    return any(is_kind(kind) for is_kind in _TEXT_TYPES)
