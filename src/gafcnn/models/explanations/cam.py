"""Grad-CAM: where on an image a network looks, in the cells of one of its layers.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV 2017: the maps of a layer, each weighed by the mean of its gradient, summed;
what is below zero, which speaks against the class, is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from gafcnn.errors import LearningError
from gafcnn.models.explanations.forward import Classes, Images, deciding, scored, tensors
from gafcnn.models.module import GafModule


def grad_cam(
    module: GafModule, images: Images, classes: Classes, layer: nn.Module | None = None
) -> NDArray[np.float64]:
    """Weigh the maps of a layer by how much each moves the log-odds of a class.

    Args:
        module: The network with its task.
        images: In [-1, 1]: shape (n, channels, size, size).
        classes: The class that is asked about, of each: shape (n,).
        layer: A layer that gives maps; by default the one that the network names `cam_layer`.
            Of ResNet18 the last one has maps of 2 x 2, which hardly tell places apart.

    Returns:
        ndarray of shape (n, height, width), 0 or more; the cells lie as the pixels do.

    Raises:
        LearningError: The network names no layer, and none is given.
        ImagesError: The images are not of the network's shape.
    """
    from captum.attr import LayerGradCam  # half a second, which whoever trains need not wait

    if (layer := layer or cam_layer(module)) is None:
        raise LearningError(
            f"{type(module.network).__name__} names no layer for Grad-CAM",
            expected="a property cam_layer, a layer whose maps tell places apart",
            instead="give the network one, or name the layer with layer=...",
        )
    method, parts = LayerGradCam(scored(module), layer), []
    with deciding(module):
        for some, asked in tensors(module, images, classes):
            # a network that is frozen up to the layer has no gradient there otherwise
            some.requires_grad_()
            maps = method.attribute(some, additional_forward_args=asked, relu_attributions=True)
            assert isinstance(maps, Tensor)  # of one layer
            parts.append(maps.detach().cpu().numpy()[:, 0])
    return np.concatenate(parts).astype(np.float64)


def cam_layer(module: GafModule) -> nn.Module | None:
    """The layer that a network names, where it does; one of your own need not."""
    return getattr(module.network, "cam_layer", None)
