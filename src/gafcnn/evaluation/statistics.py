"""Statistics of returns and probabilities: pure functions of arrays.

A statistic that is undefined is None (null in JSON), never 0. Returns are simple returns, one per
bar. The risk-free rate is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gafcnn.errors import PredictionsError

# SciPy takes a quarter of a second to import, so the functions that need it import it

Floats = NDArray[np.float64]
Row: TypeAlias = dict[str, Any]
"""A row of a table, or an estimate, ready for JSON."""

# probabilities are clipped to [CLIP, 1 - CLIP] in the log loss, as float32 rounds them to 1
CLIP = 1e-7
LEVEL = 0.95  # of all confidence intervals
_LARGEST_LOG = 709.0  # exp() of more overflows
_FEWEST = 4  # observations that a kurtosis needs


def estimate(
    value: float | None, n: int, low: float | None = None, high: float | None = None
) -> Row:
    """Return a figure as a row: value, ends of its interval, and rows or trades that it rests on.

    A value that is undefined is None; so are both ends without an interval.
    """
    return {"value": value, "low": low, "high": high, "n": n}


def curve(times: pd.DatetimeIndex, most: int, series: Mapping[str, Floats]) -> Row:
    """Return series, shape (times,), at `most` times at most, the last one included."""
    shown = np.linspace(0, len(times) - 1, min(len(times), most)).round().astype(int)
    values = {name: one[shown].tolist() for name, one in series.items()}
    return {"time": [time.isoformat() for time in times[shown]], **values}


def mean_cost(costs: Floats) -> Row:
    """Return the cost per side, on average if it varies, and how sentences state it."""
    varies = np.ptp(costs) > 0
    bps = float(costs.mean() if varies else costs[0])
    return {"cost_bps": bps, "costs": f"{bps:.4g} bps a side" + " on average" * bool(varies)}


def interval(draws: Floats) -> tuple[float, float]:
    """Return the ends of the percentile interval of draws, shape (n,)."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def growth(returns: Floats, periods: float, least: float = 0) -> dict[str, float | None]:
    """Return what an equity grew by, from one return per bar (at least one) and the bars of a year.

    Of fewer than `least` returns the figures of a year are None.

    Returns:
        `total_return`, the product of 1 + r, minus 1; `annual_return`, the compound annual growth
        rate, None if it overflows a float; `calmar`, the annual return over the maximum drawdown
        (Young, 1991), None without a drawdown.
    """
    total, drawdown, annual = float(np.prod(1 + returns)), max_drawdown(returns), None
    log_growth = math.log(total) * periods / len(returns) if total > 0 else -math.inf
    if log_growth < _LARGEST_LOG and len(returns) >= least:
        annual = math.exp(log_growth) - 1
    calmar = annual / -drawdown if annual is not None and drawdown else None
    return {"total_return": total - 1, "annual_return": annual, "calmar": calmar}


def max_drawdown(returns: Floats) -> float:
    """Return the largest fall of the equity from its running maximum, as a fraction <= 0."""
    equity = np.cumprod(np.r_[1.0, 1 + returns])
    return float((equity / np.maximum.accumulate(equity) - 1).min())


# Bailey and Lopez de Prado, "The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest
# Overfitting and Non-Normality", Journal of Portfolio Management, 2014. Sharpe ratios are per
# observation here, not annualised; the kurtosis of normal returns is 3.
def psr(sharpe: float, benchmark: float, n: int, skewness: float, kurtosis: float) -> float | None:
    """Return the probabilistic Sharpe ratio: P(true Sharpe ratio > `benchmark`).

        Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - skewness SR + (kurtosis - 1) / 4 SR^2))

    Ratios are per observation, of which there are at least 2; the kurtosis is not in excess of 3.
    Impossible moments give None.
    """
    from scipy.special import ndtr

    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return float(ndtr((sharpe - benchmark) * math.sqrt((n - 1) / spread))) if spread > 0 else None


def expected_maximum(variance_of_trials: float, trials: int) -> float:
    """Return the Sharpe ratio that the best of several trials without skill is expected to have.

        sqrt(V) ((1 - gamma) Phi^-1(1 - 1/N) + gamma Phi^-1(1 - 1/(N e)))     gamma = 0.5772...

    The variance is that of the trials' Sharpe ratios, per observation. Trials are assumed
    independent; 0 is expected of a single one.
    """
    from scipy.special import ndtri

    if trials == 1:
        return 0.0
    best, next_best = ndtri(1 - 1 / trials), ndtri(1 - 1 / (trials * math.e))
    weight = float(np.euler_gamma)
    return math.sqrt(variance_of_trials) * float((1 - weight) * best + weight * next_best)


def deflated_sharpe(returns: ArrayLike, trials: int, variance_of_trials: float) -> float | None:
    """Return the deflated Sharpe ratio: `psr` against the expected maximum of all trials.

    At least one strategy was tried, this one included. The variance of their Sharpe ratios is per
    observation, as the net returns, shape (n,). None with fewer than four or constant returns.
    """
    from scipy.stats import kurtosis, skew

    values = np.asarray(returns, dtype=np.float64)
    if len(values) < _FEWEST or np.ptp(values) == 0:
        return None
    benchmark = expected_maximum(variance_of_trials, trials)
    ratio = float(values.mean() / values.std(ddof=1))
    moments = float(skew(values)), float(kurtosis(values, fisher=False))
    return psr(ratio, benchmark, len(values), *moments)


def auc(p: NDArray[np.float64], positive: NDArray[Any]) -> float | None:
    """Return the area under the ROC curve from ranks (Mann and Whitney, 1947); None for one class.

    It is P(a positive row has the higher score), ties counted half. `p` are probabilities or
    scores, `positive` is 1 or True for a positive class: shape (n,).
    """
    from scipy.stats import rankdata

    positives = int(np.count_nonzero(positive))
    pairs = positives * (len(positive) - positives)
    if not pairs:
        return None
    # several times faster than roc_auc_score, which computes the whole curve
    ranks = rankdata(p)[positive == 1].sum()
    return float((ranks - positives * (positives + 1) / 2) / pairs)


def rank_correlations(score: Floats, outcome: Floats, times: NDArray[Any]) -> pd.Series:
    """Return Spearman's rank correlation of the rows of each time, by time: arrays of shape (n,).

    That of a score and the return that followed is the rank information coefficient, IC (Grinold
    and Kahn, Active Portfolio Management, 1999). Rows without a number are left out, and times
    without two different forecasts and outcomes.
    """
    known = ~(np.isnan(score) | np.isnan(outcome))
    time = np.asarray(times)[known]
    # one after another, as a rank takes much memory
    x, y = (pd.Series(one[known]).groupby(time).rank() for one in (score, outcome))
    of_time: Any = pd.DataFrame({"score": x**2, "outcome": y**2, "both": x * y}).groupby(time)
    n = of_time.size()
    sums = of_time.sum().sub(n * ((n + 1) / 2) ** 2, axis=0)  # (n + 1) / 2 is the mean rank
    sums = sums[(sums["score"] > 0) & (sums["outcome"] > 0)]
    return sums["both"] / np.sqrt(sums["score"] * sums["outcome"])


def score_ranking(rows: pd.DataFrame, model: str) -> dict[str, Any]:
    """Return the mean `rank_ic` of a column of scores, None if undefined, and its `n` times."""
    score, ahead = (rows[column].to_numpy(np.float64) for column in (model, "forward_return"))
    found = rank_correlations(score, ahead, rows["time"].to_numpy("datetime64[ns]"))
    return {"rank_ic": float(found.mean()) if len(found) else None, "n": len(found)}


def log_losses(p: Floats, label: NDArray[Any]) -> Floats:
    """Return -ln(clipped probability of the true class) of each row.

    `p` is P(class 1) of shape (n,), or the probabilities of all classes, shape (n, classes);
    `label` has class numbers (or booleans), shape (n,).
    """
    true = np.where(label, p, 1 - p) if p.ndim == 1 else p[np.arange(len(label)), label]
    return -np.log(np.clip(true, CLIP, 1 - CLIP))


def confusion(predicted: NDArray[Any], label: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Count rows by true class (rows) and predicted class (columns): shape (classes, classes)."""
    pairs = label.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def score(p_up: ArrayLike, outcome: ArrayLike) -> dict[str, Any]:
    """Score P(up) against what happened, 1 or True for up, 0 or False for down: shape (n,).

    Returns:
        `n`; `accuracy` (P > 0.5 predicts up, 0.5 itself down); `auc`; `log_loss`; `brier`, the mean
        squared error (Brier, 1950); `majority`, the share of the larger class; `confusion`, counts
        by outcome (rows) and prediction (columns). All but `n` and `confusion` are None for n = 0.

    Raises:
        PredictionsError: A probability is outside [0, 1].
    """
    p, up = check_probabilities(p_up), np.asarray(outcome, dtype=bool)
    counts = confusion(p > 0.5, up, 2)
    return {
        "n": len(p),
        "accuracy": _share(counts.trace(), len(p)),
        "auc": auc(p, up),
        "log_loss": float(log_losses(p, up).mean()) if len(p) else None,
        "brier": float(np.square(p - up).mean()) if len(p) else None,
        "majority": _share(counts.sum(axis=1).max(), len(p)),
        "confusion": counts.tolist(),
    }


def score_rows(frame: pd.DataFrame, model: str) -> dict[str, dict[str, Any]]:
    """Score one column of P(up) on `labelled` rows and on `all` rows, see `score`.

    On labelled rows the outcome is the label; neutral rows are left out. On all rows it is
    `forward_return > 0`: a return of exactly 0 counts as down, as a long position earns nothing.
    """
    labelled = frame.dropna(subset=["label"])
    return {
        "labelled": score(labelled[model], labelled["label"]),
        "all": score(frame[model], frame["forward_return"] > 0),
    }


def score_classes(p: ArrayLike, label: ArrayLike) -> dict[str, Any]:
    """Score probabilities, shape (n, classes), against the numbers of the true classes, shape (n,).

    The predicted class is that of the highest probability, the first among equals. Class 0 is the
    absence of any pattern, and by far the most frequent one: figures "without_0" leave it out of a
    mean, and "among_patterns" does not predict it either.

    Returns:
        `n`; `accuracy`; `balanced_accuracy`, the mean recall of the classes that occur (Brodersen
        et al., ICPR, 2010), also `_without_0` and `_among_patterns`; `macro_f1`, the mean F1 of the
        classes that occur or are predicted, also `_without_0`; `log_loss`; `majority`, the share of
        the largest class; `classes`, for each its `n`, `called` (times predicted), `precision`,
        `recall` and `f1`; `confusion`, counts by true class (rows) and predicted class (columns).

    Raises:
        PredictionsError: A probability is outside [0, 1].
    """
    p, label = check_probabilities(p), np.asarray(label, dtype=np.int64)
    counts = confusion(p.argmax(axis=1), label, p.shape[1])
    found: dict[Any, float | None] = {}
    for key, (_, tops, bottoms) in class_ratios(p, label).items():
        ratios = divide(tops.sum(axis=1), bottoms.sum(axis=1))
        defined = ratios[~np.isnan(ratios)]
        found[key] = float(defined.mean()) if len(defined) else None
    return {
        "n": len(label),
        **{key: value for key, value in found.items() if isinstance(key, str)},
        "majority": _share(counts.sum(axis=1).max(), len(label)),
        "classes": [
            {"n": int(counts[k].sum()), "called": int(counts[:, k].sum())}
            | {name: found[k, name] for name in ("precision", "recall", "f1")}
            for k in range(len(counts))
        ],
        "confusion": counts.tolist(),
    }


def class_ratios(
    p: Floats, label: NDArray[np.int64]
) -> dict[Any, tuple[int, NDArray[Any], NDArray[Any]]]:
    """Return the figures of `score_classes` as means of ratios of sums over rows.

    Returns:
        For each figure, and for precision, recall and f1 of each class k as `(k, name)`: the number
        of rows that it rests on, then the numerators and the denominators, arrays of shape
        (ratios, n).
    """
    numbers, n = np.arange(p.shape[1])[:, None], len(label)
    predicted, forced = p.argmax(axis=1), p[:, 1:].argmax(axis=1) + 1
    of_class, called = label == numbers, predicted == numbers
    hits, among = of_class & called, of_class & (forced == numbers)
    twice, either = 2 * hits, of_class.astype(int) + called
    every, others = np.ones((1, n)), int(np.count_nonzero(label))
    figures: dict[Any, tuple[int, NDArray[Any], NDArray[Any]]] = {
        "accuracy": (n, (predicted == label)[None], every),
        "balanced_accuracy": (n, hits, of_class),
        "balanced_accuracy_without_0": (others, hits[1:], of_class[1:]),
        "balanced_accuracy_among_patterns": (others, among[1:], of_class[1:]),
        "macro_f1": (n, twice, either),
        "macro_f1_without_0": (others, twice[1:], either[1:]),
        "log_loss": (n, log_losses(p, label)[None], every),
    }
    for k in range(len(numbers)):
        of_k = slice(k, k + 1)
        figures[k, "precision"] = int(called[k].sum()), hits[of_k], called[of_k]
        figures[k, "recall"] = int(of_class[k].sum()), hits[of_k], of_class[of_k]
        figures[k, "f1"] = int(of_class[k].sum()), twice[of_k], either[of_k]
    return figures


def bins_of(p_up: ArrayLike, bins: int = 10) -> NDArray[np.int64]:
    """Return the bin of each row by its P(up), shape (n,): consecutive numbers, 0 for the lowest.

    Bins have equal counts. Rows with equal forecasts share a bin; a model with few distinct
    forecasts has as few bins.
    """
    p = np.asarray(p_up, dtype=np.float64)
    ranks = np.searchsorted(np.sort(p), p, side="left")
    return np.unique(ranks * bins // len(p), return_inverse=True)[1].astype(np.int64)


def expected_calibration_error(p_up: ArrayLike, went_up: ArrayLike, bins: int = 10) -> float | None:
    """Return the mean distance between forecast and observed frequency of the bins of `bins_of`.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    AAAI, 2015. It is positive by chance alone: about `sqrt(bins / (2 pi n))` for a calibrated model
    near 1/2. Arrays have shape (n,); None without rows.
    """
    p, up = np.asarray(p_up, dtype=np.float64), np.asarray(went_up, dtype=np.float64)
    if not len(p):
        return None
    # n |mean forecast - observed frequency| of each bin
    return float(np.abs(np.bincount(bins_of(p, bins), weights=p - up)).sum() / len(p))


def check_probabilities(p: ArrayLike) -> Floats:
    """Return `p` as float64 if all values are in [0, 1].

    Raises:
        PredictionsError: A value is NaN or outside [0, 1].
    """
    p = np.asarray(p, dtype=np.float64)
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        raise PredictionsError(
            f"{int(bad.sum()):,} of {p.size:,} probabilities are outside [0, 1], "
            f"the first is {p[bad][0]} at position {int(np.flatnonzero(bad)[0])}",
            expected="numbers from 0 to 1",
            instead="drop these rows, and check the model that predicted them",
        )
    return p


def divide(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """Return `top / bottom`, broadcast; NaN where the bottom is 0."""
    top, bottom = np.asarray(top), np.asarray(bottom)
    undefined = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    return np.divide(top, bottom, out=undefined, where=bottom != 0)


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
