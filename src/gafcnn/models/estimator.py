"""What networks and boosted trees have in common as scikit-learn estimators."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from gafcnn.data.augmentation import Augmentation, Drawn, class_counts
from gafcnn.data.samples import Samples
from gafcnn.data.windows import Window, as_window, decision_rows
from gafcnn.errors import LearningError
from gafcnn.evaluation.predictions import prediction_table
from gafcnn.evaluation.statistics import score, score_classes
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
        facts_: Facts of the training, as plain data.
    """

    name: str | None
    seed: int
    class_weights: ClassWeights
    augmentation: Any
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
            p = self.predict_samples(X, np.arange(len(X)) if rows is None else rows)
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

    def predict_at(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return P(up) at rows of bars, shape (n,); for several classes (n, classes).

        Args:
            bars: The bars of one symbol.
            rows: Rows of the bars that end a gap-free `lookback`, n of them.
        """
        raise NotImplementedError

    @property
    def model_name(self) -> str:
        """The name of the model in the predictions table."""
        return str(self.name)

    @property
    def lookback(self) -> pd.Timedelta:
        """The gap-free stretch of bars that a prediction needs."""
        raise NotImplementedError

    def _check_fitted(self, classes: Sequence[str] | None = None) -> None:
        """Check that the estimator is fitted, and to samples of these classes."""
        if not hasattr(self, "classes_"):
            raise LearningError(
                f"this {type(self).__name__} is not fitted",
                expected="a fitted model",
                instead="call fit(samples) first",
            )
        if classes is not None and tuple(classes) != self.classes_:
            raise LearningError(
                f"the samples have the classes {', '.join(classes)}",
                expected=f"those of the training: {', '.join(self.classes_)}",
                instead="use the label of the training",
            )

    def _draw(self, samples: Samples) -> tuple[list[Drawn], list[float] | None]:
        """Draw additional training samples; return them, and the weights of the classes."""
        samples.check()
        for part in ("train", "val"):
            counts = samples.counts(part)
            if (present := np.count_nonzero(counts)) < 2:
                raise LearningError(
                    f"{part} has samples of {present} of {len(counts)} classes",
                    expected=f"labelled samples of at least two of {', '.join(samples.classes)}",
                    instead="use more bars, or larger shares in split",
                )
        drawn: list[Drawn] = []
        if self.augmentation is not None:
            source = self.augmentation
            if not isinstance(source, Augmentation):
                source = create(Augmentation, "augmentation", source)
            with counting("drawing samples", source.n_sources, "sources") as advance:
                for part in source.draw(samples):
                    drawn += [part] * (len(part.rows) > 0)
                    advance(1)
        more = class_counts(drawn, len(samples.classes))
        counts = samples.counts("train") + more
        if samples.task != "direction":
            log.info(
                "%s training samples without a label are left out, %s are drawn; samples of each "
                "class: %s",
                f"{len(samples.part('train')) - len(samples.labelled('train')):,}",
                f"{more.sum():,}",
                ", ".join(f"{n:,} {name}" for name, n in zip(samples.classes, counts, strict=True)),
            )
        return drawn, class_weights(self.class_weights, samples.classes, counts)

    def _score(self, samples: Samples, p: NDArray[np.float64], unit: str) -> None:
        """Score the labelled validation samples, given their probabilities; log the result."""
        label = samples.label[samples.labelled("val")]
        if p.ndim == 1:
            scores: dict[str, Any] = {**score(p, label == 1)}
            name, text = "auc", "AUC"
        else:
            scores = {**score_classes(p, label)}
            scores["classes"] = dict(zip(samples.classes, scores["classes"], strict=True))
            name, text = "balanced_accuracy", "balanced accuracy"
        self.metrics_, count = scores, self.facts_[unit]
        log.info(
            "%s: %d %s, validation %s %.4f, accuracy %.4f where the largest class has a share of "
            "%.4f, on %s labelled samples",
            self.model_name, count, unit if count > 1 else unit[:-1], text, scores[name],
            scores["accuracy"], scores["majority"], f"{scores['n']:,}",
        )  # fmt: skip


def plain(value: Any) -> Any:
    """Return settings as JSON holds them: lists instead of tuples."""
    return json.loads(json.dumps(as_plain(value)))


def window_from(value: Window | str | dict[str, Any]) -> Window:
    """Return a window from its name, its options, or itself."""
    return create(Window, "window", value) if isinstance(value, dict) else as_window(value)
