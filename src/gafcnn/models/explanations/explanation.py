"""All explanations of decisions in one call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gafcnn.errors import ConfigError
from gafcnn.images.encoding import checked_series
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations.methods import (
    by_point,
    cam_layer,
    constant_images,
    grad_cam,
    occlusion,
    pixel_attributions,
)
from gafcnn.models.explanations.scoring import Classes, Floats, log_odds, predicted_classes
from gafcnn.models.module import GafModule


@dataclass(frozen=True)
class Explanation:
    """Explanations of n decisions; positive values support the class.

    Attributes:
        classes: The class that is explained for each decision: shape (n,).
        log_odds: Its ln(p / (1 - p)): shape (n,).
        folded: Integrated gradients of the pixels, distributed over the points: shape (n, points),
            in log-odds. They add up to the log-odds less those of the same series held constant.
        occluded: The log-odds that are lost if a point is hidden: shape (n, points). They do not
            add up to anything.
        cam: Grad-CAM, shape (n, height, width), 0 or more; None if the network has no `cam_layer`.
    """

    classes: Classes
    log_odds: Floats
    folded: Floats
    occluded: Floats
    cam: Floats | None


def explain(
    module: GafModule,
    series: ArrayLike,
    spec: ImageSpec,
    classes: Classes | None = None,
    run: int = 1,
) -> Explanation:
    """Explain the decisions of a network.

    Args:
        module: The network, such as `GafClassifier.module_`.
        series: Shape (n, fields, points), as `WindowReader` reads them.
        spec: How images are encoded, as in training.
        classes: The class to explain for each series; by default the predicted one.
        run: How many neighbouring points are hidden together, see `occlusion`.

    Raises:
        ConfigError: `classes` are not class numbers, one per series, or see `occlusion`.
        ImagesError: See `occlusion`.
        LearningError: captum is not installed.
    """
    series = checked_series(series)
    images = spec.shown(series)
    if classes is None:
        classes = predicted_classes(module, images)
    last = max(1, module.hparams["network"].get("outputs", 1) - 1)
    if np.shape(classes) != (len(series),) or not np.isin(classes, range(last + 1)).all():
        raise ConfigError(
            f"classes is {np.asarray(classes).tolist()[:5]}",
            expected=f"{len(series):,} numbers from 0 to {last}, one for each series",
            instead="leave it out to explain the predicted classes",
        )
    pixels = pixel_attributions(module, images, constant_images(series, spec), classes)
    return Explanation(
        classes=classes,
        log_odds=log_odds(module, images, classes),
        folded=by_point(pixels.sum(axis=1), series.shape[-1]),
        occluded=occlusion(module, series, spec, classes, run),
        cam=None if cam_layer(module) is None else grad_cam(module, images, classes),
    )
