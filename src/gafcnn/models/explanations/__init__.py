"""Explanations of a network's decisions, bar by bar.

Integrated gradients and Grad-CAM need captum: pip install 'gafcnn[explain]'.
"""

from gafcnn.models.explanations.explanation import (
    Explanation,
    by_point,
    constant_images,
    explain,
    grad_cam,
    occlusion,
    pixel_attributions,
)
from gafcnn.models.explanations.scoring import log_odds, predicted_classes

__all__ = [
    "Explanation",
    "by_point",
    "constant_images",
    "explain",
    "grad_cam",
    "log_odds",
    "occlusion",
    "pixel_attributions",
    "predicted_classes",
]
