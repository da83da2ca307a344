"""The ledger of a study counts trainings and looks, and never too few."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from gafcnn.app.runs import digest, record, recorded
from gafcnn.errors import DiskError

CONFIG = {"window": {"name": "30m"}, "paths": {"outputs": "outputs"}, "bars": {"BNB": "abc"}}


def test_each_kind_of_event_is_counted(tmp_path: Path) -> None:
    assert recorded(tmp_path, "look") == 0
    for event in ("train", "look", "train"):
        record(tmp_path, event, run="15m")
    assert recorded(tmp_path, "train") == 2
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["train", "look", "train"]
    with (tmp_path / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"event": "look", "ti')  # cut short by a crash
    record(tmp_path, "look")
    # the line that was cut short, and the look that follows it, are one damaged line
    assert recorded(tmp_path, "look") == 2
    assert recorded(tmp_path, "train") == 3  # a damaged line may have been either


def test_a_resumed_training_counts_once(tmp_path: Path) -> None:
    for name in ("15m", "15m", "30m"):
        record(tmp_path, "train", run=name, config=digest(CONFIG))
    assert recorded(tmp_path, "train") == 2
    record(tmp_path, "train", run="15m", config=digest(CONFIG | {"paths": {"outputs": "x"}}))
    assert recorded(tmp_path, "train") == 2
    record(tmp_path, "train", run="15m", config=digest(CONFIG | {"bars": {"BNB": "other"}}))
    assert recorded(tmp_path, "train") == 3


def test_a_line_for_which_there_is_no_room_is_not_counted(
    small_disk: Callable[[int], Path],
) -> None:
    disk, written = small_disk(8192), count()

    def fill() -> None:
        while True:
            record(disk, "look", rows=next(written))

    with pytest.raises(DiskError, match=r"ledger\.jsonl needs"):
        fill()
    assert recorded(disk, "look") == next(written) - 1 > 20
    assert recorded(disk, "train") == 0
