"""A cost model: a fee, and a spread that widens with the range of the bar."""

import numpy as np
import pandas as pd

import gafcnn as gc
from gafcnn.settings import settings


@gc.register_costs("volatility_spread")
@settings("costs")
class VolatilitySpread:
    """Costs per side: a fixed fee and a share of the range of the bar that is traded in."""

    fee_bps: float = 5.0
    share: float = 0.05

    def per_side(self, bars: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
        """Costs in bps of the notional traded in the bars at these rows: shape (n,)."""
        traded = bars.iloc[rows]
        spread = (traded["high"] - traded["low"]) / traded["close"] * 1e4
        return self.fee_bps + self.share * spread.to_numpy()
