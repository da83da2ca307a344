"""How well several classes were told apart: recall, precision, F1, log loss, confusion.

The class called is the one of the highest probability, the first of them among equals. Class 0 is
the absence of any pattern, and by far the most frequent: figures "without 0" leave its rows, or its
own share, out of a mean, while every class may still be called; "among patterns" class 0 may not.

A score that cannot be computed is None (null in JSON), never 0.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.scores import CLIP, check_probabilities

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class OfClass(TypedDict):
    """How well one class was recognised."""

    n: int
    """Rows that were of the class."""
    called: int
    """Rows that were said to be."""
    precision: float | None
    """Share of the rows called it that were of it."""
    recall: float | None
    """Share of its rows that were called it."""
    f1: float | None
    """`2 hits / (n + called)`, the harmonic mean of both."""


class ClassScore(TypedDict):
    """The scores of one matrix of probabilities, ready for JSON."""

    n: int
    """Rows."""
    accuracy: float | None
    """Share of rows whose class was called."""
    balanced_accuracy: float | None
    """Mean recall over the classes that occur (Brodersen et al., ICPR, 2010)."""
    balanced_accuracy_without_0: float | None
    """Mean recall over the classes that occur, but class 0: over rows of a pattern alone."""
    balanced_accuracy_among_patterns: float | None
    """The same, where a pattern is called in any case: the most probable of all but class 0."""
    macro_f1: float | None
    """Mean F1 over the classes that occur or are called."""
    macro_f1_without_0: float | None
    """Mean F1 over the classes that occur or are called, but class 0."""
    log_loss: float | None
    """Mean of -ln(probability given to the class it was), clipped to [1e-7, 1 - 1e-7]."""
    majority: float | None
    """Share of the largest class: the accuracy of always calling it, known only afterwards."""
    classes: list[OfClass]
    """Each class by itself, in the order of their numbers."""
    confusion: list[list[int]]
    """Counts of rows, one line per true class, one column per class called."""


def score_classes(p: ArrayLike, label: ArrayLike) -> ClassScore:
    """Score probabilities of several classes against what was there.

    Args:
        p: Probabilities, ndarray of shape (n, classes).
        label: Class numbers, ndarray of shape (n,).

    Raises:
        PredictionsError: The two do not fit together, or a probability is no number from 0 to 1.
    """
    given, true = _checked(np.asarray(p, dtype=np.float64), np.asarray(label, dtype=np.int64))
    counts = confusion(given.argmax(axis=1), true, given.shape[1])
    n, hits = int(counts.sum()), counts.diagonal()
    of_class, called = counts.sum(axis=1), counts.sum(axis=0)
    recall, f1 = mean_of_ratios(hits, of_class), mean_of_ratios(2 * hits, of_class + called)
    forced = confusion(given[:, 1:].argmax(axis=1) + 1, true, given.shape[1]).diagonal()
    return ClassScore(
        n=n,
        accuracy=_share(hits.sum(), n),
        balanced_accuracy=_known(recall),
        balanced_accuracy_without_0=_known(mean_of_ratios(hits[1:], of_class[1:])),
        balanced_accuracy_among_patterns=_known(mean_of_ratios(forced[1:], of_class[1:])),
        macro_f1=_known(f1),
        macro_f1_without_0=_known(mean_of_ratios(2 * hits[1:], (of_class + called)[1:])),
        log_loss=float(surprise(given, true).mean()) if n else None,
        majority=_share(of_class.max(), n),
        classes=[
            OfClass(
                n=int(of_class[k]),
                called=int(called[k]),
                precision=_share(hits[k], called[k]),
                recall=_share(hits[k], of_class[k]),
                f1=_share(2 * hits[k], of_class[k] + called[k]),
            )
            for k in range(len(counts))
        ],
        confusion=counts.tolist(),
    )


def confusion(called: NDArray[Any], label: NDArray[Any], classes: int) -> Ints:
    """Counts of rows by class (lines) and by class called (columns): shape (classes, classes)."""
    pairs = np.bincount(label * classes + called, minlength=classes**2)
    return pairs.reshape(classes, classes)


def surprise(p: Floats, label: Ints) -> Floats:
    """-ln(probability given to the class that each row was of), clipped: shape (n,)."""
    return -np.log(np.clip(p[np.arange(len(label)), label], CLIP, 1 - CLIP))


def mean_of_ratios(tops: NDArray[Any], bottoms: NDArray[Any]) -> Floats:
    """The mean of `tops / bottoms` over the last axis, where there is something to divide by.

    Args:
        tops: ndarray of shape (..., classes).
        bottoms: The same; a class of 0 is left out of the mean.

    Returns:
        ndarray of shape (...), NaN where every class is left out.
    """
    there = bottoms != 0
    ratios = np.divide(tops, bottoms, out=np.zeros(np.shape(tops)), where=there)
    many = there.sum(axis=-1)
    unknown = np.full(np.shape(many), np.nan)
    return np.divide(ratios.sum(axis=-1), many, out=unknown, where=many != 0)


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _known(value: Floats) -> float | None:
    return None if np.isnan(value) else float(value)


def _checked(p: Floats, label: Ints) -> tuple[Floats, Ints]:
    if p.ndim != 2 or label.shape != p.shape[:1]:
        raise PredictionsError(
            f"there are probabilities of shape {p.shape} and labels of shape {label.shape}",
            expected="a row of probabilities, one for each class, for each label",
            instead="join them by symbol, time and fold with `join`",
        )
    if not ((label >= 0) & (label < p.shape[1])).all():
        raise PredictionsError(
            f"the labels go from {label.min()} to {label.max()}",
            expected=f"class numbers from 0 to {p.shape[1] - 1}",
            instead="leave out the rows without a label, and give every class its probability",
        )
    return check_probabilities(p), label
