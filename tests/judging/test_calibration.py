"""Calibration: by hand, equal to scikit-learn's curve, and independent of the rows' order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.calibration import calibration_curve

from gafcnn.evaluation.calibration import bins_of, expected_calibration_error, reliability

probabilities = arrays(np.float64, st.integers(1, 80), elements=st.floats(0, 1))


def test_four_rows_by_hand() -> None:
    table = reliability([0.9, 0.1, 0.3, 0.7], [1, 0, 1, 1], bins=2)
    assert table["forecast"].tolist() == pytest.approx([0.2, 0.8])
    assert table["observed"].tolist() == [0.5, 1.0]
    assert table["n"].tolist() == [2, 2]
    assert expected_calibration_error(table) == pytest.approx((2 * 0.3 + 2 * 0.2) / 4)


def test_a_model_that_means_what_it_says_is_calibrated() -> None:
    table = reliability([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0, 1, 1, 1, 0])
    assert expected_calibration_error(table) == 0.0
    assert len(table) == 2


def test_the_error_weighs_bins_by_their_rows() -> None:
    # a vote of three, nine times sure and wrong once: ten rows, of which one is far off
    table = reliability([1.0] * 9 + [0.0], [1] * 10)
    assert expected_calibration_error(table) == pytest.approx(0.1)


def test_agreement_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(1000)
    up = rng.random(1000) < p**2
    observed, forecast = calibration_curve(up, p, n_bins=10, strategy="quantile")
    table = reliability(p, up)
    np.testing.assert_allclose(table["forecast"], forecast)
    np.testing.assert_allclose(table["observed"], observed)
    assert table["n"].tolist() == [100] * 10


@given(p=probabilities, bins=st.integers(1, 12))
def test_bins_are_in_the_order_of_forecasts_and_tear_no_equals_apart(
    p: np.ndarray, bins: int
) -> None:
    which = bins_of(p, bins)
    assert set(which) == set(range(which.max() + 1))
    assert which.max() < bins
    order = np.argsort(p)
    assert (np.diff(which[order]) >= 0).all()
    assert all(len(set(which[p == one])) == 1 for one in p)


@given(bins=st.integers(1, 12), n=st.integers(1, 80))
def test_forecasts_that_all_differ_make_bins_of_equal_count(bins: int, n: int) -> None:
    counts = np.bincount(bins_of(np.linspace(0, 1, n), bins))
    assert len(counts) == min(bins, n)
    assert np.ptp(counts) <= 1


@given(p=probabilities, data=st.data())
def test_the_table_looks_at_no_order_of_rows(p: np.ndarray, data: st.DataObject) -> None:
    up = data.draw(arrays(np.bool_, len(p)))
    order = data.draw(st.permutations(range(len(p))))
    table, shuffled = reliability(p, up), reliability(p[order], up[order])
    np.testing.assert_allclose(table.to_numpy(), shuffled.to_numpy(), rtol=1e-12)
    assert table["n"].sum() == len(p)


def test_no_rows_have_no_error() -> None:
    table = reliability([], [])
    assert list(table.columns) == ["forecast", "observed", "n"]
    assert expected_calibration_error(table) is None
