"""A process that writes stores of growing size: `python writer.py FOLDER BARS...`.

After each it tells the peak of its memory until then, in KiB, on a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import WINDOW, random_walk

from gafcnn.images.writing import build_store


def _peak_memory() -> int:
    # not getrusage: it begins with the memory of the process that started this one
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


def main(folder: Path, sizes: list[int]) -> None:
    for n in sizes:
        build_store(folder / str(n), random_walk(n), WINDOW)
        sys.stdout.write(f"{_peak_memory()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(n) for n in sys.argv[2:]])
