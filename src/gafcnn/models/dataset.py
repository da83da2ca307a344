"""What images are made of, and labels, by batches of positions: one indexing operation a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from gafcnn.models.image_sources import ImageSource
from gafcnn.models.processes import ALONE, Processes

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Extra:
    """Samples that are in no store.

    Attributes:
        kept: What the images' source keeps of them in memory, n of them, see `ImageSource.kept`.
        labels: ndarray of int8, shape (n,).
    """

    kept: NDArray[Any]
    labels: NDArray[np.int8]


class GafDataset(Dataset[Batch]):
    """What images are made of, indexed by whole batches.

    Args:
        source: What to read, of n samples.
        labels: ndarray of int8, shape (n,): the class, or `gafcnn.data.labels.NULL`.
        positions: The samples of this part, as positions into both, shape (m,).
        extra: Samples after them, that are in no store.
    """

    def __init__(
        self,
        source: ImageSource,
        labels: NDArray[np.int8],
        positions: NDArray[np.int64],
        extra: Extra | None = None,
    ) -> None:
        self.source, self.labels, self.positions = source, labels, positions
        self.extra = extra

    def __len__(self) -> int:
        return len(self.positions) + (0 if self.extra is None else len(self.extra.labels))

    def __getitem__(self, batch: NDArray[np.int64]) -> Batch:
        """What the source sends of b samples, for its `to_images`, and their labels, float32 (b,).

        Samples that are in no store come after the others of the batch.
        """
        rows = self.positions[batch[batch < len(self.positions)]]
        read, labels = self.source.read(rows), self.labels[rows]
        if self.extra is not None:
            more = batch[batch >= len(self.positions)] - len(self.positions)
            read = np.concatenate([read, self.extra.kept[more]])
            labels = np.concatenate([labels, self.extra.labels[more]])
        return torch.from_numpy(self.source.sent(read)), torch.from_numpy(labels.astype(np.float32))


class EpochBatches(Sampler[NDArray[np.int64]]):
    """Positions of each batch of an epoch, shuffled by seed and epoch alone.

    The order of epoch k does not depend on the epochs before it, so a training that is resumed at
    epoch k sees what an undisturbed one would have seen.

    Args:
        n: Samples in the part.
        batch_size: Samples a batch. A shuffled epoch drops its last, smaller batch, since
            BatchNorm cannot learn from a batch of one.
        shuffle: Whether the order changes with the epoch.
        seed: Seed of the order.
        processes: Those that share the training. Each has a part of every batch, and together they
            see the batches that one alone would see; but a last batch of validation that is too
            small for that joins the one before it.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        processes: Processes = ALONE,
    ) -> None:
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.processes = processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Told by the trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, left = divmod(self.n, self.batch_size)
        return whole if self.shuffle or left < min(self.processes.count, self.n) else whole + 1

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        order = np.arange(self.n)
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(order)
        last = len(self) - 1
        for number in range(len(self)):
            end = self.n if number == last and not self.shuffle else (number + 1) * self.batch_size
            batch = order[number * self.batch_size : end]
            yield np.array_split(batch, self.processes.count)[self.processes.rank]
