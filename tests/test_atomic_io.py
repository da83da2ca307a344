"""Atomic writes, locks, checksums and disk errors."""

from __future__ import annotations

import errno
import os
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import Timeout

from gafcnn.atomic_io import checksum, locked, read_sealed, seal, write_bytes, write_json
from gafcnn.errors import DiskError


@pytest.fixture
def _size_limit() -> Iterator[None]:
    """Files may have at most 1,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_synced_before_it_replaces_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_bytes(path, b"old")
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        assert path.read_text() == ("old" if len(synced) == 1 else "new")

    monkeypatch.setattr(os, "fsync", fsync)
    write_bytes(path, b"new")
    assert synced == [f".file.txt.{os.getpid()}.partial", "deep"]
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.usefixtures("_size_limit")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")
    with pytest.raises(DiskError, match=r"file.bin needs 1,001 bytes.*File too large"):
        write_bytes(path, bytes(1001))
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]
    write_bytes(path, b"123456789" + bytes(991))
    assert path.read_bytes() == b"123456789" + bytes(991)
    write_bytes(path, b"123456789")
    assert checksum(path) == 0xCBF43926  # the check value of CRC-32


def test_a_file_with_the_same_content_is_left_alone(tmp_path: Path) -> None:
    write_bytes(file := tmp_path / "file", b"content")
    before = file.stat()
    write_bytes(file, b"content")
    assert file.stat().st_ino == before.st_ino
    write_bytes(file, b"other")
    assert file.read_bytes() == b"other"


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DiskError, match=f"{tmp_path}/file/deep is not accessible"):
        write_bytes(tmp_path / "file" / "deep" / "file.txt", b"new")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    write_bytes(tmp_path / "file.txt", b"old")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskError, match=r"file\.txt is not accessible \(Input/output error\)"):
        write_bytes(tmp_path / "file.txt", b"new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_folders_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, synced = os.fsync, []

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        synced.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_bytes(tmp_path / "deep" / "file.txt", b"new")
    assert (tmp_path / "deep" / "file.txt").read_text() == "new"
    assert len(synced) == 1


def test_json_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"auc": None})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"auc": float("nan")})
    assert path.read_text() == '{\n  "auc": null\n}\n'


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"auc": 0.6, "seal": 7}', "[" * 10_000])
def test_sealed_json_reports_damage(tmp_path: Path, content: str) -> None:
    path = tmp_path / "metrics.json"
    assert read_sealed(path) is None
    write_json(path, seal({"auc": 0.5}))
    assert read_sealed(path) == {"auc": 0.5}
    path.write_text(content)
    assert read_sealed(path) is None


def test_a_lock_is_held_by_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, order = tmp_path / ".lock", []

    def wait() -> None:
        with locked(path, "writing here"):
            order.append("second")

    second = threading.Thread(target=wait)
    with locked(path):
        with pytest.raises(Timeout), locked(path):
            pass
        second.start()
        while not caplog.messages:
            second.join(0.01)
        order.append("first")
    second.join(60)
    assert order == ["first", "second"]
    assert f"process {os.getpid()} on " in caplog.text
    assert "writing here" in caplog.text


def test_a_lock_is_released_after_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), locked(tmp_path / ".lock", "nothing"):
            raise KeyError
