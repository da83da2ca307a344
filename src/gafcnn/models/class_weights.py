"""What a sample of each class counts in training, where classes are rare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gafcnn.errors import LearningError

ClassWeights: TypeAlias = str | Sequence[float] | None
"""What `model.class_weights` may be: None, "balanced", or a number above 0 for each class."""

BALANCED = "balanced"


def check_weights(asked: ClassWeights, classes: int) -> None:
    """Assert that these are weights for so many classes.

    Raises:
        LearningError: They are not, or there are only two classes: a direction's label balances
            them itself.
    """
    if asked is None:
        return
    if classes == 2:
        raise LearningError(
            f"model.class_weights={_told(asked)} with a label of two classes",
            expected="null, as label.neutral balances up and down by itself",
            instead="leave model.class_weights out, or take label=candlestick",
        )
    if asked == BALANCED:
        return
    listed = [*asked] if isinstance(asked, Sequence) and not isinstance(asked, str) else []
    if len(listed) != classes or not all(map(_is_weight, listed)):
        raise LearningError(
            f"model.class_weights={_told(asked)}",
            expected=f"null, {BALANCED}, or {classes} numbers above 0, one for each class",
            instead=f"write model.class_weights={BALANCED}, say",
        )


def class_weights(
    asked: ClassWeights, classes: Sequence[str], counts: NDArray[np.int64]
) -> list[float] | None:
    """What a training sample of each class counts, in the order of the classes' numbers.

    Balanced weights are `n / (classes * n of the class)`, over labelled training samples: every
    class then counts the same, and all samples together what they would have without weights
    (King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis, 2001).

    Args:
        asked: What `model.class_weights` says.
        classes: Their names.
        counts: Labelled training samples of each class: ndarray of shape (classes,).

    Raises:
        LearningError: See `check_weights`; or a class that is to be balanced has no sample.
    """
    check_weights(asked, len(classes))
    if asked is None:
        return None
    if asked != BALANCED:
        return [float(weight) for weight in asked]
    if not counts.all():
        raise LearningError(
            f"class {classes[int(counts.argmin())]} has 0 of {counts.sum():,} labelled "
            "training samples",
            expected=f"at least one of each class for model.class_weights={BALANCED}",
            instead="take more bars, or give a list of weights, or null",
        )
    return (counts.sum() / (len(counts) * counts.astype(np.float64))).tolist()


def _is_weight(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and value > 0


def _told(asked: ClassWeights) -> str:
    if isinstance(asked, Sequence) and not isinstance(asked, str):
        return f"[{','.join(map(str, asked))}]"
    return str(asked)
