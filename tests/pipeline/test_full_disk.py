"""A disk that fills up at any of the writers: told in a sentence, and gone on with afterwards."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from gafcnn.app.runs import damaged_files, load_run

Refuse = Callable[..., str]
Typed = Callable[..., str]
Words = tuple[str, ...]
Disk = Callable[[int], Path]
FillAfter = Callable[[Path, str, int], None]

NEEDS = r"error: (/\S+/)?{} needs [\d,]+ bytes and its disk has [\d,]+ free \(No space left"


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (2**16, 1):  # pages first; the last write that fits is a part of one
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


@pytest.fixture
def fill_after(monkeypatch: pytest.MonkeyPatch) -> FillAfter:
    """Have the disk filled once a file of that name has been written so often."""

    def arm(disk: Path, name: str, times: int) -> None:
        replace, seen = os.replace, count(1)

        def filling(source: Path, target: Path) -> None:
            replace(source, target)
            if Path(target).name == name and next(seen) == times:
                monkeypatch.setattr(os, "replace", replace)
                fill(disk)

        monkeypatch.setattr(os, "replace", filling)

    return arm


def test_a_training_begins_on_no_disk_that_cannot_hold_it(
    small_disk: Disk, refused: Refuse, typed: Typed, tiny: Words
) -> None:
    disk = small_disk(12_288)
    words = ["window=15m", *tiny, f"paths.outputs={disk}"]
    told = refused("train", *words)
    assert re.match(NEEDS.format(f"{disk.name}/tiny/15m"), told)
    assert not list(disk.rglob("*.ckpt"))
    fill(disk)
    told = refused("train", *words, "study=other")
    assert re.match(rf"error: .*{disk.name}/other/15m\S* needs ", told)


# after which file, written how often, the disk is full; and which one is then refused
FULL = {
    ("config.yaml", 1): "ledger.jsonl",
    ("best.ckpt", 1): "15m/checkpoints/last.ckpt",
    ("last.ckpt", 1): r"15m/\S+",
    ("predictions.parquet", 1): "15m/metrics.json",
}


@pytest.mark.parametrize(("full", "refused_at"), FULL.items())
def test_a_disk_that_fills_during_a_training_is_told_and_gone_on_with(
    full: tuple[str, int],
    refused_at: str,
    small_disk: Disk,
    fill_after: FillAfter,
    refused: Refuse,
    typed: Typed,
    tiny: Words,
) -> None:
    disk = small_disk(2_000_000)
    words = ["window=15m", *tiny, f"paths.outputs={disk}"]
    fill_after(disk, *full)
    told = refused("train", *words)
    assert re.match(NEEDS.format(rf"{disk.name}/tiny/{refused_at}"), told), told
    assert not (disk / "tiny" / "15m" / "metrics.json").exists()
    (disk / "filler").unlink()
    typed("train", *words)
    run = load_run(disk / "tiny" / "15m")
    assert damaged_files(run.folder) == []
    assert run.metrics["epochs"] == 2
    assert not list(disk.rglob("*.partial"))


@pytest.mark.parametrize(
    ("full", "refused_at"),
    [
        pytest.param("trees.json", "xgboost/predictions.parquet", marks=pytest.mark.slow),
        ("predictions.parquet", "evaluation/tables/"),
        pytest.param("report.html", "evaluation/metrics.json", marks=pytest.mark.slow),
        pytest.param("models.csv", "evaluation/(tables|figures)/", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_disk_that_fills_during_an_evaluation_is_told_and_gone_on_with(
    full: str,
    refused_at: str,
    small_disk: Disk,
    fill_after: FillAfter,
    judged_study: Path,
    tmp_path: Path,
    refused: Refuse,
    typed: Typed,
) -> None:
    disk = small_disk(30_000_000)
    shutil.copytree(judged_study / "outputs" / "tiny", disk / "tiny")
    shutil.rmtree(disk / "tiny" / "evaluation")
    if full == "trees.json":
        shutil.rmtree(disk / "tiny" / "xgboost")
    words = ["study=tiny", "judging.resamples=100", f"paths.outputs={disk}"]
    fill_after(disk, full, 1)
    told = refused("evaluate", *words)
    assert re.match(NEEDS.format(rf"{disk.name}/tiny/{refused_at}\S*"), told), told
    assert not (disk / "tiny" / "evaluation" / "metrics.json").exists()
    (disk / "filler").unlink()
    typed("evaluate", *words)
    assert damaged_files(disk / "tiny" / "evaluation") == []
