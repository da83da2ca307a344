"""An image field: where in its range a candle closed."""

import numpy as np

import gafcnn as gc
from gafcnn.data.features import Candles


@gc.register_field("close_in_range")
def close_in_range(candles: Candles) -> np.ndarray:
    """1 if the close is the high, -1 if it is the low, 0 in the middle or without a range."""
    span = candles.high - candles.low
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(span == 0, 0.0, (2 * candles.close - candles.high - candles.low) / span)
