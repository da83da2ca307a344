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
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn import atomic_io
from gafcnn.atomic_io import disk_errors, read_sealed, seal, write_json
from gafcnn.data.bars import COLUMNS, ensure_bars, fingerprint, interval_of
from gafcnn.data.features import FIELDS, split_asset
from gafcnn.data.windows import Window, WindowReader, as_window, close_times, decision_rows
from gafcnn.errors import StoreError
from gafcnn.images.kinds import IMAGE_KINDS
from gafcnn.images.spec import ImageSpec
from gafcnn.progress import counting
from gafcnn.settings import as_plain

IMAGES, TIMES, MANIFEST = "images.npy", "times.npy", "manifest.json"
_JOURNAL, _LOCK = "manifest.partial.json", ".lock"
_CHUNK_BYTES = 2**25  # that are encoded and written at a time

log = logging.getLogger(__name__)


def open_store(folder: str | Path, content: Mapping[str, Any] | None = None) -> NDArray[Any]:
    """Open a complete store, after reading all of it once to compare the checksums.

    Its images have to depend on `content`, as in the manifest; None for anything.

    Returns:
        Memory-mapped images of shape (n, channels, size, size), read-only.

    Raises:
        StoreError: The store is incomplete, damaged or of other images.
        DiskError: It cannot be read.
    """
    folder = Path(folder)
    with disk_errors(folder, 0):
        if not (folder / MANIFEST).is_file():
            raise _damaged(folder, f"holds no complete store, without {MANIFEST}")
        manifest = read_sealed(folder / MANIFEST)
        if manifest is None:
            raise _damaged(folder / MANIFEST, "is damaged")
        held, shape = manifest["content"], tuple(manifest["shape"])
        if changed := [key for key, value in (content or {}).items() if held.get(key) != value]:
            raise _damaged(folder, f"holds images that differ in {' and '.join(changed)}")
        images = _map(folder / IMAGES, shape, manifest["dtype"])
        if _whole_chunks(folder, images, manifest) != manifest["checksums"]:
            raise _damaged(folder / IMAGES, "is damaged")
        times = _map(folder / TIMES, shape[:1], "datetime64[ns]")
        if zlib.crc32(times.tobytes()) != manifest["times_checksum"]:
            raise _damaged(folder / TIMES, "is damaged")
    return images


def store_folder(folder: str | Path, symbol: str, window: Window) -> Path:
    """Return the folder of the store of a symbol and a window, below a folder of data."""
    return Path(folder, "gaf", f"{symbol}_{window.name}" if symbol else str(window.name))


def build_store(
    folder: str | Path, bars: pd.DataFrame, window: Window | str, spec: ImageSpec
) -> NDArray[Any]:
    """Write the images of all decision times of a window, unless they are there already.

    Bars are those of `gafcnn.with_market` if images show other symbols. A complete store of the
    same bars, window and spec is verified and returned, as by `open_store`. A store of others, or a
    damaged one, is replaced. A killed writer is resumed; one that is running is waited for.

    Raises:
        ConfigError, SamplesError: The bars cannot fill the window, or lack the columns of a field.
        ImagesError: A value cannot be encoded.
        DiskError: The folder cannot be written, or its disk is full.
    """
    folder, bars, window = Path(folder), ensure_bars(bars), as_window(window)
    assert window.lookback is not None
    reader = WindowReader(bars, window, spec.read_fields)
    spec.check_points(len(reader.offsets))
    rows = decision_rows(bars, window.lookback, overnight=window.overnight)
    times = close_times(bars)[rows]
    shape = (len(rows), len(spec.channels), spec.size, spec.size)
    image_bytes = math.prod(shape[1:]) * np.dtype(spec.dtype).itemsize
    manifest: dict[str, Any] = {
        "content": _describe(bars, window, spec),
        "shape": list(shape),
        "dtype": spec.dtype,
        "chunk": min(len(rows), max(1, _CHUNK_BYTES // image_bytes)),
        "checksums": [],
        "times_checksum": zlib.crc32(times.tobytes()),
    }
    with suppress(StoreError):
        return open_store(folder, manifest["content"])
    lock = atomic_io.locked(folder / _LOCK, f"writing {folder}")
    with disk_errors(folder / IMAGES, len(rows) * image_bytes), lock:
        atomic_io.remove_partial_files(folder)
        try:
            return open_store(folder, manifest["content"])  # another process may have written it
        except StoreError as error:
            if (folder / MANIFEST).exists():
                log.warning("%s; it is rebuilt", error.found)
        _write(folder, manifest, lambda part: spec.encode(reader(rows[part])), str(window.name))
        file = io.BytesIO()
        np.save(file, times)
        atomic_io.write_bytes(folder / TIMES, file.getvalue())
        (folder / _JOURNAL).replace(folder / MANIFEST)
        atomic_io.sync(folder)
        return _map(folder / IMAGES, shape, spec.dtype)


def _describe(bars: pd.DataFrame, window: Window, spec: ImageSpec) -> dict[str, Any]:
    """Return what images depend on, as JSON holds it."""
    step = window.step_of(interval_of(bars))
    lengths = {"span": window.span, "step": step, "lookback": window.lookback}
    columns = (*COLUMNS, *(name for name in bars if name == "market" or split_asset(name)[0]))
    own: dict[str, Any] = FIELDS.own() | IMAGE_KINDS.own()
    return {
        "encoding": 2,  # since fixed scaling takes prices relative to the last
        "overnight": window.overnight,
        "bars": fingerprint(bars, columns),
        "window": as_plain(lengths),
        **as_plain(spec),
        # an edited function of the user's draws other images under the same name
        "code": {
            name: _hash_code(own[name].compute)
            for name in (*(split_asset(field)[1] for field in spec.read_fields), *spec.kinds)
            if name in own
        },
    }


def _hash_code(function: Any) -> str:
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        source = function.__qualname__
    return hashlib.sha256(source.encode()).hexdigest()


def _write(
    folder: Path, manifest: dict[str, Any], encode: Callable[[slice], NDArray[Any]], name: str
) -> None:
    """Write the images of a store, or resume writing them; the lock must be held."""
    path, journal = folder / IMAGES, folder / _JOURNAL
    shape, dtype, chunk = tuple(manifest["shape"]), manifest["dtype"], manifest["chunk"]
    total, length = shape[0], math.prod(shape) * np.dtype(dtype).itemsize
    checksums: list[int] = manifest["checksums"]
    held = read_sealed(journal)
    if held is not None and {**held, "checksums": []} == manifest:  # of a writer that was killed
        with suppress(StoreError):
            checksums += _whole_chunks(folder, _map(path, shape, dtype), held)
            count = -(-total // chunk)
            log.info("resuming %s: %d of %d chunks are there", folder, len(checksums), count)
    if not checksums:  # an old store is removed, and a new one begun
        old = path.stat().st_size if path.exists() else 0
        atomic_io.check_free_space(folder, length - old)
        (folder / MANIFEST).unlink(missing_ok=True)
        journal.unlink(missing_ok=True)
        atomic_io.sync(folder)  # from here on there is no complete store
        path.unlink(missing_ok=True)  # processes that have the old array open keep it
        np.lib.format.open_memmap(path, "w+", dtype, shape)
    done = min(len(checksums) * chunk, total)
    with path.open("r+b") as file, counting(f"images {name}", total, "images", done) as advance:
        file.seek((done - total) * (length // total), os.SEEK_END)
        for start in range(done, total, chunk):
            images = encode(slice(start, start + chunk))
            file.write(images.data)
            file.flush()
            os.fsync(file.fileno())
            checksums.append(zlib.crc32(images.data))
            write_json(journal, seal(manifest))
            advance(len(images))


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


def _whole_chunks(folder: Path, images: NDArray[Any], manifest: dict[str, Any]) -> list[int]:
    """Return the checksums of the first chunks, up to one that has changed since it was written."""
    whole: list[int] = []
    with (folder / IMAGES).open("rb") as file:
        file.seek(-images.nbytes, os.SEEK_END)
        for written in manifest["checksums"]:
            if zlib.crc32(file.read(manifest["chunk"] * images[0].nbytes)) != written:
                break
            whole.append(written)
    return whole


def _damaged(path: Path, how: str) -> StoreError:
    return StoreError(
        f"{path} {how}",
        expected="undamaged images of these settings",
        instead="run the command that writes them, or build_store; it resumes or rebuilds",
    )
