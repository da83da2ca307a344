"""Bar images: open, high, low, close, volume and a moving average in one picture.

Jiang, Kelly and Xiu, "(Re-)Imag(in)ing Price Trends", Journal of Finance, 2023. A bar is three
pixels wide: the open to the left, the range in the middle, the close to the right; a line connects
the averages. Row 0 is at the top, the last bar at the right edge.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gafcnn.images.kinds import Floats
from gafcnn.kernels import compiled

WIDTH = 3  # pixels of a bar
VOLUME_SHARE = 5  # volumes have a fifth of the rows


@compiled
def draw_bars(
    series: Floats,
    places: NDArray[np.int64],
    fixed: bool,  # noqa: FBT001 - kernels are called by position
    unit: float,
    images: NDArray[Any],
) -> None:
    """Draw bars into the last channels of images: 0, and `unit` where drawn.

    Prices are scaled from the lowest low or average to the highest high or average of the image, or
    as `price_rows` says. Volumes have the bottom fifth of the rows, scaled by the largest of the
    image; without any volume, prices have all rows.

    Series have shape (n, fields, points), images (n, channels, size, size), with size at least
    3 * points. `places`, shape (k, 6), are where open, high, low, close, volume and average of each
    channel are among the fields. With `fixed`, all images have the same scale.
    """
    points, size = series.shape[2], images.shape[2]
    rows = np.empty((6, points), np.int64)
    for sample, channel in np.ndindex(len(images), len(places)):
        image = images[sample, images.shape[1] - len(places) + channel]
        image[:] = 0
        values = series[sample][places[channel]]
        volumes = values[4]
        largest = volumes.max()
        deepest = size // VOLUME_SHARE if largest > 0 else 0
        price_rows(values, fixed, size - deepest, rows)
        for k in range(points):
            x = size - WIDTH * (points - k) + 1
            image[rows[0, k], x - 1] = unit
            for y in range(rows[1, k], rows[2, k] + 1):
                image[y, x] = unit
            image[rows[3, k], x + 1] = unit
            if deepest:
                for y in range(size - int(deepest * (volumes[k] / largest) + 0.5), size):
                    image[y, x] = unit
            # the line from the average before: as many pixels as the longer of both distances
            rise = rows[5, k] - rows[5, max(k - 1, 0)]
            steps = max(WIDTH, abs(rise)) if k else 1
            down, left = rise / steps, WIDTH / steps
            for step in range(steps):
                y = int(rows[5, k] - down * step + 0.5)
                image[y, x - int(left * step + 0.5)] = unit


@compiled
def price_rows(
    values: Floats,
    fixed: bool,  # noqa: FBT001
    height: int,
    rows: NDArray[np.int64],
) -> None:
    """Find the row of each price among `height`; equal prices are in the middle.

    With a fixed scale, a price is at x = v / (1 + |v|) of [-1, 1], where v is ln(price / last
    close) in units of 1 %.
    """
    last = values[3, -1]
    low, high = min(values[2].min(), values[5].min()), max(values[1].max(), values[5].max())
    for field in (0, 1, 2, 3, 5):
        for k in range(values.shape[1]):
            price, level = values[field, k], 0.5
            if fixed and price > 0 and last > 0:
                v = 100 * math.log(price / last)
                level = (v / (1 + abs(v)) + 1) / 2
            elif not fixed and high > low:
                level = min(max((price - low) / (high - low), 0.0), 1.0)
            rows[field, k] = int((1 - level) * (height - 1) + 0.5)
