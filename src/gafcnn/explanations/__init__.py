"""Explanations: what a decision of a network rests on, bar by bar.

A pixel (i, j) of an image belongs to the moments i and j. `pixels` attributes a decision to pixels
and folds them back onto the points of the window; `occlusion` hides points in the series and makes
the image anew; `cam` is Grad-CAM at a layer that can still tell places apart. `decisions` says what
is explained: the log-odds of the class that is called. Nothing is drawn at random.
"""

from gafcnn.explanations.cam import grad_cam
from gafcnn.explanations.decisions import called, log_odds
from gafcnn.explanations.explained import Explanation, explain
from gafcnn.explanations.occlusion import occlusion
from gafcnn.explanations.pixels import by_point, pixel_attributions, standing_still

__all__ = [
    "Explanation",
    "by_point",
    "called",
    "explain",
    "grad_cam",
    "log_odds",
    "occlusion",
    "pixel_attributions",
    "standing_still",
]
