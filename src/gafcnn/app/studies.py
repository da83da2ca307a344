"""The runs of a study, whatever is asked of them: which, of which bars, and the baseline's."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.table import Table

from gafcnn.app.factory import fingerprints, load_markets, made, plain
from gafcnn.app.runs import (
    EVALUATION,
    LOOK,
    METRICS,
    PREDICTIONS,
    TRAINING,
    Run,
    differences,
    find_runs,
    recorded,
    run_name,
    write_metrics,
)
from gafcnn.app.train import train
from gafcnn.app.trust import TARGET
from gafcnn.data.bars import interval_of
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.sources import Market
from gafcnn.durations import format_duration
from gafcnn.errors import ConfigError, RunError
from gafcnn.evaluation.comparisons import ENSEMBLE
from gafcnn.evaluation.joining import TWO_STAGE, average_seeds, join
from gafcnn.evaluation.predictions import write_predictions
from gafcnn.report.console import show
from gafcnn.report.publishing import FIGURES, TABLES

SYMBOLS = "symbols"  # the folder, in that of an evaluation, of what is said of each of several

log = logging.getLogger(__name__)

Runs = Mapping[str, Sequence[Run]]


def names(cfg: DictConfig, key: str) -> list[str]:
    """The names that an option lists.

    Raises:
        ConfigError: It is no list of names, or one stands in it twice.
    """
    listed = OmegaConf.select(cfg, key)
    if not isinstance(listed, ListConfig) or not listed or len(set(listed)) < len(listed):
        raise ConfigError(
            f"{key}={listed}",
            expected="a list of names, each once",
            instead=f"write {key}=[one,another]",
        )
    return list(listed)


def chosen(study: Path, wanted: list[str] | None) -> dict[str, list[Run]]:
    """The runs of the windows wanted, None for all, and of the baseline.

    Raises:
        RunError: Where a window that is asked for has no run.
    """
    found = find_runs(study)
    for name, runs in found.items():
        if (seeds := len({run.config["seed"] for run in runs})) > 1:
            log.info("%s is the mean of its trainings with %d seeds", name, seeds)
    if wanted is None:
        return found
    known = windows_of(found)
    if not known:
        raise RunError(
            f"study {study.name} has no window, only the baseline {', '.join(found)}",
            expected=f"a finished run of {wanted[0]}",
            instead=f"train one with python train.py window=30m study={study.name}",
        )
    if absent := [name for name in wanted if name not in known]:
        if absent[0] in found:
            raise RunError(
                f"windows names {absent[0]}, the baseline of study {study.name}",
                expected=f"some of its windows, {', '.join(known)}",
                instead="leave it out: the baseline comes along with any of them",
            )
        raise RunError(
            f"study {study.name} has no run for window {absent[0]}, only for {', '.join(known)}",
            expected="a finished run for each window that is asked for",
            instead=f"give the command that trained the others window={absent[0]}, or type "
            f"windows=[{','.join(known)}]",
        )
    return {name: runs for name, runs in found.items() if name in wanted or name not in known}


def with_baseline(cfg: DictConfig, study: Path, runs: dict[str, list[Run]]) -> dict[str, list[Run]]:
    """The runs, and the baseline's, trained now for each fold for which the study has none.

    Raises:
        RunError: A window lacks a fold, or there are several baselines.
        PredictionsError: The windows are not about the same samples.
    """
    _check_folds(runs)
    names = [name for name, found in runs.items() if found[0].is_baseline]
    if len(names) > 1:
        raise RunError(
            f"study {study.name} has {len(names)} baselines, {', '.join(names)}",
            expected="one, to compare the windows with",
            instead="train the other one in a study of its own, with study=...",
        )
    name = names[0] if names else cfg.baseline.name
    has = {fold_of(run) for run in runs.get(name, [])}
    every = [run for found in runs.values() for run in found]
    # the longest window's stand last: a baseline that reads a window reads that one
    lacking = {fold_of(run): run for run in every if fold_of(run) not in has}
    if lacking and (windows := windows_of(runs)):
        # before anything is trained: windows that cannot be joined leave no baseline behind
        join({window: member_of(window, runs[window]) for window in windows})
    for fold, like in sorted(lacking.items(), key=lambda item: item[0] or 0):
        folder = study / run_name(name, fold=fold)
        log.info("study %s has no baseline%s: training %s", study.name, _of(fold), folder)
        train(for_baseline(cfg, like), folder)
        runs.setdefault(name, []).append(Run(folder))
    return runs


def _check_folds(runs: Runs) -> None:
    """Assert that every window has every fold, and that the folds follow one another.

    Raises:
        RunError: One is missing; it is named, with what trains it.
    """
    folds = {name: {fold_of(run) for run in found} for name, found in runs.items()}
    numbers = [fold for of_model in folds.values() for fold in of_model if fold is not None]
    wanted = set(range(min(numbers), max(numbers) + 1)) if numbers else set()
    for name, found in runs.items():
        missing = sorted(wanted - folds[name])
        # the baseline's own are trained where there are windows to train them like
        if missing and (len(runs) == 1 or not found[0].is_baseline):
            raise _without_fold(name, missing[0])


def _without_fold(name: str, fold: int) -> RunError:
    return RunError(
        f"{name} has no run of fold {fold}",
        expected="every fold for every window, one after another",
        instead=f"give the command that trained the others split.fold={fold}",
    )


def for_baseline(cfg: DictConfig, like: Run) -> DictConfig:
    """The configuration of a baseline on the very samples of another run, weighed alike."""
    model = plain(cfg.baseline if _classes(like) == DIRECTIONS else cfg.pattern_baseline)
    changed = {
        "model": model | {"class_weights": like.config["model"].get("class_weights")},
        "market": at_rest(like.config["market"]),
        "study": cfg.study,
        "paths": cfg.paths,
        "seed": 0,
        "overwrite": False,
        "swept": [],
    }
    return OmegaConf.create(like.config | changed)


def fold_of(run: Run) -> int | None:
    """The fold of a run's split, where there are several."""
    return run.config["split"].get("fold")


def _of(fold: int | None) -> str:
    return "" if fold is None else f" of fold {fold}"


def markets_of(runs: Runs) -> list[Market]:
    """The bars that all runs were made of, as they are on disk now: a market for each symbol.

    Raises:
        RunError: Where the runs are of different bars, or these have changed since.
    """
    every = [run for found in runs.values() for run in found]
    first = every[0]
    for run in every[1:]:
        if run.config["bars"] != first.config["bars"]:
            raise RunError(
                f"{first.folder} and {run.folder} were trained on different bars",
                expected="one market and one period for all runs of a study",
                instead="train them again on the same bars, in a study of their own (study=...)",
            )
    markets = load_markets(OmegaConf.create({"market": at_rest(first.config["market"])}))
    if fingerprints(markets) != first.config["bars"]:
        symbols = ", ".join(market.symbol for market in markets)
        raise RunError(
            f"the bars of {symbols} are not those that {first.folder} was trained on",
            expected="the same bars, to trade on",
            instead="bring the old ones back, or train anew with study=...",
        )
    return markets


def at_rest(market: dict[str, Any]) -> dict[str, Any]:
    """A market as it was left: not downloaded further, and a simulated one not written again.

    A day that is damaged is asked for of the exchange itself, not of the address that the config
    of a run names, which may come from elsewhere.
    """
    if is_simulated(market):
        return market | {"folder": None}
    return market | ({"refresh": False, "url": None} if "refresh" in market else {})


def is_simulated(market: Mapping[str, Any]) -> bool:
    """Whether a market's options make one up."""
    return market[TARGET].endswith("from_simulation")


def newest_fold(runs: Runs) -> dict[str, list[Run]]:
    """Of a study that walks forward the runs of its last fold, of any other all of them.

    Raises:
        RunError: A model has no run of that fold.
    """
    folds = [fold for found in runs.values() for run in found if (fold := fold_of(run)) is not None]
    if not folds:
        return {name: list(found) for name, found in runs.items()}
    newest = max(folds)
    of_fold = {
        name: [run for run in found if fold_of(run) == newest] for name, found in runs.items()
    }
    if lacking := [name for name, found in of_fold.items() if not found]:
        raise _without_fold(lacking[0], newest)
    return of_fold


def classes_asked(runs: Runs) -> tuple[str, ...]:
    """What the runs' label asks: the names of its classes."""
    return _classes(next(iter(runs.values()))[0])


def _classes(run: Run) -> tuple[str, ...]:
    return made(OmegaConf.create(run.config).label).classes


def windows_of(runs: Runs) -> list[str]:
    """The names of the models that are no baseline."""
    return [name for name, found in runs.items() if not found[0].is_baseline]


def trials_of(study: Path, runs: Runs) -> int:
    """The trainings that the study's ledger counts."""
    # a study that was copied without its ledger has its runs at least
    return max(recorded(study, TRAINING), sum(len(found) for found in runs.values()))


def baseline_of(runs: Runs) -> str:
    """The name of the baseline."""
    return next(name for name, found in runs.items() if found[0].is_baseline)


def headline_of(models: Sequence[str], windows: Sequence[str]) -> str:
    """The model that the verdict speaks of, by name and not by merit."""
    return next(name for name in (TWO_STAGE, ENSEMBLE, *windows, *models) if name in models)


def member_of(name: str, runs: Sequence[Run]) -> pd.DataFrame:
    """A model's predictions: the mean over its seeds, its folds one after another.

    Raises:
        RunError: Where its runs differ in more than seed and fold: they are no one model.
    """
    first = runs[0]
    for run in runs[1:]:
        differing = [
            difference
            for difference in differences(first.config, run.config)
            # what follows the seed (augmentation.seed) is the seed
            if not difference.startswith(("seed:", "split.fold:", "augmentation.seed:"))
        ]
        if differing:
            raise RunError(
                f"{first.folder} and {run.folder} differ in {', '.join(differing[:3])}",
                expected=f"runs of {name} that differ in seed and fold only",
                instead="train each of them in a study of its own, with study=...",
            )
    return average_seeds(run.predictions for run in runs)


def looked_before(looks: int) -> list[str]:
    """What has to be said from the second look on."""
    if looks == 1:
        return []
    return [
        f"This is look {looks} at these test rows: whatever was changed since the first was "
        "changed knowing them, and no interval allows for that."
    ]


def shared_facts(
    cfg: DictConfig, study: Path, runs: Runs, markets: Sequence[Market], test: pd.DataFrame
) -> dict[str, Any]:
    """What metrics.json says of a study, whatever was asked; `test` are its rows by time."""
    first = next(iter(runs.values()))[0]
    return {
        "study": cfg.study,
        "symbol": ", ".join(market.symbol for market in markets),
        "interval": format_duration(interval_of(markets[0].bars)),
        "windows": windows_of(runs),
        "first": test["time"].iloc[0].isoformat(),
        "last": test["time"].iloc[-1].isoformat(),
        "looks": recorded(study, LOOK),
        "trials": trials_of(study, runs),
        "stride": first.config["split"]["stride"],
        "receipts": [],
        "config": {
            "evaluate": OmegaConf.to_container(cfg, resolve=True),
            "runs": {name: found[0].config for name, found in runs.items()},
        },
        "bars": fingerprints(markets),
    }


def keep_symbols(folder: Path, symbols: Collection[str]) -> None:
    """Remove from a study's evaluation what an earlier one said of symbols that are not these."""
    for left in folder.glob(f"{SYMBOLS}/*"):
        if left.name not in symbols:
            shutil.rmtree(left)


def written(
    folder: Path,
    metrics: Mapping[str, Any],
    predictions: pd.DataFrame,
    write: Callable[[Path, Mapping[str, Any]], Path],
) -> Path:
    """Write what a study came to into a folder; the path of the page."""
    (folder / METRICS).unlink(missing_ok=True)  # until all of it is there, none of it is finished
    write_predictions(folder / PREDICTIONS, predictions)
    return _reported(folder, metrics, write)


def _reported(
    folder: Path, metrics: Mapping[str, Any], write: Callable[[Path, Mapping[str, Any]], Path]
) -> Path:
    """Write page, tables and figures, then metrics.json, which has the checksums of all."""
    (folder / METRICS).unlink(missing_ok=True)
    page = write(folder, metrics)
    shown = (path for place in (TABLES, FIGURES) for path in sorted((folder / place).iterdir()))
    files = (folder / PREDICTIONS, page, *shown)
    write_metrics(folder, metrics, *(str(path.relative_to(folder)) for path in files))
    return page


def publish(
    cfg: DictConfig,
    study: Path,
    metrics: dict[str, Any],
    predictions: pd.DataFrame,
    *,
    lines: Table,
    write: Callable[[Path, Mapping[str, Any]], Path],
    receipts: Callable[[], Iterable[dict[str, Any]]],
) -> None:
    """Write and print what a study came to; then, where they are asked for, its receipts.

    Args:
        cfg: `conf/evaluate.yaml`, composed.
        study: The study's folder.
        metrics: What metrics.json is to hold; receipts are added.
        predictions: Of all models, one row per model, symbol, time and fold.
        lines: The table for the console.
        write: What writes the report into a folder, and gives back the page.
        receipts: What makes the receipts, one after another.
    """
    folder = study / EVALUATION
    page = written(folder, metrics, predictions, write)
    show(lines)
    for sentence in metrics["verdict"]:
        log.info("%s", sentence)
    log.info(
        "look %d at the test rows of study %s; the report is %s", metrics["looks"], cfg.study, page
    )
    if cfg.receipts:  # after all is written: they take minutes, and may be stopped
        for receipt in receipts():
            kept = "passed" if receipt["passed"] else "FAILED"
            log.info("%s: %s: %s", receipt["receipt"], kept, receipt["found"])
            metrics["receipts"].append(receipt)
        _reported(folder, metrics, write)
