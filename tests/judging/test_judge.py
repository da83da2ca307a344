"""The judgement: complete, strict JSON, the same each time, and silent on what it cannot know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.evaluation.comparisons import COMPARED
from gafcnn.evaluation.deflated import deflated_sharpe
from gafcnn.evaluation.judge import Study, judge
from gafcnn.evaluation.test_set import Traded
from gafcnn.evaluation.trading_rules import Rules
from gafcnn.evaluation.verdict import sentences

Make = Callable[..., Study]
Judged = dict[str, Any]
PLAIN: dict[str, Any] = {
    "members": ["30m"],
    "models": ["30m"],
    "baseline": None,
    "headline": "30m",
}
"""A study of one model, the quickest that there is."""

TABLES = ("coverage", "sides", "regimes", "calibration")
TRADING = (
    "win_rate_gross", "win_rate_net", "net_bps", "gross_bps", "break_even_bps", "profit_factor",
    "sharpe", "sortino", "calmar", "deflated_sharpe",
)  # fmt: skip


def of(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def ends(part: Any) -> Iterator[Any]:
    """All values called low or high, at any depth."""
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key in ("low", "high"))
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from ends(one)


# --- its form --------------------------------------------------------------------------------


def test_a_judgement_is_strict_json(judged: Judged, judged_folds: Judged) -> None:
    for one in (judged, judged_folds):
        assert json.loads(json.dumps(one, allow_nan=False)) == one


def test_a_judgement_is_the_same_each_time(study_of: Make, joined: pd.DataFrame) -> None:
    once, again = (judge(study_of(joined, **PLAIN), resamples=20) for _ in range(2))
    assert json.dumps(once) == json.dumps(again)
    assert judge(study_of(joined, **PLAIN), resamples=20, seed=1)["models"] != once["models"]


def test_the_order_of_rows_is_of_no_account(study_of: Make, joined: pd.DataFrame) -> None:
    once = judge(study_of(joined, **PLAIN), resamples=20)
    shuffled = joined.sample(frac=1, random_state=0)
    assert judge(study_of(shuffled, **PLAIN), resamples=20) == once


def test_without_resamples_there_are_the_same_figures_and_no_intervals(
    study_of: Make, joined: pd.DataFrame, judged: Judged
) -> None:
    plain = judge(study_of(joined), resamples=0)
    of_coin = plain.pop("benchmarks")  # has draws of its own
    assert set(ends(plain)) == {None}
    assert of_coin == judged["benchmarks"]
    for model, figures in judged["models"].items():
        assert {name: one["value"] for name, one in figures.items()} == {
            name: one["value"] for name, one in plain["models"][model].items()
        }


def test_one_is_told_of_every_model(study_of: Make, joined: pd.DataFrame) -> None:
    told: list[int] = []
    two = PLAIN | {"models": ["30m", "oracle"]}
    judge(study_of(joined, **two), resamples=0, advance=told.append)
    assert told == [1, 1]


# --- its figures -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["30m", "60m", "mean", "two_stage"])
def test_figures_by_pandas(
    study_of: Make, joined: pd.DataFrame, judged: Judged, model: str
) -> None:
    test = joined[joined["split"] == "test"]
    p, up = test[model].to_numpy(), (test["forward_return"] > 0).to_numpy()
    ranks = pd.Series(p).rank()
    n_up, n_down = up.sum(), (~up).sum()
    trades = Traded.by(study_of(joined).ground, model).backtest.trades
    figures = judged["models"][model]
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
    assert figures["accuracy"]["n"] == len(test)
    assert figures["auc_labelled"]["n"] == test["label"].notna().sum()
    assert figures["net_bps"]["n"] == len(trades)


def test_intervals_hold_their_figures_and_know_skill_from_none(judged: Judged) -> None:
    for figures in judged["models"].values():
        for name in ("accuracy", "auc", "net_bps", "sharpe", "brier"):
            assert figures[name]["low"] < figures[name]["value"] < figures[name]["high"]
    assert judged["models"]["oracle"]["auc"]["low"] > 0.5
    assert judged["models"]["60m"]["auc"]["low"] < 0.5 < judged["models"]["60m"]["auc"]["high"]


def test_parts_of_the_rows_have_their_counts(judged: Judged, judged_folds: Judged) -> None:
    for one in (judged, judged_folds):
        n = one["rows"]["all"]
        for model in one["models"]:
            for row in of(one["coverage"], model=model, chosen=False):
                assert row["n"] >= row["share"] * n
                assert row["realised"] == row["n"] / n
            assert of(one["coverage"], model=model, share=1.0)[0]["n"] == n
            assert len(of(one["coverage"], model=model, chosen=True)) == 1
            for part in ("sides", "regimes", "calibration"):
                assert all(isinstance(row["n"], int) for row in of(one[part], model=model))
            regimes = of(one["regimes"], model=model)
            assert sum(row["n"] for row in regimes if row["month"] is None) == n
            assert sum(row["n"] for row in regimes if row["month"] is not None) == n
            assert sum(row["n"] for row in of(one["calibration"], model=model)) == n
            undecided = n - sum(row["n"] for row in of(one["sides"], model=model, of="all rows"))
            assert undecided == (n - of(one["coverage"], model=model, share=1.0)[0]["trades"])


def test_a_part_is_scored_on_its_own_rows(joined: pd.DataFrame, judged: Judged) -> None:
    test = joined[joined["split"] == "test"]
    long = test[test["30m"] > 0.5]
    (row,) = of(judged["sides"], model="30m", side="long", of="all rows")
    share = (long["forward_return"] > 0).mean()
    assert row["n"] == row["trades"] == len(long)
    assert row["accuracy"] == pytest.approx(share)
    assert row["majority"] == pytest.approx(max(share, 1 - share))
    assert row["low"] < row["win_rate"] < row["high"]


def test_a_month_of_one_class_has_no_auc_and_an_empty_cell_has_nothing(
    study_of: Make, joined: pd.DataFrame
) -> None:
    study = study_of(joined, **PLAIN)
    month = np.where(study.ground.up, "2024-01", "2024-02")
    regimes = study.regimes.assign(volatility="low", trend="up", month=month)
    judged = judge(replace(study, regimes=regimes), resamples=20)
    found = judged["regimes"]
    for row in [row for row in found if row["month"] is not None]:
        assert row["auc"] is None
        assert row["majority"] == 1.0
        assert row["n"] == (month == row["month"]).sum()
    (full,) = of(found, volatility="low", trend="up")
    assert full["auc"] == judged["models"]["30m"]["auc"]["value"]
    (empty,) = of(found, volatility="high", trend="down")
    counts = {"n": 0, "trades": 0}
    names = {"model": "30m", "volatility": "high", "trend": "down", "month": None}
    assert empty == dict.fromkeys(empty) | names | counts


def test_folds_are_told_one_by_one(
    walked: pd.DataFrame, judged: Judged, judged_folds: Judged
) -> None:
    assert judged["folds"] == []
    test = walked[walked["split"] == "test"]
    for model in judged_folds["models"]:
        rows = of(judged_folds["folds"], model=model)
        assert [row["fold"] for row in rows] == [0, 1]
        assert sum(row["n"] for row in rows) == judged_folds["rows"]["all"]
        for row in rows:
            of_fold = test[test["fold"] == row["fold"]]
            right = (of_fold[model] > 0.5) == (of_fold["forward_return"] > 0)
            assert row["accuracy"] == pytest.approx(right.mean())
            assert row["first"] == of_fold["time"].min().isoformat()
            assert row["last"] == of_fold["time"].max().isoformat()
        assert judged_folds["models"][model]["threshold"]["value"] is None


# --- no trade, no difference, no luck ----------------------------------------------------------


def test_a_threshold_that_never_trades_earns_no_figure(
    study_of: Make, joined: pd.DataFrame
) -> None:
    study = study_of(joined, Rules(threshold=0.5), **PLAIN)
    judged = judge(study, resamples=20)
    figures = judged["models"]["30m"]
    assert figures["trades"]["value"] == 0
    for name in TRADING:
        assert [figures[name][key] for key in ("value", "low", "high")] == [None] * 3, name
    assert set(judged["benchmarks"]["coin"]["30m"]["net_bps"].values()) == {None, 0}
    (chosen,) = of(judged["coverage"], chosen=True)
    assert (chosen["n"], chosen["win_rate"], chosen["net_bps"]) == (0, None, None)
    assert figures["accuracy"]["low"] is not None
    said = sentences(judged, "30m", 1)
    assert said[-1].startswith("At the given threshold 0.5 it makes no trade in the test period")
    json.dumps(judged, allow_nan=False)


def test_a_model_compared_with_itself_is_not_told_apart(
    study_of: Make, joined: pd.DataFrame
) -> None:
    same = joined.assign(xgboost=joined["30m"], two_stage=joined["30m"])
    options = {"members": ["30m"], "models": ["30m", "xgboost", "two_stage"]}
    judged = judge(study_of(same, **options), resamples=20)
    assert len(judged["pairs"]) == 2 * 7
    for row in judged["pairs"]:
        assert (row["value"], row["low"], row["high"]) == (0.0, 0.0, 0.0)
        name = COMPARED[row["figure"]]
        assert row["finding"].endswith(f"are not to be told apart by {name}")


def test_differences_are_paired(judged: Judged) -> None:
    """Two models of one signal differ by less than either is sure of."""
    (row,) = of(judged["pairs"], a="two_stage", b="xgboost", figure="auc")
    models = judged["models"]
    assert row["value"] == pytest.approx(
        models["two_stage"]["auc"]["value"] - models["xgboost"]["auc"]["value"]
    )
    alone = models["xgboost"]["auc"]
    assert row["high"] - row["low"] < (alone["high"] - alone["low"]) / 2


def test_a_difference_rests_on_the_fewer_trades(judged: Judged) -> None:
    models = judged["models"]
    (row,) = of(judged["pairs"], a="two_stage", b="xgboost", figure="net_bps")
    trades = [models[name]["trades"]["value"] for name in ("two_stage", "xgboost")]
    assert trades[0] != trades[1]
    assert row["n"] == min(trades)


def test_the_best_window_is_compared_whatever_test_says(
    study_of: Make, joined: pd.DataFrame, judged: Judged
) -> None:
    changed, test = joined.copy(), joined["split"] == "test"
    changed.loc[test, "60m"] = changed.loc[test, "oracle"]
    changed.loc[test, "30m"] = 1 - changed.loc[test, "30m"]
    after = judge(study_of(changed), resamples=0)
    named = [[(row["a"], row["b"]) for row in one["pairs"]] for one in (judged, after)]
    assert named[0] == named[1]
    assert after["models"]["60m"]["auc"]["value"] > after["models"]["30m"]["auc"]["value"]


def test_targets_speak_of_the_headline_and_of_pairs(judged: Judged) -> None:
    rows = {row["target"]: row for row in judged["targets"]}
    headline = judged["models"]["two_stage"]
    assert rows["Sharpe ratio"]["value"] == headline["sharpe"]["value"]
    assert rows["win rate"]["n"] == headline["trades"]["value"]
    (pair,) = of(judged["pairs"], a="mean", b="30m", figure="accuracy")
    assert rows["ensemble over its best single window"]["value"] == pair["value"]
    assert rows["pattern recognition"]["verdict"] == "not measured"


def test_the_deflated_sharpe_ratio_falls_with_trials(study_of: Make, joined: pd.DataFrame) -> None:
    """60m knows nothing, so that luck is at issue."""
    found = []
    for trials in (1, 5, 50):
        one = judge(
            study_of(joined, **PLAIN | {"models": ["60m", "30m"]}, trials=trials), resamples=0
        )
        found.append(one["models"]["60m"]["deflated_sharpe"]["value"])
    assert found[0] > found[1] > found[2] > 0


def test_what_the_market_knows_itself_is_no_trial(study_of: Make, joined: pd.DataFrame) -> None:
    """The variance of trials is that of the models, with the oracle among them or without."""
    models = ["15m", "30m", "60m"]
    options = PLAIN | {"trials": 10}
    without = judge(study_of(joined, **options | {"models": models}), resamples=0)
    beside = judge(study_of(joined, **options | {"models": [*models, "oracle"]}), resamples=0)
    ground = study_of(joined).ground
    returns = [Traded.by(ground, name).backtest.returns for name in models]
    variance = np.var([one.mean() / one.std() for one in returns], ddof=1)
    for name, one in zip(models, returns, strict=True):
        value = without["models"][name]["deflated_sharpe"]["value"]
        assert beside["models"][name]["deflated_sharpe"]["value"] == value
        assert value == pytest.approx(deflated_sharpe(one, 10, float(variance)))


def test_models_that_resemble_each_other_do_not_lower_the_bar(
    study_of: Make, joined: pd.DataFrame
) -> None:
    """Three times one model is no variance at all; without skill it would be 1 / n."""
    same = joined.assign(**{"15m": joined["60m"], "30m": joined["60m"]})
    models = ["15m", "30m", "60m"]
    judged = judge(study_of(same, **PLAIN | {"models": models, "trials": 10}), resamples=0)
    returns = Traded.by(study_of(same).ground, "60m").backtest.returns
    expected = deflated_sharpe(returns, 10, 1 / len(returns))
    for name in models:
        assert judged["models"][name]["deflated_sharpe"]["value"] == pytest.approx(expected)


def test_none_ranks_better_than_what_the_market_knows_itself(judged: Judged) -> None:
    best = max(judged["models"], key=lambda name: judged["models"][name]["auc"]["value"])
    assert best == "oracle"
