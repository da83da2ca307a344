"""Explanations of decisions: integrated gradients, occlusion of points, and Grad-CAM.

Integrated gradients and Grad-CAM need captum: pip install 'gafcnn[explain]'.

Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML
2017) add up to the log-odds of an image less those of a reference: the image of the same series
held constant. The usual black image is not the image of any series.

Occlusion (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014)
removes a bar from the series, bridges the gap by a straight line between its neighbours, and
encodes the image again. An image with covered patches is not the image of any series.

Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV 2017) sums the maps of a layer, each weighted by the mean of its gradient, and
sets negative sums, which oppose the class, to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gafcnn.errors import ConfigError, ImagesError, import_extra
from gafcnn.images.bar_images import WIDTH
from gafcnn.images.gaf import averaged, interpolated
from gafcnn.images.kinds import OHLC, Floats
from gafcnn.images.spec import ImageSpec, checked_series
from gafcnn.models.module import GafModule

BATCH = 256  # images per forward pass
STEPS = 32  # at which gradients are taken between the reference and the image

Images: TypeAlias = NDArray[np.float32]
Classes: TypeAlias = NDArray[np.int64]


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
        module: The network, such as `GafClassifier.module_`; it is set to eval mode. Of a model
            with an offset this explains what the network adds to the log-odds of the offset.
        series: Shape (n, fields, points), as `WindowReader` reads them.
        spec: How images are encoded, as in training.
        classes: The class to explain for each series; by default the predicted one.
        run: How many neighbouring points are hidden together: longer runs say more about long
            straight moves, in which a point makes no difference. A point then has the mean over all
            runs that contain it.

    Raises:
        ConfigError: `classes` are not class numbers, one per series; `run` is not between 1 and the
            number of points less 1; or captum is not installed.
        ImagesError: The series cannot be encoded, or do not fit the network.
    """
    series = checked_series(series)
    points = series.shape[-1]
    if not isinstance(run, int | np.integer) or not 1 <= run < points:
        raise ConfigError(
            f"run is {run!r} for windows of {points} points",
            expected=f"a whole number from 1 to {points - 1}",
            instead="set run=1, and pass whole windows, of shape (n, fields, points)",
        )
    images = spec.shown(series)
    if classes is None:
        logits = _in_batches(module, module, images)
        called = logits > 0 if logits.ndim == 1 else logits.argmax(axis=1)
        classes = np.asarray(called, dtype=np.int64)
    last = max(1, module.outputs - 1)
    if np.shape(classes) != (len(series),) or not np.isin(classes, range(last + 1)).all():
        raise ConfigError(
            f"classes is {np.asarray(classes).tolist()[:5]}",
            expected=f"{len(series):,} numbers from 0 to {last}, one for each series",
            instead="leave it out to explain the predicted classes",
        )
    pixels = _pixel_attributions(module, series, spec, classes)
    bars = np.array([kind == OHLC for _, kind in spec.channels])
    folded = by_point(pixels[:, ~bars].sum(axis=1), points)
    if bars.any():
        folded += by_bar(pixels[:, bars].sum(axis=1), points)
    return Explanation(
        classes=classes,
        log_odds=_log_odds(module, images, classes),
        folded=folded,
        occluded=_occlusion(module, series, spec, classes, run),
        cam=_grad_cam(module, images, classes) if hasattr(module.network, "cam_layer") else None,
    )


def _pixel_attributions(
    module: GafModule, series: Floats, spec: ImageSpec, classes: Classes
) -> Floats:
    """Return integrated gradients against constant series: shape (n, channels, size, size)."""
    constant = np.broadcast_to(series.mean(axis=-1, keepdims=True), series.shape)
    images, reference = spec.shown(series), spec.shown(constant)
    method = import_extra("captum.attr", "explain").IntegratedGradients(module.log_odds)
    attribute = partial(method.attribute, n_steps=STEPS, internal_batch_size=BATCH)
    more = {"baselines": reference, "additional_forward_args": classes}
    return _in_batches(attribute, module, images, **more).astype(np.float64)


def by_point(maps: ArrayLike, points: int) -> Floats:
    """Distribute attributions of pixels, or cells, over the points of the window.

    Pixel (i, j) depends on the moments i and j, so half of its attribution goes to each. With fewer
    points than pixels, a moment is interpolated between two points; with more, it averages the
    points of its segment. Maps have shape (..., size, size), such as `Explanation.cam`; the result
    has shape (..., points) and the same sum.
    """
    maps = np.asarray(maps, dtype=np.float64)
    by_moment = (maps.sum(axis=-1) + maps.sum(axis=-2)) / 2
    size = maps.shape[-1]
    of_points = interpolated(averaged(np.eye(points), min(points, size)), size)
    return by_moment @ of_points.T


def by_bar(maps: ArrayLike, points: int) -> Floats:
    """Add up attributions of bar images by bar: (..., size, size) becomes (..., points)."""
    columns = np.asarray(maps, dtype=np.float64).sum(axis=-2)[..., -WIDTH * points :]
    return columns.reshape(*columns.shape[:-1], points, WIDTH).sum(axis=-1)


def _occlusion(
    module: GafModule, series: Floats, spec: ImageSpec, classes: Classes, run: int = 1
) -> Floats:
    """Return the log-odds that a class loses if points are hidden, see `explain`: (n, points)."""
    points = series.shape[-1]
    rows, starts = np.arange(points), np.arange(points - run + 1)[:, None]
    hidden = (starts <= rows) & (rows < starts + run)  # by each run
    # for each run the matrix that hides it
    bridges = np.array(
        [[np.interp(rows, rows[kept], unit[kept]) for unit in np.eye(points)] for kept in ~hidden]
    ).swapaxes(1, 2)
    changed = np.empty((len(series), len(bridges)))
    for k, fields in enumerate(series):
        without = np.einsum("rqp,fp->rfq", bridges, fields)  # r: runs, q: points
        changed[k] = _log_odds(module, spec.shown(without), np.repeat(classes[k], len(bridges)))
    whole = _log_odds(module, spec.shown(series), classes)
    return (whole[:, None] - changed) @ hidden / hidden.sum(axis=0)


def _grad_cam(module: GafModule, images: Images, classes: Classes) -> Floats:
    """Return the maps of `cam_layer`, weighted by their mean gradient: shape (n, height, width)."""
    layer = module.network.cam_layer
    method = import_extra("captum.attr", "explain").LayerGradCam(module.log_odds, layer)
    attribute = partial(method.attribute, relu_attributions=True)
    maps = _in_batches(attribute, module, images, additional_forward_args=classes)
    return maps[:, 0].astype(np.float64)


def _log_odds(module: GafModule, images: Images, classes: Classes) -> Floats:
    """Return ln(p / (1 - p)) of one class per image: shape (n,)."""
    return _in_batches(module.log_odds, module, images, classes=classes).astype(np.float64)


@torch.no_grad()  # captum turns gradients on where it takes them
def _in_batches(
    function: Callable[..., Tensor], module: GafModule, images: Images, **more: NDArray[Any]
) -> NDArray[Any]:
    """Apply a function to batches of images and of further arrays, on the network's device."""
    shape = module.image_shape
    if not len(images) or images.shape[1:] != shape:
        raise ImagesError(
            f"the images have shape {images.shape}",
            expected=f"(n, {', '.join(map(str, shape))}), as in training",
            instead="encode them with the image_spec of the model",
        )
    module.eval()  # neither dropout nor updates of batch norm
    parts = []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        # layers after frozen ones have a gradient only if the images have one
        some = torch.tensor(images[part], device=module.device, requires_grad=True)
        others = {k: torch.tensor(v[part], device=module.device) for k, v in more.items()}
        parts.append(function(some, **others).detach().cpu().numpy())
    return np.concatenate(parts)
