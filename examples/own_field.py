"""An image field of one's own: where in its range a candle closed.

PYTHONPATH=examples python train.py 'imports=[own_field]' 'images.fields=[close,close_in_range]' \
    window=15m study=fields
PYTHONPATH=examples python evaluate.py study=fields 'trust=[own_field]'
"""

import numpy as np
from numpy.typing import NDArray

from gafcnn.data.features import Candles, field


@field("close_in_range")
def close_in_range(candles: Candles) -> NDArray[np.float64]:
    """1 where the close is the high, -1 where it is the low, 0 in the middle or without a range."""
    span = candles.high - candles.low
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(span == 0, 0.0, (2 * candles.close - candles.high - candles.low) / span)
