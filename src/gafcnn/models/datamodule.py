"""From a source of images and its labelled samples to batches."""

from __future__ import annotations

import time

import numpy as np
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from gafcnn.data.samples import LabelledSamples
from gafcnn.errors import LearningError, StoreError
from gafcnn.models.dataset import Batch, EpochBatches, Extra, GafDataset
from gafcnn.models.image_sources import ImageSource
from gafcnn.models.processes import ALONE, Processes


class GafDataModule(LightningDataModule):
    """Batches of images, wherever they come from.

    Training and validation see labelled samples only; prediction sees every sample of validation
    and test, since whether a move will be small (neutral) is not known at the decision time.

    Args:
        source: What images are read from.
        samples: Labels and split over the source's decision times.
        batch_size: Samples a batch.
        seed: Seed of the training order.
        workers: Loader processes; 0 reads in the training process, which is enough for a gather
            from a memory map.
        extra: Further training samples, that are in no store.
        processes: Those that share the training. Prediction is not shared.
        pin_memory: Whether batches lie in memory that is never swapped out, from which CUDA copies
            while it computes.

    Raises:
        LearningError: For a batch size that no training batch can fill, or that cannot be shared.
    """

    def __init__(
        self,
        source: ImageSource,
        samples: LabelledSamples,
        batch_size: int = 64,
        seed: int = 0,
        workers: int = 0,
        extra: Extra | None = None,
        processes: Processes = ALONE,
        *,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        self.source, self.samples, self.extra = source, samples, extra
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.processes, self.pin_memory, self.read_at = processes, pin_memory, 0.0
        check_batch_size(batch_size, samples, 0 if extra is None else len(extra.labels), processes)

    def setup(self, stage: str) -> None:
        """Assert that images and samples belong together, and that no label reaches too far."""
        self.samples.check()
        if not np.array_equal(self.source.times, self.samples.times):
            raise StoreError(
                f"{self.source.folder} holds {len(self.source.times)} decision times, "
                "not the bars'",
                expected=f"the {len(self.samples.times)} decision times of the bars at hand",
                instead="run prepare.py with the same options, which builds it anew",
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Labelled training samples, shuffled anew each epoch."""
        return self._loader(
            self.samples.labelled("train"), self.extra, shuffle=True, processes=self.processes
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Labelled validation samples in order of time."""
        return self._loader(self.samples.labelled("val"), processes=self.processes)

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        """All samples of validation, then all of test, in order of time."""
        return [self._loader(self.samples.split.val), self._loader(self.samples.split.test)]

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Note when the batch was read: what it was waited for, `Throughput` tells."""
        self.read_at = time.perf_counter()
        return batch

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make images of what was sent, float32 in [-1, 1], on the device where they are used."""
        sent, labels = batch
        return self.source.to_images(sent), labels

    def _loader(
        self,
        positions: NDArray[np.int64],
        extra: Extra | None = None,
        *,
        shuffle: bool = False,
        processes: Processes = ALONE,
    ) -> DataLoader[Batch]:
        dataset = GafDataset(self.source, self.samples.label, positions, extra)
        batches = EpochBatches(
            len(dataset), self.batch_size, shuffle=shuffle, seed=self.seed, processes=processes
        )
        # batch_size=None: the sampler's item is a whole batch of positions already
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=batches,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.pin_memory,
        )


def check_batch_size(
    batch_size: int, samples: LabelledSamples, more: int = 0, processes: Processes = ALONE
) -> None:
    """Assert that a training batch can be filled, and shared in equal parts.

    Args:
        batch_size: Samples a batch, of all processes together.
        samples: What is trained and validated on.
        more: How many further training samples there are.
        processes: Those that share the training.

    Raises:
        LearningError: It cannot, or validation has not a sample for each process.
    """
    n, count = len(samples.labelled("train")) + more, processes.count
    if not 2 <= batch_size <= n:
        raise LearningError(
            f"model.batch_size={batch_size} with {n} labelled training samples",
            expected=f"a batch size from 2 to {n}",
            instead="set model.batch_size to one, or take more bars",
        )
    if batch_size % count:
        raise LearningError(
            f"model.batch_size={batch_size} shared by {count} processes",
            expected=f"a multiple of {count}, for each has as large a part of every batch",
            instead=f"set model.batch_size={batch_size // count * count or count}, say",
        )
    if (there := len(samples.labelled("val"))) < count:
        raise LearningError(
            f"{there} labelled validation samples shared by {count} processes",
            expected="one or more for each",
            instead="take more bars, or fewer processes",
        )
