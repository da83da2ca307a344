"""The judgement of a direction: complete, strict JSON, reproducible, equal to plain formulas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.data.samples import Samples
from gafcnn.evaluation.directions import (
    SHARES,
    _trade_figures,
    deflated_ratios,
    part_figures,
    parts_of,
    regimes,
)
from gafcnn.evaluation.judge import Judgement
from gafcnn.evaluation.statistics import deflated_sharpe
from gafcnn.evaluation.test_set import Candidate, TestSet
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
    walked: pd.DataFrame, judgement: Judgement, judgement_of_folds: Judgement,
    test_set_of: Callable[..., TestSet],
) -> None:  # fmt: skip
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
    assert "annual_return" not in held  # of a few days it would be a large number


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


Make = Callable[..., Candidate]
COST = 1e-4


def coverage(model: Candidate, by_row: pd.DataFrame) -> list[Any]:
    return [part[1:] for part in parts_of(model, by_row) if part[0] == "coverage"]


@pytest.fixture(scope="module")
def tested(joined: pd.DataFrame) -> pd.DataFrame:
    return joined.query("split == 'test'")


@pytest.fixture(scope="module")
def model(candidate_of: Make, joined: pd.DataFrame) -> Candidate:
    return candidate_of(joined, "30m")


@pytest.fixture(scope="module")
def by_regime(model: Candidate, bars: pd.DataFrame) -> pd.DataFrame:
    times = pd.DatetimeIndex(model.panel.test["time"])
    return regimes(bars, times, bars.index[60:1000], pd.Timedelta("60min"))


@pytest.fixture(scope="module")
def plain(tested: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    """Each test row as a trade of the model 30m, computed with pandas."""
    entry = bars["open"].shift(-1).loc[tested["time"]].to_numpy()
    leave = bars["close"].shift(-15).loc[tested["time"]].to_numpy()
    side = np.where(tested["30m"] > 0.5, 1, -1)
    gross = side * (leave / entry - 1)
    net = gross - COST * (1 + leave / entry)
    return pd.DataFrame({"p": tested["30m"].to_numpy(), "side": side, "gross": gross, "net": net})


@pytest.mark.parametrize("overlapping", [False, True])
def test_trades_are_summarised_as_by_the_backtest(
    candidate_of: Make, joined: pd.DataFrame, overlapping: bool
) -> None:
    rules = TradingRules(cost_bps=1.0, least_trades=5, overlapping=overlapping)
    model = candidate_of(joined, "30m", rules=rules)
    found = {name: one.value for name, (one, _) in _trade_figures(model).items()}
    assert found.pop("coverage") == pytest.approx((model.position != 0).mean())
    whole = model.traded[0].backtest.summary()
    assert found == pytest.approx({name: whole[name] for name in found})


def test_rows_as_trades_by_pandas(model: Candidate, plain: pd.DataFrame) -> None:
    for inside in (np.ones(len(plain), bool), plain["p"].to_numpy() > 0.6, plain.index < 100):
        figures = part_figures(model, "coverage", inside)
        some = plain[inside]
        assert {name: one.value for name, (one, _) in figures.items()} == pytest.approx(
            {
                "win_rate": (some["gross"] > 0).mean(),
                "win_rate_net": (some["net"] > 0).mean(),
                "gross_bps": some["gross"].mean() * 1e4,
                "net_bps": some["net"].mean() * 1e4,
            }
        )


def test_the_most_confident_rows(
    model: Candidate, by_regime: pd.DataFrame, plain: pd.DataFrame
) -> None:
    confidence = (plain["p"] - 0.5).abs()
    by_rank = confidence.sort_values(ascending=False).index
    *shares, (chosen, traded) = coverage(model, by_regime)
    assert [names["share"] for names, _ in shares] == list(SHARES)
    for names, rows in shares:
        expected = by_rank[: int(np.ceil(names["share"] * len(plain)))]
        assert set(np.flatnonzero(rows)) == set(expected)
        assert names["threshold"] == pytest.approx(confidence[rows].min(), abs=1e-12)
    assert chosen == {"share": None, "threshold": model.traded[0].choices[None].threshold}
    np.testing.assert_array_equal(traded, confidence >= chosen["threshold"])


def test_the_most_confident_rows_are_ranked_within_their_fold(
    candidate_of: Make, walked: pd.DataFrame, by_regime: pd.DataFrame
) -> None:
    model = candidate_of(walked, "30m")
    months = by_regime[:1].reindex(range(len(model.p))).assign(month="2024-01")
    *shares, _ = coverage(model, months)
    for names, rows in shares:
        assert names["threshold"] is None
        for inside in model.panel.sets[0].folds.values():
            assert rows[inside].sum() == np.ceil(names["share"] * inside.sum())


LOOKBACK = pd.Timedelta("10min")


def bars_of(log_returns: Iterable[float], start: str = "2025-06-20 00:01") -> pd.DataFrame:
    """Minute bars whose closes move by these log returns."""
    close = 100 * np.exp(np.concatenate([[0.0], np.cumsum(list(log_returns))]))
    index = pd.date_range(start, periods=len(close), freq="1min", tz="UTC", name="close_time")
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), index.as_unit("ns"))
    bars["volume"] = 1.0
    bars.attrs = {"interval": pd.Timedelta("1min"), "label": "close"}
    return bars


def market(n: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return bars_of(rng.normal(0, 1e-3, n) * np.exp(np.sin(np.arange(n) / 30)))


def test_trends_by_hand() -> None:
    """Four returns each: mean m and standard deviation s make z = 4 m / (2 s) = 2 m / s."""
    up, flat, down = [3e-3, -1e-3] * 2, [1e-3, -1e-3] * 2, [-3e-3, 1e-3] * 2
    bars = bars_of([*up, *flat, *down])
    found = regimes(bars, bars.index[[4, 8, 12]], bars.index[4:], pd.Timedelta("5min"))
    assert found["trend"].tolist() == ["up", "flat", "down"]


@pytest.mark.parametrize(
    ("z", "trend"), [(0.49, "flat"), (0.51, "up"), (-0.49, "flat"), (-0.51, "down")]
)
def test_half_a_standard_deviation_makes_a_trend(z: float, trend: str) -> None:
    noise = np.array([1e-3, -1e-3] * 2)
    bars = bars_of(noise + z * noise.std(ddof=1) / 2)
    found = regimes(bars, bars.index[-1:], bars.index[-1:], pd.Timedelta("5min"))
    assert found["trend"].tolist() == [trend]


def test_volatility_by_hand_is_relative_to_reference_terciles() -> None:
    sizes = np.repeat([1e-3, 2e-3, 3e-3, 5e-3], 4)
    bars = bars_of(sizes * np.tile([1.0, -1.0], 8))
    times = bars.index[[4, 8, 12, 16]]
    lookback = pd.Timedelta("5min")
    # the terciles of volatilities in the proportion 1 2 3 are 1.67 and 2.33
    found = regimes(bars, times, times[:3], lookback)["volatility"]
    assert found.tolist() == ["low", "middle", "high", "high"]
    found = regimes(bars, times, times[2:], lookback)["volatility"]
    assert found.tolist() == ["low", "low", "low", "high"]


@settings(max_examples=20, deadline=None)
@given(at=st.integers(9, 390), factor=st.floats(0.1, 10))
def test_a_regime_is_known_at_its_time(at: int, factor: float) -> None:
    bars, train = market(), market().index[9:60]
    altered = bars.copy()
    later = slice(max(at, 60) + 1, None)
    altered.iloc[later] = bars.iloc[later] * factor
    times = bars.index[9 : at + 1]
    pd.testing.assert_frame_equal(
        regimes(altered, times, train, LOOKBACK), regimes(bars, times, train, LOOKBACK)
    )


def test_judged_rows_do_not_determine_the_terciles() -> None:
    bars, train = market(), market().index[9:200]
    whole = regimes(bars, bars.index[200:], train, LOOKBACK)
    pd.testing.assert_frame_equal(regimes(bars, bars.index[300:], train, LOOKBACK), whole[100:])


def test_a_lookback_with_a_gap_has_no_regime_but_a_month() -> None:
    whole = market()
    bars = whole.drop(whole.index[50])
    bars.attrs = whole.attrs
    found = regimes(bars, bars.index[45:70], bars.index[9:40], LOOKBACK)
    undefined = found["volatility"].isna().to_numpy()
    assert np.flatnonzero(undefined).tolist() == list(range(5, 14))
    assert found["trend"].isna().tolist() == undefined.tolist()
    assert set(found["month"]) == {"2025-06"}


def test_months_are_those_of_utc() -> None:
    bars = bars_of([1e-3] * 3, start="2025-06-30 23:58")
    found = regimes(bars, bars.index, bars.index, pd.Timedelta("3min"))
    assert found["month"].tolist() == ["2025-06"] * 2 + ["2025-07"] * 2
