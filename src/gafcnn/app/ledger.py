"""The ledger of a study: every training and every look at its test rows, one line of JSON each."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gafcnn.app.runs import LEDGER
from gafcnn.atomic_io import disk_errors, make_folder

TRAINING, LOOK = "train", "look"


def record(study: Path, event: str, **facts: Any) -> None:
    """Append an event to the ledger of a study.

    Raises:
        DiskError: It cannot be written; the ledger is unchanged.
    """
    entry = {"event": event, "time": datetime.now(UTC).isoformat(timespec="seconds"), **facts}
    line, path = json.dumps(entry).encode() + b"\n", study / LEDGER
    with disk_errors(path, len(line)):
        make_folder(study)
        with path.open("ab+", buffering=0) as ledger:
            if ledger.tell():  # end a line that was cut short
                ledger.seek(-1, os.SEEK_END)
                line = line if ledger.read(1) == b"\n" else b"\n" + line
            end = ledger.seek(0, os.SEEK_END)
            if ledger.write(line) < len(line):
                ledger.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(ledger.fileno())


def recorded(study: Path, event: str) -> int:
    """Return how many events of a kind the ledger has.

    A training that was killed and resumed counts once. A damaged line counts as an event of any
    kind, so that looks are rather overstated than understated.
    """
    path = study / LEDGER
    lines = path.read_bytes().splitlines() if path.is_file() else []
    events = set()
    for number, line in enumerate(line for line in lines if line.strip()):
        entry = _parse(line)
        if "config" in entry and entry["event"] == event:
            events.add((entry["run"], entry["config"]))
        elif entry.get("event", event) == event:
            # a damaged line may be two, if what was between them is lost
            events |= {(number, place) for place in range(max(1, line.count(b'{"event"')))}
    return len(events)


def _parse(line: bytes) -> dict[str, Any]:
    """Return a line's entry; empty if it is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    known = isinstance(entry, dict) and entry.get("event") in (TRAINING, LOOK)
    return entry if known and ("config" not in entry or "run" in entry) else {}
