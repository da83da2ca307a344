"""From probabilities to positions, and how sure one must be to take one."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gafcnn.durations import DurationLike
from gafcnn.errors import PredictionsError
from gafcnn.evaluation import statistics as measures
from gafcnn.evaluation.backtest import Backtest, trade
from gafcnn.evaluation.fills import LONG, SHORT, Fills, outcomes
from gafcnn.evaluation.scores import check_probabilities
from gafcnn.evaluation.trading_rules import Rules, check_coverage, check_sides

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """The threshold to trade by, and what it came to on the rows it was chosen on.

    Attributes:
        threshold: The confidence from which one trades.
        coverage: The share of rows that reached it; None where the rules gave the threshold.
        trades: How many trades were made.
        net_bps: Their mean net return, in basis points; None without any.
    """

    threshold: float
    coverage: float | None
    trades: int
    net_bps: float | None


def confidence(p: ArrayLike) -> Floats:
    """|P(up) - 1/2|, to twelve digits: ndarray of shape (n,), from 0 to 0.5.

    Beyond these 1/3 would be surer than 2/3, and 0.6 no 0.1 away from 1/2, as binary fractions are.

    Raises:
        PredictionsError: A probability is no number from 0 to 1.
    """
    return np.abs(_checked(p) - 0.5).round(12)


def positions(p: ArrayLike, threshold: float, sides: str = "both") -> NDArray[np.int8]:
    """1 (long) or -1 (short) where the confidence reaches the threshold, else 0: shape (n,).

    A probability of exactly 1/2 favours neither side and is 0 at any threshold.

    Raises:
        PredictionsError: A probability is no number from 0 to 1.
        ConfigError: `sides` is not "both", "long" or "short".
    """
    check_sides(sides)
    direction = np.sign(_checked(p) - 0.5).astype(np.int8)
    direction[confidence(p) < threshold] = 0
    unwanted = {"both": 0, "long": SHORT, "short": LONG}[sides]
    direction[direction == unwanted] = 0
    return direction


def threshold_of(p: ArrayLike, coverage: float) -> float:
    """The highest confidence that at least the share `coverage` of the rows reaches.

    Raises:
        PredictionsError: There are no rows, or a probability is no number from 0 to 1.
        ConfigError: `coverage` is not in (0, 1].
    """
    check_coverage(coverage)
    confidences = np.sort(confidence(p))
    if not len(confidences):
        raise PredictionsError(
            "there are no probabilities",
            expected="at least one, to find a threshold among them",
            instead="give a part of the predictions that has rows",
        )
    # 0.07 * 100 is more than 7 in floats, and is meant as 7
    rows = ceil(coverage * len(confidences) * (1 - 1e-12))
    return float(confidences[-rows])


def choose_threshold(
    bars: pd.DataFrame, times: Any, p: ArrayLike, horizon: DurationLike, rules: Rules
) -> Choice:
    """Choose on validation rows how sure one must be.

    Of `rules.coverages`, the one whose trades earned most in all, after costs, among those with at
    least `rules.least_trades` trades; where none has that many, the one with most trades. Of equals
    the largest. A threshold that the rules give is kept. No bar after the last row's horizon is
    looked at.

    Args:
        bars: Bars, indexed by close time.
        times: Decision times (UTC) of the validation rows, increasing: n of them.
        p: P(up) of the same rows: n of them.
        horizon: A multiple of the bars' interval.
        rules: The rules to trade by.

    Raises:
        PredictionsError: A probability is none, they are not as many as times, or see `outcomes`.
        ConfigError: The horizon is no multiple of the bars' interval.
    """
    fills = outcomes(bars, times, horizon, rules)
    p = _checked(p)
    if rules.threshold is not None:
        return _choice(_traded(bars, fills, p, rules.threshold, rules), rules.threshold, None)
    # from the largest on, as max() takes the first of equals
    coverages = sorted(rules.coverages, reverse=True)
    thresholds = [threshold_of(p, coverage) for coverage in coverages]
    tried = [_traded(bars, fills, p, threshold, rules) for threshold in thresholds]
    best = _best([len(each.trades) for each in tried], [_earned(each) for each in tried], rules)
    return _choice(tried[best], thresholds[best], coverages[best])


def _best(trades: list[int], earned: list[float], rules: Rules) -> int:
    enough = [at for at, count in enumerate(trades) if count >= rules.least_trades]
    if enough:
        return max(enough, key=lambda at: earned[at])
    return max(range(len(trades)), key=lambda at: trades[at])


def _traded(
    bars: pd.DataFrame, fills: Fills, p: Floats, threshold: float, rules: Rules
) -> Backtest:
    return trade(bars, fills, positions(p, threshold, rules.sides), rules)


def _earned(backtest: Backtest) -> float:
    return float(backtest.equity.iloc[-1])


def _choice(backtest: Backtest, threshold: float, coverage: float | None) -> Choice:
    net = backtest.trades["net"].to_numpy()
    return Choice(float(threshold), coverage, len(net), measures.mean_bps(net))


def _checked(p: ArrayLike) -> Floats:
    return check_probabilities(np.asarray(p, dtype=np.float64))
