"""Making anew what of a finished store is damaged, and nothing else.

In place: the checksums of its metadata tell at any moment what is damaged, so that a writer that is
killed leaves nothing that is taken for whole, and the next one goes on with what is left.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gafcnn.atomic_io import check_free_space, read_sealed, write_bytes
from gafcnn.images.filling import filled, frame, room
from gafcnn.images.store import METADATA, TIMES, spelled
from gafcnn.images.store_spec import Plan

log = logging.getLogger(__name__)


def repaired(plan: Plan[Any], *, progress: bool) -> bool:
    """Repair a store that is damaged, in a folder that is held alone, and tell of it.

    Args:
        plan: What it shall hold.
        progress: Whether to show a progress bar, if there is a terminal.

    Returns:
        Whether it holds that now. Not where its metadata are damaged, for the checksums are lost
        with them; where it is another store; where the array is not there at all; or where a chunk
        made again is not what it was, as on a processor that rounds otherwise.
    """
    path, metadata = plan.folder / plan.kind.file(), read_sealed(plan.folder / METADATA)
    if metadata is None or not plan.is_told_by(metadata) or not path.is_file():
        return False
    plan, checksums = replace(plan, most=metadata["chunk"]), metadata["checksums"]
    damage = _Damage.of(plan, checksums)
    log.warning("%s is damaged: writing %s anew", plan.folder, damage.told(plan))
    if not _repair_array(plan, damage.chunks, checksums, progress=progress):
        log.warning("%s: what is made again is not what it was", path)
        return False
    if damage.times:
        write_bytes(plan.folder / TIMES, plan.times_file)
    return True


@dataclass(frozen=True)
class _Damage:
    """What of a store is not as it was written.

    Attributes:
        chunks: Which chunks of the array, counted from 0.
        frame: Whether its header or its length is another.
        times: Whether the times are.
    """

    chunks: list[int]
    frame: bool
    times: bool

    @classmethod
    def of(cls, plan: Plan[Any], checksums: list[int]) -> _Damage:
        path, times = plan.folder / plan.kind.file(), plan.folder / TIMES
        with path.open("rb") as file:
            framed = file.read(len(plan.header)) == plan.header
        return cls(
            chunks=plan.damaged(path, checksums),
            frame=not framed or path.stat().st_size != plan.length,
            times=not times.is_file() or times.read_bytes() != plan.times_file,
        )

    def told(self, plan: Plan[Any]) -> str:
        name, parts = plan.kind.file(), []
        if self.chunks:
            parts.append(f"{spelled(self.chunks)} of {plan.n_chunks} of {name}")
        if self.frame:
            parts.append(f"the header and the length of {name}")
        if self.times:
            parts.append(TIMES)
        return " and ".join(parts)


def _repair_array(
    plan: Plan[Any], chunks: list[int], checksums: list[int], *, progress: bool
) -> bool:
    """Put an array in order; whether these chunks came out as they were."""
    path: Path = plan.folder / plan.kind.file()
    needed = max(0, plan.length - path.stat().st_size)
    with room(plan.kind, path, needed), path.open("r+b") as file:
        check_free_space(plan.folder, needed)
        made = dict(filled(file, plan, chunks, progress=progress))
        if any(made[number] != checksums[number] for number in chunks):
            return False
        frame(file, plan)
    return True
