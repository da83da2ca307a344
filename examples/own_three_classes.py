"""A label of three classes: the next bars fall, stay within a band, or rise."""

import numpy as np
import pandas as pd

import gafcnn as gc
from gafcnn.data.labels import Direction, Outcomes
from gafcnn.settings import settings


@gc.register_label("band")
@settings("label")
class Band:
    """Down, flat or up over a number of one-minute bars, by a band around the current price."""

    minutes: int = 10
    band_bps: float = 5.0

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers."""
        return ("down", "flat", "up")

    @property
    def horizon(self) -> pd.Timedelta:
        """How far ahead the label looks."""
        return pd.to_timedelta(self.minutes, "min")

    def outcomes(self, bars: pd.DataFrame, rows: np.ndarray) -> Outcomes:
        """Forward returns of the samples decided at these rows, as for a direction."""
        return Direction(self.horizon).outcomes(bars, rows)

    def assign(self, outcomes: Outcomes, train: np.ndarray) -> np.ndarray:
        """Class numbers of shape (n,), -1 where the outcome is not known."""
        move = outcomes.forward_return * 1e4
        classes = np.select([move < -self.band_bps, move > self.band_bps], [0, 2], 1)
        return np.where(np.isnan(move), -1, classes)
