"""Scores of probabilities: by hand, and equal to scikit-learn's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.statistics import log_losses, score, score_classes, score_rows

Make = Callable[..., pd.DataFrame]
CLASSES = 4


def test_four_rows_by_hand() -> None:
    # predicted up, up, down, down; it went up, down, up, down
    scored = score([0.9, 0.6, 0.4, 0.2], [1, 0, 1, 0])
    assert (scored["n"], scored["accuracy"], scored["majority"]) == (4, 0.5, 0.5)
    assert scored["confusion"] == [[1, 1], [1, 1]]
    assert scored["auc"] == 0.75  # of four pairs (up, down), only 0.4 < 0.6 is wrong
    assert scored["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.04) / 4, abs=1e-15)
    expected = -(np.log(0.9) + np.log(0.4) + np.log(0.4) + np.log(0.8)) / 4
    assert scored["log_loss"] == pytest.approx(expected, abs=1e-15)


def test_log_loss_of_certain_predictions_is_clipped() -> None:
    assert score([0.0, 1.0], [1, 0])["log_loss"] == pytest.approx(-np.log(1e-7))
    assert score_classes([[1.0, 0.0]], [1])["log_loss"] == pytest.approx(-np.log(1e-7))
    assert score_classes([[1.0, 0.0]], [0])["log_loss"] == pytest.approx(1e-7, rel=1e-6)


def test_undefined_scores_are_none() -> None:
    for outcome in (0, 1):
        scored = score([0.8, 0.3], [outcome, outcome])
        assert (scored["auc"], scored["accuracy"], scored["majority"]) == (None, 0.5, 1.0)
    empty = score([], [])
    assert empty.pop("confusion") == [[0, 0], [0, 0]]
    assert empty.pop("n") == 0
    assert set(empty.values()) == {None}
    assert score_classes(np.empty((0, 3)), [])["balanced_accuracy"] is None
    only_0 = score_classes([[0.8, 0.1, 0.1]] * 5, [0] * 5)
    assert only_0["balanced_accuracy"] == 1.0
    for name in ("balanced_accuracy_without_0", "balanced_accuracy_among_patterns"):
        assert only_0[name] is None, name


@given(data=st.data(), n=st.integers(2, 60))
def test_agreement_with_scikit_learn(data: st.DataObject, n: int) -> None:
    probability = st.floats(0.0, 1.0)
    p = np.array(data.draw(st.lists(probability, min_size=n, max_size=n)))
    outcome = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    outcome[:2] = 0, 1
    scored = score(p, outcome)
    clipped = np.clip(p, 1e-7, 1 - 1e-7)
    assert scored["auc"] == pytest.approx(metrics.roc_auc_score(outcome, p), abs=1e-12)
    assert scored["log_loss"] == pytest.approx(metrics.log_loss(outcome, clipped), abs=1e-9)
    assert scored["log_loss"] == log_losses(p, outcome).mean()
    assert scored["accuracy"] == metrics.accuracy_score(outcome, p > 0.5)
    assert scored["brier"] == pytest.approx(metrics.brier_score_loss(outcome, p), abs=1e-12)
    assert scored["confusion"] == metrics.confusion_matrix(outcome, p > 0.5).tolist()


@settings(max_examples=30)
@given(
    n=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
    present=st.sets(st.integers(0, CLASSES - 1), min_size=1),
)
def test_class_scores_agree_with_scikit_learn(n: int, seed: int, present: set[int]) -> None:
    rng = np.random.default_rng(seed)
    label = rng.choice(sorted(present), n)
    p = np.exp(rng.normal(size=(n, CLASSES)) + 1.5 * np.eye(CLASSES)[label])
    p /= p.sum(axis=1, keepdims=True)
    called, found = p.argmax(axis=1), score_classes(p, label)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(label, called))
    occurring = np.unique(label)
    recalls = metrics.recall_score(label, called, labels=occurring, average=None)
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(label, called, average="macro"))
    if len(others := np.setdiff1d(np.union1d(label, called), [0])):
        f1 = metrics.f1_score(label, called, labels=others, average="macro", zero_division=0)
        assert found["macro_f1_without_0"] == pytest.approx(f1)
    if len(others := np.setdiff1d(occurring, [0])):
        recalls = metrics.recall_score(label, called, labels=others, average=None)
        assert found["balanced_accuracy_without_0"] == pytest.approx(np.mean(recalls))
        forced = p[:, 1:].argmax(axis=1) + 1
        recalls = metrics.recall_score(label, forced, labels=others, average=None)
        assert found["balanced_accuracy_among_patterns"] == pytest.approx(np.mean(recalls))
    numbers = range(CLASSES)
    matrix = metrics.confusion_matrix(label, called, labels=numbers)
    assert found["confusion"] == matrix.tolist()
    assert found["log_loss"] == pytest.approx(metrics.log_loss(label, p, labels=numbers))
    parts = metrics.precision_recall_fscore_support(label, called, labels=numbers, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "n"), parts, strict=True):
        ours = [0 if one[name] is None else one[name] for one in found["classes"]]
        np.testing.assert_allclose(ours, values)


@pytest.mark.parametrize("call", [lambda p: score(p, [0, 1, 1]), lambda p: score_classes([p], [0])])
def test_invalid_probabilities(call: Callable[[Any], Any]) -> None:
    with pytest.raises(PredictionsError, match="2 of 3 probabilities.* nan at position 1"):
        call([0.5, np.nan, 1.5])


def test_labelled_rows_and_all_rows() -> None:
    """Four rows: up, neutral (and slightly up), neutral (and exactly flat), down."""
    frame = pd.DataFrame(
        {
            "label": pd.array([1, None, None, 0], dtype="Int8"),
            "forward_return": [0.01, 0.001, 0.0, -0.01],
            "15m": [0.9, 0.2, 0.2, 0.1],
        }
    )
    rows = score_rows(frame, "15m")
    assert (rows["labelled"]["n"], rows["labelled"]["accuracy"]) == (2, 1.0)
    assert rows["all"]["confusion"] == [[2, 0], [1, 1]]  # a return of 0 counts as down
    # the label counts on labelled rows, not the sign of the return
    trend = frame.assign(forward_return=[-0.001, -0.01, -0.02, -0.03])
    assert score_rows(trend, "15m")["labelled"]["confusion"] == [[1, 0], [0, 1]]
    unlabelled = frame.assign(label=pd.array([None] * 4, dtype="Int8"))
    assert score_rows(unlabelled, "15m")["labelled"] == score([], [])
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
