"""From the runs of a study to what they are worth, alone and together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from gafcnn.durations import duration
from gafcnn.forecasts import TWO_STAGE, ensemble, join, two_stage
from gafcnn.judging import Ground, Study, judge, regimes, sentences
from gafcnn.judging.judge import ORACLE
from gafcnn.market import Market
from gafcnn.pipeline.assembly import load_samples, made, plain
from gafcnn.pipeline.checks import check_evaluation
from gafcnn.pipeline.pictures import shown_samples
from gafcnn.pipeline.receipts import receipts
from gafcnn.pipeline.recognition import recognise
from gafcnn.pipeline.studies import (
    Runs,
    baseline_of,
    chosen,
    classes_asked,
    fold_of,
    headline_of,
    looked_before,
    market_of,
    member_of,
    names,
    publish,
    shared_facts,
    trials_of,
    windows_of,
    with_baseline,
)
from gafcnn.progress import counting
from gafcnn.report import table, write_report
from gafcnn.runs import LOOK, Run, record, recorded
from gafcnn.samples import DIRECTIONS
from gafcnn.trading import Rules


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Join the models of a study by time, combine them, and judge them on the test rows.

    The baseline is trained first where the study has none. Writes `outputs/<study>/evaluation/`:
    predictions.parquet, metrics.json, report.html, and its tables and figures. What the runs' label
    asks decides how they are judged: directions are traded, patterns are recognised or not.

    Args:
        cfg: `conf/evaluate.yaml`, composed.

    Returns:
        What metrics.json holds.

    Raises:
        RunError: Where a window has no finished run, or the runs are of different bars.
        PredictionsError: Where the models are not about the same samples.
    """
    check_evaluation(cfg)
    rules, methods = made(cfg.trading), names(cfg, "ensemble.methods")
    wanted = None if cfg.windows is None else names(cfg, "windows")
    study = Path(cfg.paths.outputs, cfg.study)
    runs = with_baseline(cfg, study, chosen(study, wanted))
    market = market_of(runs)
    if classes_asked(runs) != DIRECTIONS:
        return recognise(cfg, study, runs, market)
    return _trade(cfg, study, runs, market, rules, methods)


def _trade(
    cfg: DictConfig, study: Path, runs: Runs, market: Market, rules: Rules, methods: list[str]
) -> dict[str, Any]:
    """Judge a study of directions."""
    windows = windows_of(runs)
    joined, models = _forecasts(runs, windows, methods, market)
    horizon = next(iter(runs.values()))[0].config["label"]["horizon"]
    ground = Ground.of(joined, market.bars, duration("label.horizon", horizon), rules)
    record(study, LOOK, windows=windows, rows=len(ground.test), trading=plain(cfg.trading))
    judged_study = Study(
        ground, windows, models, baseline_of(runs), headline_of(models, windows),
        _regimes(runs, market, ground), trials_of(study, runs),
    )  # fmt: skip
    with counting("judging", len(models), "models") as advance:
        judged = judge(
            judged_study, resamples=cfg.judging.resamples, seed=cfg.judging.seed, advance=advance
        )
    metrics = {
        **shared_facts(cfg, study, runs, market, ground.test),
        "horizon": horizon,
        "headline": judged_study.headline,
        "verdict": [
            *sentences(judged, judged_study.headline, judged_study.trials),
            *looked_before(recorded(study, LOOK)),
        ],
        **judged,
    }
    shown = shown_samples(runs, windows, market, ground)
    publish(
        cfg,
        study,
        metrics,
        _long(joined, models),
        lines=table(metrics),
        write=partial(write_report, samples=shown),
        receipts=lambda: receipts(cfg, runs, market),
    )
    return metrics


def _forecasts(
    runs: Runs, windows: list[str], methods: list[str], market: Market
) -> tuple[pd.DataFrame, list[str]]:
    """All models side by side, and their names in the order in which they are shown."""
    joined = join({name: member_of(name, found) for name, found in runs.items()})
    models = [*windows]
    if len(windows) > 1:
        joined = ensemble(joined, windows, methods)
        models += methods
    baseline = baseline_of(runs)
    models.append(baseline)
    if windows:
        joined = two_stage(joined, baseline, windows)
        models.append(TWO_STAGE)
    run = next(iter(runs.values()))[0]
    if market.oracle is not None and _is_asked_of(run):
        joined[ORACLE] = market.oracle.reindex(pd.DatetimeIndex(joined["time"])).to_numpy()
        models.append(ORACLE)
    return joined, models


def _is_asked_of(run: Run) -> bool:
    """Whether what a simulated market knows itself is the very thing that the run forecasts."""
    config = run.config
    same_horizon = config["market"].get("horizon") == config["label"]["horizon"]
    return same_horizon and config["label"]["_target_"].endswith("Direction")


def _regimes(runs: Runs, market: Market, ground: Ground) -> pd.DataFrame:
    """The regime of each test row, by the training samples of its fold."""
    by_fold = {fold_of(run): run for found in runs.values() for run in found}
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


def _long(joined: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The joined table as predictions: one row per model, symbol, time and fold.

    The seed is -1 throughout: a member may be the mean of several, an ensemble has none.
    """
    shared = joined.drop(columns=list(names))
    parts = [shared.assign(window=name, seed=-1, p_up=joined[name]) for name in names]
    return pd.concat(parts, ignore_index=True)
