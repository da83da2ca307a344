"""Runs that are kept in a database of experiments as well: MLflow's and Weights & Biases'.

Lightning's loggers, made to follow what a run is here: one that was killed and goes on is one run
there too, known by a note in its folder; it is named as its folder is; its parameters are what
makes it another run than others; and neither service is told anything that was not asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any
from uuid import uuid4
from warnings import catch_warnings, filterwarnings

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from gafcnn.app.runs import CONFIG, identity, read_config
from gafcnn.atomic_io import write_text
from gafcnn.errors import LearningError

_NOTE = "run_id"  # in the logger's folder of the run's: what the run is called there
_INSTEAD = "take logger=default, or correct the options of conf/logger/{}.yaml"


class MLflowRun(MLFlowLogger):
    """A run in MLflow: an experiment for each study, and in it a run for each of ours.

    MLflow's own telemetry is off, unless MLFLOW_DISABLE_TELEMETRY says otherwise.

    Args:
        save_dir: The run's folder.
        study: The study's folder: its name is the experiment's, what leads on to the run its name.
        uri: Of the tracking store: `sqlite:///<file>` or a server's `http://...`.
        artifacts: Where MLflow puts files of runs; ours stay in their folders.

    Raises:
        LearningError: MLflow is not installed, or its store cannot be opened.
    """

    def __init__(self, save_dir: str, study: str, uri: str, artifacts: str) -> None:
        _check_installed("mlflow", "sqlalchemy")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._folder, self._uri = Path(save_dir), uri
        with self._store():
            super().__init__(
                experiment_name=Path(study).name,
                run_name=_name(save_dir, study),
                tracking_uri=uri,
                artifact_location=artifacts,
            )

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's client, once the run is begun in its store or found there again."""
        if not self._initialized:
            note = self._folder / "mlflow" / _NOTE
            with self._store():
                self._run_id, self._experiment_id = self._known(note), self._of_study()
                client = super().experiment
                client.update_run(self._run_id, status="RUNNING")
            write_text(note, f"{self._run_id}\n")
        return self._mlflow_client

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:  # noqa: ARG002  the run's config has them too
        """Log what makes the run another than others."""
        with self._store():
            super().log_hyperparams(_parameters(self._folder))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the figures of an epoch."""
        with self._store():
            super().log_metrics(metrics, step)

    def _known(self, note: Path) -> str | None:
        """What the run is called in the store, if it is there."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._mlflow_client.get_run(note.read_text(encoding="utf-8").strip())
        except (OSError, MlflowException):  # not begun yet, or begun in another store
            return None
        return found.info.run_id if found.info.lifecycle_stage == "active" else None

    def _of_study(self) -> str:
        """The number of the study's experiment, begun if it is not there."""
        from mlflow.exceptions import MlflowException

        client, name = self._mlflow_client, self._experiment_name
        if (found := client.get_experiment_by_name(name)) is not None:
            return found.experiment_id
        try:
            return client.create_experiment(name, artifact_location=self._artifact_location)
        except MlflowException:  # another job of the sweep was first
            if (found := client.get_experiment_by_name(name)) is None:
                raise
            return found.experiment_id

    @contextmanager
    def _store(self) -> Iterator[None]:
        """Without MLflow's own talk; what its store refuses is told in a sentence."""
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic"):  # which tell of each table that they make
            getLogger(name).setLevel(WARNING)
        try:
            with catch_warnings():
                # of SQLAlchemy, about how MLflow calls it
                filterwarnings("ignore", ".*``noload`` loader strategy is deprecated.*")
                yield
        except MlflowException as error:
            raise LearningError(
                f"MLflow cannot keep the run in {self._uri} ({str(error).splitlines()[0]})",
                expected="a tracking store that can be written",
                instead=_INSTEAD.format("mlflow"),
            ) from error


class WandbRun(WandbLogger):
    """A run in Weights & Biases: a group for each study, and in it a run for each of ours.

    Args:
        save_dir: The run's folder.
        study: The study's folder: its name is the group's, what leads on to the run its name.
        project: What groups of all studies are in.
        mode: "offline" keeps the run in its folder, for `wandb sync`; "online" sends it as well.

    Raises:
        LearningError: wandb is not installed.
    """

    def __init__(self, save_dir: str, study: str, project: str, mode: str) -> None:
        _check_installed("wandb")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        from wandb import Settings

        self._folder = Path(save_dir)
        super().__init__(
            name=_name(save_dir, study),
            group=Path(study).name,
            project=project,
            save_dir=save_dir,
            mode=mode,
            # neither the console, which progress bars fill, nor code is anyone's
            settings=Settings(silent=True, console="off", disable_git=True, disable_code=True),
        )
        del self._wandb_init["anonymous"]  # which wandb no longer takes

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Wandb's run, begun or gone on with."""
        if self._experiment is None:
            from wandb.errors import Error

            note = self._folder / "wandb" / _NOTE
            if not note.is_file():
                write_text(note, f"{uuid4().hex[:8]}\n")
            self._id = self._wandb_init["id"] = note.read_text(encoding="utf-8").strip()
            try:
                return super().experiment
            except Error as error:
                raise LearningError(
                    f"wandb cannot keep the run ({str(error).splitlines()[0]})",
                    expected="a login, for logger.wandb.mode=online",
                    instead="type wandb login, or set logger.wandb.mode=offline",
                ) from error
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:  # noqa: ARG002  the run's config has them too
        """Log what makes the run another than others."""
        super().log_hyperparams(_parameters(self._folder))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run, so that the next job of a sweep does not write into it."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(status != "success"))
            self._experiment = None


def _name(folder: str, study: str) -> str:
    """What leads from a study's folder to a run's: `30m/seed=1`."""
    place, root = Path(folder).absolute(), Path(study).absolute()
    return str(place.relative_to(root)) if place.is_relative_to(root) else place.name


def _parameters(folder: Path) -> dict[str, Any]:
    return identity(read_config(folder / CONFIG))


def _check_installed(*packages: str) -> None:
    if missing := [name for name in packages if find_spec(name) is None]:
        raise LearningError(
            f"{missing[0]} is not installed",
            expected=f"it for logger={packages[0]}",
            instead="type pip install 'gafcnn[tracking]', or take logger=default",
        )
