from __future__ import annotations

import re

import pytest

from gafcnn.progress import counting


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def count_to_nine(*, shown: bool = True) -> None:
    with counting("bars BNB", 9, "bars", done=1, shown=shown) as advance:
        for _ in range(4):
            advance(2)


def test_a_terminal_is_shown_the_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    count_to_nine()
    shown, told = capsys.readouterr()
    assert shown == ""
    assert re.search(r"bars BNB.*9/9.* [\d,]+ bars/s.*\d:\d\d:\d\d", told, re.DOTALL)


@pytest.mark.parametrize(("terminal", "shown"), [("0", True), ("1", False)])
def test_nothing_is_shown_without_a_terminal_or_unasked(
    terminal: str, shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
    count_to_nine(shown=shown)
    assert capsys.readouterr() == ("", "")
