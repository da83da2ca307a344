"""Tables of parquet and feather files, unpacked only where they are no larger than bars can be.

A few kilobytes of either can stand for gigabytes: columns of one value, pages and buffers of zeros,
one long text a million times. So what a file unpacks to is summed up beforehand, from the very
numbers that the reader goes by: the footer and the page headers of a parquet file, the heads of a
feather file's compressed buffers. Columns of no use are not unpacked at all.
"""

from __future__ import annotations

import mmap
import reprlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq

from gafcnn.errors import BarsError
from gafcnn.market.bars import COLUMNS, REPAIR, Origin

# bars shrink five- to tenfold, and no market has two centuries of minutes: what unpacks to more
# than that is made to fill the memory
MOST_GROWTH = 200
_MOST_ROWS = 100_000_000
_ALWAYS = 2**26  # bytes that any table may unpack to: quiet bars shrink to almost nothing

_CELL, _LONG_CELL = 8, 64  # bytes of a number or a time, and of what is told by a text
_MOST_PARTS = 100_000  # entries of a list in a parquet file's footer
_PREFIXES = 7  # the encoding of texts by what they share with the one before
_COMPRESSED = -1  # the head of a buffer that is kept as it is, though others are compressed
_ARROW_1 = 4  # the version of messages since Arrow 1.0

# the kinds of values in Thrift's compact protocol
_BOOLS, _BYTE, _I16, _I32, _I64, _TEXT, _LIST, _STRUCT = (1, 2), 3, 4, 5, 6, 8, 9, 12
_LONG_LIST = 15  # the length of a list that is told beside it

_Struct: TypeAlias = dict[tuple[int, int], Any]
"""A struct's values by the numbers and the kinds of its fields, since a reader goes by both."""

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


def read_parquet(path: Path, choose: Choice) -> pa.Table:
    """The chosen columns of a parquet file, with the metadata of its schema.

    Raises:
        BarsError: The file is no table of bars, or too large a one.
    """
    with _parquet(path) as file:
        columns = choose(file.schema_arrow.names)
        schema = _schema(path, file.schema_arrow, columns)
        leaves = [file.schema.column(place).path for place in range(len(file.schema))]
    wanted = [place for place, leaf in enumerate(leaves) if leaf.split(".")[0] in columns]
    _check_parquet(path, wanted, schema)
    texts = [field.name for field in schema if _is_text(field.type)]
    # a text that is repeated is in memory once, until its length is known
    with _parquet(path, read_dictionary=texts) as file:
        table = file.read(columns=schema.names)
    for name in texts:
        table = _plain(path, table, name, columns[name])
    named = table.select(schema.names).rename_columns(list(columns.values()))
    return named.replace_schema_metadata(table.schema.metadata)


def read_feather(path: Path, choose: Choice) -> pa.Table:
    """The chosen columns of a feather file.

    Raises:
        BarsError: The file is no table of bars, or too large a one.
    """
    content = path.read_bytes()
    if content.startswith(b"FEA1"):
        raise BarsError(
            f"{path} is of feather's first version",
            expected="its second, which is Arrow's own format",
            instead="write it anew, by to_feather of pandas, say",
        )
    # the end of the file is looked at only to know that it is whole: messages tell their own size
    batches = pa_ipc.open_file(pa.BufferReader(content)).num_record_batches
    messages = pa.py_buffer(content).slice(_CELL)
    stream = pa_ipc.open_stream(pa.BufferReader(messages))
    columns = choose(stream.schema.names)
    schema = _schema(path, stream.schema, columns)
    _check_messages(path, messages, schema, batches)
    wanted = [stream.schema.get_field_index(name) for name in columns]
    stream = pa_ipc.open_stream(
        pa.BufferReader(messages), options=pa_ipc.IpcReadOptions(included_fields=wanted)
    )
    return stream.read_all().select(schema.names).rename_columns(list(columns.values()))


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


def _schema(path: Path, found: pa.Schema, columns: Mapping[str, str]) -> pa.Schema:
    """The fields of the chosen columns, as the file calls them."""
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


def _check_size(path: Path, rows: int, unpacked: int, schema: pa.Schema) -> None:
    """Refuse what would be too large, packed as it is, or as the numbers that it becomes."""
    if rows > _MOST_ROWS:
        raise unreadable(path, f"it claims to hold {rows:,} rows")
    numbers = rows * sum(_width(field.type) for field in schema)
    if max(numbers, unpacked) > MOST_GROWTH * path.stat().st_size + _ALWAYS:
        raise grown(path)


def _width(kind: pa.DataType) -> int:
    return _LONG_CELL if _is_text(kind) or pa.types.is_decimal(kind) else _CELL


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in _TEXT_TYPES)


# --- parquet: a file of row groups, each of column chunks, each of pages --------------------------


def _parquet(path: Path, read_dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    return pq.ParquetFile(
        path,
        read_dictionary=list(read_dictionary),
        pre_buffer=False,  # not all of it, packed, at once
        thrift_container_size_limit=_MOST_PARTS,
    )


def _check_parquet(path: Path, wanted: list[int], schema: pa.Schema) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        groups = _row_groups(content)
        # what is read is what the chunks claim, whatever the group and the file do
        chunks = [[group[1, _LIST][place][3, _STRUCT] for place in wanted] for group in groups]
        rows = sum(max(0, *(chunk[5, _I64] for chunk in group)) for group in chunks)
        _check_size(path, rows, 0, schema)
        unpacked = 0
        for chunk in chain.from_iterable(chunks):
            if chunk[5, _I64] > 0:  # else no page of it is read, or there
                for size in _page_sizes(path, content, chunk):
                    unpacked += size
                    _check_size(path, rows, unpacked, schema)


def _row_groups(content: mmap.mmap) -> list[_Struct]:
    """The row groups by the footer that stands before the last eight bytes of a file.

    pyarrow's own view of it ends the process where a number of it is damaged.
    """
    length = int.from_bytes(content[-8:-4], "little")
    footer, _ = _struct(content, len(content) - 8 - length)
    return footer.get((4, _LIST), [])


def _page_sizes(path: Path, content: mmap.mmap, chunk: _Struct) -> Iterator[int]:
    """What each page of a column chunk unpacks to, in bytes."""
    at, dictionary = chunk[9, _I64], chunk.get((11, _I64), 0)
    if 0 < dictionary < at:
        at = dictionary
    end = at + chunk[7, _I64]
    while at < end:
        header, begin = _struct(content, at)
        unpacked, packed = header[2, _I32], header[3, _I32]
        data, second = header.get((5, _STRUCT), {}), header.get((8, _STRUCT), {})
        values = (data or second or header.get((7, _STRUCT), {})).get((1, _I32), 0)
        if min(unpacked, packed, values) < 0:
            raise unreadable(path, "it has a page of a negative size")
        if _PREFIXES in (data.get((2, _I32)), second.get((4, _I32))):
            raise BarsError(
                f"{path} holds {chunk[3, _LIST][0].decode()} as DELTA_BYTE_ARRAY",
                expected="plain or dictionary pages",
                instead="write the column as numbers",
            )
        # a page takes time as well, however little it holds
        yield max(unpacked, values * _CELL, begin - at)
        at = begin + packed


def _struct(content: mmap.mmap, at: int) -> tuple[_Struct, int]:
    """A struct in Thrift's compact protocol, and where it ends.

    Raises:
        ValueError: It is of another make than a reader of it might take it for.
    """
    fields: _Struct = {}
    known: set[int] = set()
    number = 0
    while head := content[at]:
        delta, kind = divmod(head, 16)
        at += 1
        if delta:
            number += delta
        else:
            number, at = _integer(content, at)
        if number in known:
            raise ValueError("it says the same thing twice")
        known.add(number)
        if kind in _BOOLS:  # in a struct, the kind is the value
            fields[number, kind] = None
        else:
            fields[number, kind], at = _value(content, at, kind)
    return fields, at + 1


def _value(content: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    if kind in (_I16, _I32, _I64):
        return _integer(content, at)
    if kind == _TEXT:
        length, at = _varint(content, at)
        return content[at : at + length], at + length
    if kind == _STRUCT:
        return _struct(content, at)
    if kind == _LIST:
        size, inside = divmod(content[at], 16)
        at += 1
        if size == _LONG_LIST:
            size, at = _varint(content, at)
        values: list[Any] = []
        for _ in range(size):
            value, at = _value(content, at, inside)
            values.append(value)
        return values, at
    if kind in (*_BOOLS, _BYTE):
        return content[at], at + 1
    raise ValueError("it is of an unknown make")


def _integer(content: mmap.mmap, at: int) -> tuple[int, int]:
    value, at = _varint(content, at)
    return value >> 1 ^ -(value & 1), at


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it has a number of more than 64 bits")


def _plain(path: Path, table: pa.Table, name: str, plain: str) -> pa.Table:
    """The table with a column of texts in full, where none of them is long."""
    column = table[name]
    begin = 0
    for chunk in column.chunks:
        each = pc.call_function("binary_length", [chunk.dictionary])
        lengths = each.take(chunk.indices).fill_null(0).to_numpy()
        long = np.flatnonzero(lengths > _LONG_CELL)
        if len(long):
            raise Origin(path).fault(
                begin + int(long[0]),
                f"{plain} is a text of {lengths[long[0]]:,} bytes",
                expected=f"a number or a time, in {_LONG_CELL} at most",
                instead=REPAIR,
            )
        begin += len(chunk)
    texts = column.cast(column.type.value_type)
    return table.set_column(table.schema.get_field_index(name), name, texts)


# --- feather: a stream of messages, whose metadata are flatbuffers --------------------------------


def _check_messages(path: Path, content: pa.Buffer, schema: pa.Schema, batches: int) -> None:
    rows = unpacked = found = 0
    for message in pa_ipc.MessageReader.open_stream(pa.BufferReader(content)):
        root = _Flat.root(memoryview(message.metadata))
        batch = root.table(2)
        if message.type == "dictionary" and batch is not None:
            batch = batch.table(1)
        elif message.type == "record batch" and batch is not None:
            rows += max(0, batch.number(0, "<q"))
            found += 1
        else:
            continue
        if batch is not None and message.body is not None:
            unpacked += sum(_buffer_sizes(root, batch, memoryview(message.body)))
        _check_size(path, rows, unpacked, schema)
    if found != batches:
        raise unreadable(path, f"it has {found} of its {batches} batches")


def _buffer_sizes(root: _Flat, batch: _Flat, body: memoryview) -> Iterator[int]:
    """What each compressed buffer of a batch unpacks to, in bytes."""
    # before Arrow 1.0 the compression stood among the message's own metadata
    before = root.number(0, "<h") < _ARROW_1 and root.table(4) is not None
    if batch.table(3) is None and not before:
        return
    for offset, length in batch.pairs(2):
        if length >= _CELL:
            (size,) = struct.unpack_from("<q", body, offset)
            yield length if size == _COMPRESSED else size


class _Flat:
    """A table of a flatbuffer that Arrow has verified."""

    def __init__(self, content: memoryview, at: int) -> None:
        self.content, self.at = content, at
        self._fields = at - self._read("<i", at)

    @classmethod
    def root(cls, content: memoryview) -> _Flat:
        """The outermost table."""
        return cls(content, struct.unpack_from("<I", content)[0])

    def number(self, field: int, form: str) -> int:
        """A field's number, 0 where it is left out."""
        at = self._field(field)
        return self._read(form, at) if at else 0

    def table(self, field: int) -> _Flat | None:
        """A field's table, if it has one."""
        at = self._field(field)
        return _Flat(self.content, at + self._read("<I", at)) if at else None

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """A field's vector of pairs of long integers."""
        at = self._field(field)
        if at:
            at += self._read("<I", at)
            end = at + 4 + 16 * self._read("<I", at)
            yield from struct.iter_unpack("<qq", self.content[at + 4 : end])

    def _field(self, field: int) -> int:
        entry = 4 + 2 * field
        known = entry < self._read("<H", self._fields)
        offset = self._read("<H", self._fields + entry) if known else 0
        return self.at + offset if offset else 0

    def _read(self, form: str, at: int) -> int:
        return struct.unpack_from(form, self.content, at)[0]
