"""A label of one's own: up or down only where the move is larger than what a trade would cost.

PYTHONPATH=examples python train.py label._target_=own_label.BeyondCosts \
    ~label.neutral +label.round_trip_bps=20 window=15m study=beyond
PYTHONPATH=examples python evaluate.py study=beyond 'trust=[own_label]'
"""

import numpy as np
from numpy.typing import NDArray

from gafcnn.data.labels import Direction, Outcomes


class BeyondCosts(Direction):
    """1 for a return above the costs of a round trip, 0 below minus those, NULL between."""

    round_trip_bps: float

    def __init__(self, horizon: str = "15min", round_trip_bps: float = 20.0) -> None:
        super().__init__(horizon, neutral=0.0)
        object.__setattr__(self, "round_trip_bps", round_trip_bps)  # a label does not change

    def thresholds(self, outcomes: Outcomes, train: NDArray[np.int64]) -> tuple[float, float]:
        """The returns of down and up: nothing is fitted, so that `train` is not looked at."""
        return -self.round_trip_bps / 1e4, self.round_trip_bps / 1e4
