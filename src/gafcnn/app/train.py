"""From bars to a finished run."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import lightning
import numpy as np
import pandas as pd
from hydra.core.hydra_config import HydraConfig
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from gafcnn.app.checks import check, objective_of
from gafcnn.app.factory import (
    drawn_samples,
    fingerprints,
    is_baseline,
    load_images,
    load_markets,
    load_samples,
    plain,
)
from gafcnn.app.network_learner import NetworkLearner, processes_for, settled
from gafcnn.app.runs import (
    BEST,
    LAST,
    PREDICTIONS,
    TRAINING,
    claim,
    digest,
    finish,
    holding,
    is_complete,
    load_run,
    record,
    run_name,
)
from gafcnn.app.trees_learner import TreesLearner, features_named
from gafcnn.data.augmentation import Drawn, class_counts
from gafcnn.data.labels import DIRECTIONS, NULL
from gafcnn.data.multi_symbol import per_symbol
from gafcnn.data.samples import PARTS, LabelledSamples, Part
from gafcnn.data.sources import Market
from gafcnn.evaluation.predictions import probability_column, write_predictions
from gafcnn.evaluation.statistics import score_classes, score_rows
from gafcnn.models.processes import Processes

log = logging.getLogger(__name__)


class Learner(Protocol):
    """What a run is made with: a network or the baseline."""

    def prepare(
        self, markets: Sequence[Market], samples: LabelledSamples, drawn: Sequence[Drawn], /
    ) -> None:
        """Make what learning needs, and meet all that can be refused.

        `drawn` are further training samples.
        """
        ...

    def learn(self) -> NDArray[np.float64]:
        """Learn; then predict all samples of validation, then of test.

        P(up) of shape (n,), or of several classes probabilities of shape (n, classes).
        """
        ...

    def facts(self) -> dict[str, Any]:
        """What metrics.json says of the learning."""
        ...


def prepare(cfg: DictConfig) -> Path:
    """Bars and the window's images, or their series; nothing that needs a model or a GPU.

    Args:
        cfg: `conf/prepare.yaml`, composed.

    Returns:
        The folder of the store; of the stores of several symbols, the one that they are in.
    """
    check(cfg)
    source = load_images(cfg, load_markets(cfg))
    log.info("%s of %s are in %s", source.about, cfg.window.name, source.folder)
    return source.folder


def train(cfg: DictConfig, folder: Path | None = None) -> float:
    """Train one window or the baseline, or go on with it; missing bars and images are made first.

    Args:
        cfg: `conf/train.yaml`, composed.
        folder: Where the run is written; by default Hydra's folder for the job, or in a
            notebook `outputs/<study>/<name of the run>`.

    Returns:
        The validation figure that `cfg.objective` names, or the label's usual one; NaN where it
        cannot be computed, and in a process that only shares the training of another.

    Raises:
        RunError: Where the folder holds a run of another configuration, or is in use.
        ConfigError: `trainer=ddp` inside a sweep.
        LearningError: There are no devices as asked for.
    """
    check(cfg)
    folder = folder or _folder(cfg)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    # before the bars: a wrong name or path, or a missing device, is told in seconds
    processes = processes_for(cfg)
    if processes.rank > 0:
        return _help(cfg, folder, processes)
    cfg = cfg if is_baseline(cfg) else settled(cfg, folder)
    learner = (
        TreesLearner(cfg, folder) if is_baseline(cfg) else NetworkLearner(cfg, folder, processes)
    )
    markets = load_markets(cfg)
    config = _config(cfg) | {"bars": fingerprints(markets)}
    done = not cfg.overwrite and is_complete(folder, config)
    if not done:  # a folder that may only be read has no place for a lock
        with holding(folder):
            done = not cfg.overwrite and is_complete(folder, config)
            if not done:
                _train(cfg, folder, config, markets, learner)
    if done:
        log.info("%s is complete: nothing to do", folder)
        processes.summon(needed=False)
    value = load_run(folder).metrics["val"]["labelled"][objective_of(cfg)]
    return math.nan if value is None else value


def _help(cfg: DictConfig, folder: Path, processes: Processes) -> float:
    """Share a training that the first process leads, once it has made all that there is to make."""
    if processes.summoned():
        logging.getLogger("gafcnn").setLevel(logging.WARNING)  # the first has told it all
        cfg = settled(cfg, folder)
        learner = NetworkLearner(cfg, folder, processes)
        markets = load_markets(cfg)
        samples = load_samples(cfg, markets)
        learner.prepare(markets, samples, drawn_samples(cfg, markets[0], samples))
        learner.help()
    return math.nan


def _train(
    cfg: DictConfig,
    folder: Path,
    config: dict[str, Any],
    markets: Sequence[Market],
    learner: Learner,
) -> None:
    samples = load_samples(cfg, markets)
    drawn = drawn_samples(cfg, markets[0], samples)
    learner.prepare(markets, samples, drawn)
    # only now is anything in the folder touched: all that can be wrong has been looked at
    claim(folder, config, overwrite=cfg.overwrite)
    resumed = (folder / LAST).is_file() or (folder / BEST).is_file()
    log.info(
        "%s %s on %s labelled samples of %s, writing to %s",
        "going on with" if resumed else "training",
        cfg.model.name,
        f"{len(samples.labelled('train')):,}",
        ", ".join(samples.symbols),
        folder,
    )
    more = class_counts(drawn, len(samples.classes))
    _tell_of_classes(samples, more)
    study = Path(cfg.paths.outputs, cfg.study)
    record(study, TRAINING, run=str(folder), config=digest(config), resumed=resumed)
    predictions = predictions_of(cfg, samples, learner.learn())
    write_predictions(folder / PREDICTIONS, predictions)
    val, facts = _scored(predictions, samples.classes), learner.facts()
    counts = _counts(samples)
    if drawn:
        counts["train"]["drawn"] = dict(zip(samples.classes, more.tolist(), strict=True))
    metrics = {"val": val, **facts, "samples": counts, **_by_symbol(predictions, samples)}
    finish(folder, metrics)
    _tell(folder, val["labelled"], facts)


def _config(cfg: DictConfig) -> dict[str, Any]:
    """What makes a run what it is: all options, less those that its model does not read."""
    config = plain(cfg)
    one, *others = per_symbol(config["market"])
    if not others:  # a list of one symbol is that symbol
        config["market"] = one
    if not is_baseline(cfg):
        return config
    unread = ("images", "trainer", "callbacks", "logger", "monitor", "monitor_mode")
    read = {key: value for key, value in config.items() if key not in unread}
    read["model"] = config["model"] | {"features": features_named(cfg)}
    if features_named(cfg) == "window":
        return read | {"images": {"fields": config["images"]["fields"]}}
    return read | {"window": {"lookback": config["window"]["lookback"]}}


def _folder(cfg: DictConfig) -> Path:
    if HydraConfig.initialized():
        return Path(os.path.relpath(HydraConfig.get().runtime.output_dir))
    name = run_name(cfg.model.name, cfg.seed, OmegaConf.select(cfg, "split.fold"))
    return Path(cfg.paths.outputs, cfg.study, name)


def predictions_of(
    cfg: DictConfig, samples: LabelledSamples, p: NDArray[np.float64]
) -> pd.DataFrame:
    """The table of a run's predictions.

    Args:
        cfg: `conf/train.yaml`, composed.
        samples: Of the run.
        p: Of all samples of validation, then of test: P(up), or a column for each class.
    """
    val, test = samples.split.val, samples.split.test
    rows = np.concatenate([val, test])
    label = pd.array(samples.label[rows], dtype="Int8")
    label[samples.label[rows] == NULL] = pd.NA
    fold = samples.split.fold
    return pd.DataFrame(
        {
            "symbol": pd.array(samples.symbol_of(rows), dtype="str"),
            "time": pd.DatetimeIndex(samples.times[rows]).tz_localize("UTC"),
            "window": pd.array([cfg.model.name] * len(rows), dtype="str"),
            "fold": pd.array([pd.NA if fold is None else fold] * len(rows), dtype="Int64"),
            "seed": np.full(len(rows), cfg.seed, dtype=np.int64),
            "split": pd.array(["val"] * len(val) + ["test"] * len(test), dtype="str"),
            "label": label,
            "forward_return": samples.outcomes.forward_return[rows],
            "known_at": pd.DatetimeIndex(samples.outcomes.known_at[rows]).tz_localize("UTC"),
            **_probabilities(p, samples.classes),
        }
    )


def _probabilities(
    p: NDArray[np.float64], classes: tuple[str, ...]
) -> dict[str, NDArray[np.float64]]:
    if classes == DIRECTIONS:
        return {"p_up": p}
    return {probability_column(name): of for name, of in zip(classes, p.T, strict=True)}


def _scored(predictions: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    """The scores of validation: a direction's on all rows too, which is what one trades."""
    val = predictions.query("split == 'val'")
    if classes == DIRECTIONS:
        return {**score_rows(val, "p_up")}
    labelled = val.dropna(subset=["label"])
    p = labelled[[probability_column(name) for name in classes]]
    score = score_classes(p, labelled["label"])
    by_name = dict(zip(classes, score["classes"], strict=True))
    return {"labelled": {**score, "classes": by_name}}


def _by_symbol(predictions: pd.DataFrame, samples: LabelledSamples) -> dict[str, Any]:
    """Of several symbols: what validation says of each, and its samples."""
    if len(samples.symbols) == 1:
        return {}
    scored = {
        symbol: {
            "val": _scored(predictions.query("symbol == @symbol"), samples.classes),
            "samples": _counts(samples.of(symbol)),
        }
        for symbol in samples.symbols
    }
    return {"symbols": scored}


def _counts(samples: LabelledSamples) -> dict[str, Any]:
    return {part: _counts_of(samples, part) for part in PARTS}


def _counts_of(samples: LabelledSamples, part: Part) -> dict[str, Any]:
    n, labelled = len(samples.part(part)), len(samples.labelled(part))
    counts: dict[str, Any] = {"all": n, "labelled": labelled}
    if samples.classes != DIRECTIONS:  # of one part, each bar of no label has several patterns
        of_class = dict(zip(samples.classes, samples.counts(part).tolist(), strict=True))
        counts |= {"several": n - labelled, "classes": of_class}
    return counts


def _tell_of_classes(samples: LabelledSamples, more: NDArray[np.int64]) -> None:
    """What a label of several classes leaves out, what was drawn, and what cannot be learned."""
    if samples.classes == DIRECTIONS:
        return
    left_out = len(samples.part("train")) - len(samples.labelled("train"))
    log.info("%s training samples of more than one pattern are left out", f"{left_out:,}")
    if more.any():
        drawn = (f"{n:,} {name}" for name, n in zip(samples.classes, more, strict=True) if n)
        log.info("%s further ones are drawn: %s", f"{more.sum():,}", ", ".join(drawn))
    counts = samples.counts("train") + more
    if absent := [name for name, n in zip(samples.classes, counts, strict=True) if not n]:
        log.info("no training sample is of %s, so none can be learned of", ", ".join(absent))


def _tell(folder: Path, val: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    unit = next(unit for unit in ("epochs", "rounds") if unit in facts)
    figures = {name: said for name, said in _TOLD.items() if name in val}
    told = ", ".join(
        f"{said} {'n/a' if val[name] is None else f'{val[name]:.4f}'}"
        for name, said in figures.items()
    )
    log.info(
        "%s: %d %s, validation %s on %s labelled samples",
        folder, facts[unit], unit, told, f"{val['n']:,}",
    )  # fmt: skip


_TOLD = {"accuracy": "accuracy", "auc": "AUC", "balanced_accuracy": "balanced accuracy"}
