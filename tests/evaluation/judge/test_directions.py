"""The judgement of a direction: complete, strict JSON, reproducible, equal to plain formulas."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.samples import Samples
from gafcnn.evaluation.directions import deflated_ratios
from gafcnn.evaluation.judge import Judgement
from gafcnn.evaluation.statistics import deflated_sharpe, score_rows
from gafcnn.evaluation.test_set import TestSet
from gafcnn.evaluation.trading_rules import TradingRules

Judge = Callable[..., Judgement]
Tables = dict[str, pd.DataFrame]
Row = dict[str, Any]

TABLES = ("coverage", "sides", "regimes", "calibration")
TRADING = (
    "win_rate_gross", "win_rate_net", "net_bps", "gross_bps", "break_even_bps", "profit_factor",
    "sharpe", "sortino", "calmar", "deflated_sharpe",
)  # fmt: skip


def select(rows: list[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


# --- form ------------------------------------------------------------------------------------


def test_metrics_are_strict_json(judgement: Judgement, judgement_of_folds: Judgement) -> None:
    for one in (judgement, judgement_of_folds):
        assert json.loads(json.dumps(one.metrics, allow_nan=False)) == one.metrics


def test_a_judgement_is_reproducible_and_depends_on_the_seed_alone(
    judge_tables: Judge, tables: Tables
) -> None:
    one = {"30m": tables["30m"]}
    first = judge_tables(one, resamples=100).metrics
    assert judge_tables(one, resamples=100).metrics == first
    shuffled = {"30m": tables["30m"].sample(frac=1, random_state=0)}
    assert judge_tables(shuffled, resamples=100).metrics == first
    assert judge_tables(one, resamples=100, seed=1).metrics["models"] != first["models"]


# --- figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["30m", "60m", "mean", "two_stage"])
def test_figures_by_pandas(
    test_set_of: Callable[..., TestSet], joined: pd.DataFrame, judgement: Judgement, model: str
) -> None:
    test = joined[joined["split"] == "test"]
    p, up = test[model].to_numpy(), (test["forward_return"] > 0).to_numpy()
    ranks, n_up, n_down = pd.Series(p).rank(), up.sum(), (~up).sum()
    backtest = test_set_of(joined).trade(model).backtest
    trades, figures = backtest.trades, judgement.metrics["models"][model]
    assert {name: figures[name]["value"] for name in ("accuracy", "auc", "trades")} == (
        pytest.approx(
            {
                "accuracy": ((p > 0.5) == up).mean(),
                "auc": (ranks[up].sum() - n_up * (n_up + 1) / 2) / (n_up * n_down),
                "trades": len(trades),
            }
        )
    )
    assert figures["win_rate_gross"]["value"] == pytest.approx((trades["gross"] > 0).mean())
    assert figures["net_bps"]["value"] == pytest.approx(trades["net"].mean() * 1e4)
    assert figures["total_return"]["value"] == pytest.approx(backtest.equity.iloc[-1] - 1)
    # fifteen hours are too short for an annual return
    assert (figures["annual_return"]["value"], figures["calmar"]["value"]) == (None, None)
    assert figures["accuracy"]["n"] == len(test)
    assert figures["auc_labelled"]["n"] == test["label"].notna().sum()
    assert figures["net_bps"]["n"] == len(trades)
    scores = score_rows(test, model)
    assert judgement.metrics["confusion"][model] == {
        rows: scores[rows]["confusion"] for rows in ("all", "labelled")
    }


def test_intervals_contain_their_figures_and_show_skill(judgement: Judgement) -> None:
    models = judgement.metrics["models"]
    for figures in models.values():
        for name in ("accuracy", "auc", "net_bps", "sharpe", "brier"):
            assert figures[name]["low"] < figures[name]["value"] < figures[name]["high"]
    assert models["oracle"]["auc"]["low"] > 0.5
    assert models["60m"]["auc"]["low"] < 0.5 < models["60m"]["auc"]["high"]
    assert max(models, key=lambda name: models[name]["auc"]["value"]) == "oracle"


def test_regimes_are_relative_to_the_training_samples(
    judgement: Judgement, judge_tables: Judge, single: tuple[Samples, Tables]
) -> None:
    """Without samples, to the bars before the test; a cell without rows has no figures."""
    samples, tables = single
    given = select(judgement.metrics["regimes"], model="30m")
    other = judge_tables({"30m": tables["30m"]}, samples=()).metrics["regimes"]
    assert [row["n"] for row in given] != [row["n"] for row in other]
    again = judge_tables({"30m": tables["30m"]}, samples=[samples]).metrics["regimes"]
    assert [row["n"] for row in given] == [row["n"] for row in again]
    for row in [row for row in given if row["n"] == 0]:
        names = ("model", "volatility", "trend", "month")
        assert {row[key] for key in row.keys() - set(names)} == {None, 0}


def test_folds_are_judged_separately(
    walked: pd.DataFrame,
    judgement: Judgement,
    judgement_of_folds: Judgement,
    test_set_of: Callable[..., TestSet],
) -> None:
    assert judgement.metrics["folds"] == []
    metrics = judgement_of_folds.metrics
    test = walked[walked["split"] == "test"]
    for model in metrics["models"]:
        rows = select(metrics["folds"], model=model)
        assert [row["fold"] for row in rows] == [0, 1]
        assert sum(row["n"] for row in rows) == metrics["rows"]["all"]
        assert metrics["models"][model]["threshold"]["value"] is None
        for row in rows:
            of_fold = test[test["fold"] == row["fold"]]
            right = (of_fold[model] > 0.5) == (of_fold["forward_return"] > 0)
            assert row["accuracy"] == pytest.approx(right.mean())
            assert row["first"] == of_fold["time"].min().isoformat()
            assert row["last"] == of_fold["time"].max().isoformat()
    for fold in (0, 1):
        alone = test_set_of(walked[walked["fold"] == fold].reset_index(drop=True)).trade("30m")
        [row] = select(metrics["folds"], model="30m", fold=fold)
        assert row["net_bps"] == pytest.approx(alone.backtest.summary()["net_bps"])
        assert row["threshold"] == alone.choices[fold].threshold


# --- benchmarks ------------------------------------------------------------------------------


def test_holding_lasts_from_the_first_decision_to_the_last_horizon(
    judgement: Judgement, bars: pd.DataFrame, joined: pd.DataFrame
) -> None:
    times = joined["time"][joined["split"] == "test"]
    bought = bars["open"].shift(-1)[times.iloc[0]]
    sold = bars["close"].shift(-15)[times.iloc[-1]]
    held = judgement.metrics["benchmarks"]["buy_and_hold"]
    net = sold / bought - 1 - 1e-4 * (1 + sold / bought)
    assert held["total_return"]["value"] == pytest.approx(net)
    assert held["trades"]["value"] == 1


# --- no trade, no difference, no luck --------------------------------------------------------


def test_without_trades_there_are_no_figures_of_trades(judge_tables: Judge, tables: Tables) -> None:
    found = judge_tables({"30m": tables["30m"]}, rules=TradingRules(threshold=0.5), resamples=100)
    metrics = found.metrics
    figures = metrics["models"]["30m"]
    assert figures["trades"]["value"] == 0
    for name in TRADING:
        assert [figures[name][key] for key in ("value", "low", "high")] == [None] * 3, name
    assert metrics["benchmarks"]["coin"]["30m"]["p_value"] is None
    [chosen] = select(metrics["coverage"], chosen=True)
    assert (chosen["n"], chosen["win_rate"], chosen["net_bps"]) == (0, None, None)
    assert figures["accuracy"]["low"] is not None
    json.dumps(metrics, allow_nan=False)


def test_the_variance_of_trials_is_that_of_the_models_without_the_oracle() -> None:
    rng = np.random.default_rng(0)
    returns = {name: rng.normal(0.001 * k, 0.01, 500) for k, name in enumerate("abc")}
    ratios = [one.mean() / one.std(ddof=1) for one in returns.values()]
    variance = float(np.var(ratios, ddof=1))
    found = deflated_ratios({**returns, "oracle": rng.normal(1, 0.01, 500)}, 10)
    for name, one in returns.items():
        assert found[name] == pytest.approx(deflated_sharpe(one, 10, variance))


def test_models_that_resemble_each_other_do_not_lower_the_hurdle() -> None:
    """The variance of identical models is 0; without skill it would be 1 / n."""
    returns = np.random.default_rng(0).normal(0, 0.01, 500)
    found = deflated_ratios(dict.fromkeys("abc", returns), 10)
    assert set(found.values()) == {deflated_sharpe(returns, 10, 1 / 500)}
