"""Runs on disk: which files they have, whether they are complete, and who may write to them.

outputs/<study>/<model>[/<swept options>]/seed=<n>[/fold=<k>]/
    config.yaml            the options, and the fingerprints of the bars
    checkpoints/           best.ckpt and last.ckpt, or trees.json
    predictions.parquet    validation and test, see `gafcnn.evaluation.predictions`
    metrics.json           written last, with the checksums of the other files: a run that has it
                           is complete
    csv/, tensorboard/     logs
outputs/<study>/ledger.jsonl   every training and every look at test rows, a line of JSON each
outputs/<study>/evaluation/    see `gafcnn.app.evaluate`
outputs/<study>/later/<period>/    the same, of bars that are later than those of the study
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from filelock import Timeout

from gafcnn import atomic_io
from gafcnn.durations import parse_duration
from gafcnn.errors import ConfigError, RunError
from gafcnn.evaluation.predictions import read_predictions
from gafcnn.settings import create

if TYPE_CHECKING:
    from gafcnn.app.options import TrainSettings
    from gafcnn.data.samples import Samples
    from gafcnn.models.estimator import Estimator

CONFIG, METRICS, PREDICTIONS = "config.yaml", "metrics.json", "predictions.parquet"
CHECKPOINTS = "checkpoints"
BEST, LAST = f"{CHECKPOINTS}/best.ckpt", f"{CHECKPOINTS}/last.ckpt"
MODELS = {  # the file, the module and the class of each kind of model
    "gaf": (BEST, "classifier", "GafClassifier"),
    "trees": (f"{CHECKPOINTS}/trees.json", "boosted_trees", "BoostedTrees"),
    "minirocket": (f"{CHECKPOINTS}/rocket.npz", "rocket", "MiniRocket"),
    "momentum": (f"{CHECKPOINTS}/momentum.json", "momentum", "Momentum"),
}
OFFSET = "offset.parquet"  # what a network adds to
OFFSET_FOLDER = "offset"  # of the trees that forecast it
OFFSET_TREES = f"{OFFSET_FOLDER}/{CHECKPOINTS}/trees.json"
CHECKSUMS = "checksums"
METADATA = "metadata.json"  # of an export
EVALUATION, LATER = "evaluation", "later"
EXPORT, LEDGER, LOCK = "export", "ledger.jsonl", ".lock"
LOGS = ("csv", "tensorboard", "mlflow", "wandb")
BARS = "bars"  # the fingerprints, in config.yaml
_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, ten times as fast
TRAINING, LOOK = "train", "look"  # events of the ledger

# options that do not change what a run is: where and how fast it is computed
_NOT_IDENTITY = (
    "study", "paths", "logger", "overwrite", "swept", "objective", "imports", "market.path",
    "market.folder", "market.refresh", "market.url", "trainer.accelerator", "trainer.devices",
    "trainer.strategy", "trainer.compile", "trainer.progress",
)  # fmt: skip
# options that only networks read, except some that depend on `features`
_OF_NETWORKS = ("images", "trainer", "monitor", "monitor_mode", "window")
_OF_WINDOW_FEATURES = ("images.fields", "images.assets", "window")


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
        return read_config(intact(self.folder, CONFIG).parent)

    @cached_property
    def settings(self) -> TrainSettings:
        """The options of the run.

        Raises:
            RunError: They are not valid, for example because a label is not registered.
        """
        from gafcnn.app.options import TrainSettings

        options = {key: value for key, value in self.config.items() if key != BARS}
        try:
            return create(TrainSettings, "", options)
        except ConfigError as error:
            modules, found = ",".join(options["imports"]), f"{self.folder / CONFIG}: {error.found}"
            instead = f"add imports=[{modules}]" if modules else error.instead
            raise RunError(found, expected=error.expected, instead=instead) from error

    @property
    def kind(self) -> str:
        """The kind of the model, one of `MODELS`."""
        return self.config["model"]["kind"]

    @property
    def is_baseline(self) -> bool:
        """Whether the model is boosted trees."""
        return self.kind == "trees"

    @property
    def is_network(self) -> bool:
        """Whether the model is a network, which learns from images."""
        return self.kind == "gaf"

    @property
    def has_offset(self) -> bool:
        """Whether the network adds to stored forecasts."""
        return (self.folder / OFFSET).is_file()

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
        return read_predictions(intact(self.folder, PREDICTIONS))

    @property
    def checkpoint(self) -> Path:
        """The file of the model."""
        return intact(self.folder, MODELS[self.kind][0])

    @property
    def checksum(self) -> int:
        """The checksum of the file of a network."""
        return self.metrics[CHECKSUMS][BEST]

    def model(self, samples: Samples | None = None) -> Estimator:
        """Return the trained model, on the CPU.

        Given samples, the offset of a network is that of their validation and test.
        """
        options: dict[str, Any] = {"accelerator": "cpu"} if self.is_network else {}
        if self.has_offset and samples is None:
            options["offset"] = pd.read_parquet(intact(self.folder, OFFSET))
        elif self.has_offset:
            trees = estimator_class("trees").load(intact(self.folder, OFFSET_TREES))
            options["offset"] = trees.predict(samples)
        return estimator_class(self.kind).load(self.checkpoint, **options)


def estimator_class(kind: str) -> Any:
    """Return the class of a kind of model; its libraries are imported only here."""
    _, module, name = MODELS[kind]
    return getattr(import_module(f"gafcnn.models.{module}"), name)


def load_run(folder: str | Path) -> Run:
    """Return a complete run, by its folder or by one that contains exactly one run.

    Raises:
        RunError: There is no run, more than one, or it is not complete.
    """
    found = sorted(path.parent for path in Path(folder).rglob(CONFIG))
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found[:4])
        raise RunError(
            f"{folder} has {len(found)} runs ({names})" if found else f"{folder} has no run",
            expected=f"one folder with {CONFIG}",
            instead=f'load one of them: load_run("{found[0]}")' if found else "correct the path",
        )
    [run] = found
    if not (run / METRICS).is_file():
        text, expected = f"the run in {run} is not complete", f"{METRICS}, which is written last"
        raise RunError(text, expected=expected, instead="run its command again, or delete it")
    return Run(run)


def find_runs(study: Path) -> dict[str, list[Run]]:
    """Return all runs of a study by the name of their model: windows by span, then the baseline.

    An incomplete baseline is left out.

    Raises:
        RunError: There is no such study, it has no runs, or a run is not complete.
    """
    if not study.is_dir():
        outputs = study.parent
        known = sorted({path.relative_to(outputs).parts[0] for path in outputs.rglob(CONFIG)})
        near = get_close_matches(study.name, known, n=1)
        if (elsewhere := outputs / "outputs" / study.name).is_dir():
            near = [str(elsewhere)]
        raise RunError(
            f"there is no study {study.name} in {outputs}",
            expected=f"one of {', '.join(known)}" if known else "a study with trained runs",
            instead=f"did you mean {near[0]}?" if near else "correct the name",
        )
    found: dict[str, list[Run]] = {}
    for path in sorted(study.rglob(CONFIG)):
        complete = (path.parent / METRICS).is_file()
        if complete or read_config(path.parent)["model"]["kind"] != "trees":  # they are retrained
            found.setdefault(path.relative_to(study).parts[0], []).append(load_run(path.parent))
    if not found:
        instead = "train one with python train.py study=NAME, and pass outputs/NAME"
        raise RunError(f"there are no runs in {study}", expected="a study", instead=instead)

    def order(name: str) -> tuple[bool, pd.Timedelta]:
        run = found[name][0]
        return run.is_baseline, parse_duration("window.span", run.config["window"]["span"])

    return {name: found[name] for name in sorted(found, key=order)}


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder, or out of a study's evaluation.

    Raises:
        RunError: Another process is working in it.
    """
    try:
        with atomic_io.locked(folder / LOCK):
            atomic_io.remove_partial_files(folder)
            yield
    except Timeout:
        found = f"{atomic_io.lock_holder(folder / LOCK)} is working in {folder}"
        instead = "wait for it, or use another study=..."
        raise RunError(found, expected="one process at a time", instead=instead) from None


def is_complete(folder: Path, config: Mapping[str, Any]) -> bool:
    """Return whether a folder has this run, complete; False if it is free or can be resumed.

    Raises:
        RunError: It holds a different run, or one that is damaged.
    """
    begun = any((folder / name).is_file() for name in (LAST, BEST, METRICS))
    if not begun or not (folder / CONFIG).is_file():
        return False
    if differing := differences(read_config(folder), config):
        shown = ", ".join(differing[:5]) + (", ..." if len(differing) > 5 else "")
        found = f"{folder} holds a different run ({shown})"
        instead = "keep both with study=..., or delete the old one with overwrite=true"
        raise RunError(found, expected="the same options and bars", instead=instead)
    if not (folder / METRICS).is_file():
        return False
    if damaged := damaged_files(folder):
        raise damage(folder, damaged[0])
    return True


def claim(folder: Path, config: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write a run's config; before that, delete what is overwritten."""
    if overwrite:
        # metrics.json first, so that the rest never looks like a complete run
        for name in (METRICS, CONFIG, PREDICTIONS, OFFSET):
            (folder / name).unlink(missing_ok=True)
        for name in (CHECKPOINTS, OFFSET_FOLDER, *LOGS):
            shutil.rmtree(folder / name, ignore_errors=True)
    text = yaml.safe_dump(dict(config), sort_keys=False)
    atomic_io.write_bytes(folder / CONFIG, text.encode())


def write_metrics(
    folder: Path, metrics: Mapping[str, Any], names: Sequence[str], file: str = METRICS
) -> None:
    """Write metrics.json, with a checksum of itself and those of other files of the folder."""
    checksums = {name: atomic_io.checksum(folder / name) for name in names}
    atomic_io.write_json(folder / file, atomic_io.seal({**metrics, CHECKSUMS: checksums}))


def read_metrics(folder: Path, file: str = METRICS) -> dict[str, Any]:
    """Return what `write_metrics` wrote.

    Raises:
        RunError: It is missing or damaged.
    """
    metrics = atomic_io.read_sealed(folder / file)
    if metrics is None or CHECKSUMS not in metrics:
        raise damage(folder, file)
    return metrics


def damaged_files(folder: Path, file: str = METRICS) -> list[str]:
    """Return the names of the files that have changed since `write_metrics` wrote `file`."""
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
    return path.is_file() and atomic_io.checksum(path) == kept


def damage(folder: Path, name: str) -> RunError:
    """Return the error for a file of a complete run that is damaged or missing."""
    state = "damaged" if (folder / name).is_file() else "missing"
    if (folder / MODELS["trees"][0]).is_file():
        instead = f"delete {folder}: evaluate.py trains the baseline again"
    elif name in (PREDICTIONS, METRICS):
        instead = f"delete {folder / METRICS}: the command that trained the run writes both again"
    else:
        instead = "restore it, or run the command that trained the run with overwrite=true"
    expected = "the file as it was written"
    return RunError(f"{folder / name} is {state}", expected=expected, instead=instead)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the options of a run, plain data.

    Raises:
        RunError: config.yaml cannot be read.
    """
    path = folder / CONFIG
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), _YAML)  # noqa: S506 - a safe one
        if not isinstance(config, dict):
            raise TypeError("it has no keys")
        atomic_io.canonical_json(config)  # raises for what is not plain data
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        found = f"{path} cannot be read ({error})"
        instead = "train the run again with overwrite=true, or move its folder out of the study"
        raise RunError(found, expected="what train.py wrote", instead=instead) from error
    return config


def differences(held: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return what makes two runs different, as `option: held -> asked`."""
    old, new = identity(held), identity(asked)
    keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys]


def digest(config: Mapping[str, Any]) -> str:
    """Return a hash of what makes a run what it is."""
    return hashlib.sha256(atomic_io.canonical_json(identity(config))).hexdigest()


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that make a run what it is, by name: `{"model.lr": 0.001, ...}`."""
    [flat] = pd.json_normalize(dict(config)).to_dict("records")
    network = flat.get("model.kind") == "gaf"
    unread = _NOT_IDENTITY if network else (*_NOT_IDENTITY, *_OF_NETWORKS)
    shown = flat.get("model.features") == "window" or flat.get("model.kind") == "minirocket"
    read = _OF_WINDOW_FEATURES if shown else ("window.lookback",)

    read, unread = (tuple(f"{option}." for option in options) for options in (read, unread))
    own = (k for k in flat if f"{k}.".startswith(read) or not f"{k}.".startswith(unread))
    return {key: flat[key] for key in own}


def record(study: Path, event: str, **facts: Any) -> None:
    """Append an event to the ledger of a study.

    Raises:
        DiskError: It cannot be written; the ledger is unchanged.
    """
    entry = {"event": event, "time": datetime.now(UTC).isoformat(timespec="seconds"), **facts}
    line, path = json.dumps(entry).encode() + b"\n", study / LEDGER
    with atomic_io.disk_errors(path, len(line)):
        study.mkdir(parents=True, exist_ok=True)
        atomic_io.check_free_space(study, len(line))  # rather no line than a part of one
        with path.open("ab") as ledger:
            ledger.write(line)
            ledger.flush()
            os.fsync(ledger.fileno())


def recorded(study: Path, event: str, period: Sequence[str] = ("", "~")) -> int:
    """Return how many events of a kind the ledger has; of looks, those at some of a period.

    The period is two ISO times, by default all. A training that was killed and resumed counts once.
    A damaged line counts as an event of any kind, so that looks are rather overstated.
    """
    path, events = study / LEDGER, set()
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for number, line in enumerate(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = {}
        first, last = entry.get("period", period)
        if entry.get("event", event) == event and first <= period[1] and last >= period[0]:
            trained = (entry["run"], entry["config"]) if "config" in entry else None
            events.add(trained or number)
    return len(events)
