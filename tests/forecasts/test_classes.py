"""Scores of several classes: scikit-learn's, None where there is nothing to divide by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.class_scores import mean_of_ratios, score_classes

CLASSES = 4


def drawn(n: int, seed: int, there: list[int] | None = None) -> tuple[Any, Any]:
    """Forecasts that know a little, of classes that may not all occur."""
    rng = np.random.default_rng(seed)
    label = rng.choice(there or [*range(CLASSES)], n)
    logits = rng.normal(size=(n, CLASSES)) + 1.5 * np.eye(CLASSES)[label]
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True), label


def test_three_rows_by_hand() -> None:
    p = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.2, 0.7]]
    found = score_classes(p, [0, 0, 2])
    assert found["n"] == 3
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["balanced_accuracy_without_0"] == 1.0
    assert found["balanced_accuracy_among_patterns"] == 1.0
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["macro_f1_without_0"] == pytest.approx((0 + 1) / 2)
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.4, 0.7]).mean())
    assert found["majority"] == pytest.approx(2 / 3)
    assert found["confusion"] == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert found["classes"][1] == {"n": 0, "called": 1, "precision": 0.0, "recall": None, "f1": 0.0}
    assert found["classes"][2] == {"n": 1, "called": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0}


@settings(max_examples=30)
@given(
    n=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
    there=st.sets(st.integers(0, CLASSES - 1), min_size=1),
)
def test_scores_are_sklearn_s(n: int, seed: int, there: set[int]) -> None:
    p, label = drawn(n, seed, sorted(there))
    called, found = p.argmax(axis=1), score_classes(p, label)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(label, called))
    occurring = np.unique(label)
    recalls = metrics.recall_score(label, called, labels=occurring, average=None)
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(label, called, average="macro"))
    patterns = np.setdiff1d(np.union1d(label, called), [0])
    if len(patterns):
        f1 = metrics.f1_score(label, called, labels=patterns, average="macro", zero_division=0)
        assert found["macro_f1_without_0"] == pytest.approx(f1)
    if len(of_pattern := np.setdiff1d(occurring, [0])):
        recalls = metrics.recall_score(label, called, labels=of_pattern, average=None)
        assert found["balanced_accuracy_without_0"] == pytest.approx(np.mean(recalls))
        forced = p[:, 1:].argmax(axis=1) + 1
        recalls = metrics.recall_score(label, forced, labels=of_pattern, average=None)
        assert found["balanced_accuracy_among_patterns"] == pytest.approx(np.mean(recalls))
    matrix = metrics.confusion_matrix(label, called, labels=range(CLASSES))
    assert found["confusion"] == matrix.tolist()
    loss = metrics.log_loss(label, p, labels=range(CLASSES))
    assert found["log_loss"] == pytest.approx(loss)


def test_balanced_accuracy_is_sklearn_s_own_where_every_class_occurs() -> None:
    p, label = drawn(500, 0)
    expected = metrics.balanced_accuracy_score(label, p.argmax(axis=1))
    assert score_classes(p, label)["balanced_accuracy"] == pytest.approx(expected)
    found = score_classes(p, label)["classes"]
    parts = metrics.precision_recall_fscore_support(label, p.argmax(axis=1))
    for name, values in zip(("precision", "recall", "f1", "n"), parts, strict=True):
        np.testing.assert_allclose([one[name] for one in found], values)


def test_a_constant_forecast_recalls_one_class_and_no_pattern() -> None:
    label = np.repeat([0, 1, 2, 3], [90, 4, 3, 3])
    found = score_classes(np.tile([0.9, 0.04, 0.03, 0.03], (100, 1)), label)
    assert found["accuracy"] == found["majority"] == pytest.approx(0.9)
    assert found["balanced_accuracy"] == pytest.approx(1 / 4)
    assert found["balanced_accuracy_without_0"] == 0.0


def test_what_cannot_be_computed_is_none_and_not_zero() -> None:
    found = score_classes(np.empty((0, 3)), [])
    assert found["n"] == 0
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "majority"):
        assert found[name] is None, name
    only_none = score_classes([[0.8, 0.1, 0.1]] * 5, [0] * 5)
    assert only_none["balanced_accuracy"] == 1.0
    assert only_none["balanced_accuracy_without_0"] is None
    assert only_none["balanced_accuracy_among_patterns"] is None
    assert only_none["macro_f1_without_0"] is None


def test_a_certain_error_costs_no_more_than_the_clip() -> None:
    assert score_classes([[1.0, 0.0]], [1])["log_loss"] == pytest.approx(-np.log(1e-7))


def test_a_certain_forecast_that_was_right_is_clipped_as_well() -> None:
    found = score_classes([[1.0, 0.0]], [0])["log_loss"]
    assert found == pytest.approx(1e-7, rel=1e-6)


def test_means_of_ratios_are_of_each_row() -> None:
    found = mean_of_ratios(np.array([[1, 1], [3, 1]]), np.array([[2, 2], [4, 4]]))
    np.testing.assert_array_equal(found, [1 / 2, 1 / 2])
    found = mean_of_ratios(np.array([[1, 1], [4, 4]]), np.array([[2, 2], [4, 4]]))
    np.testing.assert_array_equal(found, [1 / 2, 1])


def test_a_mean_of_ratios_leaves_out_what_has_no_denominator() -> None:
    found = mean_of_ratios(np.array([[1, 0, 3], [0, 0, 0]]), np.array([[2, 0, 4], [0, 0, 0]]))
    np.testing.assert_array_equal(found, [(1 / 2 + 3 / 4) / 2, np.nan])


@pytest.mark.parametrize(
    ("p", "label", "told"),
    [
        ([[0.5, 0.5]], [0, 1], r"probabilities of shape \(1, 2\) and labels of shape \(2,\)"),
        ([0.5, 0.5], [0, 1], r"probabilities of shape \(2,\)"),
        ([[0.5, 0.5]], [2], "the labels go from 2 to 2; expected class numbers from 0 to 1"),
        ([[0.5, 0.5]], [-1], "leave out the rows without a label"),
        ([[np.nan, 0.5]], [1], "1 of 2 probabilities are none"),
    ],
)
def test_what_does_not_fit_together_is_refused(p: Any, label: Any, told: str) -> None:
    with pytest.raises(PredictionsError, match=told):
        score_classes(p, label)
