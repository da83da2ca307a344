"""Commands that are killed and given again: `python killed.py CONF MOMENT WORD ...`.

The commands are those of the file `commands.json` in the working folder: {"killed": [name, words],
"again": [...]}. MOMENT is when the first is ended by SIGKILL:

step:N          before the N-th step of the optimizer
term:N          likewise, but by SIGTERM, as schedulers do
rename:NAME:N   before a file of that name is put into its place for the N-th time
write:NAME:N    in the middle of writing it beside its place, half of it on disk
after:SECONDS   at any moment
Prints, line by line, what the killed one and the one that goes on ended with (-9, 0), in forks of
one process: what takes long at a start is the imports.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

import gafcnn.files
import gafcnn.pipeline  # noqa: F401 - imported here for all forks
from gafcnn.command import main

ends = [signal.SIGKILL]


def kill() -> None:
    os.kill(os.getpid(), ends[0])


def arm(moment: str) -> None:
    """Set the trap that ends this process."""
    kind, *at = moment.split(":")
    left = [int(float(at[-1]))]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            kill()

    if kind in ("step", "term"):
        if kind == "term":
            ends[0] = signal.SIGTERM
        register_optimizer_step_pre_hook(lambda *_: count())
    elif kind == "rename":

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event == "os.rename" and Path(os.fspath(args[1])).name == at[0]:
                count()

        sys.addaudithook(hook)
    elif kind == "write":
        whole = os.fsync

        def half(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.name.startswith(f".{at[0]}."):
                if left[0] == 1:
                    os.truncate(path, path.stat().st_size // 2)
                count()
            whole(descriptor)

        os.fsync = half
    else:
        threading.Timer(float(at[0]), kill).start()


def given(command: list[Any], conf: Path, before: Callable[[], None]) -> int:
    """Give a command in a fork; its exit status, or less the signal that ended it."""
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        with Path("said.txt").open("a", encoding="utf-8") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        name, words = command
        sys.argv = [f"{name}.py", *words]
        status = 1
        try:
            before()
            main(name, conf)
            status = 0
        except SystemExit as end:
            sys.stderr.write(f"{end.code}\n")
            status = end.code if isinstance(end.code, int) else 1
        except Exception:  # noqa: BLE001 - told here, since the fork ends without it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def give(conf: Path, moments: list[str]) -> None:
    for moment in moments:
        folder, *traps = moment.split(" ")
        os.chdir(folder)
        commands = json.loads(Path("commands.json").read_text(encoding="utf-8"))
        for trap in traps:
            sys.stdout.write(f"{given(commands['killed'], conf, lambda t=trap: arm(t))} ")
        sys.stdout.write(f"{given(commands['again'], conf, lambda: None)}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    give(Path(sys.argv[1]), sys.argv[2:])
