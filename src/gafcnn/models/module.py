"""The Lightning module: loss, metrics and optimiser around a network; and its checkpoints."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MetricCollection, PearsonCorrCoef
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from gafcnn.errors import GafcnnError, LearningError
from gafcnn.models.batches import Batch
from gafcnn.models.estimator import DESCRIPTION, REMEDY
from gafcnn.models.networks import build_network

BEST, LAST = "checkpoints/best.ckpt", "checkpoints/last.ckpt"


class BalancedAccuracy(MulticlassConfusionMatrix):
    """Mean recall over the classes that occur.

    torchmetrics' macro recall counts a class that is predicted but does not occur as a recall of 0.
    """

    def compute(self) -> Tensor:
        """Return the mean recall; NaN without samples."""
        of_class = self.confmat.sum(dim=1)
        recall = self.confmat.diagonal()[of_class > 0] / of_class[of_class > 0]
        return recall.mean(dtype=torch.float32)


class GafModule(LightningModule):
    """A network that learns the direction of the next move, or one of several classes.

    One output of the network is the logit of up against down, several are the logits of as many
    classes. Loss: cross-entropy, binary for one output. With the loss "huber" the one output is a
    forecast of a continuous target (Huber, 1964: squared up to an error of 1, then linear).
    Optimiser: AdamW with cosine annealing over the epochs.

    Args:
        network: Name (`kind`) and options for `build_network`, as plain data, so that a checkpoint
            holds everything that is needed to build the network again.
        lr: Learning rate at the start.
        weight_decay: AdamW's decoupled weight decay.
        loss: "cross_entropy" or "huber".

    Attributes:
        description: Plain data that is stored in every checkpoint.
        to_images: Returns images of what `Batches` read: the source's function.
        class_weights: The weight of a sample of each class in the loss; None for equal weights.
    """

    class_weights: Tensor | None
    to_images: Callable[[Tensor], Tensor]

    def __init__(
        self,
        network: dict[str, Any],
        lr: float = 1e-4,
        weight_decay: float = 1e-5,
        loss: str = "cross_entropy",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr, self.weight_decay, self.description = lr, weight_decay, dict[str, Any]()
        self.regression = loss == "huber"
        # channels_last lets convolutions on CPUs and tensor cores read whole pixels at a time
        self.network = build_network(**network).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.outputs: int = network.get("outputs", 1)
        self.register_buffer("class_weights", None, persistent=False)
        measured: dict[str, Any] = {"accuracy": BinaryAccuracy(), "auc": BinaryAUROC()}
        if self.outputs > 1:
            measured = {
                "accuracy": MulticlassAccuracy(self.outputs, average="micro"),
                "balanced_accuracy": BalancedAccuracy(self.outputs),
                "macro_f1": MulticlassF1Score(self.outputs, average="macro"),
            }
        if self.regression:
            measured = {"correlation": PearsonCorrCoef()}
        self.val_metrics = MetricCollection(measured, prefix="val/")
        if "auc" in measured:  # in bins: the exact one keeps all samples, and sorts them
            measured["auc"] = BinaryAUROC(thresholds=500)
        self.train_metrics = MetricCollection(measured, prefix="train/").clone()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits for images of shape (n, channels, size, size) in [-1, 1].

        They have shape (n,) for a network of one output, (n, classes) for several; another shape
        raises a LearningError.
        """
        outputs = self.network(images.contiguous(memory_format=torch.channels_last))
        found, expected = getattr(outputs, "shape", None), (len(images), self.outputs)
        if found != expected:
            raise LearningError(
                f"the network {self.hparams['network']['kind']} returned "
                + (f"a {type(outputs).__name__}" if found is None else f"shape {tuple(found)}"),
                expected=f"logits of shape (n, outputs), here {expected}",
                instead="correct its forward, for example with logits.reshape(len(images), -1)",
            )
        return (outputs.squeeze(1) if self.outputs == 1 else outputs).float()

    def log_odds(self, images: Tensor, classes: Tensor) -> Tensor:
        """Return ln(p / (1 - p)) of one class per image, given by its number: shape (n,)."""
        logits = self(images)
        if self.outputs == 1:
            return torch.where(classes == 1, logits, -logits)
        column = classes[:, None]
        others = logits.scatter(1, column, -torch.inf)
        return logits.gather(1, column)[:, 0] - others.logsumexp(dim=1)

    @torch.inference_mode()
    def probabilities(self, images: Tensor, *offsets: Tensor) -> Tensor:
        """Return P(up), or forecasts of the target, shape (n,); for several classes (n, classes).

        Computed in float32 even after a training in mixed precision: in the eight bits of bfloat16
        many samples would have equal probabilities. Offsets are of the shape of the logits.
        """
        with torch.autocast(images.device.type, enabled=False):
            return self._forecasts(self.with_offsets(images, *offsets))

    def with_offsets(self, images: Tensor, *offsets: Tensor) -> Tensor:
        """Return the output of the network with the offsets added."""
        return sum(offsets, self(images))

    @torch.no_grad()
    def zero_output(self) -> None:
        """Set the last linear layer to zero, and check that an untrained network adds nothing."""
        for layer in [one for one in self.network.modules() if isinstance(one, nn.Linear)][-1:]:
            for parameter in layer.parameters():
                parameter.zero_()
        if self.eval()(torch.ones(2, *self.image_shape)).any():
            raise LearningError(
                f"the network {self.hparams['network']['kind']} with an offset",
                expected="a network that ends with its last torch.nn.Linear",
                instead="correct the network, or train without an offset",
            )
        self.train()

    def _forecasts(self, logits: Tensor) -> Tensor:
        if self.regression:
            return logits
        return logits.sigmoid() if logits.ndim == 1 else logits.softmax(dim=1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss, weighted by `class_weights`; labels are float32 of shape (n,)."""
        if self.regression:
            return functional.huber_loss(logits, labels)
        if self.outputs == 1:
            return functional.binary_cross_entropy_with_logits(logits, labels)
        return functional.cross_entropy(logits, labels.long(), weight=self.class_weights)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the network of a checkpoint, on the CPU, ready to predict.

        Raises:
            LearningError: The file is damaged, holds more than tensors and plain data, or its
                weights do not fit the network that it names.
        """
        checkpoint = load_plain(path)
        try:
            module = cls(**checkpoint["hyper_parameters"])
            module.description = checkpoint[DESCRIPTION]
            module.load_state_dict(checkpoint["state_dict"])
        except (GafcnnError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise LearningError(
                f"{path} holds no network ({getattr(error, 'found', str(error)).splitlines()[0]})",
                expected="the checkpoint of a training of gafcnn",
                instead=REMEDY,
            ) from error
        return module.eval()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that the network takes."""
        options: Any = self.hparams["network"]
        return options["channels"], options["size"], options["size"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the description."""
        checkpoint[DESCRIPTION] = self.description

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Compute the images on the device, from what their source reads."""
        return self.to_images(batch[0]), *batch[1:]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a training batch."""
        return self._step(batch, "train", self.train_metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics of validation."""
        self._step(batch, "val", self.val_metrics)

    def configure_optimizers(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return AdamW over the trainable parameters, its rate falling to 0 along a cosine.

        The schedule moves by step, not by epoch: Lightning saves a checkpoint before it moves a
        schedule of epochs, so a resumed training would be one epoch behind.
        """
        parameters = [p for p in self.parameters() if p.requires_grad]
        options: Any = {"lr": self.lr, "weight_decay": self.weight_decay}
        optimizer = torch.optim.AdamW(parameters, **options, fused=True)
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _step(self, batch: Batch, part: str, metrics: MetricCollection) -> Tensor:
        images, labels, *offsets = batch
        logits = self.with_offsets(images, *offsets)
        loss = self.loss(logits, labels)
        # probabilities, because torchmetrics reads logits that all lie in [0, 1] as probabilities
        metrics.update(
            self._forecasts(logits.detach()), labels if self.regression else labels.long()
        )
        # a float: Lightning rounds the mean of integers over processes down
        n: Any = float(len(labels))
        self.log(f"{part}/loss", loss, on_step=False, on_epoch=True, batch_size=n, sync_dist=True)
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=n)  # pyright: ignore[reportArgumentType]
        return loss


def load_plain(path: Path, remedy: str = REMEDY) -> Any:
    """Read tensors and plain data written by `torch.save`, onto the CPU; no code is run.

    Raises:
        LearningError: The file is damaged, or holds more than tensors and plain data.
    """
    try:
        if zipfile.is_zipfile(path):  # torch does not verify the checksums that it writes
            with zipfile.ZipFile(path) as archive:
                # of a part with the attribute of a folder torch returns what is in memory
                folders = [one.filename for one in archive.infolist() if one.external_attr & 0x10]
                if damaged := archive.testzip() or "".join(folders[:1]):
                    raise ValueError(f"its part {damaged} is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of error for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, pickle.UnpicklingError):  # torch explains how to run the code
            reason = "it holds code, or is damaged"
        raise LearningError(
            f"{path} cannot be read ({reason.rstrip('. ')})",
            expected="tensors and plain data, as torch.save writes them",
            instead=remedy,
        ) from error
