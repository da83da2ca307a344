"""Small bars, stores of them, and what ends the processes that write them."""

from __future__ import annotations

import _io
import io
import itertools
import os
import posix
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.windows import Window
from gafcnn.errors import GafcnnError
from gafcnn.images.writing import build_store

WINDOW = Window("15m", "15min", None, "60min")


def random_walk(n: int, seed: int = 0) -> pd.DataFrame:
    """One-minute bars of a random walk, indexed by close time."""
    rng = np.random.default_rng(seed)
    close = 600 * np.exp(rng.normal(0, 1e-3, n).cumsum())
    start = pd.Timestamp("2024-01-01 00:01", tz="UTC")
    index = pd.date_range(start, periods=n, freq="1min", name="close_time").as_unit("ns")
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    bars = pd.DataFrame(prices | {"volume": rng.uniform(1, 9, n)}, index=index)
    bars.attrs["interval"] = pd.Timedelta("1min")
    return bars


@pytest.fixture(scope="session")
def walk() -> Callable[..., pd.DataFrame]:
    return random_walk


@pytest.fixture(scope="session")
def window() -> Window:
    return WINDOW


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return random_walk(400)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bars: pd.DataFrame) -> Path:
    """A store of the bars in chunks of 100; to be copied, not changed."""
    return build_store(tmp_path_factory.mktemp("whole"), bars, WINDOW, chunk=100).folder


@pytest.fixture
def store(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store"))


@pytest.fixture(scope="session")
def folder_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """What makes folders in memory, where there is one for files: to sync those takes no time."""
    shared, made = Path("/dev/shm"), itertools.count(1)
    if not os.access(shared, os.W_OK):
        shared = tmp_path_factory.mktemp("memory")
    with tempfile.TemporaryDirectory(dir=shared) as within:
        Path(within).chmod(0o755)  # another user may read what is there

        def make() -> Path:
            folder = Path(within, str(next(made)))
            folder.mkdir()
            return folder

        yield make


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.iterdir() if not path.name.startswith(".lock"))
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """What is in a store's folder, the lock and who holds it left out."""
    return _contents


@pytest.fixture(scope="session")
def pyts_image() -> ModuleType:
    """pyts's pictures; whoever makes one in a test asks for this first.

    pyts compiles all its kernels at import, for half a minute; here they are left as Python.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numba.config.DISABLE_JIT", True)
        import pyts.image
    pyts.preprocessing._discretizer.List = list  # numba's own cannot be had without compiling
    return pyts.image


# --- ends of a process ----------------------------------------------------------------------------

NOBODY = 65534
STEPS = {
    *("open", "write", "flush", "fsync", "close", "mkdir", "posix_fallocate", "truncate"),
    *("ftruncate", "rename", "replace", "unlink", "remove"),
}


def _forked(act: Callable[[], object]) -> int:
    """The number of a process that does this, as this one is now, and nothing after it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads; they only rest
        child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:  # an error, too, ends it here
            if status:
                traceback.print_exc()
            os._exit(status)
    return child


def ended_by_kill(child: int) -> bool:
    """Whether a process was killed; if not, it came to its end without an error."""
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), "see what it printed"
    return status == signal.SIGKILL


def before_each_step(act: Callable[[], None]) -> None:
    """From now on, call this before anything is asked of the system about files."""

    def profile(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in STEPS:
            of = getattr(called, "__self__", None)
            if of is posix or of is _io or isinstance(of, io.BufferedIOBase):
                act()

    threading.setprofile(profile)
    sys.setprofile(profile)


def _killed(
    write: Callable[[], object], moment: int, power: tuple[Path, int] | None = None
) -> bool:
    def act() -> None:
        disk = None if power is None else Disk(*power)
        steps = itertools.count()

        def kill() -> None:
            step = next(steps)
            if step > moment:
                threading.Event().wait()  # another thread, while the power goes
            if step == moment:
                threading.setprofile(None)
                sys.setprofile(None)
                if disk:
                    disk.lose_power()
                os.kill(os.getpid(), signal.SIGKILL)

        before_each_step(kill)
        write()

    return ended_by_kill(_forked(act))


@pytest.fixture(scope="session")
def forked() -> Callable[[Callable[[], object]], int]:
    """What begins a process that does this and nothing after it; its number."""
    return _forked


@pytest.fixture(scope="session")
def killed() -> Callable[..., bool]:
    """What writes in a process of its own that is killed before its step number `moment`.

    Given a folder and a seed, the power is cut as well, see `Disk`. Returns whether it came so far.
    """
    return _killed


@pytest.fixture(scope="session")
def killed_after() -> Callable[[Callable[[], object], float], bool]:
    """What writes in a process of its own that is killed after so many seconds."""

    def killed_after(write: Callable[[], object], seconds: float) -> bool:
        child = _forked(write)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # one that has ended keeps its number until it is waited for
        return ended_by_kill(child)

    return killed_after


@pytest.fixture(scope="session")
def without_rights() -> Callable[[Callable[[], object]], str]:
    """What does this as a user who is not root, and returns the error that came of it, or ""."""

    def without_rights(act: Callable[[], object]) -> str:
        reading, writing = os.pipe()

        def tell() -> None:
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                act()
            except (GafcnnError, OSError) as error:
                os.write(writing, f"{type(error).__name__}: {error}".encode())

        assert not ended_by_kill(_forked(tell))
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read().decode()
        if told.startswith("PermissionError: [Errno 1]"):
            pytest.skip("root may not become another user here")
        return told

    return without_rights


class Disk:
    """What of a folder is on disk, and what only the system has, which a power cut takes.

    Of a file that is its bytes at its last sync; what was written later may be there or not, page
    by page, or as zeros. Of the folder it is the names at its last sync; of later changes of names
    each may be there or not.
    """

    PAGE = 4096

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.files: dict[int, int] = {}  # descriptors, by inode: a kept file's inode is its own
        self.synced: dict[int, bytes] = {}
        self.names: dict[str, int] = {}
        self.changes: list[tuple[str, str | None, int]] = []
        self.look()
        self.changes.clear()
        self.on_disk = dict(self.names)
        self.synced = {inode: self.content(inode) for inode in self.names.values()}
        fsync = os.fsync

        def sync(descriptor: int) -> None:
            fsync(descriptor)
            self.look()
            self.sync(os.fstat(descriptor).st_ino)

        os.fsync = sync
        sys.addaudithook(self.audit)

    def look(self) -> None:
        """Note what files there are new."""
        for path in self.folder.iterdir():
            if path.name not in self.names:
                file = os.open(path, os.O_RDONLY)
                inode = self.names[path.name] = os.fstat(file).st_ino
                self.files.setdefault(inode, file)
                self.changes.append((path.name, None, inode))

    def content(self, inode: int) -> bytes:
        return os.pread(self.files[inode], 2**30, 0)

    def sync(self, inode: int) -> None:
        if inode == self.folder.stat().st_ino:
            self.on_disk = dict(self.names)
            self.changes.clear()
        elif inode in self.files:
            self.synced[inode] = self.content(inode)

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.remove") and Path(args[0]).parent == self.folder:
            self.look()
            old = Path(args[0]).name
            if (inode := self.names.pop(old, None)) is not None:
                new = Path(args[1]).name if event == "os.rename" else None
                self.changes.append((old, new, 0) if new else (old, None, 0))
                if new:
                    self.names[new] = inode

    def lose_power(self) -> None:
        """Leave in the folder what a power cut would."""
        self.look()
        names = dict(self.on_disk)
        for old, new, inode in self.changes:
            if self.random.random() < 0.5:
                if inode:
                    names[old] = inode
                elif old in names:
                    moved = names.pop(old)
                    names |= {new: moved} if new else {}
        left = {name: self.remains(inode) for name, inode in names.items()}
        for path in self.folder.iterdir():
            path.unlink()
        for name, content in left.items():
            (self.folder / name).write_bytes(content)

    def remains(self, inode: int) -> bytes:
        was, now = self.synced.get(inode, b""), self.content(inode)
        length = len(self.random.choice((was, now)))
        was, now = (content.ljust(length, b"\0")[:length] for content in (was, now))
        pages = range(0, length, self.PAGE)
        return b"".join(self.random.choice((was, now))[at : at + self.PAGE] for at in pages)
