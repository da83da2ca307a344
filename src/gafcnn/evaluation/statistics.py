"""What returns and trades come to: pure functions of arrays, None where they say nothing.

Returns are simple, one per bar; `periods` is how many of them a year has. The risk-free rate is 0.
"""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# exp() of more than that is no float
_LARGEST_LOG = 709.0


def total_return(returns: Floats) -> float | None:
    """The product of 1 + r, less 1."""
    return float(np.prod(1 + returns) - 1) if len(returns) else None


def annual_return(returns: Floats, periods: float) -> float | None:
    """The compound annual growth rate: total growth, to the power of one over the years.

    None as well where a few good bars would make more of a year than a float can hold.
    """
    if not len(returns):
        return None
    growth = float(np.prod(1 + returns))
    if growth <= 0:
        return -1.0
    log_growth = log(growth) * periods / len(returns)
    return exp(log_growth) - 1 if log_growth < _LARGEST_LOG else None


def sharpe(returns: Floats, periods: float) -> float | None:
    """Mean over standard deviation (ddof=1), annualised (Sharpe, 1994)."""
    if len(returns) < 2 or np.ptp(returns) == 0:
        return None
    return float(returns.mean() / returns.std(ddof=1) * sqrt(periods))


def sortino(returns: Floats, periods: float) -> float | None:
    """Mean over downside deviation, the root of the mean of min(r, 0)^2, annualised.

    Sortino and Price, Performance Measurement in a Downside Risk Framework (1994), target 0.
    """
    if not len(returns):
        return None
    downside = sqrt(np.square(np.minimum(returns, 0)).mean())
    return float(returns.mean() / downside * sqrt(periods)) if downside else None


def max_drawdown(returns: Floats) -> float | None:
    """The deepest fall of the equity below its highest so far: a fraction, 0 or negative."""
    if not len(returns):
        return None
    equity = np.cumprod(np.r_[1.0, 1 + returns])
    return float((equity / np.maximum.accumulate(equity) - 1).min())


def calmar(returns: Floats, periods: float) -> float | None:
    """Annual return over the deepest drawdown (Young, 1991)."""
    grown, fallen = annual_return(returns, periods), max_drawdown(returns)
    return grown / -fallen if grown is not None and fallen else None


def win_rate(earned: Floats) -> float | None:
    """The share of trades that earned more than nothing."""
    return float((earned > 0).mean()) if len(earned) else None


def mean_bps(earned: Floats) -> float | None:
    """What a trade earned on average, in basis points."""
    return float(earned.mean() * 1e4) if len(earned) else None


def profit_factor(net: Floats) -> float | None:
    """The sum of the gains over the sum of the losses; None where there is no loss."""
    losses = -net[net < 0].sum()
    return float(net[net > 0].sum() / losses) if losses else None


def break_even_bps(gross: Floats, traded: Floats) -> float | None:
    """The cost per side, in basis points, at which all trades together earn nothing.

    Args:
        gross: s (x - 1) of each trade.
        traded: 1 + x of each trade: the notional bought and sold, in notionals at entry.
    """
    return float(1e4 * gross.sum() / traded.sum()) if len(gross) else None
