"""A process that writes a store: `python writer.py ACTION FOLDER BARS [CHUNK]`.

write   writes it, then tells its peak memory in KiB and how often it put images in place
pause   says "writing" before it records the second chunk, goes on once a line comes in
die     replaces stores of other bars, FOLDER/1, FOLDER/2, ..., and is killed before the first,
        second, ... renaming or removal of a file, until one is written to its end
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import WINDOW, random_walk

from gafcnn.images import build_store


def _before(events: set[str], act: Callable[[str], None]) -> None:
    """Call `act` before any of these is done to a file, with the file's name."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in events:
            act(Path(os.fspath(args[0])).name)

    sys.addaudithook(hook)


def _peak_memory() -> int:
    # not getrusage: it begins with the memory of the process that started this one
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


def _pause(names: list[str]) -> None:
    if sum(name.startswith(".progress.json") for name in names) == 2:
        sys.stdout.write("writing\n")
        sys.stdout.flush()
        sys.stdin.readline()


def _die(write: Callable[[Path], object], folder: Path, others: pd.DataFrame) -> None:
    for moment in count(1):
        place = folder / str(moment)
        build_store(place, others, WINDOW)
        if (child := os.fork()) == 0:
            changes = count(1)

            def kill(_: str, changes: count[int] = changes, moment: int = moment) -> None:
                if next(changes) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

            _before({"os.rename", "os.remove"}, kill)
            write(place)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return


def main(action: str, folder: Path, n: int, chunk: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    bars = random_walk(n)

    def write(folder: Path) -> object:
        return build_store(folder, bars, WINDOW, chunk=chunk)

    if action == "die":
        return _die(write, folder, random_walk(n, seed=1))
    names: list[str] = []
    _before({"os.rename"}, names.append)
    if action == "pause":
        _before({"os.rename"}, lambda _: _pause(names))
    write(folder)
    sys.stdout.write(f"{_peak_memory()} {names.count('images.npy.partial')}\n")
    return None


if __name__ == "__main__":
    given = [*sys.argv[1:], "4096"]
    main(given[0], Path(given[1]), int(given[2]), int(given[3]))
