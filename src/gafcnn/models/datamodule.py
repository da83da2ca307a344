"""From a source of images and labels to batches."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gafcnn.errors import LearningError
from gafcnn.models.image_sources import ImageSource

Batch = tuple[Tensor, Tensor]


class GafDataset(Dataset[Batch]):
    """Encoded images and labels, indexed by whole batches.

    Args:
        source: Images of n samples.
        labels: ndarray of int8, shape (n,): the class numbers.
        positions: The samples of this part: shape (m,).
        additional: Position of the first additional sample; n if there are none.
    """

    def __init__(
        self,
        source: ImageSource,
        labels: NDArray[np.int8],
        positions: NDArray[np.int64],
        additional: int,
    ) -> None:
        self.source, self.labels, self.positions = source, labels, positions
        self.additional = additional

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, batch: NDArray[np.int64]) -> Batch:
        """Return what the source reads for b samples, and their labels, float32 of shape (b,).

        Additional samples come after the others.
        """
        positions = self.positions[batch]
        positions = positions[np.argsort(positions >= self.additional, kind="stable")]
        labels = torch.from_numpy(self.labels[positions].astype(np.float32))
        return torch.from_numpy(self.source.read(positions)), labels


class EpochBatches(Sampler[NDArray[np.int64]]):
    """Positions of the batches of an epoch, shuffled by seed and epoch alone.

    The order of epoch k does not depend on the epochs before it, so a training that resumes at
    epoch k sees the same batches as one that was never stopped.

    Args:
        n: Number of samples.
        batch_size: Samples per batch of all processes together. A shuffled epoch drops its last,
            smaller batch, because BatchNorm cannot learn from a batch of one.
        shuffle: Whether the order changes with the epoch.
        seed: Seed of the order.
        rank: This process among those that share the training.
        count: Number of processes. Each reads every `count`-th sample of a batch. As in torch's
            `DistributedSampler`, the first samples of validation repeat to give all equal parts.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        count: int = 1,
    ) -> None:
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.rank, self.count, self.epoch = rank, count, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; called by the trainer."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(self.n, self.batch_size)
        return whole if self.shuffle else whole + (rest > 0)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        order = np.arange(self.n)
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(order)
        for number in range(len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield np.resize(batch, -(-len(batch) // self.count) * self.count)[
                self.rank :: self.count
            ]


class GafDataModule(LightningDataModule):
    """Batches of labelled samples of training and validation.

    Args:
        source: Images of n samples.
        labels: ndarray of int8, shape (n,): the class numbers.
        train: Positions of the training samples.
        val: Positions of the validation samples.
        batch_size: Samples per batch.
        seed: Seed of the training order.
        additional: Position of the first additional sample; None if there are none.

    Raises:
        LearningError: No training batch can be filled, or the processes cannot share it equally.
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

    def setup(self, stage: str) -> None:
        """Check that the processes can share a batch equally."""
        count = self.trainer.world_size if self.trainer else 1
        if self.batch_size % count:
            raise LearningError(
                f"model.batch_size={self.batch_size} for {count} processes",
                expected=f"a multiple of {count}, because all have equal parts of a batch",
                instead=f"set model.batch_size={self.batch_size // count * count or count}",
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return labelled training samples, in another order each epoch."""
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return labelled validation samples in order of time."""
        return self._loader(self.val, shuffle=False)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Note the time for `gafcnn.models.callbacks.Throughput`."""
        self.read_at = time.perf_counter()
        return batch

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Compute the images on the device."""
        sent, labels = batch
        return self.source.to_images(sent), labels

    def _loader(self, positions: NDArray[np.int64], *, shuffle: bool) -> DataLoader[Batch]:
        trainer = self.trainer
        batches = EpochBatches(
            len(positions),
            self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            count=trainer.world_size if trainer else 1,
        )
        on_cuda = trainer is not None and trainer.strategy.root_device.type == "cuda"
        dataset = GafDataset(self.source, self.labels, positions, self.additional)
        # batch_size=None: an item of the sampler is a whole batch; without worker processes,
        # because a batch is one gather from memory
        return DataLoader(dataset, batch_size=None, sampler=batches, pin_memory=on_cuda)
