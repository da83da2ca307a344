"""The quantity that is explained: the log-odds of a class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gafcnn.errors import ImagesError, LearningError
from gafcnn.models.module import GafModule

BATCH = 256  # images per forward pass

Images: TypeAlias = NDArray[np.float32]
Classes: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


def predicted_classes(module: GafModule, images: Images) -> Classes:
    """Return the class that a network predicts for each image: 1 for up, or the class number.

    Args:
        module: The network.
        images: In [-1, 1], as `ImageSpec.shown` returns them: shape (n, channels, size, size).

    Raises:
        ImagesError: The images do not have the network's shape.
    """
    with inference_mode(module), torch.no_grad():
        return _apply(lambda some: module.task.called(module(some)), module, images)


def log_odds(module: GafModule, images: Images, classes: Classes) -> Floats:
    """Return ln(p / (1 - p)) of one class per image; for a direction, plus or minus the logit.

    Args:
        module: The network.
        images: In [-1, 1]: shape (n, channels, size, size).
        classes: The number of a class for each image: shape (n,).

    Raises:
        ImagesError: The images do not have the network's shape.
    """
    with inference_mode(module), torch.no_grad():
        return _apply(score_function(module), module, images, classes).astype(np.float64)


def score_function(module: GafModule) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the differentiable function of images and classes that gives log-odds (n,)."""
    return lambda images, classes: module.task.log_odds(module(images), classes)


@contextmanager
def inference_mode(module: GafModule) -> Iterator[None]:
    """Switch off dropout and the updates of batch norm, for a while."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def batches(module: GafModule, images: Images, *more: NDArray[Any]) -> Iterator[tuple[Tensor, ...]]:
    """Yield batches of images and of further arrays, on the device of the network.

    Raises:
        ImagesError: The images do not have the network's shape.
    """
    options = module.hparams["network"]
    side = options.get("size", images.shape[-1])
    shape = (options.get("channels", images.shape[1:2][0]), side, side)
    if not len(images) or images.shape[1:] != shape:
        raise ImagesError(
            f"the images have shape {images.shape}",
            expected=f"(n, {', '.join(map(str, shape))}), as in training",
            instead="encode them with the image_spec of the model",
        )
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        yield tuple(torch.tensor(array[part], device=module.device) for array in (images, *more))


def import_captum() -> ModuleType:
    """Import captum.attr, which takes half a second.

    Raises:
        LearningError: captum is not installed.
    """
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as error:
        raise LearningError(
            f"{error.name} is not installed",
            expected="the packages of the extra explain",
            instead="run pip install 'gafcnn[explain]'",
        ) from error


def _apply(
    function: Callable[..., Tensor], module: GafModule, images: Images, *more: NDArray[Any]
) -> NDArray[Any]:
    parts = [function(*batch).cpu().numpy() for batch in batches(module, images, *more)]
    return np.concatenate(parts)
