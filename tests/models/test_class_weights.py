from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from gafcnn.data.labels import DIRECTIONS
from gafcnn.errors import LearningError
from gafcnn.models.estimator import class_weights

THREE, COUNTS = ("none", "star", "hammer"), np.array([5, 2, 1])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    found = class_weights("balanced", THREE, COUNTS)
    label = np.repeat(np.arange(3), COUNTS)
    np.testing.assert_allclose(
        found, compute_class_weight("balanced", classes=np.arange(3), y=label)
    )
    assert COUNTS @ np.array(found) == pytest.approx(COUNTS.sum())


def test_none_and_lists() -> None:
    assert class_weights(None, THREE, COUNTS) is None
    assert class_weights([1, 2.5, 3], THREE, COUNTS) == [1.0, 2.5, 3.0]


@pytest.mark.parametrize("weights", [[1, 2], [1, 2, 0], [1, 2, -1], [1, 2, np.nan], "even", [[1]]])
def test_other_values_are_rejected(weights: Any) -> None:
    with pytest.raises(LearningError, match="3 positive numbers"):
        class_weights(weights, THREE, COUNTS)


@pytest.mark.parametrize("weights", [[1, 2], "balanced"])
def test_a_direction_has_no_weights(weights: Any) -> None:
    with pytest.raises(LearningError, match="null for a direction"):
        class_weights(weights, DIRECTIONS, COUNTS[:2])


def test_a_class_without_training_samples_cannot_be_balanced() -> None:
    with pytest.raises(LearningError, match="0 hammer"):
        class_weights("balanced", THREE, np.array([5, 2, 0]))
