"""Attributions find planted bars, and only in a network that learned them.

After Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: an explanation that is the
same for a network with random weights explains the images, not the network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr, ttest_1samp

from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations import Explanation, by_point, explain
from gafcnn.models.module import GafModule

Series = NDArray[np.float64]
Make = Callable[..., GafModule]

DECISIVE = slice(5, 9)  # the points that determine the direction in the planted market
BY_CHANCE = 4 / 15  # decisive points of all points
SEEDS = range(1, 11)  # of networks with random weights
KINDS = ("folded", "occluded")


def shares(by_points: Series) -> Series:
    """Return the share of the decisive points in all attribution, for each decision."""
    size = np.abs(by_points)
    return size[:, DECISIVE].sum(axis=1) / size.sum(axis=1)


def interval(values: Series) -> tuple[float, float]:
    """Return the 95 % interval of the mean of independent values, by Student's t."""
    return ttest_1samp(values, 0).confidence_interval()


@pytest.fixture(scope="module")
def explained(trained: GafModule, walks: Series) -> Explanation:
    return explain(trained, walks, ImageSpec(32))


@pytest.fixture(scope="module")
def unlearned(random_network: Make, walks: Series) -> list[Explanation]:
    """Explanations of networks with random weights, for the same windows."""
    return [explain(random_network(seed), walks[:40], ImageSpec(32)) for seed in SEEDS]


def test_the_network_learned_what_was_planted(explained: Explanation, walks: Series) -> None:
    up = walks[:, 0, DECISIVE.stop - 1] > walks[:, 0, DECISIVE.start]
    assert (explained.classes == up).mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_decisive_bars_are_found(explained: Explanation, kind: str) -> None:
    """They have more than twice the share that they have by chance (measured: 0.63 and 0.69)."""
    assert interval(shares(getattr(explained, kind)))[0] > 2 * BY_CHANCE


@pytest.mark.parametrize("kind", KINDS)
def test_random_weights_do_not_find_them(unlearned: list[Explanation], kind: str) -> None:
    """The mean over networks is not above chance, and no network is far above it."""
    found = np.array([shares(getattr(one, kind)).mean() for one in unlearned])
    assert interval(found)[0] < BY_CHANCE
    assert found.max() < 1.5 * BY_CHANCE


@pytest.mark.parametrize(("kind", "bound"), [("folded", 0.1), ("occluded", 0.5)])
def test_training_changes_the_order_of_the_points(
    explained: Explanation, unlearned: list[Explanation], kind: str, bound: float
) -> None:
    """Spearman's rank correlation with random networks is small (measured: 0.00 and 0.35).

    In any network, hiding a point near the line between its neighbours changes little, hence 0.35.
    """
    learned = np.abs(getattr(explained, kind)[:40])
    agreed = [
        spearmanr(*pair).statistic
        for one in unlearned
        for pair in zip(learned, np.abs(getattr(one, kind)), strict=True)
    ]
    assert abs(np.mean(agreed)) < bound


def test_grad_cam_is_a_weak_hint(explained: Explanation) -> None:
    """A head with weights for every place loses most of them in the mean of the gradient."""
    assert explained.cam is not None
    seen = explained.cam.sum(axis=(1, 2)) > 0
    found = shares(by_point(explained.cam[seen], 15))
    assert interval(found)[0] > BY_CHANCE
    assert interval(found)[1] < interval(shares(explained.folded))[0]
