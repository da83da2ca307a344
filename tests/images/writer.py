"""A process that writes a store: `python writer.py ACTION FOLDER BARS [CHUNK]`.

write   writes it, then tells its peak memory in KiB, how often it put images in place, and how many
        images the store that it opened has
pause   says "writing" before it records the second chunk, goes on once a line comes in
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import WINDOW, random_walk

from gafcnn.images import ImageStore, build_store


def _before_renaming(act: Callable[[str], None]) -> None:
    """Call `act` before any file is renamed, with its name."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "os.rename":
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


def main(action: str, folder: Path, n: int, chunk: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    bars = random_walk(n)

    def write(folder: Path) -> ImageStore:
        return build_store(folder, bars, WINDOW, chunk=chunk)

    names: list[str] = []
    _before_renaming(names.append)
    if action == "pause":
        _before_renaming(lambda _: _pause(names))
    store = write(folder)
    sys.stdout.write(f"{_peak_memory()} {names.count('images.npy.partial')} {len(store.times)}\n")


if __name__ == "__main__":
    given = [*sys.argv[1:], "4096"]
    main(given[0], Path(given[1]), int(given[2]), int(given[3]))
