"""Images of samples, and batches of them.

    images        read for a batch                    computed on the device
    on_the_fly    two vectors per GAF image           their outer products, rounded and scaled
                  (other kinds: encoded images)       (scaled)
    stored        encoded images                      scaled

Both show a network the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from gafcnn.data.augmentation import Drawn
from gafcnn.data.samples import Samples
from gafcnn.data.windows import Window, WindowReader
from gafcnn.images.kinds import GADF, GASF
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import build_store, store_folder
from gafcnn.models.estimator import Part

Batch = tuple[Tensor, Tensor]
IN_CACHE = 16  # images that are computed at a time on a CPU
CHUNK = 4096  # additional images that are encoded at a time


class SeriesInMemory:
    """Images that are encoded batch by batch from series in memory.

    Args:
        parts: Bars and decision rows, for each symbol and each additional source.
        window: What an image shows.
        spec: How images are encoded.
    """

    def __init__(self, parts: Sequence[Part], window: Window, spec: ImageSpec) -> None:
        self._spec = spec
        readers = [WindowReader(bars, window, spec.fields) for bars, _ in parts]
        starts = np.cumsum([0, *(len(bars) for bars, _ in parts)])
        self._values = np.concatenate([reader.bar_values for reader in readers])
        self._rows = np.concatenate(
            [rows + start for (_, rows), start in zip(parts, starts, strict=False)]
        )
        self._offsets = readers[0].offsets

    def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Return vectors of shape (n, fields, 2, size), or encoded images."""
        where = self._rows[positions][:, None] + self._offsets
        series = self._values[where].transpose(0, 2, 1)
        if self._spec.outer_products:
            return self._spec.encode_polar(series)
        return self._spec.encode(series)

    def to_images(self, sent: Tensor) -> Tensor:
        """Return images: outer products rounded as they would be stored, or scaled pixels."""
        if not self._spec.outer_products:
            return sent.float().mul_(self._spec.scale)
        if sent.device.type != "cpu":
            return self._multiply(sent)
        # a few at a time: an image is rounded and scaled while it is in the cache
        return torch.cat([self._multiply(some) for some in sent.split(IN_CACHE)])

    def _multiply(self, vectors: Tensor) -> Tensor:
        """Return images of shape (n, fields * kinds, size, size) of vectors (n, fields, 2, size).

        Products and their difference are rounded one by one, as in `gafcnn.images.gaf`: a matrix
        product, or a fused multiply-add, would differ in the last bit.
        """
        c, s = vectors.unbind(2)
        rows = {GASF: (c, s), GADF: (s, c)}
        first, second = (
            torch.stack(factors, dim=2)[..., None]
            for factors in zip(*[rows[kind] for kind in self._spec.kinds], strict=True)
        )
        images = (first * c[:, :, None, None]).sub_(second * s[:, :, None, None]).flatten(1, 2)
        if self._spec.scale != 1:
            # round half to even, as numpy does; + 0 turns -0 into 0, as in an integer
            return images.round_().add_(0.0).float().mul_(self._spec.scale)
        return images.to(getattr(torch, self._spec.dtype)).float()


class StoredImages:
    """Images that were encoded before.

    Args:
        arrays: Encoded images of each symbol and additional source: shape (n, channels, size,
            size) each.
        spec: How images were encoded.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]], spec: ImageSpec) -> None:
        self._arrays, self._spec = arrays, spec
        self._starts = np.cumsum([0, *(len(array) for array in arrays)])

    def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Return the images as stored: shape (n, channels, size, size)."""
        first = self._arrays[0]
        images = np.empty((len(positions), *first.shape[1:]), first.dtype)
        numbers = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(numbers):
            here = numbers == number
            images[here] = self._arrays[number][positions[here] - self._starts[number]]
        return images

    def to_images(self, sent: Tensor) -> Tensor:
        """Return the images, scaled."""
        return sent.float().mul_(self._spec.scale)


ImageSource: TypeAlias = SeriesInMemory | StoredImages


def stored_images(
    samples: Samples, window: Window, spec: ImageSpec, folder: Path, drawn: Sequence[Drawn] = ()
) -> StoredImages:
    """Return images of samples, symbol after symbol, and then of additional samples.

    Args:
        samples: The samples, with their bars.
        window: What an image shows, with the lookback of the samples.
        spec: How images are encoded.
        folder: Folder of the stored images, which are encoded if they are missing (additional ones
            into memory).
        drawn: Additional training samples.

    Raises:
        StoreError: A store is damaged, or does not match the samples.
    """
    arrays = []
    for symbol, bars in samples.bars.items():
        arrays.append(build_store(store_folder(folder, symbol, window), bars, window, spec).array)
    for part in drawn:  # in chunks, which limit the memory
        reader = WindowReader(part.bars, window, spec.fields)
        chunks = np.split(part.rows, range(CHUNK, len(part.rows), CHUNK))
        arrays.append(np.concatenate([spec.encode(reader(rows)) for rows in chunks]))
    return StoredImages(arrays, spec)


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
        self.batch_size, self.seed = batch_size, seed
        self.additional = len(labels) if additional is None else additional

    def train_dataloader(self) -> _Batches:
        """Return labelled training samples, in another order each epoch."""
        return _Batches(self, self.train, shuffle=True)

    def val_dataloader(self) -> _Batches:
        """Return labelled validation samples in order of time."""
        return _Batches(self, self.val, shuffle=False)

    def read(self, positions: NDArray[np.int64]) -> Batch:
        """Return what the source reads for b samples, and their labels, float32 of shape (b,)."""
        positions = positions[np.argsort(positions >= self.additional, kind="stable")]
        sent = torch.from_numpy(self.source.read(positions))
        labels = torch.from_numpy(self.labels[positions].astype(np.float32))
        if self.trainer and self.trainer.strategy.root_device.type == "cuda":
            return sent.pin_memory(), labels.pin_memory()  # copied while the GPU computes
        return sent, labels

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Compute the images on the device."""
        sent, labels = batch
        return self.source.to_images(sent), labels


class _Batches:
    """The batches of an epoch, as an iterable; a shuffled one changes with the epoch.

    A shuffled epoch drops its last, smaller batch, because BatchNorm cannot learn from a batch of
    one. Of several processes each reads every `world_size`-th sample of a batch; as in torch's
    `DistributedSampler`, samples of a batch repeat to give all equal parts.
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
