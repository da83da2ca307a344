"""Traps that end a command at a moment, given as `arm(moment)` in its own process.

step:N          before the N-th step of the optimizer
term:N          likewise, but by SIGTERM, as schedulers do; all others by SIGKILL
rename:NAME:N   before a file of that name is put into its place for the N-th time
write:NAME:N    in the middle of writing it beside its place, half of it on disk
after:SECONDS   at any moment
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from torch.optim.optimizer import register_optimizer_step_pre_hook

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
