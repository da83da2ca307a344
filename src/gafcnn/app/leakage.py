"""Receipts: that nothing leaks from the future, that nothing is found where nothing is.

The first are on the study at hand, the others on small simulated markets, whose signal is known.
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

from gafcnn.app.factory import load_markets, made
from gafcnn.app.leakage_audits import (
    ROUNDED,
    TOLERANCE,
    fitted_on_validation,
    parts_apart,
    predicted_again,
    stored_again,
)
from gafcnn.app.leakage_future import alterations, by_fold
from gafcnn.app.runs import Run, load_run
from gafcnn.app.studies import names
from gafcnn.app.train import train
from gafcnn.data.sources import Market
from gafcnn.durations import parse_duration
from gafcnn.evaluation.bootstrap import Bootstrap, block_length
from gafcnn.evaluation.figures import value_of
from gafcnn.evaluation.judge import ORACLE
from gafcnn.evaluation.metrics import scores
from gafcnn.evaluation.test_set import Ground
from gafcnn.evaluation.trading_rules import TradingRules
from gafcnn.progress import counting

MOMENTS = 200  # random decision times after which everything is altered
SHOWN = 3  # faults of a receipt that are told
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
) -> Iterator[Receipt]:
    """All receipts of a study of directions, each `{"receipt", "passed", "found"}`.

    Args:
        cfg: `conf/evaluate.yaml`, composed.
        runs: Of the study, by model.
        markets: Its bars.
    """
    yield fits(cfg, runs, markets)
    yield from of_study(cfg, runs, markets)
    yield from no_signal()
    yield from planted_signal()


def of_study(
    cfg: DictConfig, runs: Mapping[str, Sequence[Run]], markets: Sequence[Market]
) -> Iterator[Receipt]:
    """The receipts on the study at hand that do not ask what its label is."""
    yield parts(runs, markets)
    yield forecasts(cfg, runs, markets)
    if (stored := images(cfg, runs, markets)) is not None:
        yield stored
    yield altered_future(cfg, runs, markets)


def parts(runs: Mapping[str, Sequence[Run]], markets: Sequence[Market]) -> Receipt:
    """That each part of every run's split is known before the next begins."""
    audited = parts_apart(runs, markets)
    return _receipt(
        "parts of the split are apart",
        audited.faults,
        f"in each of {_counted(audited.looked_at, 'run')} the rows, labels and returns are those "
        "of its split of the bars, and all labels of a part, of any symbol, are known, the embargo "
        f"included, before a later part begins, at the least {audited.most / 60:g} min",
    )


def fits(cfg: DictConfig, runs: Mapping[str, Sequence[Run]], markets: Sequence[Market]) -> Receipt:
    """That nothing that is fitted or chosen on validation depends on test rows."""
    audited = fitted_on_validation(
        runs, markets, names(cfg, "ensemble.methods"), made(cfg.trading), cfg.judging.seed
    )
    return _receipt(
        "test rows altered",
        audited.faults,
        "probabilities, labels and returns of test rows were altered; what ensembles and two "
        "stages make of all other rows stayed the same to the last bit, and so did "
        f"{_counted(audited.looked_at, 'threshold')}, with the bars from the first test row on "
        "altered too",
    )


def forecasts(
    cfg: DictConfig, runs: Mapping[str, Sequence[Run]], markets: Sequence[Market]
) -> Receipt:
    """That the predictions on disk are those that the models make of the bars."""
    audited = predicted_again(runs, markets, cfg.judging.seed)
    return _receipt(
        "predictions made again",
        audited.faults,
        f"{audited.looked_at:,} random rows of validation and test were predicted again on a CPU, "
        f"from bars and checkpoint; the largest difference is {audited.most:.1g}, and "
        f"{TOLERANCE:g} is let pass, of a run that was predicted on a GPU {ROUNDED:g}",
    )


def images(
    cfg: DictConfig, runs: Mapping[str, Sequence[Run]], markets: Sequence[Market]
) -> Receipt | None:
    """That the images on disk are those that the bars give; None where there are none."""
    audited = stored_again(runs, markets, cfg.paths.data, cfg.judging.seed)
    if not (audited.looked_at or audited.faults):
        return None
    return _receipt(
        "images made again",
        audited.faults,
        f"all checksums on disk hold, and {audited.looked_at:,} random images of them are those "
        "that the bars give",
    )


def altered_future(
    cfg: DictConfig, runs: Mapping[str, Sequence[Run]], markets: Sequence[Market]
) -> Receipt:
    """That no bar after `t` changes what is known at `t`."""
    with counting("receipts: altered futures", MOMENTS, "moments") as advance:
        found = alterations(runs, markets, MOMENTS, cfg.judging.seed, advance)
    return future_receipt(found, MOMENTS, len(by_fold(runs)))


def future_receipt(found: Mapping[str, int], moments: int, folds: int = 1) -> Receipt:
    """That what is after `t` changes nothing at and before it."""
    changed = [f"{what} changed {times} times" for what, times in found.items() if times]
    of_folds = f" of {folds} folds" if folds > 1 else ""
    told = (
        f"at {moments} random decision times of validation and test{of_folds} all bars after t "
        f"were altered; {', '.join(found)} at and before t: "
    )
    same = "all stayed the same to the last bit"
    return {
        "receipt": "every bar after t altered",
        "passed": not changed,
        "found": told + ("; ".join(changed) or same),
    }


def _receipt(name: str, faults: Sequence[str], found: str) -> Receipt:
    """What was found, or what was found wrong: the first faults of them."""
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    told = "; ".join(faults[:SHOWN]) + more
    return {"receipt": name, "passed": not faults, "found": told or found}


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


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
    horizon = parse_duration("label.horizon", cfg.label.horizon)
    ground = Ground.of(predictions.assign(oracle=oracle), market.bars, horizon, TradingRules())
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
