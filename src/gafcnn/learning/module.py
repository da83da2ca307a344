"""The training rules: loss, metrics, optimiser. The network knows nothing of them."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

from gafcnn.learning.dataset import Batch
from gafcnn.learning.networks import build_network


class GafModule(LightningModule):
    """A network learns the direction of the next move.

    Loss: binary cross-entropy on logits. Optimiser: AdamW with cosine annealing over
    `trainer.max_epochs`.

    Args:
        network: Name and options for `build_network`; plain scalars and lists, so that a
            checkpoint holds all that is needed to build the network again, and nothing else.
        lr: Learning rate at the start.
        weight_decay: AdamW's decoupled weight decay.
    """

    def __init__(
        self, network: dict[str, Any], lr: float = 1e-4, weight_decay: float = 1e-5
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr, self.weight_decay = lr, weight_decay
        # channels_last lets convolutions on CPUs and tensor cores read whole pixels at a time
        self.network = build_network(**network).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.loss = nn.BCEWithLogitsLoss()
        metrics = MetricCollection({"accuracy": BinaryAccuracy(), "auc": BinaryAUROC()})
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n,) for images of shape (n, channels, size, size) in [-1, 1]."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.network(images).squeeze(1).float()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of learning."""
        return self._step(batch, "train", self.train_metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of validating."""
        self._step(batch, "val", self.val_metrics)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """P(up), float32 of shape (n,)."""
        return self(batch[0]).sigmoid()

    def configure_optimizers(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """AdamW over what is not frozen; the rate goes down to 0 along a cosine, step by step.

        By step, not by epoch: Lightning saves a checkpoint before it moves a schedule of epochs,
        so that a resumed training would lag behind by one.
        """
        learning = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(learning, lr=self.lr, weight_decay=self.weight_decay)
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _step(self, batch: Batch, part: str, metrics: MetricCollection) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = self.loss(logits, labels)
        # probabilities, not logits: torchmetrics takes a batch of logits that all lie in [0, 1] for
        # probabilities, and would then call all of them down that are below 0.5
        metrics.update(logits.detach().sigmoid(), labels.long())
        self.log(f"{part}/loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=len(labels))  # pyright: ignore[reportArgumentType]
        return loss
