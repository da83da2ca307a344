"""Judge rankings: how scores order the symbols of a decision time, and what a portfolio earns.

All models are judged on the same test rows. Decision times are resampled in bins of a horizon, at
least a day, alike for all models, so that differences are paired.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import COLUMNS, bars_per_day, bars_per_year, interval_of
from gafcnn.evaluation import figures, statistics
from gafcnn.evaluation.bootstrap import Bootstrap, block_length
from gafcnn.evaluation.comparisons import LEAST_DAYS, Study, pair_rows, pairs
from gafcnn.evaluation.directions import TRENDS, VOLATILITIES, deflated_ratios, regimes
from gafcnn.evaluation.figures import Counted, Figure, of_sums, ratio
from gafcnn.evaluation.portfolio import PortfolioRules, PortfolioTrial, simulate, target_weights
from gafcnn.evaluation.statistics import Floats, Row, curve, divide, estimate
from gafcnn.evaluation.test_set import split_rows

QUANTILES = 5  # parts of equal size that the symbols of a time are sorted into by their scores
MARKET = "market"  # the benchmark: all symbols of a time in equal shares, without costs
COMPARED = {"rank_ic": "rank IC", "sharpe": "Sharpe ratio"}  # with their names in sentences
LOOKBACK_DAYS = 20  # of trading, for momentum, volatility and regimes of the market
LEAST_TIMES = 50  # of validation, from which a choice of band and smoothing says something
PARTS = ("year", "month", "volatility", "trend", "fold")  # what decision times are divided by
PART_FIGURES = ("rank_ic", "spread_bps", "net_bps")  # the last is the mean of a decision

_POINTS = 500  # of a curve, at most

Times = NDArray[np.bool_]

log = logging.getLogger(__name__)


def judge_rankings(study: Study, rules: PortfolioRules, notes: list[str]) -> dict[str, Any]:
    """Judge all models of a study on its test rows, as plain data, None for what is undefined.

    Notes on the rows are added to.

    Raises:
        PredictionsError: There are no test rows, or of one symbol only.
    """
    panel = Panel(study, rules)
    models = {name: Candidate(panel, name) for name in study.models}
    for note in _notes(panel, models):
        log.info("%s", note)
        notes.append(note)
    series = [one for model in models.values() for one in (model.correlations, model.net)]
    block = block_length(map(np.nan_to_num, series), panel.bin)
    bootstrap = Bootstrap(panel.bin, len(panel.times), block, study.resamples, study.seed)
    returns = {name: model.net for name, model in models.items()}
    deflated = deflated_ratios(returns, study.trials)
    sampled, estimates, parts = {}, {}, [*panel.parts()]
    quantile_rows, part_rows = list[Row](), list[Row]()
    for name, model in models.items():
        sampled[name] = bootstrap.sample(
            rank_figures(model.correlations, model.quantiles)
            | money_figures(panel, model)
            | part_figures(model, parts)
        )
        found = {key: one.estimate() for key, one in sampled[name].items()}
        estimates[name] = {key: one for key, one in found.items() if isinstance(key, str)}
        estimates[name] |= _without_interval(panel, model, deflated[name])
        for number in range(1, QUANTILES + 1):
            mean = found["quantile", number]
            row: Row = {"model": name, "quantile": number, "times": mean["n"]}
            quantile_rows.append(row | {"return_bps": mean})
        for number, (part, of, inside) in enumerate(parts):
            row = {"model": name, "part": part, "of": of, "times": int(inside.sum())}
            part_rows.append(row | {key: found[number, key] for key in PART_FIGURES})
        study.advance(1)
    held = figures.held_figures(panel.factors[MARKET], panel.market.per_year)
    return {
        **statistics.mean_cost(np.array([rules.cost_of(one) for one in panel.market.symbols])),
        "rows": {"all": len(panel.test), "labelled": len(panel.test.dropna(subset=["label"]))},
        "cross_section": panel.describe(),
        "bootstrap": bootstrap.describe(panel.step * study.interval),
        "models": estimates,
        "benchmarks": {MARKET: _estimates({"rank_ic": None, **held}, len(panel.times))},
        "pairs": pair_rows(pairs(study), sampled, COMPARED),
        "quantiles": quantile_rows,
        "parts": part_rows,
        "contributions": [*_contributions(panel, models[study.headline])],
        "equity": {
            name: curve(panel.times, _POINTS, {"value": (1 + one).cumprod()})
            for name, one in {**returns, MARKET: panel.factors[MARKET]}.items()
        },
        "curves": {
            name: curve(panel.times, _POINTS, series(panel, models[study.headline]))
            for name, series in (("quantiles", _cumulated), ("portfolio", _held))
        },
    }


class Panel:
    """The test rows of all models on the timeline of their decision times.

    Series have one value per decision time, shape (times,).
    """

    def __init__(self, study: Study, rules: PortfolioRules) -> None:
        self.study, self.rules = study, rules
        self.test = split_rows(study.joined)[1]
        self.times = pd.DatetimeIndex(self.test["time"].unique())
        self.places = self.times.get_indexer(pd.DatetimeIndex(self.test["time"]))
        self.ahead = self.test["forward_return"].to_numpy(np.float64)
        self.trial = PortfolioTrial(study.joined, study.bars, study.horizon, rules)
        self.market, bars = self.trial.test, next(iter(study.bars.values()))
        self.step, day = round(bars_per_year(bars) / self.market.per_year), bars_per_day(bars)
        self.per_day = day / self.step
        self.bin = max(1, int(np.ceil(max(study.horizon / study.interval, day) / self.step)))
        self.lookback = max(3, round(LOOKBACK_DAYS * day))  # in bars
        # at all close times, NaN where a symbol has no bar
        self.closes = pd.DataFrame({name: one["close"] for name, one in study.bars.items()})
        self.changes: Any = self.closes.pct_change(fill_method=None)

    def on_times(self, series: pd.Series) -> Floats:
        """Return a series of the portfolio's decisions on the timeline, 0 where there is none."""
        return series.reindex(self.times).fillna(0.0).to_numpy(np.float64)

    def correlations(self, score: Floats) -> Floats:
        """Return the rank IC of a score per row; NaN where it is undefined."""
        found = statistics.rank_correlations(score, self.ahead, self.places)
        return found.reindex(range(len(self.times))).to_numpy(np.float64)

    def quantile_returns(self, score: Floats) -> Floats:
        """Return the mean forward return of each quantile, less that of all symbols.

        Quantiles are those of `pandas.qcut`; equal scores are in the same one. Empty ones are NaN:
        shape (times, QUANTILES).
        """
        rows: Any = pd.DataFrame({"score": score, "ahead": self.ahead}).groupby(self.places)
        n = rows["score"].transform("count")
        share = (rows["score"].rank() - 1) * QUANTILES / (n - 1).where(n > 1)
        less = self.ahead - rows["ahead"].transform("mean")
        means = less.groupby([self.places, np.ceil(share).clip(lower=1)]).mean().unstack()  # noqa: PD010
        numbers = range(1, QUANTILES + 1)
        return means.reindex(range(len(self.times)), columns=numbers).to_numpy(np.float64)

    @cached_property
    def factors(self) -> dict[str, Floats]:
        """Returns of the market, and of portfolios that buy past winners and quiet symbols.

        They are before costs. The portfolios are long and short by the same rules, without band and
        smoothing, with scores of the `LOOKBACK_DAYS`: the return, and minus the volatility.
        """
        market, at = self.market, pd.Index(self.market.symbols)
        inside, traded = np.zeros(market.returns.shape, bool), self.places < len(market.times)
        inside[self.places[traded], at.get_indexer([*self.test["symbol"]])[traded]] = True
        mean = np.where(inside, market.returns, 0.0).sum(axis=1) / inside.sum(axis=1)
        found = {MARKET: self.on_times(pd.Series(mean, market.times))}
        rules = replace(self.rules, sides="neutral", cost_bps=0.0, costs_bps={})
        momentum: Any = self.closes.pct_change(self.lookback, fill_method=None)
        volatility: Any = self.changes.rolling(self.lookback).std()
        for name, table in (("momentum", momentum), ("low_volatility", -volatility)):
            scores = table.reindex(index=market.times, columns=at).to_numpy(np.float64)
            targets = target_weights(market, np.where(inside, scores, np.nan), rules)
            found[name] = self.on_times(simulate(market, targets, rules).returns)
        return found

    def parts(self) -> Iterator[tuple[str, str, Times]]:
        """Yield the parts of the timeline that are judged separately: kind, name, decision times.

        Volatility and trend are those of the market (see `directions.regimes`), with terciles of
        the time before the test if there is any.
        """
        returns: Any = self.changes.mean(axis="columns").fillna(0.0)
        market = pd.DataFrame(dict.fromkeys(COLUMNS, (1 + returns).cumprod()))
        market.attrs = next(iter(self.study.bars.values())).attrs
        before = pd.DatetimeIndex(market.index)[: market.index.searchsorted(self.times[0])]
        reference = before if len(before) > self.lookback else self.times
        found = regimes(market, self.times, reference, self.lookback * interval_of(market))
        fold = self.test.groupby("time")["fold"].first().reindex(self.times)
        found = found.assign(year=self.times.strftime("%Y"), fold=fold.astype("string"))
        known = {"volatility": VOLATILITIES, "trend": TRENDS}
        for part in PARTS:
            names = sorted(found[part].dropna().unique(), key=lambda one: (len(one), one))
            for name in known.get(part, names):
                yield part, str(name), (found[part] == name).fillna(value=False).to_numpy(bool)

    def describe(self) -> Row:
        """Return the number of decision times, and of symbols."""
        n, symbols = np.bincount(self.places), self.test["symbol"].nunique()
        return {"times": len(n), "symbols": symbols, "fewest": int(n.min()), "most": int(n.max())}


class Candidate:
    """One model, a column of scores: its forecasts and its portfolio."""

    def __init__(self, panel: Panel, name: str) -> None:
        self.name, score = name, panel.test[name].to_numpy(np.float64)
        # rank IC, NaN where it is undefined, shape (times,)
        self.correlations = panel.correlations(score)
        self.quantiles = panel.quantile_returns(score)  # shape (times, QUANTILES)
        self.portfolio = made = panel.trial.trade(panel.study.joined[name])
        # returns after and before the costs of trading, both after funding, shape (times,)
        self.net, self.gross = (panel.on_times(made.returns + more) for more in (0.0, made.costs))
        self.turnover = panel.on_times(made.turnover)


def rank_figures(correlations: Floats, quantiles: Floats) -> dict[Any, Counted]:
    """Return what scores tell of the order of the symbols, from series of a model.

    The figures are `rank_ic`; `ic_positive`, the share of decision times at which it is above 0;
    `icir`, its mean over its standard deviation, per decision time; `spread_bps`, the mean return
    of the top quantile less that of the bottom; `monotonicity`, Spearman's correlation of the
    quantiles' numbers and mean returns; and the mean return of each, `("quantile", number)`.
    """
    known = np.isfinite(correlations)
    n, bps = int(known.sum()), 1e4 * quantiles
    return {
        "rank_ic": (mean_of(correlations), n),
        "ic_positive": (mean_of(np.where(known, correlations > 0, np.nan)), n),
        "icir": (figures.sharpe(np.where(known, correlations, 0.0), 1.0, known), n),
        "spread_bps": _counted(bps[:, -1] - bps[:, 0]),
        "monotonicity": (monotonicity(quantiles), n),
        **{("quantile", k + 1): _counted(bps[:, k]) for k in range(QUANTILES)},
    }


def mean_of(values: Floats) -> Figure:
    """Return the mean of a series over the decision times at which it is known."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0), known)


def _counted(values: Floats) -> Counted:
    return mean_of(values), int(np.isfinite(values).sum())


def monotonicity(quantiles: Floats) -> Figure:
    """Return Spearman's correlation of the number and the mean return of quantiles.

    It is 1 if returns rise from each quantile to the next (Patton and Timmermann, "Monotonicity in
    Asset Returns", Journal of Financial Economics, 2010).
    """
    from scipy.stats import rankdata

    known = np.isfinite(quantiles)
    numbers = np.arange(QUANTILES) - (QUANTILES - 1) / 2

    def of(*sums: Floats) -> Floats:
        means = divide(np.array(sums[:QUANTILES]), np.array(sums[QUANTILES:]))
        ranks = rankdata(means, axis=0) - (QUANTILES + 1) / 2
        return divide(numbers @ ranks, np.sqrt(numbers @ numbers * (ranks**2).sum(axis=0)))

    series = [*np.where(known, quantiles, 0.0).T, *known.T]
    return of_sums(series, of, np.any(known, axis=1))


def regression(
    returns: Floats, factors: Mapping[str, Floats], periods: float = 1.0
) -> dict[str, Figure]:
    """Return the coefficients of the least squares regression of returns on factors, by name.

    `alpha` is what no factor explains of the return of `periods` decisions, the others are betas.
    """
    columns = np.column_stack([np.ones(len(returns)), *factors.values()])
    k = columns.shape[1]
    products = [columns[:, i] * columns[:, j] for i in range(k) for j in range(k)]
    series = [*products, *(columns * returns[:, None]).T]

    def coefficient(number: int) -> Figure:
        def of(*sums: Floats) -> Floats:
            found = np.array(sums).T
            squares, both = found[:, : k * k].reshape(-1, k, k), found[:, k * k :]
            # a factor that is always 0 explains nothing
            rows = np.linalg.pinv(squares, hermitian=True)[:, number]
            return (rows * both).sum(axis=1) * (1.0 if number else periods)

        return of_sums(series, of, returns != 0)

    return {name: coefficient(number) for number, name in enumerate(("alpha", *factors))}


def money_figures(panel: Panel, model: Candidate) -> dict[Any, Counted]:
    """Return what the portfolio of a model earns, and what it is exposed to.

    Win rates are shares of days. The break-even cost is the cost per side at which the mean net
    return is 0. `beta` is that to the market alone; the other betas and the alpha, per year, are
    those of the regression on all factors.
    """
    net, gross, n = model.net, model.gross, len(model.net)
    per_year, every = panel.market.per_year, np.ones(n)
    days = np.diff(panel.times.floor("D").asi8, prepend=-1) != 0  # the first decision of each
    wins = {}
    for name, one in (("gross", gross), ("net", net)):
        wins[name] = np.zeros(n)
        wins[name][days] = np.add.reduceat(one, np.flatnonzero(days)) > 0
    coefficients = regression(net, panel.factors, per_year)
    found = {
        "sharpe_gross": figures.sharpe(gross, per_year),
        "sharpe": figures.sharpe(net, per_year),
        "sortino": figures.sortino(net, per_year),
        "max_drawdown": figures.drawdown(net),
        "turnover": ratio(panel.per_day * model.turnover, every),
        "break_even_bps": ratio(1e4 * gross, model.turnover),
        "win_rate_gross": ratio(wins["gross"], days),
        "win_rate_net": ratio(wins["net"], days),
        "beta": regression(net, {MARKET: panel.factors[MARKET]})[MARKET],
        **{f"beta_{name}": coefficients[name] for name in panel.factors},
        "alpha": coefficients["alpha"],
    }
    n_days = int(days.sum())
    return {name: (one, n_days if "win" in name else n) for name, one in found.items()}


def part_figures(model: Candidate, parts: Sequence[tuple[str, str, Times]]) -> dict[Any, Counted]:
    """Return the means over parts of the timeline (see `Panel.parts`), by (number, figure)."""
    spread = model.quantiles[:, -1] - model.quantiles[:, 0]
    series = (model.correlations, 1e4 * spread, 1e4 * model.net)
    return {
        (number, name): _counted(np.where(inside, one, np.nan))
        for number, (_, _, inside) in enumerate(parts)
        for name, one in zip(PART_FIGURES, series, strict=True)
    }


def _without_interval(panel: Panel, model: Candidate, deflated: float | None) -> Row:
    n, made = len(model.net), model.portfolio
    grown = statistics.growth(model.net, panel.market.per_year, LEAST_DAYS * panel.per_day)
    found = {**grown, "deflated_sharpe": deflated, "capacity": made.capacity()}
    for name in ("band", "smoothing"):
        chosen = {getattr(choice, name) for choice in made.choices.values()}
        found[name] = chosen.pop() if len(chosen) == 1 else None  # folds differ
    return _estimates(found, n)


def _estimates(values: Mapping[str, float | None], n: int) -> Row:
    return {name: estimate(value, n) for name, value in values.items()}


def _notes(panel: Panel, models: Mapping[str, Candidate]) -> Iterator[str]:
    """Yield where a model has no rank correlation, and which portfolios are not tuned."""
    for name, model in models.items():
        if undefined := int(np.isnan(model.correlations).sum()):
            yield (
                f"{name} has no rank IC at {undefined:,} of {len(model.net):,} decision times, "
                "with fewer than two distinct scores or returns"
            )
    rules = panel.rules
    choices = {name: model.portfolio.choices.values() for name, model in models.items()}
    unchosen = [name for name in models if any(one.sharpe is None for one in choices[name])]
    if unchosen and None in (rules.band, rules.smoothing):
        yield (
            f"{', '.join(unchosen)}: band and smoothing cannot be chosen without trades on "
            "validation rows, and are 0 if they are not set"
        )
    if differing := [name for name in models if len({one[:2] for one in choices[name]}) > 1]:
        yield (
            f"{', '.join(differing)}: folds were traded with different bands or smoothings, which "
            "are n/a for all of them together"
        )
    val = panel.study.joined.loc[panel.study.joined["split"] == "val"]
    least = val.groupby("fold", dropna=False)["time"].nunique().min()  # NaN without rows
    if None in (rules.band, rules.smoothing) and least < LEAST_TIMES:
        yield (
            f"validation has only {least} decision times in a fold: band and smoothing, which are "
            "chosen on it, are arbitrary; use more bars or a larger split.val, or set both"
        )


def _contributions(panel: Panel, model: Candidate) -> Iterator[Row]:
    """Yield what each symbol contributed to the sum of the gross returns, the best first."""
    weights = model.portfolio.weights.to_numpy()
    earned, held = (weights * panel.market.returns).sum(axis=0), (weights != 0).mean(axis=0)
    times = panel.test["symbol"].value_counts().to_dict()
    for k in np.argsort(-earned):
        symbol = panel.market.symbols[k]
        row: Row = {"model": model.name, "symbol": symbol, "times": times.get(symbol, 0)}
        yield row | {"held": float(held[k]), "contribution": float(earned[k])}


def _cumulated(panel: Panel, model: Candidate) -> dict[str, Floats]:
    """Return the sums of quantile returns, in one of as many slices as horizons overlap."""
    sums = np.nancumsum(model.quantiles, axis=0) / panel.market.slices
    return {str(k + 1): sums[:, k] for k in range(QUANTILES)}


def _held(panel: Panel, model: Candidate) -> dict[str, Floats]:
    """Return turnover per day (a moving average), largest weights and number of symbols."""
    weights: Any = model.portfolio.weights
    window = max(1, len(panel.times) // _POINTS, round(5 * panel.per_day))
    turnover: Any = pd.Series(panel.per_day * model.turnover)
    found = {"long": weights.max(axis=1), "short": weights.min(axis=1)}
    found["names"] = (weights != 0).sum(axis=1)
    shown = {name: panel.on_times(one) for name, one in found.items()}
    return {"turnover": turnover.rolling(window, min_periods=1).mean().to_numpy(), **shown}
