"""From a source of images and labels to batches."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from gafcnn.models.image_sources import ImageSource

Batch = tuple[Tensor, Tensor]


class GafDataModule(LightningDataModule):
    """Batches of labelled samples of training and validation.

    The order of epoch k depends on the seed and k alone, so a training that resumes at epoch k sees
    the batches of one that was never stopped. Batches are read in the process of the training,
    since each is one gather from memory.

    Args:
        source: Images of n samples.
        labels: ndarray of int8, shape (n,): the class numbers.
        train: Positions of the training samples.
        val: Positions of the validation samples.
        batch_size: Samples per batch, of all processes together.
        seed: Seed of the training order.
        additional: Position of the first additional sample; n by default. In a batch, additional
            samples come after the others.
    """

    def __init__(
        self,
        source: ImageSource,
        labels: NDArray[np.int8],
        train: NDArray[np.int64],
        val: NDArray[np.int64],
        batch_size: int = 64,
        seed: int = 0,
        additional: int | None = None,
    ) -> None:
        super().__init__()
        self.source, self.labels, self.train, self.val = source, labels, train, val
        self.batch_size, self.seed, self.read_at = batch_size, seed, 0.0
        self.additional = len(labels) if additional is None else additional

    def train_dataloader(self) -> Batches:
        """Return labelled training samples, in another order each epoch."""
        return Batches(self, self.train, shuffle=True)

    def val_dataloader(self) -> Batches:
        """Return labelled validation samples in order of time."""
        return Batches(self, self.val, shuffle=False)

    def read(self, positions: NDArray[np.int64]) -> Batch:
        """Return what the source reads for b samples, and their labels, float32 of shape (b,)."""
        positions = positions[np.argsort(positions >= self.additional, kind="stable")]
        sent = torch.from_numpy(self.source.read(positions))
        labels = torch.from_numpy(self.labels[positions].astype(np.float32))
        if self.trainer and self.trainer.strategy.root_device.type == "cuda":
            return sent.pin_memory(), labels.pin_memory()  # copied while the GPU computes
        return sent, labels

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Note the time for `gafcnn.models.callbacks.EpochLog`."""
        self.read_at = time.perf_counter()
        return batch

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Compute the images on the device."""
        sent, labels = batch
        return self.source.to_images(sent), labels


class Batches:
    """The batches of an epoch, as an iterable.

    A shuffled epoch drops its last, smaller batch, because BatchNorm cannot learn from a batch of
    one. Of several processes each reads every `world_size`-th sample of a batch; as in torch's
    `DistributedSampler`, samples of a batch repeat to give all equal parts.

    Args:
        data: The data module.
        positions: The samples: shape (n,).
        shuffle: Whether the order changes with the epoch.
    """

    def __init__(self, data: GafDataModule, positions: NDArray[np.int64], *, shuffle: bool) -> None:
        self.data, self.positions, self.shuffle = data, positions, shuffle

    def __len__(self) -> int:
        whole, rest = divmod(len(self.positions), self.data.batch_size)
        return whole if self.shuffle else whole + (rest > 0)

    def __iter__(self) -> Iterator[Batch]:
        trainer, size, order = self.data.trainer, self.data.batch_size, self.positions
        epoch = trainer.current_epoch if trainer else 0
        rank, count = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        if self.shuffle:
            order = order[np.random.default_rng((self.data.seed, epoch)).permutation(len(order))]
        for start in range(0, len(self) * size, size):
            batch = order[start : start + size]
            yield self.data.read(np.resize(batch, -(-len(batch) // count) * count)[rank::count])
