"""The function `judge`: tables of any origin, names, costs, notes, and the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.labels import NULL, Direction, Outcomes
from gafcnn.data.splits import Chronological
from gafcnn.errors import BarsError, ConfigError, PredictionsError
from gafcnn.evaluation.judge import Judgement, judge
from gafcnn.evaluation.predictions import write_predictions
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
    assert (figures["coverage"]["value"] == 1.0) == (traded is not None)
    assert any("every row is traded" in note for note in found.notes) == (traded is not None)
    assert not any("chosen on validation" in sentence for sentence in found.verdict)


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
    with pytest.raises(PredictionsError, match="forward returns differ.*15min, first SIM"):
        judge({"30m": tables["30m"]}, other, resamples=0)


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
