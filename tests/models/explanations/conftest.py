from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gafcnn.images.spec import ImageSpec
from gafcnn.models.module import GafModule

POINTS, FIRST, LAST = 15, 5, 8
"""Points of a window of the planted market, and those whose move decides."""

Series = NDArray[np.float64]


def planted(n: int, seed: int) -> tuple[Series, NDArray[np.int64]]:
    """Return random walks whose class is the sign of their move over three bars, plus noise.

    The bars close at the points 6 to 8, so the points 5 to 8 determine their move.

    Returns:
        Closes, shape (n, 1, 15), and classes, shape (n,).
    """
    rng = np.random.default_rng(seed)
    moves = rng.normal(size=(n, POINTS))
    decisive = moves[:, FIRST + 1 : LAST + 1].sum(axis=1) + rng.normal(0, 0.5, n)
    return moves.cumsum(axis=1)[:, None], (decisive > 0).astype(np.int64)


@pytest.fixture(scope="session")
def walks() -> Series:
    """Windows of the planted market that are not used in training."""
    return planted(200, 1)[0]


def network(seed: int, **options: object) -> GafModule:
    """Return a small network for 32 pixels with random weights, whose last maps are 8 x 8."""
    torch.manual_seed(seed)
    layers = {"multiples": [1, 2], "strides": [2, 2]}
    shape = {"channels": 2, "outputs": 1, "size": 32}
    return GafModule({"kind": "small_cnn"} | shape | layers | options).eval()


@pytest.fixture(scope="session")
def random_network() -> Callable[..., GafModule]:
    """Build networks with random weights, see `network`."""
    return network


@pytest.fixture(scope="session")
def trained() -> GafModule:
    """A small network trained on the planted market; takes seconds."""
    module = network(0)
    series, classes = planted(6000, 0)
    images = torch.from_numpy(ImageSpec(32).shown(series))
    labels = torch.from_numpy(classes).float()
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=0.05)
    order = torch.Generator().manual_seed(0)
    module.train()
    for _ in range(5):
        for batch in torch.randperm(len(images), generator=order).split(128):
            optimizer.zero_grad()
            module.loss(module(images[batch]), labels[batch]).backward()
            optimizer.step()
    return module.eval()
