"""Two further pictures of a series, made by pyts: who follows whom, and who resembles whom.

They are made as pyts makes them, resized to the images' size as Gramian Angular Fields are, and
brought to the pixels' scale [-1, 1].

pyts compiles all its kernels whenever it is imported, for half a minute: once in every process that
makes such a picture.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gafcnn.images.scaling import scaled

BINS = 4
"""Quartiles: of 15 points to 64, each has 4 successors to 16 from which to estimate."""

_BLOCK = 256  # series whose pictures are in memory at a time, as float64

Floats = NDArray[np.float64]

log = logging.getLogger(__name__)


def draw_further(
    kind: str,
    series: Floats,
    x: Floats,
    ends: tuple[int, int],
    centres: Floats,
    unit: float,
    images: NDArray[Any],
) -> None:
    """Draw a picture of each series.

    Args:
        kind: A key of `FURTHER`.
        series: Series as they are, shape (n, fields, points).
        x: The same, averaged to as many knots as there are pixels, if more, and scaled: shape
            (n, fields, knots).
        ends: The ends of the range that they were scaled to.
        centres: The pixels' centres, counted in knots: shape (size,).
        unit: What 1 is drawn as; anything but 1 means whole numbers.
        images: To draw into, shape (n, fields, size, size).
    """
    if "pyts" not in sys.modules:
        log.info("pyts compiles its kernels, which takes half a minute")
    for start in range(0, len(x), _BLOCK):
        part = slice(start, start + _BLOCK)
        for field in range(x.shape[1]):
            pictures = FURTHER[kind](series[part, field], x[part, field], ends)
            pixels = unit * _resized(pictures, centres)
            images[part, field] = np.rint(pixels) if unit != 1 else pixels


def _markov(series: Floats, x: Floats, ends: tuple[int, int]) -> Floats:  # noqa: ARG001
    """How often the bin of point i is followed by that of point j, as 2 P - 1: (n, knots, knots).

    The Markov transition field of Wang and Oates (2015), over quartiles: ranks are all it knows, so
    no range and no scaling changes it. Of more points than pixels, pyts averages the field.
    """
    from pyts.image import MarkovTransitionField

    with warnings.catch_warnings():
        # equal values share a quartile, which is as it should be
        warnings.filterwarnings("ignore", "Some quantiles are equal", UserWarning)
        # pyts takes quantiles for equal that are 1e-8 apart, whatever the level of prices
        alike = scaled(series[:, None], series.shape[1])[:, 0]
        field = MarkovTransitionField(x.shape[1], n_bins=BINS, strategy="quantile")
        return 2 * field.transform(alike) - 1


def _recurrence(series: Floats, x: Floats, ends: tuple[int, int]) -> Floats:  # noqa: ARG001
    """|x_i - x_j|, -1 for none and 1 for the whole range: shape (n, knots, knots).

    The recurrence plot of Eckmann, Oliffson Kamphorst and Ruelle (1987) without a threshold: it
    would throw away how far apart two moments are.
    """
    from pyts.image import RecurrencePlot

    return 2 / (ends[1] - ends[0]) * RecurrencePlot().transform(x) - 1


FURTHER: dict[str, Callable[[Floats, Floats, tuple[int, int]], Floats]] = {
    "markov": _markov,
    "recurrence": _recurrence,
}
"""By kind, the pictures of series and of what they were scaled to."""


def _resized(pictures: Floats, centres: Floats) -> Floats:
    """Pictures of shape (n, knots, knots), seen bilinearly at the centres of the pixels."""
    left = centres.astype(np.int64)
    right = np.minimum(left + 1, pictures.shape[1] - 1)
    weight = centres - left
    rows = (1 - weight)[:, None] * pictures[:, left] + weight[:, None] * pictures[:, right]
    return (1 - weight) * rows[:, :, left] + weight * rows[:, :, right]
