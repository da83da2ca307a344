"""Integrated gradients, occlusion and Grad-CAM: by hand, against plain loops, and their errors."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from gafcnn.errors import ConfigError, ImagesError
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations import (
    _grad_cam,
    _log_odds,
    _occlusion,
    _pixel_attributions,
    by_bar,
    by_point,
    explain,
)
from gafcnn.models.module import GafModule

Series = NDArray[np.float64]
Make = Callable[..., GafModule]

SPEC = ImageSpec(32)
UP, DOWN = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)


def wrap(network: nn.Module, channels: int, size: int) -> GafModule:
    """Return a module around any network for images of this shape."""
    options = {"kind": "small_cnn", "channels": channels, "size": size}
    module = GafModule(options | {"multiples": [1], "strides": [1]})
    module.network = network
    return module.eval()


def constant(series: Series) -> Series:
    """The same series with each field at its mean."""
    return np.broadcast_to(series.mean(axis=-1, keepdims=True), series.shape)


def gain(module: GafModule, series: Series, spec: ImageSpec, classes: NDArray[np.int64]) -> Series:
    """The log-odds of series less those of constant ones."""
    images = (spec.shown(series), spec.shown(constant(series)))
    whole, without = (_log_odds(module, some, classes) for some in images)
    return whole - without


# --- integrated gradients -------------------------------------------------------------------------


def test_by_point_by_hand() -> None:
    """Half of a pixel goes to the point of its row, half to that of its column."""
    pixels = [[1.0, 2.0, 0.0], [4.0, 0.0, 8.0], [0.0, -6.0, 16.0]]
    np.testing.assert_array_equal(by_point(pixels, 3), [(3 + 5) / 2, (12 - 4) / 2, (10 + 24) / 2])
    # more pixels than points: centres at -0.25 (clamped to 0), 0.25, 0.75 and 1.25 (clamped to 1)
    pixels = np.zeros((4, 4))
    pixels[1, 3] = 8.0  # 4 to the row, three quarters of it to the first; 4 to the last
    np.testing.assert_array_equal(by_point(pixels, 2), [3.0, 5.0])
    # fewer pixels than points: segments of two and of three
    np.testing.assert_allclose(by_point([[0.0, 12.0], [0.0, 0.0]], 5), [3, 3, 2, 2, 2])


def point_weights(points: int, size: int) -> Series:
    """How much each point contributes to each row of pixels: shape (size, points)."""
    return by_point([np.diag(row) for row in np.eye(size)], points)


def test_point_weights_by_hand() -> None:
    # centres at -0.125 (clamped to 0), 0.625, 1.375 and 2.125 (clamped to 2)
    weights = [[1, 0, 0], [0.375, 0.625, 0], [0, 0.625, 0.375], [0, 0, 1]]
    np.testing.assert_array_equal(point_weights(3, 4), weights)
    weights = [[0.5, 0.5, 0, 0, 0], [0, 0, 1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_array_equal(point_weights(5, 2), weights)


@settings(max_examples=30)
@given(points=st.integers(2, 80), size=st.integers(1, 80), seed=st.integers(0, 99))
def test_point_weights_are_those_of_the_cosines(points: int, size: int, seed: int) -> None:
    series = np.random.default_rng(seed).normal(size=(1, 1, points)).cumsum(axis=2)
    weights = point_weights(points, size)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    cosines = ImageSpec(size, "float32").encode_polar(series)[0, 0, 0]
    seen = weights @ series[0, 0]
    # scaling by the extremes is linear
    slope, level = np.polyfit(seen, cosines, 1) if np.ptp(seen) > 1e-9 else (0.0, cosines.mean())
    np.testing.assert_allclose(slope * seen + level, cosines, atol=1e-5)


def test_attributions_of_bar_images_go_to_their_bars(random_network: Make) -> None:
    np.testing.assert_array_equal(by_bar(np.ones((9, 9)) * (np.arange(9) > 4), 2), [9, 27])
    prices = 5 + np.random.default_rng(0).uniform(0, 1, (1, 6, 10)).cumsum(axis=2)
    arguments = (random_network(0), prices, ImageSpec(32, kinds=("gasf", "ohlc")), UP)
    field, bars = _pixel_attributions(*arguments)[0]
    found = explain(*arguments).folded[0]
    np.testing.assert_allclose(found, by_point(field, 10) + by_bar(bars, 10))
    assert found.sum() == pytest.approx(field.sum() + bars.sum())


def test_points_add_up_to_the_gain_in_log_odds(trained: GafModule, walks: Series) -> None:
    series, classes = walks[:30], np.arange(30) % 2
    pixels = _pixel_attributions(trained, series, SPEC, classes)
    gained = gain(trained, series, SPEC, classes)
    assert np.abs(gained).mean() > 1
    np.testing.assert_allclose(by_point(pixels.sum(axis=1), 15).sum(axis=1), gained, atol=0.1)


def test_linear_network() -> None:
    """With a constant gradient, pixels get their weight times their change."""
    torch.manual_seed(0)
    weights = torch.randn(2, 8, 8)
    head = nn.Linear(128, 1)
    with torch.no_grad():
        head.weight[:] = weights.reshape(1, -1)
    module = wrap(nn.Sequential(nn.Flatten(), head), 2, 8)
    spec, series = ImageSpec(8), np.random.default_rng(0).normal(size=(5, 1, 12))
    change = spec.shown(series) - spec.shown(constant(series))
    found = _pixel_attributions(module, series, spec, np.ones(5, dtype=np.int64))
    np.testing.assert_allclose(found, change * weights.numpy(), atol=1e-5)
    down = _pixel_attributions(module, series, spec, np.zeros(5, dtype=np.int64))
    np.testing.assert_allclose(down, -found, atol=1e-6)


def test_several_classes(walks: Series, random_network: Make) -> None:
    module, spec, series = random_network(3, outputs=4), ImageSpec(32), walks[:9]
    found = explain(module, series, spec)
    p = module.probabilities(torch.from_numpy(spec.shown(series))).double().numpy()
    np.testing.assert_array_equal(found.classes, p.argmax(axis=1))
    of_it = p.max(axis=1)
    np.testing.assert_allclose(found.log_odds, np.log(of_it / (1 - of_it)), atol=1e-5)
    gained = gain(module, series, spec, found.classes)
    np.testing.assert_allclose(found.folded.sum(axis=1), gained, atol=0.01)


def test_the_network_is_unchanged(random_network: Make, walks: Series) -> None:
    module = random_network(0).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    first, again = (explain(module, walks[:9], SPEC).folded for _ in range(2))
    np.testing.assert_array_equal(first, again)  # no dropout
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


# --- occlusion ------------------------------------------------------------------------------------


class Corner(nn.Module):
    """Sums the first pixel of all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, 0, 0].sum(dim=1, keepdim=True)


def test_occlusion_by_hand() -> None:
    """The logit is GASF[0, 0] = 2 x_0^2 - 1.

    The series 0, 3, 1, 4 is scaled to -1, 1/2, -1/2, 1, so the logit is 1. If the first point is
    hidden, it is 3 and the lowest is 1: x_0 = 1/3. If any other is hidden, it stays the lowest.
    """
    module, spec = wrap(Corner(), 1, 4), ImageSpec(4, "float32", kinds=("gasf",))
    series = np.array([[[0.0, 3.0, 1.0, 4.0]]])
    found = _occlusion(module, series, spec, UP)
    np.testing.assert_allclose(found, [[1 - (2 / 9 - 1), 0, 0, 0]], atol=1e-6)
    down = _occlusion(module, series, spec, DOWN)
    np.testing.assert_array_equal(down, -found)


def test_occlusion_of_constant_series(random_network: Make) -> None:
    found = _occlusion(random_network(0), np.full((2, 1, 15), 600.1), SPEC, np.zeros(2, np.int64))
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_occlusion_against_a_plain_loop(random_network: Make) -> None:
    """np.interp holds the value of the only neighbour at the ends."""
    module, spec = random_network(1, channels=4), ImageSpec(32, fields=("open", "close"))
    series = np.random.default_rng(0).normal(600, 1, (3, 2, 15))
    classes = np.array([0, 1, 1])
    whole = _log_odds(module, spec.shown(series), classes)
    lost, count = np.zeros((3, 15)), np.zeros(15)
    for start in range(13):
        without = series.copy()
        kept = np.setdiff1d(np.arange(15), [start, start + 1, start + 2])
        for sample, field in np.ndindex(3, 2):
            own = series[sample, field]
            without[sample, field] = np.interp(np.arange(15), kept, own[kept])
        change = whole - _log_odds(module, spec.shown(without), classes)
        lost[:, start : start + 3] += change[:, None]
        count[start : start + 3] += 1
    found = _occlusion(module, series, spec, classes, run=3)
    np.testing.assert_allclose(found, lost / count, atol=1e-5)


def test_occlusion_in_batches(random_network: Make, walks: Series) -> None:
    module, classes = random_network(2), np.zeros(40, np.int64)
    together = _occlusion(module, walks[:40], SPEC, classes)
    alone = [_occlusion(module, walks[k : k + 1], SPEC, classes[:1])[0] for k in (0, 17, 39)]
    np.testing.assert_allclose(together[[0, 17, 39]], alone, atol=1e-5)


# --- Grad-CAM -------------------------------------------------------------------------------------


class TwoMaps(nn.Module):
    """Two maps of 2 x 2, the image and -2 times the image; a linear head over both."""

    def __init__(self) -> None:
        super().__init__()
        self.cam_layer, self.head = nn.Conv2d(1, 2, 1, bias=False), nn.Linear(8, 1)
        with torch.no_grad():
            self.cam_layer.weight[:] = torch.tensor([1.0, -2.0]).reshape(2, 1, 1, 1)
            self.head.weight[:] = torch.tensor([[4.0, 0, 0, 0, 0, 2.0, 2.0, 0]])

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.cam_layer(images).flatten(1))


def test_grad_cam_by_hand() -> None:
    """Mean gradients are 1 and 1, so the sum of maps is A - 2 A = -A; negative cells are 0."""
    image = np.array([[[[0.5, -0.25], [1.0, -1.0]]]], dtype=np.float32)
    module = wrap(TwoMaps(), 1, 2)
    np.testing.assert_allclose(_grad_cam(module, image, UP), [[[0, 0.25], [0, 1.0]]])
    np.testing.assert_allclose(_grad_cam(module, image, DOWN), [[[0.5, 0], [1.0, 0]]])


@pytest.mark.parametrize("freeze", [["layer1"], ["conv1", "bn1", "layer1", "layer2"]])
def test_grad_cam_of_resnet18(freeze: list[str]) -> None:
    """The layers before may be frozen."""
    torch.manual_seed(0)
    network = {"kind": "resnet18", "channels": 2, "outputs": 1, "size": 64, "freeze": freeze}
    module = GafModule(network).eval()
    image = ImageSpec(64).shown(np.random.default_rng(0).normal(size=(1, 1, 30)).cumsum(axis=2))
    found = _grad_cam(module, image, UP) + _grad_cam(module, image, DOWN)
    assert found.shape == (1, 8, 8)
    assert found.max() > 0


def test_a_network_without_cam_layer() -> None:
    spec = ImageSpec(4, kinds=("gasf",))
    found = explain(wrap(Corner(), 1, 4), [[[1.0, 2.0, 4.0]]], spec)
    assert found.cam is None
    assert found.folded.shape == found.occluded.shape == (1, 3)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 2, 32, 31), (0, 2, 32, 32)])
def test_images_of_another_shape(shape: tuple[int, ...], random_network: Make) -> None:
    with pytest.raises(ImagesError, match=r"expected \(n, 2, 32, 32\)"):
        _log_odds(random_network(0), np.zeros(shape, np.float32), np.zeros(shape[0], np.int64))


@pytest.mark.parametrize("classes", [[7], [-1], [0, 1], [0.5]])
def test_classes_that_do_not_exist(classes: list[float]) -> None:
    module, spec = wrap(Corner(), 1, 4), ImageSpec(4, "float32", kinds=("gasf",))
    with pytest.raises(ConfigError, match="1 numbers from 0 to 1"):
        explain(module, [[[0.0, 3.0, 1.0, 4.0]]], spec, np.array(classes))


@pytest.mark.parametrize(("run", "points"), [(0, 15), (15, 15), (2.5, 15), (1, 1)])
def test_runs_have_to_leave_a_point(
    random_network: Make, walks: Series, run: int, points: int
) -> None:
    with pytest.raises(ConfigError, match=f"run is {run} for windows of {points} points"):
        explain(random_network(0), walks[:2, :, :points], SPEC, run=run)


def test_without_captum(
    random_network: Make, walks: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.delitem(sys.modules, "captum.attr", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'gafcnn\[explain\]'"):
        explain(random_network(0), walks[:2], SPEC)
