"""Weights of the classes in training, for classes that are rare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gafcnn.data.labels import DIRECTIONS
from gafcnn.errors import LearningError

ClassWeights: TypeAlias = str | Sequence[float] | None
"""None, "balanced", or a positive number for each class."""


def class_weights(
    weights: ClassWeights, classes: Sequence[str], counts: NDArray[np.int64]
) -> list[float] | None:
    """Return the weight of a training sample of each class, in the order of the classes.

    Balanced weights are `n / (classes * n of the class)` over labelled training samples: every
    class then has the same total weight, and the sum over all samples stays the same (King and
    Zeng, "Logistic Regression in Rare Events Data", Political Analysis, 2001).

    Args:
        weights: None, "balanced", or a positive number for each class.
        classes: Names of the classes.
        counts: Labelled training samples of each class: ndarray of shape (classes,).

    Raises:
        LearningError: The weights do not fit the classes, the label is a direction (which balances
            its classes itself), or a class to balance has no sample.
    """
    if weights is None:
        return None
    if tuple(classes) == DIRECTIONS:
        raise LearningError(
            f"model.class_weights={weights} with a label of directions",
            expected="null, because label.neutral balances up and down",
            instead="set model.class_weights=null, or label=candlestick",
        )
    if weights == "balanced":
        if not counts.all():
            raise LearningError(
                f"class {classes[int(counts.argmin())]} has 0 of {counts.sum():,} training samples",
                expected="at least one labelled sample of each class for balanced weights",
                instead="use more bars, or set model.class_weights to a list or null",
            )
        return (counts.sum() / (len(counts) * counts.astype(np.float64))).tolist()
    numbers = np.array([] if isinstance(weights, str) else weights, dtype=np.float64)
    if numbers.shape != (len(classes),) or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise LearningError(
            f"model.class_weights={weights}",
            expected=f"null, balanced, or {len(classes)} positive numbers, one for each class",
            instead="set model.class_weights=balanced",
        )
    return numbers.tolist()
