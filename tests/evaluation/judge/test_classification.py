"""Several classes: scores of labelled test rows, paired intervals, and counts beside both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap

from gafcnn.data.bars import COLUMNS, check_bars
from gafcnn.data.labels import PATTERNS
from gafcnn.evaluation.classification import CLASS_FIGURES
from gafcnn.evaluation.judge import Judgement, judge
from gafcnn.evaluation.statistics import score_classes

CLASSES = ("none", "star", "hammer")
SKILLS = {"15m": 1.0, "30m": 2.0, "xgboost": 0.0}
Make = Callable[..., tuple[dict[str, pd.DataFrame], pd.DataFrame]]


def make(
    n: int = 400, skills: dict[str, float] = SKILLS, *, folds: int = 0, unlabelled: int = 50,
    rare: int = 3, classes: tuple[str, ...] = CLASSES,
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:  # fmt: skip
    """Predictions on 20 validation and n test bars, and the bars.

    Every `unlabelled`-th test row has no label; `rare` rows, the first that may, are a hammer.
    """
    rng, total = np.random.default_rng(0), n + 20
    time = pd.date_range("2025-06-20", periods=total, freq="1min", tz="UTC").as_unit("ns")
    bars = check_bars(pd.DataFrame(dict.fromkeys(COLUMNS, 1.0), index=time), "by hand")
    number = (np.arange(total) % 5 == 0).astype(np.int64)
    number[21 : 21 + rare] = 2
    label = pd.array(number, dtype="Int8")
    label[20 + unlabelled - 1 :: unlabelled] = pd.NA
    fold = pd.array(np.arange(total) * folds // total if folds else [None] * total, dtype="Int64")
    split = pd.array(np.where(np.arange(total) < 20, "val", "test"), dtype="str")
    rows = pd.DataFrame({"symbol": "SIM", "time": time, "fold": fold, "split": split, "seed": 0})
    rows = rows.assign(label=label, forward_return=np.nan, known_at=time)
    tables = {}
    for name, skill in skills.items():
        score = np.exp(rng.normal(size=(total, 3)) + skill * np.eye(3)[number])
        p = dict(
            zip((f"p_{c}" for c in classes), (score / score.sum(1, keepdims=True)).T, strict=True)
        )
        tables[name] = rows.assign(window=name, **p)
    return tables, bars


@pytest.fixture(scope="module")
def judgement() -> Judgement:
    tables, bars = make()
    return judge(tables, bars, ensembles=["mean"], resamples=200)


def probabilities(judgement: Judgement, model: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, labels and places of the labelled test rows."""
    rows = judgement.predictions
    rows = rows[(rows["window"] == model) & (rows["split"] == "test")]
    places = (rows["time"] - rows["time"].iloc[0]) // pd.Timedelta("1min")
    known = rows["label"].notna()
    p = rows.loc[known, [f"p_{one}" for one in CLASSES]].to_numpy()
    return p, rows.loc[known, "label"].to_numpy(np.int64), places[known].to_numpy()


def test_figures_are_the_scores_of_labelled_test_rows(judgement: Judgement) -> None:
    metrics = judgement.metrics
    assert list(metrics["models"]) == ["15m", "30m", "mean", "xgboost"]
    for name, figures in metrics["models"].items():
        p, label, _ = probabilities(judgement, name)
        scores = score_classes(p, label)
        for figure in CLASS_FIGURES:
            assert figures[figure]["value"] == pytest.approx(scores[figure]), (name, figure)
        assert metrics["confusion"][name] == scores["confusion"]
        rows = [row for row in metrics["per_class"] if row["model"] == name]
        for row, of_class in zip(rows, scores["classes"], strict=True):
            assert (row["n"], row["called"]) == (of_class["n"], of_class["called"])
            for figure in ("precision", "recall", "f1"):
                assert row[figure]["value"] == pytest.approx(of_class[figure])


def test_rows_without_a_label_are_counted_and_left_out(judgement: Judgement) -> None:
    metrics = judgement.metrics
    assert judgement.task == "classification"
    assert metrics["rows"] == {"all": 400, "labelled": 392, "several": 8}
    assert sum(metrics["classes"].values()) == 392
    assert metrics["classes"]["hammer"] == 3
    assert metrics["models"]["mean"]["accuracy"]["n"] == 392
    others = metrics["classes"]["star"] + 3
    assert metrics["models"]["mean"]["balanced_accuracy_without_0"]["n"] == others


def test_intervals_are_those_of_resampled_rows(judgement: Judgement) -> None:
    """With a loop that draws bars and scores their rows, without sums in advance."""
    p, label, places = probabilities(judgement, "30m")
    n_bars = places[-1] - places[0] + 1
    on_bar = np.full(n_bars, -1)
    on_bar[places - places[0]] = np.arange(len(label))
    block: Any = judgement.metrics["bootstrap"]["block"]
    drawn = []
    for data, _ in StationaryBootstrap(block, np.arange(n_bars), seed=0).bootstrap(200):
        rows = on_bar[data[0]]
        rows = rows[rows >= 0]
        drawn.append(score_classes(p[rows], label[rows]))
    assert any(score["classes"][2]["n"] == 0 for score in drawn)  # no mean over three classes
    for figure in CLASS_FIGURES:
        first = 1 if figure.endswith(("_without_0", "_among_patterns")) else 0
        rests = {"balanced": ("n",), "macro": ("n", "called")}.get(figure.split("_")[0], ())
        whole = [
            score[figure]
            for score in drawn
            if not rests or all(sum(one[r] for r in rests) for one in score["classes"][first:])
        ]
        low, high = np.quantile(whole, [0.025, 0.975])
        found = judgement.metrics["models"]["30m"][figure]
        assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high)), figure


def test_a_class_of_few_rows_has_an_exact_interval(judgement: Judgement) -> None:
    rows = {r["class"]: r for r in judgement.metrics["per_class"] if r["model"] == "mean"}
    recall = rows["hammer"]["recall"]
    # three hits of three leave 0.025 ** (1 / 3) possible
    assert (recall["n"], recall["value"], recall["high"]) == (3, 1.0, 1.0)
    assert recall["low"] == pytest.approx(0.025 ** (1 / 3))
    star = rows["star"]["recall"]
    assert star["low"] < star["value"] < star["high"]
    assert rows["star"]["precision"]["n"] == rows["star"]["called"]
    assert any("hammer" in sentence and "missed" in sentence for sentence in judgement.verdict)


def test_differences_are_paired_and_against_the_baseline(judgement: Judgement) -> None:
    metrics = judgement.metrics
    assert metrics["baseline"] == "xgboost"
    assert {row["b"] for row in metrics["pairs"]} == {"xgboost"}
    by = {(row["a"], row["figure"]): row for row in metrics["pairs"]}
    assert len(by) == 3 * len(CLASS_FIGURES)
    accuracy, models = by["mean", "accuracy"], metrics["models"]
    difference = models["mean"]["accuracy"]["value"] - models["xgboost"]["accuracy"]["value"]
    assert accuracy["value"] == pytest.approx(difference)
    assert accuracy["low"] > 0
    assert by["mean", "log_loss"]["high"] < 0


def test_no_skill_predicts_the_frequencies(judgement: Judgement) -> None:
    counts = np.array(list(judgement.metrics["classes"].values()))
    shares = counts / counts.sum()
    no_skill = {name: one["value"] for name, one in judgement.metrics["no_skill"].items()}
    assert no_skill["accuracy"] == pytest.approx(shares[0])
    assert no_skill["balanced_accuracy"] == pytest.approx(1 / 3)
    assert no_skill["balanced_accuracy_without_0"] == 0
    assert no_skill["log_loss"] == pytest.approx(-(shares * np.log(shares)).sum())


def test_several_symbols_are_judged_together() -> None:
    tables, bars = make()
    both = {
        name: pd.concat([table, table.assign(symbol="OTHER")], ignore_index=True)
        for name, table in tables.items()
    }
    two = judge(both, {"SIM": bars, "OTHER": bars}, resamples=100).metrics
    one = judge(tables, bars, resamples=100).metrics
    assert two["rows"]["labelled"] == 2 * one["rows"]["labelled"]
    for name, figures in one["models"].items():
        for figure, found in figures.items():
            assert two["models"][name][figure]["low"] == pytest.approx(found["low"]), figure


def test_a_model_that_always_predicts_class_0_has_no_skill() -> None:
    """Resamples that lack rare classes must not change what chance is."""
    tables, bars = make(skills={"15m": 0.0})
    certain = tables["15m"].assign(p_none=1.0, p_star=0.0, p_hammer=0.0)
    found = judge({"15m": certain}, bars, resamples=200)
    balanced = found.metrics["models"]["15m"]["balanced_accuracy"]
    ends = (balanced["low"], balanced["value"], balanced["high"])
    assert ends == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert "not statistically significant" in found.verdict[0]


def test_only_candlestick_patterns_have_a_target(judgement: Judgement) -> None:
    assert judgement.metrics["targets"] == []
    tables, bars = make(skills={"15m": 6.0})
    rest = dict.fromkeys((f"p_{name}" for name in PATTERNS[3:]), 0.0)
    names = {f"p_{old}": f"p_{new}" for old, new in zip(CLASSES, PATTERNS, strict=False)}
    patterns = {"15m": tables["15m"].rename(columns=names).assign(**rest)}
    [row] = judge(patterns, bars, resamples=100).metrics["targets"]
    assert (row["figure"], row["least"], row["verdict"]) == ("balanced_accuracy", 0.9, "met")
