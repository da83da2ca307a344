"""What the benchmarks share: timers, and a description of the machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def seconds(action: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def in_turns(actions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Return the seconds of each action, one per round; a first round is not counted."""
    times = [[seconds(action) for action in actions] for _ in range(rounds + 1)]
    return [list(column) for column in zip(*times[1:], strict=True)]


def machine() -> str:
    """Return the processor, the number of cores, and the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{_processor()}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
