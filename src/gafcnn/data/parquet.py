"""Parquet files of bars: row groups, each of column chunks, each of pages.

What they unpack to is summed up beforehand, from the numbers that the reader goes by: those of the
footer and of the pages' headers.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gafcnn.data.bars import REPAIR, Origin
from gafcnn.data.table_files import CELL, LONG_CELL, Choice, check_size, chosen, is_text, unreadable
from gafcnn.errors import BarsError

_MOST_PARTS = 100_000  # entries of a list in a parquet file's footer
_PREFIXES = 7  # the encoding of texts by what they share with the one before

# the kinds of values in Thrift's compact protocol
_BOOLS, _BYTE, _I16, _I32, _I64, _TEXT, _LIST, _STRUCT = (1, 2), 3, 4, 5, 6, 8, 9, 12
_LONG_LIST = 15  # the length of a list that is told beside it

_Struct: TypeAlias = dict[tuple[int, int], Any]
"""A struct's values by the numbers and the kinds of its fields, since a reader goes by both."""


def read_parquet(path: Path, choose: Choice) -> pa.Table:
    """The chosen columns of a parquet file, with the metadata of its schema.

    Raises:
        BarsError: The file is no table of bars, or too large a one.
    """
    with _parquet(path) as file:
        columns = choose(file.schema_arrow.names)
        schema = chosen(path, file.schema_arrow, columns)
        leaves = [file.schema.column(place).path for place in range(len(file.schema))]
    wanted = [place for place, leaf in enumerate(leaves) if leaf.split(".")[0] in columns]
    _check_parquet(path, wanted, schema)
    texts = [field.name for field in schema if is_text(field.type)]
    # a text that is repeated is in memory once, until its length is known
    with _parquet(path, read_dictionary=texts) as file:
        table = file.read(columns=schema.names)
    for name in texts:
        table = _plain(path, table, name, columns[name])
    named = table.select(schema.names).rename_columns(list(columns.values()))
    return named.replace_schema_metadata(table.schema.metadata)


def _parquet(path: Path, read_dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    return pq.ParquetFile(
        path,
        read_dictionary=list(read_dictionary),
        pre_buffer=False,  # not all of it, packed, at once
        thrift_container_size_limit=_MOST_PARTS,
    )


def _check_parquet(path: Path, wanted: list[int], schema: pa.Schema) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        footer = _footer(content)
        groups = footer.get((4, _LIST), [])
        chunks = [[group[1, _LIST][place][3, _STRUCT] for place in wanted] for group in groups]
        # room is made for what the file, a group or a chunk of it claims, whatever is there
        claimed = [
            max(0, group[3, _I64], *(chunk[5, _I64] for chunk in inside))
            for group, inside in zip(groups, chunks, strict=True)
        ]
        rows = max(footer[3, _I64], sum(claimed))
        check_size(path, rows, 0, schema)
        unpacked = 0
        for chunk in chain.from_iterable(chunks):
            if chunk[5, _I64] > 0:  # else no page of it is read, or there
                for size in _page_sizes(path, content, chunk):
                    unpacked += size
                    check_size(path, rows, unpacked, schema)


def _footer(content: mmap.mmap) -> _Struct:
    """The metadata that stand before the last eight bytes of a file.

    pyarrow's own view of them ends the process where a number of theirs is damaged.
    """
    length = int.from_bytes(content[-8:-4], "little")
    return _struct(content, len(content) - 8 - length)[0]


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
        yield max(unpacked, values * CELL, begin - at)
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
        long = np.flatnonzero(lengths > LONG_CELL)
        if len(long):
            raise Origin(path).fault(
                begin + int(long[0]),
                f"{plain} is a text of {lengths[long[0]]:,} bytes",
                expected=f"a number or a time, in {LONG_CELL} at most",
                instead=REPAIR,
            )
        begin += len(chunk)
    texts = column.cast(column.type.value_type)
    return table.set_column(table.schema.get_field_index(name), name, texts)
