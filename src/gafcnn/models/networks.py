"""Networks by name, with the training defaults of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from gafcnn.errors import LearningError
from gafcnn.registry import Registry

if TYPE_CHECKING:
    from torch import nn

Builder = TypeVar("Builder", bound=Callable[..., Any])

NETWORKS: Registry[Callable[..., nn.Module]] = Registry(
    "network", "model.network.kind", ("gafcnn.models.small_cnn",)
)
"""Classes or functions of `channels`, `outputs`, `size` and options of their own, by name."""


@dataclass(frozen=True)
class TrainingDefaults:
    """Optimiser settings that suit a network.

    Attributes:
        lr: Learning rate at the start.
        weight_decay: AdamW's decoupled weight decay.
        batch_size: Samples per batch.
    """

    lr: float = 1e-3
    weight_decay: float = 0.05
    batch_size: int = 256


_DEFAULTS: dict[str, TrainingDefaults] = {}


def register_network(
    name: str, *, lr: float = 1e-3, weight_decay: float = 0.05, batch_size: int = 256
) -> Callable[[Builder], Builder]:
    """Return a decorator that registers a network under a name.

    The decorated class or function takes `channels`, `outputs` and `size` (pixels per side), and
    any options with defaults. It returns a module that maps images of shape
    (n, channels, size, size) to logits of shape (n, outputs). A property `cam_layer` names the
    layer that Grad-CAM looks at; without it, the last convolution is used.

    Args:
        name: The name, used as `network="..."`.
        lr: Default learning rate.
        weight_decay: Default weight decay.
        batch_size: Default batch size.
    """

    def decorate(builder: Builder) -> Builder:
        NETWORKS.register(name)(builder)
        _DEFAULTS[name] = TrainingDefaults(lr, weight_decay, batch_size)
        return builder

    return decorate


def training_defaults(name: str) -> TrainingDefaults:
    """Return the optimiser settings that were registered with a network."""
    NETWORKS[name]  # an unknown name is an error here
    return _DEFAULTS[name]


def build_network(kind: str, **options: Any) -> nn.Module:
    """Build a network with random weights.

    Args:
        kind: A name in `NETWORKS`.
        **options: Arguments of the network: channels, outputs, size and its own.

    Raises:
        ConfigError: The name is unknown.
        LearningError: The network does not accept the options.
    """
    builder = NETWORKS[kind]
    try:
        return builder(**options)
    except (TypeError, RuntimeError) as error:  # torch raises RuntimeError when memory is short
        raise LearningError(
            f"the network {kind} does not accept its options ({' '.join(str(error).split())})",
            expected="arguments of its constructor",
            instead="correct model.network",
        ) from error


@register_network("resnet18", lr=1e-4, weight_decay=1e-5, batch_size=64)
def resnet18(
    channels: int = 2,
    outputs: int = 1,
    size: int = 64,
    freeze: Sequence[str] = ("layer1", "layer2"),
) -> nn.Module:
    """Build `gafcnn.models.resnet.GafResNet18`, which starts from pretrained weights."""
    from gafcnn.models.resnet import GafResNet18  # torchvision takes a second to import

    return GafResNet18(channels, outputs, size, freeze)


def load_weights(network: nn.Module, weights: str | None) -> None:
    """Load pretrained weights into a network; None keeps its random weights.

    Raises:
        LearningError: There are no pretrained weights for this network, or they do not fit.
    """
    if weights is None:
        return
    if not hasattr(network, "load_pretrained"):
        raise LearningError(
            f"model.weights={weights} for a {type(network).__name__}",
            expected="null, because only resnet18 has pretrained weights",
            instead="set model.weights=null, or model=resnet18",
        )
    network.load_pretrained(weights)  # pyright: ignore[reportCallIssue]
