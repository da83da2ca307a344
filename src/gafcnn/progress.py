"""Progress of long work, on a terminal alone: a log file is not filled with bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


@contextmanager
def counting(
    name: str, total: int, unit: str, done: int = 0, *, shown: bool = True
) -> Iterator[Callable[[int], None]]:
    """Count work on stderr, with its rate and the time left; silent where there is no terminal.

    Args:
        name: What is being done.
        total: How many there are to do.
        unit: What is counted, in the plural.
        done: How many of them were done before.
        shown: Whether to show anything at all.

    Yields:
        A function to call with how many more are done.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(unit),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(name, total=total, completed=done)
        yield lambda more: bar.advance(task, more)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f} {self._unit}/s")
