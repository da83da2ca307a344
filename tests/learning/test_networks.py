from __future__ import annotations

import pytest
import torch

from gafcnn.errors import LearningError
from gafcnn.learning import SmallCNN, build_network, start_from


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
    with pytest.raises(LearningError, match="images.size=4 cannot be halved three times"):
        build_network("small_cnn", size=4)


def test_only_resnet_starts_from_pretrained_weights() -> None:
    with pytest.raises(LearningError, match="asked for a SmallCNN"):
        start_from(SmallCNN(), "imagenet")
    network = SmallCNN()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    start_from(network, None)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
