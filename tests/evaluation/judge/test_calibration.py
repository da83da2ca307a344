"""Calibration: by hand, equal to scikit-learn's curve, and independent of the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.calibration import calibration_curve

from gafcnn.evaluation.statistics import bins_of, expected_calibration_error

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


def test_agreement_with_scikit_learn() -> None:
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
