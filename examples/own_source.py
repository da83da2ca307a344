"""A source of bars: two simulated coins; put a query of your own database here."""

import pandas as pd

import gafcnn as gc
from gafcnn.settings import settings


@gc.register_source("two_coins")
@settings("market")
class TwoCoins:
    """Bars of two symbols."""

    days: int = 4

    def load(self) -> dict[str, pd.DataFrame]:
        """Bars by symbol, from `gc.read_bars`, `gc.as_bars` or `gc.simulate`."""
        n_bars = self.days * 24 * 60
        return {name: gc.simulate(n_bars, seed=seed)[0] for seed, name in enumerate(("ONE", "TWO"))}
