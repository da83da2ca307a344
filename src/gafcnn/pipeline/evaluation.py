"""From the runs of a study to what they are worth together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, ListConfig, OmegaConf

from gafcnn.errors import ConfigError, RunError
from gafcnn.files import write_json
from gafcnn.forecasts import average_seeds, ensemble, join, score_table, write_predictions
from gafcnn.market import Market
from gafcnn.pipeline.assembly import made
from gafcnn.pipeline.checks import check_study
from gafcnn.report import confusion_matrices, save, show, table
from gafcnn.runs import EVALUATION, METRICS, PREDICTIONS, Run, differences, find_runs, record

log = logging.getLogger(__name__)

ORACLE = "oracle"


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Join the windows of a study by time, combine them, and look at the test rows.

    Writes `outputs/<study>/evaluation/`: predictions.parquet, metrics.json, confusion.png.

    Args:
        cfg: `conf/evaluate.yaml`, composed.

    Returns:
        What metrics.json holds.

    Raises:
        RunError: Where a window has no finished run.
        PredictionsError: Where the windows are not about the same samples.
    """
    check_study(cfg)
    windows, methods = _names(cfg, "windows"), _names(cfg, "ensemble.methods")
    study = Path(cfg.paths.outputs, cfg.study)
    runs = {window: find_runs(study, window) for window in windows}
    members = {window: _member(window, found) for window, found in runs.items()}
    joined = ensemble(join(members), list(members), methods)
    names = [*members, *methods]
    if (oracle := _oracle(runs[windows[0]][0])) is not None:
        joined[ORACLE] = oracle.reindex(joined["time"]).to_numpy()
        names.append(ORACLE)

    test = joined.query("split == 'test'")
    looks = record(study, "look", windows=list(members), rows=len(test))
    scores = score_table(test, names)
    metrics = {
        "study": cfg.study,
        "windows": list(members),
        "first": test["time"].min().isoformat(),
        "last": test["time"].max().isoformat(),
        "looks": looks,
        **scores,
    }
    folder = study / EVALUATION
    write_predictions(folder / PREDICTIONS, _long(joined, names))
    save(confusion_matrices(scores), folder / "confusion.png")
    write_json(folder / METRICS, metrics)
    show(table(scores))
    log.info("look %d at the test rows of study %s; written to %s", looks, cfg.study, folder)
    return metrics


def _names(cfg: DictConfig, key: str) -> list[str]:
    names = OmegaConf.select(cfg, key)
    if not isinstance(names, ListConfig) or not names or len(set(names)) < len(names):
        raise ConfigError(
            f"{key}={names}",
            expected="a list of names, each once",
            instead=f"write {key}=[one,another]",
        )
    return list(names)


def _member(window: str, runs: Sequence[Run]) -> pd.DataFrame:
    """A window's predictions: the mean over its seeds, its folds one after another.

    Raises:
        RunError: Where its runs differ in more than seed and fold: they are no one model.
    """
    first = runs[0]
    for run in runs[1:]:
        differing = [
            difference
            for difference in differences(first.config, run.config)
            if not difference.startswith(("seed:", "split.fold:"))
        ]
        if differing:
            raise RunError(
                f"{first.folder} and {run.folder} differ in {', '.join(differing[:3])}",
                expected=f"runs of {window} that differ in seed and fold only",
                instead="train each of them in a study of its own, with study=...",
            )
    return average_seeds(run.predictions for run in runs)


def _oracle(run: Run) -> pd.Series | None:
    """What a simulated market knows itself of the very thing the run forecasts, if it does."""
    market, label = run.config["market"], run.config["label"]
    same = market.get("horizon") == label["horizon"] and label["_target_"].endswith("Direction")
    if not (market["_target_"].endswith("from_simulation") and same):
        return None
    simulated: Market = made(DictConfig(market | {"folder": None}))
    return simulated.oracle


def _long(joined: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The joined table as predictions: one row per model, symbol, time and fold.

    The seed is -1 throughout: a member may be the mean of several, an ensemble has none.
    """
    shared = joined.drop(columns=list(names))
    parts = [shared.assign(window=name, seed=-1, p_up=joined[name]) for name in names]
    return pd.concat(parts, ignore_index=True)
