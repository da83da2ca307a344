"""Receipts: that nothing leaks from the future, that nothing is found where nothing is.

The first is on the study at hand, the others on small simulated markets, whose signal is known.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from hydra import compose
from omegaconf import DictConfig

from gafcnn.durations import duration
from gafcnn.judging import Bootstrap, Ground, value_of
from gafcnn.judging.bootstrap import block_length
from gafcnn.judging.evidence import scores
from gafcnn.judging.judge import ORACLE
from gafcnn.market import Market
from gafcnn.pipeline.assembly import load_markets
from gafcnn.pipeline.future import alterations
from gafcnn.pipeline.training import train
from gafcnn.progress import counting
from gafcnn.runs import Run, load_run
from gafcnn.trading import Rules

MOMENTS = 200  # random decision times after which everything is altered
SEEDS = 20  # markets without a signal
ENOUGH = 18  # of them whose interval holds 0.5; 19 are expected of an interval of 95 %
SIGNAL = 0.5  # strength of the planted momentum
DAYS = 30  # of the market with a signal

MODELS: dict[str, list[str]] = {
    "xgboost": ["model=xgboost"],
    "small CNN": ["model=small_cnn"],
}
"""What is trained on the simulated markets, as overrides of `experiment=receipt`."""

Receipt = dict[str, Any]


def receipts(
    cfg: DictConfig, runs: Mapping[str, Sequence[Run]], markets: Sequence[Market]
) -> list[Receipt]:
    """All receipts, each `{"receipt", "passed", "found"}`.

    Args:
        cfg: `conf/evaluate.yaml`, composed.
        runs: Of the study, by model.
        markets: Its bars.
    """
    return [altered_future(cfg, runs, markets), *no_signal(), *planted_signal()]


def altered_future(
    cfg: DictConfig, runs: Mapping[str, Sequence[Run]], markets: Sequence[Market]
) -> Receipt:
    """The receipt that is on the study at hand: no bar after `t` changes what is known at `t`."""
    with counting("receipts: altered futures", MOMENTS, "moments") as advance:
        found = alterations(runs, markets, MOMENTS, cfg.judging.seed, advance)
    return future_receipt(found)


def future_receipt(found: Mapping[str, int], moments: int = MOMENTS) -> Receipt:
    """That what is after `t` changes nothing at and before it."""
    changed = {what: times for what, times in found.items() if times}
    things = ", ".join(found)
    told = (
        "; ".join(f"{what} changed {times} times" for what, times in changed.items())
        or "all stayed the same to the last bit"
    )
    return {
        "receipt": "every bar after t altered",
        "passed": not changed,
        "found": f"at {moments} random decision times of validation and test (of the last fold, "
        f"where there are several) all bars after t were altered; {things} at and before t: {told}",
    }


def no_signal(seeds: int = SEEDS, enough: int = ENOUGH) -> Iterator[Receipt]:
    """That on a random walk the interval of the AUC holds 0.5."""
    for model, overrides in MODELS.items():
        found = []
        with counting(f"receipts: no signal, {model}", seeds, "markets") as advance:
            for seed in range(seeds):
                found.append(find([*overrides, "market.strength=0", f"market.seed={seed}"]))
                advance(1)
        held = sum(one.low <= 0.5 <= one.high for one in found)
        mean = float(np.mean([one.auc for one in found]))
        yield {
            "receipt": f"a market without a signal, {model}",
            "passed": held >= enough,
            "found": f"the 95 % interval of the AUC holds 0.5 in {held} of {seeds} random walks "
            f"(mean AUC {mean:.4f}); at least {enough} were asked for",
        }


def planted_signal() -> Iterator[Receipt]:
    """That a signal is found, and not more of it than there is."""
    for model, overrides in MODELS.items():
        found = find([*overrides, f"market.strength={SIGNAL}", f"market.days={DAYS}"])
        share = (found.auc - 0.5) / (found.oracle - 0.5)
        yield {
            "receipt": f"a planted signal, {model}",
            "passed": found.low > 0.5 and found.behind >= 0,
            "found": f"AUC {found.auc:.4f} [{found.low:.4f}, {found.high:.4f}], above 0.5 and not "
            f"above the oracle's {found.oracle:.4f}: {share:.0%} of the oracle's edge",
            "share": share,
        }


@dataclass(frozen=True)
class Found:
    """What a model finds of a simulated market's signal, by the AUC on all test rows.

    Attributes:
        auc: Of the model.
        low: Lower end of its interval.
        high: Upper end.
        oracle: The AUC of what the simulation itself knows.
        behind: The most, by the interval of the difference, that the oracle may be ahead by.
    """

    auc: float
    low: float
    high: float
    oracle: float
    behind: float


def find(overrides: Sequence[str]) -> Found:
    """Train a model on a simulated market, and score it and the oracle on the test rows."""
    with TemporaryDirectory() as folder, _quiet():
        paths = [f"paths.data={folder}/data", f"paths.outputs={folder}/outputs"]
        cfg = compose("train", ["experiment=receipt", *overrides, *paths])
        train(cfg, Path(folder, "run"))
        predictions = load_run(Path(folder, "run")).predictions
        market = load_markets(cfg)[0]
    assert market.oracle is not None, "a simulated market knows its signal"
    oracle = market.oracle.reindex(pd.DatetimeIndex(predictions["time"])).to_numpy()
    horizon = duration("label.horizon", cfg.label.horizon)
    ground = Ground.of(predictions.assign(oracle=oracle), market.bars, horizon, Rules())
    model, known = (scores(ground, name)["auc"] for name in ("p_up", ORACLE))
    bootstrap = Bootstrap(
        ground.bin, ground.n_bars, block_length([ground.hits("p_up")], ground.bin)
    )
    drawn = bootstrap.distributions({"model": model, ORACLE: known})
    low, high = np.quantile(drawn["model"], [0.025, 0.975])
    behind = np.quantile(drawn[ORACLE] - drawn["model"], 0.975)
    auc, most = (np.nan if area is None else area for area in map(value_of, (model, known)))
    return Found(auc, float(low), float(high), most, float(behind))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a line for each training."""
    logger = logging.getLogger("gafcnn")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
