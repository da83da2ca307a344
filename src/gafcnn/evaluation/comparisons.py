"""Which models are compared, whether targets are met, and the verdict in sentences.

Nothing is claimed that the intervals do not show. The targets are those of the system that this
library grew from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from gafcnn.data.bars import interval_of
from gafcnn.data.labels import PATTERNS
from gafcnn.evaluation.bootstrap import Sampled
from gafcnn.evaluation.ensembles import ENSEMBLE, ENSEMBLES, TWO_STAGE
from gafcnn.evaluation.joining import is_ranking
from gafcnn.evaluation.statistics import Row, estimate, score_ranking, score_rows

COMPARED = {  # with their names in sentences
    "accuracy": "accuracy",
    "auc": "AUC",
    "accuracy_labelled": "accuracy on labelled rows",
    "auc_labelled": "AUC on labelled rows",
    "win_rate_gross": "win rate before costs",
    "net_bps": "net return per trade",
    "sharpe": "Sharpe ratio",
}


@dataclass(frozen=True)
class Study:
    """What is judged."""

    joined: pd.DataFrame  # predictions, models side by side (see `join`)
    bars: Mapping[str, pd.DataFrame]  # bars of each symbol
    horizon: pd.Timedelta  # horizon of the label, and the longest duration of a trade
    members: Sequence[str]  # models that are neither the baseline nor foreign: the windows
    models: Sequence[str]  # all models, in the order of the tables
    baseline: str | None  # model that the others are compared with; None if there is none
    foreign: Sequence[str]  # models whose tables had no outcomes
    headline: str  # model that the verdict is about
    trials: int  # number of trainings that were tried
    resamples: int  # resamples of the bootstrap; 0 for no intervals
    seed: int  # seed of the resamples, and of the coin
    advance: Callable[[int], None]  # called with the number of models that were finished

    @property
    def interval(self) -> pd.Timedelta:
        """Time between two bars."""
        return interval_of(next(iter(self.bars.values())))


class Pair(NamedTuple):
    """Two models on the same rows: `a` is expected to be better than `b`, by `target` if any."""

    a: str
    b: str
    target: Target | None = None


def pairs(study: Study) -> Iterator[Pair]:
    """Yield the comparisons of a study of directions, or of rankings.

    Ensembles are compared with the best member, by its AUC on labelled validation rows or its rank
    IC; members, ensembles and foreign models are compared with the baseline.
    """
    members, models, baseline = study.members, study.models, study.baseline
    val = study.joined.loc[study.joined["split"] == "val"]

    def skill(name: str) -> float:
        rows = val.loc[val[name].notna()]
        if is_ranking(rows):
            return score_ranking(rows, name)["rank_ic"] or 0.0
        found = score_rows(rows, name)["labelled"]["auc"]
        return 0.5 if found is None else found

    best = max(members, key=skill) if members else None
    if best is not None and len(members) > 1:
        for name in ENSEMBLES:
            if name in models:
                yield Pair(name, best, ENSEMBLE_OVER_WINDOW if name == ENSEMBLE else None)
    if best is not None and baseline is not None:
        yield Pair(best, baseline)
        if ENSEMBLE in models and len(members) > 1:
            yield Pair(ENSEMBLE, baseline)
        if TWO_STAGE in models:
            yield Pair(TWO_STAGE, baseline, TWO_STAGE_OVER_XGBOOST)
    for name in study.foreign:
        for other in (baseline, best):
            if other not in (None, name):
                yield Pair(name, other)


def pair_rows(
    asked: Iterable[Pair], sampled: Mapping[str, Mapping[Any, Sampled]], names: Mapping[str, str]
) -> list[Row]:
    """Return the difference of each pair in each of the figures `names`, ready for JSON.

    `sampled` has the figures of each model, `names` those to compare, and their names in sentences.
    """
    rows = []
    for pair in asked:
        for figure, name in names.items():
            by = (sampled[pair.a][figure] - sampled[pair.b][figure]).estimate()
            goal = pair.target.goal if pair.target and pair.target.figure == figure else None
            row = {"a": pair.a, "b": pair.b, "figure": figure, **by, "expected": goal}
            rows.append(row | {"finding": finding(pair, name, by)})
    return rows


def finding(pair: Pair, name: str, by: Row) -> str:
    """Return what the difference of a pair in a figure shows, a sentence without its full stop."""
    value, low, high = (by[key] for key in ("value", "low", "high"))
    if value is None:
        return f"the {name} of {pair.a} and {pair.b} cannot be compared: one is undefined"
    if low is None:
        return f"the difference in {name} of {pair.a} and {pair.b} has no confidence interval"
    if low <= 0 <= high:
        return f"the difference in {name} of {pair.a} and {pair.b} is not statistically significant"
    return f"{pair.a} has a {'higher' if low > 0 else 'lower'} {name} than {pair.b}"


SURE = 0.95  # the deflated Sharpe ratio of a Sharpe ratio that is more than luck
LEAST_DAYS = 30  # a few days, compounded over a year, mean nothing
ANNUALISED = ("sharpe", "sharpe_gross", "sortino", "deflated_sharpe", "annual_return", "calmar")


@dataclass(frozen=True)
class Target:
    """A target."""

    target: str  # what it is about
    goal: str  # what was to be reached, in words
    figure: str  # name of the figure in the estimates
    least: float  # the least value that reaches it
    luck: float = 0.0  # the value of the figure without skill
    of_pair: bool = False  # whether the figure is a difference between two models


# the accuracies that it stems from are of equally many samples of each class (Chen and Tsai,
# Financial Innovation, 2020), which a balanced accuracy corresponds to
PATTERN_RECOGNITION = Target("pattern recognition", "> 90 % accuracy", "balanced_accuracy", 0.9)
ENSEMBLE_OVER_WINDOW = Target(
    "ensemble over its best single window", "+2 to +5 % accuracy", "accuracy", 0.02, of_pair=True
)
TWO_STAGE_OVER_XGBOOST = Target(
    "two-stage over XGBoost", "+5 to +10 % win rate", "win_rate_gross", 0.05, of_pair=True
)
TARGETS = (
    Target("win rate", "65 to 70 %", "win_rate_gross", 0.65, luck=0.5),
    PATTERN_RECOGNITION,  # not measured in a study of directions
    Target("Sharpe ratio", "2.0 to 2.5", "sharpe", 2.0),
    Target("Sortino ratio", "3.0 to 3.5", "sortino", 3.0),
    ENSEMBLE_OVER_WINDOW,
    TWO_STAGE_OVER_XGBOOST,
)


def verdict(
    value: float | None, low: float | None, high: float | None, least: float, luck: float
) -> str:
    """Return whether a target is met, as far as its interval shows.

    It is met if the value is at least `least` and the whole interval above `luck`, the value
    without skill. It is not met if the whole interval is below `least`, and not significant if the
    interval contains luck, or if a value that is high enough has no interval.
    """
    if value is None:
        return "not measured"
    if high is not None and high < least:
        return "not met"
    if low is not None and low <= luck:
        return "not statistically significant"
    if value < least:
        return "not met"
    return "met" if low is not None else "not statistically significant"


def targets(metrics: Mapping[str, Any]) -> list[Row]:
    """Return a row per target that applies: figure, estimate and verdict.

    No target counts as met while the trades lose money, and no annualised ratio is judged on fewer
    than `LEAST_DAYS`. The Sharpe ratio is met only if the deflated one reaches `SURE`.
    """
    headline, figures = metrics["headline"], metrics["models"][metrics["headline"]]
    if metrics["task"] == "classification":
        if tuple(metrics["classes"]) != PATTERNS:
            return []
        chance = 1 / sum(n > 0 for n in metrics["classes"].values())
        target = replace(PATTERN_RECOGNITION, luck=chance)
        return [target_row(target, headline, figures[target.figure])]
    by_goal = {row["expected"]: row for row in metrics["pairs"] if row["expected"]}
    rows = []
    for target in TARGETS:
        found, model = figures.get(target.figure), headline
        if target.of_pair:
            found = by_goal.get(target.goal)
            model = f"{found['a']} less {found['b']}" if found else ""
        if found or metrics["task"] == "direction":
            rows.append(target_row(target, model, found))
    deflated = figures["deflated_sharpe"]["value"] or 0.0
    earned = [figures[key]["value"] or 0 for key in ("net_bps", "total_return") if key in figures]
    few = period_days(metrics) < LEAST_DAYS
    for row in rows:
        if few and row["figure"] in ANNUALISED and row["value"] is not None:
            row["verdict"] = "too few days"
        elif row["verdict"] == "met" and row["figure"] == "sharpe" and deflated < SURE:
            row["verdict"] = "not statistically significant"
        elif row["verdict"] == "met" and min(earned, default=0) < 0:
            row["verdict"] = "met, but the trades lose money"
    return rows


def target_row(target: Target, model: str, found: Mapping[str, Any] | None) -> Row:
    """Return the row of a target from the estimate of its figure; None if it is not measured."""
    found = found or estimate(None, 0)
    value, low, high = (found[key] for key in ("value", "low", "high"))
    return {
        "target": target.target,
        "goal": target.goal,
        "model": model,
        "figure": target.figure,
        "least": target.least,
        **{key: found[key] for key in ("value", "low", "high", "n")},
        "verdict": verdict(value, low, high, target.least, target.luck),
    }


_EXPLANATIONS = {
    TWO_STAGE: " (windows and baseline, stacked)",
    "mean": " (of the windows' probabilities)",
}
_RANKING_EXPLANATIONS = {
    TWO_STAGE: " (the mean rank by windows and baseline)",
    "mean": " (the mean rank by the windows)",
}
_RARE = 100  # rows of a class below which it is mentioned that no row was missed
_IMPLAUSIBLE = 0.95  # an AUC of directions
_IMPLAUSIBLE_IC = 0.3  # a mean rank IC


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Return what was found about the headline model, from all that the judge computed."""
    headline = metrics["headline"]
    figures = metrics["models"][headline]
    if metrics["task"] == "classification":
        return [*_classification(headline, figures, metrics)]
    if metrics["task"] == "ranking":
        return [
            *_order(headline, figures, metrics),
            *_doubt("A rank IC", figures["rank_ic"]["value"], _IMPLAUSIBLE_IC),
            *_earned(figures, metrics),
            *_in_total(figures, metrics["benchmarks"]["market"], "the equal-weighted market"),
            *_deflated("The probability that the Sharpe ratio", figures, metrics),
            *_exposure(figures),
            *_noise(metrics),
            *_compared(metrics["pairs"], headline, "rank_ic", "+.4f"),
            *_compared(metrics["pairs"], headline, "sharpe", "+.2f"),
        ]
    return [
        *_skill(headline, figures, metrics),
        *_doubt("An AUC", figures["auc"]["value"], _IMPLAUSIBLE),
        *_money(figures, metrics),
        *_in_total(figures, metrics["benchmarks"]["buy_and_hold"], "buy and hold"),
        *_noise(metrics),
        *_compared(metrics["pairs"], headline, "auc", "+.3f"),
    ]


def period_days(metrics: Mapping[str, Any]) -> float:
    """Return the length of the test period in days."""
    first, last = (pd.to_datetime(metrics[key]) for key in ("first", "last"))
    return (last - first) / pd.Timedelta("1D")


def _noise(metrics: Mapping[str, Any]) -> Iterator[str]:
    if (days := period_days(metrics)) < LEAST_DAYS:
        yield f"The test period has {days:.1f} days: annualised figures of so few days are noise."


def _doubt(figure: str, value: float | None, most: float) -> Iterator[str]:
    if value is not None and value > most:
        yield (
            f"{figure} of {value:.3f} is implausible for returns: check that each `time` is the "
            "close of the last bar that the forecast knows, and not its open."
        )


def _order(headline: str, figures: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    rank_ic, found = figures["rank_ic"], metrics["cross_section"]
    text = _RANKING_EXPLANATIONS.get(headline, "")
    yield (
        f"{headline}{text} ranks {found['symbols']} symbols at {found['times']:,} decision times "
        f"with a mean rank IC of {_format(rank_ic, '.4f')}: {_against(rank_ic, 0.0)}."
    )
    if (order := figures["monotonicity"]["value"]) is not None:
        rises = "rise" if order == 1 else "do not rise"
        yield (
            f"The fifth of the symbols with the highest scores returns "
            f"{_format(figures['spread_bps'], '+.1f')} bps more over {metrics['horizon']} than the "
            f"fifth with the lowest; mean returns {rises} from each fifth to the next "
            f"(monotonicity {order:+.1f})."
        )


def _earned(figures: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    ratio = figures["sharpe"]
    if ratio["value"] is None:
        yield "The portfolio of its scores has no returns whose Sharpe ratio could be computed."
        return
    yield (
        f"The portfolio has a Sharpe ratio of {_format(ratio, '.2f')} after {metrics['costs']} "
        f"({_format(figures['sharpe_gross'], '.2f')} before): "
        f"{_against(ratio, 0.0, 'a profit after costs', 'a loss after costs')}. It trades "
        f"{_format(figures['turnover'], '.0%')} of its capital a day, and {_break_even(figures)}."
    )


def _in_total(figures: Mapping[str, Any], benchmark: Mapping[str, Any], name: str) -> Iterator[str]:
    def result(of: Mapping[str, Any]) -> str:
        total, fall = of["total_return"]["value"], abs(of["max_drawdown"]["value"])
        verb = "lost" if total < 0 else "gained"
        return f"{verb} {abs(total):.1%} with a maximum drawdown of {fall:.1%}"

    if None not in (figures["total_return"]["value"], benchmark["total_return"]["value"]):
        yield f"In all, it {result(figures)} after costs; {name} {result(benchmark)}."


def _break_even(figures: Mapping[str, Any]) -> str:
    found = figures["break_even_bps"]
    if (found["value"] or 0.0) < 0:
        return "no cost is low enough to break even"
    text = _format(found, ".1f")
    if (found["low"] or 0.0) < 0:  # an end that no cost corresponds to
        text = f"{found['value']:.1f} [none, {found['high']:.1f}]"
    return f"the break-even cost is {text} bps a side"


def _exposure(figures: Mapping[str, Any]) -> Iterator[str]:
    beta, alpha = figures["beta"], figures["alpha"]
    if beta["value"] is not None and alpha["value"] is not None:
        yield (
            f"Its beta to the equal-weighted market is {_format(beta, '.2f')}. Beside the market, "
            f"momentum and low volatility its alpha is {_format(alpha, '+.1%')} a year: "
            f"{_against(alpha, 0.0, 'these do not explain its return', 'a loss beside them')}."
        )


def _classification(
    headline: str, figures: Mapping[str, Any], metrics: Mapping[str, Any]
) -> Iterator[str]:
    counts, rows = metrics["classes"], metrics["rows"]
    occurring = [name for name, n in counts.items() if n]
    balanced = figures["balanced_accuracy"]
    left_out = f" ({rows['several']:,} without a label left out)" if rows["several"] else ""
    chance = _against(balanced, 1 / len(occurring))
    most = max(counts, key=lambda name: counts[name])
    yield (
        f"{headline} distinguishes the {len(occurring)} classes that occur in {rows['labelled']:,} "
        f"test rows{left_out} with a balanced accuracy of {_format(balanced, '.1%')}: {chance}."
    )
    yield (
        f"{_format(figures['accuracy'], '.1%')} of all rows are classified correctly; always "
        f"predicting {most} is correct in {counts[most] / rows['labelled']:.1%}."
    )
    if "balanced_accuracy_without_0" in figures:
        yield (
            "On rows of the other classes the balanced accuracy is "
            f"{_format(figures['balanced_accuracy_without_0'], '.1%')}, and "
            f"{_format(figures['balanced_accuracy_among_patterns'], '.1%')} if none is never "
            "predicted."
        )
    rarest = min(occurring, key=lambda name: counts[name])
    yield (
        f"The rarest class is {rarest}, with {counts[rarest]:,} test rows: one row more or less "
        f"changes the balanced accuracy by {100 / counts[rarest] / len(occurring):.2g} points."
    )
    complete = [
        row["class"]
        for row in metrics["per_class"]
        if row["model"] == headline and row["recall"]["value"] == 1.0 and row["n"] < _RARE
    ]
    if complete and metrics["bootstrap"]["resamples"]:
        yield (
            f"No row of {', '.join(complete)} was missed, so no resample misses one: the intervals "
            "of means over classes are too narrow."
        )
    points = [
        {**pair, **{end: pair[end] and 100 * pair[end] for end in ("value", "low", "high")}}
        for pair in metrics["pairs"]
    ]
    yield from _compared(points, headline, "balanced_accuracy", "+.1f", " percentage points")


def _skill(headline: str, figures: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    auc, accuracy = figures["auc"], figures["accuracy_moved"]
    up, moved = (metrics["classes"]["moved"][key] for key in ("up", "n"))
    yield (
        f"{headline}{_EXPLANATIONS.get(headline, '')} ranks the {metrics['rows']['all']:,} test "
        f"rows with an AUC of {_format_beside(auc, 0.5)}: {_against(auc, 0.5)}."
    )
    if up is not None:
        yield (
            f"It predicts {_format(accuracy, '.1%')} of the {moved:,} moves correctly; always "
            f"predicting {'up' if up > 0.5 else 'down'} is correct in {max(up, 1 - up):.1%}."
        )


def _money(figures: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    trades, given = figures["trades"]["value"], metrics["threshold"]
    is_chosen = given is None and metrics["chosen"]
    threshold = "threshold chosen on validation" if is_chosen else f"threshold {given or 0.0:g}"
    if not trades:
        yield f"At the {threshold} it makes no trades in the test period."
        return
    net, costs = figures["net_bps"], metrics["costs"]
    yield (
        f"At the {threshold}, {_format(figures['win_rate_gross'], '.1%')} of {trades:,.0f} "
        f"{'trade wins' if trades == 1 else 'trades win'} before costs, and the mean trade returns "
        f"{_format(net, '+.1f')} bps after {costs}: "
        f"{_against(net, 0.0, 'a profit after costs', 'a loss after costs')}. "
        f"{_break_even(figures).capitalize()}."
    )
    if period_days(metrics) >= LEAST_DAYS:
        begin = f"The Sharpe ratio is {_format(figures['sharpe'], '.2f')}; the probability that it"
        yield from _deflated(begin, figures, metrics)


def _deflated(begin: str, figures: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    if (deflated := figures["deflated_sharpe"]["value"]) is not None:
        luck = "one training" if (n := metrics["trials"]) == 1 else f"the best of {n} trainings"
        chance = f"{deflated:.1%}; {SURE:.0%} would be convincing"
        yield f"{begin} is higher than that of {luck} without skill is {chance}."


def _compared(pairs: Any, model: str, figure: str, style: str, unit: str = "") -> Iterator[str]:
    for pair in pairs:
        if (pair["a"], pair["figure"]) == (model, figure):
            finding = pair["finding"]
            capital = "T" + finding[1:] if finding.startswith("the ") else finding
            yield f"{capital} ({_format(pair, style)}{unit})."


def _against(estimate: Mapping[str, Any], luck: float, *words: str) -> str:
    better, worse = words or ("better than chance", "worse than chance")
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None:
        return "no confidence interval available"
    if low > luck:
        return better
    return worse if high < luck else "not statistically significant"


def _format_beside(estimate: Mapping[str, Any], luck: float) -> str:
    """Format with as many digits, at least three, as distinguish the interval's ends from luck."""
    ends = [end for end in (estimate["low"], estimate["high"]) if end is not None and end != luck]
    digits = next(n for n in range(3, 18) if all(round(end, n) != luck for end in ends))
    return _format(estimate, f".{digits}f")


def _format(estimate: Mapping[str, Any], style: str) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return "n/a"
    if low is None or high is None:
        return f"{value:{style}}"
    return f"{value:{style}} [{low:{style}}, {high:{style}}]"
