"""Writing files so that a reader sees the old one or the new one, never half of either.

And so that of two processes that would write the same ones, the second waits for the first.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to; it takes the name of `path` once it is whole and on disk.

    Raises what the body raises, after removing what it had written; `path` is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield beside
        sync(beside)
        beside.replace(path)
        sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON (a NaN is refused), indented, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def waiting_for(path: Path, holder: str) -> Iterator[None]:
    """Hold the lock file `path`; where another process holds it, say so and wait for its end.

    Args:
        path: The lock file, in a folder that exists; it stays when the lock is let go.
        holder: Who would be waited for, and what it does: the warning is "waiting for {holder}".

    Raises:
        OSError: The lock file cannot be made.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for %s", holder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
