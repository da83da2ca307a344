"""From the runs of a study to what they are worth, alone and together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from gafcnn.app.checks import check_evaluation
from gafcnn.app.classification import recognise
from gafcnn.app.combining import combined, side_by_side
from gafcnn.app.factory import load_samples, made, plain
from gafcnn.app.leakage import receipts
from gafcnn.app.pictures import shown_samples
from gafcnn.app.runs import EVALUATION, LOOK, Run, holding, record, recorded
from gafcnn.app.studies import (
    SYMBOLS,
    Runs,
    baseline_of,
    chosen,
    classes_asked,
    fold_of,
    headline_of,
    keep_symbols,
    looked_before,
    markets_of,
    names,
    publish,
    shared_facts,
    trials_of,
    windows_of,
    with_baseline,
    written,
)
from gafcnn.app.trust import TARGET
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.sources import Market
from gafcnn.durations import parse_duration
from gafcnn.evaluation.judge import ORACLE, Study, judge
from gafcnn.evaluation.pooled import judge_pooled
from gafcnn.evaluation.regimes import regimes
from gafcnn.evaluation.test_set import Ground
from gafcnn.evaluation.trading_rules import TradingRules
from gafcnn.evaluation.verdict import sentences
from gafcnn.progress import counting
from gafcnn.report.console import table
from gafcnn.report.page import write_report
from gafcnn.report.pooled_page import pooled_table, write_pooled

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Join the models of a study by time, combine them, and judge them on the test rows.

    The baseline is trained first where the study has none. Writes `outputs/<study>/evaluation/`:
    predictions.parquet, metrics.json, report.html, and its tables and figures; of several symbols
    the same of each in a folder of its name, and above them what they come to together. What the
    runs' label asks decides how they are judged: directions are traded, patterns are recognised or
    not.

    Args:
        cfg: `conf/evaluate.yaml`, composed.

    Returns:
        What metrics.json holds.

    Raises:
        RunError: Where a window has no finished run, the runs are of different bars, or another
            process evaluates the study.
        PredictionsError: Where the models are not about the same samples.
    """
    check_evaluation(cfg)
    rules, methods = made(cfg.trading), names(cfg, "ensemble.methods")
    wanted = None if cfg.windows is None else names(cfg, "windows")
    study = Path(cfg.paths.outputs, cfg.study)
    found = chosen(study, wanted)
    log.info("evaluating %s, writing to %s", ", ".join(found), study / EVALUATION)
    with holding(study / EVALUATION):
        runs = with_baseline(cfg, study, found)
        markets = markets_of(runs)
        if classes_asked(runs) != DIRECTIONS:
            [market] = markets  # with several, no such label is trained
            return recognise(cfg, study, runs, market)
        return _trade(cfg, study, runs, markets, rules, methods)


def _trade(
    cfg: DictConfig,
    study: Path,
    runs: Runs,
    markets: Sequence[Market],
    rules: TradingRules,
    methods: list[str],
) -> dict[str, Any]:
    """Judge a study of directions: each symbol by itself, then several together."""
    windows = windows_of(runs)
    joined, models = _forecasts(runs, methods, markets)
    horizon = parse_duration("label.horizon", _first(runs).config["label"]["horizon"])
    rows = {market.symbol: joined.query("symbol == @market.symbol") for market in markets}
    grounds = {
        market.symbol: Ground.of(rows[market.symbol], market.bars, horizon, rules)
        for market in markets
    }
    looked = sum(len(ground.test) for ground in grounds.values())
    record(study, LOOK, windows=windows, rows=looked, trading=plain(cfg.trading))
    by_regime = _regimes(runs, markets, grounds)
    studies = {
        symbol: Study(
            ground, windows, models, baseline_of(runs), headline_of(models, windows),
            by_regime[symbol], trials_of(study, runs),
        )
        for symbol, ground in grounds.items()
    }  # fmt: skip
    options = {"resamples": cfg.judging.resamples, "seed": cfg.judging.seed}
    with counting("judging", len(models) * len(markets), "models") as advance:
        judged = {symbol: judge(one, **options, advance=advance) for symbol, one in studies.items()}
    checked = partial(receipts, cfg, runs, markets)
    keep_symbols(study / EVALUATION, grounds if len(markets) > 1 else ())
    for market in markets:
        symbol = market.symbol
        facts = _facts(
            cfg, study, runs, [market], grounds[symbol].test, studies[symbol], judged[symbol]
        )
        # of a hundred symbols, explaining would take longer than judging
        shown = shown_samples(
            runs, windows, market, grounds[symbol], explained=market is markets[0]
        )
        predictions, write = _long(rows[symbol], models), partial(write_report, samples=shown)
        if len(markets) == 1:
            lines = table(facts)
            publish(cfg, study, facts, predictions, lines=lines, write=write, receipts=checked)
            return facts
        written(study / EVALUATION / SYMBOLS / symbol, facts, predictions, write)
    with counting("judging together", len(models), "models") as advance:
        together = judge_pooled(studies, **options, advance=advance)
    test = pd.concat([ground.test for ground in grounds.values()]).sort_values("time")
    facts = _facts(cfg, study, runs, markets, test, studies[markets[0].symbol], together)
    facts["symbols"] = {
        symbol: {key: one[key] for key in ("rows", "classes", "models")}
        for symbol, one in judged.items()
    }
    lines, predictions = pooled_table(facts), _long(joined, models)
    publish(cfg, study, facts, predictions, lines=lines, write=write_pooled, receipts=checked)
    return facts


def _facts(
    cfg: DictConfig,
    study: Path,
    runs: Runs,
    markets: Sequence[Market],
    test: pd.DataFrame,
    judged_study: Study,
    judged: Mapping[str, Any],
) -> dict[str, Any]:
    """What metrics.json says of these symbols."""
    return {
        **shared_facts(cfg, study, runs, markets, test),
        "horizon": _first(runs).config["label"]["horizon"],
        "headline": judged_study.headline,
        "verdict": [
            *sentences(judged, judged_study.headline, judged_study.trials),
            *looked_before(recorded(study, LOOK)),
        ],
        **judged,
    }


def _first(runs: Runs) -> Run:
    return next(iter(runs.values()))[0]


def _forecasts(
    runs: Runs, methods: list[str], markets: Sequence[Market]
) -> tuple[pd.DataFrame, list[str]]:
    """All models side by side, and their names in the order in which they are shown."""
    joined, models = combined(side_by_side(runs), runs, methods)
    oracles = {market.symbol: market.oracle for market in markets if market.oracle is not None}
    if len(oracles) == len(markets) and _is_asked_of(_first(runs)):
        asked = pd.MultiIndex.from_arrays([joined["symbol"], joined["time"]])
        joined[ORACLE] = pd.concat(oracles).reindex(asked).to_numpy()
        models.append(ORACLE)
    return joined, models


def _is_asked_of(run: Run) -> bool:
    """Whether what a simulated market knows itself is the very thing that the run forecasts."""
    config = run.config
    same_horizon = config["market"].get("horizon") == config["label"]["horizon"]
    return same_horizon and config["label"][TARGET].endswith("Direction")


def _regimes(
    runs: Runs, markets: Sequence[Market], grounds: Mapping[str, Ground]
) -> dict[str, pd.DataFrame]:
    """The regime of each symbol's test rows, by its training samples of their fold."""
    by_fold = {fold_of(run): run for found in runs.values() for run in found}
    parts: dict[str, list[pd.DataFrame]] = {symbol: [] for symbol in grounds}
    for fold in grounds[markets[0].symbol].folds:
        config = OmegaConf.create(by_fold[fold].config)
        lookback = parse_duration("window.lookback", config.window.lookback)
        samples = load_samples(config, markets)
        for market in markets:
            ground, its = grounds[market.symbol], samples.of(market.symbol)
            times, train_times = (
                pd.DatetimeIndex(moments).tz_localize("UTC")
                for moments in (
                    ground.test.loc[ground.folds[fold], "time"].to_numpy("datetime64[ns]"),
                    its.times[its.split.train],
                )
            )
            parts[market.symbol].append(regimes(market.bars, times, train_times, lookback))
    return {symbol: pd.concat(found) for symbol, found in parts.items()}


def _long(joined: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The joined table as predictions: one row per model, symbol, time and fold.

    The seed is -1 throughout: a member may be the mean of several, an ensemble has none.
    """
    shared = joined.drop(columns=list(names))
    parts = [shared.assign(window=name, seed=-1, p_up=joined[name]) for name in names]
    return pd.concat(parts, ignore_index=True)
