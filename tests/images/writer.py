"""A process that writes a store: `python writer.py ACTION FOLDER BARS [CHUNK]`.

write      writes it, then prints its peak memory in KiB and how often it put images in place
pause      says "writing" after the second chunk, goes on once a line comes in
die        writes FOLDER/1, FOLDER/2, ... and is killed before the first, second, ... change of
           a file's name, until one is written to its end
squeeze    may write no file of more than 100,000 bytes
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from conftest import WINDOW, random_walk

from gafcnn.errors import StoreError
from gafcnn.images import build_store


def _at_each_change(act: Callable[[str], None]) -> None:
    """Call `act` before any file is renamed or removed, with its name."""

    def hook(event: str, args: tuple) -> None:  # type: ignore[type-arg]
        if event in ("os.rename", "os.remove"):
            act(Path(os.fspath(args[0])).name)

    sys.addaudithook(hook)


def _peak_memory() -> int:
    # not getrusage: it begins with the memory of the process that started this one
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


def _pause(names: list[str]) -> None:
    if sum("progress.json" in name for name in names) == 2:
        sys.stdout.write("writing\n")
        sys.stdout.flush()
        sys.stdin.readline()


def _die(write: Callable[[Path], object], folder: Path) -> None:
    for moment in count(1):
        if (child := os.fork()) == 0:
            changes = count(1)

            def kill(_: str, changes: count[int] = changes, moment: int = moment) -> None:
                if next(changes) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

            _at_each_change(kill)
            write(folder / str(moment))
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return


def main(action: str, folder: Path, n: int, chunk: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    bars = random_walk(n)

    def write(folder: Path) -> object:
        return build_store(folder, bars, WINDOW, chunk=chunk)

    if action == "die":
        return _die(write, folder)
    if action == "squeeze":
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    names: list[str] = []
    _at_each_change(names.append)
    if action == "pause":
        _at_each_change(lambda _: _pause(names))
    try:
        write(folder)
    except StoreError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{_peak_memory()} {names.count('images.npy.partial')}\n")
    return None


if __name__ == "__main__":
    given = [*sys.argv[1:], "4096"]
    main(given[0], Path(given[1]), int(given[2]), int(given[3]))
