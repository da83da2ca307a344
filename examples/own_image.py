"""A kind of image: how far two moments of a series are apart in value, with its sign."""

import numpy as np

import gafcnn as gc


@gc.register_image("distance")
def distance(series: np.ndarray, size: int) -> np.ndarray:
    """Images (n, size, size) in [-1, 1] of series (n, points) scaled to [-1, 1] or [0, 1]."""
    points = series.shape[1]
    at = np.linspace(0, points - 1, size).round().astype(int)
    values = series[:, at]
    return (values[:, :, None] - values[:, None, :]) / 2
