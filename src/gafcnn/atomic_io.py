"""Writing files so that a reader sees the old one or the new one, never half of either.

And so that of two processes that would write the same ones, the second waits for the first; that
what a disk refuses is told in a sentence; and that what was written can be told from what is there.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gafcnn.errors import DiskError

SEAL = "seal"

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_SUCH_THING = (errno.EINVAL, errno.ENOTSUP)
_BROKEN = (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO)
_BLOCK = 2**24  # bytes that are read at a time

log = logging.getLogger(__name__)


def write_bytes(path: Path, content: bytes | bytearray | memoryview) -> None:
    """Write a file, whole or not at all: beside its place, synced, then renamed.

    Raises:
        DiskError: There is no room for it, or it may not be written; what stood there is untouched.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with disk_errors(path, len(content)):
        make_folder(path.parent)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        sync(path.parent)


def write_text(path: Path, content: str) -> None:
    """Write text as UTF-8, see `write_bytes`."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON (a NaN is refused), indented, see `write_bytes`."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, each on disk before the next."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some network file systems know no such thing of folders, and keep their entries themselves
        if error.errno not in _NO_SUCH_THING or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(path: Path, needed: int) -> Iterator[None]:
    """Tell in a sentence what a disk refuses while a file of `needed` bytes is written.

    Raises:
        DiskError: There is no room for it, or it may not be written.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(path, needed, error) from error


def disk_error(path: Path, needed: int, error: OSError) -> DiskError:
    """What to say where a file of `needed` bytes could not be written."""
    if error.errno in _BROKEN:
        return DiskError(
            f"{path} cannot be written ({error.strerror})",
            expected="a disk that answers",
            instead="look after it, or set paths.data and paths.outputs to another",
        )
    if not is_full(error):
        return DiskError(
            f"{path} cannot be written ({error.strerror})",
            expected="a place that this user may write to",
            instead="allow it, or set paths.data and paths.outputs to such a place",
        )
    free = shutil.disk_usage(nearest_existing(path)).free
    return DiskError(
        f"{path} needs {needed:,} bytes and its disk has {free:,} free ({error.strerror})",
        expected="room for it",
        instead="free some, or set paths.data and paths.outputs to another disk; the same command "
        "then goes on",
    )


def check_free_space(path: Path, needed: int) -> None:
    """Refuse as a full disk would, before any work, where it has not so many bytes free."""
    if shutil.disk_usage(nearest_existing(path)).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_full(error: OSError) -> bool:
    """Whether it is a disk, or a user's share of it, that has no room."""
    return error.errno in _NO_ROOM


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


# --- one writer at a time -------------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` alone.

    Args:
        path: The lock file, in a folder that exists; it stays when the lock is let go.

    Raises:
        Timeout: Another process holds it; `holder` tells which.
        DiskError: The lock file cannot be made.
    """
    lock = FileLock(path)
    _acquire(lock, path, 0)
    with _held(lock, path):
        yield


@contextmanager
def wait_for_lock(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file `path`; where another process holds it, say so and wait for its end.

    Args:
        path: The lock file, see `alone`.
        doing: What the process that holds it does: the warning is "waiting for process 7 on host,
            which is {doing}".

    Raises:
        DiskError: The lock file cannot be made.
    """
    lock = FileLock(path)
    try:
        _acquire(lock, path, 0)
    except Timeout:
        log.warning("waiting for %s, which is %s", lock_holder(path), doing)
        _acquire(lock, path, -1)
    with _held(lock, path):
        yield


def lock_holder(path: Path) -> str:
    """Who holds the lock file `path`: `process 7 on host`."""
    with suppress(OSError):
        return _note(path).read_text(encoding="utf-8") or "another process"
    return "another process"


def remove_partial_files(folder: Path) -> None:
    """Remove what a writer that was killed had begun to write in a folder that is held alone."""
    for left in folder.glob(".*.partial"):
        left.unlink(missing_ok=True)


def _acquire(lock: FileLock, path: Path, seconds: float) -> None:
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise
    except OSError as error:
        raise disk_error(path, 0, error) from error


@contextmanager
def _held(lock: FileLock, path: Path) -> Iterator[None]:
    try:
        with suppress(OSError):  # a full disk says no name, and keeps the lock
            _note(path).write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # as above
            _note(path).unlink(missing_ok=True)
        lock.release()


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


# --- what was written -----------------------------------------------------------------------------


def checksum(path: Path) -> int:
    """The CRC-32 of a file's bytes."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc


def canonical_json(content: Any) -> bytes:
    """JSON of which the same content has the same bytes, to be hashed."""
    return json.dumps(content, sort_keys=True).encode()


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with a checksum of itself."""
    return {**content, SEAL: zlib.crc32(canonical_json(dict(content)))}


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The object that a JSON file holds, less its seal; None where it is not as it was written."""
    content = read_object(path)
    seal = content.pop(SEAL, None)
    return content if seal == zlib.crc32(canonical_json(content)) else None


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds, an empty one where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
