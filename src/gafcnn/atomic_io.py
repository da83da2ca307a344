"""Write files whole or not at all, and one process at a time; detect damage; report disk errors."""

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

_SEAL = "seal"  # the key of a JSON object's own checksum
_HOLDER = ".holder"  # the end of the name of the file that says who holds a lock

log = logging.getLogger(__name__)


def write_bytes(path: Path, content: bytes | bytearray | memoryview) -> None:
    """Write a file atomically: to a temporary file next to it, synced, then renamed.

    A file that has this content already is left alone, so that its folder may be read-only.

    Raises:
        DiskError: The disk is full, or the path cannot be written; an existing file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with disk_errors(path, len(content)):
        if path.is_file() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON without NaN, see `write_bytes`."""
    write_bytes(path, json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")


def sync(path: Path) -> None:
    """Wait until the bytes of a file, or the entries of a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some network file systems cannot sync folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(path: Path, needed: int) -> Iterator[None]:
    """Turn an `OSError` into a `DiskError` while a file of `needed` bytes is read or written.

    Raises:
        DiskError: The disk is full, or a file or folder is not accessible.
    """
    try:
        yield
    except OSError as error:
        named = Path(error.filename or path)
        # a temporary file of `write_bytes` stands for the file itself
        raise disk_error(path if named.match(".*.partial") else named, needed, error) from error


def disk_error(path: Path, needed: int, error: OSError) -> DiskError:
    """Return the error to raise if a file of `needed` bytes cannot be read or written."""
    found = f"{path} is not accessible ({error.strerror})"
    expected, first = "a place that this user can read and write", "check its permissions"
    if is_full(error):
        free = f"its disk has {_free_bytes(path):,} free"
        found = f"{path} needs {needed:,} bytes, and {free} ({error.strerror})"
        expected, first = "enough free space", "free some"
    other = "choose another folder (paths.data, paths.outputs)"
    instead = f"{first}, or {other}; then run the same command again"
    return DiskError(found, expected=expected, instead=instead)


def check_free_space(path: Path, needed: int) -> None:
    """Raise the `OSError` of a full disk if it has fewer than `needed` bytes free."""
    if _free_bytes(path) < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's quota, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _free_bytes(path: Path) -> int:
    """Return how much is free on the disk of a path, which need not exist."""
    places = (path.absolute(), *path.absolute().parents)
    return shutil.disk_usage(next(place for place in places if place.exists())).free


@contextmanager
def locked(path: Path, action: str | None = None) -> Iterator[None]:
    """Hold a lock file, whose folder need not exist; the file stays after its release.

    `action` is what another process that holds it is doing, for a warning before waiting for it:
    "writing data/gaf/BNB_30m"; None does not wait.

    Raises:
        Timeout: Another process holds it, see `lock_holder`; only without `action`.
        DiskError: The lock file cannot be created.
    """
    lock, note = FileLock(path), path.with_name(path.name + _HOLDER)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:  # an OSError
        if action is None:
            raise
        log.warning("waiting for %s, which is %s", lock_holder(path), action)
        lock.acquire()
    except OSError as error:
        raise disk_error(Path(error.filename or path), 0, error) from error
    try:
        with suppress(OSError):  # on a full disk the lock works without a name
            note.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def lock_holder(path: Path) -> str:
    """Return who holds a lock file: "process 7 on host"."""
    with suppress(OSError):
        return path.with_name(path.name + _HOLDER).read_text(encoding="utf-8") or "another process"
    return "another process"


def remove_partial_files(folder: Path) -> None:
    """Remove temporary files that a killed `write_bytes` left; hold the folder's lock."""
    for left in folder.rglob(".*.partial"):
        left.unlink(missing_ok=True)


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    return zlib.crc32(path.read_bytes())


def canonical_json(content: Any) -> bytes:
    """Return JSON with sorted keys, for hashing."""
    return json.dumps(content, sort_keys=True).encode()


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content with a checksum of itself."""
    return {**content, _SEAL: zlib.crc32(canonical_json(dict(content)))}


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return the object that `seal` was written from; None if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    seal = content.pop(_SEAL, None) if isinstance(content, dict) else None
    return content if seal == zlib.crc32(canonical_json(content)) else None
