"""What a network is asked: one direction, or which of several classes."""

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

from gafcnn.models.class_weights import check_weights


class Task(Protocol):
    """What is made of a network's outputs; n is the samples of a batch."""

    def metrics(self) -> MetricCollection:
        """The figures of an epoch, of probabilities against class numbers."""
        ...

    def logits(self, outputs: Tensor) -> Tensor:
        """Logits from the network's outputs of shape (n, outputs)."""
        ...

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities, of the logits' shape."""
        ...

    def called(self, logits: Tensor) -> Tensor:
        """The number of the class that is called: int64 of shape (n,)."""
        ...

    def log_odds(self, logits: Tensor, classes: Tensor) -> Tensor:
        """ln(p / (1 - p)) of a class of each sample, by its number: shape (n,)."""
        ...

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """The mean loss, from class numbers as float32 of shape (n,) and weights of the classes."""
        ...

    def check_weights(self, weights: Sequence[float] | None) -> None:
        """Refuse weights that are not of these classes."""
        ...


class OneDirection:
    """Up or not: one logit, binary cross-entropy."""

    def metrics(self) -> MetricCollection:
        """Accuracy and the area under the ROC curve."""
        return MetricCollection({"accuracy": BinaryAccuracy(), "auc": BinaryAUROC()})

    def logits(self, outputs: Tensor) -> Tensor:
        """Of shape (n,)."""
        return outputs.squeeze(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """P(up), of shape (n,)."""
        return logits.sigmoid()

    def called(self, logits: Tensor) -> Tensor:
        """1, up, where it is likelier than not."""
        return (logits > 0).long()

    def log_odds(self, logits: Tensor, classes: Tensor) -> Tensor:
        """The logit of up, and its negative of down."""
        return torch.where(classes == 1, logits, -logits)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Binary cross-entropy; a direction has no weights."""
        return functional.binary_cross_entropy_with_logits(logits, labels)

    def check_weights(self, weights: Sequence[float] | None) -> None:
        """Refuse any: a label of directions balances them itself."""
        check_weights(weights, 2)


class SeveralClasses:
    """One of k classes: k logits, cross-entropy.

    Args:
        classes: How many.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def metrics(self) -> MetricCollection:
        """Accuracy, the mean recall of the classes that occur, the mean F1 of the classes."""
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(self.classes, average="micro"),
                "balanced_accuracy": BalancedAccuracy(self.classes),
                "macro_f1": MulticlassF1Score(self.classes, average="macro"),
            }
        )

    def logits(self, outputs: Tensor) -> Tensor:
        """Of shape (n, classes)."""
        return outputs

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax, of shape (n, classes)."""
        return logits.softmax(dim=1)

    def called(self, logits: Tensor) -> Tensor:
        """The likeliest."""
        return logits.argmax(dim=1)

    def log_odds(self, logits: Tensor, classes: Tensor) -> Tensor:
        """A class's logit against those of all others together."""
        column = classes[:, None]
        others = logits.scatter(1, column, -torch.inf)
        return logits.gather(1, column)[:, 0] - others.logsumexp(dim=1)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Cross-entropy; with weights the weighted mean over the batch."""
        return functional.cross_entropy(logits, labels.long(), weight=weights)

    def check_weights(self, weights: Sequence[float] | None) -> None:
        """Refuse another number of them than of classes."""
        check_weights(weights, self.classes)


def task_of(outputs: int) -> Task:
    """The task of a network with so many outputs."""
    return OneDirection() if outputs == 1 else SeveralClasses(outputs)


def outputs_for(classes: Sequence[str]) -> int:
    """How many outputs a network needs: one tells two classes apart."""
    return 1 if len(classes) == 2 else len(classes)


class BalancedAccuracy(MulticlassConfusionMatrix):
    """Mean recall over the classes that occur.

    torchmetrics' macro recall counts a class that does not occur, but is called, as a recall of 0.
    """

    def compute(self) -> Tensor:
        """NaN before there is a sample."""
        of_class = self.confmat.sum(dim=1)
        recall = self.confmat.diagonal()[of_class > 0] / of_class[of_class > 0]
        return recall.mean(dtype=torch.float32)
