"""Portfolios of a cross-section: from scores to weights to returns after costs.

At each decision time the symbols with the best scores are bought, and those with the worst are sold
short. A forecast over h decisions is held for as long, by dividing the capital into h overlapping
slices, one of which is renewed at each decision (Jegadeesh and Titman, "Returns to Buying Winners
and Selling Losers", Journal of Finance, 1993).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator, Field

from gafcnn.data.bars import check_together, interval_of
from gafcnn.data.windows import close_times
from gafcnn.durations import Duration, DurationLike, multiple_of, parse_duration
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.holdings import ENDED, OPEN, Bars, Market, positions_of
from gafcnn.evaluation.predictions import P_UP, SCORE, first_row, folds_of, place
from gafcnn.evaluation.statistics import Floats
from gafcnn.kernels import compiled
from gafcnn.settings import create, settings

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Smoothing = Annotated[float, Field(ge=0, lt=1)]


@settings("portfolio")
class PortfolioRules:
    """How the scores of a cross-section become weights, and what trading costs.

    Targets have a gross exposure of 1, so that returns are those of the capital without leverage:
    they sum to 0.5 on the long side and -0.5 on the short side, or to 1 without a short side. What
    is held differs by the drift of prices, and by the band.

    Args:
        weights: "quantile" holds the best and the worst symbols; those that tie at its border
            share the places that are left. "rank" holds all, by the distance of their rank from the
            middle.
        quantile: Share of the symbols on a side; at least one symbol.
        sides: "neutral" for long and short, "long" for the best symbols only.
        sizing: "equal", or weights divided by volatility; where that is unknown or 0 there is none.
        volatility_over: Lookback of the volatility, a multiple of the bars' interval.
        band: A weight is traded, to its target, if it is further than this from it, in units of
            1 / (symbols that the decision selects). None to choose it on validation among `bands`.
        bands: Bands to choose from.
        smoothing: Weight of the old target in an exponential average of targets. None to choose it
            on validation among `smoothings`.
        smoothings: Values to choose from.
        max_weight: Limit of a symbol's absolute target weight; the excess stays in cash.
        cost_bps: Cost per side, in basis points of the notional traded.
        costs_bps: Cost per side of some symbols, in place of `cost_bps`.
    """

    weights: Literal["quantile", "rank"] = "quantile"
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    sides: Literal["neutral", "long"] = "neutral"
    sizing: Literal["equal", "inverse_volatility"] = "equal"
    volatility_over: Duration = pd.Timedelta("30D")
    band: NotNegative | None = None
    bands: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0.0, 0.25, 0.5, 0.75)
    smoothing: Smoothing | None = None
    smoothings: Annotated[tuple[Smoothing, ...], Field(min_length=1)] = (0.0, 0.5, 0.8)
    max_weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    cost_bps: NotNegative = 5.0
    costs_bps: Annotated[Mapping[str, NotNegative], BeforeValidator(lambda of: of or {})] = field(
        default_factory=dict
    )

    def cost_of(self, symbol: str) -> float:
        """Return the cost per side of a symbol, in basis points."""
        return self.costs_bps.get(symbol, self.cost_bps)


class PortfolioChoice(NamedTuple):
    """The band and the smoothing that a fold is traded with."""

    band: float
    smoothing: float
    sharpe: float | None  # per decision, on validation rows; None if nothing was chosen on them


@dataclass(frozen=True, eq=False)
class Portfolio:
    """The result of trading scores. Series have one value per decision time.

    Attributes:
        gross: Return before costs and funding, from the entry of the decision to the next.
        costs: Costs of the trades at the entry, and of the sale where everything is sold.
        funding: Funding received; negative if it is paid.
        turnover: Sum of the absolute changes of weights in these trades.
        weights: Weights after the trades, a column per symbol.
        shares: Size of each trade of a capital of 1, as a share of the value traded in its bar.
        choices: Band and smoothing by fold, and whether they were chosen on validation; one fold,
            None, without walk-forward.
        per_year: Decisions in a year.
    """

    gross: pd.Series = field(repr=False)
    costs: pd.Series = field(repr=False)
    funding: pd.Series = field(repr=False)
    turnover: pd.Series = field(repr=False)
    weights: pd.DataFrame = field(repr=False)
    shares: Floats = field(repr=False)
    per_year: float
    choices: Mapping[int | None, PortfolioChoice] = field(default_factory=dict)

    @property
    def returns(self) -> pd.Series:
        """Net return: gross less costs, plus funding."""
        return (self.gross - self.costs + self.funding).rename("return")

    def capacity(self, quantile: float = 0.5, share: float = 0.01) -> float | None:
        """Return the capital with which a quantile of the trades is a share of their bar's volume.

        It is in the currency of the prices; None without trades or volume.
        """
        if not len(self.shares):
            return None
        return float(share / np.quantile(self.shares, quantile, method="higher"))


def portfolio(
    predictions: pd.DataFrame,
    bars: Bars,
    *,
    horizon: DurationLike,
    rules: PortfolioRules | Mapping[str, Any] | None = None,
) -> Portfolio:
    """Trade the scores of several symbols as one portfolio.

    Trades are made at the open of the bar that follows the decision time; weights drift with prices
    in between. A symbol without a bar at an entry is not traded then; one whose bars have ended is
    sold at its last close. Bars may have a column `funding`, which is paid on what is held at the
    close. Band and smoothing are chosen for each fold by the Sharpe ratio after costs, on
    validation rows whose holdings end before the fold's test begins; without them both are 0.

    Args:
        predictions: `symbol`, `time` (close times, UTC) and `score` (or `p_up`), higher for better
            symbols; NaN is not held. Of a column `split`, the rows "test" are traded, and the rows
            "val" are for choosing; `fold` separates folds.
        bars: Bars by symbol.
        horizon: How long a forecast is held; a multiple of the bars' interval.
        rules: Rules, or their options by name; `PortfolioRules()` by default.

    Raises:
        PredictionsError: A column is missing, a row occurs twice, a symbol has no bars, no bar
            closes at a decision time or follows it, or there is only one symbol.
        ConfigError: An option is invalid, or the bars have different intervals.
    """
    if isinstance(rules, Mapping):
        rules = create(PortfolioRules, "portfolio", rules)
    column = P_UP if SCORE not in predictions and P_UP in predictions else SCORE
    if missing := [name for name in ("symbol", "time", column) if name not in predictions]:
        found = f"there is no column {', '.join(missing)} among {', '.join(map(str, predictions))}"
        expected, instead = "symbol, time and score", "rename the columns"
        raise PredictionsError(found, expected=expected, instead=instead)
    trial = PortfolioTrial(predictions, bars, horizon, rules or PortfolioRules())
    return trial.trade(predictions[column])


class PortfolioTrial:
    """Rows on which any number of models is traded.

    Arguments and errors are those of `portfolio`; the n rows need no score.

    Attributes:
        test: The market at the decisions of the test rows.
        folds: Which of these decisions are in which fold.
    """

    def __init__(
        self, rows: pd.DataFrame, bars: Bars, horizon: DurationLike, rules: PortfolioRules
    ) -> None:
        absent = {"fold": np.nan, "split": "test"}
        rows = rows.assign(**{name: one for name, one in absent.items() if name not in rows})
        _check(rows, bars, rules)
        self.rules, split = rules, rows["split"].to_numpy()
        self._code, symbols = pd.factorize(rows["symbol"], sort=True)
        bars = {name: bars[name] for name in symbols}
        check_together(bars)
        interval = interval_of(bars[symbols[0]])
        ahead = multiple_of("label.horizon", parse_duration("label.horizon", horizon), interval)
        timeline = np.unique(np.concatenate([close_times(frame) for frame in bars.values()]))
        self._at = at = positions_of(timeline, rows["time"])
        over = rules.volatility_over if rules.sizing == "inverse_volatility" else None

        def market(of: NDArray[np.bool_]) -> Market:
            _check_rows(rows, of, at * len(symbols) + self._code)
            return Market.align(bars, timeline, np.flatnonzero(np.bincount(at[of])), ahead, over)

        self._test = (split == "test") & (at < len(timeline) - 1)
        self.test, self.folds, self._val = market(self._test), {}, {}
        for fold, inside in folds_of(rows).items():
            tested = at[inside & self._test]
            val = inside & (split == "val") & (at + ahead < tested.min(initial=len(timeline)))
            if len(tested):
                self.folds[fold] = np.isin(self.test.rows, tested)
            if len(tested) and val.any():
                self._val[fold] = val, market(val)

    def choose(self, fold: int | None, scores: Floats) -> PortfolioChoice:
        """Return the band and the smoothing with the highest Sharpe ratio on validation rows.

        The first of equals is chosen. Without trades there, what the rules do not set is 0. Scores
        have shape (n,), one for each row.
        """
        rules = self.rules
        bands = rules.bands if rules.band is None else (rules.band,)
        smoothings = rules.smoothings if rules.smoothing is None else (rules.smoothing,)
        candidates = [*product(bands, smoothings)]
        if len(candidates) == 1:
            return PortfolioChoice(*candidates[0], None)
        best = PortfolioChoice(rules.band or 0.0, rules.smoothing or 0.0, None)
        if fold not in self._val:
            return best
        val, market = self._val[fold]
        targets = target_weights(market, self._wide(market, val, scores), rules)
        for band, smoothing in candidates:
            net = simulate(market, targets, rules, band, smoothing).returns.to_numpy()
            deviation = net.std(ddof=1) if len(net) > 1 else 0.0
            if deviation > 0 and (best.sharpe is None or net.mean() / deviation > best.sharpe):
                best = PortfolioChoice(band, smoothing, float(net.mean() / deviation))
        return best

    def trade(self, scores: ArrayLike) -> Portfolio:
        """Trade the test rows by the scores of a model, shape (n,), NaN for none.

        Each fold is traded with the band and the smoothing that are chosen for it.
        """
        scores = np.asarray(scores, dtype=np.float64)
        choices = {fold: self.choose(fold, scores) for fold in self.folds}
        band, smoothing = np.zeros((2, len(self.test.rows)))
        for fold, inside in self.folds.items():
            band[inside], smoothing[inside] = choices[fold][:2]
        targets = target_weights(self.test, self._wide(self.test, self._test, scores), self.rules)
        made = simulate(self.test, targets, self.rules, band, smoothing)
        return replace(made, choices=choices)

    def _wide(self, market: Market, of: NDArray[np.bool_], scores: Floats) -> Floats:
        """Return the scores of some rows by decision and symbol, NaN for none: shape (K, N)."""
        table = np.full(market.returns.shape, np.nan)
        table[np.searchsorted(market.rows, self._at[of]), self._code[of]] = scores[of]
        return table


def target_weights(market: Market, scores: Floats, rules: PortfolioRules) -> tuple[Floats, Floats]:
    """Return the means of the slices' weights, before smoothing and band, and the unit of the band.

    Their shapes are (K, N), like that of the scores, and (K,).
    """
    weights, n = slice_weights(scores, rules, market.volatility), len(scores)
    selected = np.count_nonzero(weights, axis=1)
    total = np.zeros(weights.shape)
    for lag in range(min(market.slices, n)):
        held = np.arange(lag, n) - lag >= market.first[lag:]
        total[lag:] += weights[: n - lag] * held[:, None]
    return total / market.slices, np.where(selected > 0, 1 / np.maximum(selected, 1), 0.0)


def slice_weights(scores: Floats, rules: PortfolioRules, volatility: Any = None) -> Floats:
    """Return the weights of symbols by the scores of one decision each: shape (K, N).

    Scores (NaN for none) and volatilities (for sizing by them) have the same shape. Without two
    different scores there is no position.
    """
    by_volatility = rules.sizing == "inverse_volatility"
    scores = np.where(volatility > 0, scores, np.nan) if by_volatility else scores
    n = np.count_nonzero(~np.isnan(scores), axis=1)[:, None]
    if rules.weights == "rank":
        ranks = pd.DataFrame(scores).rank(axis=1).to_numpy()
        strength = np.nan_to_num(ranks - (n + 1) / 2)
    else:
        # 0.29 * 100 is slightly less than 29 in floating point
        places = np.maximum(1, np.floor(rules.quantile * n + 1e-9)).astype(np.int64)
        ordered, last = np.sort(scores, axis=1), scores.shape[1] - 1
        borders = np.hstack([n - places, places - 1]).clip(0, last)
        high, low = np.take_along_axis(ordered, borders, axis=1).T[:, :, None]
        strength = _held(scores > high, scores == high, places)
        strength -= _held(scores < low, scores == low, places)
    if by_volatility:
        strength = np.divide(strength, volatility, out=strength, where=strength != 0)
    long, short = np.maximum(strength, 0), np.maximum(-strength, 0)
    longs, shorts = (side.sum(axis=1, keepdims=True) for side in (long, short))
    if rules.sides == "long":
        weights = long / np.where(longs > 0, longs, 1)
    else:
        held = (longs > 0) & (shorts > 0)
        weights = long / np.where(held, 2 * longs, np.inf)
        weights -= short / np.where(held, 2 * shorts, np.inf)
    return np.clip(weights, -rules.max_weight, rules.max_weight)


def _held(beyond: NDArray[np.bool_], tied: NDArray[np.bool_], places: NDArray[Any]) -> Floats:
    """Return 1 for symbols beyond a border; those that tie at it share the places that are left."""
    left = places - beyond.sum(axis=1, keepdims=True)
    return beyond + tied * left / np.maximum(tied.sum(axis=1, keepdims=True), 1)


def simulate(
    market: Market,
    targets: tuple[Floats, Floats],
    rules: PortfolioRules,
    band: ArrayLike = 0.0,
    smoothing: ArrayLike = 0.0,
) -> Portfolio:
    """Trade the target weights of `target_weights`, smoothed and where they are outside the band.

    Until the next entry a weight w becomes w (1 + r) / (1 + R), where R is the return of the
    portfolio. A portfolio that loses everything holds nothing from then on. `band` and `smoothing`
    are one number, or one for each decision, shape (K,).
    """
    width, keep = (np.broadcast_to(x, len(market.times)).astype(float) for x in (band, smoothing))
    costs = [rules.cost_of(name) / 1e4 for name in market.symbols]
    arrays = np.array(costs), market.returns, market.funding, market.state, market.sold
    weights, trades, sums = _rebalance(targets[0], width * targets[1], keep, *arrays)
    traded = (trades > 0) & (market.state == OPEN) & (market.value >= 0)
    with np.errstate(divide="ignore"):  # a bar without volume
        shares = trades[traded] / market.value[traded]
    names = ("gross", "costs", "funding", "turnover")
    series = [pd.Series(sums[k], market.times, name=name) for k, name in enumerate(names)]
    table = pd.DataFrame(weights, market.times, [*market.symbols])
    return Portfolio(*series, weights=table, shares=shares, per_year=market.per_year)


@compiled
def _rebalance(
    targets: Floats,
    width: Floats,
    keep: Floats,
    costs: Floats,
    returns: Floats,
    funding: Floats,
    state: NDArray[np.int8],
    sold: NDArray[np.bool_],
) -> tuple[Floats, Floats, Floats]:
    """Return weights and trades, shape (K, N); gross, costs, funding and turnover, shape (4, K).

    A weight is traded if it is further than `width` from its target, of which `keep` is the share
    of the old target.
    """
    shape = targets.shape
    weights, trades, sums = np.zeros(shape), np.zeros(shape), np.zeros((4, shape[0]))
    aim, before, solvent = np.zeros(shape[1]), np.zeros(shape[1]), True
    for k in range(shape[0]):
        for i in range(shape[1]):
            aim[i] = keep[k] * aim[i] + (1 - keep[k]) * targets[k, i]
            weight = before[i]
            if state[k, i] == ENDED or not solvent:
                weight = 0.0
            elif state[k, i] == OPEN and abs(aim[i] - weight) > width[k]:
                weight = aim[i]
            weights[k, i], trades[k, i] = weight, abs(weight - before[i])
            sums[0, k] += weight * returns[k, i]
            sums[1, k] += trades[k, i] * costs[i]
            sums[2, k] -= weight * funding[k, i]
            sums[3, k] += trades[k, i]
        growth = 1 + sums[0, k]
        solvent = solvent and growth > 0
        for i in range(shape[1]):
            value = weights[k, i] * (1 + returns[k, i])
            before[i] = value / growth if solvent else 0.0
            if sold[k]:
                sums[1, k] += abs(value) * costs[i]
                sums[3, k] += abs(value)
                aim[i], before[i] = 0.0, 0.0
    return weights, trades, sums


def _check(rows: pd.DataFrame, bars: Any, rules: PortfolioRules) -> None:
    symbols = [*rows["symbol"].unique()]
    if len(symbols) < 2 or not isinstance(bars, Mapping):
        raise PredictionsError(
            f"a portfolio of {len(symbols)} symbol{'s' * (len(symbols) != 1)}",
            expected="predictions and bars of two or more, by symbol",
            instead="trade a single symbol with gc.backtest",
        )
    if unknown := [name for name in (*symbols, *rules.costs_bps) if name not in bars]:
        raise PredictionsError(
            f"there are no bars of {', '.join(map(str, unknown[:9]))}",
            expected="bars of every symbol of the predictions and of portfolio.costs_bps",
            instead="add them, or drop the rows of these symbols",
        )


def _check_rows(rows: pd.DataFrame, of: NDArray[np.bool_], keys: NDArray[np.int64]) -> None:
    """Raise an error if there are no such rows, or a symbol occurs twice at a time among them."""
    again = of & (np.bincount(keys[of], minlength=keys.max() + 1)[keys] > 1)
    if again.any() or not of.any():
        first = f", first {place(first_row(rows, again))}" if again.any() else ""
        raise PredictionsError(
            f"{of.sum():,} test rows that a bar follows; {again.sum():,} rows occur more than once"
            + first,
            expected="rows of one model, and no decision time in the test of several folds",
            instead="pass one model at a time, or correct the columns fold and split",
        )
