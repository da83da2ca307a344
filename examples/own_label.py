"""A label: up or down only where the move is larger than the costs of a round trip."""

import numpy as np

import gafcnn as gc
from gafcnn.data.labels import Outcomes
from gafcnn.settings import settings


@gc.register_label("beyond_costs")
@settings("label")
class BeyondCosts(gc.Direction):
    """1 for a return above the costs of a round trip, 0 below minus those, else no label."""

    round_trip_bps: float = 20.0

    def assign(self, outcomes: Outcomes, train: np.ndarray) -> np.ndarray:
        """Class numbers of shape (n,); nothing is fitted, so `train` is not needed."""
        move = outcomes.forward_return * 1e4
        return np.select([move > self.round_trip_bps, move < -self.round_trip_bps], [1, 0], -1)
