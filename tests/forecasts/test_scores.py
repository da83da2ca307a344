"""Scores: by hand on paper-sized cases, equal to scikit-learn's, and None where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.scores import score, score_rows, score_table

Make = Callable[..., pd.DataFrame]
NO_SCORE = dict.fromkeys(("accuracy", "auc", "log_loss", "brier", "majority"))


def test_four_rows_by_hand() -> None:
    # called up, up, down, down; it went up, down, up, down
    scored = score([0.9, 0.6, 0.4, 0.2], [1, 0, 1, 0])
    assert scored["n"] == 4
    assert scored["accuracy"] == 0.5
    assert scored["confusion"] == [[1, 1], [1, 1]]
    assert scored["auc"] == 0.75  # of the four pairs (up, down) only 0.4 < 0.6 is the wrong way
    assert scored["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.04) / 4, abs=1e-15)
    expected = -(np.log(0.9) + np.log(0.4) + np.log(0.4) + np.log(0.8)) / 4
    assert scored["log_loss"] == pytest.approx(expected, abs=1e-15)
    assert scored["majority"] == 0.5


def test_confusion_is_outcome_by_call() -> None:
    scored = score([0.9, 0.8, 0.7, 0.1, 0.6, 0.2], [1, 1, 1, 1, 0, 0])
    assert scored["confusion"] == [[1, 1], [1, 3]]
    assert scored["majority"] == pytest.approx(4 / 6)
    assert scored["accuracy"] == pytest.approx(4 / 6)


def test_a_half_calls_down() -> None:
    assert score([0.5, 0.5], [0, 1])["confusion"] == [[1, 0], [1, 0]]


def test_certainty_that_was_wrong_costs_finitely_much() -> None:
    scored = score([0.0, 1.0], [1, 0])
    assert scored["log_loss"] == pytest.approx(-np.log(1e-7))
    assert scored["brier"] == 1.0


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_class_has_no_auc_and_keeps_the_rest(outcome: int) -> None:
    scored = score([0.8, 0.3], [outcome, outcome])
    assert scored["auc"] is None
    assert scored["accuracy"] == 0.5
    assert scored["majority"] == 1.0
    assert scored["brier"] == pytest.approx((0.04 + 0.49) / 2 if outcome else (0.64 + 0.09) / 2)
    assert scored["log_loss"] is not None
    assert scored["confusion"] == ([[0, 0], [1, 1]] if outcome else [[1, 1], [0, 0]])
    # and where nothing else is called either
    assert np.shape(score([0.8], [1])["confusion"]) == (2, 2)


def test_no_rows_have_no_scores() -> None:
    assert score([], []) == {"n": 0, **NO_SCORE, "confusion": [[0, 0], [0, 0]]}


@given(data=st.data(), n=st.integers(2, 60))
def test_agreement_with_scikit_learn_and_numpy(data: st.DataObject, n: int) -> None:
    probability = st.floats(0.0, 1.0)
    p = np.array(data.draw(st.lists(probability, min_size=n, max_size=n)))
    outcome = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    outcome[:2] = 0, 1
    scored = score(p, outcome)
    clipped = np.clip(p, 1e-7, 1 - 1e-7)
    assert scored["auc"] == pytest.approx(metrics.roc_auc_score(outcome, p), abs=1e-12)
    assert scored["log_loss"] == pytest.approx(metrics.log_loss(outcome, clipped), abs=1e-12)
    assert scored["accuracy"] == pytest.approx(((p > 0.5) == outcome).mean(), abs=1e-12)
    assert scored["brier"] == pytest.approx(((p - outcome) ** 2).mean(), abs=1e-12)
    assert np.sum(scored["confusion"]) == n
    assert np.trace(scored["confusion"]) / n == pytest.approx(scored["accuracy"])
    assert max(np.sum(scored["confusion"], axis=1)) / n == pytest.approx(scored["majority"])


def test_a_probability_that_is_none_is_refused() -> None:
    with pytest.raises(PredictionsError) as error:
        score([0.5, np.nan, 1.5], [0, 1, 1])
    assert str(error.value).startswith(
        "2 of 3 probabilities are none, the first is nan at position 1; expected numbers from 0"
    )


def test_lengths_must_agree() -> None:
    with pytest.raises(PredictionsError, match="there are 1 probabilities and 3 outcomes"):
        score([0.5], [0, 1, 1])


def paper() -> pd.DataFrame:
    """Four rows: up, neutral (and slightly up), neutral (and exactly flat), down."""
    return pd.DataFrame(
        {
            "label": pd.array([1, None, None, 0], dtype="Int8"),
            "forward_return": [0.01, 0.001, 0.0, -0.01],
            "15m": [0.9, 0.2, 0.2, 0.1],
            "coin": [0.5] * 4,
        }
    )


def test_labelled_rows_leave_the_neutral_ones_out_and_all_rows_do_not() -> None:
    rows = score_rows(paper(), "15m")
    assert rows["labelled"]["n"] == 2
    assert rows["labelled"]["accuracy"] == 1.0
    assert rows["all"]["n"] == 4
    assert rows["all"]["accuracy"] == 0.75


def test_a_return_of_exactly_zero_counts_as_down() -> None:
    assert score_rows(paper(), "15m")["all"]["confusion"] == [[2, 0], [1, 1]]


def test_the_label_and_not_the_sign_of_the_return_rules_labelled_rows() -> None:
    # in a market that trends, an upper quantile below zero makes an up of a falling price
    frame = paper().assign(forward_return=[-0.001, -0.01, -0.02, -0.03])
    assert score_rows(frame, "15m")["labelled"]["confusion"] == [[1, 0], [0, 1]]
    assert score_rows(frame, "15m")["all"]["auc"] is None


def test_rows_without_labels_have_no_labelled_scores() -> None:
    frame = paper().assign(label=pd.array([None] * 4, dtype="Int8"))
    assert score_rows(frame, "15m")["labelled"] == score([], [])


def test_the_table_is_strict_json(predictions: Make) -> None:
    frame = predictions().rename(columns={"p_up": "15m"}).assign(oracle=0.5)
    table = score_table(frame.query("split == 'test'"), ["15m", "oracle"])
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert list(table["models"]) == ["15m", "oracle"]
    assert table["models"]["15m"]["all"]["n"] == 20
    assert table["models"]["oracle"]["all"]["auc"] == 0.5
