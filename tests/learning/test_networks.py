from __future__ import annotations

import pytest
import torch

from gafcnn.errors import LearningError
from gafcnn.models.networks import build_network, start_from
from gafcnn.models.small_cnn import SmallCNN


@pytest.mark.parametrize(("width", "least", "most"), [(6, 2_000, 3_000), (32, 50_000, 100_000)])
def test_small_cnn_has_as_many_parameters_as_its_width_asks_for(
    width: int, least: int, most: int
) -> None:
    count = sum(p.numel() for p in SmallCNN(width=width).parameters())
    assert least <= count <= most


@pytest.mark.parametrize("size", [8, 15, 32, 64])
def test_small_cnn_takes_any_size_from_eight(size: int) -> None:
    network = build_network("small_cnn", channels=3, outputs=2, size=size)
    assert network(torch.zeros(5, 3, size, size)).shape == (5, 2)


def test_two_by_two_convolutions_without_a_stride_take_a_pixel_off_each() -> None:
    """The network of Chen and Tsai (2020): 10 pixels, 16 filters twice, 128 hidden units."""
    network = SmallCNN(4, 9, 10, 16, multiples=[1, 1], strides=[1, 1], kernel=2, hidden=128)
    assert network.features(torch.zeros(3, 4, 10, 10)).shape == (3, 16, 8, 8)
    weights = 4 * 16 * 4 + 16 * 16 * 4 + 4 * 16  # kernels, BatchNorm
    assert sum(p.numel() for p in network.parameters()) == weights + 1025 * 128 + 129 * 9


def test_small_cnn_knows_where_a_thing_stands() -> None:
    """A network that pooled everything away would give both the same logit."""
    torch.manual_seed(0)
    network = SmallCNN().eval()
    here, there = torch.zeros(2, 1, 2, 64, 64)
    here[..., :16, :16] = 1
    there[..., 32:48, 32:48] = 1
    assert not torch.allclose(network(here), network(there))


def test_what_cannot_be_built_is_said_in_one_sentence() -> None:
    with pytest.raises(LearningError, match="model.network.name=resnet19 is not known"):
        build_network("resnet19")
    with pytest.raises(LearningError, match="small_cnn does not take these options"):
        build_network("small_cnn", depth=3)
    with pytest.raises(LearningError, match="images.size=4 is too small for small_cnn's strides"):
        build_network("small_cnn", size=4)
    with pytest.raises(LearningError, match="expected at least 3 pixels a side"):
        build_network("small_cnn", size=2, multiples=[1, 1], strides=[1, 1], kernel=2)
    with pytest.raises(LearningError, match="describe no layers; expected two lists of one length"):
        build_network("small_cnn", multiples=[1, 2], strides=[2, 2, 2])


def test_only_resnet_starts_from_pretrained_weights() -> None:
    with pytest.raises(LearningError, match="asked for a SmallCNN"):
        start_from(SmallCNN(), "imagenet")
    network = SmallCNN()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    start_from(network, None)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
