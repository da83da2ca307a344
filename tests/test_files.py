from __future__ import annotations

import errno
import os
import platform
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gafcnn.atomic_io import wait_for_lock, write_bytes, write_json, write_text
from gafcnn.errors import DiskError


@pytest.fixture
def full() -> Iterator[None]:
    """A user whose files may not be longer than 1,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_replaced_whole_and_synced_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        assert path.read_text() == ("old" if len(synced) == 1 else "new")

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(path, "new")
    assert synced == [f".file.txt.{os.getpid()}.partial", "deep"]
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_disk_that_is_full_is_told_and_the_old_file_stays(tmp_path: Path, full: None) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")
    with pytest.raises(DiskError) as caught:
        write_bytes(path, bytes(1001))
    free = shutil.disk_usage(tmp_path).free
    told = str(caught.value)
    assert told.startswith(f"{path} needs 1,001 bytes and its disk has ")
    assert told.endswith(
        "free (File too large); expected room for it; free some, or set paths.data and "
        "paths.outputs to another disk; the same command then goes on."
    )
    assert free > 1001
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]
    write_bytes(path, bytes(1000))
    assert path.read_bytes() == bytes(1000)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DiskError, match=r"deep/file.txt cannot be written \(File exists\); expec"):
        write_text(tmp_path / "file" / "deep" / "file.txt", "new")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_disk_that_fails_is_not_taken_for_one_that_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    write_text(tmp_path / "file.txt", "old")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskError, match=r"written \(Input/output error\); expected a disk that an"):
        write_text(tmp_path / "file.txt", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_where_folders_cannot_be_synced_files_still_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, synced = os.fsync, []

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        synced.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "deep" / "file.txt", "new")
    assert (tmp_path / "deep" / "file.txt").read_text() == "new"
    assert len(synced) == 1


def test_json_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"auc": None})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"auc": float("nan")})
    assert path.read_text() == '{\n  "auc": null\n}\n'


WAITS = """
import logging, sys
from pathlib import Path
from gafcnn.atomic_io import wait_for_lock
logging.basicConfig(format="%(message)s")
lock, file = map(Path, sys.argv[1:])
with wait_for_lock(lock, "writing"):
    file.write_text(file.read_text() + ", second")
"""


def test_a_second_process_says_for_whom_it_waits_and_then_goes_on(tmp_path: Path) -> None:
    lock, file = tmp_path / ".lock", tmp_path / "file.txt"
    command = [sys.executable, "-c", WAITS, str(lock), str(file)]
    with wait_for_lock(lock, "nobody"):
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        said = second.stderr.readline()
        file.write_text("first")
    assert second.communicate(timeout=60)[1] == ""
    assert said == f"waiting for process {os.getpid()} on {platform.node()}, which is writing\n"
    assert file.read_text() == "first, second"


def test_a_lock_that_nobody_holds_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        with wait_for_lock(tmp_path / ".lock", "nobody"):
            raise OSError("no space left")

    for _ in range(2):  # a body that fails lets it go
        with pytest.raises(OSError, match="no space left"):
            fail()
    assert caplog.messages == []
