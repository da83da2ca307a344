"""Attribution to pixels, and from pixels to the points of the window.

Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML
2017) add up to what they explain: the log-odds of an image less those of a reference.
Gradients times the input add up to nothing in particular, and plain gradients say where a network
is sensitive, not what it made of what was there. The reference is the image of the same series
standing still, for a black image, which is what is usual, is no image of any series: its pixels say
that each two moments are a right angle apart.

A pixel (i, j) is made of the moments i and j, so half of what it is given belongs to each; and what
a row or a column is made of, `gafcnn.images.encoding.point_weights` knows. Nothing is lost on the way: what
the points get is what the pixels had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gafcnn.errors import ImagesError
from gafcnn.images.encoding import point_weights
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations.forward import (
    BATCH,
    Classes,
    Floats,
    Images,
    deciding,
    scored,
    tensors,
)
from gafcnn.models.module import GafModule

STEPS = 32  # between the reference and the image, where gradients are taken


def pixel_attributions(
    module: GafModule, images: Images, reference: Images, classes: Classes
) -> NDArray[np.float64]:
    """Attribute the log-odds of a class to pixels, by integrated gradients.

    Args:
        module: The network with its task.
        images: In [-1, 1]: shape (n, channels, size, size).
        reference: What each image is compared with, of the same shape; see `standing_still`.
        classes: The class that is asked about, of each: shape (n,).

    Returns:
        ndarray of the images' shape, in log-odds: positive for the class. The pixels of an image
        add up to its log-odds less its reference's, as far as so many steps tell.

    Raises:
        ImagesError: The images are not of the network's shape.
    """
    from captum.attr import IntegratedGradients  # see `grad_cam`

    method = IntegratedGradients(scored(module))
    parts = []
    with deciding(module):
        for some, still, asked in tensors(module, images, reference, classes):
            found = method.attribute(
                some.requires_grad_(),
                baselines=still,
                additional_forward_args=asked,
                n_steps=STEPS,
                internal_batch_size=BATCH,
            )
            parts.append(found.detach().cpu().numpy())
    return np.concatenate(parts).astype(np.float64)


def standing_still(series: ArrayLike, spec: ImageSpec) -> Images:
    """The images of series that do not move: each field at its mean over the window.

    Args:
        series: Shape (n, fields, points).
        spec: How images are made.

    Returns:
        ndarray of shape (n, channels, size, size) in [-1, 1].

    Raises:
        ImagesError: See `gafcnn.images.encoding.encode`.
    """
    values = np.asarray(series, dtype=np.float64)
    means = values.mean(axis=-1, keepdims=True)
    return spec.shown(np.broadcast_to(means, values.shape))


def by_point(maps: ArrayLike, points: int) -> Floats:
    """Fold what pixels, or cells, are given back onto the points of the window.

    Args:
        maps: Shape (..., size, size), as attributions to pixels, or a Grad-CAM.
        points: Of the window's series.

    Returns:
        ndarray of shape (..., points), with the same sum.

    Raises:
        ImagesError: The maps are not square, or have no pixels.
    """
    maps = np.asarray(maps, dtype=np.float64)
    if maps.ndim < 2 or maps.shape[-1] != maps.shape[-2]:
        raise ImagesError(
            f"maps of shape {maps.shape}",
            expected="(..., size, size), a row and a column for each moment",
            instead="give what is said of the pixels of an image, as pixel_attributions does",
        )
    of_moments = (maps.sum(axis=-1) + maps.sum(axis=-2)) / 2
    return of_moments @ point_weights(points, maps.shape[-1])
