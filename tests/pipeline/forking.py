"""Commands in processes of their own, without an import each: `python forking.py`.

Of a command of a second some ten go by until torch and Lightning are imported. Here they are
imported once, and each command is run by a fork, as Python would run its script. Read from the
standard input are lines of JSON, {"folder", "script", "words", "trap", "environment", "out",
"err"}; for each one the command's exit status, or less the signal that ended it, is written.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import gafcnn.pipeline  # noqa: F401 - imported here for all forks
import numpy as np
from killed import arm

PATIENCE = 300  # seconds that a command may take


def forked(run: Callable[[], None], out: Path, err: Path) -> int:
    """Run something in a fork that ends as Python ends; its exit status.

    Args:
        run: What is to be done.
        out: The file to which the standard output goes on.
        err: That of the standard error.
    """
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        signal.alarm(PATIENCE)
        for descriptor, path in ((1, out), (2, err)):
            with path.open("a", encoding="utf-8") as file:
                os.dup2(file.fileno(), descriptor)
        with Path(os.devnull).open(encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), 0)
        # as two processes differ that are begun one after the other
        random.seed()
        np.random.seed()  # noqa: NPY002 - the state that is everyone's
        status = 1
        try:
            run()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                sys.stderr.write(f"{end.code}\n")
        except BaseException:  # noqa: BLE001 - told here, since the fork ends without it
            traceback.print_exc()
        finally:
            threading._shutdown()  # those that are no daemons are waited for
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def script(
    folder: str, script: str, words: list[str], trap: str, environment: dict[str, str]
) -> None:
    """Do what `python script words` would do in that folder, to its end or to the trap."""
    if trap:
        arm(trap)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script, *words]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    for line in sys.stdin:
        told = json.loads(line)
        out, err = (Path(told.pop(name)) for name in ("out", "err"))
        sys.stdout.write(f"{forked(lambda told=told: script(**told), out, err)}\n")
        sys.stdout.flush()
    os._exit(0)  # what was imported takes seconds to be taken down
