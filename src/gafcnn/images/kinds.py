"""Image kinds: the pictures that are drawn of a series, by name.

Gramian Angular Fields are drawn by `gafcnn.images.gaf`, bar images by `gafcnn.images.bar_images`.
Any other kind is a function that is registered here: the two below, and those of users.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gafcnn.errors import ImagesError
from gafcnn.registry import Registry

GASF, GADF = "gasf", "gadf"
OUTER_PRODUCTS = (GASF, GADF)  # of two vectors, so that a device can compute them quickly
OHLC = "ohlc"
BAR_FIELDS = ("open", "high", "low", "close", "volume_or_zero", "average")  # of a bar image
# that series are scaled to, the default first
RANGES: tuple[tuple[Literal[-1, 0], Literal[1]], ...] = ((-1, 1), (0, 1))
BINS = 4  # quartiles: 15 to 64 points leave 4 to 16 successors per bin to estimate from

Floats: TypeAlias = NDArray[np.float64]
DrawFunction: TypeAlias = Callable[[Floats, int], Floats]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageKind:
    """A registered kind of image, see `register_image`.

    `compute` is None for Gramian Angular Fields and bar images. A bar image is one picture of all
    its `fields`, any other kind one picture of each of `ImageSpec.fields`.
    """

    name: str
    compute: DrawFunction | None = None
    average: bool = False
    range: tuple[int, int] | None = None
    fields: tuple[str, ...] = ()

    def draw(self, series: Floats, size: int) -> Floats:
        """Return the pictures of scaled series (n, points): shape (n, k, k), in [-1, 1].

        Raises:
            ImagesError: The function returned something else.
        """
        assert self.compute is not None
        pictures = np.asarray(self.compute(series, size), dtype=np.float64)
        square = pictures.ndim == 3 and pictures.shape[1] == pictures.shape[2]
        if not square or len(pictures) != len(series) or not (np.abs(pictures) <= 1 + 1e-6).all():
            raise ImagesError(
                f"the image kind {self.name!r} returned shape {pictures.shape}, values from "
                f"{pictures.min(initial=0):g} to {pictures.max(initial=0):g}",
                expected=f"shape ({len(series)}, {size}, {size}), values in [-1, 1]",
                instead="correct the function that register_image was given",
            )
        return np.clip(pictures, -1, 1)


IMAGE_KINDS: Registry[ImageKind] = Registry("image kind")
for _name in OUTER_PRODUCTS:
    IMAGE_KINDS.register(_name)(ImageKind(_name))
IMAGE_KINDS.register(OHLC)(ImageKind(OHLC, fields=BAR_FIELDS))


def register_image(
    name: str,
    *,
    average: bool = False,
    range: tuple[int, int] | None = None,  # noqa: A002
) -> Callable[[DrawFunction], DrawFunction]:
    """Register a function as a kind of image.

    The function is called with series of shape (n, points), float64, scaled to `range`, and with
    the size in pixels. It returns pictures of shape (n, size, size) in [-1, 1]; pictures of another
    size are resized bilinearly.

    Args:
        name: Its name in options.
        average: Whether to replace series of more points than pixels by `size` averages first.
        range: The range that series are scaled to; by default that of the images.

    Raises:
        ConfigError: Another module has registered the name.
    """

    def decorate(function: DrawFunction) -> DrawFunction:
        IMAGE_KINDS.register(name)(ImageKind(name, function, average, range))
        return function

    return decorate


@register_image("markov")
def _markov(series: Floats, size: int) -> Floats:
    """Return how often the bin of point i is followed by that of point j, as 2 P - 1.

    The Markov transition field of Wang and Oates (2015), over quartiles. It depends on ranks alone,
    so range and scaling do not change it. For more points than pixels, pyts averages the field.
    """
    from gafcnn.images.gaf import scaled

    if "pyts" not in sys.modules:
        log.info("importing pyts, which takes half a minute to compile its kernels")
    from pyts.image import MarkovTransitionField

    points = series.shape[1]
    with warnings.catch_warnings():
        # equal values share a quartile, as they should
        warnings.filterwarnings("ignore", "Some quantiles are equal", UserWarning)
        # pyts takes quantiles that are 1e-8 apart as equal, whatever the scale of the values
        series = scaled(series[:, None], points)[:, 0]
        field = MarkovTransitionField(min(points, size), n_bins=BINS)
        return 2 * field.transform(series) - 1


@register_image("recurrence", average=True, range=(-1, 1))
def _recurrence(series: Floats, size: int) -> Floats:  # noqa: ARG001
    """Return |x_i - x_j| - 1: -1 for equal points, 1 for points the whole range apart.

    The recurrence plot of Eckmann, Oliffson Kamphorst and Ruelle (1987) without a threshold, which
    would drop how far apart two moments are.
    """
    return np.abs(series[:, :, None] - series[:, None, :]) - 1
