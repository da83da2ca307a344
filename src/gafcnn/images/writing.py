"""Writing a store, see `gafcnn.images.store`, chunk by chunk, or going on with one."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pandas as pd
from numpy.typing import NDArray

from gafcnn.errors import StoreError
from gafcnn.files import (
    disk,
    make_folder,
    nearest,
    read_object,
    remove_begun,
    sealed,
    sync,
    waiting_for,
    write_bytes,
    write_json,
)
from gafcnn.images.plans import Plan, image_plan, series_plan
from gafcnn.images.spec import DEFAULT, ImageSpec
from gafcnn.images.store import (
    METADATA,
    TIME,
    TIMES,
    ImageStore,
    S,
    SeriesStore,
    npy_header,
    opened,
    whole_chunks,
)
from gafcnn.progress import counting
from gafcnn.samples import Window

PROGRESS, LOCK = "progress.json", ".lock"

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_RESERVING = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # some network file systems

T = TypeVar("T")

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
    return _build(image_plan(Path(folder), bars, window, images, chunk), progress=progress)


def check_room(
    stores: Mapping[Path, pd.DataFrame], window: Window, images: ImageSpec = DEFAULT
) -> None:
    """Assert that a disk has room for several stores before the first of them is written.

    Args:
        stores: The bars of each store, by its folder, all on one disk. What is there of a store,
            whole or begun, needs no room any more.
        window: The stretch that an image shows.
        images: What of it an image shows, and how.

    Raises:
        ConfigError, SamplesError: As `build_store`.
        StoreError: It has not.
    """
    # one after another: a plan holds what its window reads of all bars
    plans = (image_plan(folder, bars, window, images, 1) for folder, bars in stores.items())
    needed = sum(plan.length for plan in plans if not _has_its_room(plan))
    place = nearest(next(iter(stores)))
    if needed > (free := shutil.disk_usage(place).free):
        raise StoreError(
            f"the images of {len(stores)} symbols need {needed:,} bytes more and the disk of "
            f"{place} has {free:,} free",
            expected=f"room for all {ImageStore.of}",
            instead=f"{ImageStore.smaller}, or images=on_the_fly",
        )


def _has_its_room(plan: Plan[Any]) -> bool:
    """Whether the very store is there, or was begun, which is at its full length."""
    known = (read_object(plan.folder / name).get("fingerprint") for name in (METADATA, PROGRESS))
    return plan.fingerprint in known


def build_series(
    folder: str | Path,
    bars: pd.DataFrame,
    window: Window,
    fields: Iterable[str] = DEFAULT.fields,
    *,
    chunk: int = 2**16,
    progress: bool = True,
) -> SeriesStore:
    """Write the values of a window's fields at every bar, or open them where they stand.

    All that is said of `build_store` holds here.

    Args:
        folder: Where the store lies, or shall lie.
        bars: Bars indexed by close time.
        window: The stretch that an image shows, of which the step decides what a value is of.
        fields: What of it an image shows.
        chunk: At most how many bars share a checksum.
        progress: Whether to show a progress bar, if there is a terminal.

    Raises:
        ConfigError, SamplesError, StoreError: As `build_store`.
        ImagesError: A decision time's series is one that makes no image.
    """
    return _build(series_plan(Path(folder), bars, window, fields, chunk), progress=progress)


def _build(plan: Plan[S], *, progress: bool) -> S:
    with suppress(StoreError):
        return plan.finished()
    with _sole_writer(plan.folder):
        try:
            return plan.finished()  # by the process that was waited for
        except StoreError as why:
            if (plan.folder / METADATA).exists():
                log.warning("%s: writing it anew", why.found)
            _write(plan, progress=progress)
    return opened(plan.kind, plan.folder, verify=False)


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    with disk(folder, 0):
        make_folder(folder)
    with waiting_for(folder / LOCK, f"writing {folder}"):
        remove_begun(folder)
        yield


def _write(plan: Plan[Any], *, progress: bool) -> None:
    partial = plan.partial
    checksums = _recorded(plan)
    if not checksums:
        _reserve(plan)
    written = min(len(checksums) * plan.chunk, len(plan.times))
    name = f"{plan.kind.of} {plan.spec['window']['name']}"
    bar = counting(name, len(plan.times), plan.kind.entries, written, shown=progress)
    with _room(plan), partial.open("r+b") as file, bar as advance:
        file.write(plan.header)
        file.seek(len(plan.header) + written * plan.entry_bytes)
        for entries, checksum in _ahead(_given(file, _ahead(plan.chunks(len(checksums))))):
            os.fsync(file.fileno())
            checksums.append(checksum)
            _record(plan, checksums)
            advance(entries)
    _finish(plan, checksums)


def _given(file: BinaryIO, chunks: Iterable[NDArray[Any]]) -> Iterator[tuple[int, int]]:
    """How many entries a chunk has and its checksum, once the system has it, not yet the disk."""
    for entries in chunks:
        file.write(entries.data)
        file.flush()
        yield len(entries), zlib.crc32(entries.data)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The items; while one is used, the next comes to be in a thread of its own."""
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = beside.submit(next, items, None)
            yield item


def _record(plan: Plan[Any], checksums: list[int]) -> None:
    journal = {
        "fingerprint": plan.fingerprint,
        "chunk": plan.chunk,
        "checksums": checksums,
    }
    write_json(plan.folder / PROGRESS, journal)


def _recorded(plan: Plan[Any]) -> list[int]:
    """Checksums of the chunks that a killed writer left whole; what is of no use is removed."""
    partial, journal = plan.partial, read_object(plan.folder / PROGRESS)
    if (journal.get("fingerprint"), journal.get("chunk")) == (plan.fingerprint, plan.chunk):
        if not (partial.exists() or (plan.folder / METADATA).exists()):
            with suppress(FileNotFoundError):  # killed when only times and metadata were missing
                (plan.folder / plan.kind.file()).rename(partial)
        if partial.is_file() and partial.stat().st_size == plan.length:
            checksums = journal["checksums"]
            size = plan.chunk * plan.entry_bytes
            whole = checksums[: whole_chunks(partial, len(plan.header), size, checksums)]
            if whole:
                log.info("going on with %s after %s chunks", plan.folder, len(whole))
                return whole
    (plan.folder / PROGRESS).unlink(missing_ok=True)
    partial.unlink(missing_ok=True)
    return []


def _reserve(plan: Plan[Any]) -> None:
    """Give a new file its whole length, so that a full disk is told before the work."""
    path, length = plan.partial, plan.length
    with _room(plan):
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
def _room(plan: Plan[Any]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        free = shutil.disk_usage(plan.folder).free
        raise StoreError(
            f"{plan.partial} needs {plan.length:,} bytes and its disk has {free:,} free "
            f"({error.strerror})",
            expected=f"room for all {plan.kind.of}",
            instead=plan.kind.smaller,
        ) from error


def _finish(plan: Plan[Any], checksums: list[int]) -> None:
    folder = plan.folder
    (folder / METADATA).unlink(missing_ok=True)  # here ends the store that is replaced
    sync(folder)
    plan.partial.replace(folder / plan.kind.file())
    write_bytes(folder / TIMES, npy_header(plan.times.shape, TIME) + plan.times.tobytes())
    write_json(folder / METADATA, sealed(plan.metadata(checksums)))
    (folder / PROGRESS).unlink()
