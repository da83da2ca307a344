"""What a store shall hold, chunk by chunk, before any of it is written."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.atomic_io import canonical_json, read_object
from gafcnn.data.bars import fingerprint, interval_of
from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.errors import StoreError
from gafcnn.images.encoding import checked_series, is_tame
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import (
    METADATA,
    TIME,
    ImageStore,
    S,
    SeriesStore,
    check_store,
    damaged_chunks,
    npy_header,
    opened,
)

_CHUNK_BYTES = 8 * 2**20


@dataclass(frozen=True, eq=False)  # arrays have no single answer to ==
class Plan(Generic[S]):
    """What a store shall hold.

    Attributes:
        kind: What kind of store.
        folder: Where it lies, or shall lie.
        times: What moment each entry is of, shape (n,).
        entry: The shape of an entry.
        dtype: Of its numbers.
        most: At most how many entries a chunk has.
        fill: Puts the entries of a slice into an array.
        spec: What the entries are of, as JSON would hold it.
        bars: The fingerprint of the bars.
        more: What else the metadata says.
    """

    kind: type[S]
    folder: Path
    times: NDArray[np.datetime64]
    entry: tuple[int, ...]
    dtype: str
    most: int
    fill: Callable[[slice, NDArray[Any]], object]
    spec: dict[str, Any]
    bars: str
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def partial(self) -> Path:
        """Where the array is written to."""
        return self.folder / f"{self.kind.file()}.partial"

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return (len(self.times), *self.entry)

    @property
    def entry_bytes(self) -> int:
        """The bytes of an entry."""
        return math.prod(self.entry) * np.dtype(self.dtype).itemsize

    @property
    def chunk(self) -> int:
        """How many entries a chunk has, the last one perhaps less."""
        return max(1, min(self.most, _CHUNK_BYTES // self.entry_bytes))

    @property
    def header(self) -> bytes:
        """The opening of the array's file."""
        return npy_header(self.shape, self.dtype)

    @property
    def length(self) -> int:
        """The bytes of the array's file."""
        return len(self.header) + len(self.times) * self.entry_bytes

    @property
    def fingerprint(self) -> str:
        """What tells this store from any other."""
        return hashlib.sha256(canonical_json([self.bars, self.spec])).hexdigest()

    @property
    def n_chunks(self) -> int:
        """How many chunks there are."""
        return -(-len(self.times) // self.chunk)

    def part(self, number: int) -> slice:
        """Which entries are of a chunk, counted from 0."""
        first = number * self.chunk
        return slice(first, min(first + self.chunk, len(self.times)))

    def place(self, number: int) -> int:
        """Where in the array's file a chunk begins."""
        return len(self.header) + self.part(number).start * self.entry_bytes

    def chunks(self, numbers: Iterable[int]) -> Iterator[NDArray[Any]]:
        """The entries of these chunks: ndarrays of shape (at most chunk, *entry).

        The memory of a chunk is that of the next but one: while one is written, the next is made.
        """
        one, other = (np.empty((self.chunk, *self.entry), self.dtype) for _ in range(2))
        for part in map(self.part, numbers):
            entries = one[: part.stop - part.start]
            self.fill(part, entries)
            yield entries
            one, other = other, one

    def damaged(self, path: Path, checksums: Sequence[int | None]) -> list[int]:
        """Which chunks of an array's file are not as their checksums say, or have none."""
        size = self.chunk * self.entry_bytes
        return damaged_chunks(path, len(self.header), self.length, size, checksums)

    @property
    def times_file(self) -> bytes:
        """What the file of the times holds."""
        return npy_header(self.times.shape, TIME) + self.times.tobytes()

    def is_there(self) -> bool:
        """Whether a finished store of this very spec and bars lies there, whole or damaged."""
        return read_object(self.folder / METADATA).get("fingerprint") == self.fingerprint

    def finished(self) -> S:
        """The store, where it is there and whole.

        Raises:
            StoreError: Why it has to be written.
        """
        store = opened(self.kind, self.folder, verify=False)
        if store.metadata["fingerprint"] != self.fingerprint:
            held = store.metadata["spec"]
            others = [key for key, value in self.spec.items() if held.get(key) != value]
            raise StoreError(
                f"{self.folder} holds {self.kind.of} of other {' and '.join(others) or 'bars'}",
                expected="those asked for",
                instead="build it anew",
            )
        check_store(store)
        return store

    def is_told_by(self, metadata: dict[str, Any]) -> bool:
        """Whether this is what metadata tell of, whatever its chunks and the version."""
        if metadata.get("fingerprint") != self.fingerprint:
            return False
        told = replace(self, most=metadata["chunk"]).metadata(metadata["checksums"])
        return told == {**metadata, "version": told["version"]}

    def metadata(self, checksums: list[int]) -> dict[str, Any]:
        """What metadata.json says of the store, but for its seal."""
        return {
            "spec": self.spec,
            "bars": self.bars,
            "fingerprint": self.fingerprint,
            "shape": list(self.shape),
            "dtype": self.dtype,
            **self.more,
            "chunk": self.chunk,
            "checksums": checksums,
            "times_checksum": zlib.crc32(self.times.tobytes()),
            "version": version("gafcnn"),
        }


def image_plan(
    folder: Path, bars: pd.DataFrame, window: Window, images: ImageSpec, chunk: int
) -> Plan[ImageStore]:
    """The images of all decision times, see `gafcnn.images.writing.build_store`."""
    reader, rows = WindowReader(bars, window, images.fields), decision_rows(bars, window.lookback)
    return Plan(
        kind=ImageStore,
        folder=folder,
        times=bars.index.to_numpy(TIME)[rows],
        entry=(len(images.channels), images.size, images.size),
        dtype=images.dtype,
        most=chunk,
        fill=lambda part, out: images.encode(reader(rows[part]), out),
        spec={"window": _window_spec(window, interval_of(bars)), **images.options},
        bars=fingerprint(bars),
        more={"scale": images.scale},
    )


def series_plan(
    folder: Path, bars: pd.DataFrame, window: Window, fields: Iterable[str], chunk: int
) -> Plan[SeriesStore]:
    """The values of the fields at all bars, see `gafcnn.images.writing.build_series`.

    Raises:
        ImagesError: A decision time's series is one that makes no image.
    """
    reader, rows = WindowReader(bars, window, fields), decision_rows(bars, window.lookback)
    values = reader.bar_values
    wild = np.flatnonzero(~is_tame(values).all(axis=1))
    touched = np.isin(rows, (wild[:, None] - reader.offsets).ravel())
    if touched.any():
        checked_series(reader(rows[touched][:1]))
    return Plan(
        kind=SeriesStore,
        folder=folder,
        times=bars.index.to_numpy(TIME),
        entry=values.shape[1:],
        dtype="float64",
        most=chunk,
        fill=lambda part, out: np.copyto(out, values[part]),
        spec={"window": _window_spec(window, interval_of(bars)), "fields": list(reader.fields)},
        bars=fingerprint(bars),
    )


def _window_spec(window: Window, interval: pd.Timedelta) -> dict[str, str]:
    return {
        "name": window.name,
        "span": window.span.isoformat(),
        "step": (interval if window.step is None else window.step).isoformat(),
        "lookback": window.lookback.isoformat(),
    }
