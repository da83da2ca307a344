"""Pictures that pyts makes are those of pyts, at the images' size and scale."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from gafcnn.images.encoding import encode

pytestmark = pytest.mark.usefixtures("pyts_image")


def walks(n: int, points: int, seed: int = 0) -> np.ndarray:
    return 600 + np.random.default_rng(seed).normal(size=(n, points)).cumsum(axis=1)


def resized(pictures: np.ndarray, size: int) -> np.ndarray:
    as_torch = torch.from_numpy(pictures)[:, None]
    return interpolate(as_torch, (size, size), mode="bilinear", align_corners=False)[:, 0].numpy()


def test_three_points_by_hand() -> None:
    # 1, 2, 4: apart by 1, 2 and 3 of 3
    plot = [[-1, -1 / 3, 1], [-1 / 3, -1, 1 / 3], [1, 1 / 3, -1]]
    images = encode([[1.0, 2.0, 4.0]], 3, kinds=["recurrence", "markov"])
    np.testing.assert_allclose(images[0, 0], plot, atol=1e-6)
    # each in a quartile of its own: the first is followed by the second, that by the third
    np.testing.assert_allclose(images[0, 1], [[-1, 1, -1], [-1, -1, 1], [-1, -1, -1]], atol=1e-6)


@pytest.mark.parametrize(("points", "size"), [(30, 30), (15, 32), (64, 16), (65, 16)])
def test_markov_transition_fields_are_those_of_pyts(
    points: int, size: int, pyts_image: ModuleType
) -> None:
    series = walks(5, points)
    fields = pyts_image.MarkovTransitionField(min(points, size), n_bins=4).transform(series)
    expected = 2 * resized(fields, size) - 1
    for ends in ((-1, 1), (0, 1)):
        images = encode(series, size, kinds=["markov"], range=ends)
        np.testing.assert_allclose(images[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("points", "size"), [(30, 30), (15, 32), (64, 16)])
def test_recurrence_plots_are_those_of_pyts(points: int, size: int, pyts_image: ModuleType) -> None:
    series = walks(5, points)
    means = series.reshape(5, min(points, size), -1).mean(axis=2)
    plots = pyts_image.RecurrencePlot().transform(means)
    expected = 2 * resized(plots / plots.max(axis=(1, 2), keepdims=True), size) - 1
    for ends in ((-1, 1), (0, 1)):
        images = encode(series, size, kinds=["recurrence"], range=ends)
        np.testing.assert_allclose(images[:, 0], expected, atol=1e-5)


def test_a_fixed_scaling_counts_distances_in_the_whole_range() -> None:
    images = encode([[0.0, 1.0, -1.0]], 3, kinds=["recurrence"], scaling="fixed")
    # 0, 1/2 and -1/2 of a range of 2
    np.testing.assert_allclose(images[0, 0, 0], [-1, -0.5, -0.5])
    np.testing.assert_allclose(images[0, 0, 1], [-0.5, -1, 0])


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_they_stand_beside_gramian_angular_fields_in_the_order_asked_for(dtype: str) -> None:
    series = np.stack([walks(3, 12, seed) for seed in range(2)], axis=1)
    kinds = ["markov", "gadf", "recurrence", "gasf"]
    images = encode(series, 16, dtype, kinds=kinds)
    assert images.shape == (3, 8, 16, 16)
    assert images.dtype == dtype
    for place, (field, kind) in enumerate((f, k) for f in range(2) for k in kinds):
        alone = encode(series[:, field], 16, dtype, kinds=[kind])
        np.testing.assert_array_equal(images[:, place], alone[:, 0])


def test_equal_values_are_a_picture_and_no_warning() -> None:
    series = [[2.0] * 12, [0.0, 1.0] * 6, [-1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]
    images = encode(series, 12, "int8", kinds=["markov", "recurrence"])
    assert (images[0, 0] == 127).all(), "what never changes always follows itself"
    # no distance; the range's middle is as far from nothing as nothing is
    assert (images[0, 1] == -127).all()
    np.testing.assert_array_equal(images[1, 1, 0], [-127, 127] * 6)


def test_neither_the_level_nor_the_scale_of_prices_matters() -> None:
    series = walks(4, 20)
    kinds = ["markov", "recurrence"]
    images = encode(series, 20, kinds=kinds)
    np.testing.assert_array_equal(images, encode(series * 2.0**-40, 20, kinds=kinds))


def test_a_picture_does_not_depend_on_the_others() -> None:
    series = walks(300, 8)  # more than are made at a time
    images = encode(series, 8, kinds=["markov", "recurrence"])
    for n in (0, 255, 256, 299):
        np.testing.assert_array_equal(
            encode(series[n : n + 1], 8, kinds=["markov", "recurrence"])[0], images[n]
        )


def test_the_smallest_series_and_images_are_pictures() -> None:
    kinds = ["markov", "recurrence"]
    # of a single point nothing is known to follow, and it is apart from nothing
    np.testing.assert_array_equal(encode([[5.0]], 2, kinds=kinds), np.full((1, 2, 2, 2), -1))
    # two points a pixel: one of four pairs is seen to follow; their mean is apart from nothing
    np.testing.assert_array_equal(encode([[1.0, 3.0]], 1, kinds=kinds), [[[[-0.5]], [[-1.0]]]])
    assert encode([[1.0, 3.0]], np.int64(2), "int8", kinds=kinds).shape == (1, 2, 2, 2)
