"""Grad-CAM is what its paper says, at the layer that a network names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from gafcnn.errors import LearningError
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations.cam import grad_cam
from gafcnn.models.explanations.explain import explain
from gafcnn.models.module import GafModule

Series = NDArray[np.float64]
Make = Callable[..., GafModule]

UP, DOWN = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)


@pytest.fixture
def by_hand() -> GafModule:
    """Two maps of 2 x 2, which are the image and twice its negative; a head over all eight."""
    module = GafModule({"name": "small_cnn", "channels": 1, "size": 2, "multiples": [1],
                        "strides": [1]})  # fmt: skip
    maps, head = nn.Conv2d(1, 2, 1, bias=False), nn.Linear(8, 1)
    with torch.no_grad():
        maps.weight[:] = torch.tensor([1.0, -2.0]).reshape(2, 1, 1, 1)
        head.weight[:] = torch.tensor([[4.0, 0, 0, 0, 0, 2.0, 2.0, 0]])
    module.network = nn.Sequential(maps, nn.Flatten(), head)
    return module.eval()


def test_by_hand(by_hand: GafModule) -> None:
    """Mean gradients are 1 and 1, so the sum of maps is A - 2 A = -A; what is below 0 is none."""
    image = np.array([[[[0.5, -0.25], [1.0, -1.0]]]], dtype=np.float32)
    layer = next(by_hand.network.children())
    np.testing.assert_allclose(grad_cam(by_hand, image, UP, layer), [[[0, 0.25], [0, 1.0]]])
    np.testing.assert_allclose(grad_cam(by_hand, image, DOWN, layer), [[[0.5, 0], [1.0, 0]]])


def test_it_agrees_with_gradients_that_torch_takes(
    trained: GafModule, walks: Series, spec: ImageSpec
) -> None:
    images = torch.from_numpy(spec.shown(walks[:6]))
    maps = trained.network.features(images.contiguous(memory_format=torch.channels_last))
    (gradient,) = torch.autograd.grad(trained.network.head(maps).sum(), maps)
    weighed = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).relu()
    found = grad_cam(trained, images.numpy(), np.ones(6, np.int64))
    np.testing.assert_allclose(found, weighed.detach(), atol=1e-5)


@pytest.mark.parametrize("freeze", [["layer1"], ["conv1", "bn1", "layer1", "layer2"]])
def test_resnet18_is_looked_at_where_it_has_8_by_8_maps(freeze: list[str]) -> None:
    """Whether or not anything before them learns."""
    torch.manual_seed(0)
    network = {"name": "resnet18", "channels": 2, "outputs": 1, "size": 64, "freeze": freeze}
    module = GafModule(network).eval()
    image = ImageSpec(64).shown(np.random.default_rng(0).normal(size=(1, 1, 30)).cumsum(axis=2))
    found = grad_cam(module, image, UP) + grad_cam(module, image, DOWN)
    assert found.shape == (1, 8, 8)
    assert found.max() > 0
    assert grad_cam(module, image, UP, module.network.layer4).shape == (1, 2, 2)


def test_a_network_that_names_no_layer_is_explained_without(
    by_hand: GafModule, random_network: Make
) -> None:
    spec = ImageSpec(2, kinds=("gasf",))
    found = explain(by_hand, [[[1.0, 2.0, 4.0]]], spec)
    assert found.cam is None
    assert found.folded.shape == found.occluded.shape == (1, 3)
    with pytest.raises(
        LearningError, match=r"^Sequential names no layer for Grad-CAM; expected a "
    ):
        grad_cam(by_hand, spec.shown([[[1.0, 2.0, 4.0]]]), UP)
