"""Scaling of series to values that can be the cosines of angles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gafcnn.images.kinds import RANGES
from gafcnn.kernels import compiled


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
