"""Progress of long work: a bar on a terminal, otherwise a log line for every tenth."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_SECONDS = 5.0  # at least so long between two log lines, so that quick work logs none

log = logging.getLogger(__name__)


@contextmanager
def counting(name: str, total: int, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show the progress of work, its rate and the time left: a bar on stderr, or log lines.

    `unit` is what is counted, in the plural; `done` of the `total` were done before.

    Yields:
        A function to call with how many more are done.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    count, tenth = done, 10 * done // total if total else 10
    begun = last = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=total, completed=done)

        def advance(more: int) -> None:
            nonlocal count, tenth, last
            bar.advance(task, more)
            count, now = count + more, time.monotonic()
            reached = 10 * count // total
            if console.is_terminal or reached == tenth or now - last < LOG_SECONDS:
                return
            rate = (count - done) / (now - begun)
            left = time.strftime("%H:%M:%S", time.gmtime((total - count) / rate))
            log.info(
                "%s: %d %%, %s of %s %s, %.3g %s/s, %s left",
                *(name, 10 * reached, f"{count:,}", f"{total:,}", unit, rate, unit, left),
            )
            tenth, last = reached, now

        yield advance
