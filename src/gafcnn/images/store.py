"""Stores: images, or the series they are made of, in one memory-mapped array on disk.

<folder>/
    images.npy           of images (n, channels, size, size); of series series.npy (n, fields)
    times.npy            (n,), datetime64[ns], UTC: what moment each entry is of
    metadata.json        spec, fingerprint, checksums; written last: a store that has it is complete
and while it is being written:
    images.npy.partial   of its full length from the start
    progress.json        the checksum of each chunk that is on disk

Images are those of all decision times, series the fields' values at every bar: a window's series is
a few entries of them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from gafcnn.atomic_io import read_sealed
from gafcnn.errors import DiskError, StoreError
from gafcnn.images.spec import ImageSpec

TIMES, METADATA = "times.npy", "metadata.json"
TIME = "datetime64[ns]"

_KEYS = {"spec", "fingerprint", "shape", "dtype", "chunk", "checksums", "times_checksum"}
_TOLD = 5  # at most so many chunks are told of


@dataclass(frozen=True)
class Store:
    """A complete store, open for reading.

    Attributes:
        folder: Where it lies.
        array: Memory-mapped ndarray of n entries, read-only.
        times: What moment each entry is of: ndarray of shape (n,), datetime64[ns], UTC.
        metadata: What metadata.json holds.
    """

    folder: Path
    array: NDArray[Any]
    times: NDArray[np.datetime64]
    metadata: dict[str, Any]

    of: ClassVar[str]
    """What it holds; the name of its array's file, too."""
    entries: ClassVar[str]
    """What its entries are counted as."""
    smaller: ClassVar[str]
    """What can be done where a disk has no room for it."""

    @classmethod
    def file(cls) -> str:
        """The name of the array's file."""
        return f"{cls.of}.npy"


class ImageStore(Store):
    """The images of all decision times, those that `times` are."""

    of, entries = "images", "images"
    smaller = "free some, set paths.data to another disk, or take a smaller images.size"

    @property
    def images(self) -> NDArray[Any]:
        """Memory-mapped ndarray of shape (n, channels, size, size), read-only."""
        return self.array

    @property
    def spec(self) -> ImageSpec:
        """What the images are made of, and how."""
        options = {key: of for key, of in self.metadata["spec"].items() if key != "window"}
        return ImageSpec(**options)

    @property
    def scale(self) -> float:
        """What to multiply stored pixels by to have them in [-1, 1]."""
        return self.metadata["scale"]


class SeriesStore(Store):
    """The values of a window's fields at every bar; `times` are the bars' close times."""

    of, entries = "series", "bars"
    smaller = "free some, or set paths.data to another disk"

    @property
    def series(self) -> NDArray[np.float64]:
        """Memory-mapped ndarray of shape (n_bars, fields); NaN where bars are too few."""
        return self.array


S = TypeVar("S", bound=Store)


def open_store(folder: str | Path, *, verify: bool = True) -> ImageStore:
    """Open a complete store of images; they are read from disk only where they are used.

    Args:
        folder: The store's folder.
        verify: Whether to read all of it once and compare the checksums.

    Raises:
        StoreError: The store is not finished, or damaged; file and chunks are named.
        DiskError: It cannot be read.
    """
    return opened(ImageStore, Path(folder), verify=verify)


def open_series(folder: str | Path, *, verify: bool = True) -> SeriesStore:
    """Open a complete store of series.

    Args:
        folder: The store's folder.
        verify: Whether to read all of it once and compare the checksums.

    Raises:
        StoreError: The store is not finished, or damaged; file and chunks are named.
        DiskError: It cannot be read.
    """
    return opened(SeriesStore, Path(folder), verify=verify)


def opened(kind: type[S], folder: Path, *, verify: bool) -> S:
    """Open a complete store of either kind, see `open_store`."""
    with _reading(folder):
        metadata = _read_metadata(folder / METADATA, kind)
        shape = tuple(metadata["shape"])
        array = _mapped(folder / kind.file(), shape, metadata["dtype"])
        times = np.array(_mapped(folder / TIMES, shape[:1], TIME))
    store = kind(folder, array, times, metadata)
    if verify:
        check_store(store)
    return store


def npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The opening of an .npy file, version 1.0 of its format, the same in any release of NumPy."""
    described = f"{{'descr': {np.dtype(dtype).str!r}, 'fortran_order': False, 'shape': {shape}, }}"
    length = -(-(10 + len(described) + 1) // 64) * 64  # the data are aligned to 64 bytes
    text = described.ljust(length - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii")


def _read_metadata(path: Path, kind: type[Store]) -> dict[str, Any]:
    if not path.is_file():
        raise StoreError(
            f"{path.parent} holds no finished store of {kind.of}",
            expected=f"{METADATA}, which is written last",
            instead="run python prepare.py, which writes the store or goes on where it was stopped",
        )
    metadata = read_sealed(path)
    if metadata is None or not metadata.keys() >= _KEYS:
        raise StoreError(
            f"{path} is damaged, and with it the checksums of all chunks",
            expected="the file as it was written",
            instead="give its train.py or prepare.py again, which writes the store anew",
        )
    return metadata


def _mapped(path: Path, shape: tuple[int, ...], dtype: str) -> np.memmap[Any, Any]:
    if not path.is_file():
        raise _damaged(path, "is missing")
    header = npy_header(shape, dtype)
    length = len(header) + math.prod(shape) * np.dtype(dtype).itemsize
    with path.open("rb") as file:
        opening = file.read(len(header))
    if opening != header or path.stat().st_size != length:
        raise _damaged(path, f"is not the array of {dtype} and shape {shape} it was")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def check_store(store: Store) -> None:
    """Read all of a store and compare its checksums.

    Raises:
        StoreError: The store is damaged; file and chunks are named.
    """
    if zlib.crc32(store.times.tobytes()) != store.metadata["times_checksum"]:
        raise _damaged(store.folder / TIMES, "is damaged")
    path, checksums = store.folder / store.file(), store.metadata["checksums"]
    size = store.metadata["chunk"] * store.array[0].nbytes
    with _reading(path):
        end = path.stat().st_size
        wrong = damaged_chunks(path, end - store.array.nbytes, end, size, checksums)
    if wrong:
        raise _damaged(path, f"is damaged in {spelled(wrong)} of {len(checksums)}")


def damaged_chunks(
    path: Path, start: int, end: int, size: int, checksums: Sequence[int | None]
) -> list[int]:
    """Which chunks of a file are not as their checksums say, or have none, counted from 0.

    Args:
        path: The file.
        start: Where the first chunk begins, in bytes.
        end: Where the last one ends, which may be shorter than the others.
        size: The bytes of a chunk.
        checksums: The CRC-32 of each.
    """
    wrong = []
    with path.open("rb") as file:  # not memory-mapped: that would count as memory in use
        for number, checksum in enumerate(checksums):
            file.seek(start + number * size)
            content = file.read(min(size, end - file.tell()))
            if checksum is None or zlib.crc32(content) != checksum:
                wrong.append(number)
    return wrong


def spelled(chunks: list[int]) -> str:
    """Chunks as they are told, counted from 1: `chunk 3`, `chunks 3 and 7`."""
    told = [str(number + 1) for number in chunks]
    if len(told) > _TOLD:
        told = [*told[: _TOLD - 1], f"{len(told) - _TOLD + 1} more"]
    if len(told) == 1:
        return f"chunk {told[0]}"
    return f"chunks {', '.join(told[:-1])} and {told[-1]}"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{error.filename or path} cannot be read ({error.strerror})",
            expected="a store that this user may read",
            instead="allow it, or delete the store's folder and run python prepare.py",
        ) from error


def _damaged(path: Path, how: str) -> StoreError:
    return StoreError(
        f"{path} {how}",
        expected="the file as it was written",
        instead="give its train.py or prepare.py again, which writes anew only what is damaged",
    )
