"""The settings of images, and the encoding of series as they say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from gafcnn.data.features import FIELDS
from gafcnn.errors import ImagesError
from gafcnn.images.kinds import GADF, GASF, IMAGE_KINDS, OUTER_PRODUCTS, RANGES, Floats, ImageKind
from gafcnn.settings import settings

# gafcnn.images.gaf imports numba, so functions here import it when they draw

_UNITS = {"float32": 1.0, "float16": 1.0, "int8": 127.0}  # what a pixel of value 1 is stored as
_LARGEST = 1e300  # sums and ranges of such values are still finite
_BLOCK = 256  # series whose pictures of a registered kind are in memory at a time, as float64


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
    range: tuple[Literal[-1, 0], Literal[1]] = RANGES[0]
    scaling: Literal["per_field", "jointly", "fixed"] = "per_field"

    def __post_init__(self) -> None:
        FIELDS.all_of(self.fields, "images.fields")
        IMAGE_KINDS.all_of(self.kinds, "images.kinds")

    @property
    def channels(self) -> tuple[tuple[str, str], ...]:
        """Field and kind of each channel, in order."""
        return tuple((field, kind) for field in self.fields for kind in self.kinds)

    @property
    def scale(self) -> float:
        """The factor that brings stored pixels to [-1, 1]."""
        return 1 / _UNITS[self.dtype]

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
        from gafcnn.images.gaf import draw_gaf

        values = checked_series(series)
        n, fields, _ = values.shape
        shape = (n, fields * len(self.kinds), self.size, self.size)
        images = np.empty(shape, self.dtype) if out is None else out
        if images.shape != shape or images.dtype != self.dtype or not images.flags.c_contiguous:
            raise ImagesError(
                f"out is an array of {images.dtype} of shape {images.shape}",
                expected=f"a contiguous array of {self.dtype} of shape {shape}",
                instead="pass such an array, or leave it out",
            )
        # numba has no float16 on CPUs
        drawn = images if self.dtype != "float16" else np.empty(shape, np.float32)
        drawn = drawn.reshape(n, fields, len(self.kinds), self.size, self.size)
        kinds = np.array([{GASF: 0, GADF: 1}.get(kind, -1) for kind in self.kinds])

        def draw_part(part: slice) -> None:
            draw_gaf(self.encode_polar(values[part]), kinds, self.dtype == "int8", drawn[part])

        if kinds.max() >= 0:
            import numba

            # threads around a kernel without the GIL: numba's parallel=True is as fast, but after
            # it, GNU OpenMP kills a forked worker process that encodes
            threads = min(numba.config.NUMBA_NUM_THREADS, n)  # pyright: ignore
            ends = np.linspace(0, n, threads + 1).astype(int)
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(draw_part, [slice(*part) for part in pairwise(ends)]))
        for place, kind in enumerate(self.kinds):
            if kind not in OUTER_PRODUCTS:
                self._draw_registered(IMAGE_KINDS[kind], values, drawn[:, :, place])
        if self.dtype == "float16":
            images[:] = drawn.reshape(shape)
        return images

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
        from gafcnn.images.gaf import interpolated, scaled

        values = checked_series(series)
        x = scaled(values, min(values.shape[2], self.size), self.range, self.scaling)
        scale = math.sqrt(_UNITS[self.dtype])
        return interpolated(np.stack([x, np.sqrt(1 - x * x)], axis=2), self.size, scale, np.float32)

    def _draw_registered(self, kind: ImageKind, values: Floats, images: NDArray[Any]) -> None:
        """Draw a registered kind into images of shape (n, fields, size, size)."""
        from gafcnn.images.gaf import interpolated, scaled

        n, fields, points = values.shape
        knots, unit = min(points, self.size) if kind.average else points, _UNITS[self.dtype]
        for start in range(0, n, _BLOCK):
            part = slice(start, start + _BLOCK)
            x = scaled(values[part], knots, kind.range or self.range, self.scaling)
            for field in range(fields):
                pictures = kind.draw(x[:, field], self.size)
                rows = interpolated(pictures.swapaxes(1, 2), self.size).swapaxes(1, 2)
                pixels = interpolated(rows, self.size, unit)
                images[part, field] = np.rint(pixels) if unit != 1 else pixels


def encode(
    series: ArrayLike,
    size: int = 64,
    dtype: str = "float32",
    *,
    kinds: Iterable[str] = OUTER_PRODUCTS,
    range: Iterable[float] = RANGES[0],  # noqa: A002 - the name of the option
    scaling: str = "per_field",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Encode series as images, by default a GASF and a GADF each.

    By default each series is scaled by its own minimum and maximum, so an image shows neither the
    level nor the scale of prices; a constant series lies in the middle of the range. With more
    points than pixels, series are first averaged over `size` segments, with bounds at `floor(k
    points / size)` as in pyts. With fewer points, the `points x points` field is resized bilinearly
    (half-pixel centres, clamped edges); for a Gramian Angular Field that equals the outer product
    of interpolated vectors.

    In the range [-1, 1], the GASF of x equals the GASF of -x: whether a series rises or falls is
    not visible in it, nor its sign with `fixed` scaling. In [0, 1] it is.

    Args:
        series: Finite values, oldest first: shape (n, points) or (n, fields, points).
        size: Pixels per side.
        dtype: "float32" or "float16" for pixels in [-1, 1], "int8" for round(127 x).
        kinds: Names of registered kinds: "gasf", "gadf", "markov", "recurrence", or your own.
        range: What series are scaled to: (-1, 1) or (0, 1).
        scaling: "per_field" scales each series by its own extremes, "jointly" by those of all
            fields of a sample, "fixed" by x = v / (1 + |v|), so that 0 is the middle of the range.
        out: Array to draw into and return, of the shape and dtype of the result; it saves the time
            to allocate memory.

    Returns:
        Shape (n, fields * kinds, size, size): the kinds of the first field in the order given, then
        those of the next field.

    Raises:
        ConfigError: An option is invalid.
        ImagesError: A value is not finite, or the shape of `series` or `out` is wrong.
    """
    options: Any = {"dtype": dtype, "kinds": kinds, "range": range, "scaling": scaling}
    return ImageSpec(size, **options).encode(series, out)


def checked_series(series: ArrayLike) -> Floats:
    """Return series as float64 of shape (n, fields, points).

    Raises:
        ImagesError: A value is not finite or beyond 1e300, the shape is wrong, or they are a
            DataFrame, of which rows or columns could be the series.
    """
    if isinstance(series, pd.DataFrame) and series.shape[1] > 1:
        raise ImagesError(
            f"the series are a DataFrame with the columns {', '.join(map(str, series.columns))}",
            expected="an array whose rows are series, oldest value first",
            instead="pass frame.to_numpy().T if columns are series, frame.to_numpy() if rows are",
        )
    try:
        values = np.ascontiguousarray(series, dtype=np.float64)
        found = f"the series have shape {values.shape}"
    except (TypeError, ValueError) as error:
        values, found = np.empty(0), f"the series are not an array of numbers ({error})"
    if values.ndim == 2:
        values = values[:, None, :]
    if values.ndim != 3 or not values.size:
        raise ImagesError(
            found,
            expected="shape (n, points) or (n, fields, points), without an axis of length 0",
            instead="pass a single series as series[None, :]",
        )
    if not (valid := np.abs(values) <= _LARGEST).all():
        sample, field, point = np.argwhere(~valid)[0]
        raise ImagesError(
            f"point {point} of field {field} of sample {sample} is {values[sample, field, point]}",
            expected=f"finite values of at most {_LARGEST:g}",
            instead="leave out samples whose window is incomplete",
        )
    return values
