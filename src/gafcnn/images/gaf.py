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

from gafcnn.images.kinds import RANGES
from gafcnn.kernels import compiled


@compiled
def polar(
    x: NDArray[np.float64], centres: NDArray[np.float64], scale: float
) -> NDArray[np.float32]:
    """Return the vectors whose outer products `draw_gaf` draws.

    Args:
        x: Scaled series, shape (n, fields, knots).
        centres: The centres of the pixels, counted in knots: shape (size,).
        scale: The square root of what 1 is drawn as.

    Returns:
        Shape (n, fields, 2, size): c, then s, at the centres of the pixels.
    """
    n, fields, _ = x.shape
    vectors = np.empty((n, fields, 2, len(centres)), np.float32)
    for sample in range(n):
        for field in range(fields):
            c, s = vectors[sample, field, 0], vectors[sample, field, 1]
            _interpolate(x[sample, field], centres, scale, c, s)
    return vectors


@compiled
def _interpolate(
    cosines: NDArray[np.float64],
    centres: NDArray[np.float64],
    scale: float,
    c: NDArray[np.float32],
    s: NDArray[np.float32],
) -> None:
    """Fill c and s of one series at the centres of the pixels."""
    sines = np.sqrt(1 - cosines * cosines)
    for i in range(len(centres)):
        left = int(centres[i])
        right = min(left + 1, len(cosines) - 1)
        weight = centres[i] - left
        c[i] = scale * ((1 - weight) * cosines[left] + weight * cosines[right])
        s[i] = scale * ((1 - weight) * sines[left] + weight * sines[right])


@compiled
def _outer(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    c: NDArray[np.float32],
    s: NDArray[np.float32],
    rounded: bool,  # noqa: FBT001 - kernels are called by position
    image: NDArray[Any],
) -> None:
    """Draw `first_i c_j - second_i s_j`."""
    for i in range(len(c)):
        for j in range(len(c)):
            pixel = first[i] * c[j] - second[i] * s[j]
            image[i, j] = np.rint(pixel) if rounded else pixel


@compiled
def draw_gaf(
    x: NDArray[np.float64],
    centres: NDArray[np.float64],
    scale: float,
    at_gasf: int,
    at_gadf: int,
    images: NDArray[Any],
) -> None:
    """Draw the Gramian Angular Fields of series.

    Args:
        x: Scaled series, shape (n, fields, knots).
        centres: The centres of the pixels, counted in knots: shape (size,).
        scale: The square root of what 1 is drawn as; values are rounded unless it is 1.
        at_gasf: The place of the GASF among the kinds; -1 for none.
        at_gadf: The place of the GADF.
        images: The array to draw into: shape (n, fields, kinds, size, size), int8 or float32.
    """
    rounded = scale != 1.0
    n, fields, _ = x.shape
    size = len(centres)
    c, s = np.empty(size, np.float32), np.empty(size, np.float32)
    for sample in range(n):
        for field in range(fields):
            _interpolate(x[sample, field], centres, scale, c, s)
            if at_gasf >= 0:
                _outer(c, s, c, s, rounded, images[sample, field, at_gasf])
            if at_gadf >= 0:
                _outer(s, c, c, s, rounded, images[sample, field, at_gadf])


def scaled(
    series: NDArray[np.float64],
    knots: int,
    range: tuple[int, int] = RANGES[0],  # noqa: A002 - the name of the option
    scaling: str = "per_field",
) -> NDArray[np.float64]:
    """Return the series of each sample, averaged over `knots` segments and scaled to a range.

    With fewer knots than points, a knot is the mean of a segment of points, with bounds at
    `floor(k points / knots)`. "per_field" maps the extremes of each series, "jointly" those of all
    fields of a sample, to the ends of the range; a constant lies in the middle. "fixed" is

        x = v / (1 + |v|),  for the range [0, 1] followed by (x + 1) / 2,

    so that 0 is the middle of the range in every sample: for fields that are signs or ratios.

    Args:
        series: Shape (n, fields, points).
        knots: At most the number of points.
        range: One of `RANGES`.
        scaling: "per_field", "jointly" or "fixed".

    Returns:
        Shape (n, fields, knots).
    """
    signed = range == RANGES[0]
    return _scaled(series, knots, scaling == "jointly", scaling == "fixed", signed)


@compiled
def segments(points: int, knots: int) -> NDArray[np.int64]:
    """Return where each segment of points begins, and the end of the last: shape (knots + 1,)."""
    return np.linspace(0, points, knots + 1).astype(np.int64)


@compiled
def _scaled(
    series: NDArray[np.float64],
    knots: int,
    jointly: bool,  # noqa: FBT001 - kernels are called by position
    fixed: bool,  # noqa: FBT001
    signed: bool,  # noqa: FBT001
) -> NDArray[np.float64]:
    n, fields, points = series.shape
    bounds = segments(points, knots)
    x = np.empty((n, fields, knots))
    lows, highs = np.empty(fields), np.empty(fields)
    for sample in range(n):
        for field in range(fields):
            values = x[sample, field]
            if knots == points:
                values[:] = series[sample, field]
            else:
                for k in range(knots):
                    segment = series[sample, field, bounds[k] : bounds[k + 1]]
                    # rounding moves the mean of equal values, and scaling by the extremes would
                    # magnify that
                    values[k] = min(max(segment.mean(), segment.min()), segment.max())
            lows[field], highs[field] = values.min(), values.max()
        if jointly:
            lows[:], highs[:] = lows.min(), highs.max()
        for field in range(fields):
            values, low, high = x[sample, field], lows[field], highs[field]
            for k in range(knots):
                if fixed:
                    value = values[k] / (1 + abs(values[k]))
                    values[k] = value if signed else (value + 1) / 2
                else:
                    share = (values[k] - low) / (high - low) if high > low else 0.5
                    values[k] = 2 * share - 1 if signed else share
    return x
