"""The training rules: loss, metrics, optimiser. The network knows nothing of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from lightning import LightningModule
from torch import Tensor
from torchmetrics import MetricCollection

from gafcnn.errors import LearningError
from gafcnn.models.checkpoints import load_plain
from gafcnn.models.convolutions import pack
from gafcnn.models.dataset import Batch
from gafcnn.models.networks import build_network
from gafcnn.models.objectives import task_of
from gafcnn.models.resnet import GafResNet18
from gafcnn.models.rows import evenly


class GafModule(LightningModule):
    """A network learns the direction of the next move, or which of several classes a sample is of.

    Loss: cross-entropy on logits, binary for a network of one output (see `gafcnn.models.objectives`).
    Optimiser: AdamW with cosine annealing over `trainer.max_epochs`.

    Args:
        network: Name and options for `build_network`; plain scalars and lists, so that a
            checkpoint holds all that is needed to build the network again, and nothing else.
        lr: Learning rate at the start.
        weight_decay: AdamW's decoupled weight decay.
        class_weights: What a sample of each class counts in the loss, for a network of several
            outputs (see `weigh`).
    """

    class_weights: Tensor | None

    def __init__(
        self,
        network: dict[str, Any],
        lr: float = 1e-4,
        weight_decay: float = 1e-5,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        # weights of classes belong to a training and its samples, not to what it leaves
        self.save_hyperparameters(ignore=["class_weights"])
        self.lr, self.weight_decay = lr, weight_decay
        # channels_last lets convolutions on CPUs and tensor cores read whole pixels at a time
        self.network = build_network(**network).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.task = task_of(network.get("outputs", 1))
        self.register_buffer("class_weights", None, persistent=False)
        self.weigh(class_weights)
        metrics = self.task.metrics()
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")

    def forward(self, images: Tensor) -> Tensor:
        """Logits for images of shape (n, channels, size, size) in [-1, 1].

        Of shape (n,) from a network of one output, (n, classes) from one of several.
        """
        images = images.contiguous(memory_format=torch.channels_last)
        return self.task.logits(self.network(images)).float()

    @classmethod
    def load(cls, path: Path) -> Self:
        """The network of a checkpoint, on the CPU, ready to predict.

        Raises:
            LearningError: The file is not whole, or holds more than tensors and plain data, or
                other weights than those of the network that it names.
        """
        instead = "train the run anew with overwrite=true"
        checkpoint = load_plain(path, instead)
        try:
            module = cls(**checkpoint["hyper_parameters"])
            module.load_state_dict(checkpoint["state_dict"])
        except (LearningError, KeyError, TypeError, ValueError, RuntimeError) as error:
            why = error.found if isinstance(error, LearningError) else str(error).splitlines()[0]
            raise LearningError(
                f"{path} holds no network ({why.rstrip(':')})",
                expected="the checkpoint that a training of gafcnn left",
                instead=instead,
            ) from error
        return module.eval()

    def fold(self) -> None:
        """Make the network quicker at predicting, in place, where it can be; it learns no more.

        Its predictions stay the same to the last bit.
        """
        if isinstance(self.network, GafResNet18):
            self.network.fold()

    def pack(self) -> None:
        """Make the network quicker still, in place, at predicting on a CPU.

        Its predictions change by rounding: small maps are no matrix products any more. What is said
        of a sample is the same however many are predicted with it, as before.
        """
        self.fold()
        if isinstance(self.network, GafResNet18):
            pack(self.network)

    def weigh(self, class_weights: Sequence[float] | None) -> None:
        """Set what a sample of each class counts in the loss; None for all alike.

        Raises:
            LearningError: There is not one for each output, or only one output.
        """
        self.task.check_weights(class_weights)
        self.class_weights = None if class_weights is None else torch.tensor([*class_weights])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of learning."""
        return self._step(batch, "train", self.train_metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of validating."""
        self._step(batch, "val", self.val_metrics)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """P(up), float32 of shape (n,); of several classes (n, classes), rows that sum to 1.

        Computed in float32 after a training in mixed precision, too: in the eight bits of bfloat16
        many a sample would be as likely as its neighbour. What is said of a sample is the same
        however many are predicted with it, see `gafcnn.models.rows`.
        """
        with torch.autocast(batch[0].device.type, enabled=False):
            return evenly(self.task.probabilities, self(batch[0]))

    def configure_optimizers(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """AdamW over what is not frozen; the rate goes down to 0 along a cosine, step by step.

        By step, not by epoch: Lightning saves a checkpoint before it moves a schedule of epochs,
        so that a resumed training would lag behind by one.
        """
        learning = [p for p in self.parameters() if p.requires_grad]
        # fused: one pass over the weights in place of a dozen, each with its own memory
        optimizer = torch.optim.AdamW(
            learning, lr=self.lr, weight_decay=self.weight_decay, fused=True
        )
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _step(self, batch: Batch, part: str, metrics: MetricCollection) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = self.task.loss(logits, labels, self.class_weights)
        if self.class_weights is not None and self.trainer.world_size > 1:
            loss = loss * self._share(labels, self.class_weights)
        # probabilities, not logits: torchmetrics takes a batch of logits that all lie in [0, 1] for
        # probabilities, and would then call all of them down that are below 0.5
        metrics.update(self.task.probabilities(logits.detach()), labels.long())
        # a float: of whole numbers Lightning rounds the mean over processes down
        n: Any = float(len(labels))
        self.log(f"{part}/loss", loss, on_step=False, on_epoch=True, batch_size=n, sync_dist=True)
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=n)  # pyright: ignore[reportArgumentType]
        return loss

    def _share(self, labels: Tensor, weights: Tensor) -> Tensor:
        """What a sample of this process's part of a batch counts, against one of all of it.

        The mean over processes of weighted means is the weighted mean of all only with it.
        """
        counted = weights[labels.long()].sum()
        own = torch.stack([counted, counted.new_tensor(float(len(labels)))])
        of_all = self.trainer.strategy.reduce(own.clone(), reduce_op="sum")
        return (own[0] / own[1]) / (of_all[0] / of_all[1])
