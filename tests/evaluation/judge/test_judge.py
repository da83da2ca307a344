"""The function `judge`: tables of any origin, names, costs, notes, and the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gafcnn.data.bars import check_bars
from gafcnn.data.labels import NULL, Candlestick, Direction, Label, Outcomes, TripleBarrier
from gafcnn.data.samples import make_samples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological
from gafcnn.errors import BarsError, ConfigError, PredictionsError
from gafcnn.evaluation import statistics
from gafcnn.evaluation.figures import sharpe, sortino
from gafcnn.evaluation.judge import Judgement, judge
from gafcnn.evaluation.positions import Choice, positions
from gafcnn.evaluation.predictions import prediction_table, write_predictions
from gafcnn.evaluation.test_set import Candidate, Panel, TestSet, Traded, split_rows
from gafcnn.evaluation.trading_rules import TradingRules

Judge = Callable[..., Judgement]
Tables = dict[str, pd.DataFrame]
LABEL = Direction("15min")


def foreign(table: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Times and P(up) only, as somebody else's table has them."""
    return table.loc[table["split"] == part, ["time", "p_up"]].reset_index(drop=True)


# --- tables from elsewhere -------------------------------------------------------------------


def test_outcomes_of_a_foreign_table_come_from_the_other_tables(
    judge_tables: Judge, tables: Tables
) -> None:
    own = judge_tables({"30m": tables["30m"], "60m": tables["60m"]}).metrics
    found = judge_tables({"30m": tables["30m"], "mine": foreign(tables["60m"])})
    for figure in ("auc", "auc_labelled", "log_loss"):
        assert found.metrics["models"]["mine"][figure] == own["models"]["60m"][figure]
    assert found.metrics["windows"] == ["30m"]
    assert found.metrics["models"]["mine"]["threshold"]["value"] == 0  # it has no validation rows
    assert ("mine", "30m") in {(row["a"], row["b"]) for row in found.metrics["pairs"]}


@pytest.mark.parametrize("split", [None, Chronological(test=0.3, val=0.3)])
def test_outcomes_of_foreign_tables_come_from_label_and_bars(
    judge_tables: Judge, tables: Tables, split: Any
) -> None:
    mine = {"mine": foreign(tables["30m"]), "other": foreign(tables["60m"])}
    found = judge_tables(mine, label=LABEL, split=split, ensembles=["mean"])
    own = judge_tables({"30m": tables["30m"]}).metrics["models"]["30m"]
    assert found.metrics["models"]["mine"]["auc"] == own["auc"]
    assert list(found.metrics["models"]) == ["mine", "other", "mean"]
    assert found.metrics["horizon"] == "15min"


@pytest.mark.parametrize(("threshold", "traded"), [(None, "every row"), (0.2, None)])
def test_without_validation_rows_every_row_is_traded_unless_a_threshold_is_given(
    judge_tables: Judge, tables: Tables, threshold: float | None, traded: str | None
) -> None:
    found = judge_tables({"mine": foreign(tables["30m"])}, label=LABEL, threshold=threshold)
    figures = found.metrics["models"]["mine"]
    assert figures["threshold"]["value"] == (threshold or 0.0)
    assert (figures["coverage"]["value"] == 1.0) == (traded is not None)
    assert any("every row is traded" in note for note in found.notes) == (traded is not None)
    assert not any("chosen on validation" in sentence for sentence in found.verdict)


def test_progress_counts_each_model_once(
    judge_tables: Judge, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    @contextmanager
    def counting(name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        counted.append(total)
        yield counted.append

    monkeypatch.setattr("gafcnn.evaluation.judge.counting", counting)
    tables = {"30m": tables["30m"], "60m": tables["60m"]}
    models = judge_tables(tables, ensembles=["mean"], progress=True).metrics["models"]
    assert counted == [len(models), 1, 1, 1]


def test_a_path_is_read(judge_tables: Judge, tables: Tables, tmp_path: Path) -> None:
    write_predictions(tmp_path / "30m.parquet", tables["30m"])
    foreign(tables["60m"]).to_parquet(tmp_path / "mine.parquet")
    paths = {"30m": tmp_path / "30m.parquet", "mine": str(tmp_path / "mine.parquet")}
    frames = {"30m": tables["30m"], "mine": foreign(tables["60m"])}
    assert judge_tables(paths).metrics == judge_tables(frames).metrics


class Terciles:
    """Three classes that are not candlestick patterns."""

    classes = ("fall", "flat", "rise")
    horizon = pd.Timedelta("15min")

    def outcomes(self, bars: pd.DataFrame, rows: np.ndarray) -> Outcomes:
        return LABEL.outcomes(bars, rows)

    def assign(self, outcomes: Outcomes, train: np.ndarray) -> np.ndarray:
        returns = outcomes.forward_return
        edges = np.nanquantile(returns[train], [1 / 3, 2 / 3])
        return np.where(np.isnan(returns), NULL, np.searchsorted(edges, returns)).astype(np.int8)


def test_three_classes_of_returns_are_a_classification(
    judge_tables: Judge, tables: Tables, tmp_path: Path
) -> None:
    mine = foreign(tables["30m"])
    p = mine.pop("p_up")
    mine = mine.assign(p_fall=0.7 * (1 - p), p_flat=0.3, p_rise=0.7 * p)
    found = judge_tables({"mine": mine}, label=Terciles(), resamples=100)
    assert found.task == "classification"
    assert list(found.metrics["classes"]) == ["fall", "flat", "rise"]
    assert found.metrics["bootstrap"]["bin"] == "15min"
    assert found.metrics["targets"] == []
    assert found.metrics["models"]["mine"]["balanced_accuracy"]["value"] > 1 / 3
    assert not any("pattern" in sentence for sentence in found.verdict)
    assert "balanced_accuracy_without_0" not in found.metrics["models"]["mine"]
    assert found.to_html(tmp_path / "page.html").is_file()


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_score_becomes_a_probability(judge_tables: Judge, tables: Tables, part: str) -> None:
    """By the labelled validation rows; without them its order and its sign remain."""
    table, own = tables["30m"], judge_tables({"30m": tables["30m"]}).metrics["models"]["30m"]
    table = table.loc[table["split"].isin([part, "test"])]
    mine = table[["time", "split"]].assign(score=1e-4 * (table["p_up"] - 0.5))
    for others in ({}, {"60m": tables["60m"]}):
        found = judge_tables({**others, "mine": mine}, label=LABEL)
        figures = found.metrics["models"]["mine"]
        assert figures["auc"]["value"] == pytest.approx(own["auc"]["value"], abs=1e-12)
        if part == "val":
            assert any("logistic regression" in note for note in found.notes)
            assert figures["log_loss"]["value"] < 0.69
        else:
            assert any("mean nothing" in note for note in found.notes)
            assert figures["accuracy"] == own["accuracy"]


# --- roles -----------------------------------------------------------------------------------


def test_two_stage_needs_a_baseline_by_name(judge_tables: Judge, tables: Tables) -> None:
    two = {"30m": tables["30m"], "xgboost": tables["xgboost"]}
    found = judge_tables(two).metrics
    assert (found["baseline"], list(found["models"])) == ("xgboost", ["30m", "xgboost"])
    for asked in ({"baseline": "xgboost"}, {"ensembles": ["two_stage"]}):
        found = judge_tables(two, **asked).metrics
        assert list(found["models"]) == ["30m", "xgboost", "two_stage"]
        assert found["headline"] == "two_stage"
    mine = {"30m": tables["30m"], "mine": foreign(tables["60m"])}  # cannot be stacked
    assert list(judge_tables(mine, baseline="mine").metrics["models"]) == ["30m", "mine"]


def test_the_headline_is_named_and_not_chosen_by_merit(judge_tables: Judge, tables: Tables) -> None:
    windows = {name: tables[name] for name in ("60m", "30m")}
    assert judge_tables(windows).metrics["headline"] == "60m"
    found = judge_tables(windows, headline="30m")
    assert found.metrics["headline"] == "30m"
    assert found.verdict[0].startswith("30m")


@pytest.mark.parametrize("option", ["baseline", "headline"])
def test_unknown_names_are_errors(judge_tables: Judge, tables: Tables, option: str) -> None:
    with pytest.raises(ConfigError, match=rf"{option}.*'nobody'.*30m"):
        judge_tables({"30m": tables["30m"]}, **{option: "nobody"})
    with pytest.raises(ConfigError, match="'medain' is unknown.*mean"):
        judge_tables({"30m": tables["30m"]}, ensembles=["medain"])


@pytest.mark.parametrize(
    ("argument", "value", "found"),
    [
        ("models", {}, "is a dict.*by name"),
        ("models", pd.DataFrame({"p_up": [0.5]}), "is a DataFrame.*by name"),
        ("models", [pd.DataFrame()], "is a list"),
        ("models", {1: pd.DataFrame()}, "is a dict"),
        ("bars", [1], "is a list"),
        ("label", "direction", "is 'direction'.*gc.Direction"),
        ("label", Direction, "is a ModelMetaclass|is a type"),
        ("split", "chronological", "is 'chronological'.*gc.Chronological"),
        ("rules", 3, "is 3.*cost_bps"),
        ("resamples", 99, "is 99.*100 or more"),
        ("ensembles", "mean", 'is .mean.; expected names, as in ."mean".'),
        ("trials", 0, "is 0.*1 or more"),
    ],
)
def test_arguments_of_another_kind(
    bars: pd.DataFrame, tables: Tables, argument: str, value: Any, found: str
) -> None:
    given = {"models": {"30m": tables["30m"]}, "bars": bars, "resamples": 0} | {argument: value}
    with pytest.raises(ConfigError, match=f"^{argument} {found}"):
        judge(**given)


# --- bars, horizon and costs -----------------------------------------------------------------


def test_bars_must_be_bars_of_the_symbols(bars: pd.DataFrame, tables: Tables) -> None:
    one = {"30m": tables["30m"]}
    with pytest.raises(BarsError, match="as_bars"):
        judge(one, pd.DataFrame(bars.to_numpy(), bars.index, bars.columns), resamples=0)
    with pytest.raises(PredictionsError, match="SIM"):
        judge(one, {"OTHER": bars}, resamples=0)
    two = {"30m": pd.concat([tables["30m"], tables["30m"].assign(symbol="B")])}
    with pytest.raises(PredictionsError, match="2 symbols"):
        judge(two, bars, resamples=0)


def test_bars_of_another_market_are_refused(bars: pd.DataFrame, tables: Tables) -> None:
    other = bars.assign(close=bars["close"] * np.linspace(1, 2, len(bars)))
    with pytest.raises(PredictionsError, match="forward returns differ.*first SIM"):
        judge({"30m": tables["30m"]}, other, resamples=0)


@pytest.mark.parametrize("label", [LABEL, TripleBarrier("15min", width=0.5), Candlestick()])
def test_returns_are_those_of_the_label_over_the_bars(
    market: tuple[pd.DataFrame, pd.Series], label: Label
) -> None:
    samples = make_samples({"SIM": market[0]}, label=label)
    rows = len(samples.split.val) + len(samples.split.test)
    direction = samples.task == "direction"
    shape = (rows,) if direction else (rows, len(samples.classes))
    table = prediction_table(samples, np.full(shape, 1 / len(samples.classes)), "30m", 0)
    found = judge({"30m": table}, market[0], label=label, resamples=0)
    assert found.metrics["rows"]["all"] == len(samples.split.test)
    if direction:
        wrong = table.assign(forward_return=table["forward_return"] + 1e-3)
        with pytest.raises(PredictionsError, match="forward returns differ"):
            judge({"30m": wrong}, market[0], label=label, resamples=0)


def test_the_horizon_is_that_of_the_tables_unless_it_is_given(
    judge_tables: Judge, tables: Tables
) -> None:
    one = {"30m": tables["30m"]}
    assert judge_tables(one).metrics["horizon"] == "15min"
    shorter = judge_tables(one, horizon="5min", threshold=0.0).metrics
    assert shorter["horizon"] == shorter["bootstrap"]["bin"] == "5min"
    longer = judge_tables(one, threshold=0.0).metrics
    trades = [found["models"]["30m"]["trades"]["value"] for found in (shorter, longer)]
    assert trades[0] > 2 * trades[1]


def test_cost_and_threshold_replace_those_of_the_rules(judge_tables: Judge, tables: Tables) -> None:
    rules = {"threshold": 0.1}
    found = judge_tables({"30m": tables["30m"]}, cost_bps=7, rules=rules).metrics
    assert (found["cost_bps"], found["costs"], found["threshold"]) == (7, "7 bps a side", 0.1)
    gross, net = (found["models"]["30m"][name]["value"] for name in ("gross_bps", "net_bps"))
    assert gross - net == pytest.approx(14, abs=0.2)


def test_costs_that_vary_are_stated_on_average(judge_tables: Judge, tables: Tables) -> None:
    class Late:
        def per_side(self, bars: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
            return np.where(rows % 2, 1.0, 3.0)

    found = judge_tables({"30m": tables["30m"]}, rules=TradingRules(costs=Late())).metrics
    assert found["cost_bps"] == pytest.approx(2, abs=0.1)
    assert found["costs"].endswith("bps a side on average")


# --- the result ------------------------------------------------------------------------------


def test_the_summary_holds_all_figures(judgement: Judgement) -> None:
    assert repr(judgement) == "\n".join(["Judgement:", *judgement.verdict])
    summary, models = judgement.summary, judgement.metrics["models"]
    assert list(summary.index) == list(models)
    for name, figures in models.items():
        for figure, one in figures.items():
            row = summary.loc[name, figure].replace({np.nan: None})
            assert row.to_dict() == pytest.approx(one)
    assert list(summary["auc"].columns) == ["value", "low", "high", "n"]


MODELS = ["30m", "60m", "xgboost"]


@pytest.fixture(scope="module")
def markets(bars: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The same bars under two names; the second lacks some."""
    other = bars.drop(index=bars.index[2400:2440])
    other.attrs = bars.attrs
    return {"SIM": bars, "OTHER": other}


@pytest.fixture(scope="module")
def pair(tables: Tables, markets: dict[str, pd.DataFrame]) -> Tables:
    """Predictions of both symbols; those of the second are shuffled, and end earlier."""
    there = tables["30m"][["time", "known_at"]].isin(markets["OTHER"].index).all(axis="columns")
    rng, found = np.random.default_rng(1), {}
    for name in MODELS:
        other = tables[name][there].iloc[:-15].assign(symbol="OTHER")
        other = other.assign(p_up=rng.permutation(other["p_up"]))
        found[name] = pd.concat([tables[name], other], ignore_index=True)
    return found


@pytest.fixture(scope="module")
def pooled(pair: Tables, markets: dict[str, pd.DataFrame]) -> Judgement:
    return judge(pair, markets, rules=TradingRules(cost_bps=1.0, least_trades=5), resamples=120)


def test_rows_of_all_symbols_count_alike(pair: Tables, pooled: Judgement) -> None:
    test = pair["30m"][pair["30m"]["split"] == "test"]
    up, labelled = test["forward_return"] > 0, test["label"].notna()
    metrics = pooled.metrics
    assert metrics["rows"] == {"all": len(test), "labelled": labelled.sum()}
    assert metrics["classes"]["all"] == {"up": pytest.approx(up.mean()), "n": len(test)}
    for name in MODELS:
        p = pair[name].loc[test.index, "p_up"]
        found = metrics["models"][name]
        assert found["accuracy"]["value"] == pytest.approx(((p > 0.5) == up).mean())
        assert found["auc"]["value"] == pytest.approx(roc_auc_score(up, p))
        known = roc_auc_score(test["label"][labelled].astype(int), p[labelled])
        assert found["auc_labelled"]["value"] == pytest.approx(known)
        assert found["auc"]["n"] == len(test)
        assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]
        [every] = [r for r in metrics["coverage"] if r["model"] == name and r["share"] == 1.0]
        assert every["n"] == len(test)


def test_trades_form_a_portfolio_of_equal_shares(
    pair: Tables, pooled: Judgement, markets: dict[str, pd.DataFrame],
    test_set_of: Callable[..., TestSet],
) -> None:  # fmt: skip
    table = pair["30m"].rename(columns={"p_up": "30m"})
    traded: list[Traded] = [
        test_set_of(table[table["symbol"] == symbol], bars=frame).trade("30m")
        for symbol, frame in markets.items()
    ]
    # by time, not by number: one symbol lacks bars that the other has
    each = [one.backtest.returns for one in traded]
    returns = pd.concat(each, axis=1).sort_index().fillna(0).mean(axis=1)
    periods = 365 * 24 * 60.0
    found = pooled.metrics["models"]["30m"]
    trades = pd.concat([one.backtest.trades for one in traded])
    assert {name: found[name]["value"] for name in found} | {
        "sharpe": pytest.approx(sharpe(returns.to_numpy(), periods).value),
        "sortino": pytest.approx(sortino(returns.to_numpy(), periods).value),
        "max_drawdown": pytest.approx(statistics.max_drawdown(returns.to_numpy())),
        "total_return": pytest.approx((1 + returns).prod() - 1),
        "win_rate_gross": pytest.approx((trades["gross"] > 0).mean()),
        "net_bps": pytest.approx(trades["net"].mean() * 1e4),
        "trades": len(trades),
    } == {name: found[name]["value"] for name in found}
    assert found["net_bps"]["n"] == len(trades)
    assert pooled.metrics["equity"]["30m"]["value"][-1] == pytest.approx((1 + returns).prod())


def test_each_symbol_is_judged_as_if_it_were_alone(
    pooled: Judgement, tables: Tables, judge_tables: Judge
) -> None:
    alone = judge_tables({name: tables[name] for name in MODELS}, resamples=120).metrics
    assert list(pooled.metrics["symbols"]) == list(pooled.by_symbol) == ["SIM", "OTHER"]
    single = pooled.by_symbol["SIM"]
    assert single.metrics["symbol"] == "SIM"
    assert set(single.predictions["symbol"]) == {"SIM"}
    for name, figures in pooled.metrics["symbols"]["SIM"]["models"].items():
        for figure, one in figures.items():
            assert one == pytest.approx(alone["models"][name][figure], nan_ok=True), figure


Make = Callable[..., TestSet]


def by_hand() -> TestSet:
    """Twelve minutes; validation at the first two, tests at minutes 3, 4 and 7; horizon 3."""
    index = pd.date_range("2025-06-20 00:01", periods=12, freq="1min", tz="UTC").as_unit("ns")
    close = 100.0 + np.arange(12)
    bars = pd.DataFrame({"open": close - 0.5, "high": close, "low": close - 0.5, "close": close})
    bars = check_bars(bars.set_index(index), "by hand")
    rows = pd.DataFrame(
        {
            "symbol": "SIM",
            "time": index[[7, 0, 4, 1, 3]],
            "fold": pd.array([None] * 5, dtype="Int64"),
            "split": ["test", "val", "test", "val", "test"],
            "label": pd.array([0, 1, None, 0, 1], dtype="Int8"),
            "forward_return": [-0.01, 0.01, 0.0, -0.01, 0.01],
            "known_at": index[[10, 3, 7, 4, 6]],
            "model": [0.2, 0.5, 0.5, 0.5, 0.9],
        }
    )
    return TestSet(bars, *split_rows(rows), pd.Timedelta("3min"), TradingRules(cost_bps=10.0))


def test_rows_are_placed_at_the_bars_that_a_trade_would_enter() -> None:
    rows = by_hand()
    panel = Panel([rows])
    assert panel.times.minute.tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert panel.on_bars([5, 6, 7]).tolist() == [5, 6, 0, 0, 7, 0, 0]
    assert panel.periods == 365 * 24 * 60


def test_unchanged_prices_did_not_rise_and_neutral_rows_have_no_label() -> None:
    panel = Panel([by_hand()])
    assert {name: [up.tolist(), of.tolist()] for name, (up, of) in panel.outcomes.items()} == {
        "all": [[True, False, False], [True, True, True]],
        "moved": [[True, False, False], [True, False, True]],
        "labelled": [[True, False, False], [True, False, True]],
    }


def test_every_row_is_a_trade_of_its_own() -> None:
    """Long from 103.5 to 106; nothing at 1/2; short from 107.5 to 110. 10 bps a side."""
    rows = by_hand()
    gross, net = Candidate(Panel([rows]), "model", [rows.trade("model")]).row_returns
    up, down = 106 / 103.5, 110 / 107.5
    np.testing.assert_allclose(gross, [up - 1, 0, 1 - down])
    expected = gross - 1e-3 * np.array([1 + up, 0, 1 + down])
    np.testing.assert_allclose(net[[0, 2]], expected[[0, 2]])


def test_test_rows_are_needed(test_set_of: Make, joined: pd.DataFrame) -> None:
    with pytest.raises(PredictionsError, match=r"split\.test"):
        test_set_of(joined[joined["split"] != "test"])


def test_a_time_in_the_test_of_several_folds_is_an_error(
    test_set_of: Make, walked: pd.DataFrame
) -> None:
    last = walked.query("fold == 0 and split == 'test'").tail(3)
    twice = pd.concat([walked, last.assign(fold=pd.array([1] * 3, dtype="Int64"))])
    with pytest.raises(PredictionsError) as error:
        test_set_of(twice)
    assert "3 decision times" in str(error.value)
    assert str(last["time"].iloc[0]) in str(error.value)


# --- thresholds ------------------------------------------------------------------------------


def choices(rows: TestSet, model: str = "30m") -> dict[int | None, Choice]:
    return dict(rows.trade(model).choices)


def with_other_prices(bars: pd.DataFrame, rows: np.ndarray, rng: np.random.Generator) -> Any:
    later = bars.copy()
    prices = ["open", "high", "low", "close"]
    later.loc[rows, prices] *= np.exp(rng.normal(0, 0.1, (rows.sum(), 1)))
    return later


SOME_RULES = st.builds(
    TradingRules,
    cost_bps=st.sampled_from([0.0, 5.0]),
    coverages=st.sampled_from([(1.0, 0.5, 0.2), (0.5, 0.1)]),
    least_trades=st.sampled_from([1, 20]),
    take_profit_bps=st.sampled_from([None, 20.0]),
    stop_loss_bps=st.sampled_from([None, 10.0]),
    overlapping=st.booleans(),
    sides=st.sampled_from(["both", "long", "short"]),
)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1), rules=SOME_RULES, model=st.sampled_from(["30m", "two_stage"])
)
def test_thresholds_are_chosen_on_validation_rows_only(
    test_set_of: Make, bars: pd.DataFrame, walked: pd.DataFrame, seed: int, rules: TradingRules,
    model: str,
) -> None:  # fmt: skip
    """Change predictions, labels and returns of test rows, and bars after validation."""
    rng = np.random.default_rng(seed)
    changed, test = walked.copy(), (walked["split"] == "test").to_numpy()
    changed.loc[test, model] = rng.random(test.sum())
    changed.loc[test, "label"] = rng.integers(0, 2, test.sum())
    changed.loc[test, "forward_return"] = rng.normal(0, 1, test.sum())
    before = choices(test_set_of(walked, rules), model)
    for fold, of_fold in walked.groupby("fold"):
        beyond = bars.index > of_fold.loc[of_fold["split"] == "val", "known_at"].max()
        assert beyond.any()
        later = with_other_prices(bars, beyond, rng)
        assert choices(test_set_of(changed, rules, later), model)[fold] == before[fold]


def test_no_validation_trade_ends_within_the_test(
    test_set_of: Make, bars: pd.DataFrame, barriers: pd.DataFrame
) -> None:
    """Labels of barriers are known early, but the trades last up to the horizon."""
    begins = barriers.loc[barriers["split"] == "test", "time"].min()
    val = barriers[barriers["split"] == "val"]
    assert (val["known_at"] < begins).all()
    assert (val["time"] + pd.Timedelta("15min") >= begins).any()
    rules = TradingRules(cost_bps=1.0, coverages=(1.0, 0.9, 0.8, 0.7), overlapping=True)
    before = choices(test_set_of(barriers, rules))
    for seed in range(5):
        later = with_other_prices(bars, bars.index >= begins, np.random.default_rng(seed))
        assert choices(test_set_of(barriers, rules, later)) == before
    # nor does it depend on when the test begins
    known = barriers["time"] >= begins + pd.Timedelta("45min")
    assert choices(test_set_of(barriers[known | (barriers["split"] == "val")], rules)) == before


def test_thresholds_are_chosen_on_validation_rows_of_the_same_fold(
    test_set_of: Make, walked: pd.DataFrame
) -> None:
    changed = walked.copy()
    second = (walked["fold"] == 1) & (walked["split"] == "val")
    changed.loc[second, "30m"] = 0.5 + (changed.loc[second, "30m"] - 0.5) / 10
    before, after = choices(test_set_of(walked)), choices(test_set_of(changed))
    assert before[0] == after[0]
    assert after[1].threshold == pytest.approx(before[1].threshold / 10)


def test_each_fold_trades_at_its_own_threshold(test_set_of: Make, walked: pd.DataFrame) -> None:
    rows = test_set_of(walked)
    traded: Traded = rows.trade("30m")
    assert traded.choices[0].threshold != traded.choices[1].threshold
    for fold, inside in rows.folds.items():
        expected = positions(rows.test.loc[inside, "30m"], traded.choices[fold].threshold)
        np.testing.assert_array_equal(traded.position[inside], expected)
    decided = traded.backtest.trades["decided"]
    assert decided.isin(rows.test["time"][traded.position != 0]).all()


def test_a_fold_is_traded_as_if_there_were_no_others(
    test_set_of: Make, walked: pd.DataFrame
) -> None:
    rows = test_set_of(walked)
    _, traded = rows.of_fold(1, rows.trade("30m"))
    alone = test_set_of(walked[walked["fold"] == 1].reset_index(drop=True))
    expected = alone.trade("30m").backtest.trades
    pd.testing.assert_frame_equal(traded.backtest.trades, expected)


@pytest.mark.parametrize(("rows", "warned"), [(4, True), (5, False)])
def test_too_few_validation_rows_are_noted(
    judge_tables: Judge, tables: Tables, rows: int, warned: bool
) -> None:
    table = tables["30m"]
    val = table.loc[table["split"] == "val"].head(rows)
    found = judge_tables({"30m": pd.concat([val, table.loc[table["split"] == "test"]])})
    assert any("validation has only" in note for note in found.notes) == warned


def test_forecasts_labelled_by_open_times_are_doubted() -> None:
    bars, _ = simulate(600, seed=1)
    up = (bars["close"].shift(-15) > bars["close"]).astype(float)  # what the bars will do
    frame = pd.DataFrame({"time": bars.index[100:400], "p_up": 0.2 + 0.6 * up.iloc[100:400]})
    result = judge({"mine": frame}, bars, label=Direction("15min"), resamples=0)
    assert any("implausible" in sentence for sentence in result.verdict)
    frame["p_up"] = np.linspace(0.4, 0.6, 300)
    result = judge({"mine": frame}, bars, label=Direction("15min"), resamples=0)
    assert not any("implausible" in sentence for sentence in result.verdict)
