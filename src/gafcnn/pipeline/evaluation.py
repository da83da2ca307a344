"""From the runs of a study to what they are worth together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from gafcnn.files import write_json
from gafcnn.forecasts import average_seeds, ensemble, join, score_table, write_predictions
from gafcnn.market import Market
from gafcnn.pipeline.assembly import made
from gafcnn.report import confusion_matrices, save, show, table
from gafcnn.runs import EVALUATION, METRICS, PREDICTIONS, Run, find_runs, record

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
    study = Path(cfg.paths.outputs, cfg.study)
    runs = {window: find_runs(study, window) for window in cfg.windows}
    members = {
        window: average_seeds(run.predictions for run in found) for window, found in runs.items()
    }
    methods = list(cfg.ensemble.methods)
    joined = ensemble(join(members), list(members), methods)
    names = [*members, *methods]
    if (oracle := _oracle(runs[cfg.windows[0]][0])) is not None:
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


def _oracle(run: Run) -> pd.Series | None:
    """P(up) as a simulated market itself knows it; None for a real one."""
    market = run.config["market"]
    if not market["_target_"].endswith("from_simulation"):
        return None
    simulated: Market = made(DictConfig(market))
    return simulated.oracle


def _long(joined: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The joined table as predictions: one row per model, symbol, time and fold."""
    shared = joined.drop(columns=list(names))
    parts = [shared.assign(window=name, seed=-1, p_up=joined[name]) for name in names]
    return pd.concat(parts, ignore_index=True)
