"""Images of a batch: encoded from series in memory, or read from stored arrays.

    images        read for a batch                    computed on the device
    on_the_fly    two vectors per GAF image           their outer products, rounded and scaled
                  (other kinds: encoded images)       (scaled)
    stored        encoded images                      scaled

Both show a network the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gafcnn.data.augmentation import Drawn
from gafcnn.data.samples import Samples
from gafcnn.data.windows import Window, WindowReader
from gafcnn.images.kinds import GADF, GASF
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import build_store, store_folder

IN_CACHE = 16  # images that are computed at a time on a CPU
CHUNK = 4096  # additional images that are encoded at a time


class SeriesInMemory:
    """Images that are encoded batch by batch from series in memory.

    Args:
        parts: Bars and decision rows, for each symbol and each additional source.
        window: What an image shows.
        spec: How images are encoded.
    """

    def __init__(
        self,
        parts: Sequence[tuple[pd.DataFrame, NDArray[np.int64]]],
        window: Window,
        spec: ImageSpec,
    ) -> None:
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

    def _multiply(self, sent: Tensor) -> Tensor:
        images = _outer_products(sent, self._spec.kinds)
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
        if len(self._arrays) == 1:
            return np.asarray(self._arrays[0][positions])
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


def image_source(
    samples: Samples,
    window: Window,
    spec: ImageSpec,
    folder: Path | None,
    drawn: Sequence[Drawn] = (),
) -> ImageSource:
    """Return images of samples, symbol after symbol, and then of additional samples.

    Args:
        samples: The samples, with their bars.
        window: What an image shows.
        spec: How images are encoded.
        folder: Folder of the stored images, which are encoded if they are missing (additional ones
            into memory); None encodes images batch by batch.
        drawn: Additional training samples.

    Raises:
        StoreError: A store is damaged, or does not match the samples.
    """
    window = replace(window, lookback=samples.lookback)  # which makes the decision rows
    if folder is None:
        parts = [(samples.bars[symbol], samples.bar_rows(symbol)) for symbol in samples.symbols]
        return SeriesInMemory([*parts, *((part.bars, part.rows) for part in drawn)], window, spec)
    arrays = []
    for symbol in samples.symbols:
        place = store_folder(folder, symbol, window)
        store = build_store(place, samples.bars[symbol], window, spec)
        arrays.append(store.array)
    for part in drawn:  # in chunks, which limit the memory
        reader = WindowReader(part.bars, window, spec.fields)
        chunks = np.split(part.rows, range(CHUNK, len(part.rows), CHUNK))
        arrays.append(np.concatenate([spec.encode(reader(rows)) for rows in chunks]))
    return StoredImages(arrays, spec)


def _outer_products(vectors: Tensor, kinds: Sequence[str]) -> Tensor:
    """Return images of shape (n, fields * kinds, size, size) of vectors (n, fields, 2, size).

    Products and their difference are rounded one by one, as in `gafcnn.images.gaf`: a matrix
    product, or a fused multiply-add, would differ in the last bit.
    """
    c, s = vectors.unbind(2)
    rows = {GASF: (c, s), GADF: (s, c)}
    first, second = (
        torch.stack(factors, dim=2)[..., None]
        for factors in zip(*[rows[kind] for kind in kinds], strict=True)
    )
    images = (first * c[:, :, None, None]).sub_(second * s[:, :, None, None])
    return images.flatten(1, 2)
