"""Kernels for scaling series and for drawing Gramian Angular Fields of them.

A series is scaled to x in [-1, 1], each value is read as the cosine of an angle phi, and two points
i and j give two pixels (Wang and Oates, "Encoding Time Series as Images for Visual Inspection and
Classification Using Tiled Convolutional Neural Networks", AAAI workshop, 2015):

    GASF[i, j] = cos(phi_i + phi_j) = c_i c_j - s_i s_j
    GADF[i, j] = sin(phi_i - phi_j) = s_i c_j - c_i s_j        with c = x, s = sqrt(1 - x^2)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gafcnn.images.kinds import RANGES, Floats
from gafcnn.kernels import compiled


@compiled
def draw_gaf(
    vectors: NDArray[np.float32],
    kinds: NDArray[np.int64],
    rounded: bool,  # noqa: FBT001 - kernels are called by position
    images: NDArray[Any],
) -> None:
    """Draw Gramian Angular Fields of vectors, see `ImageSpec.encode_polar`; rounded or not.

    Each of `kinds` is 0 for GASF, 1 for GADF or -1 for nothing; the array to draw into has shape
    (n, fields, kinds, size, size) and int8 or float32.
    """
    for sample, field, place in np.ndindex(images.shape[:3]):
        if kinds[place] < 0:
            continue
        image = images[sample, field, place]
        c, s = vectors[sample, field, 0], vectors[sample, field, 1]
        first, second = (c, s) if kinds[place] == 0 else (s, c)
        for i in range(len(c)):
            for j in range(len(c)):
                pixel = first[i] * c[j] - second[i] * s[j]
                image[i, j] = np.rint(pixel) if rounded else pixel


@compiled
def interpolate(values: Floats, centres: Floats, scale: float, result: NDArray[Any]) -> None:
    """Interpolate each row of values at the centres; a row of the result is that times `scale`."""
    for row in range(len(values)):
        for i in range(len(centres)):
            left = int(centres[i])
            right, share = min(left + 1, values.shape[1] - 1), centres[i] - left
            result[row, i] = scale * ((1 - share) * values[row, left] + share * values[row, right])


def scaled(
    series: Floats,
    knots: int,
    range: tuple[int, int] = RANGES[0],  # noqa: A002 - the name of the option
    scaling: str = "per_field",
) -> Floats:
    """Return series averaged over `knots` segments and scaled to a range: shape (n, fields, knots).

    There are at most as many knots as points; the range is one of `RANGES`. For the range [0, 1],
    "fixed" scaling (see `gafcnn.images.encode`) is followed by (x + 1) / 2.
    """
    values, signed = averaged(series, knots), range == RANGES[0]
    if scaling == "fixed":
        x = values / (1 + np.abs(values))
        return x if signed else (x + 1) / 2
    axes = (1, 2) if scaling == "jointly" else 2
    low, high = values.min(axes, keepdims=True), values.max(axes, keepdims=True)
    x = values - low
    x /= np.where(high > low, high - low, 1)
    np.copyto(x, 0.5, where=high == low)
    return np.subtract(np.multiply(x, 2, out=x), 1, out=x) if signed else x


def averaged(series: Floats, knots: int) -> Floats:
    """Return the means of `knots` segments of each series: (..., points) becomes (..., knots)."""
    points = series.shape[-1]
    if knots == points:
        return series
    bounds = np.linspace(0, points, knots + 1).astype(np.int64)
    means = np.add.reduceat(series, bounds[:-1], axis=-1) / np.diff(bounds)
    # rounding moves the mean of equal values, and scaling by the extremes would magnify that
    low, high = (one.reduceat(series, bounds[:-1], axis=-1) for one in (np.minimum, np.maximum))
    return np.clip(means, low, high)


def interpolated(
    values: Floats, size: int, scale: float = 1, dtype: type[np.floating] = np.float64
) -> NDArray[Any]:
    """Return values at the centres of pixels, times `scale`: (..., knots) becomes (..., size)."""
    knots = values.shape[-1]
    centres = np.clip((np.arange(size) + 0.5) * knots / size - 0.5, 0, knots - 1)
    result = np.empty((*values.shape[:-1], size), dtype)
    interpolate(values.reshape(-1, knots), centres, float(scale), result.reshape(-1, size))
    return result
