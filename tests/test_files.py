from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gafcnn.files import replacing, waiting_for, write_json


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with replacing(path) as beside:
        beside.write_text("old")
    with replacing(path) as beside:
        beside.write_text("ne")
        assert path.read_text() == "old"
        beside.write_text("new")
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as beside:
            beside.write_text("half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        fail()
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_json_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"auc": None})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"auc": float("nan")})
    assert path.read_text() == '{\n  "auc": null\n}\n'


WAITS = """
import logging, sys
from pathlib import Path
from gafcnn.files import waiting_for
logging.basicConfig(format="%(message)s")
lock, file = map(Path, sys.argv[1:])
with waiting_for(lock, "the first, which writes"):
    file.write_text(file.read_text() + ", second")
"""


def test_a_second_process_says_for_whom_it_waits_and_then_goes_on(tmp_path: Path) -> None:
    lock, file = tmp_path / ".lock", tmp_path / "file.txt"
    command = [sys.executable, "-c", WAITS, str(lock), str(file)]
    with waiting_for(lock, "nobody"):
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        said = second.stderr.readline()
        file.write_text("first")
    assert second.communicate(timeout=60)[1] == ""
    assert said == "waiting for the first, which writes\n"
    assert file.read_text() == "first, second"


def test_a_lock_that_nobody_holds_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        with waiting_for(tmp_path / ".lock", "nobody"):
            raise OSError("no space left")

    for _ in range(2):  # a body that fails lets it go
        with pytest.raises(OSError, match="no space left"):
            fail()
    assert caplog.messages == []
