"""What is explained: the log-odds of a class, of a network that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gafcnn.errors import ImagesError
from gafcnn.models.module import GafModule

BATCH = 256  # images that are at a network at a time

Images = NDArray[np.float32]
Classes = NDArray[np.int64]
Floats = NDArray[np.float64]


def called(module: GafModule, images: Images) -> Classes:
    """The class that a network calls for each image: 1 is up, or the number of a pattern.

    Args:
        module: The network with its task.
        images: In [-1, 1], as `ImageSpec.shown` makes them: shape (n, channels, size, size).

    Returns:
        ndarray of shape (n,).

    Raises:
        ImagesError: The images are not of the network's shape.
    """
    with deciding(module), torch.no_grad():
        return _in_batches(lambda some: module.task.called(module(some)), module, images)


def log_odds(module: GafModule, images: Images, classes: Classes) -> Floats:
    """ln(p / (1 - p)) of a class of each image; of a direction it is the logit, or its negative.

    Args:
        module: The network with its task.
        images: In [-1, 1]: shape (n, channels, size, size).
        classes: The number of the class that is asked for, of each: shape (n,).

    Returns:
        ndarray of shape (n,).

    Raises:
        ImagesError: The images are not of the network's shape.
    """
    score = scored(module)
    with deciding(module), torch.no_grad():
        return _in_batches(score, module, images, classes).astype(np.float64)


def scored(module: GafModule) -> Callable[[Tensor, Tensor], Tensor]:
    """What gives the log-odds of classes (n,) for images, as a function that can be derived."""
    return lambda images, classes: module.task.log_odds(module(images), classes)


@contextmanager
def deciding(module: GafModule) -> Iterator[None]:
    """Let a network decide as it predicts: without dropout, its BatchNorms at rest."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def tensors(module: GafModule, images: Images, *more: NDArray[Any]) -> Iterator[tuple[Tensor, ...]]:
    """Batches of images, and of what belongs to them, where the network is.

    Raises:
        ImagesError: The images are not of the network's shape.
    """
    _check(module, images)
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        yield tuple(torch.tensor(array[part], device=module.device) for array in (images, *more))


def _in_batches(
    score: Callable[..., Tensor], module: GafModule, images: Images, *more: NDArray[Any]
) -> NDArray[Any]:
    parts = [score(*batch).cpu().numpy() for batch in tensors(module, images, *more)]
    return np.concatenate(parts)


def _check(module: GafModule, images: Images) -> None:
    """Assert that these are one or more images of the network's shape."""
    told = module.hparams["network"]
    side = told.get("size", images.shape[-1])
    wanted = (told.get("channels", images.shape[1:2][0]), side, side)
    if not len(images) or images.shape[1:] != wanted:
        raise ImagesError(
            f"the images are of shape {images.shape}",
            expected=f"(n, {', '.join(map(str, wanted))}), as the network was trained on",
            instead="make them with the images of the run's config",
        )
