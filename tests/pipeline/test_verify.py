from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from gafcnn.app.runs import load_run
from gafcnn.app.verify import verify
from gafcnn.errors import DamageError, RunError

Typed = Callable[..., str]
Refuse = Callable[..., str]


@pytest.fixture
def copied(judged_study: Path, tmp_path: Path) -> Path:
    """A study that may be harmed, with its data."""
    # other tests have trained further studies beside it
    stores = [f"data/gaf/SIMULATED_{window}" for window in ("15m", "30m", "60m")]
    for name in ("outputs/tiny", "data/bars", *stores):
        shutil.copytree(judged_study / name, tmp_path / name)
    return tmp_path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 3, 2 * len(content) // 3):  # more than a zip's padding
        content[place] ^= 1
    path.write_bytes(content)


def test_all_that_was_written_is_as_it_was(copied: Path, typed: Typed) -> None:
    told = typed("verify")
    assert told == ("as they were written in data and outputs: stores 3, runs 4, evaluations 1\n")


def test_an_empty_place_is_no_damage(typed: Typed) -> None:
    assert typed("verify") == "as they were written in data and outputs: nothing is there\n"


@pytest.mark.parametrize(
    ("harmed", "told"),
    [
        ("data/gaf/SIMULATED_30m/images.npy", "SIMULATED_30m/images.npy is damaged in chunk 1 of"),
        ("data/gaf/SIMULATED_30m/times.npy", "SIMULATED_30m/times.npy is damaged"),
        ("outputs/tiny/15m/predictions.parquet", "tiny/15m is damaged in predictions.parquet; gi"),
        ("outputs/tiny/15m/checkpoints/best.ckpt", "with overwrite=true"),
        ("outputs/tiny/15m/checkpoints/last.ckpt", "in checkpoints/last.ckpt; remove that file"),
        ("outputs/tiny/xgboost/checkpoints/trees.json", "evaluate.py grows the baseline again"),
        ("outputs/tiny/evaluation/metrics.json", "which would tell of the others; evaluate.py"),
        ("outputs/tiny/evaluation/tables/coverage.csv", "damaged in tables/coverage.csv; evalua"),
        ("outputs/tiny/evaluation/report.html", "evaluation is damaged in report.html; evaluate"),
    ],
)
def test_what_is_damaged_is_named(
    copied: Path, harmed: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    flip(copied / harmed)
    with pytest.raises(DamageError, match=r"^1 of 8 are not as they were written; expected none;"):
        verify(
            OmegaConf.create({"paths": {"data": copied / "data", "outputs": copied / "outputs"}})
        )
    assert told in caplog.text


def test_the_checkpoint_of_an_unfinished_run_is_looked_at_too(
    copied: Path, typed: Typed, refused: Refuse
) -> None:
    folder = copied / "outputs" / "tiny" / "15m"
    (folder / "metrics.json").unlink()
    assert "checkpoints of unfinished runs 2" in typed("verify")
    flip(folder / "checkpoints" / "last.ckpt")
    assert refused("verify").startswith("error: 1 of 9 are not as they were written; expected none")


def test_an_evaluation_that_was_cut_off_is_no_damage_and_is_counted(
    copied: Path, typed: Typed
) -> None:
    (copied / "outputs" / "tiny" / "evaluation" / "metrics.json").unlink()
    assert typed("verify").endswith("stores 3, runs 4, unfinished evaluations 1\n")


def test_a_damaged_run_is_made_whole_of_its_checkpoint_or_refused(
    copied: Path, typed: Typed, refused: Refuse, tiny: tuple[str, ...]
) -> None:
    folder = copied / "outputs" / "tiny" / "15m"
    predictions = (folder / "predictions.parquet").read_bytes()
    epochs = json.loads((folder / "metrics.json").read_text())["epochs"]
    flip(folder / "predictions.parquet")
    told = typed("train", "window=15m", *tiny)
    assert "predictions.parquet is not as it was written: making it anew" in told
    assert (folder / "predictions.parquet").read_bytes() == predictions
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == epochs

    flip(folder / "checkpoints" / "best.ckpt")
    told = refused("train", "window=15m", *tiny)
    assert "best.ckpt is not as it was written; expected the file that the training left" in told
    with pytest.raises(RunError, match=r"best\.ckpt is not as it was written"):
        load_run(folder).model()


@pytest.mark.slow
def test_receipts_of_a_damaged_run_are_refused(copied: Path, refused: Refuse) -> None:
    flip(copied / "outputs" / "tiny" / "15m" / "checkpoints" / "best.ckpt")
    told = refused("evaluate", "study=tiny", "judging.resamples=0", "receipts=true")
    assert "best.ckpt is not as it was written" in told
