"""From the runs of a study to what they are worth, alone and together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, ListConfig, OmegaConf

from gafcnn.durations import duration, spelled
from gafcnn.errors import ConfigError, RunError
from gafcnn.files import write_json
from gafcnn.forecasts import (
    TWO_STAGE,
    average_seeds,
    ensemble,
    join,
    two_stage,
    write_predictions,
)
from gafcnn.judging import Ground, Study, judge, regimes, sentences
from gafcnn.judging.judge import ORACLE
from gafcnn.judging.pairs import ENSEMBLE
from gafcnn.market import Market, fingerprint
from gafcnn.pipeline.assembly import load_market, load_samples, made, plain
from gafcnn.pipeline.checks import check_evaluation
from gafcnn.pipeline.pictures import shown_samples
from gafcnn.pipeline.receipts import receipts
from gafcnn.pipeline.training import train
from gafcnn.progress import counting
from gafcnn.report import show, table, write_report
from gafcnn.runs import (
    EVALUATION,
    LOOK,
    METRICS,
    PREDICTIONS,
    TRAINING,
    Run,
    differences,
    find_runs,
    record,
    recorded,
    run_name,
)

log = logging.getLogger(__name__)

Runs = Mapping[str, Sequence[Run]]


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Join the models of a study by time, combine them, and judge them on the test rows.

    The baseline is trained first where the study has none. Writes `outputs/<study>/evaluation/`:
    predictions.parquet, metrics.json, report.html, and its tables and figures.

    Args:
        cfg: `conf/evaluate.yaml`, composed.

    Returns:
        What metrics.json holds.

    Raises:
        RunError: Where a window has no finished run, or the runs are of different bars.
        PredictionsError: Where the models are not about the same samples.
    """
    check_evaluation(cfg)
    rules, methods = made(cfg.trading), _names(cfg, "ensemble.methods")
    wanted = None if cfg.windows is None else _names(cfg, "windows")
    study = Path(cfg.paths.outputs, cfg.study)
    runs = _with_baseline(cfg, study, _chosen(study, wanted))
    market = _market(runs)
    windows = [name for name, found in runs.items() if not found[0].is_baseline]
    joined, models = _forecasts(runs, windows, methods, market)

    first = next(iter(runs.values()))[0]
    ground = Ground.of(
        joined, market.bars, duration("label.horizon", first.config["label"]["horizon"]), rules
    )
    record(study, LOOK, windows=windows, rows=len(ground.test), trading=plain(cfg.trading))
    judged_study = Study(
        ground, windows, models, _baseline(runs), _headline(models, windows),
        _regimes(runs, market, ground),
        # a study that was copied without its ledger has its runs at least
        max(recorded(study, TRAINING), sum(len(found) for found in runs.values())),
    )  # fmt: skip
    with counting("judging", len(models), "models") as advance:
        judged = judge(
            judged_study, resamples=cfg.judging.resamples, seed=cfg.judging.seed, advance=advance
        )
    metrics = {
        **_facts(cfg, study, judged_study, first),
        "verdict": [
            *sentences(judged, judged_study.headline, judged_study.trials),
            *_looked_before(recorded(study, LOOK)),
        ],
        **judged,
        "receipts": [],
        "config": {
            "evaluate": OmegaConf.to_container(cfg, resolve=True),
            "runs": {name: found[0].config for name, found in runs.items()},
        },
        "bars": fingerprint(market.bars),
    }
    folder = study / EVALUATION
    shown = shown_samples(runs, windows, market, ground)
    write_predictions(folder / PREDICTIONS, _long(joined, models))
    write_json(folder / METRICS, metrics)
    page = write_report(folder, metrics, shown)
    show(table(metrics))
    for sentence in metrics["verdict"]:
        log.info("%s", sentence)
    log.info(
        "look %d at the test rows of study %s; the report is %s", metrics["looks"], cfg.study, page
    )
    if cfg.receipts:  # after all is written: they take minutes, and may be stopped
        for receipt in receipts(cfg, runs, market):
            kept = "passed" if receipt["passed"] else "FAILED"
            log.info("%s: %s: %s", receipt["receipt"], kept, receipt["found"])
            metrics["receipts"].append(receipt)
        write_json(folder / METRICS, metrics)
        write_report(folder, metrics, shown)
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


def _chosen(study: Path, wanted: list[str] | None) -> dict[str, list[Run]]:
    """The runs of the windows wanted, None for all, and of the baseline.

    Raises:
        RunError: Where a window that is asked for has no run.
    """
    found = find_runs(study)
    if wanted is None:
        return found
    known = [name for name, runs in found.items() if not runs[0].is_baseline]
    if absent := [name for name in wanted if name not in known]:
        raise RunError(
            f"study {study.name} has no run for window {absent[0]}, only for {', '.join(found)}",
            expected="a finished run for each window that is evaluated",
            instead=f"give the command that trained the others window={absent[0]}, or evaluate "
            f"with windows=[{','.join(known)}]",
        )
    return {name: runs for name, runs in found.items() if name in wanted or name not in known}


def _with_baseline(
    cfg: DictConfig, study: Path, runs: dict[str, list[Run]]
) -> dict[str, list[Run]]:
    """The runs, and the baseline's, trained now for each fold for which the study has none."""
    _check_folds(runs)
    names = [name for name, found in runs.items() if found[0].is_baseline]
    if len(names) > 1:
        raise RunError(
            f"study {study.name} has {len(names)} baselines, {', '.join(names)}",
            expected="one, to compare the windows with",
            instead="train the other one in a study of its own, with study=...",
        )
    name = names[0] if names else cfg.baseline.name
    has = {_fold(run) for run in runs.get(name, [])}
    lacking = {_fold(run): run for found in runs.values() for run in found if _fold(run) not in has}
    for fold, like in sorted(lacking.items(), key=lambda item: item[0] or 0):
        folder = study / run_name(name, fold=fold)
        log.info("study %s has no baseline%s: training %s", study.name, _of(fold), folder)
        train(_for_baseline(cfg, like), folder)
        runs.setdefault(name, []).append(Run(folder))
    return runs


def _check_folds(runs: Runs) -> None:
    """Assert that every window has every fold, and that the folds follow one another.

    Raises:
        RunError: One is missing; it is named, with what trains it.
    """
    folds = {name: {_fold(run) for run in found} for name, found in runs.items()}
    numbers = [fold for of_model in folds.values() for fold in of_model if fold is not None]
    wanted = set(range(min(numbers), max(numbers) + 1)) if numbers else set()
    for name, found in runs.items():
        missing = sorted(wanted - folds[name])
        # the baseline's own are trained where there are windows to train them like
        if missing and (len(runs) == 1 or not found[0].is_baseline):
            raise RunError(
                f"{name} has no run of fold {missing[0]}",
                expected="every fold for every window, one after another",
                instead=f"give the command that trained the others split.fold={missing[0]}",
            )


def _for_baseline(cfg: DictConfig, like: Run) -> DictConfig:
    """The configuration of a baseline on the very samples of another run."""
    changed = {
        "model": cfg.baseline,
        "paths": cfg.paths,
        "seed": 0,
        "overwrite": False,
        "swept": [],
    }
    return OmegaConf.create(like.config | changed)


def _fold(run: Run) -> int | None:
    return run.config["split"].get("fold")


def _of(fold: int | None) -> str:
    return "" if fold is None else f" of fold {fold}"


def _market(runs: Runs) -> Market:
    """The bars that all runs were made of, as they are on disk now.

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
    market = load_market(OmegaConf.create({"market": _at_rest(first.config["market"])}))
    if fingerprint(market.bars) != first.config["bars"]:
        raise RunError(
            f"the bars of {market.symbol} are not those that {first.folder} was trained on",
            expected="the same bars, to trade on",
            instead="bring the old ones back, or train anew with study=...",
        )
    return market


def _at_rest(market: dict[str, Any]) -> dict[str, Any]:
    """A market as it was left: not downloaded further, and a simulated one not written again."""
    if market["_target_"].endswith("from_simulation"):
        return market | {"folder": None}
    return market | ({"refresh": False} if "refresh" in market else {})


def _forecasts(
    runs: Runs, windows: list[str], methods: list[str], market: Market
) -> tuple[pd.DataFrame, list[str]]:
    """All models side by side, and their names in the order in which they are shown."""
    joined = join({name: _member(name, found) for name, found in runs.items()})
    models = [*windows]
    if len(windows) > 1:
        joined = ensemble(joined, windows, methods)
        models += methods
    baseline = _baseline(runs)
    models.append(baseline)
    if windows:
        joined = two_stage(joined, baseline, windows)
        models.append(TWO_STAGE)
    run = next(iter(runs.values()))[0]
    if market.oracle is not None and _is_asked_of(run):
        joined[ORACLE] = market.oracle.reindex(pd.DatetimeIndex(joined["time"])).to_numpy()
        models.append(ORACLE)
    return joined, models


def _baseline(runs: Runs) -> str:
    return next(name for name, found in runs.items() if found[0].is_baseline)


def _headline(models: Sequence[str], windows: Sequence[str]) -> str:
    """The model that the verdict speaks of, by name and not by merit."""
    return next(name for name in (TWO_STAGE, ENSEMBLE, *windows, *models) if name in models)


def _member(name: str, runs: Sequence[Run]) -> pd.DataFrame:
    """A model's predictions: the mean over its seeds, its folds one after another.

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
                expected=f"runs of {name} that differ in seed and fold only",
                instead="train each of them in a study of its own, with study=...",
            )
    return average_seeds(run.predictions for run in runs)


def _is_asked_of(run: Run) -> bool:
    """Whether what a simulated market knows itself is the very thing that the run forecasts."""
    config = run.config
    same_horizon = config["market"].get("horizon") == config["label"]["horizon"]
    return same_horizon and config["label"]["_target_"].endswith("Direction")


def _regimes(runs: Runs, market: Market, ground: Ground) -> pd.DataFrame:
    """The regime of each test row, by the training samples of its fold."""
    by_fold = {_fold(run): run for found in runs.values() for run in found}
    parts = []
    for fold, rows in ground.folds.items():
        config = OmegaConf.create(by_fold[fold].config)
        samples = load_samples(config, market)
        times, train_times = (
            pd.DatetimeIndex(moments).tz_localize("UTC")
            for moments in (
                ground.test.loc[rows, "time"].to_numpy("datetime64[ns]"),
                samples.times[samples.split.train],
            )
        )
        lookback = duration("window.lookback", config.window.lookback)
        parts.append(regimes(market.bars, times, train_times, lookback))
    return pd.concat(parts)


def _looked_before(looks: int) -> list[str]:
    """What has to be said from the second look on."""
    if looks == 1:
        return []
    return [
        f"This is look {looks} at these test rows: whatever was changed since the first was "
        "changed knowing them, and no interval allows for that."
    ]


def _facts(cfg: DictConfig, study: Path, judged: Study, first: Run) -> dict[str, Any]:
    times = judged.ground.test["time"]
    return {
        "study": cfg.study,
        "symbol": judged.ground.test["symbol"].iloc[0],
        "interval": spelled(judged.ground.interval),
        "horizon": first.config["label"]["horizon"],
        "windows": list(judged.members),
        "first": times.iloc[0].isoformat(),
        "last": times.iloc[-1].isoformat(),
        "looks": recorded(study, LOOK),
        "trials": judged.trials,
        "stride": first.config["split"]["stride"],
        "headline": judged.headline,
    }


def _long(joined: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The joined table as predictions: one row per model, symbol, time and fold.

    The seed is -1 throughout: a member may be the mean of several, an ensemble has none.
    """
    shared = joined.drop(columns=list(names))
    parts = [shared.assign(window=name, seed=-1, p_up=joined[name]) for name in names]
    return pd.concat(parts, ignore_index=True)
