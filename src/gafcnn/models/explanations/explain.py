"""All that is told of decisions, in one call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gafcnn.errors import ConfigError
from gafcnn.images.encoding import checked_series
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations.cam import cam_layer, grad_cam
from gafcnn.models.explanations.forward import Classes, Floats, called, log_odds
from gafcnn.models.explanations.occlusion import occlusion
from gafcnn.models.explanations.pixels import by_point, pixel_attributions, standing_still
from gafcnn.models.module import GafModule


@dataclass(frozen=True)
class Explanation:
    """What n decisions rest on; whatever is positive spoke for the class.

    Attributes:
        classes: The class that is explained, of each: shape (n,).
        log_odds: ln(p / (1 - p)) of it: shape (n,).
        folded: Integrated gradients of the pixels, folded onto the points: shape (n, points), in
            log-odds. Those of a sample add up to its log-odds less those of the same series
            standing still.
        occluded: The log-odds that are lost where a point is hidden: shape (n, points). They add up
            to nothing in particular.
        cam: Grad-CAM, shape (n, height, width), 0 or more; None where the network names no layer.
    """

    classes: Classes
    log_odds: Floats
    folded: Floats
    occluded: Floats
    cam: NDArray[np.float64] | None


def explain(
    module: GafModule,
    series: ArrayLike,
    spec: ImageSpec,
    classes: Classes | None = None,
    run: int = 1,
) -> Explanation:
    """Explain what a network makes of series.

    Args:
        module: The network with its task, wherever it is.
        series: Shape (n, fields, points), as `WindowReader` reads the fields.
        spec: How images are made, as the network was trained on them.
        classes: The class to explain, of each; by default the one that the network calls.
        run: How many neighbouring points are hidden together, see `occlusion`.

    Returns:
        The explanation of each.

    Raises:
        ConfigError: A class is none of the network's, or there is not one for each series.
        ConfigError, ImagesError: See `occlusion`.
    """
    series = checked_series(series)
    images = spec.shown(series)
    classes = called(module, images) if classes is None else _checked(module, classes, len(series))
    pixels = pixel_attributions(module, images, standing_still(series, spec), classes)
    return Explanation(
        classes=classes,
        log_odds=log_odds(module, images, classes),
        folded=by_point(pixels.sum(axis=1), series.shape[-1]),
        occluded=occlusion(module, series, spec, classes, run),
        cam=None if cam_layer(module) is None else grad_cam(module, images, classes),
    )


def _checked(module: GafModule, classes: Classes, n: int) -> Classes:
    known = max(2, module.hparams["network"].get("outputs", 1))
    if np.shape(classes) != (n,) or not np.isin(classes, range(known)).all():
        raise ConfigError(
            f"the classes to explain are {np.asarray(classes).tolist()[:5]}",
            expected=f"{n:,} numbers from 0 to {known - 1}, one for each series",
            instead="leave them out for the classes that are called",
        )
    return classes
