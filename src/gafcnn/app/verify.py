"""Check that the files on disk are as they were written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gafcnn.app.run_folder import (
    BEST,
    CONFIG,
    EXPORT,
    LAST,
    METADATA,
    METRICS,
    PREDICTIONS,
    damage,
    damaged_files,
)
from gafcnn.app.study_settings import StudyOptions
from gafcnn.data.daily_cache import damaged_parts
from gafcnn.data.exchange import RECORD
from gafcnn.errors import DamageError, GafcnnError
from gafcnn.images.store import MANIFEST, open_store
from gafcnn.settings import create

Finding = tuple[str, str | None]  # what was checked, and what is wrong with it, if anything

log = logging.getLogger(__name__)


def verify(options: Mapping[str, Any]) -> dict[str, int]:
    """Read all downloaded bars, stores, runs, evaluations and exports, and compare checksums.

    What is not complete is not damaged: the command that began it resumes.

    Args:
        options: The options of `conf/verify.yaml`.

    Returns:
        The number of intact ones of each kind.

    Raises:
        DamageError: Some are damaged; each is logged, with what repairs it.
    """
    paths = create(StudyOptions, "", options).paths
    intact: dict[str, int] = {}
    damaged = 0
    for findings in (_downloads(paths.data), _stores(paths.data), _outputs(paths.outputs)):
        for kind, problem in findings:
            if problem is None:
                intact[kind] = intact.get(kind, 0) + 1
            else:
                damaged += 1
                log.error("%s", problem)
    if intact or not damaged:
        counts = ", ".join(f"{count} {kind}" for kind, count in intact.items())
        log.info("intact in %s and %s: %s", paths.data, paths.outputs, counts or "nothing there")
    if damaged:
        raise DamageError(
            f"{damaged} of {damaged + sum(intact.values())} are damaged",
            expected="all as they were written",
            instead="do what the lines above say",
        )
    return intact


def _downloads(data: Path) -> Iterator[Finding]:
    for record in sorted(data.rglob(RECORD)):
        names = ", ".join(part.name for part in damaged_parts(record.parent))
        problem = f"{record.parent}: {names} damaged; train.py and prepare.py download it again"
        yield "downloads", problem if names else None


def _stores(data: Path) -> Iterator[Finding]:
    for manifest in sorted(data.glob(f"gaf/*/{MANIFEST}")):
        try:
            open_store(manifest.parent, verify=True)
        except GafcnnError as error:
            yield "stores", str(error)
        else:
            yield "stores", None


def _outputs(outputs: Path) -> Iterator[Finding]:
    for metrics in sorted(outputs.rglob(METRICS)):
        folder, names = metrics.parent, damaged_files(metrics.parent)
        if not (folder / CONFIG).is_file():
            problem = f"{folder}: {', '.join(names)} damaged; evaluate.py writes it again"
            yield "evaluations", problem if names else None
            continue
        problem = None
        if names:
            # the file that cannot be written again decides
            worst = next((name for name in names if name not in (METRICS, PREDICTIONS)), names[0])
            problem = f"{folder}: {', '.join(names)} damaged; {damage(folder, worst).instead}"
        yield "runs", problem
    for metadata in sorted(outputs.glob(f"*/{EXPORT}/{METADATA}")):
        names = damaged_files(metadata.parent, METADATA)
        problem = f"{metadata.parent}: {', '.join(names)} damaged; export.py writes it again"
        yield "exports", problem if names else None
    for config in sorted(outputs.rglob(CONFIG)):
        if not (config.parent / METRICS).is_file():
            yield from _checkpoints(config.parent)


def _checkpoints(folder: Path) -> Iterator[Finding]:
    """Check the checkpoints of a training that is not complete."""
    from gafcnn.models.module import load_plain

    for path in (folder / LAST, folder / BEST):
        if path.is_file():
            problem: Any = None
            try:
                load_plain(path, "run the command that began the run again")
            except GafcnnError as error:
                problem = str(error)
            yield "checkpoints of incomplete runs", problem
