"""Feather files of bars: a stream of messages, whose metadata are flatbuffers.

What they unpack to is summed up beforehand, from the heads of their compressed buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as pa_ipc

from gafcnn.data.table_files import CELL, Choice, check_size, chosen, unreadable
from gafcnn.errors import BarsError

_COMPRESSED = -1  # the head of a buffer that is kept as it is, though others are compressed
_ARROW_1 = 4  # the version of messages since Arrow 1.0


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
    messages = pa.py_buffer(content).slice(CELL)
    stream = pa_ipc.open_stream(pa.BufferReader(messages))
    columns = choose(stream.schema.names)
    schema = chosen(path, stream.schema, columns)
    _check_messages(path, messages, schema, batches)
    wanted = [stream.schema.get_field_index(name) for name in columns]
    stream = pa_ipc.open_stream(
        pa.BufferReader(messages), options=pa_ipc.IpcReadOptions(included_fields=wanted)
    )
    return stream.read_all().select(schema.names).rename_columns(list(columns.values()))


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
        check_size(path, rows, unpacked, schema)
    if found != batches:
        raise unreadable(path, f"it has {found} of its {batches} batches")


def _buffer_sizes(root: _Flat, batch: _Flat, body: memoryview) -> Iterator[int]:
    """What each compressed buffer of a batch unpacks to, in bytes."""
    # before Arrow 1.0 the compression stood among the message's own metadata
    before = root.number(0, "<h") < _ARROW_1 and root.table(4) is not None
    if batch.table(3) is None and not before:
        return
    for offset, length in batch.pairs(2):
        if length >= CELL:
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
