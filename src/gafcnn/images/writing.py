"""Writing an image store, see `gafcnn.images.store`, chunk by chunk, or going on with one."""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
import platform
import shutil
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.errors import StoreError
from gafcnn.files import replacing, sync, waiting_for, write_json
from gafcnn.images.spec import DEFAULT, ImageSpec
from gafcnn.images.store import (
    IMAGES,
    METADATA,
    TIME,
    TIMES,
    ImageStore,
    canonical,
    check_store,
    npy_header,
    open_store,
    read_object,
    whole_chunks,
)
from gafcnn.market import fingerprint, interval_of
from gafcnn.progress import counting
from gafcnn.samples import Window, WindowReader, decision_rows

PARTIAL, PROGRESS, LOCK = "images.npy.partial", "progress.json", ".lock"

_CHUNK_BYTES = 8 * 2**20  # of the images, what the writing process holds at a time
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_RESERVING = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # some network file systems

log = logging.getLogger(__name__)


def build_store(
    folder: str | Path,
    bars: pd.DataFrame,
    window: Window,
    images: ImageSpec = DEFAULT,
    *,
    chunk: int = 4096,
    progress: bool = True,
) -> ImageStore:
    """Write a window's images at all decision times of the bars, or open them where they stand.

    A store of the same bars and options is verified and left as it is. One of others, or a damaged
    one, stays until the new one is whole. A writer that was killed is gone on with at the first
    chunk it had not recorded; one that is alive is waited for.

    Args:
        folder: Where the store lies, or shall lie.
        bars: Bars indexed by close time.
        window: The stretch that an image shows.
        images: What of it an image shows, and how.
        chunk: At most how many images are held in memory at a time.
        progress: Whether to show a progress bar, if there is a terminal.

    Raises:
        ConfigError, SamplesError: The bars cannot fill the window, or have not what a field is of.
        StoreError: The folder cannot be written, or its disk has no room for all images.
    """
    plan = _Plan(Path(folder), bars, window, images, chunk)
    with suppress(StoreError):
        return plan.finished()
    with _sole_writer(plan.folder):
        try:
            return plan.finished()  # by the process that was waited for
        except StoreError as why:
            if (plan.folder / METADATA).exists():
                log.warning("%s: writing it anew", why.found)
            _write(plan, progress=progress)
    return open_store(plan.folder, verify=False)


class _Plan:
    """What a store shall hold, chunk by chunk."""

    def __init__(
        self,
        folder: Path,
        bars: pd.DataFrame,
        window: Window,
        images: ImageSpec,
        chunk: int,
    ) -> None:
        self.folder, self.images = folder, images
        self._read = WindowReader(bars, window, images.fields)
        self._rows = decision_rows(bars, window.lookback)
        self.times = bars.index.to_numpy(TIME)[self._rows]
        self.shape = (len(self._rows), len(images.channels), images.size, images.size)
        self.image_bytes = math.prod(self.shape[1:]) * np.dtype(images.dtype).itemsize
        self.header = npy_header(self.shape, images.dtype)
        self.length = len(self.header) + len(self._rows) * self.image_bytes
        self.chunk = max(1, min(chunk, _CHUNK_BYTES // self.image_bytes))
        self.spec = {"window": _window_spec(window, interval_of(bars)), **images.options}
        self.bars = fingerprint(bars)
        self.fingerprint = hashlib.sha256(canonical([self.bars, self.spec])).hexdigest()

    def chunks(self, start: int) -> Iterator[NDArray[np.integer | np.floating]]:
        """Images from chunk `start` on: ndarrays of shape (at most chunk, channels, size, size)."""
        for first in range(start * self.chunk, len(self._rows), self.chunk):
            yield self.images.encode(self._read(self._rows[first : first + self.chunk]))

    def finished(self) -> ImageStore:
        """The store, where it is there and whole.

        Raises:
            StoreError: Why it has to be written.
        """
        store = open_store(self.folder, verify=False)
        if store.metadata["fingerprint"] != self.fingerprint:
            held = store.metadata["spec"]
            others = [key for key, value in self.spec.items() if held.get(key) != value]
            raise StoreError(
                f"{self.folder} holds images of other {' and '.join(others) or 'bars'}",
                expected="those asked for",
                instead="build it anew",
            )
        check_store(store)
        return store

    def metadata(self, checksums: list[int]) -> dict[str, Any]:
        """What metadata.json says of the store, sealed by a checksum of itself."""
        content = {
            "spec": self.spec,
            "bars": self.bars,
            "fingerprint": self.fingerprint,
            "shape": list(self.shape),
            "dtype": self.images.dtype,
            "scale": self.images.scale,
            "chunk": self.chunk,
            "checksums": checksums,
            "times_checksum": zlib.crc32(self.times.tobytes()),
            "version": version("gafcnn"),
        }
        return content | {"seal": zlib.crc32(canonical(content))}


def _window_spec(window: Window, interval: pd.Timedelta) -> dict[str, str]:
    return {
        "name": window.name,
        "span": window.span.isoformat(),
        "step": (interval if window.step is None else window.step).isoformat(),
        "lookback": window.lookback.isoformat(),
    }


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    writer = read_object(folder / PROGRESS).get("writer", "another process")
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(waiting_for(folder / LOCK, f"{writer}, which is writing {folder}"))
        except OSError as error:
            raise StoreError(
                f"{folder} cannot be written ({error.strerror})",
                expected="a folder, or a place where one can be made",
                instead="set paths.data to such a place",
            ) from error
        yield


def _write(plan: _Plan, *, progress: bool) -> None:
    partial = plan.folder / PARTIAL
    checksums = _recorded(plan)
    if not checksums:
        _reserve(partial, plan.length)
    written = min(len(checksums) * plan.chunk, len(plan.times))
    name = f"images {plan.spec['window']['name']}"
    bar = counting(name, len(plan.times), "images", written, shown=progress)
    with _room(partial, plan.length), partial.open("r+b") as file, bar as advance:
        file.write(plan.header)
        file.seek(len(plan.header) + written * plan.image_bytes)
        for images in plan.chunks(len(checksums)):
            file.write(images.data)
            file.flush()
            os.fsync(file.fileno())
            checksums.append(zlib.crc32(images.data))
            _record(plan, checksums)
            advance(len(images))
    _finish(plan, checksums)


def _record(plan: _Plan, checksums: list[int]) -> None:
    journal = {
        "writer": f"process {os.getpid()} on {platform.node()}",
        "fingerprint": plan.fingerprint,
        "chunk": plan.chunk,
        "checksums": checksums,
    }
    write_json(plan.folder / PROGRESS, journal)


def _recorded(plan: _Plan) -> list[int]:
    """Checksums of the chunks that a killed writer left whole; what is of no use is removed."""
    partial, journal = plan.folder / PARTIAL, read_object(plan.folder / PROGRESS)
    if (journal.get("fingerprint"), journal.get("chunk")) == (plan.fingerprint, plan.chunk):
        if not (partial.exists() or (plan.folder / METADATA).exists()):
            with suppress(FileNotFoundError):  # killed when only times and metadata were missing
                (plan.folder / IMAGES).rename(partial)
        if partial.is_file() and partial.stat().st_size == plan.length:
            checksums = journal["checksums"]
            size = plan.chunk * plan.image_bytes
            whole = checksums[: whole_chunks(partial, len(plan.header), size, checksums)]
            if whole:
                log.info("going on with %s after %s chunks", plan.folder, len(whole))
                return whole
    (plan.folder / PROGRESS).unlink(missing_ok=True)
    partial.unlink(missing_ok=True)
    return []


def _reserve(path: Path, length: int) -> None:
    """Give a new file its whole length, so that a full disk is told before the work."""
    with _room(path, length):
        if length > shutil.disk_usage(path.parent).free:  # or others would meet a full disk, too
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            with path.open("wb") as file:
                _extend(file, length)
        except OSError:
            path.unlink()
            raise


def _extend(file: BinaryIO, length: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, length)
        except OSError as error:
            if error.errno not in _NO_RESERVING:
                raise
    file.truncate(length)


@contextmanager
def _room(path: Path, length: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        free = shutil.disk_usage(path.parent).free
        raise StoreError(
            f"{path} needs {length:,} bytes and its disk has {free:,} free ({error.strerror})",
            expected="room for all images",
            instead="free some, set paths.data to another disk, or take a smaller images.size",
        ) from error


def _finish(plan: _Plan, checksums: list[int]) -> None:
    folder = plan.folder
    (folder / METADATA).unlink(missing_ok=True)  # here ends the store that is replaced
    sync(folder)
    (folder / PARTIAL).replace(folder / IMAGES)
    with replacing(folder / TIMES) as beside, beside.open("wb") as file:
        file.write(npy_header(plan.times.shape, TIME))
        file.write(plan.times.tobytes())
    write_json(folder / METADATA, plan.metadata(checksums))
    (folder / PROGRESS).unlink()
    for left in folder.glob(".*.partial"):  # by a writer that was killed
        left.unlink()
