"""What the benchmarks share: seconds, side by side, and the machine that they are of."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def in_turns(actions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each action, once a round, after a round that is not timed."""
    times = [[seconds(action) for action in actions] for _ in range(rounds + 1)]
    return [list(of_action) for of_action in zip(*times[1:], strict=True)]


def machine() -> str:
    """The kind of processor, its cores, and the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{_processor()}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB"


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
