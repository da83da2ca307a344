"""Attributions find what is known to be there, and only in a network that learned it.

After Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: an explanation that looks the
same for a network of random weights explains the images, not the network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations.explain import Explanation, explain
from gafcnn.models.explanations.pixels import by_point
from gafcnn.models.module import GafModule

Series = NDArray[np.float64]
Make = Callable[..., GafModule]

BY_CHANCE = 4 / 15  # points that decide, of all
SEEDS = range(1, 11)  # of networks with random weights
KINDS = ("folded", "occluded")


def shares(by_points: Series, decisive: slice) -> Series:
    """Of each decision, the share that the points that decide have of all attribution."""
    size = np.abs(by_points)
    return size[:, decisive].sum(axis=1) / size.sum(axis=1)


def interval(values: Series) -> tuple[float, float]:
    """95 % of the mean of 10 or more independent values, by Student's t."""
    half = 2.262 * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


@pytest.fixture(scope="module")
def explained(trained: GafModule, walks: Series, spec: ImageSpec) -> Explanation:
    return explain(trained, walks, spec)


@pytest.fixture(scope="module")
def unlearned(random_network: Make, walks: Series, spec: ImageSpec) -> list[Explanation]:
    """What networks that learned nothing rest on, in the same windows."""
    return [explain(random_network(seed), walks[:40], spec) for seed in SEEDS]


def test_the_network_learned_what_was_planted(
    explained: Explanation, walks: Series, decisive: slice
) -> None:
    up = walks[:, 0, decisive.stop - 1] > walks[:, 0, decisive.start]
    assert (explained.classes == up).mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_bars_that_carry_the_signal_are_found(
    explained: Explanation, decisive: slice, kind: str
) -> None:
    """With more than twice the share that they would have by chance: 0.63 and 0.69, measured."""
    assert interval(shares(getattr(explained, kind), decisive))[0] > 2 * BY_CHANCE


@pytest.mark.parametrize("kind", KINDS)
def test_with_random_weights_they_are_not(
    unlearned: list[Explanation], decisive: slice, kind: str
) -> None:
    """The mean over networks is not above chance, and none comes half as near as a learned one."""
    found = np.array([shares(getattr(one, kind), decisive).mean() for one in unlearned])
    assert interval(found)[0] < BY_CHANCE
    assert found.max() < 1.5 * BY_CHANCE


@pytest.mark.parametrize(("kind", "bound"), [("folded", 0.1), ("occluded", 0.5)])
def test_what_a_network_learned_changes_the_order_of_the_points(
    explained: Explanation, unlearned: list[Explanation], kind: str, bound: float
) -> None:
    """Spearman's rank correlation with random networks: what is left is of the series alone.

    Whatever the network, a point that hardly leaves the line between its neighbours is hardly
    missed: of occlusion a third is left (0.35, measured), of the fold nothing (0.00).
    """
    learned = np.abs(getattr(explained, kind)[:40]).argsort(axis=1).argsort(axis=1)
    others = [np.abs(getattr(one, kind)).argsort(axis=1).argsort(axis=1) for one in unlearned]
    centre = (learned.shape[1] - 1) / 2
    variance = (learned.shape[1] ** 2 - 1) / 12
    agreed = [((learned - centre) * (ranks - centre)).mean() / variance for ranks in others]
    assert abs(np.mean(agreed)) < bound


def test_grad_cam_is_a_hint_at_places_and_no_more(explained: Explanation, decisive: slice) -> None:
    """Of a flatten head, whose every place has weights of its own, it averages most away."""
    assert explained.cam is not None
    seen = explained.cam.sum(axis=(1, 2)) > 0
    found = shares(by_point(explained.cam[seen], 15), decisive)
    assert interval(found)[0] > BY_CHANCE
    assert interval(found)[1] < interval(shares(explained.folded, decisive))[0]
