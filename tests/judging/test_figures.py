"""Figures of the data itself: by hand, equal to the field's own libraries, None where undefined."""

from __future__ import annotations

import empyrical
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.figures import (
    Auc,
    Drawdown,
    Figure,
    MeanRatio,
    Ratio,
    Sharpe,
    Sortino,
    value_of,
)

MINUTES = 365 * 24 * 60.0
NOTHING = np.zeros(3)
EVERY = np.ones(3, bool)


def test_ratios_by_hand() -> None:
    wins, trades = np.array([True, False, True]), np.array([1, 0, 2])
    assert value_of(Ratio(wins, trades)) == pytest.approx(2 / 3)
    assert value_of(Ratio(np.array([0.001, 0.0, -0.004]), trades, 1e4)) == pytest.approx(-10)


def test_a_mean_of_ratios_by_hand_leaves_out_a_class_that_is_not_there() -> None:
    hits = [np.array([1, 0, 1]), np.array([0, 0, 0]), np.array([0, 1, 0])]
    rows = [np.array([1, 1, 1]), np.array([0, 0, 0]), np.array([0, 1, 0])]
    assert value_of(MeanRatio(hits, rows)) == pytest.approx((2 / 3 + 1) / 2)
    assert value_of(MeanRatio(hits, rows, scale=2.0)) == pytest.approx(2 / 3 + 1)
    assert value_of(MeanRatio(hits[1:2], rows[1:2])) is None


def test_a_drawdown_by_hand_begins_at_the_equity_before_the_first_bar() -> None:
    assert value_of(Drawdown(np.array([-0.5, 1.0, 0.0]))) == pytest.approx(-0.5)
    assert value_of(Drawdown(np.array([1.0, -0.5, -0.5, 0.1]))) == pytest.approx(-0.75)
    assert value_of(Drawdown(np.array([0.1, 0.0]))) == 0.0


def test_an_area_by_hand_counts_ties_a_half_and_leaves_out_what_does_not_count() -> None:
    score = np.array([0.9, 0.5, 0.5, np.nan])
    up = np.array([True, True, False, False])
    assert value_of(Auc(score, up, np.array([True, True, True, False]))) == 0.75


@settings(deadline=None)
@given(arrays(np.float64, st.integers(3, 60), elements=st.integers(-50, 50).map(lambda x: x / 1e3)))
def test_agreement_with_empyrical(returns: np.ndarray) -> None:
    drawdown = value_of(Drawdown(returns))
    assert drawdown == pytest.approx(empyrical.max_drawdown(returns), abs=1e-12)
    if np.ptp(returns):
        peer = empyrical.sharpe_ratio(returns, annualization=MINUTES)
        assert value_of(Sharpe(returns, MINUTES)) == pytest.approx(peer, rel=1e-9, abs=1e-9)
    if (returns < 0).any():
        peer = empyrical.sortino_ratio(returns, annualization=MINUTES)
        assert value_of(Sortino(returns, MINUTES)) == pytest.approx(peer, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(data=st.data(), n=st.integers(2, 60))
def test_agreement_with_scikit_learn(data: st.DataObject, n: int) -> None:
    score = data.draw(arrays(np.float64, n, elements=st.integers(0, 5).map(lambda x: x / 5)))
    up = data.draw(arrays(np.bool_, n))
    up[:2] = False, True
    assert value_of(Auc(score, up, np.ones(n, bool))) == pytest.approx(roc_auc_score(up, score))


@pytest.mark.parametrize(
    "figure",
    [
        Ratio(np.ones(3), NOTHING),
        Sharpe(NOTHING, 1.0),
        Sharpe(np.full(3, 0.1), 1.0),
        Sharpe(np.array([0.1]), 1.0),
        Sortino(np.array([0.1, 0.2, 0.0]), 1.0),
        Drawdown(np.array([])),
        Auc(np.ones(3), EVERY, EVERY),
        Auc(np.ones(3), EVERY, ~EVERY),
    ],
)
def test_what_is_undefined_is_none(figure: Figure) -> None:
    assert value_of(figure) is None


def test_a_value_that_is_not_finite_is_refused_with_its_bar() -> None:
    with pytest.raises(PredictionsError) as error:
        Sharpe(np.array([0.0, 0.1, np.nan, np.nan]), 1.0)
    assert str(error.value) == (
        "a Sharpe has nan at bar 2 of 4; expected a finite number at each bar that counts; put 0 "
        "where nothing happened."
    )
    with pytest.raises(PredictionsError, match="an? Auc has nan at bar 1 of 3"):
        Auc(np.array([0.1, np.nan, 0.2]), EVERY, EVERY)


def test_series_of_other_lengths_or_shapes_are_refused() -> None:
    with pytest.raises(PredictionsError, match=r"a Ratio are of shape \(3,\) and \(2,\); expected"):
        Ratio(np.ones(3), np.ones(2))
    with pytest.raises(PredictionsError, match=r"a Drawdown are of shape \(3, 1\); expected one"):
        Drawdown(np.ones((3, 1)))
