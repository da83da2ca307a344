"""Trading: forecasts judged as money would, after costs and at prices that could be had.

A forecast made at `t` trades from the next bar's open on. Nothing here knows what made it.
"""

from gafcnn.trading.backtest import Backtest, backtest
from gafcnn.trading.figures import per_bar, summary
from gafcnn.trading.fills import Exits, Fills, outcomes
from gafcnn.trading.positions import (
    Choice,
    choose_threshold,
    confidence,
    positions,
    threshold_of,
)
from gafcnn.trading.references import Coin, Spread, buy_and_hold, coin
from gafcnn.trading.rules import Rules

__all__ = [
    "Backtest",
    "Choice",
    "Coin",
    "Exits",
    "Fills",
    "Rules",
    "Spread",
    "backtest",
    "buy_and_hold",
    "choose_threshold",
    "coin",
    "confidence",
    "outcomes",
    "per_bar",
    "positions",
    "summary",
    "threshold_of",
]
