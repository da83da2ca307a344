"""Gramian Angular Fields: a series as a picture of the angles between its points.

A series is scaled to x in [-1, 1], each value read as the cosine of an angle phi, and two points i
and j make two pixels (Wang and Oates, "Encoding Time Series as Images for Visual Inspection and
Classification Using Tiled Convolutional Neural Networks", AAAI workshop, 2015):

    GASF[i, j] = cos(phi_i + phi_j) = c_i c_j - s_i s_j
    GADF[i, j] = sin(phi_i - phi_j) = s_i c_j - c_i s_j        with c = x, s = sqrt(1 - x^2)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gafcnn.errors import ImagesError

KINDS = ("gasf", "gadf")
"""The channels of one field, in their order."""

UNITS = {"float32": 1.0, "float16": 1.0, "int8": 127.0}
"""What a pixel of value 1 is stored as, by dtype."""

_LARGEST = 1e300  # sums and ranges of such values are still finite
_FLOAT16_BLOCK = 64


def encode(series: ArrayLike, size: int = 64, dtype: str = "float32") -> NDArray[Any]:
    """Make a GASF and a GADF image of each series.

    Each series is scaled on its own, so an image knows neither the level nor the scale of prices; a
    constant series lies in the middle (x = 0: GASF -1, GADF 0 everywhere). More points than pixels
    are first replaced by the means of `size` segments, bounds at `floor(k points / size)`, as pyts
    does. Fewer points give the `points x points` field resized bilinearly (half-pixel centres,
    clamped edges), which is the same outer product over interpolated c and s.

    Args:
        series: Finite values, oldest first: shape (n, points) or (n, fields, points).
        size: Pixels a side.
        dtype: "float32" or "float16" for pixels in [-1, 1] (to within rounding), "int8" for
            round(127 x).

    Returns:
        ndarray of shape (n, 2 * fields, size, size): GASF and GADF of the first field, then of the
        next.

    Raises:
        ImagesError: A value is not finite, the shape is another, or an option makes no image.
    """
    check_image(size, dtype)
    series = _checked(series)
    n, fields, points = series.shape
    images = np.empty((n, len(KINDS) * fields, size, size), dtype)
    knots = min(points, size)
    bounds = np.linspace(0, points, knots + 1).astype(np.int64)
    centres = np.clip((np.arange(size) + 0.5) * knots / size - 0.5, 0, knots - 1)
    _in_threads(
        series.reshape(n * fields, points),
        (bounds, centres, math.sqrt(UNITS[dtype])),
        images.reshape(n * fields, len(KINDS), size, size),
    )
    return images


def check_image(size: int, dtype: str) -> None:
    """Assert that images of this size and dtype can be made.

    Raises:
        ImagesError: The size is not a positive whole number, or the dtype is unknown.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ImagesError(
            f"the image size is {size!r}",
            expected="a whole number of pixels, 1 or more",
            instead="set images.size=64",
        )
    if dtype not in UNITS:
        raise ImagesError(
            f"the image dtype is {dtype!r}",
            expected=" or ".join(UNITS),
            instead="set images.dtype=int8",
        )


def _checked(series: ArrayLike) -> NDArray[np.float64]:
    """The series with an axis of fields: shape (n, fields, points)."""
    try:
        values = np.ascontiguousarray(series, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _no_series(f"the series are no array of numbers ({error})") from error
    if values.ndim == 2:
        values = values[:, None, :]
    if np.ndim(series) not in (2, 3) or not values.size:
        raise _no_series(f"the series are of shape {np.shape(series)}")
    if not (tame := np.abs(values) <= _LARGEST).all():
        sample, field, point = np.argwhere(~tame)[0]
        raise ImagesError(
            f"point {point} of field {field} of sample {sample} is {values[sample, field, point]}",
            expected=f"finite values, none beyond {_LARGEST:g}",
            instead="leave out the samples whose window is not filled",
        )
    return values


def _no_series(found: str) -> ImagesError:
    return ImagesError(
        found,
        expected="shape (n, points) or (n, fields, points) with nothing of length 0",
        instead="give a single series as series[None, :]",
    )


def _in_threads(series: NDArray[np.float64], how: tuple[Any, ...], images: NDArray[Any]) -> None:
    # threads of our own around a kernel without the GIL: numba's parallel=True is as fast, but
    # after it a forked worker process that encodes is killed by GNU OpenMP
    most: int = numba.config.NUMBA_NUM_THREADS  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]
    threads = min(most, len(series))
    ends = np.linspace(0, len(series), threads + 1).astype(int)
    parts = [slice(*part) for part in pairwise(ends)]
    draw = _draw_float16 if images.dtype == np.float16 else _draw
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: draw(series[part], *how, images[part]), parts))


def _draw_float16(series: NDArray[np.float64], *how_and_images: Any) -> None:
    # numba knows no float16 on the CPU
    *how, images = how_and_images
    for start in range(0, len(series), _FLOAT16_BLOCK):
        part = slice(start, start + _FLOAT16_BLOCK)
        drawn = np.empty(images[part].shape, np.float32)
        _draw(series[part], *how, drawn)
        images[part] = drawn


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled at the first call, and kept on disk where numba finds a folder to write to."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)


@_compiled
def _polar(
    values: NDArray[np.float64],
    bounds: NDArray[np.int64],
    centres: NDArray[np.float64],
    scale: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The c and s of one series at the pixels' centres, times `scale`: shape (size,) each."""
    knots, size = len(bounds) - 1, len(centres)
    x = np.empty(knots)
    for k in range(knots):
        x[k] = values[bounds[k] : bounds[k + 1]].mean()
    low, high = x.min(), x.max()
    for k in range(knots):
        x[k] = 2 * ((x[k] - low) / (high - low)) - 1 if high > low else 0.0
    s = np.sqrt(1 - x * x)
    cosines, sines = np.empty(size, np.float32), np.empty(size, np.float32)
    for i in range(size):
        left = int(centres[i])
        right = min(left + 1, knots - 1)
        weight = centres[i] - left
        cosines[i] = scale * ((1 - weight) * x[left] + weight * x[right])
        sines[i] = scale * ((1 - weight) * s[left] + weight * s[right])
    return cosines, sines


@_compiled
def _draw(
    series: NDArray[np.float64],
    bounds: NDArray[np.int64],
    centres: NDArray[np.float64],
    scale: float,
    images: NDArray[Any],
) -> None:
    """Write both fields of each series, shape (n, points), into images, (n, 2, size, size).

    `scale` is the square root of what 1 is drawn as; anything but 1 means whole numbers.
    """
    whole = scale != 1.0
    for n in range(len(series)):
        c, s = _polar(series[n], bounds, centres, scale)
        for i in range(len(c)):
            for j in range(len(c)):
                gasf, gadf = c[i] * c[j] - s[i] * s[j], s[i] * c[j] - c[i] * s[j]
                images[n, 0, i, j] = np.rint(gasf) if whole else gasf
                images[n, 1, i, j] = np.rint(gadf) if whole else gadf
