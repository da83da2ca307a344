from __future__ import annotations

from typing import Any

import pytest
import torch

from gafcnn.errors import GafcnnError
from gafcnn.models.module import GafModule
from gafcnn.models.networks import NETWORKS, build_network, register_network, training_defaults
from gafcnn.models.small_cnn import SmallCNN


@pytest.mark.parametrize(("width", "least", "most"), [(6, 2_000, 3_000), (32, 50_000, 100_000)])
def test_the_width_of_small_cnn_sets_its_parameters(width: int, least: int, most: int) -> None:
    count = sum(p.numel() for p in SmallCNN(width=width).parameters())
    assert least <= count <= most


@pytest.mark.parametrize("size", [8, 15, 32, 64])
def test_small_cnn_accepts_any_size_from_eight(size: int) -> None:
    network = build_network("small_cnn", channels=3, outputs=2, size=size)
    assert network(torch.zeros(5, 3, size, size)).shape == (5, 2)


def test_an_even_kernel_removes_a_pixel() -> None:
    """The network of Chen and Tsai (2020): 10 pixels, 16 filters twice, 128 hidden units."""
    network = SmallCNN(4, 9, 10, 16, multiples=[1, 1], strides=[1, 1], kernel=2, hidden=128)
    assert network.features(torch.zeros(3, 4, 10, 10)).shape == (3, 16, 8, 8)
    weights = 4 * 16 * 4 + 16 * 16 * 4 + 4 * 16  # kernels, BatchNorm
    assert sum(p.numel() for p in network.parameters()) == weights + 1025 * 128 + 129 * 9


def test_small_cnn_sees_positions() -> None:
    """With global pooling both images would have the same logit."""
    torch.manual_seed(0)
    network = SmallCNN().eval()
    here, there = torch.zeros(2, 1, 2, 64, 64)
    here[..., :16, :16] = 1
    there[..., 32:48, 32:48] = 1
    assert not torch.allclose(network(here), network(there))


@pytest.mark.parametrize(
    ("kind", "options", "found"),
    [
        ("resnet19", {}, "resnet19"),
        ("small_cnn", {"depth": 3}, "depth"),
        ("small_cnn", {"size": 4}, "images.size=4"),
        ("small_cnn", {"size": 2, "multiples": [1, 1], "strides": [1, 1], "kernel": 2}, "size=2"),
        ("small_cnn", {"multiples": [1, 2]}, "small_cnn"),
        ("small_cnn", {"strides": [2, 0, 2]}, "small_cnn"),
        ("small_cnn", {"width": "wide"}, "small_cnn"),
    ],
)
def test_invalid_options_are_named(kind: str, options: dict[str, Any], found: str) -> None:
    with pytest.raises(GafcnnError, match=found):
        build_network(kind, **options)


def test_own_networks_are_registered_with_their_training_defaults() -> None:
    @register_network("linear", lr=0.5, batch_size=8)
    def linear(channels: int, outputs: int, size: int, bias: bool = True) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(channels * size**2, outputs, bias=bias)
        )

    assert training_defaults("linear") == {"lr": 0.5, "weight_decay": 0.05, "batch_size": 8}
    module = GafModule({"kind": "linear", "channels": 2, "outputs": 1, "size": 4, "bias": False})
    assert module(torch.zeros(3, 2, 4, 4)).tolist() == [0, 0, 0]
    assert {"small_cnn", "resnet18", "linear"} <= set(NETWORKS)
    assert training_defaults("resnet18") == {"lr": 1e-4, "weight_decay": 1e-5, "batch_size": 64}
