"""The image store: the images of all decision times in one memory-mapped array on disk.

<folder>/
    images.npy           (n, channels, size, size), in the order of the times
    times.npy            (n,), datetime64[ns], UTC: the decision times
    metadata.json        spec, fingerprint, checksums; written last: a store that has it is complete
and while it is being written:
    images.npy.partial   of its full length from the start
    progress.json        who writes it, and the checksum of each chunk that is on disk
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gafcnn.errors import StoreError

IMAGES, TIMES, METADATA = "images.npy", "times.npy", "metadata.json"
TIME = "datetime64[ns]"


@dataclass(frozen=True)
class ImageStore:
    """A complete store, open for reading.

    Attributes:
        folder: Where it lies.
        images: Memory-mapped ndarray of shape (n, channels, size, size), read-only.
        times: Decision times: ndarray of shape (n,), datetime64[ns], UTC.
        metadata: What metadata.json holds.
    """

    folder: Path
    images: NDArray[Any]
    times: NDArray[np.datetime64]
    metadata: dict[str, Any]

    @property
    def scale(self) -> float:
        """What to multiply stored pixels by to have them in [-1, 1]."""
        return self.metadata["scale"]


def open_store(folder: str | Path, *, verify: bool = True) -> ImageStore:
    """Open a complete store; its images are read from disk only where they are used.

    Args:
        folder: The store's folder.
        verify: Whether to read all of it once and compare the checksums.

    Raises:
        StoreError: The store is not finished, or damaged; file and chunk are named.
    """
    folder = Path(folder)
    metadata = _read_metadata(folder / METADATA)
    shape = tuple(metadata["shape"])
    images = _mapped(folder / IMAGES, shape, metadata["dtype"])
    times = _mapped(folder / TIMES, shape[:1], TIME)
    store = ImageStore(folder, images, np.array(times), metadata)
    if verify:
        check_store(store)
    return store


def npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The opening of an .npy file, version 1.0 of its format, the same in any release of NumPy."""
    described = f"{{'descr': {np.dtype(dtype).str!r}, 'fortran_order': False, 'shape': {shape}, }}"
    length = -(-(10 + len(described) + 1) // 64) * 64  # the data are aligned to 64 bytes
    text = described.ljust(length - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii")


def canonical(content: Any) -> bytes:
    """JSON of which the same content has the same bytes, to be hashed."""
    return json.dumps(content, sort_keys=True).encode()


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds, an empty one where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_metadata(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise StoreError(
            f"{path.parent} holds no finished image store",
            expected=f"{METADATA}, which is written last",
            instead="run python prepare.py, which writes the store or goes on where it was stopped",
        )
    metadata = read_object(path)
    seal = metadata.pop("seal", None)
    if seal != zlib.crc32(canonical(metadata)):
        raise _damaged(path, "is damaged")
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


def check_store(store: ImageStore) -> None:
    """Read all of a store and compare its checksums.

    Raises:
        StoreError: The store is damaged; file and chunk are named.
    """
    if zlib.crc32(store.times.tobytes()) != store.metadata["times_checksum"]:
        raise _damaged(store.folder / TIMES, "is damaged")
    path, checksums = store.folder / IMAGES, store.metadata["checksums"]
    size = store.metadata["chunk"] * store.images[0].nbytes
    whole = whole_chunks(path, path.stat().st_size - store.images.nbytes, size, checksums)
    if whole < len(checksums):
        raise _damaged(path, f"is damaged in chunk {whole + 1} of {len(checksums)}")


def whole_chunks(path: Path, offset: int, size: int, checksums: list[int]) -> int:
    """How many chunks of `size` bytes, from the first on, are as their checksums say."""
    with path.open("rb") as file:  # not memory-mapped: that would count as memory in use
        file.seek(offset)
        for number, checksum in enumerate(checksums):
            if zlib.crc32(file.read(size)) != checksum:
                return number
    return len(checksums)


def _damaged(path: Path, how: str) -> StoreError:
    return StoreError(
        f"{path} {how}",
        expected="the file as it was written",
        instead="run python prepare.py again, which writes it anew, or delete the folder",
    )
