"""Figures of the observed data: by hand, and as other libraries compute them."""

from __future__ import annotations

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from gafcnn.evaluation.figures import Auc, Drawdown, Figure, mean_ratio, ratio, sharpe, sortino

MINUTES = 365 * 24 * 60.0
NOTHING = np.zeros(3)
EVERY = np.ones(3, bool)
PLACES = np.arange(3)


def test_a_mean_of_ratios_leaves_out_classes_that_do_not_occur() -> None:
    hits = [np.array([1, 0, 1]), np.array([0, 0, 0]), np.array([0, 1, 0])]
    rows = [np.array([1, 1, 1]), np.array([0, 0, 0]), np.array([0, 1, 0])]
    assert mean_ratio(hits, rows).value == pytest.approx((2 / 3 + 1) / 2)
    assert mean_ratio(hits[1:2], rows[1:2]).value is None


def test_a_drawdown_begins_at_the_equity_before_the_first_bar() -> None:
    assert Drawdown(np.array([-0.5, 1.0, 0.0])).value == pytest.approx(-0.5)
    assert Drawdown(np.array([1.0, -0.5, -0.5, 0.1])).value == pytest.approx(-0.75)
    assert Drawdown(np.array([0.1, 0.0])).value == 0.0


@given(arrays(np.float64, st.integers(3, 60), elements=st.integers(-50, 50).map(lambda x: x / 1e3)))
def test_agreement_with_empyrical(returns: np.ndarray) -> None:
    assert Drawdown(returns).value == pytest.approx(empyrical.max_drawdown(returns), abs=1e-12)
    if np.ptp(returns):
        peer = empyrical.sharpe_ratio(returns, annualization=MINUTES)
        assert sharpe(returns, MINUTES).value == pytest.approx(peer, rel=1e-9, abs=1e-9)
    if (returns < 0).any():
        peer = empyrical.sortino_ratio(returns, annualization=MINUTES)
        assert sortino(returns, MINUTES).value == pytest.approx(peer, rel=1e-9, abs=1e-9)


@given(data=st.data(), n=st.integers(2, 60))
def test_agreement_with_scikit_learn(data: st.DataObject, n: int) -> None:
    score = data.draw(arrays(np.float64, n, elements=st.integers(0, 5).map(lambda x: x / 5)))
    up = data.draw(arrays(np.bool_, n))
    up[:2] = False, True
    assert Auc(score, up, np.arange(n), n).value == pytest.approx(roc_auc_score(up, score))


@pytest.mark.parametrize(
    "figure",
    [
        ratio(np.ones(3), NOTHING),
        sharpe(NOTHING, 1.0),
        sharpe(np.full(3, 0.1), 1.0),
        sortino(np.array([0.1, 0.2, 0.0]), 1.0),
        Auc(np.ones(3), EVERY, PLACES, 3),
        Auc(np.ones(0), EVERY[:0], PLACES[:0], 3),
    ],
)
def test_what_is_undefined_is_none(figure: Figure) -> None:
    assert figure.value is None


@pytest.mark.parametrize(
    ("figure", "bars"),
    [
        (ratio(np.ones(4), np.array([0, 1, 0, 2])), [1, 3]),
        (mean_ratio([np.ones(4)] * 2, [np.array([0, 1, 0, 0]), np.array([0, 0, 0, 1])]), [1, 3]),
        (sharpe(np.array([0, -1.0, 0, 0]), 1.0), [1]),
        (Auc(np.ones(3), EVERY, np.array([0, 2, 2]), 4), [0, 2]),
    ],
)
def test_a_figure_rests_on_the_bars_that_it_is_computed_from(
    figure: Figure, bars: list[int]
) -> None:
    assert np.flatnonzero(figure.rests).tolist() == bars
