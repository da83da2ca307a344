"""Occlusion: what a decision loses where a point is hidden in the series, before it is encoded.

Zeiler and Fergus ("Visualizing and Understanding Convolutional Networks", ECCV 2014) cover patches
of the image. Covered pixels of a Gramian Angular Field would be no image of any series, and a bar
stands in a whole row and a whole column. So the bar is taken out of the series, the gap bridged by
a straight line between its neighbours, and the image made anew, with the scale that is then right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gafcnn.errors import ConfigError, ImagesError
from gafcnn.images.encoding import checked_series
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations.forward import BATCH, Classes, Floats, log_odds
from gafcnn.models.module import GafModule


def occlusion(
    module: GafModule, series: ArrayLike, spec: ImageSpec, classes: Classes, run: int = 1
) -> Floats:
    """Hide each point of the series, or each run of points, and tell what the class loses.

    All fields of a point are hidden together. At either end there is one neighbour, whose value is
    held: a line drawn on beyond it would claim that prices go on as they went. A point that lies on
    the line between its neighbours is no loss, whatever the network makes of it: of a long straight
    move longer runs tell more.

    Args:
        module: The network with its task.
        series: Shape (n, fields, points), as `WindowReader` reads the fields.
        spec: How images are made.
        classes: The class that is asked about, of each: shape (n,).
        run: How many neighbouring points are hidden together.

    Returns:
        ndarray of shape (n, points): the log-odds of the class less those where the point is
        hidden, so positive where it spoke for the class; of longer runs the mean over all that the
        point is in.

    Raises:
        ConfigError: A run of such a length leaves no point, or is none.
        ImagesError: The series make no image, or none of the network's shape, or have one point.
    """
    series = checked_series(series)
    n, _, points = series.shape
    bridges, hidden = _bridges(points, run)
    found = np.empty((n, len(bridges)))
    at_once = max(1, BATCH // len(bridges))
    for start in range(0, n, at_once):
        part = slice(start, start + at_once)
        without = np.einsum("rqp,nfp->nrfq", bridges, series[part])  # r: runs, q: points
        images = spec.shown(without.reshape(-1, *series.shape[1:]))
        asked = np.repeat(classes[part], len(bridges))
        found[part] = log_odds(module, images, asked).reshape(-1, len(bridges))
    whole = log_odds(module, spec.shown(series), classes)
    return (whole[:, None] - found) @ hidden / hidden.sum(axis=0)


def _bridges(points: int, run: int) -> tuple[Floats, Floats]:
    """Of each run of points: what hides it, a matrix over the points; and which ones it hides.

    Returns:
        ndarrays of shape (runs, points, points) and, of 0 and 1, (runs, points).

    Raises:
        ConfigError: A run of such a length leaves no point, or is none.
        ImagesError: There is one point only.
    """
    if points < 2:
        raise ImagesError(
            f"the series have {points} point{'s' * (points != 1)}",
            expected="two or more, so that one can be hidden",
            instead="give whole windows, of shape (n, fields, points)",
        )
    if not isinstance(run, int | np.integer) or not 1 <= run < points:
        raise ConfigError(
            f"runs of {run} points are to be hidden in a window of {points}",
            expected=f"a whole number from 1 to {points - 1}",
            instead="give run=1",
        )
    all_of_them, starts = np.arange(points), range(points - run + 1)
    hidden = np.array([(start <= all_of_them) & (all_of_them < start + run) for start in starts])
    bridges = [
        np.transpose(
            [np.interp(all_of_them, all_of_them[kept], unit[kept]) for unit in np.eye(points)]
        )
        for kept in ~hidden
    ]
    return np.array(bridges), hidden.astype(np.float64)
