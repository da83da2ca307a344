"""The settings of images: what they show and how they are encoded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from gafcnn.data.features import known_fields
from gafcnn.errors import ConfigError
from gafcnn.images.kinds import IMAGE_KINDS, OUTER_PRODUCTS, RANGES
from gafcnn.settings import settings

UNITS = {"float32": 1.0, "float16": 1.0, "int8": 127.0}
"""What a pixel of value 1 is stored as, by dtype."""


@settings("images")
class ImageSpec:
    """The images of a window: which fields of its candles, as which kinds of image.

    Args:
        size: Pixels per side.
        dtype: Type of stored pixels.
        fields: Names of registered fields, see `gafcnn.data.features`.
        kinds: Names of registered kinds, see `gafcnn.images.kinds`.
        range: What series are scaled to: (-1, 1) or (0, 1).
        scaling: How series are scaled, see `gafcnn.images.encode`.

    Raises:
        ConfigError: An option is invalid.
    """

    size: Annotated[int, Field(ge=1)] = 64
    dtype: Literal["int8", "float16", "float32"] = "int8"
    fields: tuple[str, ...] = ("close",)
    kinds: tuple[str, ...] = OUTER_PRODUCTS
    range: tuple[int, int] = RANGES[0]
    scaling: Literal["per_field", "jointly", "fixed"] = "per_field"

    def __post_init__(self) -> None:
        known_fields(self.fields)
        for kind in self.kinds:
            IMAGE_KINDS[kind]
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(
                f"images.kinds is {list(self.kinds)}",
                expected="a list of one or more kinds, each once",
                instead="set images.kinds=[gasf,gadf], for example",
            )
        if self.range not in RANGES:
            raise ConfigError(
                f"images.range is {list(self.range)}",
                expected="[-1, 1], or [0, 1], which keeps the sign of a series in its GASF",
                instead="set images.range=[-1,1]",
            )

    @property
    def channels(self) -> tuple[tuple[str, str], ...]:
        """Field and kind of each channel, in order."""
        return tuple((field, kind) for field in self.fields for kind in self.kinds)

    @property
    def scale(self) -> float:
        """The factor that brings stored pixels to [-1, 1]."""
        return 1 / UNITS[self.dtype]

    @property
    def outer_products(self) -> bool:
        """Whether all kinds are outer products of the vectors of `encode_polar`."""
        return set(self.kinds) <= set(OUTER_PRODUCTS)

    def encode(self, series: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Encode series of the fields, see `gafcnn.images.encode`.

        Args:
            series: Shape (n, fields, points), as `WindowReader` reads them.
            out: Array to draw into and return; a new one by default.

        Returns:
            Stored pixels of shape (n, channels, size, size).
        """
        from gafcnn.images.encoding import draw  # which imports this module

        return draw(series, self, out)

    def shown(self, series: ArrayLike) -> NDArray[np.float32]:
        """Encode series as a network sees them: rounded as stored, then scaled to [-1, 1].

        Args:
            series: Shape (n, fields, points).

        Returns:
            Shape (n, channels, size, size).
        """
        return self.encode(series).astype(np.float32) * np.float32(self.scale)

    def encode_polar(self, series: ArrayLike) -> NDArray[np.float32]:
        """Return the vectors whose outer products the Gramian Angular Fields of series are.

        `encode` draws exactly `c_i c_j - s_i s_j` for a GASF and `s_i c_j - c_i s_j` for a GADF in
        float32, rounded to integers for int8.

        Args:
            series: Shape (n, fields, points).

        Returns:
            Shape (n, fields, 2, size): c, then s, at the centres of the pixels, in units of the
            square root of what 1 is stored as.
        """
        from gafcnn.images.encoding import draw_polar

        return draw_polar(series, self)
