"""One training with every logger of conf/logger; what each kept is read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import gafcnn as gc

Run = Callable[..., str]
Words = tuple[str, ...]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run_in: Run, tiny: Words) -> Path:
    """A folder in which a run was trained with all loggers."""
    for package in ("mlflow", "wandb", "tensorboard"):
        pytest.importorskip(package, reason="the extras tracking and tensorboard are needed")
    folder = tmp_path_factory.mktemp("logged")
    words = ["window=15m", "trainer.max_epochs=1", "logger=[csv,tensorboard,mlflow,wandb]"]
    run_in(folder, "train", *tiny, *words)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> gc.Run:
    return gc.load_run(folder / "outputs/tiny/15m")


@pytest.fixture(scope="module")
def loss(run: gc.Run) -> float:
    rows = pd.read_csv(run.folder / "csv" / "version_0" / "metrics.csv")
    assert rows["val/auc"].dropna().item() == pytest.approx(run.metrics["val"]["labelled"]["auc"])
    return rows["val/loss"].dropna().item()


def test_tensorboard(run: gc.Run, loss: float) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.folder / "tensorboard" / "version_0")).Reload()
    assert [event.value for event in events.Scalars("val/loss")] == [pytest.approx(loss)]


def test_mlflow(folder: Path, loss: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    from mlflow import MlflowClient

    client = MlflowClient("sqlite:///outputs/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.metrics["val/loss"] == pytest.approx(loss)


def test_wandb_stays_offline(folder: Path) -> None:
    (kept,) = folder.rglob("offline-run-*/run-*.wandb")
    assert b"val/loss" in kept.read_bytes()


def test_loggers_do_not_change_a_run(run: gc.Run, folder: Path, run_in: Run, tiny: Words) -> None:
    words = ["window=15m", "trainer.max_epochs=1", "logger=csv"]
    assert "is complete: nothing to do" in run_in(folder, "train", *tiny, *words)
    run_in(folder, "train", *tiny, *words, "study=plain")
    plain = gc.load_run(folder / "outputs/plain")
    pd.testing.assert_frame_equal(plain.predictions, run.predictions)
