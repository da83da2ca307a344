"""From probabilities to positions, and the choice of the confidence to trade from."""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gafcnn.durations import DurationLike
from gafcnn.evaluation.backtest import LONG, SHORT, compute_fills, trade
from gafcnn.evaluation.statistics import Floats, check_probabilities
from gafcnn.evaluation.trading_rules import TradingRules

_UNWANTED = {"both": 0, "long": SHORT, "short": LONG}


class Choice(NamedTuple):
    """A threshold: the confidence from which to trade."""

    threshold: float
    coverage: float | None  # share of rows that reach it; None if the rules set the threshold


def confidence(p: ArrayLike) -> Floats:
    """Return |P(up) - 1/2|, rounded to twelve digits: shape (n,), from 0 to 0.5.

    Without rounding, 1/3 would be more confident than 2/3, and 0.6 less than 0.1 away from 1/2.

    Raises:
        PredictionsError: A probability is outside [0, 1].
    """
    return np.abs(check_probabilities(p) - 0.5).round(12)


def positions(p: ArrayLike, threshold: float, sides: str = "both") -> NDArray[np.int8]:
    """Return 1 (long) or -1 (short) where the confidence reaches the threshold, else 0.

    P(up) has shape (n,), the threshold is from 0 to 0.5. A probability of exactly 1/2 gives 0 at
    any threshold. Errors are those of `confidence`.
    """
    direction = np.sign(check_probabilities(p) - 0.5).astype(np.int8)
    direction[confidence(p) < threshold] = 0
    direction[direction == _UNWANTED[sides]] = 0
    return direction


def threshold_of(p: ArrayLike, coverage: float) -> float:
    """Return the highest confidence that at least the share `coverage`, in (0, 1], of rows reaches.

    P(up) has shape (n,), not empty. Errors are those of `confidence`.
    """
    confidences = np.sort(confidence(p))
    # 0.07 * 100 is slightly more than 7 in floating point
    rows = ceil(coverage * len(confidences) * (1 - 1e-12))
    return float(confidences[-rows])


def choose_threshold(
    bars: pd.DataFrame, times: Any, p: ArrayLike, horizon: DurationLike, rules: TradingRules
) -> Choice:
    """Choose the confidence from which to trade, on validation rows.

    The n decision times (UTC) increase; P(up) has shape (n,). Among `rules.coverages` with at least
    `rules.least_trades` trades, choose the one that earns most in total after costs; if none has
    that many trades, the one with most trades. The largest wins ties. A threshold set by the rules
    is kept. Bars after the last row's horizon are not used.

    Raises:
        PredictionsError: A probability is outside [0, 1], there are not as many as times, or see
            `compute_fills`.
        ConfigError: The horizon is not a multiple of the bars' interval, or a cost is invalid.
    """
    fills = compute_fills(bars, times, horizon, rules)
    # the largest first, as max() returns the first of equals
    coverages = sorted(rules.coverages, reverse=True)
    choices = [Choice(threshold_of(p, coverage), coverage) for coverage in coverages]
    if rules.threshold is not None:
        choices = [Choice(rules.threshold, None)]

    def merit(choice: Choice) -> tuple[bool, float]:
        made = trade(bars, fills, positions(p, choice.threshold, rules.sides), rules)
        enough = len(made.trades) >= rules.least_trades
        return enough, made.equity.iloc[-1] if enough else len(made.trades)

    return max(choices, key=merit)
