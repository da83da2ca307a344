"""Writing a store, see `gafcnn.images.store`, chunk by chunk, or going on with one."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from gafcnn.atomic_io import (
    disk_errors,
    make_folder,
    nearest_existing,
    read_object,
    read_sealed,
    remove_partial_files,
    seal,
    sync,
    wait_for_lock,
    write_bytes,
    write_json,
)
from gafcnn.data.windows import Window
from gafcnn.errors import DiskError, StoreError
from gafcnn.images.filling import filled, frame, reserve, room
from gafcnn.images.repairing import repaired
from gafcnn.images.spec import DEFAULT, ImageSpec
from gafcnn.images.store import METADATA, TIMES, ImageStore, S, SeriesStore, opened
from gafcnn.images.store_spec import Plan, image_plan, series_plan

PROGRESS, LOCK = "progress.json", ".lock"

log = logging.getLogger(__name__)


def build_store(
    folder: str | Path,
    bars: pd.DataFrame,
    window: Window,
    images: ImageSpec = DEFAULT,
    *,
    chunk: int = 4096,
    progress: bool = True,
) -> ImageStore:
    """Write a window's images at all decision times of the bars, or open them where they stand.

    A store of the same bars and options is verified and left as it is; what of it is damaged is
    written anew, and nothing else. One of others stays until the new one is whole. A writer that
    was killed is gone on with: what it had recorded is kept; one that is alive is waited for.

    Args:
        folder: Where the store lies, or shall lie.
        bars: Bars indexed by close time.
        window: The stretch that an image shows.
        images: What of it an image shows, and how.
        chunk: At most how many images are held in memory at a time.
        progress: Whether to show a progress bar, if there is a terminal.

    Raises:
        ConfigError, SamplesError: The bars cannot fill the window, or have not what a field is of.
        DiskError: The folder cannot be written, or its disk has no room for all images.
    """
    return _build(image_plan(Path(folder), bars, window, images, chunk), progress=progress)


def check_room(
    stores: Mapping[Path, pd.DataFrame], window: Window, images: ImageSpec = DEFAULT
) -> None:
    """Assert that a disk has room for several stores before the first of them is written.

    Args:
        stores: The bars of each store, by its folder, all on one disk. What is there of a store,
            whole or begun, needs no room any more.
        window: The stretch that an image shows.
        images: What of it an image shows, and how.

    Raises:
        ConfigError, SamplesError: As `build_store`.
        DiskError: It has not.
    """
    # one after another: a plan holds what its window reads of all bars
    plans = (image_plan(folder, bars, window, images, 1) for folder, bars in stores.items())
    needed = sum(plan.length for plan in plans if not _has_its_room(plan))
    place = nearest_existing(next(iter(stores)))
    if needed > (free := shutil.disk_usage(place).free):
        raise DiskError(
            f"the images of {len(stores)} symbols need {needed:,} bytes more and the disk of "
            f"{place} has {free:,} free",
            expected=f"room for all {ImageStore.of}",
            instead=f"{ImageStore.smaller}, or images=on_the_fly",
        )


def _has_its_room(plan: Plan[Any]) -> bool:
    """Whether the very store is there, or was begun, which is at its full length."""
    known = (read_object(plan.folder / name).get("fingerprint") for name in (METADATA, PROGRESS))
    return plan.fingerprint in known


def build_series(
    folder: str | Path,
    bars: pd.DataFrame,
    window: Window,
    fields: Iterable[str] = DEFAULT.fields,
    *,
    chunk: int = 2**16,
    progress: bool = True,
) -> SeriesStore:
    """Write the values of a window's fields at every bar, or open them where they stand.

    All that is said of `build_store` holds here.

    Args:
        folder: Where the store lies, or shall lie.
        bars: Bars indexed by close time.
        window: The stretch that an image shows, of which the step decides what a value is of.
        fields: What of it an image shows.
        chunk: At most how many bars share a checksum.
        progress: Whether to show a progress bar, if there is a terminal.

    Raises:
        ConfigError, SamplesError, DiskError: As `build_store`.
        ImagesError: A decision time's series is one that makes no image.
    """
    return _build(series_plan(Path(folder), bars, window, fields, chunk), progress=progress)


def _build(plan: Plan[S], *, progress: bool) -> S:
    with suppress(StoreError):
        return plan.finished()
    with _sole_writer(plan.folder), room(plan.kind, plan.partial, plan.length):
        try:
            return plan.finished()  # by the process that was waited for
        except StoreError as why:
            if not repaired(plan, progress=progress):
                if (plan.folder / METADATA).exists():
                    log.warning("%s: writing it anew", why.found)
                _write(plan, progress=progress)
            # before the lock is let go: a folder is shared by name with other bars and options
            return opened(plan.kind, plan.folder, verify=False)


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    with disk_errors(folder, 0):
        make_folder(folder)
    with wait_for_lock(folder / LOCK, f"writing {folder}"):
        remove_partial_files(folder)
        yield


def _write(plan: Plan[Any], *, progress: bool) -> None:
    checksums = _begun(plan)
    missing = [number for number, checksum in enumerate(checksums) if checksum is None]
    with plan.partial.open("r+b") as file:
        for number, checksum in filled(file, plan, missing, progress=progress):
            checksums[number] = checksum
            _record(plan, checksums)
        frame(file, plan)
    _finish(plan, [checksum for checksum in checksums if checksum is not None])


def _record(plan: Plan[Any], checksums: list[int | None]) -> None:
    journal = {
        "fingerprint": plan.fingerprint,
        "chunk": plan.chunk,
        "checksums": checksums,
    }
    write_json(plan.folder / PROGRESS, seal(journal))


def _begun(plan: Plan[Any]) -> list[int | None]:
    """Checksums of the chunks that a killed writer left whole; the file has room for all."""
    checksums = _recorded(plan)
    if not any(checksum is not None for checksum in checksums):
        (plan.folder / PROGRESS).unlink(missing_ok=True)
        plan.partial.unlink(missing_ok=True)
        reserve(plan)
    return checksums


def _recorded(plan: Plan[Any]) -> list[int | None]:
    """Checksums of the chunks that were recorded, where the file holds them; else None."""
    partial, journal = plan.partial, read_sealed(plan.folder / PROGRESS) or {}
    nothing: list[int | None] = [None] * plan.n_chunks
    if (journal.get("fingerprint"), journal.get("chunk")) != (plan.fingerprint, plan.chunk):
        return nothing
    if not (partial.exists() or (plan.folder / METADATA).exists()):
        with suppress(FileNotFoundError):  # killed when only times and metadata were missing
            (plan.folder / plan.kind.file()).rename(partial)
    if not partial.is_file() or partial.stat().st_size != plan.length:
        return nothing
    checksums: list[int | None] = journal["checksums"]
    for number in plan.damaged(partial, checksums):
        checksums[number] = None
    if whole := len(checksums) - checksums.count(None):
        log.info("going on with %s after %s chunks", plan.folder, whole)
    return checksums


def _finish(plan: Plan[Any], checksums: list[int]) -> None:
    folder = plan.folder
    (folder / METADATA).unlink(missing_ok=True)  # here ends the store that is replaced
    sync(folder)
    plan.partial.replace(folder / plan.kind.file())
    write_bytes(folder / TIMES, plan.times_file)  # which syncs the folder, before it is complete
    write_json(folder / METADATA, seal(plan.metadata(checksums)))
    (folder / PROGRESS).unlink()
