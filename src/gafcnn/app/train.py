"""Train one window, or the baseline: from bars to a complete run."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gafcnn import atomic_io
from gafcnn.app import runs
from gafcnn.app.options import TrainSettings
from gafcnn.app.prepare import fingerprints, load_for
from gafcnn.app.runs import BARS, Run
from gafcnn.data.samples import PARTS, Samples, task_of
from gafcnn.durations import format_duration
from gafcnn.errors import ConfigError
from gafcnn.evaluation.predictions import SCORE, classes_of, probability_columns, write_predictions
from gafcnn.evaluation.statistics import score_classes, score_ranking, score_rows
from gafcnn.settings import as_plain, create

log = logging.getLogger(__name__)

# the scores that a sweeper may optimise, the default first, and those that may choose an epoch
_SCORES = {
    "direction": {
        "objective": ("auc", "accuracy", "log_loss", "brier"),
        "monitor": ("val/loss", "val/accuracy", "val/auc"),
    },
    "classification": {
        "objective": (
            "balanced_accuracy", "accuracy", "balanced_accuracy_without_0", "macro_f1", "log_loss",
        ),
        "monitor": ("val/loss", "val/accuracy", "val/balanced_accuracy", "val/macro_f1"),
    },
    "ranking": {"objective": ("rank_ic",), "monitor": ("val/loss", "val/correlation")},
}  # fmt: skip


def train(options: Mapping[str, Any]) -> float:
    """Train one window or the baseline, or resume its training, by `conf/train.yaml`.

    Returns:
        The validation score that `objective` names, the mean over the seeds; NaN if undefined.

    Raises:
        RunError: The folder holds a different run, or is in use.
        GafcnnError: The options, the bars or the samples are invalid, or the disk is full.
    """
    settings = create(TrainSettings, "", options)
    known = _SCORES[task_of(settings.label)]
    objective = settings.objective or known["objective"][0]
    for option, name in (("objective", objective), ("monitor", settings.monitor)):
        if name not in (names := known[option]):
            expected, instead = f"one of {', '.join(names)}", f"set {option}={names[0]}"
            raise ConfigError(f"{option}={name}", expected=expected, instead=instead)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    trained = [train_run(replace(settings, seed=seed, seeds=1)) for seed in seeds]
    command = "gafcnn evaluate" if Path(sys.argv[0]).stem == "gafcnn" else "python evaluate.py"
    log.info("to judge it on test rows: %s study=%s", command, settings.study)
    values = [run.metrics["val"]["labelled"][objective] for run in trained]
    return math.nan if None in values else math.fsum(values) / len(values)


def train_run(settings: TrainSettings, bars: Mapping[str, pd.DataFrame] | None = None) -> Run:
    """Train a run, resume it, or return it if it is complete; errors are those of `train`."""
    folder, overwrite = settings.folder, settings.overwrite
    # torchrun numbers all processes of a shared training, Lightning those of this machine
    helps = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) > 0
    if helps:
        logging.getLogger("gafcnn").setLevel(logging.WARNING)
    bars = load_for(settings) if bars is None else bars
    config = as_plain(settings) | {BARS: fingerprints(bars)}
    # before the folder is locked: a folder that is read-only can be complete
    done = not overwrite and runs.is_complete(folder, config)
    if not done:
        samples = settings.samples(bars)
        model: Any = settings.estimator(folder)
        model.check(samples)
        if helps:
            model.fit(samples)  # and end there: the first process writes the run
        with runs.hold(folder):
            done = not overwrite and runs.is_complete(folder, config)
            if not done:
                runs.claim(folder, config, overwrite=overwrite)
                _fit(settings, folder, config, samples, model)
    if done:
        log.info("%s is complete: nothing to do", folder)
    return Run(folder)


def _fit(
    settings: TrainSettings, folder: Path, config: Mapping[str, Any], samples: Samples, model: Any
) -> None:
    resumed = any((folder / name).is_file() for name in (runs.LAST, runs.BEST))
    labelled, counts = len(samples.labelled("train")), samples.counts("train")
    of = samples.described_symbols
    if samples.classes:
        of += f" ({100 * counts.max() / labelled:.1f} % {samples.classes[int(counts.argmax())]})"
    log.info(
        "%s %s on %s labelled samples of %s, validation on %s; embargo %s; folder %s",
        *("resuming" if resumed else "training", settings.name, f"{labelled:,}", of),
        *(f"{len(samples.labelled('val')):,}", format_duration(samples.embargo), folder),
    )
    if (stride := getattr(settings.split, "stride", 1)) > 1:
        log.info("split.stride=%d thins training only: validation and test keep all", stride)
    study = settings.paths.outputs / settings.study
    facts = {"run": str(folder), "config": runs.digest(config), "resumed": resumed}
    runs.record(study, runs.TRAINING, **facts)
    if settings.offset is not None:
        model.set_params(offset=_offset(settings, folder, samples))
    predictions = model.fit(samples).predict(samples)
    write_predictions(folder / runs.PREDICTIONS, predictions)
    embargo = format_duration(samples.embargo)
    metrics = {**_facts(predictions, samples), **model.facts_, "embargo": embargo}
    if len(samples.symbols) > 1:
        metrics["symbols"] = {
            symbol: _facts(predictions.query("symbol == @symbol"), samples.of(symbol))
            for symbol in samples.symbols
        }
    files = (runs.OFFSET, runs.OFFSET_TREES, *(name for name, *_ in runs.MODELS.values()))
    models = [name for name in files if (folder / name).is_file()]
    runs.write_metrics(folder, metrics, (runs.CONFIG, runs.PREDICTIONS, *models))


def _offset(settings: TrainSettings, folder: Path, samples: Samples) -> pd.DataFrame:
    from gafcnn.models.out_of_fold import out_of_fold

    trees = replace(settings, model=settings.offset, offset=None)
    table = out_of_fold(trees.estimator(folder / runs.OFFSET_FOLDER), samples)
    atomic_io.write_bytes(folder / runs.OFFSET, table.to_parquet(None, index=False))
    return table


def _facts(predictions: pd.DataFrame, samples: Samples) -> dict[str, Any]:
    """Return the scores on validation, and the number of samples of each part and class."""
    counts = {
        part: {
            "all": len(samples.part(part)),
            "labelled": len(samples.labelled(part)),
            "classes": dict(zip(samples.classes, samples.counts(part).tolist(), strict=True)),
        }
        for part in PARTS
    }
    return {"val": score_part(predictions, "val"), "samples": counts}


def score_part(predictions: pd.DataFrame, part: str) -> dict[str, dict[str, Any]]:
    """Return the scores of a part's `labelled` rows; for directions also those of `all` rows."""
    rows = predictions.loc[predictions["split"] == part]
    first, *others = columns = [*probability_columns(rows)]
    if first == SCORE:
        return {"labelled": score_ranking(rows, SCORE)}
    if not others:  # P(up) alone
        return score_rows(rows, first)
    rows = rows.dropna(subset=["label"])
    scores = score_classes(rows[columns], rows["label"])
    scores["classes"] = dict(zip(classes_of(rows), scores["classes"], strict=True))
    return {"labelled": scores}
