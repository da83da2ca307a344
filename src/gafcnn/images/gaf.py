"""Gramian Angular Fields: a series as a picture of the angles between its points.

A series is scaled to x in [-1, 1], each value is read as the cosine of an angle phi, and two points
i and j give two pixels (Wang and Oates, "Encoding Time Series as Images for Visual Inspection and
Classification Using Tiled Convolutional Neural Networks", AAAI workshop, 2015):

    GASF[i, j] = cos(phi_i + phi_j) = c_i c_j - s_i s_j
    GADF[i, j] = sin(phi_i - phi_j) = s_i c_j - c_i s_j        with c = x, s = sqrt(1 - x^2)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gafcnn.images.kinds import GADF, GASF
from gafcnn.kernels import compiled

_ABSENT = -1


def draw_gaf(
    x: NDArray[np.float64],
    centres: NDArray[np.float64],
    scale: float,
    kinds: Sequence[str],
    images: NDArray[Any],
) -> None:
    """Draw the Gramian Angular Fields among `kinds`.

    Args:
        x: Scaled series, shape (n, fields, knots).
        centres: The centres of the pixels, counted in knots: shape (size,).
        scale: The square root of what 1 is drawn as; values are rounded unless it is 1.
        kinds: The kinds that the images hold, in order.
        images: The array to draw into: shape (n, fields, kinds, size, size), int8 or float32.
    """
    places = [kinds.index(kind) if kind in kinds else _ABSENT for kind in (GASF, GADF)]
    _draw(x, centres, scale, *places, images)


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
    vectors = np.empty((*x.shape[:2], 2, len(centres)), np.float32)
    _interpolate_all(x, centres, scale, vectors)
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
def _interpolate_all(
    x: NDArray[np.float64],
    centres: NDArray[np.float64],
    scale: float,
    vectors: NDArray[np.float32],
) -> None:
    for sample in range(x.shape[0]):
        for field in range(x.shape[1]):
            c, s = vectors[sample, field, 0], vectors[sample, field, 1]
            _interpolate(x[sample, field], centres, scale, c, s)


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
def _draw(
    x: NDArray[np.float64],
    centres: NDArray[np.float64],
    scale: float,
    at_gasf: int,
    at_gadf: int,
    images: NDArray[Any],
) -> None:
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
