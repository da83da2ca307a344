"""Several symbols together: rows of all, a portfolio of trades, moments drawn whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap
from sklearn.metrics import roc_auc_score

from gafcnn.evaluation import statistics as measures
from gafcnn.evaluation.bootstrap import Bootstrap
from gafcnn.evaluation.figures import Auc, Ratio, value_of
from gafcnn.evaluation.judge import Study, judge
from gafcnn.evaluation.metrics import money, scores
from gafcnn.evaluation.pooled import Pool, judge_pooled
from gafcnn.evaluation.test_set import Ground, Traded

Make = Callable[..., Study]
MODELS = ["30m", "60m", "mean", "vote", "xgboost", "two_stage"]


def other_symbol(study: Study, *, missing: int = 0, last: int = 0) -> Study:
    """The same rows as of another symbol, with forecasts of its own; some bars are not there."""
    ground = study.ground
    rng = np.random.default_rng(1)
    bars = ground.bars.drop(index=ground.bars.index[2400 : 2400 + missing])
    bars.attrs = ground.bars.attrs

    def changed(rows: pd.DataFrame) -> pd.DataFrame:
        there = rows["time"].isin(bars.index) & rows["known_at"].isin(bars.index)
        kept = rows[there].assign(symbol="OTHER").reset_index(drop=True)
        kept = kept.iloc[: len(kept) - last]
        return kept.assign(**{name: rng.permutation(kept[name]) for name in MODELS})

    return replace(
        study,
        ground=Ground(
            bars, changed(ground.val), changed(ground.test), ground.horizon, ground.rules
        ),
    )


@pytest.fixture(scope="module")
def study(study_of: Make, joined: pd.DataFrame) -> Study:
    return study_of(joined, models=MODELS, members=["30m", "60m"], headline="30m")


@pytest.fixture(scope="module")
def pair(study: Study) -> dict[str, Study]:
    return {"SIM": study, "OTHER": other_symbol(study, missing=40, last=15)}


@pytest.fixture(scope="module")
def pooled(pair: dict[str, Study]) -> dict[str, Any]:
    return judge_pooled(pair, resamples=120)


def test_a_pool_of_one_symbol_is_that_symbol(study: Study) -> None:
    alone, pooled = judge(study, resamples=60), judge_pooled({"SIM": study}, resamples=60)
    for key in ("rows", "classes", "bootstrap", "pairs"):
        assert pooled[key] == alone[key], key
    for name in MODELS:
        for figure, found in pooled["models"][name].items():
            told = alone["models"][name][figure]
            assert found == told, (name, figure)
    for figure, held in pooled["benchmarks"]["buy_and_hold"].items():
        told = alone["benchmarks"]["buy_and_hold"][figure]["value"]
        assert held["value"] == pytest.approx(told)
    assert pooled["equity"]["30m"]["time"] == alone["equity"]["30m"]["time"]


def test_rows_of_all_symbols_count_alike(pair: dict[str, Study], pooled: dict[str, Any]) -> None:
    test = pd.concat([one.ground.test for one in pair.values()])
    up = test["forward_return"] > 0
    assert pooled["rows"]["all"] == len(test)
    assert pooled["classes"]["all"] == {"up": pytest.approx(up.mean()), "n": len(test)}
    for name in MODELS:
        found = pooled["models"][name]
        right = (test[name] > 0.5) == up
        assert found["accuracy"]["value"] == pytest.approx(right.mean())
        assert found["auc"]["value"] == pytest.approx(roc_auc_score(up, test[name]))
        labelled = test["label"].notna()
        known = roc_auc_score(test["label"][labelled].astype(int), test[name][labelled])
        assert found["auc_labelled"]["value"] == pytest.approx(known)
        assert found["auc"]["n"] == len(test)
        assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]


def test_trades_are_of_a_portfolio_of_equal_shares(
    pair: dict[str, Study], pooled: dict[str, Any]
) -> None:
    made = [Traded.by(one.ground, "30m").backtest for one in pair.values()]
    # by time, not by number: one symbol lacks bars that the other has
    returns = pd.concat([one.returns for one in made], axis=1).sort_index().fillna(0).mean(axis=1)
    periods = pair["SIM"].ground.periods
    found = pooled["models"]["30m"]
    assert found["sharpe"]["value"] == pytest.approx(measures.sharpe(returns.to_numpy(), periods))
    assert found["sortino"]["value"] == pytest.approx(measures.sortino(returns.to_numpy(), periods))
    assert found["max_drawdown"]["value"] == pytest.approx(
        measures.max_drawdown(returns.to_numpy())
    )
    assert found["total_return"]["value"] == pytest.approx((1 + returns).prod() - 1)
    trades = pd.concat([one.trades for one in made])
    assert found["trades"]["value"] == found["net_bps"]["n"] == len(trades)
    assert found["win_rate_gross"]["value"] == pytest.approx((trades["gross"] > 0).mean())
    assert found["net_bps"]["value"] == pytest.approx(trades["net"].mean() * 1e4)
    assert pooled["equity"]["30m"]["value"][-1] == pytest.approx((1 + returns).prod())


def test_the_same_moments_of_all_symbols_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    n, width, symbols = 90, 6, 3
    score, up = rng.integers(0, 9, (n, symbols)) / 8, rng.random((n, symbols)) < 0.5
    counted = rng.random((n, symbols)) < 0.8
    drawn = Bootstrap(width, n, 2.0, 40, seed=5).distributions({"auc": Auc(score, up, counted)})
    draws = StationaryBootstrap(2.0, np.arange(n // width), seed=5).bootstrap(40)
    for value, picks in zip(drawn["auc"], draws, strict=True):
        bars = (picks[0][0][:, None] * width + np.arange(width)).ravel()
        at = counted[bars]
        assert value == pytest.approx(roc_auc_score(up[bars][at], score[bars][at]))


def test_symbols_that_are_the_same_leave_intervals_as_wide_as_one(study: Study) -> None:
    one = judge_pooled({"A": study}, resamples=100)["models"]["30m"]
    two = judge_pooled({"A": study, "B": study}, resamples=100)["models"]["30m"]
    for figure in ("auc", "accuracy", "log_loss", "sharpe", "max_drawdown"):
        for end in ("value", "low", "high"):
            assert two[figure][end] == pytest.approx(one[figure][end]), figure
    assert two["auc"]["n"] == 2 * one["auc"]["n"]


def test_bars_that_one_symbol_lacks_are_those_of_the_others(pair: dict[str, Study]) -> None:
    grounds = [one.ground for one in pair.values()]
    pool = Pool(grounds)
    assert list(pool.times) == sorted(set(grounds[0].period) | set(grounds[1].period))
    ones = pool.side_by_side([np.ones(ground.n_bars) for ground in grounds])
    assert ones.sum(axis=0).tolist() == [ground.n_bars for ground in grounds]
    assert (ones[:, 1] == 0).sum() >= 40
    figures = [
        scores(ground, "30m") | money(ground, Traded.by(ground, "30m")) for ground in grounds
    ]
    for name in figures[0]:
        together = pool.together([one[name] for one in figures])
        assert len(together) == len(pool.times)
        if isinstance(together, Ratio):
            parts = [one[name].series() for one in figures]
            top, bottom = (sum(np.sum(part[k]) for part in parts) for k in (0, 1))
            assert value_of(together) == pytest.approx(together.scale * top / bottom)


def test_pairs_are_told_of_all_together(pooled: dict[str, Any]) -> None:
    told = {(row["a"], row["b"], row["figure"]): row for row in pooled["pairs"]}
    a, b = next((a, b) for a, b, _ in told if b == "xgboost")
    of = told[(a, b, "auc")]
    models = pooled["models"]
    assert of["value"] == pytest.approx(models[a]["auc"]["value"] - models[b]["auc"]["value"])
    assert of["low"] < of["high"]
