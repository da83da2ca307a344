"""Scaling: from the values of series to numbers that can be the cosines of angles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gafcnn.kernels import compiled

RANGES = ((-1, 1), (0, 1))
"""What series may be scaled to, the default first."""

SCALINGS = ("per_field", "jointly", "fixed")
"""How they may be, the default first."""


def scaled(
    series: NDArray[np.float64],
    knots: int,
    ends: tuple[int, int] = RANGES[0],
    scaling: str = SCALINGS[0],
) -> NDArray[np.float64]:
    """Scale the series of each sample, once they are brought to so many knots.

    With fewer knots than points, a knot is the mean of a segment of points, bounds at
    `floor(k points / knots)`.

    With `per_field` the least knot of each series becomes the lower end of the range and the
    greatest the upper; with `jointly` those of all fields of a sample together, so that fields of
    one unit can still be compared. Where nothing differs, all lies in the middle. With `fixed`

        x = v / (1 + |v|),  for the range [0, 1] mapped on by (x + 1) / 2,

    so that 0 is the middle of the range in every sample: for fields that are signs or ratios.

    Args:
        series: Shape (n, fields, points).
        knots: At most as many as there are points.
        ends: The ends of the range, one of `RANGES`.
        scaling: One of `SCALINGS`.

    Returns:
        ndarray of shape (n, fields, knots).
    """
    signed = ends == RANGES[0]
    return _scaled(series, knots, scaling == "jointly", scaling == "fixed", signed)


@compiled
def segments(points: int, knots: int) -> NDArray[np.int64]:
    """Where each segment of points begins, and the last one ends: shape (knots + 1,)."""
    return np.linspace(0, points, knots + 1).astype(np.int64)


@compiled
def _scaled(
    series: NDArray[np.float64],
    knots: int,
    jointly: bool,  # noqa: FBT001 - a kernel is called by position
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
                    # the mean of equal values may lie a bit beside them, and scaling by the
                    # extremes would make a picture of that bit
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
