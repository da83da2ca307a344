"""Images of samples, and batches of them.

    images        read for a batch                    computed on the device
    on_the_fly    two vectors per GAF image           their outer products, rounded and scaled
                  (other kinds: encoded images)       (scaled)
    stored        encoded images                      scaled

Both show a network the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gafcnn.data.windows import Window, WindowReader, fill_before_start
from gafcnn.images.kinds import GADF, GASF
from gafcnn.images.spec import ImageSpec
from gafcnn.models.estimator import Part
from gafcnn.models.out_of_fold import Offsets

Batch: TypeAlias = tuple[Tensor, ...]  # what the source reads, labels, and offsets if there are any
IN_CACHE = 16  # images that are computed at a time on a CPU


class SeriesInMemory:
    """Images that are encoded batch by batch from series in memory.

    Parts are bars and decision rows, for each symbol and each additional source.
    """

    offsets: Offsets | None = None

    def __init__(self, parts: Sequence[Part], window: Window, spec: ImageSpec) -> None:
        self._spec = spec
        self._series, self._rows = [], [rows for _, rows in parts]
        for bars, _ in parts:
            reader = WindowReader(bars, window, spec.read_fields)
            self._series.append(reader.series)
            self._offsets = reader.offsets
        self._ends = np.cumsum([len(rows) for rows in self._rows])

    def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Return vectors of shape (n, fields, 2, size), or encoded images."""
        fields = self._spec.read_fields
        series = np.empty((len(positions), len(fields), len(self._offsets)))
        order = np.argsort(positions)
        edges = np.searchsorted(positions[order], self._ends)
        for k, (first, stop) in enumerate(pairwise([0, *edges])):
            if first < stop:
                here = order[first:stop]
                rows = self._rows[k][positions[here] - self._ends[k]]  # counted from the end
                where = rows[:, None] + self._offsets
                for place, values in enumerate(self._series[k]):
                    series[here, place] = values[where]
        fill_before_start(series, fields)
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

    Arrays have shape (n, channels, size, size), one for each symbol and additional source. Samples
    are all of their images, or those at `rows` of each array.
    """

    offsets: Offsets | None = None

    def __init__(
        self,
        arrays: Sequence[NDArray[Any]],
        spec: ImageSpec,
        rows: Sequence[NDArray[np.int64]] | None = None,
    ) -> None:
        self._arrays, self._spec = arrays, spec
        self._starts = np.cumsum([0, *(len(array) for array in arrays)])
        rows = [np.arange(len(array)) for array in arrays] if rows is None else rows
        shifted = [some + start for some, start in zip(rows, self._starts, strict=False)]
        self._rows = np.concatenate(shifted)

    def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Return the images as stored: shape (n, channels, size, size)."""
        first, positions = self._arrays[0], self._rows[positions]
        images = np.empty((len(positions), *first.shape[1:]), first.dtype)
        for array, start in zip(self._arrays, self._starts, strict=False):
            here = (positions >= start) & (positions < start + len(array))
            images[here] = array[positions[here] - start]
        return images

    def to_images(self, sent: Tensor) -> Tensor:
        """Return the images, scaled."""
        return sent.float().mul_(self._spec.scale)


ImageSource: TypeAlias = SeriesInMemory | StoredImages


@dataclass(eq=False)
class Batches:
    """Batches of labelled samples, as an iterable of what the source reads and the labels.

    The order of epoch k depends on the seed and k alone, so a training that resumes at epoch k sees
    the batches of one that was never stopped. Batches are read in the process of the training,
    since each is one gather from memory.

    A shuffled epoch drops its last, smaller batch, because BatchNorm cannot learn from a batch of
    one. Of several processes each reads every `world_size`-th sample of a batch; as in torch's
    `DistributedSampler`, samples of a batch repeat to give all equal parts.

    Args:
        source: Images of n samples.
        labels: ndarray of int8, shape (n,): the class numbers.
        positions: Positions of the samples to read.
        size: Samples per batch, of all processes together.
        seed: Seed of the order, another one in each epoch; None keeps the order of positions.
        additional: Position of the first additional sample; n by default. In a batch, additional
            samples come after the others.

    Attributes:
        trainer: Lightning's trainer, which knows the epoch, the process and the device.
    """

    source: ImageSource
    labels: NDArray[np.int8]
    positions: NDArray[np.int64]
    size: int
    seed: int | None = None
    additional: int | None = None
    trainer: Any = field(init=False)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.positions), self.size)
        return whole + (rest > 0 and self.seed is None)

    def __iter__(self) -> Iterator[Batch]:
        trainer, size, order = self.trainer, self.size, self.positions
        if self.seed is not None:
            order = np.random.default_rng((self.seed, trainer.current_epoch)).permutation(order)
        rank, count = trainer.global_rank, trainer.world_size
        additional = len(self.labels) if self.additional is None else self.additional
        for start in range(0, len(self) * size, size):
            batch = order[start : start + size]
            batch = np.resize(batch, -(-len(batch) // count) * count)[rank::count]
            batch = batch[np.argsort(batch >= additional, kind="stable")]
            arrays = [self.source.read(batch), self.labels[batch].astype(np.float32)]
            if self.source.offsets is not None:
                arrays.append(self.source.offsets.of(batch))
            sent = [torch.from_numpy(array) for array in arrays]
            if trainer.strategy.root_device.type == "cuda":  # copied while the GPU computes
                sent = [tensor.pin_memory() for tensor in sent]
            yield tuple(sent)
