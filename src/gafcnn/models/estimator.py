"""What networks and boosted trees have in common as scikit-learn estimators."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from gafcnn.data.augmentation import Augmentation, Drawn, class_counts
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.samples import Samples
from gafcnn.data.windows import decision_rows
from gafcnn.errors import ConfigError, LearningError
from gafcnn.evaluation.class_scores import score_classes
from gafcnn.evaluation.predictions import prediction_table
from gafcnn.evaluation.scores import score
from gafcnn.models.class_weights import ClassWeights, class_weights
from gafcnn.progress import counting
from gafcnn.settings import as_plain, create

log = logging.getLogger(__name__)


class Estimator(BaseEstimator):
    """Base of `GafClassifier` and `BoostedTrees`: predictions of samples and of bars.

    Attributes:
        classes_: Names of the classes, in the order of their numbers.
        metrics_: Scores on the labelled validation samples, with the share of the larger class
            (`majority`) beside the accuracy.
        facts_: What is known of the training, as plain data.
    """

    name: str | None
    seed: int
    classes_: tuple[str, ...]
    metrics_: dict[str, Any]
    facts_: dict[str, Any]

    def predict(self, samples: Samples) -> pd.DataFrame:
        """Return the predictions table of all validation and test samples.

        Args:
            samples: Samples with the classes of the training.

        Raises:
            LearningError: The estimator is not fitted, or the classes differ.
        """
        rows = np.concatenate([samples.split.val, samples.split.test])
        p = self.predict_samples(samples, rows)
        return prediction_table(samples, p, self.model_name, self.seed)

    def predict_proba(
        self,
        X: Samples | pd.DataFrame,  # noqa: N803 - scikit-learn's name
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Return the probability of each class, as scikit-learn does: shape (n, classes).

        Args:
            X: Samples, or the bars of one symbol.
            rows: Positions of samples, or rows of the bars; by default all at which a decision is
                possible.
        """
        if isinstance(X, Samples):
            p = self.predict_samples(X, np.arange(len(X.times)) if rows is None else rows)
        else:
            p = self.predict_at(X, decision_rows(X, self.lookback) if rows is None else rows)
        return np.stack([1 - p, p], axis=1) if p.ndim == 1 else p

    def predict_samples(self, samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return P(up) of samples, shape (n,); for several classes (n, classes).

        Args:
            samples: Samples with the classes of the training.
            rows: Their positions, n of them.
        """
        raise NotImplementedError

    def predict_at(
        self, bars: pd.DataFrame, rows: NDArray[np.int64], symbol: str = ""
    ) -> NDArray[np.float64]:
        """Return P(up) at rows of bars, shape (n,); for several classes (n, classes).

        Args:
            bars: The bars of one symbol.
            rows: Rows of the bars at which a decision is possible, n of them.
            symbol: The name of the symbol.
        """
        raise NotImplementedError

    @property
    def model_name(self) -> str:
        """The name of the model in the predictions table."""
        return self.name or type(self).__name__

    @property
    def lookback(self) -> pd.Timedelta:
        """The bars without a gap that a prediction needs, as a length of time."""
        raise NotImplementedError

    def _check_fitted(self, classes: Sequence[str] | None = None) -> None:
        """Check that the estimator is fitted, and to samples of these classes.

        Raises:
            LearningError: It is not.
        """
        if not hasattr(self, "classes_"):
            raise LearningError(
                f"this {type(self).__name__} is not fitted",
                expected="a fitted model",
                instead="call fit(samples) first",
            )
        if classes is not None and tuple(classes) != tuple(self.classes_):
            raise LearningError(
                f"the samples have the classes {', '.join(classes)}",
                expected=f"those of the training: {', '.join(self.classes_)}",
                instead="use the label of the training",
            )

    def _score(self, samples: Samples, p: NDArray[np.float64]) -> dict[str, Any]:
        """Return scores of the labelled validation samples, given their probabilities."""
        label = samples.label[samples.labelled("val")]
        if p.ndim == 1:
            return cast("dict[str, Any]", score(p, label == 1))
        scored = score_classes(p, label)
        return {**scored, "classes": dict(zip(samples.classes, scored["classes"], strict=True))}

    def _log_result(self, unit: str) -> None:
        """Log the validation scores, with the share of the larger class beside the accuracy."""
        scores, facts = self.metrics_, self.facts_
        figures = [
            f"{text} {scores[name]:.4f}"
            for name, text in (("auc", "AUC"), ("balanced_accuracy", "balanced accuracy"))
            if scores.get(name) is not None
        ]
        if scores["accuracy"] is not None:
            larger = "larger" if len(self.classes_) == 2 else "largest"
            figures.append(
                f"accuracy {scores['accuracy']:.4f} (always predicting the {larger} class: "
                f"{scores['majority']:.4f})"
            )
        log.info(
            "%s: %d %s, validation %s on %s labelled samples",
            self.model_name,
            facts[unit],
            unit,
            ", ".join(figures),
            f"{scores['n']:,}",
        )


def draw_samples(augmentation: Any, samples: Samples) -> list[Drawn]:
    """Return additional training samples, drawn from the first symbol's bars.

    Args:
        augmentation: An `Augmentation`, its options as a mapping, or None.
        samples: Labels and split.

    Raises:
        ConfigError: The label looks ahead, or the bars are too few.
    """
    if augmentation is None:
        return []
    if not isinstance(augmentation, Augmentation):
        augmentation = create(Augmentation, "augmentation", augmentation)
    bars = samples.bars[samples.symbols[0]]
    with counting("drawing samples", len(augmentation), "sources") as advance:
        drawn = []
        for part in augmentation.draw(bars, samples, samples.lookback, samples.label_definition):
            drawn.append(part)
            advance(1)
    return drawn


def training_weights(
    weights: ClassWeights, samples: Samples, drawn: Sequence[Drawn]
) -> list[float] | None:
    """Return the weight of a training sample of each class, drawn samples included.

    Raises:
        LearningError: See `gafcnn.models.class_weights.class_weights`; or training or validation
            has fewer than two classes.
    """
    for part in ("train", "val"):
        counts = samples.counts(part)
        if (counts > 0).sum() < 2:
            raise LearningError(
                f"{part} has {counts.sum():,} labelled samples, of "
                f"{(counts > 0).sum()} of {len(counts)} classes",
                expected=f"samples of at least two of {', '.join(samples.classes)}",
                instead="use more bars, or larger shares in split",
            )
    counts = samples.counts("train") + class_counts(drawn, len(samples.classes))
    return class_weights(weights, samples.classes, counts)


def log_classes(samples: Samples, drawn: Sequence[Drawn]) -> None:
    """Log what a label of several classes leaves out, what was drawn, and which classes lack."""
    if samples.classes == DIRECTIONS:
        return
    unlabelled = len(samples.part("train")) - len(samples.labelled("train"))
    log.info("%s training samples have no label and are left out", f"{unlabelled:,}")
    more = class_counts(drawn, len(samples.classes))
    if more.any():
        each = (f"{n:,} {name}" for name, n in zip(samples.classes, more, strict=True) if n)
        log.info("%s additional training samples: %s", f"{more.sum():,}", ", ".join(each))
    counts = samples.counts("train") + more
    if absent := [name for name, n in zip(samples.classes, counts, strict=True) if not n]:
        log.info("no training sample is of %s, so they cannot be learned", ", ".join(absent))


def samples_fingerprint(samples: Samples, drawn: Sequence[Drawn]) -> str:
    """Return what tells the training samples from others: their times, labels, values and split."""
    crc = 0
    for array in (
        samples.times, samples.label, samples.split.train, samples.split.val,
        *(bars["close"].to_numpy() for bars in samples.bars.values()),
        *(part.label for part in drawn),
    ):  # fmt: skip
        crc = zlib.crc32(np.ascontiguousarray(array).view(np.uint8), crc)
    return f"{crc:08x}"


def plain(value: Any) -> Any:
    """Return settings as JSON holds them: lists instead of tuples, names for settings classes."""
    return json.loads(json.dumps(as_plain(value)))


def check_batch_size(batch_size: int, samples: int) -> None:
    """Validate that a training batch can be filled.

    Raises:
        ConfigError: It cannot.
    """
    if not 2 <= batch_size <= samples:
        raise ConfigError(
            f"batch_size={batch_size} with {samples:,} labelled training samples",
            expected=f"a batch size from 2 to {samples:,}",
            instead=f"set batch_size={max(2, samples // 10)}, or use more bars",
        )
