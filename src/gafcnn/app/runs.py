"""Complete runs on disk: their options, metrics, predictions and models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gafcnn.app.run_folder import (
    BARS,
    BEST,
    CONFIG,
    METRICS,
    PREDICTIONS,
    TREES,
    intact,
    read_config,
    read_metrics,
)
from gafcnn.errors import ConfigError, RunError

if TYPE_CHECKING:
    import pandas as pd

    from gafcnn.app.train_settings import TrainSettings
    from gafcnn.models.boosted_trees import BoostedTrees
    from gafcnn.models.classifier import GafClassifier


@dataclass(frozen=True)
class Run:
    """A complete run.

    Files are checked against the checksums of metrics.json when they are read; a RunError names the
    file that has changed.
    """

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The options of the run as plain data, and the fingerprints of its bars."""
        intact(self.folder, CONFIG)
        return read_config(self.folder)

    @cached_property
    def settings(self) -> TrainSettings:
        """The options of the run.

        Raises:
            RunError: They are not valid, for example because a label is not registered.
        """
        from gafcnn.app.train_settings import TrainSettings
        from gafcnn.settings import create

        options = {key: value for key, value in self.config.items() if key != BARS}
        try:
            return create(TrainSettings, "", options)
        except ConfigError as error:
            modules = options.get("imports") or []
            raise RunError(
                f"{self.folder / CONFIG}: {error.found}",
                expected=error.expected,
                instead=f"add imports=[{','.join(modules)}]" if modules else error.instead,
            ) from error

    @property
    def is_baseline(self) -> bool:
        """Whether the model is boosted trees."""
        return self.config["model"]["kind"] == "trees"

    @property
    def fold(self) -> int | None:
        """The fold of a walk-forward split, if there is one."""
        return self.config["split"].get("fold")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Validation scores, counts of samples, epochs, samples per second; see metrics.json."""
        return read_metrics(self.folder)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions for validation and test, see `gafcnn.evaluation.predictions`."""
        from gafcnn.evaluation.predictions import read_predictions

        return read_predictions(intact(self.folder, PREDICTIONS))

    @property
    def checkpoint(self) -> Path:
        """The file of the model."""
        return intact(self.folder, TREES if self.is_baseline else BEST)

    def model(self) -> GafClassifier | BoostedTrees:
        """Return the trained model, on the CPU."""
        if self.is_baseline:
            from gafcnn.models.boosted_trees import BoostedTrees

            return BoostedTrees.load(self.checkpoint)
        from gafcnn.models.classifier import GafClassifier

        return GafClassifier.load(self.checkpoint, accelerator="cpu")


def load_run(folder: str | Path) -> Run:
    """Return a complete run.

    Args:
        folder: The folder of the run, or one that contains exactly one run.

    Raises:
        RunError: There is no run, more than one, or it is not complete.
    """
    folder = Path(folder)
    found = sorted(path.parent for path in folder.rglob(CONFIG)) if folder.is_dir() else []
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found[:4])
        raise RunError(
            f"{folder} has {len(found)} runs ({names}, ...)" if found else f"{folder} has no run",
            expected=f"one folder with {CONFIG}",
            instead=f'load one of them: load_run("{found[0]}")'
            if found
            else "correct the path, or train a run with python train.py window=30m",
        )
    [folder] = found
    if not (folder / METRICS).is_file():
        raise RunError(
            f"the run in {folder} is not complete",
            expected=f"{METRICS}, which is written last",
            instead="run the command that trained it again: it resumes",
        )
    return Run(folder)


def find_runs(study: Path) -> dict[str, list[Run]]:
    """Return all runs of a study by the name of their model.

    Windows come first, by their span; then the baseline. An incomplete baseline is left out.

    Raises:
        RunError: There is no such study, it has no runs, or a run is not complete.
    """
    if not study.is_dir():
        known = sorted(_studies(study.parent))
        near = get_close_matches(study.name, known, n=1)
        raise RunError(
            f"there is no study {study.name} in {study.parent}",
            expected=f"one of {', '.join(known)}" if known else "a study with trained runs",
            instead=f"did you mean study={near[0]}?"
            if near
            else f"correct the name, or train one with study={study.name}",
        )
    found: dict[str, list[Run]] = {}
    for path in sorted(study.rglob(CONFIG)):
        complete = (path.parent / METRICS).is_file()
        if not complete and read_config(path.parent)["model"]["kind"] == "trees":
            continue  # trees have no checkpoint to resume from
        found.setdefault(path.relative_to(study).parts[0], []).append(load_run(path.parent))
    if not found:
        raise RunError(
            f"study {study.name} has no runs",
            expected="a complete run for each model",
            instead=f"train one with python train.py window=30m study={study.name}",
        )
    return dict(sorted(found.items(), key=lambda item: _order(item[1][0])))


def _order(run: Run) -> tuple[Any, ...]:
    from gafcnn.durations import parse_duration

    return run.is_baseline, parse_duration("window.span", run.config["window"]["span"])


def _studies(outputs: Path) -> Iterator[str]:
    if outputs.is_dir():
        yield from {path.relative_to(outputs).parts[0] for path in outputs.rglob(CONFIG)}
