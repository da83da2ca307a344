"""What images are made of and how, as one value that all who make or read images share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gafcnn.data.features import known_fields
from gafcnn.errors import ImagesError
from gafcnn.images.encoding import (
    DEFAULT_KINDS,
    UNITS,
    check_dtype,
    check_scaling,
    check_size,
    encode,
    encode_polar,
    known_kinds,
    known_range,
)
from gafcnn.images.scaling import RANGES, SCALINGS


@dataclass(frozen=True)
class ImageSpec:
    """The images of a window: which fields of its candles, as which kinds of picture.

    Args:
        size: Pixels a side.
        dtype: What a pixel is stored as: "int8", "float16" or "float32".
        fields: Names of `gafcnn.data.features.FIELDS`.
        kinds: Pictures of each field: some of "gasf", "gadf", "markov", "recurrence".
        range: What series are scaled to: (-1, 1) or (0, 1).
        scaling: How they are: "per_field", "jointly" or "fixed"; see `gafcnn.images.encoding.encode`.

    Raises:
        ImagesError: An option makes no image.
        SamplesError: A field is unknown.
    """

    size: int
    dtype: str
    fields: tuple[str, ...]
    kinds: tuple[str, ...]
    range: tuple[int, int]
    scaling: str

    def __init__(
        self,
        size: int = 64,
        dtype: str = "int8",
        fields: Iterable[str] = ("close",),
        kinds: Iterable[str] = DEFAULT_KINDS,
        range: Iterable[float] = RANGES[0],  # noqa: A002 - the option's name
        scaling: str = SCALINGS[0],
    ) -> None:
        check_size(size)
        check_dtype(dtype)
        check_scaling(scaling)
        # through __dict__, as a frozen dataclass has no other way to hold what its options mean
        self.__dict__.update(
            size=int(size),
            dtype=dtype,
            fields=known_fields(fields),
            kinds=known_kinds(kinds),
            range=known_range(range),
            scaling=scaling,
        )

    @property
    def channels(self) -> tuple[tuple[str, str], ...]:
        """What each channel of an image is, in their order: the field and its kind."""
        return tuple((field, kind) for field in self.fields for kind in self.kinds)

    @property
    def scale(self) -> float:
        """What to multiply stored pixels by to have them in [-1, 1]."""
        return 1 / UNITS[self.dtype]

    @property
    def options(self) -> dict[str, Any]:
        """The options as JSON would hold them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.__dict__.items()
        }

    def encode(self, series: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Make the images of series of the fields, see `gafcnn.images.encoding.encode`.

        Args:
            series: Shape (n, fields, points), as `WindowReader` reads the fields.
            out: To draw into and return; a new array where there is none.

        Returns:
            ndarray of shape (n, channels, size, size).
        """
        how = {"kinds": self.kinds, "range": self.range, "scaling": self.scaling, "out": out}
        return encode(series, self.size, self.dtype, **how)

    def shown(self, series: ArrayLike) -> NDArray[np.float32]:
        """Make the images of series as a network is shown them: rounded as stored, then scaled.

        Args:
            series: Shape (n, fields, points), as `WindowReader` reads the fields.

        Returns:
            ndarray of shape (n, channels, size, size) in [-1, 1].
        """
        return self.encode(series).astype(np.float32) * np.float32(self.scale)

    def encode_polar(self, series: ArrayLike) -> NDArray[np.float32]:
        """Make what the images are outer products of, see `gafcnn.images.encoding.encode_polar`.

        Args:
            series: Shape (n, fields, points), as `WindowReader` reads the fields.

        Returns:
            ndarray of shape (n, fields, 2, size).
        """
        how = {"range": self.range, "scaling": self.scaling}
        return encode_polar(series, self.size, self.dtype, **how)

    def check_on_the_fly(self) -> None:
        """Assert that images can be made batch by batch: that all are outer products of vectors.

        Raises:
            ImagesError: There is one of another kind.
        """
        if further := [kind for kind in self.kinds if kind not in DEFAULT_KINDS]:
            raise ImagesError(
                f"images of the kind {further[0]!r} cannot be made on the fly",
                expected=" or ".join(DEFAULT_KINDS),
                instead="set images=stored",
            )


DEFAULT = ImageSpec()
"""GASF and GADF of the close, 64 pixels wide, as int8."""
