"""Where a batch's images come from: a store of them, or the series that they are made of.

    read from disk      sent to the device      made there
    images              the same                the same, scaled to [-1, 1]
    series              c and s at the pixels   their outer products, rounded and scaled likewise

Both show a network the same numbers to the last bit. Those of several symbols are read as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gafcnn.images.encoding import checked_series
from gafcnn.images.gaf import GADF, GASF
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import ImageStore, SeriesStore

IN_CACHE = 16  # images that are made at a time


class ImageSource(Protocol):
    """What the images of samples are read from, and how they come to be."""

    @property
    def folder(self) -> Path:
        """Where the source lies on disk."""
        ...

    @property
    def about(self) -> str:
        """What it holds, for a line that ends in the folder."""
        ...

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Decision times of its samples: ndarray of shape (n,), datetime64[ns], UTC."""
        ...

    def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """What there is on disk of the samples at these positions, n of them."""
        ...

    def kept(self, series: ArrayLike) -> NDArray[Any]:
        """What would be read of samples that are in no store, to be kept in memory.

        Args:
            series: Their windows', of shape (n, fields, points).
        """
        ...

    def sent(self, read: NDArray[Any]) -> NDArray[Any]:
        """What the device gets of what was read or kept."""
        ...

    def to_images(self, sent: Tensor) -> Tensor:
        """Images of what was sent, on its device: float32, (n, channels, size, size) in [-1, 1]."""
        ...


class StoredImages:
    """Images that were made once.

    Args:
        store: The open store. One that is written anew at its place meanwhile does not change what
            this one reads.
    """

    def __init__(self, store: ImageStore) -> None:
        self._images, self._spec = store.images, store.spec
        self.folder, self.times = store.folder, store.times
        self.about = f"{len(self.times):,} images"

    def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Images as stored: shape (n, channels, size, size)."""
        return np.asarray(self._images[positions])

    def kept(self, series: ArrayLike) -> NDArray[Any]:
        """Images as they would be stored."""
        return self._spec.encode(series)

    def sent(self, read: NDArray[Any]) -> NDArray[Any]:
        """The images, in one byte a pixel where they are int8."""
        return read

    def to_images(self, sent: Tensor) -> Tensor:
        """The images, scaled."""
        return _scaled(sent, self._spec)


class ImagesOnTheFly:
    """Images that are made batch by batch, of series that are read.

    Args:
        store: The open store of series, see `StoredImages`.
        rows: The bars at which samples are decided, see `gafcnn.data.windows.decision_rows`: shape (n,).
        offsets: How many bars each point of a window is before them, 0 or less: shape (points,).
        images: What is made of them, and how.

    Raises:
        ImagesError: Images of such a kind cannot be made here.
    """

    def __init__(
        self,
        store: SeriesStore,
        rows: NDArray[np.int64],
        offsets: NDArray[np.int64],
        images: ImageSpec,
    ) -> None:
        images.check_on_the_fly()
        self._series, self._spec = store.series, images
        self._rows, self._offsets = rows, offsets
        self.folder, self.times = store.folder, store.times[rows]
        self.about = f"the series of {len(self.times):,} images"

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """The windows' series: shape (n, fields, points)."""
        where = self._rows[positions][:, None] + self._offsets
        return np.asarray(self._series[where]).transpose(0, 2, 1)

    def kept(self, series: ArrayLike) -> NDArray[np.float64]:
        """The series, if images can be made of them."""
        return checked_series(series)

    def sent(self, read: NDArray[Any]) -> NDArray[np.float32]:
        """The two vectors of which the images are outer products: shape (n, fields, 2, size)."""
        return self._spec.encode_polar(read)

    def to_images(self, sent: Tensor) -> Tensor:
        """The outer products, rounded as they would be stored, and scaled."""
        if sent.device.type != "cpu":
            return self._made(sent)
        # few at a time: an image is rounded and scaled while the cache holds it
        return torch.cat([self._made(some) for some in sent.split(IN_CACHE)])

    def _made(self, sent: Tensor) -> Tensor:
        images = _outer_products(sent, self._spec.kinds)
        if self._spec.scale != 1:
            # to even, as numpy rounds; + 0 makes of -0 the 0 that a whole number would be
            return _scaled(images.round_().add_(0.0), self._spec)
        return _scaled(images.to(getattr(torch, self._spec.dtype)), self._spec)


class PooledImages:
    """Images of several symbols, one symbol's after another's.

    Args:
        sources: Of each symbol, all of the same images, made in the same way.
    """

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self._sources = sources
        self._starts = np.cumsum([0, *(len(source.times) for source in sources)])
        self.folder = sources[0].folder.parent
        self.times = np.concatenate([source.times for source in sources])
        self.about = f"{len(self.times):,} images"

    def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """What the symbols' sources read, in the order of the positions."""
        numbers = np.searchsorted(self._starts, positions, side="right") - 1
        order = np.argsort(numbers, kind="stable")
        found = [
            self._sources[number].read(positions[numbers == number] - self._starts[number])
            for number in np.unique(numbers)
        ]
        return np.concatenate(found)[np.argsort(order)]

    def kept(self, series: ArrayLike) -> NDArray[Any]:
        """What any of the sources would read of it."""
        return self._sources[0].kept(series)

    def sent(self, read: NDArray[Any]) -> NDArray[Any]:
        """What any of the sources would send."""
        return self._sources[0].sent(read)

    def to_images(self, sent: Tensor) -> Tensor:
        """The images, as any of the sources makes them."""
        return self._sources[0].to_images(sent)


def _outer_products(vectors: Tensor, kinds: Sequence[str]) -> Tensor:
    """Images of shape (n, fields * kinds, size, size) of vectors (n, fields, 2, size).

    Products and their difference are rounded one by one, as `gafcnn.images.gaf` rounds them: a
    matrix product, or a fused multiply and add, would give other images in the last bit.
    """
    c, s = vectors.unbind(2)
    rows = {GASF: (c, s), GADF: (s, c)}
    first, second = (
        torch.stack(of_kinds, dim=2)[..., None]
        for of_kinds in zip(*[rows[kind] for kind in kinds], strict=True)
    )
    images = (first * c[:, :, None, None]).sub_(second * s[:, :, None, None])
    return images.flatten(1, 2)


def _scaled(images: Tensor, spec: ImageSpec) -> Tensor:
    return images.float().mul_(spec.scale)
