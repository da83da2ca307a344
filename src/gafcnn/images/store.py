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

import errno
import hashlib
import json
import logging
import math
import os
import platform
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from gafcnn.errors import StoreError
from gafcnn.files import replacing, sync, write_json
from gafcnn.images.gaf import KINDS, UNITS, check_image, encode
from gafcnn.market import fingerprint, interval_of
from gafcnn.samples import Window, WindowReader, decision_rows

IMAGES, TIMES, METADATA = "images.npy", "times.npy", "metadata.json"
PARTIAL, PROGRESS, LOCK = "images.npy.partial", "progress.json", ".lock"

_TIME = "datetime64[ns]"
_CHUNK_BYTES = 8 * 2**20  # of the images, what the writing process holds at a time
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_RESERVING = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # some network file systems
log = logging.getLogger(__name__)


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
    times = _mapped(folder / TIMES, shape[:1], _TIME)
    store = ImageStore(folder, images, np.array(times), metadata)
    if verify:
        _verify(store)
    return store


def build_store(
    folder: str | Path,
    bars: pd.DataFrame,
    window: Window,
    *,
    size: int = 64,
    dtype: str = "int8",
    fields: Iterable[str] = ("close",),
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
        window: What an image shows.
        size: Pixels a side.
        dtype: "int8", "float16" or "float32", see `gafcnn.images.encode`.
        fields: The fields of the bars, two channels each.
        chunk: At most how many images are held in memory at a time.
        progress: Whether to show a progress bar, if there is a terminal.

    Raises:
        ImagesError: Size or dtype make no image.
        ConfigError, SamplesError: The bars cannot fill the window, or a field is unknown.
        StoreError: The folder cannot be written, or its disk has no room for all images.
    """
    check_image(size, dtype)
    plan = _Plan(Path(folder), bars, window, int(size), dtype, tuple(fields), chunk)
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
        size: int,
        dtype: str,
        fields: tuple[str, ...],
        chunk: int,
    ) -> None:
        self.folder = folder
        self._read = WindowReader(bars, window, fields)
        self._rows = decision_rows(bars, window.lookback)
        self.times = bars.index.to_numpy(_TIME)[self._rows]
        self.shape = (len(self._rows), len(KINDS) * len(fields), size, size)
        self.image_bytes = self.shape[1] * size * size * np.dtype(dtype).itemsize
        self.header = _npy_header(self.shape, dtype)
        self.length = len(self.header) + len(self._rows) * self.image_bytes
        self.chunk = max(1, min(chunk, _CHUNK_BYTES // self.image_bytes))
        self.spec = {
            "window": _window_spec(window, interval_of(bars)),
            "size": size,
            "dtype": dtype,
            "fields": list(fields),
            "kinds": list(KINDS),
        }
        self.bars = fingerprint(bars)
        self.fingerprint = hashlib.sha256(_canonical([self.bars, self.spec])).hexdigest()

    def chunks(self, start: int) -> Iterator[NDArray[np.integer | np.floating]]:
        """Images from chunk `start` on: ndarrays of shape (at most chunk, channels, size, size)."""
        for first in range(start * self.chunk, len(self._rows), self.chunk):
            series = self._read(self._rows[first : first + self.chunk])
            yield encode(series, self.spec["size"], self.spec["dtype"])

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
        _verify(store)
        return store

    def metadata(self, checksums: list[int]) -> dict[str, Any]:
        """What metadata.json says of the store, sealed by a checksum of itself."""
        content = {
            "spec": self.spec,
            "bars": self.bars,
            "fingerprint": self.fingerprint,
            "shape": list(self.shape),
            "dtype": self.spec["dtype"],
            "scale": 1 / UNITS[self.spec["dtype"]],
            "chunk": self.chunk,
            "checksums": checksums,
            "times_checksum": zlib.crc32(self.times.tobytes()),
            "version": version("gafcnn"),
        }
        return content | {"seal": zlib.crc32(_canonical(content))}


def _window_spec(window: Window, interval: pd.Timedelta) -> dict[str, str]:
    return {
        "name": window.name,
        "span": window.span.isoformat(),
        "step": (interval if window.step is None else window.step).isoformat(),
        "lookback": window.lookback.isoformat(),
    }


def _npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The opening of an .npy file, version 1.0 of its format, the same in any release of NumPy."""
    described = f"{{'descr': {np.dtype(dtype).str!r}, 'fortran_order': False, 'shape': {shape}, }}"
    length = -(-(10 + len(described) + 1) // 64) * 64  # the data are aligned to 64 bytes
    text = described.ljust(length - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii")


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


# --- writing --------------------------------------------------------------------------------------


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            writer = _read_object(folder / PROGRESS).get("writer", "another process")
            log.warning("waiting for %s, which is writing %s", writer, folder)
            lock.acquire()
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror})",
            expected="a folder, or a place where one can be made",
            instead="set paths.data to such a place",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _write(plan: _Plan, *, progress: bool) -> None:
    partial = plan.folder / PARTIAL
    checksums = _recorded(plan)
    if not checksums:
        _reserve(partial, plan.length)
    written = min(len(checksums) * plan.chunk, len(plan.times))
    bar = _bar(f"images {plan.spec['window']['name']}", len(plan.times), written, shown=progress)
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
    partial, journal = plan.folder / PARTIAL, _read_object(plan.folder / PROGRESS)
    if (journal.get("fingerprint"), journal.get("chunk")) == (plan.fingerprint, plan.chunk):
        if not (partial.exists() or (plan.folder / METADATA).exists()):
            with suppress(FileNotFoundError):  # killed when only times and metadata were missing
                (plan.folder / IMAGES).rename(partial)
        if partial.is_file() and partial.stat().st_size == plan.length:
            checksums = journal["checksums"]
            size = plan.chunk * plan.image_bytes
            whole = checksums[: _whole_chunks(partial, len(plan.header), size, checksums)]
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
        file.write(_npy_header(plan.times.shape, _TIME))
        file.write(plan.times.tobytes())
    write_json(folder / METADATA, plan.metadata(checksums))
    (folder / PROGRESS).unlink()
    for left in folder.glob(".*.partial"):  # by a writer that was killed
        left.unlink()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f} images/s")


@contextmanager
def _bar(name: str, total: int, done: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(name, total=total, completed=done)
        yield lambda images: bar.advance(task, images)


# --- reading --------------------------------------------------------------------------------------


def _read_object(path: Path) -> dict[str, Any]:
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
    metadata = _read_object(path)
    seal = metadata.pop("seal", None)
    if seal != zlib.crc32(_canonical(metadata)):
        raise _damaged(path, "is damaged")
    return metadata


def _mapped(path: Path, shape: tuple[int, ...], dtype: str) -> np.memmap[Any, Any]:
    if not path.is_file():
        raise _damaged(path, "is missing")
    header = _npy_header(shape, dtype)
    length = len(header) + math.prod(shape) * np.dtype(dtype).itemsize
    with path.open("rb") as file:
        opening = file.read(len(header))
    if opening != header or path.stat().st_size != length:
        raise _damaged(path, f"is not the array of {dtype} and shape {shape} it was")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _verify(store: ImageStore) -> None:
    if zlib.crc32(store.times.tobytes()) != store.metadata["times_checksum"]:
        raise _damaged(store.folder / TIMES, "is damaged")
    path, checksums = store.folder / IMAGES, store.metadata["checksums"]
    size = store.metadata["chunk"] * store.images[0].nbytes
    whole = _whole_chunks(path, path.stat().st_size - store.images.nbytes, size, checksums)
    if whole < len(checksums):
        raise _damaged(path, f"is damaged in chunk {whole + 1} of {len(checksums)}")


def _whole_chunks(path: Path, offset: int, size: int, checksums: list[int]) -> int:
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
