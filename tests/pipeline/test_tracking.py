"""One training, watched by every logger of conf/logger; what each kept is read back."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from gafcnn.app.trust import check_config

from gafcnn import load_run
from gafcnn.app import tracking

Command = Callable[..., subprocess.CompletedProcess[str]]
Typed = Callable[..., str]

RUN = Path("outputs/tiny/15m/seed=3")
WORDS = ("window=15m", "seed=3", "market.days=2", "trainer.max_epochs=1", "callbacks.progress=null")
ALL = "logger=[default,mlflow,wandb]"

of_mlflow = pytest.mark.filterwarnings("ignore:.*``noload`` loader strategy is deprecated")


@pytest.fixture(scope="module")
def tracked(
    tmp_path_factory: pytest.TempPathFactory, command: Command, tiny: tuple[str, ...]
) -> Path:
    """A folder in which a run was trained under all loggers."""
    pytest.importorskip("mlflow", reason="the extra tracking is not installed")
    pytest.importorskip("wandb", reason="the extra tracking is not installed")
    folder = tmp_path_factory.mktemp("tracked")
    done = command(folder, "train.py", *tiny, *WORDS, ALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


@pytest.fixture
def copied(tracked: Path, typed: Typed, tmp_path: Path) -> Typed:
    """What types a command where such a run is, to be changed."""
    shutil.copytree(tracked, tmp_path, dirs_exist_ok=True)
    return typed


@pytest.fixture
def figures(tracked: Path) -> pd.Series:
    """What CSVLogger kept of the epoch, as it stands there."""
    rows = pd.read_csv(tracked / RUN / "csv" / "version_0" / "metrics.csv", dtype=str)
    return rows.ffill().iloc[-1]


def test_csv_keeps_the_figures_of_an_epoch(tracked: Path, figures: pd.Series) -> None:
    auc = load_run(tracked / RUN).metrics["val"]["labelled"]["auc"]
    assert float(figures["val/auc"]) == pytest.approx(auc)


def test_tensorboard_keeps_the_figures_of_an_epoch(tracked: Path, figures: pd.Series) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracked / RUN / "tensorboard" / "version_0")).Reload()
    (loss,) = events.Scalars("val/loss")
    assert loss.value == pytest.approx(float(figures["val/loss"]))


@of_mlflow
def test_mlflow_keeps_a_run_named_by_its_folder(
    tracked: Path, figures: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = _runs_of_mlflow(tracked, monkeypatch)
    assert run.info.run_name == "15m/seed=3"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["val/loss"] == pytest.approx(float(figures["val/loss"]))


@of_mlflow
def test_its_parameters_are_what_makes_the_run_another(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = _runs_of_mlflow(tracked, monkeypatch)
    given = run.data.params
    assert given["market.strength"] == "0.5"
    assert given["seed"] == "3"
    assert given["bars"] == load_run(tracked / RUN).config["bars"]
    assert not [name for name in given if name.startswith(("paths", "logger", "study"))]


def _runs_of_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient("sqlite:///outputs/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id])


def test_wandb_keeps_the_figures_in_the_run_and_sends_nothing(
    tracked: Path, figures: pd.Series
) -> None:
    (kept,) = (tracked / RUN / "wandb").glob("offline-run-*")
    name = (tracked / RUN / "wandb" / "run_id").read_text().strip()
    content = (kept / f"run-{name}.wandb").read_bytes()
    assert b"val/loss" in content
    assert figures["val/loss"].encode() in content
    assert "api.wandb.ai" not in (kept / "logs" / "debug-core.log").read_text()


@of_mlflow
def test_a_training_that_goes_on_is_one_run_everywhere(
    copied: Typed, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / RUN / "metrics.json").unlink()
    # and a warning, that its best epoch was forgotten, would be an error
    copied("train", *tiny, *WORDS, "logger=[mlflow,wandb]")
    assert [run.info.status for run in _runs_of_mlflow(tmp_path, monkeypatch)] == ["FINISHED"]
    parts = (tmp_path / RUN / "wandb").glob("offline-run-*/run-*.wandb")
    assert len({path.name for path in parts}) == 1


def test_a_run_that_is_overwritten_is_another_there(
    copied: Typed, tmp_path: Path, tracked: Path, tiny: tuple[str, ...]
) -> None:
    copied("train", *tiny, *WORDS, "logger=wandb", "overwrite=true")
    note = RUN / "wandb" / "run_id"
    assert (tmp_path / note).read_text() != (tracked / note).read_text()
    assert not (tmp_path / RUN / "mlflow").exists()


def test_loggers_change_nothing_of_a_run(
    tracked: Path,
    typed: Typed,
    tmp_path: Path,
    tiny: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed("train", *tiny, *WORDS, "logger=csv")
    plain, watched = load_run(tmp_path / RUN), load_run(tracked / RUN)
    pd.testing.assert_frame_equal(plain.predictions, watched.predictions, check_exact=True)
    monkeypatch.chdir(tracked)
    assert "is complete: nothing to do" in typed("train", *tiny, *WORDS, "logger=csv")


def test_a_run_that_was_tracked_names_nothing_that_is_not_trusted(tracked: Path) -> None:
    path = tracked / RUN / "config.yaml"
    check_config(path, yaml.safe_load(path.read_text()), [])


@pytest.mark.parametrize("package", ["mlflow", "wandb"])
def test_a_package_that_is_missing_is_told_with_how_to_have_it(
    refused: Callable[..., str],
    tiny: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    package: str,
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == package else object())
    assert refused("train", *tiny, "window=15m", f"logger={package}") == (
        f"error: {package} is not installed; expected it for logger={package}; "
        "type pip install 'gafcnn[tracking]', or take logger=default."
    )


@of_mlflow
def test_a_store_that_cannot_be_opened_is_told(
    refused: Callable[..., str], tiny: tuple[str, ...]
) -> None:
    told = refused("train", *tiny, "window=15m", "logger=mlflow", "logger.mlflow.uri=nowhere://x")
    assert "MLflow cannot keep the run in nowhere://x" in told
    assert "take logger=default, or correct the options of conf/logger/mlflow.yaml." in told


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("logger.wandb.mode=cloud", "logger.wandb.mode=cloud; expected offline or online"),
        ("logger.mlflow.uri=5", "logger.mlflow.uri=5; expected some text"),
    ],
)
def test_options_of_loggers_are_looked_at(
    refused: Callable[..., str], tiny: tuple[str, ...], word: str, told: str
) -> None:
    assert told in refused("train", *tiny, "window=15m", ALL, word)
