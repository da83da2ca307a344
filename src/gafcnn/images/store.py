"""Stores: the images of all decision times of a window, in one memory-mapped array on disk.

    <folder>/
        images.npy              (n, channels, size, size)
        times.npy               (n,), datetime64[ns], UTC
        manifest.json           what the array holds, and the checksum of each chunk

The array has its full length from the start. Until it is written, the manifest, with the checksums
of the chunks that are on disk, is called manifest.partial.json. A store without a manifest is never
opened. A writer that was killed is resumed; a damaged store is rebuilt as a whole.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import logging
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn import atomic_io
from gafcnn.atomic_io import disk_errors, read_sealed, seal, write_json
from gafcnn.data.bars import ensure_bars, fingerprint, interval_of
from gafcnn.data.features import FIELDS
from gafcnn.data.windows import Window, WindowReader, as_window, close_times, decision_rows
from gafcnn.errors import StoreError
from gafcnn.images.kinds import IMAGE_KINDS
from gafcnn.images.spec import ImageSpec
from gafcnn.progress import counting
from gafcnn.settings import as_plain

IMAGES, TIMES, MANIFEST = "images.npy", "times.npy", "manifest.json"
_JOURNAL, _LOCK = "manifest.partial.json", ".lock"
_TIME = "datetime64[ns]"
_CHUNK_BYTES = 2**25  # that are encoded and written at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)  # arrays have no single answer to ==
class Store:
    """A complete store, open for reading.

    Attributes:
        folder: Its folder.
        array: Memory-mapped images of shape (n, channels, size, size), read-only.
        times: Their decision times: shape (n,), datetime64[ns], UTC.
        manifest: The contents of manifest.json.
    """

    folder: Path
    array: NDArray[Any]
    times: NDArray[np.datetime64]
    manifest: dict[str, Any]

    def matches(self, bars: pd.DataFrame, window: Window, spec: ImageSpec) -> bool:
        """Whether the store holds the images of these bars, window and spec."""
        return self.manifest["content"] == _describe(bars, window, spec)


def open_store(folder: str | Path, *, verify: bool = True) -> Store:
    """Open a complete store; entries are read from disk when they are used.

    Args:
        folder: Folder of the store.
        verify: Whether to read all of it once and compare the checksums.

    Raises:
        StoreError: The store is incomplete or damaged.
        DiskError: It cannot be read.
    """
    folder = Path(folder)
    with disk_errors(folder, 0):
        if not (folder / MANIFEST).is_file():
            raise _damaged(folder, f"holds no complete store, without {MANIFEST}")
        manifest = read_sealed(folder / MANIFEST)
        if manifest is None:
            raise _damaged(folder / MANIFEST, "is damaged")
        shape = tuple(manifest["shape"])
        array = _map(folder / IMAGES, shape, manifest["dtype"])
        times = np.array(_map(folder / TIMES, shape[:1], _TIME))
    store = Store(folder, array, times, manifest)
    if verify:
        _verify(store)
    return store


def _verify(store: Store) -> None:
    """Read the whole store and compare its checksums."""
    path = store.folder / IMAGES
    with disk_errors(path, 0):
        found = list(_checksums(path, store.array, store.manifest["chunk"]))
    if found != store.manifest["checksums"]:
        raise _damaged(path, "is damaged")
    if zlib.crc32(store.times.tobytes()) != store.manifest["times_checksum"]:
        raise _damaged(store.folder / TIMES, "is damaged")


def store_folder(folder: str | Path, symbol: str, window: Window) -> Path:
    """Return the folder of the store of a symbol and a window, below a folder of data."""
    return Path(folder, "gaf", f"{symbol}_{window.name}" if symbol else str(window.name))


def build_store(
    folder: str | Path, bars: pd.DataFrame, window: Window | str, spec: ImageSpec
) -> Store:
    """Write the images of all decision times of a window, unless they are there already.

    A complete store of the same bars, window and spec is verified and returned. A store of others,
    or a damaged one, is replaced. A writer that was killed is resumed; one that is running is
    waited for.

    Args:
        folder: Folder of the store.
        bars: Bars indexed by close time.
        window: What an image shows.
        spec: How images are encoded.

    Raises:
        ConfigError, SamplesError: The bars cannot fill the window, or lack the columns of a field.
        ImagesError: A value cannot be encoded.
        DiskError: The folder cannot be written, or its disk is full.
    """
    plan = _Plan(Path(folder), ensure_bars(bars), as_window(window), spec)
    with suppress(StoreError):
        return plan.open()
    lock = atomic_io.locked(plan.folder / _LOCK, f"writing {plan.folder}")
    with disk_errors(plan.images, plan.length), lock:
        atomic_io.remove_partial_files(plan.folder)
        try:
            return plan.open()  # another process may have written it
        except StoreError as error:
            if (plan.folder / MANIFEST).exists():
                log.warning("%s; it is rebuilt", error.found)
            _write(plan)
            return open_store(plan.folder, verify=False)


class _Plan:
    """What a store will hold, in chunks of `chunk` images."""

    def __init__(self, folder: Path, bars: pd.DataFrame, window: Window, spec: ImageSpec) -> None:
        assert window.lookback is not None
        self.folder, self.images, self.journal = folder, folder / IMAGES, folder / _JOURNAL
        self.spec, self.name = spec, f"images {window.name}"
        self.reader = WindowReader(bars, window, spec.fields)
        self.rows = decision_rows(bars, window.lookback, overnight=window.overnight)
        self.times = close_times(bars)[self.rows]
        self.content = _describe(bars, window, spec)
        self.shape = (len(self.rows), len(spec.channels), spec.size, spec.size)
        image_bytes = math.prod(self.shape[1:]) * np.dtype(spec.dtype).itemsize
        self.image_bytes, self.length = image_bytes, len(self.rows) * image_bytes
        self.chunk = min(len(self.rows), max(1, _CHUNK_BYTES // image_bytes))

    def manifest(self, checksums: list[int]) -> dict[str, Any]:
        return {
            "content": self.content,
            "shape": list(self.shape),
            "dtype": self.spec.dtype,
            "chunk": self.chunk,
            "checksums": checksums,
            "times_checksum": zlib.crc32(self.times.tobytes()),
        }

    def open(self) -> Store:
        """Return the store if it is there, complete and undamaged; else raise a StoreError."""
        store = open_store(self.folder, verify=False)
        if (held := store.manifest["content"]) != self.content:
            changed = [key for key, value in self.content.items() if held.get(key) != value]
            raise _damaged(self.folder, f"holds images of other {' and '.join(changed)}")
        _verify(store)
        return store


def _describe(bars: pd.DataFrame, window: Window, spec: ImageSpec) -> dict[str, Any]:
    """Return what images depend on, as JSON holds it."""
    step = window.step_of(interval_of(bars))
    lengths = {"span": window.span, "step": step, "lookback": window.lookback}
    functions = {name: FIELDS[name].compute for name in spec.fields}
    functions |= {name: IMAGE_KINDS[name].compute for name in spec.kinds}
    return {
        "overnight": window.overnight,
        "bars": fingerprint(bars),
        "window": as_plain(lengths),
        **as_plain(spec),
        # an edited function of the user's draws other images under the same name
        "code": {name: code for name, one in functions.items() if (code := _hash_code(one))},
    }


def _hash_code(function: Any) -> str:
    """Return a hash of the code of a user's function; "" for functions of the library."""
    if function is None or function.__module__.startswith("gafcnn."):
        return ""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        source = function.__qualname__
    return hashlib.sha256(source.encode()).hexdigest()


def _write(plan: _Plan) -> None:
    """Write a store, or resume writing it; the lock must be held."""
    checksums = _resume(plan)
    if not checksums:
        _start(plan)
    total = len(plan.rows)
    done = min(len(checksums) * plan.chunk, total)
    buffer = np.empty((plan.chunk, *plan.shape[1:]), plan.spec.dtype)
    with (
        plan.images.open("r+b") as file,
        counting(plan.name, total, "images", done) as advance,
    ):
        file.seek((done - total) * plan.image_bytes, os.SEEK_END)
        for start in range(done, total, plan.chunk):
            rows = plan.rows[start : start + plan.chunk]
            images = plan.spec.encode(plan.reader(rows), buffer[: len(rows)])
            file.write(images.data)
            file.flush()
            os.fsync(file.fileno())
            checksums.append(zlib.crc32(images.data))
            write_json(plan.journal, seal(plan.manifest(checksums)))
            advance(len(rows))
    times = io.BytesIO()
    np.save(times, plan.times)
    atomic_io.write_bytes(plan.folder / TIMES, times.getvalue())
    plan.journal.replace(plan.folder / MANIFEST)
    atomic_io.sync(plan.folder)


def _resume(plan: _Plan) -> list[int]:
    """Return the checksums of the first chunks, as far as a killed writer left them whole."""
    journal = read_sealed(plan.journal)
    if journal is None or journal != plan.manifest(journal["checksums"]):
        return []
    try:
        images = _map(plan.images, plan.shape, plan.spec.dtype)
    except StoreError:
        return []
    found = _checksums(plan.images, images, plan.chunk)
    pairs = zip(journal["checksums"], found, strict=False)
    whole = [written for written, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    count = -(-len(plan.rows) // plan.chunk)
    log.info("resuming %s: %d of %d chunks are there", plan.folder, len(whole), count)
    return whole


def _start(plan: _Plan) -> None:
    """Remove an old store and begin a new one."""
    old = plan.images.stat().st_size if plan.images.exists() else 0
    atomic_io.check_free_space(plan.folder, plan.length - old)
    for path in (plan.folder / MANIFEST, plan.journal):
        path.unlink(missing_ok=True)
    atomic_io.sync(plan.folder)  # from here on there is no complete store
    plan.images.unlink(missing_ok=True)  # processes that have the old array open keep it
    np.lib.format.open_memmap(plan.images, "w+", plan.spec.dtype, plan.shape)


def _map(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise _damaged(path, "is missing") from None
    except (ValueError, EOFError, SyntaxError, TokenError):  # all of them from a damaged header
        raise _damaged(path, "is damaged") from None
    if array.shape != shape or array.dtype != dtype:
        raise _damaged(path, f"holds {array.dtype} of shape {array.shape}")
    return array


def _checksums(path: Path, images: NDArray[Any], chunk: int) -> Iterator[int]:
    """Yield the CRC-32 of each chunk of images, read from their file."""
    with path.open("rb") as file:
        file.seek(-images.nbytes, os.SEEK_END)
        while content := file.read(chunk * images[0].nbytes):
            yield zlib.crc32(content)


def _damaged(path: Path, how: str) -> StoreError:
    return StoreError(
        f"{path} {how}",
        expected="undamaged images of these settings",
        instead="run the command that writes them, or build_store; it resumes or rebuilds",
    )
