"""Registered kinds: those of pyts, and a user's own."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from gafcnn.errors import ConfigError, ImagesError
from gafcnn.images import IMAGE_KINDS, ImageSpec, encode, register_image

Floats = NDArray[np.float64]
PYTS = ["markov", "recurrence"]

pytestmark = pytest.mark.usefixtures("pyts_image")


def walks(n: int, points: int, seed: int = 0) -> Floats:
    return 600 + np.random.default_rng(seed).normal(size=(n, points)).cumsum(axis=1)


def resized(pictures: Floats, size: int) -> Floats:
    images = torch.from_numpy(pictures)[:, None]
    return interpolate(images, (size, size), mode="bilinear", align_corners=False)[:, 0].numpy()


# --- kinds of pyts --------------------------------------------------------------------------------


def test_three_points_by_hand() -> None:
    # 1, 2 and 4 are 1, 2 and 3 of 3 apart; each is in a quartile of its own
    images = encode([[1.0, 2.0, 4.0]], 3, kinds=["recurrence", "markov"])
    plot = [[-1, -1 / 3, 1], [-1 / 3, -1, 1 / 3], [1, 1 / 3, -1]]
    np.testing.assert_allclose(images[0, 0], plot, atol=1e-6)
    np.testing.assert_allclose(images[0, 1], [[-1, 1, -1], [-1, -1, 1], [-1, -1, -1]], atol=1e-6)


@pytest.mark.parametrize(("points", "size"), [(30, 30), (15, 32), (64, 16), (65, 16)])
@pytest.mark.parametrize("scaling", ["per_field", "fixed"])
def test_markov(points: int, size: int, scaling: str, pyts_image: ModuleType) -> None:
    series = walks(5, points)
    fields = pyts_image.MarkovTransitionField(min(points, size), n_bins=4).transform(series)
    expected = 2 * resized(fields, size) - 1
    for ends in ((-1, 1), (0, 1)):
        images = encode(series, size, kinds=["markov"], range=ends, scaling=scaling)
        np.testing.assert_allclose(images[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("points", "size"), [(30, 30), (15, 32), (64, 16)])
def test_recurrence(points: int, size: int, pyts_image: ModuleType) -> None:
    series = walks(5, points)
    means = series.reshape(5, min(points, size), -1).mean(axis=2)
    plots = pyts_image.RecurrencePlot().transform(means)
    expected = 2 * resized(plots / plots.max(axis=(1, 2), keepdims=True), size) - 1
    for ends in ((-1, 1), (0, 1)):
        images = encode(series, size, kinds=["recurrence"], range=ends)
        np.testing.assert_allclose(images[:, 0], expected, atol=1e-5)


def test_recurrence_with_fixed_scaling_by_hand() -> None:
    images = encode([[0.0, 1.0, -1.0]], 3, kinds=["recurrence"], scaling="fixed")
    # 0, 1/2 and -1/2 of a range of 2
    np.testing.assert_allclose(images[0, 0, 0], [-1, -0.5, -0.5])
    np.testing.assert_allclose(images[0, 0, 1], [-0.5, -1, 0])


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_order_of_kinds(dtype: str) -> None:
    series = np.stack([walks(3, 12, seed) for seed in range(2)], axis=1)
    kinds = ["markov", "gadf", "recurrence", "gasf"]
    images = encode(series, 16, dtype, kinds=kinds)
    assert images.dtype == dtype
    for place, (field, kind) in enumerate((f, k) for f in range(2) for k in kinds):
        alone = encode(series[:, field], 16, dtype, kinds=[kind])
        np.testing.assert_array_equal(images[:, place], alone[:, 0])


def test_equal_values_give_an_image_without_a_warning() -> None:
    series = [[2.0] * 12, [0.0, 1.0] * 6, [-1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]
    images = encode(series, 12, "int8", kinds=PYTS)
    assert (images[0, 0] == 127).all(), "a constant is always followed by itself"
    assert (images[0, 1] == -127).all()
    np.testing.assert_array_equal(images[1, 1, 0], [-127, 127] * 6)


def test_images_are_independent() -> None:
    series = walks(300, 8)  # more than one block
    images = encode(series, 8, kinds=PYTS)
    for n in (0, 255, 256, 299):
        np.testing.assert_array_equal(encode(series[n : n + 1], 8, kinds=PYTS)[0], images[n])


def test_the_smallest_series_and_images() -> None:
    np.testing.assert_array_equal(encode([[5.0]], 2, kinds=PYTS), np.full((1, 2, 2, 2), -1))
    # two points in one pixel: one of four pairs follows; their mean is 0 from itself
    np.testing.assert_array_equal(encode([[1.0, 3.0]], 1, kinds=PYTS), [[[[-0.5]], [[-1.0]]]])


# --- a user's own ---------------------------------------------------------------------------------


@pytest.fixture
def register() -> Iterator[Any]:
    """`register_image`, undone after the test."""
    before = dict(IMAGE_KINDS)
    yield register_image
    IMAGE_KINDS._found.clear()
    IMAGE_KINDS._found.update(before)


def test_own_kind(register: Any) -> None:
    calls = []

    @register("columns")
    def columns(series: Floats, size: int) -> Floats:
        calls.append((series.shape, series.min(), series.max(), size))
        return np.broadcast_to(series[:, None], (len(series), series.shape[1], series.shape[1]))

    series = walks(3, 10)
    images = encode(series, 20, kinds=["gasf", "columns"], range=(0, 1))
    assert calls == [((3, 10), 0, 1, 20)]
    x = (series - series.min(1, keepdims=True)) / np.ptp(series, axis=1, keepdims=True)
    expected = resized(np.repeat(x[:, None], 10, axis=1), 20)
    np.testing.assert_allclose(images[:, 1], expected, atol=1e-6)
    alone = encode(series, 20, kinds=["gasf"], range=(0, 1))
    np.testing.assert_array_equal(images[:, 0], alone[:, 0])
    spec = ImageSpec(20, kinds=("columns",), range=(0, 1))
    assert not spec.outer_products
    np.testing.assert_allclose(spec.shown(series[:, None])[:, 0], expected, atol=0.51 / 127)


@pytest.mark.parametrize("average", [True, False])
def test_averages_for_more_points_than_pixels(average: bool, register: Any) -> None:
    @register("corner", average=average, range=(-1, 1))
    def corner(series: Floats, size: int) -> Floats:
        assert series.shape == (2, 8 if average else 40)
        assert series.min() == -1
        return np.zeros((len(series), size, size))

    assert not encode(walks(2, 40), 8, kinds=["corner"], range=(0, 1)).any()


@pytest.mark.parametrize(
    ("draw", "fact"),
    [
        (lambda series, size: np.zeros((len(series), size)), r"shape \(3, 8\)"),
        (lambda series, size: np.zeros((len(series), size, size + 1)), r"shape \(3, 8, 9\)"),
        (lambda series, size: np.zeros((1, size, size)), r"shape \(1, 8, 8\)"),
        (lambda series, size: np.full((len(series), size, size), 1.5), "1.5"),
        (lambda series, size: np.full((len(series), size, size), np.nan), "nan"),
    ],
)
def test_own_kind_that_returns_no_images(draw: Any, fact: str, register: Any) -> None:
    register("wrong")(draw)
    with pytest.raises(ImagesError, match=f"'wrong'.*{fact}"):
        encode(walks(3, 8), 8, kinds=["wrong"])


def test_a_name_is_registered_once(register: Any) -> None:
    for _ in range(2):  # as a notebook cell that runs twice
        register("mine")(lambda series, size: np.zeros((len(series), size, size)))
    with pytest.raises(ConfigError, match="'gasf'"):
        register("gasf")(lambda series, size: np.zeros((len(series), size, size)))
