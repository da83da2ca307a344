"""Attributions to pixels add up, and folding them loses nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gafcnn.errors import ImagesError
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations.forward import called, log_odds
from gafcnn.models.explanations.pixels import by_point, pixel_attributions, standing_still
from gafcnn.models.module import GafModule

Series = NDArray[np.float64]
Make = Callable[..., GafModule]


def test_three_points_by_hand() -> None:
    """A pixel for each point: half of a pixel to its row's point, half to its column's."""
    pixels = [[1.0, 2.0, 0.0], [4.0, 0.0, 8.0], [0.0, -6.0, 16.0]]
    np.testing.assert_array_equal(by_point(pixels, 3), [(3 + 5) / 2, (12 - 4) / 2, (10 + 24) / 2])


def test_a_pixel_between_two_points_is_of_both_by_nearness() -> None:
    """Two points at four pixels: centres at -0.25 (held at 0), 0.25, 0.75 and 1.25 (held at 1)."""
    pixels = np.zeros((4, 4))
    pixels[1, 3] = 8.0  # 4 to the row, three quarters of it to the first; 4 to the last
    np.testing.assert_array_equal(by_point(pixels, 2), [3.0, 5.0])


def test_a_pixel_of_a_segment_is_of_all_its_points_alike() -> None:
    """Five points at two pixels: segments of two and of three."""
    pixels = np.array([[0.0, 12.0], [0.0, 0.0]])
    np.testing.assert_allclose(by_point(pixels, 5), [3, 3, 2, 2, 2])


@given(points=st.integers(2, 70), size=st.integers(1, 70), seed=st.integers(0, 99))
def test_the_fold_keeps_the_sum(points: int, size: int, seed: int) -> None:
    maps = np.random.default_rng(seed).normal(size=(2, 3, size, size))
    folded = by_point(maps, points)
    assert folded.shape == (2, 3, points)
    np.testing.assert_allclose(folded.sum(axis=-1), maps.sum(axis=(-2, -1)), atol=1e-9)
    np.testing.assert_allclose(by_point(maps.swapaxes(-1, -2), points), folded, atol=1e-12)


def test_points_get_the_log_odds_that_the_image_has_over_standing_still(
    trained: GafModule, walks: Series, spec: ImageSpec
) -> None:
    images, still = spec.shown(walks[:30]), standing_still(walks[:30], spec)
    classes = called(trained, images)
    pixels = pixel_attributions(trained, images, still, classes)
    gained = log_odds(trained, images, classes) - log_odds(trained, still, classes)
    assert np.abs(gained).mean() > 1
    np.testing.assert_allclose(by_point(pixels.sum(axis=1), 15).sum(axis=1), gained, atol=0.1)


def test_a_linear_network_gives_each_pixel_its_weight_times_its_change() -> None:
    """Where gradients are the same all the way, integrated gradients are no estimate."""
    module = GafModule({"name": "small_cnn", "channels": 2, "size": 8, "width": 1, "multiples": [1]}
                       | {"strides": [8]})  # fmt: skip
    torch.manual_seed(0)
    weights = torch.randn(2, 8, 8)
    head = torch.nn.Linear(128, 1)
    with torch.no_grad():
        head.weight[:] = weights.reshape(1, -1)
    module.network = torch.nn.Sequential(torch.nn.Flatten(), head)
    spec, series = ImageSpec(8), np.random.default_rng(0).normal(size=(5, 1, 12))
    images, still = spec.shown(series), standing_still(series, spec)
    found = pixel_attributions(module, images, still, np.ones(5, dtype=np.int64))
    np.testing.assert_allclose(found, (images - still) * weights.numpy(), atol=1e-5)
    down = pixel_attributions(module, images, still, np.zeros(5, dtype=np.int64))
    np.testing.assert_allclose(down, -found, atol=1e-6)


@pytest.mark.parametrize("scaling", ["per_field", "jointly", "fixed"])
def test_what_stands_still_has_no_moment_apart_from_another(scaling: str) -> None:
    """Though segments differ in length, and levels are no round numbers."""
    spec = ImageSpec(9, "float32", ("open", "close"), scaling=scaling)
    series = np.random.default_rng(0).normal([[[0.1], [0.7]]], 0.3, (20, 2, 31))
    still = standing_still(series, spec)
    np.testing.assert_array_equal(still, np.broadcast_to(still[..., :1, :1], still.shape))


def test_of_several_classes_the_one_called_is_explained(
    walks: Series, random_network: Make
) -> None:
    module, spec = random_network(3, outputs=4), ImageSpec(32)
    images, still = spec.shown(walks[:9]), standing_still(walks[:9], spec)
    classes = called(module, images)
    with torch.no_grad():
        p = module.task.probabilities(module(torch.from_numpy(images))).double().numpy()
    np.testing.assert_array_equal(classes, p.argmax(axis=1))
    of_it = p.max(axis=1)
    np.testing.assert_allclose(
        log_odds(module, images, classes), np.log(of_it / (1 - of_it)), atol=1e-5
    )
    pixels = pixel_attributions(module, images, still, classes)
    gained = log_odds(module, images, classes) - log_odds(module, still, classes)
    np.testing.assert_allclose(pixels.sum(axis=(1, 2, 3)), gained, atol=0.01)


def test_a_network_is_left_as_it_was(random_network: Make, walks: Series, spec: ImageSpec) -> None:
    module = random_network(0).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    images, still = spec.shown(walks[:9]), standing_still(walks[:9], spec)
    classes = called(module, images)
    first, again = (pixel_attributions(module, images, still, classes) for _ in range(2))
    np.testing.assert_array_equal(first, again)  # no dropout
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


def test_images_of_another_shape_are_refused(random_network: Make) -> None:
    told = (
        r"^the images are of shape \(2, 1, 32, 32\); expected \(n, 2, 32, 32\), as the network was "
    )
    with pytest.raises(ImagesError, match=told):
        called(random_network(0), np.zeros((2, 1, 32, 32), np.float32))
    with pytest.raises(ImagesError, match=r"^the images are of shape \(0, 2, 32, 32\)"):
        called(random_network(0), np.zeros((0, 2, 32, 32), np.float32))


@pytest.mark.parametrize("shape", [(32,), (2, 32, 31)])
def test_maps_that_are_not_square_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImagesError, match=r"^maps of shape .*; expected \(\.\.\., size, size\)"):
        by_point(np.zeros(shape), 15)
