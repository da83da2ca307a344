"""From bars to a finished run."""

from __future__ import annotations

import logging
import math
import os
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from hydra.core.hydra_config import HydraConfig
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from gafcnn.errors import LearningError
from gafcnn.files import write_json
from gafcnn.forecasts import score_rows, write_predictions
from gafcnn.learning import EpochSeed, GafDataModule, GafModule, StopWhereStopped, Throughput
from gafcnn.market import Market, fingerprint
from gafcnn.pipeline.assembly import (
    load_images,
    load_market,
    load_samples,
    new_module,
    new_trainer,
    plain,
)
from gafcnn.pipeline.checks import check
from gafcnn.runs import (
    BEST,
    LAST,
    METRICS,
    PREDICTIONS,
    claim,
    holding,
    is_complete,
    load_run,
    record,
    run_name,
)
from gafcnn.samples import NULL, LabelledSamples

log = logging.getLogger(__name__)


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
    """Train one window, or go on with it; what is missing of bars and images is made first.

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
    module = new_module(cfg)  # before the bars: a wrong name or path is told in seconds
    market = load_market(cfg)
    config = plain(cfg) | {"bars": fingerprint(market.bars)}
    with holding(folder):
        if not cfg.overwrite and is_complete(folder, config):
            log.info("%s is complete: nothing to do", folder)
        else:
            _train(cfg, folder, config, market, module)
    value = load_run(folder).metrics["val"]["labelled"][cfg.objective]
    return math.nan if value is None else value


def _train(
    cfg: DictConfig, folder: Path, config: dict[str, Any], market: Market, module: GafModule
) -> None:
    samples = load_samples(cfg, market)
    store = load_images(cfg, market)
    data = GafDataModule(store, samples, cfg.model.batch_size, cfg.seed)
    throughput = Throughput()
    _quiet_lightning()
    trainer = new_trainer(cfg, folder, [EpochSeed(cfg.seed), StopWhereStopped(), throughput])
    # only now is anything in the folder touched: all that can be wrong has been looked at
    claim(folder, config, overwrite=cfg.overwrite)
    resumed = (folder / LAST).is_file()
    log.info(
        "%s %s on %s labelled samples of %s, writing to %s",
        "going on with" if resumed else "training",
        cfg.window.name,
        f"{len(samples.labelled('train')):,}",
        market.symbol,
        folder,
    )
    record(Path(cfg.paths.outputs, cfg.study), "train", run=str(folder), resumed=resumed)
    with _known_warnings():
        _fit(trainer, module, data, folder / LAST)
        p_up = _predict(trainer, module, data, folder / BEST)
    predictions = _predictions(cfg, market.symbol, samples, p_up)
    write_predictions(folder / PREDICTIONS, predictions)
    val = score_rows(predictions.query("split == 'val'"), "p_up")
    # from the checkpoints: a trainer that had only the predictions left counts no epochs
    best, end = (torch.load(folder / name, weights_only=True) for name in (BEST, LAST))
    write_json(
        folder / METRICS,
        {
            "val": val,
            "epochs": end["epoch"] + 1,
            "best_epoch": best["epoch"] + 1,
            "steps": end["global_step"],
            "samples_per_second": throughput.samples_per_second,
            "samples": {
                part: {"all": len(samples.part(part)), "labelled": len(samples.labelled(part))}
                for part in ("train", "val", "test")
            },
        },
    )
    _tell(folder, val["labelled"], end["epoch"] + 1)


def _folder(cfg: DictConfig) -> Path:
    if HydraConfig.initialized():
        return Path(os.path.relpath(HydraConfig.get().runtime.output_dir))
    name = run_name(cfg.window.name, cfg.seed, OmegaConf.select(cfg, "split.fold"))
    return Path(cfg.paths.outputs, cfg.study, name)


def _fit(trainer: lightning.Trainer, module: GafModule, data: GafDataModule, last: Path) -> None:
    """Train from the start, or from the last checkpoint where there is one."""
    ckpt_path = str(last) if last.is_file() else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if ckpt_path is None or trainer.global_step:
            raise
        raise LearningError(
            f"{last} cannot be read ({str(error).splitlines()[0]})",
            expected="the checkpoint that the last epoch left",
            instead="train the run anew with overwrite=true",
        ) from error


def _predict(
    trainer: lightning.Trainer, module: GafModule, data: GafDataModule, best: Path
) -> NDArray[np.float64]:
    """P(up) of all samples of validation, then of test, by the best checkpoint."""
    if not best.is_file():
        raise LearningError(
            f"the training left no best checkpoint in {best.parent}",
            expected="a finite validation figure after at least one epoch",
            instead="lower model.lr, or set trainer.max_epochs to 1 or more, with overwrite=true",
        )
    parts = trainer.predict(module, datamodule=data, ckpt_path=str(best), weights_only=True)
    return torch.cat([batch for part in parts or [] for batch in part]).double().numpy()


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
            "window": pd.array([cfg.window.name] * len(rows), dtype="str"),
            "fold": pd.array([pd.NA if fold is None else fold] * len(rows), dtype="Int64"),
            "seed": np.full(len(rows), cfg.seed, dtype=np.int64),
            "split": pd.array(["val"] * len(val) + ["test"] * len(test), dtype="str"),
            "label": label,
            "forward_return": samples.outcomes.forward_return[rows],
            "known_at": pd.DatetimeIndex(samples.outcomes.known_at[rows]).tz_localize("UTC"),
            "p_up": p_up,
        }
    )


def _tell(folder: Path, val: Any, epochs: int) -> None:
    def shown(figure: float | None) -> str:
        return "n/a" if figure is None else f"{figure:.4f}"

    log.info(
        "%s: %d epochs, validation accuracy %s, AUC %s on %s labelled samples",
        folder, epochs, shown(val["accuracy"]), shown(val["auc"]), f"{val['n']:,}",
    )  # fmt: skip


def _quiet_lightning() -> None:
    """Leave the console to what concerns this run."""
    logger = logging.getLogger("lightning.pytorch")
    logger.setLevel(logging.WARNING)
    logger.propagate = False  # it has a handler of its own: each line would come twice


@contextmanager
def _known_warnings() -> Iterator[None]:
    """Without the advice that does not hold here."""
    with warnings.catch_warnings():
        # a batch is one gather from a memory map: processes would only copy it once more
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # a resumed run has its folder already, and so it should
        warnings.filterwarnings("ignore", ".*[Cc]heckpoint directory .* exists and is not empty.*")
        # frozen stages are in eval mode on purpose
        warnings.filterwarnings("ignore", ".*module\\(s\\) in eval mode.*")
        # Lightning calls torch by a name that torch is about to drop
        warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")
        yield
