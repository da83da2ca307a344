"""The command verify finds every file that has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gafcnn.app.verify import verify
from gafcnn.errors import DamageError

Run = Callable[..., str]

TINY = "outputs/tiny"


def check(folder: Path) -> dict[str, int]:
    return verify({"paths": {"data": folder / "data", "outputs": folder / "outputs"}})


def flip(path: Path) -> None:
    """Flip bits in the middle of a file: more of them than a zip has padding."""
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 3, 2 * len(content) // 3):
        content[place] ^= 1
    path.write_bytes(content)


def test_intact_files_are_counted(live: Path) -> None:
    assert check(live) == {"stores": 2, "runs": 3, "evaluations": 1, "exports": 1}


def test_nothing_is_no_damage(tmp_path: Path, typed: Run) -> None:
    assert check(tmp_path) == {}
    assert typed("verify")


@pytest.mark.parametrize(
    ("damaged", "remedy"),
    [
        ("data/gaf/SIMULATED_30m/images.npy", None),
        ("data/gaf/SIMULATED_30m/times.npy", None),
        (f"{TINY}/15m/seed=0/predictions.parquet", "trained the run again"),
        (f"{TINY}/15m/seed=0/config.yaml", "overwrite=true"),
        (f"{TINY}/15m/seed=0/checkpoints/best.ckpt", "overwrite=true"),
        (f"{TINY}/15m/seed=0/checkpoints/last.ckpt", "delete that file"),
        (f"{TINY}/xgboost/seed=0/checkpoints/trees.json", "evaluate.py"),
        (f"{TINY}/evaluation/metrics.json", "evaluate.py"),
        (f"{TINY}/evaluation/tables/coverage.csv", "evaluate.py"),
        (f"{TINY}/evaluation/report.html", "evaluate.py"),
        (f"{TINY}/export/15m.onnx", "export.py"),
        (f"{TINY}/export/ensembles.json", "export.py"),
        (f"{TINY}/export/metadata.json", "export.py"),
    ],
)
def test_a_changed_file_is_named_with_its_remedy(
    harmed: Path, damaged: str, remedy: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = harmed / damaged
    flip(path)
    with pytest.raises(DamageError):
        check(harmed)
    [problem] = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert path.name in problem
    assert remedy is None or remedy in problem


def test_a_missing_file_is_damage(harmed: Path) -> None:
    (harmed / TINY / "30m" / "seed=0" / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(DamageError):
        check(harmed)


def test_checkpoints_of_an_incomplete_run_are_read(harmed: Path) -> None:
    folder = harmed / TINY / "15m" / "seed=0"
    (folder / "metrics.json").unlink()
    found = check(harmed)
    assert (found["runs"], found["checkpoints of incomplete runs"]) == (2, 2)
    flip(folder / "checkpoints" / "last.ckpt")
    with pytest.raises(DamageError):
        check(harmed)
