"""Judge models of a direction: scores, trades and their uncertainty, for one or more symbols.

Several symbols are judged together: rows of all symbols count alike, trades form a portfolio with
equal shares, and the bootstrap resamples moments, with the rows and returns of every symbol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import bars_per_day, interval_of, rolling_volatility
from gafcnn.data.samples import Samples
from gafcnn.data.windows import stretch_starts
from gafcnn.durations import multiple_of
from gafcnn.evaluation import statistics
from gafcnn.evaluation.backtest import LONG, SHORT, Backtest, buy_and_hold, coin
from gafcnn.evaluation.bootstrap import Bootstrap, Sampled, block_length
from gafcnn.evaluation.comparisons import COMPARED, LEAST_DAYS, Study, pair_rows, pairs
from gafcnn.evaluation.figures import Counted, auc, held_figures, ratio, trade_figures
from gafcnn.evaluation.positions import confidence, positions, threshold_of
from gafcnn.evaluation.statistics import Floats, Row, curve, estimate, score
from gafcnn.evaluation.test_set import Candidate, Panel, TestSet, folds_of, split_rows
from gafcnn.evaluation.trading_rules import TradingRules

ORACLE = "oracle"  # a simulated market's own probability, which is not a trial
HOLD = "buy_and_hold"
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # of the rows, the most confident first
VOLATILITIES, TRENDS = ("low", "middle", "high"), ("down", "flat", "up")
TREND = 0.5  # standard deviations that make a trend: a random walk is flat 38 % of the time
_LOOKBACK_BARS = 60  # of regimes, if no samples are given
_POINTS = 1000  # of an equity curve, at most

Rows = NDArray[np.bool_]


def judge_directions(
    study: Study, rules: TradingRules, of_folds: Sequence[Samples]
) -> dict[str, Any]:
    """Judge all models of a study on its test rows, as plain data, None for what is undefined.

    The samples of each fold, if any, are for regimes.
    """
    sets: list[TestSet] = []
    for symbol, frame in study.bars.items():
        rows = study.joined.loc[study.joined["symbol"] == symbol]
        sets.append(TestSet(frame, *split_rows(rows), study.horizon, rules))
    panel = Panel(sets)
    models = {k: Candidate(panel, k, [one.trade(k) for one in sets]) for k in study.models}
    length = sets[0].fills.ahead
    hits = (panel.on_bars(((one.p > 0.5) == panel.up) - 0.5) for one in models.values())
    returns = {name: model.returns for name, model in models.items()}
    block = block_length([*hits, *returns.values()], length)
    bootstrap = Bootstrap(length, len(panel.times), block, study.resamples, study.seed)
    by_row = pd.concat([_regimes(one, of_folds) for one in sets], ignore_index=True)
    deflated = deflated_ratios(returns, study.trials)
    sampled: dict[str, dict[Any, Sampled]] = {}
    estimates: dict[str, Row] = {}
    tables: dict[str, list[Row]] = {"coverage": [], "sides": [], "regimes": [], "calibration": []}
    for name, model in models.items():
        parts = [*parts_of(model, by_row)]
        figures: dict[Any, Counted] = {**_score_figures(model), **_trade_figures(model)}
        for number, (kind, _, inside) in enumerate(parts):
            of_part = part_figures(model, kind, inside)
            figures |= {(number, figure): counted for figure, counted in of_part.items()}
        sampled[name] = bootstrap.sample(figures)
        found = {key: one.estimate() for key, one in sampled[name].items()}
        for number, (kind, description, inside) in enumerate(parts):
            of_part = {key[1]: one for key, one in found.items() if key[0] == number}
            tables[kind].append(_part_row(kind, model, description, inside, of_part))
        estimates[name] = {key: one for key, one in found.items() if isinstance(key, str)}
        estimates[name] |= _without_interval(model, deflated[name])
        study.advance(1)
    returns[HOLD], held = _hold(panel, rules)
    benchmarks: Row = {HOLD: held}
    if len(sets) == 1:
        benchmarks["coin"] = {
            name: coin(model.traded[0].backtest, sets[0].bars, rules, seed=study.seed)
            for name, model in models.items()
        }
    classes = {
        name: {"up": float(up[rows].mean()) if rows.any() else None, "n": int(rows.sum())}
        for name, (up, rows) in panel.outcomes.items()
    }
    return {
        **statistics.mean_cost(np.concatenate([rows.fills.long.entry_cost for rows in sets])),
        "threshold": rules.threshold,
        "rows": {name: classes[name]["n"] for name in ("all", "labelled")},
        "classes": classes,
        "bootstrap": bootstrap.describe(study.interval),
        "models": estimates,
        "benchmarks": benchmarks,
        "pairs": pair_rows(pairs(study), sampled, COMPARED),
        **tables,
        "folds": [row for model in models.values() for row in _fold_rows(model)],
        "equity": {
            name: curve(panel.times, _POINTS, {"value": (1 + one).cumprod()})
            for name, one in returns.items()
        },
    }


def _score_figures(model: Candidate) -> dict[str, Counted]:
    """Accuracy, AUC, log loss and Brier score of all, of moved and of labelled rows.

    An unchanged price counts as "not up" among all rows.
    """
    figures: dict[str, Counted] = {}
    panel, p = model.panel, model.p
    for kind, (up, inside) in panel.outcomes.items():
        suffix = "" if kind == "all" else f"_{kind}"
        rows, n = panel.on_bars(inside), int(inside.sum())
        for name, values in (
            ("accuracy", (p > 0.5) == up),
            ("log_loss", statistics.log_losses(p, up)),
            ("brier", (p - up) ** 2),
        ):
            figures[name + suffix] = ratio(panel.on_bars(np.where(inside, values, 0.0)), rows), n
        figures["auc" + suffix] = auc(p[inside], up[inside], panel.places[inside], len(rows)), n
    return figures


def _trade_figures(model: Candidate) -> dict[str, Counted]:
    panel, per_bar = model.panel, [one.backtest.per_bar() for one in model.traded]
    bars = {name: panel.add(one[name] for one in per_bar) for name in per_bar[0]}
    turns = bars_per_day(panel.sets[0].bars) / model.traded[0].backtest.slices
    figures = trade_figures(bars, model.returns, panel.periods, turns)
    coverage = ratio(panel.on_bars(model.position != 0), panel.on_bars(np.ones(len(model.p))))
    counted: dict[str, Counted] = {name: (one, model.trades) for name, one in figures.items()}
    return counted | {"coverage": (coverage, len(model.p))}


def _without_interval(model: Candidate, deflated: float | None) -> Row:
    panel, n = model.panel, len(model.p)
    least = LEAST_DAYS * bars_per_day(panel.sets[0].bars)
    grown = statistics.growth(model.returns, panel.periods, least)
    error = statistics.expected_calibration_error(model.p, panel.up)
    return {
        "trades": estimate(model.trades, model.trades),
        **{name: estimate(value, model.trades) for name, value in grown.items()},
        "threshold": estimate(model.threshold, n),
        "calibration_error": estimate(error, n),
        "deflated_sharpe": estimate(deflated, len(panel.times)),
    }


def deflated_ratios(returns: Mapping[str, Floats], trials: int) -> dict[str, float | None]:
    """Return the deflated Sharpe ratio of each model, one of `trials`, from the return of each bar.

    The variance of the trials' Sharpe ratios is estimated from the models at hand, but is at least
    1 / n, its value for n bars without skill: otherwise models that resemble each other would make
    the hurdle low.
    """
    ratios = [
        one.mean() / one.std(ddof=1)
        for name, one in returns.items()
        if name != ORACLE and np.ptp(one) > 0
    ]
    n = len(next(iter(returns.values())))
    variance = max(float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0, 1 / n)
    return {k: statistics.deflated_sharpe(one, trials, variance) for k, one in returns.items()}


def parts_of(model: Candidate, by_row: pd.DataFrame) -> Iterator[tuple[str, Row, Rows]]:
    """Yield the parts of the test rows that are judged separately: table, description, rows.

    `by_row` has the regime of each row (see `regimes`), in the order of the rows.
    """
    p, position, folds = model.p, model.position, folds_of(model.panel.test)
    # ranks within a fold are known only when all its test rows are, so these shares show where a
    # model is right, not what could have been earned
    for share in SHARES:
        limit = np.empty(len(p))
        for inside in folds.values():
            limit[inside] = threshold_of(p[inside], share)
        threshold = float(limit[0]) if len(folds) == 1 else None
        yield "coverage", {"share": share, "threshold": threshold}, confidence(p) >= limit
    yield "coverage", {"share": None, "threshold": model.threshold}, position != 0
    for side, sign in (("long", LONG), ("short", SHORT)):
        yield "sides", {"side": side, "of": "all rows"}, positions(p, 0.0) == sign
        yield "sides", {"side": side, "of": "traded rows"}, position == sign
    regime: Row = dict.fromkeys(("volatility", "trend", "month"))
    for volatility, trend in product(VOLATILITIES, TRENDS):
        inside = (by_row["volatility"] == volatility) & (by_row["trend"] == trend)
        yield "regimes", regime | {"volatility": volatility, "trend": trend}, inside.to_numpy()
    for month in sorted(by_row["month"].unique()):
        yield "regimes", regime | {"month": month}, (by_row["month"] == month).to_numpy()
    bins = statistics.bins_of(p)
    for k in range(bins.max() + 1):
        yield "calibration", {"forecast": float(p[bins == k].mean())}, bins == k


def part_figures(model: Candidate, kind: str, inside: Rows) -> dict[str, Counted]:
    """Return figures of some rows, each as a trade of its own; they overlap.

    `win_rate` and `gross_bps` are before costs, `win_rate_net` and `net_bps` after. Those of the
    table `calibration` have only `observed`, the share of the rows that went up.
    """
    panel, n = model.panel, int(inside.sum())
    if kind == "calibration":
        return {"observed": (ratio(panel.on_bars(inside & panel.up), panel.on_bars(inside)), n)}
    taken = inside & (model.p != 0.5)
    gross, net = (np.where(taken, one, 0.0) for one in model.row_returns)
    made = panel.on_bars(taken)
    of_row = {"win_rate": gross > 0, "win_rate_net": net > 0}
    of_row |= {"gross_bps": 1e4 * gross, "net_bps": 1e4 * net}
    return {name: (ratio(panel.on_bars(values), made), n) for name, values in of_row.items()}


def _part_row(
    kind: str, model: Candidate, description: Row, inside: Rows, found: Mapping[str, Row]
) -> Row:
    main = found["observed" if kind == "calibration" else "win_rate"]
    row = {"model": model.name, **description, **{key: main[key] for key in ("n", "low", "high")}}
    row |= {name: one["value"] for name, one in found.items()}
    if kind == "calibration":
        return row
    p, up = model.p[inside], model.panel.up[inside]
    row["trades"] = int((p != 0.5).sum())
    if kind == "coverage":
        return row | {"chosen": row["share"] is None, "realised": float(inside.mean())}
    scores = score(p, up)
    return row | {name: scores[name] for name in ("accuracy", "majority", "auc")}


def _fold_rows(model: Candidate) -> Iterator[Row]:
    for fold in folds_of(model.panel.test):
        if fold is None:
            return
        blocks = [
            rows.of_fold(fold, made)
            for rows, made in zip(model.panel.sets, model.traded, strict=True)
            if fold in rows.folds
        ]
        sets, traded = zip(*blocks, strict=True)
        alone = Candidate(Panel(sets), model.name, traded)
        scores, figures = score(alone.p, alone.panel.up), _trade_figures(alone)
        times = alone.panel.test["time"]
        yield {
            "model": model.name,
            "fold": fold,
            "first": times.min().isoformat(),
            "last": times.max().isoformat(),
            **{name: scores[name] for name in ("n", "accuracy", "majority", "auc", "log_loss")},
            "trades": alone.trades,
            **{name: figures[name][0].value for name in ("win_rate_gross", "net_bps", "sharpe")},
            "threshold": alone.threshold,
            "coverage": alone.coverage,
        }


def _regimes(rows: TestSet, of_folds: Sequence[Samples]) -> pd.DataFrame:
    """Return the regime of each test row, by the training samples of its fold."""
    found = []
    for fold, inside in rows.folds.items():
        times = pd.DatetimeIndex(rows.test.loc[inside, "time"])
        samples = next((one for one in of_folds if one.split.fold == fold), None)
        if samples is None:
            reference = pd.DatetimeIndex(rows.bars.loc[: times[0]].index)[:-1]
            lookback = _LOOKBACK_BARS * interval_of(rows.bars)
        else:
            part = samples if len(samples.symbols) == 1 else samples.of(rows.test["symbol"].iloc[0])
            reference = pd.DatetimeIndex(part.times[part.split.train]).tz_localize("UTC")
            lookback = max(samples.lookback, 3 * interval_of(rows.bars))
        found.append(regimes(rows.bars, times, reference, lookback))
    return pd.concat(found).loc[pd.DatetimeIndex(rows.test["time"])]


def regimes(
    bars: pd.DataFrame, times: pd.DatetimeIndex, reference: pd.DatetimeIndex, lookback: pd.Timedelta
) -> pd.DataFrame:
    """Return the regime at each decision time.

    Volatility is the standard deviation of the one-bar log returns between the closes of the
    `lookback` (three bars or more) that ends at `t`; low, middle and high are terciles of the
    reference times, such as those of training samples. The trend is `z = log return over the
    lookback / (volatility * sqrt(number of returns))`: up above `TREND`, down below `-TREND`.

    Returns:
        A frame indexed by `times` with the columns `volatility` (of `VOLATILITIES`), `trend` (of
        `TRENDS`) and `month` ("2025-06", UTC). Volatility and trend are None where the lookback has
        a gap, and everywhere if no reference time has a gap-free lookback.
    """
    volatility = rolling_volatility(bars, "lookback", lookback)
    length = multiple_of("lookback", lookback, interval_of(bars))
    log_close = pd.Series(np.log(bars["close"].to_numpy(np.float64)))
    z = statistics.divide(log_close.diff(length - 1), volatility * np.sqrt(length - 1))
    complete = np.arange(len(bars)) - stretch_starts(bars) >= length - 1
    rows, training = bars.index.get_indexer(times), bars.index.get_indexer(reference)
    known, training = (rows >= 0) & complete[rows], training[(training >= 0) & complete[training]]
    names = np.full((2, len(times)), None, dtype=object)
    if len(training):
        edges = np.quantile(volatility[training], [1 / 3, 2 / 3])
        tercile = np.searchsorted(edges, volatility[rows[known]], side="left")
        # constant prices have no trend: their z is NaN
        trend = 1 + (z[rows[known]] > TREND).astype(int) - (z[rows[known]] < -TREND)
        names[0, known], names[1, known] = np.array(VOLATILITIES)[tercile], np.array(TRENDS)[trend]
    return pd.DataFrame(
        {"volatility": names[0], "trend": names[1], "month": times.strftime("%Y-%m")}, index=times
    )


def _hold(panel: Panel, rules: TradingRules) -> tuple[Floats, dict[str, Row]]:
    """Return the return of each bar and the figures of holding all symbols in equal shares."""
    held: list[Backtest] = []
    for one in panel.sets:
        last: Any = one.period[-1]
        held.append(buy_and_hold(one.bars, one.test["time"].iloc[0], last, rules))
    returns = panel.mean_return(held)
    figures = held_figures(returns, panel.periods)
    return returns, {name: estimate(value, 1) for name, value in figures.items()}
