"""Filling the file of a store's array with the chunks of a plan, and the room that it needs."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from gafcnn.atomic_io import check_free_space, disk_error, is_full, sync
from gafcnn.errors import DiskError
from gafcnn.images.store import Store
from gafcnn.images.store_spec import Plan
from gafcnn.progress import counting

_NO_RESERVING = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # some network file systems

T = TypeVar("T")


def filled(
    file: BinaryIO, plan: Plan[Any], numbers: Sequence[int], *, progress: bool
) -> Iterator[tuple[int, int]]:
    """Put these chunks in their places; each is yielded, with its checksum, once it is on disk.

    Args:
        file: The array's file, open for writing.
        plan: What it shall hold.
        numbers: Which chunks, counted from 0.
        progress: Whether to show a progress bar, if there is a terminal.
    """
    with _bar(plan, numbers, shown=progress) as advance:
        for number, checksum in _ahead(_given(file, plan, numbers)):
            os.fsync(file.fileno())
            yield number, checksum
            advance(_entries(plan, number))


def frame(file: BinaryIO, plan: Plan[Any]) -> None:
    """Give an array's file its header and its length; they are on disk on return.

    Last: what has not these is refused even by who compares no checksums.
    """
    file.truncate(plan.length)
    file.seek(0)
    file.write(plan.header)
    file.flush()
    os.fsync(file.fileno())


def _given(file: BinaryIO, plan: Plan[Any], numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """A chunk's number and checksum, once the system has it, not yet the disk."""
    for number, entries in zip(numbers, _ahead(plan.chunks(numbers)), strict=True):
        file.seek(plan.place(number))
        file.write(entries.data)
        file.flush()
        yield number, zlib.crc32(entries.data)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The items; while one is used, the next comes to be in a thread of its own."""
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = beside.submit(next, items, None)
            yield item


def _bar(
    plan: Plan[Any], numbers: Sequence[int], *, shown: bool
) -> AbstractContextManager[Callable[[int], None]]:
    name = f"{plan.kind.of} {plan.spec['window']['name']}"
    done = len(plan.times) - sum(_entries(plan, number) for number in numbers)
    return counting(name, len(plan.times), plan.kind.entries, done, shown=shown)


def _entries(plan: Plan[Any], number: int) -> int:
    part = plan.part(number)
    return part.stop - part.start


# --- room -----------------------------------------------------------------------------------------


@contextmanager
def room(kind: type[Store], path: Path, needed: int) -> Iterator[None]:
    """Tell in a sentence what a disk refuses while a store's array, `needed` bytes, is written.

    Raises:
        DiskError: There is no room for it, or it may not be written.
    """
    try:
        yield
    except OSError as error:
        told = disk_error(path, needed, error)
        if not is_full(error):
            raise told from error
        raise DiskError(
            told.found, expected=f"room for all {kind.of}", instead=kind.smaller
        ) from error


def reserve(plan: Plan[Any]) -> None:
    """Give a new file its whole length, so that a full disk is told before the work."""
    path, length = plan.partial, plan.length
    check_free_space(path.parent, length)  # or others would meet a full disk, too
    try:
        with path.open("wb") as file:
            _extend(file, length)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    sync(path.parent)  # or a record of its chunks could be on disk, and the file not


def _extend(file: BinaryIO, length: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, length)
        except OSError as error:
            if error.errno not in _NO_RESERVING:
                raise
    file.truncate(length)
