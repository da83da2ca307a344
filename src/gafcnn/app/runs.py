"""Runs on disk: a folder for each trained model, a ledger for each study.

In the order in which they are written:

    outputs/<study>/<window, or xgboost>[/seed=..][/fold=..]/
        config.yaml            what was asked for, and the fingerprint of the bars it was asked of
        checkpoints/           best.ckpt, last.ckpt; of the baseline, trees.json
        predictions.parquet    validation and test, see gafcnn.forecasts
        metrics.json           written last: a run that has it is complete; it holds the checksums
                               of config, predictions and model, and one of itself
        csv/, tensorboard/     the loggers'; mlflow/ and wandb/, where they were asked for
    outputs/<study>/ledger.jsonl   every training and every look at the test rows, a line each
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
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
from gafcnn.durations import parse_duration
from gafcnn.errors import ConfigError, RunError
from gafcnn.evaluation.predictions import read_predictions

if TYPE_CHECKING:
    from gafcnn.models.boosted_trees import Baseline
    from gafcnn.models.module import GafModule

log = logging.getLogger(__name__)

CONFIG, METRICS, PREDICTIONS = "config.yaml", "metrics.json", "predictions.parquet"
CHECKPOINTS = "checkpoints"
BEST, LAST = f"{CHECKPOINTS}/best.ckpt", f"{CHECKPOINTS}/last.ckpt"
TREES = f"{CHECKPOINTS}/trees.json"
CHECKSUMS = "checksums"
_MADE_AGAIN = (PREDICTIONS, METRICS)  # of a checkpoint, by the command that left it
LEAVE = "train the run anew with overwrite=true, or move its folder out of the study"
_LOGS = ("csv", "tensorboard", "mlflow", "wandb")
LEDGER, LOCK = "ledger.jsonl", ".lock"
TRAINING, LOOK = "train", "look"
EVALUATION, EXPORT = "evaluation", "export"

# where a run is written, watched and computed does not change what it is
_NO_PART_OF_A_RUN = (
    "study", "paths", "logger", "overwrite", "swept", "objective", "market.path", "market.folder",
    "market.refresh", "market.url", "trainer.accelerator", "trainer.devices", "trainer.strategy",
    "trainer.compile", "callbacks.progress",
)  # fmt: skip


def run_name(model: str, seed: int = 0, fold: int | None = None, swept: Sequence[str] = ()) -> str:
    """The folder of a run inside its study, by meaning: `30m`, `30m/seed=1/fold=2`.

    Args:
        model: Name of the window, or of the baseline.
        seed: Named where it is not the default, 0.
        fold: Fold of a walk-forward split, where there is one.
        swept: Further overrides (`model.lr=0.001`) that tell the jobs of a sweep apart.

    Raises:
        ConfigError: The name is taken by what else a study's folder holds.
    """
    if model in (EVALUATION, EXPORT, LEDGER):
        raise ConfigError(
            f"a model called {model}",
            expected=f"a name that is no other thing's of a study, as {EVALUATION} is",
            instead="choose another window.name or model.name",
        )
    parts = [model]
    if seed != 0:
        parts.append(f"seed={seed}")
    if fold is not None:
        parts.append(f"fold={fold}")
    return "/".join(parts + [text.replace("/", "_") for text in swept])


def check_unshared(strategy: Any) -> None:
    """Assert that a run of a sweep is not to be shared by several processes.

    Args:
        strategy: `trainer.strategy`, or the option of `trainer` that sets it.

    Raises:
        ConfigError: It is.
    """
    if strategy == "ddp":
        raise ConfigError(
            "trainer=ddp inside a multirun, which each of its processes would start again",
            expected="one device a job of a sweep",
            instead="leave trainer=ddp out, or give each run a command of its own, without -m",
        )


@dataclass(frozen=True)
class Run:
    """A finished run: what was asked for, what came out, and the model itself.

    Whatever is read of it is as it was when the run was finished, or a RunError names the file.
    """

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The run's configuration, all interpolations resolved."""
        return read_config(self._whole(CONFIG))

    @property
    def is_baseline(self) -> bool:
        """Whether it is of boosted trees, not of a window's images."""
        return "trees" in self.config["model"]

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Validation metrics, epochs, steps, samples a second; see `metrics.json`."""
        if (metrics := _sealed_metrics(self.folder)) is None:
            raise damage(self.folder, METRICS)
        return metrics

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions of validation and test, see `gafcnn.evaluation.predictions.COLUMNS`."""
        return read_predictions(self._whole(PREDICTIONS))

    @property
    def checkpoint(self) -> Path:
        """The file that the model is in."""
        return self._whole(TREES if TREES in self.metrics[CHECKSUMS] else BEST)

    def model(self) -> GafModule | Baseline:
        """The best checkpoint's network, on the CPU, ready to predict; or the baseline's trees."""
        from gafcnn.models.boosted_trees import Baseline
        from gafcnn.models.module import GafModule

        kind = Baseline if self.is_baseline else GafModule
        return kind.load(self.checkpoint)

    def _whole(self, name: str) -> Path:
        path = self.folder / name
        if not _is_as_written(path, self.metrics[CHECKSUMS].get(name)):
            raise damage(self.folder, name)
        return path


def load_run(folder: str | Path) -> Run:
    """A finished run, to look at in a notebook.

    Raises:
        RunError: Where the folder holds no run, or one that was not finished.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise RunError(
            f"{folder} holds no run",
            expected=f"a folder with {CONFIG}",
            instead="train one with python train.py window=30m, or correct the path",
        )
    if not (folder / METRICS).is_file():
        raise RunError(
            f"the run in {folder} is not finished",
            expected=f"{METRICS}, which is written last",
            instead="start the command that began it again: it resumes",
        )
    return Run(folder)


def find_runs(study: Path) -> dict[str, list[Run]]:
    """All runs of a study by model, each model's in order of their names.

    Windows come first, by their span; then the baseline. A baseline that was not finished is none.

    Raises:
        RunError: Where there is no such study, or a run is not finished.
    """
    if not study.is_dir():
        known = sorted(_studies(study.parent))
        near = get_close_matches(study.name, known, n=1)
        raise RunError(
            f"there is no study {study.name} in {study.parent}",
            expected=f"one of {', '.join(known)}" if known else "a study that was trained",
            instead=f"type study={near[0]}"
            if near
            else f"correct the name, or give a training study={study.name}",
        )
    found: dict[str, list[Run]] = {}
    for path in sorted(study.rglob(CONFIG)):
        if not (path.parent / METRICS).is_file() and "trees" in read_config(path)["model"]:
            continue  # trees have no checkpoint to go on from: they are grown again
        found.setdefault(path.relative_to(study).parts[0], []).append(load_run(path.parent))
    if not found:
        raise RunError(
            f"study {study.name} has no run",
            expected="a finished run for each model that is evaluated",
            instead=f"train one with python train.py window=30m study={study.name}",
        )
    return dict(sorted(found.items(), key=lambda item: _place(item[1][0])))


def _place(run: Run) -> tuple[bool, pd.Timedelta]:
    span = "0" if run.is_baseline else run.config["window"]["span"]
    return run.is_baseline, parse_duration("window.span", span)


def _studies(outputs: Path) -> Iterator[str]:
    if outputs.is_dir():
        yield from {path.relative_to(outputs).parts[0] for path in outputs.rglob(CONFIG)}


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder, or out of a study's evaluation.

    Raises:
        RunError: Where another process is at work in it.
    """
    with disk_errors(folder, 0):
        make_folder(folder)
    lock = folder / LOCK
    with ExitStack() as held:
        try:
            held.enter_context(locked(lock))
        except Timeout:
            raise RunError(
                f"{lock_holder(lock)} is at work in {folder}",
                expected="one process at a time",
                instead="wait for it, or give this one a study of its own with study=...",
            ) from None
        for left in folder.rglob(".*.partial"):  # by a writer that was killed
            if _held_with(left, folder):
                left.unlink(missing_ok=True)
        yield


def _held_with(path: Path, folder: Path) -> bool:
    """Whether a file is the folder's own, and not of a run below it, which has its own lock."""
    between = path.parents[: path.parents.index(folder)]
    return not any((place / LOCK).exists() for place in between)


def begun(folder: Path) -> dict[str, Any] | None:
    """The configuration of the run that a folder holds, if it has got as far as a checkpoint."""
    got = any((folder / name).is_file() for name in (LAST, BEST, METRICS))
    return read_config(folder / CONFIG) if got and (folder / CONFIG).is_file() else None


def is_complete(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether a folder holds this very run, finished; False where it is free or to be gone on with.

    Raises:
        RunError: Where it holds a run of another config that has got as far as a checkpoint.
    """
    held = begun(folder)
    if held is None:
        return False
    if differing := differences(held, config):
        shown = ", ".join(differing[:5]) + (", ..." if len(differing) > 5 else "")
        raise RunError(
            f"{folder} holds another run ({shown})",
            expected="the same configuration and bars",
            instead="keep both with study=..., or throw the old one away with overwrite=true",
        )
    return (folder / METRICS).is_file() and _is_whole(Run(folder))


def _is_whole(run: Run) -> bool:
    """Whether a finished run is as it was; False where a checkpoint can make it so again.

    Raises:
        RunError: Its config or its model is damaged.
    """
    damaged = damaged_files(run.folder)
    if lost := [name for name in damaged if name not in (*_MADE_AGAIN, LAST)]:
        raise damage(run.folder, lost[0])
    return not set(damaged) & set(_MADE_AGAIN)


def finish(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write a run's metrics.json, with the checksums of what is read of it from now on.

    Args:
        folder: The run's, with its config, its predictions and its model.
        metrics: What metrics.json is to say.
    """
    models = [name for name in (TREES, BEST, LAST) if (folder / name).is_file()]
    write_metrics(folder, metrics, CONFIG, PREDICTIONS, *models)


def write_metrics(
    folder: Path, metrics: Mapping[str, Any], *names: str, into: str = METRICS
) -> None:
    """Write metrics.json, with a checksum of itself and those of other files of the folder."""
    checksums = {name: checksum(folder / name) for name in names}
    write_json(folder / into, seal({**metrics, CHECKSUMS: checksums}))


def damaged_files(folder: Path, told_in: str = METRICS) -> list[str]:
    """The names of the files that are not as they were when metrics.json was written.

    Args:
        folder: Of a finished run, or of a study's evaluation or export.
        told_in: The file of it that `write_metrics` wrote.
    """
    if (metrics := _sealed_metrics(folder, told_in)) is None:
        return [told_in]
    named = metrics[CHECKSUMS].items()
    return [name for name, kept in named if not _is_as_written(folder / name, kept)]


def _sealed_metrics(folder: Path, name: str = METRICS) -> dict[str, Any] | None:
    """What metrics.json says; None where it is not as it was written, or tells no checksums."""
    metrics = read_sealed(folder / name)
    return None if metrics is None or CHECKSUMS not in metrics else metrics


def _is_as_written(path: Path, kept: int | None) -> bool:
    return path.is_file() and checksum(path) == kept


def claim(folder: Path, config: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make a folder this run's own: write its config, after clearing away what is overwritten."""
    if overwrite:
        _clear(folder)
    elif (folder / METRICS).is_file():  # and yet it is begun again
        for name in damaged_files(folder):
            log.warning("%s: making it anew", damage(folder, name).found)
        with disk_errors(folder / METRICS, 0):  # from here on it counts as not finished
            (folder / METRICS).unlink()
    write_text(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False))


def read_config(path: Path) -> dict[str, Any]:
    """What a run's config.yaml says; plain data, no code.

    Raises:
        RunError: It cannot be read.
    """
    try:
        # the loader is a SafeLoader: it makes plain values and no objects
        config = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506
        if not isinstance(config, dict):
            raise TypeError("it holds no keys")
        _check_plain(config)
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        told = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise RunError(
            f"{path} cannot be read ({told or type(error).__name__})",
            expected="the config that train.py wrote",
            instead=LEAVE,
        ) from error
    return config


def _check_plain(value: Any) -> None:
    """Assert that a value is of what a run writes, all through: YAML has more, tuples among it."""
    strange = [key for key in value if not isinstance(key, str)] if isinstance(value, dict) else []
    if strange:
        raise TypeError(f"it has the key {strange[0]!r}")
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            _check_plain(child)
    elif value is not None and type(value) not in (str, int, float, bool):
        raise TypeError(f"it holds a {type(value).__name__}")


class _Loader(yaml.SafeLoader):
    """YAML of plain values, none of them an alias of another.

    A few lines of aliases of aliases stand for more values than there is memory; and no run writes
    one.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias")
        return super().compose_node(parent, index)


def damage(folder: Path, name: str) -> RunError:
    """What to say of a file of a finished run that is not as it was written, or is missing."""
    path = folder / name
    instead = "bring it back, or give the command that trained the run with overwrite=true"
    if name in _MADE_AGAIN:
        instead = "give the command that trained the run again, which makes that of the checkpoint"
    if name == LAST:
        instead = "remove that file, which a finished run needs no more"
    if (folder / TREES).is_file():
        instead = f"remove {folder}: evaluate.py grows the baseline again"
    return RunError(
        f"{path} is {'not as it was written' if path.is_file() else 'missing'}",
        expected="the file that the training left",
        instead=instead,
    )


def differences(held: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What makes two runs different, as `key: held -> asked`."""
    old, new = identity(held), identity(asked)
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run what it is: its options as `key.of.a.section`, less where and how it ran."""
    return _flat(config)


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if prefix in _NO_PART_OF_A_RUN:
        return {}
    if not isinstance(config, Mapping):
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _clear(folder: Path) -> None:
    # metrics.json goes first: whatever happens next, the rest no longer passes for a finished run
    for name in (METRICS, CONFIG, PREDICTIONS):
        (folder / name).unlink(missing_ok=True)
    for name in (CHECKPOINTS, *_LOGS):
        shutil.rmtree(folder / name, ignore_errors=True)


def record(study: Path, event: str, **facts: Any) -> None:
    """Add a line to the study's ledger."""
    entry = {"event": event, "time": datetime.now(UTC).isoformat(timespec="seconds"), **facts}
    line, path = json.dumps(entry).encode() + b"\n", study / LEDGER
    with disk_errors(path, len(line)):
        make_folder(study)
        with path.open("ab+", buffering=0) as ledger:
            if ledger.tell():  # a line that was cut short ends here
                ledger.seek(-1, os.SEEK_END)
                line = line if ledger.read(1) == b"\n" else b"\n" + line
            end = ledger.seek(0, os.SEEK_END)
            if ledger.write(line) < len(line):  # a part of it had room
                ledger.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(ledger.fileno())


def recorded(study: Path, event: str) -> int:
    """How many events of a kind the study's ledger holds.

    A training that was killed and given again is one. A line that is damaged, or was cut short,
    counts as an event of any kind: a look too many is said rather than one too few.
    """
    path = study / LEDGER
    lines = path.read_bytes().splitlines() if path.is_file() else []
    events = set()
    for number, line in enumerate(line for line in lines if line.strip()):
        entry = _entry(line)
        if "config" in entry and entry["event"] == event:
            events.add((entry["run"], entry["config"]))
        elif entry.get("event", event) == event:
            # two lines may have become one, where what stood between them is damaged
            events |= {(number, place) for place in range(max(1, line.count(b'{"event"')))}
    return len(events)


def _entry(line: bytes) -> dict[str, Any]:
    """What a line of the ledger says; nothing where it cannot be told."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    known = isinstance(entry, dict) and entry.get("event") in (TRAINING, LOOK)
    return entry if known and ("config" not in entry or "run" in entry) else {}


def digest(config: Mapping[str, Any]) -> str:
    """What tells a run from any other, wherever and however it is computed."""
    return hashlib.sha256(canonical_json(identity(config))).hexdigest()
