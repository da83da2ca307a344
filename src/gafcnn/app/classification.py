"""From the runs of a study of several classes to how well they recognise them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from gafcnn.app.combining import side_by_side
from gafcnn.app.leakage import of_study
from gafcnn.app.pictures import recognised_samples
from gafcnn.app.runs import LOOK, Run, record, recorded
from gafcnn.app.studies import (
    Runs,
    baseline_of,
    classes_asked,
    headline_of,
    looked_before,
    publish,
    shared_facts,
    windows_of,
)
from gafcnn.data.features import FIELDS
from gafcnn.data.sources import Market
from gafcnn.evaluation.comparisons import ENSEMBLE
from gafcnn.evaluation.ensembles import mean_of_classes
from gafcnn.evaluation.joining import probabilities
from gafcnn.evaluation.predictions import KEY, OUTCOME, probability_column
from gafcnn.evaluation.recognition import Recognition, judge_recognition
from gafcnn.evaluation.verdict import of_recognition
from gafcnn.progress import counting
from gafcnn.report.classification_page import recognition_table, write_recognition


def recognise(cfg: DictConfig, study: Path, runs: Runs, market: Market) -> dict[str, Any]:
    """Judge a study of several classes on its labelled test rows; nothing is traded.

    Several windows are combined by the mean of their probabilities, whatever `ensemble.methods`
    lists: the other methods speak of a direction.

    Args:
        cfg: `conf/evaluate.yaml`, composed.
        study: The study's folder.
        runs: Its runs by model, a baseline among them.
        market: The bars that they were made of.

    Returns:
        What metrics.json holds.

    Raises:
        PredictionsError: Where the models are not about the same samples.
    """
    classes, baseline = classes_asked(runs), baseline_of(runs)
    windows = windows_of(runs)
    joined = side_by_side(runs)
    models = [*windows]
    if len(windows) > 1:
        joined = mean_of_classes(joined, windows, classes)
        models.append(ENSEMBLE)
    models.append(baseline)
    judged_study = Recognition(
        market.bars, joined, classes, models, baseline, headline_of(models, windows)
    )
    record(study, LOOK, windows=windows, rows=len(judged_study.labelled))
    with counting("judging", cfg.judging.resamples, "resamples") as advance:
        judged = judge_recognition(
            judged_study, resamples=cfg.judging.resamples, seed=cfg.judging.seed, advance=advance
        )
    shown = recognised_samples(runs, windows, market, judged_study)
    metrics = {
        **shared_facts(cfg, study, runs, [market], judged_study.test),
        "headline": judged_study.headline,
        "fields": {name: _fields(found[0]) for name, found in runs.items()},
        "verdict": [
            *of_recognition(judged, judged_study.headline, baseline),
            *looked_before(recorded(study, LOOK)),
        ],
        **judged,
    }
    publish(
        cfg,
        study,
        metrics,
        _long(joined, models, classes),
        lines=recognition_table(metrics),
        write=partial(write_recognition, samples=shown),
        receipts=partial(of_study, cfg, runs, [market]),
    )
    return metrics


def _fields(run: Run) -> dict[str, list[str]]:
    """What a model was shown of each candle, by kind: what a trader would name, or rules."""
    shown: dict[str, list[str]] = {}
    for name in run.config["images"]["fields"]:
        shown.setdefault(FIELDS[name].kind, []).append(name)
    return shown


def _long(joined: pd.DataFrame, models: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
    """The joined table as predictions: one row per model, symbol, time and fold; seed -1."""
    shared = joined[[*KEY, *OUTCOME]]
    columns = [probability_column(name) for name in classes]
    parts = [
        shared.assign(
            window=name,
            seed=-1,
            **dict(zip(columns, probabilities(joined, name, classes).T, strict=True)),
        )
        for name in models
    ]
    return pd.concat(parts, ignore_index=True)
