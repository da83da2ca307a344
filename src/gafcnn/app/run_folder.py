"""The folder of a run: which files it has, whether it is complete, and who may write to it.

outputs/<study>/<model>[/<swept options>]/seed=<n>[/fold=<k>]/
    config.yaml            the options, and the fingerprints of the bars
    checkpoints/           best.ckpt and last.ckpt, or trees.json
    predictions.parquet    validation and test, see `gafcnn.evaluation.predictions`
    metrics.json           written last, with the checksums of the other files: a run that has it
                           is complete
    csv/, tensorboard/     logs
outputs/<study>/ledger.jsonl   see `gafcnn.app.ledger`
outputs/<study>/evaluation/    see `gafcnn.app.evaluate`
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import Timeout

from gafcnn.atomic_io import (
    canonical_json,
    checksum,
    disk_errors,
    lock_holder,
    locked,
    make_folder,
    read_sealed,
    seal,
    write_json,
    write_text,
)
from gafcnn.errors import ConfigError, RunError

log = logging.getLogger(__name__)

CONFIG, METRICS, PREDICTIONS = "config.yaml", "metrics.json", "predictions.parquet"
CHECKPOINTS = "checkpoints"
BEST, LAST = f"{CHECKPOINTS}/best.ckpt", f"{CHECKPOINTS}/last.ckpt"
TREES = f"{CHECKPOINTS}/trees.json"
CHECKSUMS = "checksums"
METADATA = "metadata.json"  # of an export
EVALUATION, EXPORT, LEDGER, LOCK = "evaluation", "export", "ledger.jsonl", ".lock"
LOGS = ("csv", "tensorboard", "mlflow", "wandb")
BARS = "bars"  # the fingerprints, in config.yaml

_REPLACEABLE = (PREDICTIONS, METRICS)  # written again from the checkpoint

# options that do not change what a run is: where and how fast it is computed
_NOT_IDENTITY = (
    "study", "paths", "logger", "overwrite", "swept", "objective", "imports", "market.path",
    "market.folder", "market.refresh", "market.url", "trainer.accelerator", "trainer.devices",
    "trainer.strategy", "trainer.compile", "trainer.progress",
)  # fmt: skip
# options that trees do not read, except some that depend on `features`
_NOT_OF_TREES = ("images", "trainer", "monitor", "monitor_mode", "window")
_OF_WINDOW_FEATURES = ("images.fields", "window")


def run_name(model: str, seed: int = 0, fold: int | None = None, swept: Sequence[str] = ()) -> Path:
    """Return the folder of a run inside its study: `30m/seed=1/fold=2`.

    Args:
        model: Name of the window, or of the baseline.
        seed: The seed of the training.
        fold: The fold of a walk-forward split, if there is one.
        swept: Further options that tell the runs of a sweep apart, as typed: model.lr=0.001.

    Raises:
        ConfigError: The name is used for something else in a study's folder.
    """
    if model in (EVALUATION, EXPORT, LEDGER):
        raise ConfigError(
            f"the model is called {model}",
            expected=f"another name, because a study has a folder {model}",
            instead="choose another window.name or model.name",
        )
    options = [word.replace("/", "_") for word in swept]
    folds = [] if fold is None else [f"fold={fold}"]
    return Path(model, *options, f"seed={seed}", *folds)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder, or out of a study's evaluation.

    Raises:
        RunError: Another process is working in it.
    """
    with disk_errors(folder, 0):
        make_folder(folder)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / LOCK))
        except Timeout:
            raise RunError(
                f"{lock_holder(folder / LOCK)} is working in {folder}",
                expected="one process at a time",
                instead="wait for it, or use another study, with study=...",
            ) from None
        for left in folder.rglob(".*.partial"):  # by a process that was killed
            left.unlink(missing_ok=True)
        yield


def is_complete(folder: Path, config: Mapping[str, Any]) -> bool:
    """Return whether a folder has this run, complete; False if it is free or can be resumed.

    Raises:
        RunError: It has another run, or one whose model is damaged.
    """
    begun = any((folder / name).is_file() for name in (LAST, BEST, METRICS))
    if not begun or not (folder / CONFIG).is_file():
        return False
    if differing := differences(read_config(folder), config):
        shown = ", ".join(differing[:5]) + (", ..." if len(differing) > 5 else "")
        raise RunError(
            f"{folder} has another run ({shown})",
            expected="the same options and bars",
            instead="keep both with study=..., or delete the old one with overwrite=true",
        )
    if not (folder / METRICS).is_file():
        return False
    damaged = damaged_files(folder)
    if lost := [name for name in damaged if name not in (*_REPLACEABLE, LAST)]:
        raise damage(folder, lost[0])
    return not set(damaged) & set(_REPLACEABLE)


def claim(folder: Path, config: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write a run's config; before that, delete what is overwritten."""
    if overwrite:
        # metrics.json first, so that the rest never looks like a complete run
        for name in (METRICS, CONFIG, PREDICTIONS):
            (folder / name).unlink(missing_ok=True)
        for name in (CHECKPOINTS, *LOGS):
            shutil.rmtree(folder / name, ignore_errors=True)
    elif (folder / METRICS).is_file():
        for name in damaged_files(folder):
            log.warning("%s: writing it again", damage(folder, name).found)
        with disk_errors(folder / METRICS, 0):
            (folder / METRICS).unlink()
    write_text(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False))


def finish(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write a run's metrics.json, with the checksums of its other files."""
    models = [name for name in (TREES, BEST, LAST) if (folder / name).is_file()]
    write_metrics(folder, metrics, (CONFIG, PREDICTIONS, *models))


def write_metrics(
    folder: Path, metrics: Mapping[str, Any], names: Sequence[str], file: str = METRICS
) -> None:
    """Write metrics.json, with a checksum of itself and those of other files of the folder."""
    checksums = {name: checksum(folder / name) for name in names}
    write_json(folder / file, seal({**metrics, CHECKSUMS: checksums}))


def read_metrics(folder: Path, file: str = METRICS) -> dict[str, Any]:
    """Return what `write_metrics` wrote.

    Raises:
        RunError: It is missing or damaged.
    """
    metrics = read_sealed(folder / file)
    if metrics is None or CHECKSUMS not in metrics:
        raise damage(folder, file)
    return metrics


def damaged_files(folder: Path, file: str = METRICS) -> list[str]:
    """Return the names of the files that have changed since metrics.json was written.

    Args:
        folder: Of a run, or of a study's evaluation or export.
        file: The file that `write_metrics` wrote.
    """
    try:
        checksums = read_metrics(folder, file)[CHECKSUMS]
    except RunError:
        return [file]
    return [name for name, kept in checksums.items() if not _is_intact(folder / name, kept)]


def intact(folder: Path, name: str) -> Path:
    """Return the path of a file of a complete run.

    Raises:
        RunError: It is missing or has changed since the run was completed.
    """
    if not _is_intact(folder / name, read_metrics(folder)[CHECKSUMS].get(name)):
        raise damage(folder, name)
    return folder / name


def _is_intact(path: Path, kept: int | None) -> bool:
    return path.is_file() and checksum(path) == kept


def damage(folder: Path, name: str) -> RunError:
    """Return the error for a file of a complete run that is damaged or missing."""
    path = folder / name
    instead = "restore it, or run the command that trained the run with overwrite=true"
    if name in _REPLACEABLE:
        instead = "run the command that trained the run again: it writes it from the checkpoint"
    if name == LAST:
        instead = "delete that file, which a complete run does not need"
    if (folder / TREES).is_file():
        instead = f"delete {folder}: evaluate.py trains the baseline again"
    return RunError(
        f"{path} is {'damaged' if path.is_file() else 'missing'}",
        expected="the file as it was written",
        instead=instead,
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return the options of a run, plain data.

    Raises:
        RunError: config.yaml cannot be read.
    """
    path = folder / CONFIG
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError("it has no keys")
        canonical_json(config)  # raises for what is not plain data
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise RunError(
            f"{path} cannot be read ({reason or type(error).__name__})",
            expected="the options that train.py wrote",
            instead="train the run again with overwrite=true, or move its folder out of the study",
        ) from error
    return config


def differences(held: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return what makes two runs different, as `option: held -> asked`."""
    old, new = identity(held), identity(asked)
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that make a run what it is, by name: `{"model.lr": 0.001, ...}`."""
    flat = flatten(config)
    trees = flat.get("model.kind") == "trees"
    unread = (*_NOT_IDENTITY, *_NOT_OF_TREES) if trees else _NOT_IDENTITY
    read = _OF_WINDOW_FEATURES if flat.get("model.features") == "window" else ("window.lookback",)
    return {
        key: value
        for key, value in flat.items()
        if _is_among(key, read) or not _is_among(key, unread)
    }


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return options by their whole names, as they are typed: `{"model.lr": 0.001, ...}`."""
    if not isinstance(config, Mapping):
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _is_among(key: str, options: Sequence[str]) -> bool:
    return any(key == option or key.startswith(f"{option}.") for option in options)


def digest(config: Mapping[str, Any]) -> str:
    """Return a hash of what makes a run what it is."""
    return hashlib.sha256(canonical_json(identity(config))).hexdigest()
