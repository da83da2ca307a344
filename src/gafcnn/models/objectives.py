"""Loss, probabilities and metrics of a network: one direction, or one of several classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)


class Task(Protocol):
    """How the outputs of a network are read; n is the number of samples of a batch."""

    def metrics(self) -> MetricCollection:
        """Return the metrics of an epoch, computed from probabilities and class numbers."""
        ...

    def logits(self, outputs: Tensor) -> Tensor:
        """Return logits from the network's outputs of shape (n, outputs)."""
        ...

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities, of the shape of the logits."""
        ...

    def called(self, logits: Tensor) -> Tensor:
        """Return the number of the predicted class: int64 of shape (n,)."""
        ...

    def log_odds(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return ln(p / (1 - p)) of one class per sample, given by its number: shape (n,)."""
        ...

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Return the mean loss, from class numbers as float32 of shape (n,) and class weights."""
        ...


class OneDirection:
    """Up or down: one logit, binary cross-entropy."""

    def metrics(self) -> MetricCollection:
        """Return accuracy and the area under the ROC curve."""
        return MetricCollection({"accuracy": BinaryAccuracy(), "auc": BinaryAUROC()})

    def logits(self, outputs: Tensor) -> Tensor:
        """Return logits of shape (n,)."""
        return outputs.squeeze(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return P(up), of shape (n,)."""
        return logits.sigmoid()

    def called(self, logits: Tensor) -> Tensor:
        """Return 1 (up) where its probability is above one half."""
        return (logits > 0).long()

    def log_odds(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the logit for up, and its negative for down."""
        return torch.where(classes == 1, logits, -logits)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Return the binary cross-entropy; a direction has no weights."""
        return functional.binary_cross_entropy_with_logits(logits, labels)


class SeveralClasses:
    """One of k classes: k logits, cross-entropy.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def metrics(self) -> MetricCollection:
        """Return accuracy, mean recall of the classes that occur, and mean F1 score."""
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(self.classes, average="micro"),
                "balanced_accuracy": BalancedAccuracy(self.classes),
                "macro_f1": MulticlassF1Score(self.classes, average="macro"),
            }
        )

    def logits(self, outputs: Tensor) -> Tensor:
        """Return logits of shape (n, classes)."""
        return outputs

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the softmax, of shape (n, classes)."""
        return logits.softmax(dim=1)

    def called(self, logits: Tensor) -> Tensor:
        """Return the most probable class."""
        return logits.argmax(dim=1)

    def log_odds(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the logit of a class relative to all others together."""
        column = classes[:, None]
        others = logits.scatter(1, column, -torch.inf)
        return logits.gather(1, column)[:, 0] - others.logsumexp(dim=1)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Return the cross-entropy; with weights, the weighted mean over the batch."""
        return functional.cross_entropy(logits, labels.long(), weight=weights)


def task_of(outputs: int) -> Task:
    """Return the task of a network with this number of outputs."""
    return OneDirection() if outputs == 1 else SeveralClasses(outputs)


def outputs_for(classes: Sequence[str]) -> int:
    """Return the number of outputs that a network needs: one for two classes."""
    return 1 if len(classes) == 2 else len(classes)


class BalancedAccuracy(MulticlassConfusionMatrix):
    """Mean recall over the classes that occur.

    torchmetrics' macro recall counts a class that is predicted but does not occur as a recall of 0.
    """

    def compute(self) -> Tensor:
        """Return the mean recall; NaN without samples."""
        of_class = self.confmat.sum(dim=1)
        recall = self.confmat.diagonal()[of_class > 0] / of_class[of_class > 0]
        return recall.mean(dtype=torch.float32)
