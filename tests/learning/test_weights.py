"""What samples of rare classes count, and which weights are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_class_weight

from gafcnn.data.labels import DIRECTIONS, NULL, Outcomes
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.splits import Split
from gafcnn.errors import LearningError
from gafcnn.models.class_weights import class_weights

THREE, COUNTS = ("none", "star", "hammer"), np.array([4, 1, 1])


def labelled(label: list[int]) -> LabelledSamples:
    """Samples of these labels, all but the last two training."""
    n = len(label)
    times = np.datetime64("2025-01-01", "ns") + np.arange(n) * np.timedelta64(1, "m")
    split = Split(np.arange(n - 2), np.array([n - 2]), np.array([n - 1]))
    outcomes = Outcomes(np.full(n, np.nan), times)
    return LabelledSamples(times, outcomes, np.array(label, np.int8), split, pd.Timedelta(0), THREE)


def test_balanced_weights_are_sklearn_s_over_labelled_training_samples() -> None:
    label = [0, 0, 0, 0, 0, 1, 1, 2, NULL, NULL, 2, 2]
    samples = labelled(label)
    found = class_weights("balanced", samples.classes, samples.counts("train"))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=label[:8])
    np.testing.assert_allclose(found, expected)
    counts = np.array([5, 2, 1])
    assert counts @ np.array(found) == pytest.approx(8)


def test_null_is_none_and_a_list_is_taken_as_it_is() -> None:
    assert class_weights(None, THREE, COUNTS) is None
    assert class_weights([1, 2.5, 3], THREE, COUNTS) == [1.0, 2.5, 3.0]


@pytest.mark.parametrize(
    "asked", [[1, 2], [1, 2, 0], [1, 2, -1], [1, 2, "x"], "even", [1, 2, True]]
)
def test_what_are_no_weights_of_these_classes_is_refused(asked: Any) -> None:
    with pytest.raises(LearningError, match="expected null, balanced, or 3 numbers above 0"):
        class_weights(asked, THREE, COUNTS)


@pytest.mark.parametrize("asked", [[1, 2], "balanced"])
def test_a_direction_has_no_weights(asked: Any) -> None:
    with pytest.raises(LearningError, match="with a label of two classes; expected null"):
        class_weights(asked, DIRECTIONS, COUNTS[:2])


def test_a_class_without_a_training_sample_cannot_be_balanced_and_is_named() -> None:
    samples = labelled([0, 1, 0, NULL, 2, 2])
    with pytest.raises(LearningError, match="class hammer has 0 of 3 labelled training samples"):
        class_weights("balanced", samples.classes, samples.counts("train"))
