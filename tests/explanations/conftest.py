from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gafcnn.images.spec import ImageSpec
from gafcnn.models.module import GafModule

POINTS, FIRST, LAST = 15, 5, 8
"""Of the planted market: the points of a window, and those whose move decides."""

Series = NDArray[np.float64]


def planted(n: int, seed: int) -> tuple[Series, NDArray[np.int64]]:
    """Random walks, each up if its move over three bars in the middle is, but for some noise.

    The three bars are those that close at the points 6 to 8, so that what the walk did over them
    is told by the points 5 to 8.

    Returns:
        Closes, shape (n, 1, 15), and the classes, shape (n,).
    """
    rng = np.random.default_rng(seed)
    moves = rng.normal(size=(n, POINTS))
    told = moves[:, FIRST + 1 : LAST + 1].sum(axis=1) + rng.normal(0, 0.5, n)
    return moves.cumsum(axis=1)[:, None], (told > 0).astype(np.int64)


@pytest.fixture(scope="session")
def decisive() -> slice:
    """The points that the direction depends on: 4 of 15."""
    return slice(FIRST, LAST + 1)


@pytest.fixture(scope="session")
def walks() -> Series:
    """Windows of the planted market that nothing was trained on."""
    return planted(200, 1)[0]


@pytest.fixture(scope="session")
def spec() -> ImageSpec:
    """32 pixels, stored as int8."""
    return ImageSpec(32)


def network(seed: int, **options: object) -> GafModule:
    """A small network at its random start, whose last maps are 8 x 8."""
    torch.manual_seed(seed)
    layers = {"multiples": [1, 2], "strides": [2, 2]}
    shape = {"channels": 2, "outputs": 1, "size": 32}
    return GafModule({"name": "small_cnn"} | shape | layers | options).eval()


@pytest.fixture(scope="session")
def random_network() -> Callable[..., GafModule]:
    """What makes a network with weights that learned nothing, by a seed; see `network`."""
    return network


@pytest.fixture(scope="session")
def trained(spec: ImageSpec) -> GafModule:
    """A small network that learned the planted market: some seconds."""
    module = network(0)
    series, classes = planted(6000, 0)
    images, labels = torch.from_numpy(spec.shown(series)), torch.from_numpy(classes).float()
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=0.05)
    order = torch.Generator().manual_seed(0)
    module.train()
    for _ in range(5):
        for batch in torch.randperm(len(images), generator=order).split(128):
            optimizer.zero_grad()
            module.task.loss(module(images[batch]), labels[batch], None).backward()
            optimizer.step()
    return module.eval()
