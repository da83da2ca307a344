"""An ensemble: the median of the windows' probabilities."""

import numpy as np

import gafcnn as gc


@gc.register_ensemble("median")
def median(p: np.ndarray) -> np.ndarray:
    """P(up) of shape (n,) from the members' P(up) of shape (n, members)."""
    return np.median(p, axis=1)
