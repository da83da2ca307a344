"""From bars to a finished run."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import lightning
import numpy as np
import pandas as pd
from hydra.core.hydra_config import HydraConfig
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from gafcnn.files import write_json
from gafcnn.forecasts import Score, score_rows, write_predictions
from gafcnn.market import Market, fingerprint
from gafcnn.pipeline.assembly import is_baseline, load_images, load_market, load_samples, plain
from gafcnn.pipeline.checks import check
from gafcnn.pipeline.network import NetworkLearner
from gafcnn.pipeline.trees import TreesLearner
from gafcnn.runs import (
    LAST,
    METRICS,
    PREDICTIONS,
    TRAINING,
    claim,
    holding,
    is_complete,
    load_run,
    record,
    run_name,
)
from gafcnn.samples import NULL, PARTS, LabelledSamples

log = logging.getLogger(__name__)


class Learner(Protocol):
    """What a run is made with: a network or the baseline."""

    def prepare(self, market: Market, samples: LabelledSamples, /) -> None:
        """Make what learning needs, and meet all that can be refused."""
        ...

    def learn(self) -> NDArray[np.float64]:
        """Learn; then P(up) of all samples of validation, then of test: shape (n,)."""
        ...

    def facts(self) -> dict[str, Any]:
        """What metrics.json says of the learning."""
        ...


def prepare(cfg: DictConfig) -> Path:
    """Bars and the window's image store; nothing that needs a trained model or a GPU.

    Args:
        cfg: `conf/prepare.yaml`, composed.

    Returns:
        The folder of the store.
    """
    check(cfg)
    store = load_images(cfg, load_market(cfg))
    log.info("%s images of %s are in %s", f"{len(store.times):,}", cfg.window.name, store.folder)
    return store.folder


def train(cfg: DictConfig, folder: Path | None = None) -> float:
    """Train one window or the baseline, or go on with it; missing bars and images are made first.

    Args:
        cfg: `conf/train.yaml`, composed.
        folder: Where the run is written; by default Hydra's folder for the job, or in a
            notebook `outputs/<study>/<name of the run>`.

    Returns:
        The validation figure that `cfg.objective` names, NaN where it cannot be computed.

    Raises:
        RunError: Where the folder holds a run of another configuration, or is in use.
    """
    check(cfg)
    folder = folder or _folder(cfg)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    # before the bars: a wrong name or path is told in seconds
    learner = (TreesLearner if is_baseline(cfg) else NetworkLearner)(cfg, folder)
    market = load_market(cfg)
    config = _config(cfg) | {"bars": fingerprint(market.bars)}
    with holding(folder):
        if not cfg.overwrite and is_complete(folder, config):
            log.info("%s is complete: nothing to do", folder)
        else:
            _train(cfg, folder, config, market, learner)
    value = load_run(folder).metrics["val"]["labelled"][cfg.objective]
    return math.nan if value is None else value


def _train(
    cfg: DictConfig, folder: Path, config: dict[str, Any], market: Market, learner: Learner
) -> None:
    samples = load_samples(cfg, market)
    learner.prepare(market, samples)
    # only now is anything in the folder touched: all that can be wrong has been looked at
    claim(folder, config, overwrite=cfg.overwrite)
    resumed = (folder / LAST).is_file()
    log.info(
        "%s %s on %s labelled samples of %s, writing to %s",
        "going on with" if resumed else "training",
        cfg.model.name,
        f"{len(samples.labelled('train')):,}",
        market.symbol,
        folder,
    )
    record(Path(cfg.paths.outputs, cfg.study), TRAINING, run=str(folder), resumed=resumed)
    predictions = _predictions(cfg, market.symbol, samples, learner.learn())
    write_predictions(folder / PREDICTIONS, predictions)
    val = score_rows(predictions.query("split == 'val'"), "p_up")
    counts = {
        part: {"all": len(samples.part(part)), "labelled": len(samples.labelled(part))}
        for part in PARTS
    }
    facts = learner.facts()
    write_json(folder / METRICS, {"val": val, **facts, "samples": counts})
    _tell(folder, val["labelled"], facts)


def _config(cfg: DictConfig) -> dict[str, Any]:
    """What makes a run what it is: all options, less those that its model does not read."""
    config = plain(cfg)
    if not is_baseline(cfg):
        return config
    unread = ("images", "trainer", "callbacks", "logger", "monitor", "monitor_mode")
    window = {"lookback": config["window"]["lookback"]}
    return {key: value for key, value in config.items() if key not in unread} | {"window": window}


def _folder(cfg: DictConfig) -> Path:
    if HydraConfig.initialized():
        return Path(os.path.relpath(HydraConfig.get().runtime.output_dir))
    name = run_name(cfg.model.name, cfg.seed, OmegaConf.select(cfg, "split.fold"))
    return Path(cfg.paths.outputs, cfg.study, name)


def _predictions(
    cfg: DictConfig, symbol: str, samples: LabelledSamples, p_up: NDArray[np.float64]
) -> pd.DataFrame:
    val, test = samples.split.val, samples.split.test
    rows = np.concatenate([val, test])
    label = pd.array(samples.label[rows], dtype="Int8")
    label[samples.label[rows] == NULL] = pd.NA
    fold = samples.split.fold
    return pd.DataFrame(
        {
            "symbol": pd.array([symbol] * len(rows), dtype="str"),
            "time": pd.DatetimeIndex(samples.times[rows]).tz_localize("UTC"),
            "window": pd.array([cfg.model.name] * len(rows), dtype="str"),
            "fold": pd.array([pd.NA if fold is None else fold] * len(rows), dtype="Int64"),
            "seed": np.full(len(rows), cfg.seed, dtype=np.int64),
            "split": pd.array(["val"] * len(val) + ["test"] * len(test), dtype="str"),
            "label": label,
            "forward_return": samples.outcomes.forward_return[rows],
            "known_at": pd.DatetimeIndex(samples.outcomes.known_at[rows]).tz_localize("UTC"),
            "p_up": p_up,
        }
    )


def _tell(folder: Path, val: Score, facts: Mapping[str, Any]) -> None:
    def shown(figure: float | None) -> str:
        return "n/a" if figure is None else f"{figure:.4f}"

    unit = next(unit for unit in ("epochs", "rounds") if unit in facts)
    log.info(
        "%s: %d %s, validation accuracy %s, AUC %s on %s labelled samples",
        folder, facts[unit], unit, shown(val["accuracy"]), shown(val["auc"]), f"{val['n']:,}",
    )  # fmt: skip
