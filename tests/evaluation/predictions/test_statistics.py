"""Statistics of probabilities and returns: by hand, and equal to other libraries'."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.statistics import (
    bins_of,
    deflated_sharpe,
    expected_calibration_error,
    expected_maximum,
    growth,
    log_losses,
    max_drawdown,
    psr,
    score,
    score_classes,
    score_rows,
)

Make = Callable[..., pd.DataFrame]
CLASSES = 4


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
    assert scored["majority"] == pytest.approx(max(outcome.mean(), 1 - outcome.mean()))
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


probabilities = arrays(np.float64, st.integers(1, 80), elements=st.floats(0, 1))


@pytest.mark.parametrize(
    ("p", "up", "bins", "error"),
    [
        # bins of forecasts 0.2 and 0.8, in which 0.5 and 1 went up
        ([0.9, 0.1, 0.3, 0.7], [1, 0, 1, 1], 2, (2 * 0.3 + 2 * 0.2) / 4),
        ([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0, 1, 1, 1, 0], 10, 0.0),
        # nine certain and right, one certain and wrong: bins are weighted by their rows
        ([1.0] * 9 + [0.0], [1] * 10, 10, 0.1),
        ([], [], 10, None),
    ],
)
def test_by_hand(p: list[float], up: list[int], bins: int, error: float | None) -> None:
    assert expected_calibration_error(p, up, bins) == pytest.approx(error)


def test_bins_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(1000)
    up = rng.random(1000) < p**2
    observed, forecast = calibration_curve(up, p, n_bins=10, strategy="quantile")
    assert expected_calibration_error(p, up) == pytest.approx(np.abs(observed - forecast).mean())


@given(p=probabilities, bins=st.integers(1, 12))
def test_bins_are_ordered_and_hold_equal_forecasts_together(p: np.ndarray, bins: int) -> None:
    which = bins_of(p, bins)
    assert set(which) == set(range(which.max() + 1))
    assert which.max() < bins
    assert (np.diff(which[np.argsort(p)]) >= 0).all()
    assert all(len(set(which[p == one])) == 1 for one in p)


returns_series = arrays(
    np.float64, st.integers(2, 80), elements=st.floats(-0.2, 0.2).map(lambda x: round(x, 6))
)


@given(returns=returns_series, periods=st.sampled_from([12, 252, 365]))
def test_agreement_with_empyrical(returns: np.ndarray, periods: int) -> None:
    found = growth(returns, periods)
    theirs = {
        "total_return": empyrical.cum_returns_final(returns),
        "annual_return": empyrical.annual_return(returns, annualization=periods),
        "calmar": empyrical.calmar_ratio(returns, annualization=periods),
    }
    for name, value in theirs.items():
        if found[name] is None:
            assert name == "calmar" or found["annual_return"] is None
        else:
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert max_drawdown(returns) == pytest.approx(empyrical.max_drawdown(returns), abs=1e-12)


def test_undefined_statistics_are_none() -> None:
    up = np.full(5, 0.1)
    assert growth(up, 365)["calmar"] is None
    assert growth(up, 1e6)["annual_return"] is None
    assert growth(np.array([0.1, -0.1]), 1e9)["annual_return"] == pytest.approx(-1)


def test_total_loss() -> None:
    returns = np.array([0.1, -1.0, 0.0])
    assert growth(returns, 365) == {"total_return": -1, "annual_return": -1, "calmar": -1}
    assert max_drawdown(returns) == -1


DAYS = 250
SHARPE = 2.5 / math.sqrt(DAYS)
VARIANCE = 0.5 / DAYS


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "deflated"),
    [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)],
)
def test_the_papers_example(trials: int, skewness: float, kurtosis: float, deflated: float) -> None:
    """An annualised ratio of 2.5 over five years of days, the best of trials of variance 1/2."""
    benchmark = expected_maximum(VARIANCE, trials)
    if trials == 100:
        assert benchmark == pytest.approx(0.1132, abs=5e-5)
    assert psr(SHARPE, benchmark, 1250, skewness, kurtosis) == pytest.approx(deflated, abs=5e-5)


@pytest.mark.parametrize("trials", [10, 100, 1000])
def test_expected_maximum_of_simulated_trials(trials: int) -> None:
    drawn = np.random.default_rng(0).normal(0, 0.1, (4000, trials)).max(axis=1)
    assert expected_maximum(0.01, trials) == pytest.approx(drawn.mean(), rel=0.03)


def test_a_single_trial_has_no_selection() -> None:
    assert expected_maximum(0.0, 1) == expected_maximum(0.3, 1) == 0.0


def test_psr_by_hand() -> None:
    assert psr(0.1, 0.1, 50, -2, 9) == 0.5
    # normal returns: the ratio's standard error is sqrt((1 + SR^2 / 2) / (n - 1))
    error = math.sqrt((1 + 0.2**2 / 2) / 99)
    assert psr(0.2, 0.0, 100, 0.0, 3.0) == pytest.approx(stats.norm.cdf(0.2 / error))


def test_moments_of_the_returns() -> None:
    returns = np.random.default_rng(2).standard_t(5, 300) * 0.01 + 0.001
    sharpe = returns.mean() / returns.std(ddof=1)
    centred = (returns - returns.mean()) / returns.std()
    expected = psr(
        sharpe, expected_maximum(0.002, 7), 300, (centred**3).mean(), (centred**4).mean()
    )
    assert deflated_sharpe(returns, 7, 0.002) == pytest.approx(expected, abs=1e-12)
    assert deflated_sharpe(returns, 1, 0.0) > expected


@pytest.mark.parametrize("returns", [[0.1, 0.2, 0.1], [0.1] * 50])
def test_undefined_is_none(returns: list[float]) -> None:
    assert deflated_sharpe(returns, 1, 0.0) is None
