"""Loss, probabilities and metrics of a network: one direction, or one of several classes."""

from __future__ import annotations

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


class Task:
    """How the outputs of a network are read; n is the number of samples of a batch.

    One output is the logit of up against down, with binary cross-entropy as the loss. Several
    outputs are the logits of as many classes, with cross-entropy.

    Args:
        outputs: Number of outputs of the network.
    """

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.binary = outputs == 1

    def metrics(self) -> MetricCollection:
        """Return the metrics of an epoch, computed from probabilities and class numbers."""
        if self.binary:
            return MetricCollection({"accuracy": BinaryAccuracy(), "auc": BinaryAUROC()})
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(self.outputs, average="micro"),
                "balanced_accuracy": BalancedAccuracy(self.outputs),
                "macro_f1": MulticlassF1Score(self.outputs, average="macro"),
            }
        )

    def logits(self, outputs: Tensor) -> Tensor:
        """Return logits, (n,) or (n, classes), from outputs of shape (n, outputs)."""
        return outputs.squeeze(1) if self.binary else outputs

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return P(up), shape (n,), or the softmax over the classes, shape (n, classes)."""
        return logits.sigmoid() if self.binary else logits.softmax(dim=1)

    def called(self, logits: Tensor) -> Tensor:
        """Return the number of the most probable class: int64 of shape (n,)."""
        return (logits > 0).long() if self.binary else logits.argmax(dim=1)

    def log_odds(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return ln(p / (1 - p)) of one class per sample, given by its number: shape (n,)."""
        if self.binary:
            return torch.where(classes == 1, logits, -logits)
        column = classes[:, None]
        others = logits.scatter(1, column, -torch.inf)
        return logits.gather(1, column)[:, 0] - others.logsumexp(dim=1)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Return the mean loss, weighted by class if there are weights.

        Args:
            logits: Shape (n,), or (n, classes).
            labels: Class numbers as float32 of shape (n,).
            weights: Shape (classes,); for several classes only.
        """
        if self.binary:
            return functional.binary_cross_entropy_with_logits(logits, labels)
        return functional.cross_entropy(logits, labels.long(), weight=weights)


class BalancedAccuracy(MulticlassConfusionMatrix):
    """Mean recall over the classes that occur.

    torchmetrics' macro recall counts a class that is predicted but does not occur as a recall of 0.
    """

    def compute(self) -> Tensor:
        """Return the mean recall; NaN without samples."""
        of_class = self.confmat.sum(dim=1)
        recall = self.confmat.diagonal()[of_class > 0] / of_class[of_class > 0]
        return recall.mean(dtype=torch.float32)
