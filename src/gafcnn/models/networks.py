"""Networks by name, with the training defaults of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gafcnn.errors import LearningError
from gafcnn.registry import Registry

if TYPE_CHECKING:
    from torch import nn

Builder = TypeVar("Builder", bound=Callable[..., Any])

NETWORKS: Registry[Callable[..., nn.Module]] = Registry("network", ("gafcnn.models.architectures",))
"""Classes or functions of `channels`, `outputs`, `size` and options of their own, by name."""

_DEFAULTS: dict[str, dict[str, Any]] = {}


def register_network(
    name: str, *, lr: float = 1e-3, weight_decay: float = 0.05, batch_size: int = 256
) -> Callable[[Builder], Builder]:
    """Return a decorator that registers a network under a name, with default settings.

    The decorated class or function takes `channels`, `outputs` and `size` (pixels per side), and
    any options with defaults. It returns a module that maps images of shape
    (n, channels, size, size) to logits of shape (n, outputs). A property `cam_layer` names the
    layer that Grad-CAM looks at.
    """

    def decorate(builder: Builder) -> Builder:
        NETWORKS.register(name)(builder)
        _DEFAULTS[name] = {"lr": lr, "weight_decay": weight_decay, "batch_size": batch_size}
        return builder

    return decorate


def training_defaults(name: str) -> dict[str, Any]:
    """Return the `lr`, `weight_decay` and `batch_size` that a network was registered with."""
    NETWORKS[name]  # raises for an unknown name
    return _DEFAULTS[name]


def build_network(kind: str, **options: Any) -> nn.Module:
    """Build a network by its name, with random weights; options are channels, outputs, size, own.

    Raises:
        ConfigError: The name is unknown.
        LearningError: The network does not accept the options.
    """
    builder = NETWORKS[kind]
    try:
        return builder(**options)
    except (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise LearningError(
            f"the network {kind} does not accept its options ({' '.join(str(error).split())})",
            expected="arguments of its constructor",
            instead="correct model.network",
        ) from error
