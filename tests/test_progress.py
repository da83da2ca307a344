"""Progress: a bar on a terminal, log lines without one."""

from __future__ import annotations

import logging

import pytest

from gafcnn import progress
from gafcnn.progress import counting

Patch = pytest.MonkeyPatch
Log = pytest.LogCaptureFixture
Capture = pytest.CaptureFixture[str]


def count_to_hundred() -> None:
    with counting("bars BNB", 100, "bars", done=10) as advance:
        for _ in range(30):
            advance(3)


@pytest.fixture(autouse=True)
def _every_second(monkeypatch: Patch, caplog: Log) -> None:
    """Each `advance` takes a second."""
    seconds = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setenv("COLUMNS", "100")
    caplog.set_level(logging.INFO, "gafcnn")


def test_a_terminal_has_a_bar(monkeypatch: Patch, capsys: Capture, caplog: Log) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    count_to_hundred()
    out, err = capsys.readouterr()
    assert out == ""
    assert "bars BNB" in err
    assert "100/100" in err
    assert caplog.messages == []


def test_a_log_has_a_line_every_tenth(monkeypatch: Patch, capsys: Capture, caplog: Log) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)
    count_to_hundred()
    assert len(caplog.messages) == 9
    # 51 of 100 after 41 in 14 seconds, or 2.9 a second
    assert caplog.messages[3].startswith("bars BNB: 50 %, 52 of 100 bars, 3 bars/s, 00:00:16 left")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "lines"), [(5, 6), (100, 0)])
def test_quick_work_has_few_lines(
    seconds: int, lines: int, monkeypatch: Patch, caplog: Log
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    monkeypatch.setattr(progress, "LOG_SECONDS", seconds)
    count_to_hundred()
    assert len(caplog.messages) == lines
