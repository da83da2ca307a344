"""Recognition: the scores of labelled test rows, paired intervals, and counts beside both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.class_scores import score_classes
from gafcnn.evaluation.recognition import MOST_BINS, RECOGNISED, Recognition, judge_recognition
from gafcnn.evaluation.verdict import of_recognition

Make = Callable[..., Recognition]


@pytest.fixture(scope="module")
def study(recognition_of: Make) -> Recognition:
    return recognition_of()


@pytest.fixture(scope="module")
def judged(study: Recognition) -> dict[str, Any]:
    return judge_recognition(study, resamples=200)


def test_figures_are_the_scores_of_labelled_test_rows(
    study: Recognition, judged: dict[str, Any]
) -> None:
    assert list(judged["models"]) == ["15m", "30m", "mean", "xgboost"]
    for name, figures in judged["models"].items():
        scored = score_classes(study.p(name), study.label)
        for figure in RECOGNISED:
            assert figures[figure]["value"] == pytest.approx(scored[figure]), (name, figure)
        assert judged["confusion"][name] == scored["confusion"]
        rows = [row for row in judged["per_class"] if row["model"] == name]
        for row, of_class in zip(rows, scored["classes"], strict=True):
            assert (row["n"], row["called"]) == (of_class["n"], of_class["called"])
            for figure in ("precision", "recall", "f1"):
                assert row[figure]["value"] == pytest.approx(of_class[figure])


def test_bars_of_several_patterns_are_left_out_and_counted(
    study: Recognition, judged: dict[str, Any]
) -> None:
    assert judged["rows"] == {"all": 400, "labelled": 392, "several": 8}
    assert sum(judged["classes"].values()) == 392
    assert judged["classes"]["hammer"] == 3
    assert judged["models"]["mean"]["accuracy"]["n"] == 392
    patterns = judged["classes"]["star"] + 3
    assert judged["models"]["mean"]["balanced_accuracy_without_0"]["n"] == patterns


def test_intervals_are_those_of_resampled_rows(study: Recognition, judged: dict[str, Any]) -> None:
    """By a loop that draws bars and scores what stands on them, without a sum in advance."""
    block = judged["bootstrap"]["block"]
    on_bar = np.full(study.n_bars, -1)
    on_bar[study.places] = np.arange(len(study.label))
    draws = StationaryBootstrap(block, np.arange(study.n_bars), seed=0).bootstrap(200)
    drawn = []
    for data, _ in draws:
        rows = on_bar[data[0]]
        rows = rows[rows >= 0]
        drawn.append(score_classes(study.p("30m")[rows], study.label[rows]))
    assert any(score["classes"][2]["n"] == 0 for score in drawn)  # and tells nothing of the mean
    for figure in RECOGNISED:
        first = 1 if figure.endswith(("_without_0", "_among_patterns")) else 0
        rests = {"balanced": ("n",), "macro": ("n", "called")}.get(figure.split("_")[0], ())
        whole = [
            score[figure]
            for score in drawn
            if not rests or all(sum(one[r] for r in rests) for one in score["classes"][first:])
        ]
        low, high = np.quantile(whole, [0.025, 0.975])
        told = judged["models"]["30m"][figure]
        assert (told["low"], told["high"]) == (pytest.approx(low), pytest.approx(high)), figure


def test_a_class_of_a_few_bars_has_its_count_and_an_exact_interval(judged: dict[str, Any]) -> None:
    rows = {row["class"]: row for row in judged["per_class"] if row["model"] == "mean"}
    assert rows["hammer"]["n"] == rows["hammer"]["recall"]["n"] == 3
    assert rows["hammer"]["recall"]["value"] is not None
    # three hits of three leave 0.025 ** (1 / 3) possible, by hand
    recall = rows["hammer"]["recall"]
    assert (recall["value"], recall["high"]) == (1.0, 1.0)
    assert recall["low"] == pytest.approx(0.025 ** (1 / 3))
    star = rows["star"]["recall"]
    assert star["low"] < star["value"] < star["high"]
    assert rows["star"]["precision"]["n"] == rows["star"]["called"]


def test_a_class_that_does_not_occur_is_none_and_not_zero(recognition_of: Make) -> None:
    judged = judge_recognition(recognition_of(rare=0), resamples=0)
    row = next(row for row in judged["per_class"] if row["class"] == "hammer")
    assert row["n"] == 0
    assert row["recall"]["value"] is None
    assert judged["models"]["mean"]["accuracy"]["low"] is None
    told = of_recognition(judged, "mean", "xgboost")[0]
    assert "tells the 2 classes that occur on 392 test bars" in told


def test_differences_are_paired_and_against_the_baseline(judged: dict[str, Any]) -> None:
    assert {row["b"] for row in judged["pairs"]} == {"xgboost"}
    assert [row["a"] for row in judged["pairs"]] == np.repeat(["15m", "30m", "mean"], 7).tolist()
    by = {(row["a"], row["figure"]): row for row in judged["pairs"]}
    better = by["mean", "accuracy"]
    assert better["low"] > 0
    assert better["finding"] == "mean has a higher accuracy than xgboost"
    models = judged["models"]
    difference = models["mean"]["accuracy"]["value"] - models["xgboost"]["accuracy"]["value"]
    assert better["value"] == pytest.approx(difference)
    assert by["mean", "log_loss"]["finding"] == "mean has a lower log loss than xgboost"


def test_a_model_is_not_to_be_told_apart_from_itself(recognition_of: Make) -> None:
    study = recognition_of(models={"15m": 1.0, "xgboost": 1.0})
    joined = study.joined.copy()
    for one in study.classes:
        joined[f"15m.p_{one}"] = joined[f"xgboost.p_{one}"]
    judged = judge_recognition(replace(study, joined=joined), resamples=100)
    for row in judged["pairs"]:
        assert (row["value"], row["low"], row["high"]) == (0, 0, 0)
        assert "not to be told apart" in row["finding"]


def test_no_skill_calls_the_most_frequent_class(judged: dict[str, Any]) -> None:
    counts = np.array(list(judged["classes"].values()))
    shares = counts / counts.sum()
    no_skill = {name: one["value"] for name, one in judged["no_skill"].items()}
    assert no_skill["accuracy"] == pytest.approx(shares[0])
    assert no_skill["balanced_accuracy"] == pytest.approx(1 / 3)
    assert no_skill["balanced_accuracy_without_0"] == 0
    assert no_skill["log_loss"] == pytest.approx(-(shares * np.log(shares)).sum())


def test_the_target_of_patterns_is_of_the_balanced_accuracy(
    study: Recognition, judged: dict[str, Any]
) -> None:
    (row,) = judged["targets"]
    assert row["target"] == "pattern recognition"
    assert row["value"] == judged["models"]["mean"]["balanced_accuracy"]["value"]
    assert row["verdict"] == "met"
    (row,) = judge_recognition(replace(study, headline="xgboost"), resamples=100)["targets"]
    assert (row["model"], row["verdict"]) == ("xgboost", "not met")


def test_gaps_between_the_test_bars_are_kept(study: Recognition) -> None:
    assert study.n_bars == study.places[-1] + 1
    placed = study.on_bars(np.ones(len(study.label)))
    assert placed.sum() == 392
    assert len(placed) == study.n_bars > 392


def test_long_timelines_are_cut_into_bins_of_several_bars(study: Recognition) -> None:
    index = pd.date_range(study.bars.index[0], periods=60_000, freq="1min")
    bars = pd.DataFrame({"close": 1.0}, index=index)
    bars.attrs["interval"] = pd.Timedelta("1min")
    joined = study.joined.copy()
    joined.loc[joined.index[-2:], "time"] = index[50_018:50_020]
    longer = replace(study, bars=bars, joined=joined)
    assert longer.n_bars > 2 * MOST_BINS
    assert longer.bin == 3
    assert judge_recognition(longer, resamples=0)["bootstrap"]["bin"] == "3min"


def test_folds_are_told_one_by_one_and_pooled(recognition_of: Make) -> None:
    judged = judge_recognition(recognition_of(folds=2), resamples=0)
    assert [(row["model"], row["fold"]) for row in judged["folds"]][:2] == [("15m", 0), ("15m", 1)]
    of_mean = [row["n"] for row in judged["folds"] if row["model"] == "mean"]
    assert sum(of_mean) == judged["models"]["mean"]["accuracy"]["n"]


def test_the_verdict_says_what_was_found_in_five_sentences(judged: dict[str, Any]) -> None:
    first, second, rarest, whole, third = of_recognition(judged, "mean", "xgboost")
    assert first.startswith(
        "mean tells the 3 classes that occur on 392 test bars (8 of several patt"
    )
    assert first.endswith(": better than chance.")
    assert "where always saying none is right in 78.8%" in second
    assert rarest.startswith(
        "The rarest class is hammer, 3 of the test bars: one more or less is 11"
    )
    assert rarest.endswith("is 11 points of balanced accuracy.")
    assert whole.startswith("No bar of hammer was missed, and so none is in any resample")
    assert third.startswith("mean has a higher balanced accuracy than xgboost (+")
    assert third.endswith("percentage points).")


def test_a_model_that_always_says_none_is_no_better_than_chance(study: Recognition) -> None:
    """Where rare classes drop out of resamples its mean recall would be of fewer classes."""
    columns = [column for column in study.joined if str(column).startswith("xgboost")]
    certain = dict.fromkeys(columns, 0.0) | {columns[0]: 1.0}
    judged = judge_recognition(replace(study, joined=study.joined.assign(**certain)))
    found = judged["models"]["xgboost"]["balanced_accuracy"]
    assert (found["low"], found["value"], found["high"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    told = of_recognition(judged, "xgboost", "xgboost")[0]
    assert told.endswith("33.3% [33.3%, 33.3%]: not to be told apart from luck.")


def test_the_verdict_on_no_skill_is_luck(recognition_of: Make) -> None:
    study = recognition_of(models={"15m": 0.0, "xgboost": 0.0}, several=1000)
    judged = judge_recognition(study, resamples=200)
    told = of_recognition(judged, "15m", "xgboost")
    assert "not to be told apart from luck" in told[0]
    assert "left out" not in told[0]
    assert "not to be told apart by balanced accuracy" in told[3]


def test_the_baseline_alone_is_compared_with_nothing(recognition_of: Make) -> None:
    judged = judge_recognition(recognition_of(models={"xgboost": 1.0}), resamples=0)
    assert judged["pairs"] == []
    assert len(of_recognition(judged, "xgboost", "xgboost")) == 3


def test_test_rows_without_a_label_are_refused(study: Recognition) -> None:
    joined = study.joined.assign(label=pd.array([None] * len(study.joined), dtype="Int8"))
    with pytest.raises(PredictionsError, match="none of 400 test rows has a label; expected rows"):
        judge_recognition(replace(study, joined=joined))
