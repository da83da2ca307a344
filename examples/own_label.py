"""A label of one's own: up or down only where the move is larger than what a trade would cost.

PYTHONPATH=examples python train.py label._target_=own_label.BeyondCosts \
    ~label.neutral +label.round_trip_bps=10 window=15m study=beyond
PYTHONPATH=examples python evaluate.py study=beyond 'trust=[own_label]'
"""

import numpy as np
from numpy.typing import NDArray

from gafcnn.samples import NULL, Direction, Outcomes


class BeyondCosts(Direction):
    """1 for a return above the costs of a round trip, 0 below minus those, NULL between."""

    def __init__(self, horizon: str = "15min", round_trip_bps: float = 20.0) -> None:
        super().__init__(horizon)
        self.__dict__.update(costs=round_trip_bps / 1e4)

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:
        """Labels by the costs; nothing is fitted, so that `train` is not looked at."""
        returns, costs = outcomes.forward_return, self.__dict__["costs"]
        known = np.select([returns > costs, returns < -costs], [1, 0], NULL)
        return known.astype(np.int8)
