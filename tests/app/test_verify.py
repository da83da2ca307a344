"""The command verify finds every file that has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gafcnn.app.verify import verify
from gafcnn.errors import DamageError

RUN = "outputs/tiny/15m/seed=0"


def check(folder: Path) -> dict[str, int]:
    return verify({"paths": {"data": folder / "data", "outputs": folder / "outputs"}})


def flip(path: Path) -> None:
    """Flip bits in the middle of a file: more of them than a zip has padding."""
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 3, 2 * len(content) // 3):
        content[place] ^= 1
    path.write_bytes(content)


def test_intact_files_are_counted(live: Path, tmp_path: Path) -> None:
    assert check(live) == {"stores": 2, "runs": 3, "evaluations": 1, "exports": 1}
    assert check(tmp_path) == {}


@pytest.mark.parametrize(
    ("damaged", "remedy"),
    [
        ("data/gaf/SIMULATED_30m/images.npy", ""),
        ("data/gaf/SIMULATED_30m/times.npy", ""),
        (f"{RUN}/predictions.parquet", "delete"),
        (f"{RUN}/config.yaml", "overwrite=true"),
        (f"{RUN}/checkpoints/best.ckpt", "overwrite=true"),
        ("outputs/tiny/xgboost/seed=0/checkpoints/trees.json", "evaluate.py"),
        ("outputs/tiny/evaluation/metrics.json", "evaluate.py"),
        ("outputs/tiny/evaluation/tables/coverage.csv", "evaluate.py"),
        ("outputs/tiny/export/15m.onnx", "export.py"),
        ("outputs/tiny/export/metadata.json", "export.py"),
    ],
)
def test_a_changed_file_is_named_with_its_remedy(
    harmed: Path, damaged: str, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    flip(harmed / damaged)
    with pytest.raises(DamageError):
        check(harmed)
    [problem] = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert Path(damaged).name in problem
    assert remedy in problem
