"""Whether what lies on disk is as it was written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from gafcnn.app.runs import (
    BEST,
    CONFIG,
    EVALUATION,
    EXPORT,
    LAST,
    METRICS,
    PREDICTIONS,
    damage,
    damaged_files,
)
from gafcnn.data.daily_cache import damaged_parts
from gafcnn.data.exchange import RECORD
from gafcnn.errors import DamageError, GafcnnError
from gafcnn.images.store import METADATA, open_series, open_store
from gafcnn.models.checkpoints import load_plain

Finding = tuple[str, str | None]
"""What was looked at, and what is wrong with it, if anything."""

log = logging.getLogger(__name__)


def verify(cfg: DictConfig) -> dict[str, int]:
    """Read all downloaded bars, stores, runs and evaluations and compare them with their checksums.

    What is not finished is no damage: the command that began it goes on with it.

    Args:
        cfg: `conf/verify.yaml`, composed.

    Returns:
        How many of each kind are as they were written.

    Raises:
        DamageError: Some are not; each was named, with what makes it whole again.
    """
    data, outputs = Path(cfg.paths.data), Path(cfg.paths.outputs)
    whole: dict[str, int] = {}
    damaged = 0
    for kind, wrong in (
        *_downloads(data),
        *_stores(data),
        *_runs(outputs),
        *_exports(outputs),
    ):
        if wrong is None:
            whole[kind] = whole.get(kind, 0) + 1
        else:
            damaged += 1
            log.error("%s", wrong)
    told = ", ".join(f"{kind} {count}" for kind, count in whole.items())
    if whole or not damaged:
        log.info("as they were written in %s and %s: %s", data, outputs, told or "nothing is there")
    if damaged:
        raise DamageError(
            f"{damaged} of {damaged + sum(whole.values())} are not as they were written",
            expected="none",
            instead="do what the lines above say",
        )
    return whole


def _downloads(data: Path) -> Iterator[Finding]:
    for record in sorted(data.rglob(RECORD)):
        parts = damaged_parts(record.parent)
        names = ", ".join(part.name for part in parts)
        yield (
            "downloads",
            f"{record.parent} is damaged in {names}; train.py and prepare.py fetch that anew"
            if parts
            else None,
        )


def _stores(data: Path) -> Iterator[Finding]:
    for kind, open_ in (("gaf", open_store), ("series", open_series)):
        for metadata in sorted(data.glob(f"{kind}/*/{METADATA}")):
            yield _looked_at("stores", partial(open_, metadata.parent))


def _runs(outputs: Path) -> Iterator[Finding]:
    for metrics in sorted(outputs.rglob(METRICS)):
        kind = "runs" if (metrics.parent / CONFIG).is_file() else "evaluations"
        yield kind, _damage(metrics.parent, damaged_files(metrics.parent), kind)
    for config in sorted(outputs.rglob(CONFIG)):
        folder = config.parent
        if (folder / METRICS).is_file():
            continue
        for path in (folder / LAST, folder / BEST):
            if path.is_file():
                yield _looked_at(
                    "checkpoints of unfinished runs", partial(load_plain, path, _AGAIN)
                )
    for predictions in sorted(outputs.rglob(f"{EVALUATION}/**/{PREDICTIONS}")):
        if not (predictions.parent / METRICS).is_file():
            yield "unfinished evaluations", None


def _exports(outputs: Path) -> Iterator[Finding]:
    for metadata in sorted(outputs.glob(f"*/{EXPORT}/{METADATA}")):
        wrong = damaged_files(metadata.parent, METADATA)
        told = f"{metadata.parent} is damaged in {', '.join(wrong)}; export.py writes it anew"
        yield "exports", told if wrong else None


def _looked_at(kind: str, look: Callable[[], object]) -> Finding:
    """What comes of reading something that tells itself what is wrong with it."""
    try:
        look()
    except GafcnnError as error:
        return kind, str(error)
    return kind, None


def _damage(folder: Path, names: list[str], kind: str) -> str | None:
    """What is wrong with a run or an evaluation, if anything, and what makes it whole again."""
    if not names:
        return None
    told = f"{folder} is damaged in {', '.join(names)}"
    if names == [METRICS]:
        told += ", which would tell of the others"
    if kind == "evaluations":
        return f"{told}; evaluate.py makes it anew"
    # what cannot be made again of a checkpoint decides
    worst = next((name for name in names if name not in (METRICS, PREDICTIONS)), names[0])
    return f"{told}; {damage(folder, worst).instead}"


_AGAIN = "give the command that began the run again, which goes on from what is whole"
