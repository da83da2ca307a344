"""A hidden point is a straight line between its neighbours, seen by the encoding as any series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gafcnn.errors import ConfigError, ImagesError
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations.explain import explain
from gafcnn.models.explanations.forward import log_odds
from gafcnn.models.explanations.occlusion import occlusion
from gafcnn.models.module import GafModule

Series = NDArray[np.float64]
Make = Callable[..., GafModule]

UP = np.ones(1, dtype=np.int64)


class Corner(nn.Module):
    """Looks at the pixels of the first points alone, and sums them."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, : self.side, : self.side].flatten(1).sum(dim=1, keepdim=True)


def looking(network: nn.Module, size: int, channels: int = 1) -> GafModule:
    module = GafModule({"name": "small_cnn", "channels": channels, "size": size, "strides": [1],
                        "multiples": [1]})  # fmt: skip
    module.network = network
    return module.eval()


@pytest.mark.parametrize("classes", [[7], [-1], [0, 1], [0.5]])
def test_a_class_that_is_none_is_told(classes: list[float]) -> None:
    module, spec = looking(Corner(1), 4), ImageSpec(4, "float32", kinds=("gasf",))
    with pytest.raises(ConfigError, match="the classes to explain are .*; expected 1 numbers from"):
        explain(module, [[[0.0, 3.0, 1.0, 4.0]]], spec, np.array(classes))


def test_by_hand() -> None:
    """A logit that is GASF[0, 0] = 2 x_0^2 - 1, of four points.

    The series 0, 3, 1, 4 is scaled to -1, 1/2, -1/2, 1, so the logit is 1. Hidden, the first
    point is 3 and the lowest is 1: x_0 = 1/3. Without any other point the first stays the lowest.
    """
    module, spec = looking(Corner(1), 4), ImageSpec(4, "float32", kinds=("gasf",))
    found = occlusion(module, [[[0.0, 3.0, 1.0, 4.0]]], spec, UP)
    np.testing.assert_allclose(found, [[1 - (2 / 9 - 1), 0, 0, 0]], atol=1e-6)
    down = occlusion(module, [[[0.0, 3.0, 1.0, 4.0]]], spec, 0 * UP)
    np.testing.assert_array_equal(down, -found)


def test_a_point_that_is_not_seen_is_worth_nothing() -> None:
    """The network sees the first four of eight points; 0 and 8 are the extremes all the same."""
    module, spec = looking(Corner(4), 8, 2), ImageSpec(8, "float32")
    series = [[[0.0, 8.0, 2.0, 5.0, 4.0, 3.0, 6.0, 1.0]]]
    found = occlusion(module, series, spec, UP)[0]
    np.testing.assert_array_equal(found[4:], 0)
    assert (found[:4] != 0).all()


def test_a_point_on_the_line_between_its_neighbours_is_worth_nothing(
    random_network: Make, spec: ImageSpec
) -> None:
    series = np.array([[[3.0, 1, 2, 3, 4, 4, 4, 6, 2, 9, 1, 5, 5, 5, 5]]])
    found = occlusion(random_network(0), series, spec, UP)[0]
    on_it = [2, 3, 5, 12, 13, 14]
    np.testing.assert_allclose(found[on_it], 0, atol=1e-6)
    assert (np.abs(np.delete(found, on_it)) > 1e-5).all()


def test_a_series_that_stands_still_hides_nothing(random_network: Make, spec: ImageSpec) -> None:
    found = occlusion(random_network(0), np.full((2, 1, 15), 600.1), spec, np.zeros(2, np.int64))
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_hidden_points_are_bridged_by_interp_in_all_fields(random_network: Make) -> None:
    """Against a plain loop; the ends hold their neighbour's value."""
    module, spec = random_network(1, channels=4), ImageSpec(32, fields=("open", "close"))
    series = np.random.default_rng(0).normal(600, 1, (3, 2, 15))
    classes = np.array([0, 1, 1])
    whole = log_odds(module, spec.shown(series), classes)
    lost, count = np.zeros((3, 15)), np.zeros(15)
    for start in range(13):
        without = series.copy()
        kept = np.setdiff1d(np.arange(15), [start, start + 1, start + 2])
        for sample, field in np.ndindex(3, 2):
            own = series[sample, field]
            without[sample, field] = np.interp(np.arange(15), kept, own[kept])
        change = whole - log_odds(module, spec.shown(without), classes)
        lost[:, start : start + 3] += change[:, None]
        count[start : start + 3] += 1
    found = occlusion(module, series, spec, classes, run=3)
    np.testing.assert_allclose(found, lost / count, atol=1e-5)


def test_batches_change_nothing(random_network: Make, walks: Series, spec: ImageSpec) -> None:
    module, classes = random_network(2), np.zeros(40, np.int64)
    together = occlusion(module, walks[:40], spec, classes)
    alone = [occlusion(module, walks[k : k + 1], spec, classes[:1])[0] for k in (0, 17, 39)]
    np.testing.assert_allclose(together[[0, 17, 39]], alone, atol=1e-5)


@pytest.mark.parametrize("run", [0, 15, 2.5])
def test_a_run_has_to_leave_a_point(
    random_network: Make, walks: Series, spec: ImageSpec, run: int
) -> None:
    told = rf"^runs of {run} points are to be hidden in a window of 15; expected a whole number "
    with pytest.raises(ConfigError, match=told):
        explain(random_network(0), walks[:2], spec, run=run)


def test_of_one_point_none_can_be_hidden(
    random_network: Make, walks: Series, spec: ImageSpec
) -> None:
    with pytest.raises(ImagesError, match=r"^the series have 1 point; expected two or more"):
        occlusion(random_network(0), walks[:2, :, :1], spec, np.zeros(2, np.int64))
