"""Compare the files on disk with the checksums of when they were written."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gafcnn.app import runs
from gafcnn.app.options import Paths, StudyOptions
from gafcnn.app.runs import CONFIG, METADATA, METRICS, damage, damaged_files
from gafcnn.data.exchange import RECORD, damaged_parts
from gafcnn.errors import DamageError, GafcnnError
from gafcnn.images.store import MANIFEST, open_store
from gafcnn.settings import create

log = logging.getLogger(__name__)


def verify(options: Mapping[str, Any]) -> dict[str, int]:
    """Read all downloaded bars, stores, runs, evaluations and exports, and compare checksums.

    Options are those of `conf/verify.yaml`. What is not complete is not damaged: the command that
    began it resumes. Returned is the number of intact ones of each kind.

    Raises:
        DamageError: Some are damaged; each is logged, with what repairs it.
    """
    paths = create(StudyOptions, "", options).paths
    findings = list(_findings(paths))
    intact = Counter(kind for kind, problem in findings if problem is None)
    damaged = [problem for _, problem in findings if problem is not None]
    for problem in damaged:
        log.error("%s", problem)
    if intact or not damaged:
        counts = ", ".join(f"{kind} {count}" for kind, count in intact.items())
        log.info("intact in %s and %s: %s", paths.data, paths.outputs, counts or "nothing there")
    if damaged:
        found = f"damage in {len(damaged)} of {len(findings)} places"
        instead = "do what the lines above say"
        raise DamageError(found, expected="files that match their checksums", instead=instead)
    return dict(intact)


def _findings(paths: Paths) -> Iterator[tuple[str, str | None]]:
    """Yield what was checked, and what is wrong with it, if anything."""
    data, outputs = paths.data, paths.outputs
    for record in sorted(data.rglob(RECORD)):
        names = [part.name for part in damaged_parts(record.parent)]
        remedy = "train.py and prepare.py download it again"
        yield "downloads", _problem(record.parent, names, remedy)
    for manifest in sorted(data.glob(f"gaf/*/{MANIFEST}")):
        try:
            open_store(manifest.parent)
            yield "stores", None
        except GafcnnError as error:
            yield "stores", str(error)
    for metrics in sorted(outputs.rglob(METRICS)):
        folder, names = metrics.parent, damaged_files(metrics.parent)
        if (folder / CONFIG).is_file():
            yield "runs", _problem(folder, names, damage(folder, [*names, ""][0]).instead)
        else:
            yield "evaluations", _problem(folder, names, "evaluate.py writes it again")
    for metadata in sorted(outputs.glob(f"*/{runs.EXPORT}/{METADATA}")):
        names = damaged_files(metadata.parent, METADATA)
        yield "exports", _problem(metadata.parent, names, "export.py writes it again")


def _problem(folder: Path, damaged: Sequence[str], remedy: str) -> str | None:
    return f"{folder}: {', '.join(damaged)} damaged; {remedy}" if damaged else None
