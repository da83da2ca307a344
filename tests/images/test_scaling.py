"""Scaling is what it says, by hand and as scikit-learn does it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.preprocessing import minmax_scale

from gafcnn.images.scaling import RANGES, SCALINGS, scaled

SAMPLE = [[[1.0, 2.0, 4.0], [0.0, 8.0, -1.0]]]

batches = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.floats(-1e6, 1e6),
)


@pytest.mark.parametrize(
    ("scaling", "ends", "expected"),
    [
        ("per_field", (-1, 1), [[-1, -1 / 3, 1], [-7 / 9, 1, -1]]),
        ("per_field", (0, 1), [[0, 1 / 3, 1], [1 / 9, 1, 0]]),
        ("jointly", (-1, 1), [[-5 / 9, -1 / 3, 1 / 9], [-7 / 9, 1, -1]]),
        ("jointly", (0, 1), [[2 / 9, 3 / 9, 5 / 9], [1 / 9, 1, 0]]),
        ("fixed", (-1, 1), [[1 / 2, 2 / 3, 4 / 5], [0, 8 / 9, -1 / 2]]),
        ("fixed", (0, 1), [[3 / 4, 5 / 6, 9 / 10], [1 / 2, 17 / 18, 1 / 4]]),
    ],
)
def test_two_fields_by_hand(scaling: str, ends: tuple[int, int], expected: list) -> None:
    np.testing.assert_allclose(scaled(np.array(SAMPLE), 3, ends, scaling), [expected], rtol=1e-15)


def test_knots_are_means_before_they_are_scaled() -> None:
    series = np.array([[[0.0, 2.0, 7.0, 8.0, 9.0]]])
    np.testing.assert_array_equal(scaled(series, 2), [[[-1, 1]]])
    np.testing.assert_allclose(scaled(series, 2, scaling="fixed"), [[[1 / 2, 8 / 9]]])


@given(series=batches, ends=st.sampled_from(RANGES))
def test_extremes_become_the_ends_as_scikit_learn_has_them(
    series: NDArray[np.float64], ends: tuple[int, int]
) -> None:
    x = scaled(series, series.shape[2], ends)
    differ = np.ptp(series, axis=2) > 1e-9  # scikit-learn takes nearer ones for equal
    peers = [minmax_scale(sample, ends, axis=1) for sample in series]
    np.testing.assert_allclose(x[differ], np.array(peers)[differ], atol=1e-6)
    np.testing.assert_array_equal(x[np.ptp(series, axis=2) == 0], np.mean(ends))


@given(series=batches, ends=st.sampled_from(RANGES), scaling=st.sampled_from(SCALINGS))
def test_all_lies_within_the_range_and_in_its_order(
    series: NDArray[np.float64], ends: tuple[int, int], scaling: str
) -> None:
    x = scaled(series, series.shape[2], ends, scaling)
    assert ends[0] <= x.min() <= x.max() <= ends[1]
    order = np.argsort(series, axis=2, kind="stable")
    assert (np.diff(np.take_along_axis(x, order, axis=2), axis=2) >= 0).all()


@given(series=batches)
def test_fields_scaled_jointly_are_one_series_in_pieces(series: NDArray[np.float64]) -> None:
    n, fields, points = series.shape
    whole = scaled(series.reshape(n, 1, fields * points), fields * points)
    np.testing.assert_array_equal(
        scaled(series, points, scaling="jointly"), whole.reshape(series.shape)
    )


@pytest.mark.parametrize(("ends", "middle"), [((-1, 1), 0.0), ((0, 1), 0.5)])
def test_where_nothing_differs_and_what_is_0_lies_in_the_middle(
    ends: tuple[int, int], middle: float
) -> None:
    alike = np.full((1, 2, 4), 7.5)
    assert (scaled(alike, 4, ends) == middle).all()
    assert (scaled(alike, 4, ends, "jointly") == middle).all()
    beside = np.array([[[3.0, 3.0], [1.0, 5.0]]])  # constant, but not beside the other field
    np.testing.assert_array_equal(scaled(beside, 2, ends, "jointly")[0, 0], middle)
    beside[0, 0] = 5
    np.testing.assert_array_equal(scaled(beside, 2, ends, "jointly")[0, 0], ends[1])
    signs = np.array([[[-1.0, 0, 0, 1], [0, 0, 0, 100]]])
    assert (scaled(signs, 4, ends, "fixed")[signs == 0] == middle).all()
