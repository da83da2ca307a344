"""Which points a pixel is of, against the images themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.errors import ImagesError
from gafcnn.images.encoding import encode_polar, point_weights
from gafcnn.images.spec import ImageSpec


def test_three_points_at_four_pixels_by_hand() -> None:
    """Centres at -0.125 (held at 0), 0.625, 1.375 and 2.125 (held at 2)."""
    shares = [[1, 0, 0], [0.375, 0.625, 0], [0, 0.625, 0.375], [0, 0, 1]]
    np.testing.assert_array_equal(point_weights(3, 4), shares)


def test_five_points_at_two_pixels_by_hand() -> None:
    half, third = 1 / 2, 1 / 3
    shares = [[half, half, 0, 0, 0], [0, 0, third, third, third]]
    np.testing.assert_array_equal(point_weights(5, 2), shares)


@given(points=st.integers(2, 80), size=st.integers(1, 80), seed=st.integers(0, 99))
def test_they_are_those_by_which_the_cosines_are_seen(points: int, size: int, seed: int) -> None:
    series = np.random.default_rng(seed).normal(size=(1, 1, points)).cumsum(axis=2)
    weights = point_weights(points, size)
    assert weights.shape == (size, points)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    cosines = encode_polar(series, size)[0, 0, 0]
    seen = weights @ series[0, 0]
    # scaling by the extremes keeps straight lines, whichever the extremes are
    slope, level = np.polyfit(seen, cosines, 1) if np.ptp(seen) > 1e-9 else (0.0, cosines.mean())
    np.testing.assert_allclose(slope * seen + level, cosines, atol=1e-5)


def test_there_is_no_image_without_a_size() -> None:
    with pytest.raises(ImagesError, match=r"^the image size is 0; expected a whole number"):
        point_weights(15, 0)


def test_a_network_is_shown_images_as_they_are_stored() -> None:
    series = np.random.default_rng(0).normal(size=(3, 1, 15))
    stored = ImageSpec(16).encode(series)
    shown = ImageSpec(16).shown(series)
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(np.rint(shown * 127), stored)
    assert np.abs(shown).max() <= 1
