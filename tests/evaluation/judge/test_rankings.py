"""Rankings: rank correlations, quantiles, the portfolio, its exposures, and what is uncertain."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap
from scipy.stats import binomtest, spearmanr

from gafcnn.data.cross_section import Relative
from gafcnn.data.samples import make_samples
from gafcnn.data.simulated import simulate_universe
from gafcnn.data.splits import Chronological, WalkForward
from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.ensembles import ensemble, mean_rank
from gafcnn.evaluation.judge import Judgement, judge
from gafcnn.evaluation.portfolio import PortfolioRules, portfolio
from gafcnn.evaluation.predictions import prediction_table
from gafcnn.evaluation.rankings import rank_figures, regression
from gafcnn.evaluation.trading_rules import TradingRules

Bars = dict[str, pd.DataFrame]
Tables = dict[str, pd.DataFrame]
FIXED = {"band": 0.0, "smoothing": 0.0, "cost_bps": 5.0}


def universe(symbols: int = 12, n: int = 260, seed: int = 0) -> Bars:
    """Daily bars of random walks that share a market; each opens at the last close."""
    return simulate_universe(symbols, n, "1D", 0.0, "1D", seed)[0]


def ahead_of(bars: Bars, horizon: int = 1) -> pd.DataFrame:
    """Returns to the close a horizon later: times by symbols."""
    closes = pd.DataFrame({name: frame["close"] for name, frame in bars.items()})
    return (closes.shift(-horizon) / closes - 1).iloc[:-horizon]


def foreign(scores: pd.DataFrame) -> pd.DataFrame:
    """A table of symbol, time and score, from scores by time and symbol."""
    rows = scores.rename_axis("time").reset_index()
    return rows.melt("time", var_name="symbol", value_name="score")


def noisy(bars: Bars, skill: float, seed: int = 0, horizon: int = 1) -> pd.DataFrame:
    """Scores with a share of the future in them, after 60 days."""
    ahead, rng = ahead_of(bars, horizon), np.random.default_rng(seed)
    return (skill * ahead / 0.02 + rng.normal(size=ahead.shape)).iloc[60:]


@pytest.fixture(scope="module")
def bars() -> Bars:
    return universe()


@pytest.fixture(scope="module")
def run(bars: Bars) -> Callable[..., Judgement]:
    """Judges tables of the universe at a horizon of a day, without intervals."""

    def judged(tables: Tables, **changed: Any) -> Judgement:
        rules = PortfolioRules(**FIXED)
        options = {"label": Relative("1D"), "rules": rules, "resamples": 0, **changed}
        return judge(tables, options.pop("bars", bars), **options)

    return judged


@pytest.fixture(scope="module")
def tables(bars: Bars) -> Tables:
    """Two members and a baseline, on validation and test rows."""
    split = Chronological(test=0.5, val=0.3)
    samples = make_samples(bars, label=Relative("1D"), split=split, lookback="5D")
    rows = np.concatenate([samples.split.val, samples.split.test])
    rng, ahead = np.random.default_rng(1), samples.outcomes.forward_return[rows] / 0.02
    skills = {"20d": 0.3, "60d": 0.15, "xgboost": 0.0}
    return {
        name: prediction_table(samples, skill * ahead + rng.normal(size=len(rows)), name, 0)
        for name, skill in skills.items()
    }


@pytest.fixture(scope="module")
def judgement(run: Callable[..., Judgement], tables: Tables) -> Judgement:
    return run(tables, ensembles=["mean", "vote", "two_stage"], resamples=200)


def scores_of(judgement: Judgement, model: str) -> Any:
    rows = judgement.predictions
    return rows[(rows["window"] == model) & (rows["split"] == "test")]


# --- ranks ------------------------------------------------------------------------------------


def test_figures_of_three_symbols_by_hand() -> None:
    """At one time the order is right, at the next it is turned; then scores are equal."""
    correlations = np.array([1.0, -1.0, 1.0, np.nan])
    low, high = np.array([-0.01, 0.02, -0.02, np.nan]), np.array([0.01, -0.02, 0.02, np.nan])
    quantiles = np.column_stack([low, low / 2, 0 * low, high / 2, high])
    figures = rank_figures(correlations, quantiles)
    assert figures["rank_ic"][0].value == pytest.approx(1 / 3)
    assert figures["rank_ic"][1] == 3
    assert figures["ic_positive"][0].value == pytest.approx(2 / 3)
    assert figures["icir"][0].value == pytest.approx((1 / 3) / np.std([1, -1, 1], ddof=1))
    assert figures["spread_bps"][0].value == pytest.approx(1e4 * (0.02 - 0.04 + 0.04) / 3)
    assert figures["monotonicity"][0].value == pytest.approx(1.0)
    assert figures["quantile", 5][0].value == pytest.approx(1e4 * 0.01 / 3)


def test_rank_ic_and_quantile_returns_agree_with_alphalens(
    bars: Bars, run: Callable[..., Judgement]
) -> None:
    """With symbols that are missing at some times."""
    from alphalens.performance import factor_information_coefficient, mean_return_by_quantile
    from alphalens.utils import quantize_factor

    scores, rng = noisy(bars, 0.2), np.random.default_rng(2)
    scores = scores.where(rng.random(scores.shape) > 0.1)
    table = foreign(scores).dropna()
    metrics = run({"mine": table}).metrics
    peer = table.rename(columns={"time": "date", "symbol": "asset", "score": "factor"})
    peer = peer.set_index(["date", "asset"])
    peer["1D"] = foreign(ahead_of(bars)).set_index(["time", "symbol"])["score"]
    peer["factor_quantile"] = quantize_factor(peer, quantiles=5)
    correlations = factor_information_coefficient(peer)["1D"]
    assert metrics["models"]["mine"]["rank_ic"]["value"] == pytest.approx(correlations.mean())
    means = mean_return_by_quantile(peer, demeaned=True)[0]["1D"]
    found = [row["return_bps"]["value"] for row in metrics["quantiles"]]
    np.testing.assert_allclose(found, 1e4 * means, rtol=1e-9)
    order = metrics["models"]["mine"]["monotonicity"]["value"]
    assert order == pytest.approx(spearmanr(range(5), means).statistic)


def test_mean_rank_ignores_the_scale_of_scores() -> None:
    scores = np.array([[1.0, 900.0], [2.0, 100.0], [3.0, 500.0], [7.0, -5.0], [7.0, 5.0]])
    times = ["a", "a", "a", "b", "b"]
    thirds = np.array([-1 / 3, 0.0, 1 / 3])
    first = (thirds + thirds[[2, 0, 1]]) / 2
    np.testing.assert_allclose(mean_rank(scores, times), [*first, -0.125, 0.125])


# --- the portfolio ------------------------------------------------------------------------------


def test_money_is_that_of_the_portfolio(judgement: Judgement, bars: Bars) -> None:
    made = portfolio(scores_of(judgement, "20d"), bars, horizon="1D", rules=FIXED)
    net, found = made.returns, judgement.metrics["models"]["20d"]
    annual = np.sqrt(365)
    assert found["sharpe"]["value"] == pytest.approx(net.mean() / net.std() * annual)
    gross = made.gross
    assert found["sharpe_gross"]["value"] == pytest.approx(gross.mean() / gross.std() * annual)
    assert found["turnover"]["value"] == pytest.approx(made.turnover.mean())
    assert found["total_return"]["value"] == pytest.approx((1 + net).prod() - 1)
    assert found["win_rate_net"]["value"] == pytest.approx((net > 0).mean())
    assert found["capacity"]["value"] == pytest.approx(made.capacity())
    equity = (1 + net).cumprod()
    assert judgement.metrics["equity"]["20d"]["value"] == pytest.approx(equity.tolist())
    drawdown = (equity / equity.cummax().clip(lower=1) - 1).min()
    assert found["max_drawdown"]["value"] == pytest.approx(drawdown)


def test_nothing_is_earned_at_the_break_even_cost(
    judgement: Judgement, run: Callable[..., Judgement], tables: Tables
) -> None:
    cost = judgement.metrics["models"]["20d"]["break_even_bps"]["value"]
    found = run({"20d": tables["20d"]}, cost_bps=cost).metrics
    assert found["models"]["20d"]["sharpe"]["value"] == pytest.approx(0, abs=1e-9)


def test_contributions_add_up_to_the_gross_return(judgement: Judgement, bars: Bars) -> None:
    name = judgement.metrics["headline"]
    made = portfolio(scores_of(judgement, name), bars, horizon="1D", rules=FIXED)
    rows = judgement.metrics["contributions"]
    assert {row["symbol"] for row in rows} == set(bars)
    assert sum(row["contribution"] for row in rows) == pytest.approx(made.gross.sum())
    values = [row["contribution"] for row in rows]
    assert values == sorted(values, reverse=True)


def test_exposures_are_those_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    market, other = 0.01 * rng.normal(size=(2, 300))
    returns = 0.001 + 0.5 * market - 0.2 * other + 0.002 * rng.normal(size=300)
    found = regression(returns, {"market": market, "other": other}, 365)
    expected = np.linalg.lstsq(np.column_stack([np.ones(300), market, other]), returns)[0]
    values = [one.value for one in found.values()]
    np.testing.assert_allclose(values, expected * [365, 1, 1], rtol=1e-9)


def test_a_long_portfolio_of_all_symbols_is_the_market(
    run: Callable[..., Judgement], bars: Bars
) -> None:
    """Weighed by rank, of random scores, it has the market's beta and no alpha."""
    rules = {**FIXED, "weights": "rank", "sides": "long", "cost_bps": 0}
    found = run({"mine": foreign(noisy(bars, 0.0))}, rules=rules, resamples=200).metrics
    figures = found["models"]["mine"]
    assert figures["beta"]["value"] == pytest.approx(1, abs=0.2)
    assert figures["alpha"]["low"] < 0 < figures["alpha"]["high"]
    market = ahead_of(bars).iloc[60:].mean(axis=1)  # entries are at the close before
    equity = found["equity"]["market"]["value"]
    assert equity == pytest.approx((1 + market).cumprod().tolist())


def test_momentum_is_exposed_to_momentum(run: Callable[..., Judgement], bars: Bars) -> None:
    closes = pd.DataFrame({name: frame["close"] for name, frame in bars.items()})
    past = closes.pct_change(20).iloc[60:-1]
    figures = run({"mine": foreign(past)}, rules={**FIXED, "cost_bps": 0}).metrics["models"]["mine"]
    assert figures["beta_momentum"]["value"] == pytest.approx(1)
    assert figures["beta_market"]["value"] == pytest.approx(0, abs=1e-9)
    assert figures["alpha"]["value"] == pytest.approx(0, abs=1e-9)


# --- uncertainty ----------------------------------------------------------------------------------


def test_intervals_are_those_of_resampled_decision_times(judgement: Judgement) -> None:
    """With a loop that draws decision times, without sums in advance."""
    rows = scores_of(judgement, "60d")
    of_times = (one[["score", "forward_return"]] for _, one in rows.groupby("time"))
    correlations = np.array([spearmanr(one).statistic for one in of_times])
    block: Any = judgement.metrics["bootstrap"]["block"]
    assert judgement.metrics["bootstrap"]["bin"] == "1D"
    draws = StationaryBootstrap(block, np.arange(len(correlations)), seed=0).bootstrap(200)
    drawn = np.array([correlations[data[0]] for data, _ in draws])
    means = drawn.mean(axis=1)
    ratios = means / drawn.std(axis=1, ddof=1)
    figures = judgement.metrics["models"]["60d"]
    for name, values in (("rank_ic", means), ("icir", ratios)):
        low, high = np.quantile(values, [0.025, 0.975])
        assert figures[name]["low"] == pytest.approx(low)
        assert figures[name]["high"] == pytest.approx(high)


def test_a_planted_signal_is_found_and_noise_is_not(judgement: Judgement) -> None:
    models, verdict = judgement.metrics["models"], judgement.verdict
    assert models["20d"]["rank_ic"]["low"] > 0.1
    assert models["20d"]["spread_bps"]["low"] > 0
    assert models["xgboost"]["rank_ic"]["low"] < 0 < models["xgboost"]["rank_ic"]["high"]
    assert judgement.metrics["headline"] == "two_stage"
    assert "better than chance" in verdict[0]
    found = {(row["a"], row["b"], row["figure"]): row for row in judgement.metrics["pairs"]}
    assert found["20d", "xgboost", "rank_ic"]["low"] > 0
    assert ("mean", "20d", "sharpe") in found  # the best member on validation
    values = (models[name]["rank_ic"]["value"] for name in ("20d", "xgboost"))
    assert found["20d", "xgboost", "rank_ic"]["value"] == pytest.approx(np.subtract(*values))


@pytest.mark.slow
def test_intervals_of_no_skill_contain_zero_as_often_as_they_should() -> None:
    """Persistent random scores over overlapping horizons: neighbouring correlations depend."""
    inside = 0
    for seed in range(40):
        bars, rng = universe(10, 420, seed), np.random.default_rng(seed)
        ahead = ahead_of(bars, 5)
        noise = pd.DataFrame(rng.normal(size=ahead.shape), ahead.index, ahead.columns)
        scores = noise.ewm(alpha=0.3).mean().iloc[60:]
        found = judge(
            {"mine": foreign(scores)}, bars, label=Relative("5D"), rules=FIXED, resamples=500
        )
        figure = found.metrics["models"]["mine"]["rank_ic"]
        inside += figure["low"] <= 0 <= figure["high"]
    assert binomtest(inside, 40, 0.95).pvalue > 0.01, inside


# --- parts, ensembles, folds ----------------------------------------------------------------------


def test_parts_divide_the_decision_times(judgement: Judgement) -> None:
    metrics = judgement.metrics
    rows = pd.DataFrame([row for row in metrics["parts"] if row["model"] == "20d"])
    assert set(rows["part"]) == {"year", "month", "volatility", "trend"}
    for part, of in rows.groupby("part"):
        assert of["times"].sum() == metrics["cross_section"]["times"], part
        means = [row["value"] or 0.0 for row in of["rank_ic"]]
        total = np.average(means, weights=of["times"])
        assert total == pytest.approx(metrics["models"]["20d"]["rank_ic"]["value"]), part


def test_ensembles_are_mean_ranks(tables: Tables, judgement: Judgement) -> None:
    assert list(judgement.metrics["models"]) == ["20d", "60d", "mean", "xgboost", "two_stage"]
    assert any(note.startswith("vote:") for note in judgement.notes)
    wide = {name: scores_of(judgement, name) for name in judgement.metrics["models"]}
    for name, members in (("mean", ["20d", "60d"]), ("two_stage", ["xgboost", "20d", "60d"])):
        ranks = [(wide[one].groupby("time")["score"].rank() - 0.5) / 12 - 0.5 for one in members]
        expected = np.mean([one.to_numpy() for one in ranks], axis=0)
        np.testing.assert_allclose(wide[name]["score"], expected)
    assert "stacking" not in ensemble({name: tables[name] for name in ("20d", "60d")})
    with pytest.raises(ConfigError, match="vote"):
        ensemble(tables, methods=["vote"])


def test_folds_are_judged_together_and_apart(run: Callable[..., Judgement], bars: Bars) -> None:
    parts = []
    for fold in (0, 1):
        split = WalkForward(fold, folds=2, first=0.5, val=0.3)
        samples = make_samples(bars, label=Relative("1D"), split=split, lookback="5D")
        rows = np.concatenate([samples.split.val, samples.split.test])
        scores = samples.outcomes.forward_return[rows]
        parts.append(prediction_table(samples, scores, "20d", 0))
    metrics = run({"20d": pd.concat(parts)}, rules={}).metrics
    folds = [row for row in metrics["parts"] if row["part"] == "fold"]
    assert [row["of"] for row in folds] == ["0", "1"]
    assert sum(row["times"] for row in folds) == metrics["cross_section"]["times"]
    assert metrics["models"]["20d"]["rank_ic"]["value"] == pytest.approx(1)
    assert any("implausible" in sentence for sentence in metrics["verdict"])


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["equal scores", "one symbol at a time", "two times"])
def test_what_is_undefined_is_none(kind: str, run: Callable[..., Judgement], bars: Bars) -> None:
    scores = noisy(bars, 0.2)
    if kind == "equal scores":
        scores = 0 * scores
    elif kind == "one symbol at a time":
        inside = np.arange(scores.size).reshape(scores.shape) % 12
        scores = scores.where(inside == np.arange(len(scores))[:, None] % 12)
    else:
        scores = scores.iloc[:2]
    result = run({"mine": foreign(scores).dropna()}, resamples=100)
    figure = result.metrics["models"]["mine"]["rank_ic"]
    assert (figure["low"], figure["high"]) == (None, None)
    if kind != "two times":
        assert figure["value"] is None
        assert any("no rank IC" in note for note in result.notes)
        assert "n/a" in result.verdict[0]
    json.dumps(result.metrics, allow_nan=False)


def test_what_cannot_be_used_or_chosen_is_noted(run: Callable[..., Judgement], bars: Bars) -> None:
    table = foreign(noisy(bars, 0.2))
    table.loc[:9, "score"] = np.nan
    notes = run({"mine": table}, rules={}).notes
    assert any("10 of" in note and "score is missing" in note for note in notes)
    assert any("mine: band and smoothing cannot be chosen" in note for note in notes)


def test_models_have_the_same_rows(run: Callable[..., Judgement], tables: Tables) -> None:
    fewer = tables["60d"].iloc[::2].reset_index(drop=True)
    with pytest.raises(PredictionsError, match="60d lacks"):
        run({"20d": tables["20d"], "60d": fewer})


def test_only_windows_are_combined(run: Callable[..., Judgement], tables: Tables) -> None:
    metrics = run(tables, windows=["20d"], ensembles=["mean", "two_stage"]).metrics
    assert [*metrics["models"]] == ["20d", "xgboost", "two_stage", "60d"]
    compared = {(row["a"], row["b"]) for row in metrics["pairs"]}
    assert {("60d", "xgboost"), ("60d", "20d"), ("20d", "xgboost")} <= compared


@pytest.mark.parametrize(
    "options",
    [{"rules": TradingRules()}, {"rules": {"quantile": 2}}, {"threshold": 0.1}, {"horizon": "2D"}],
)
def test_options_of_other_predictions_are_errors(
    options: dict[str, Any], run: Callable[..., Judgement], tables: Tables
) -> None:
    with pytest.raises(ConfigError):
        run({"20d": tables["20d"]}, **options)


def test_a_single_symbol_cannot_be_ranked(run: Callable[..., Judgement], bars: Bars) -> None:
    with pytest.raises(ConfigError, match="1 symbol"):
        run({"mine": foreign(noisy(bars, 0.2)[["SIM000"]])}, bars={"SIM000": bars["SIM000"]})
