"""The networks by name: what `model.network.name` may say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from gafcnn.errors import LearningError
from gafcnn.models.resnet import GafResNet18, load_pretrained
from gafcnn.models.small_cnn import SmallCNN

NETWORKS: dict[str, Callable[..., nn.Module]] = {"resnet18": GafResNet18, "small_cnn": SmallCNN}
"""What builds a network, by name: a function of channels, outputs, size and options of its own."""


def build_network(name: str, **options: Any) -> nn.Module:
    """A freshly initialised network.

    Args:
        name: A key of `NETWORKS`; add your own there.
        **options: What the network's constructor takes: channels, outputs, size and its own.

    Raises:
        LearningError: For a name or an option that is not known.
    """
    if name not in NETWORKS:
        raise LearningError(
            f"model.network.name={name} is not known",
            expected=f"one of {', '.join(NETWORKS)}",
            instead="correct the name, or name the module that adds the network in imports=[...]",
        )
    try:
        return NETWORKS[name](**options)
    except (TypeError, RuntimeError) as error:  # torch's: there is no memory for so large a network
        told = " ".join(str(error).split())
        raise LearningError(
            f"the network {name} does not take these options ({told})",
            expected="the arguments of its constructor",
            instead="correct model.network",
        ) from error


def start_from(network: nn.Module, weights: str | None) -> None:
    """Fill a network from pretrained weights, in place; None keeps the random start.

    Raises:
        LearningError: Where there are no pretrained weights for this network, or they do not fit.
    """
    if weights is None:
        return
    if not isinstance(network, GafResNet18):
        raise LearningError(
            f"model.weights={weights} was asked for a {type(network).__name__}",
            expected="null, as only resnet18 has pretrained weights",
            instead="set model.weights=null or take model=resnet18",
        )
    load_pretrained(network, weights)
