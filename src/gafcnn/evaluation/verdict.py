"""The verdict on a study, in sentences that claim no more than the intervals show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gafcnn.evaluation.ensembles import TWO_STAGE

_EXPLANATIONS = {
    TWO_STAGE: " (windows and baseline, stacked)",
    "mean": " (of the windows' probabilities)",
}

_RARE = 100
"""Rows of a class below which it is mentioned that no row was missed."""


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Return what was found about the headline model.

    Args:
        metrics: What the judge computed, with `task`, `headline`, `baseline` and `trials`.
    """
    headline = metrics["headline"]
    figures = metrics["models"][headline]
    if metrics["task"] == "classification":
        return [*_classification(headline, figures, metrics)]
    return [
        *_skill(headline, figures, metrics),
        *_money(figures, metrics),
        *_compared(metrics["pairs"], headline, "auc", "+.3f"),
    ]


def _classification(
    headline: str, figures: Mapping[str, Any], metrics: Mapping[str, Any]
) -> Iterator[str]:
    counts, rows = metrics["classes"], metrics["rows"]
    occurring = [name for name, n in counts.items() if n]
    balanced = figures["balanced_accuracy"]
    left_out = f" ({rows['several']:,} without a label left out)" if rows["several"] else ""
    chance = _against(balanced, 1 / len(occurring), "better than chance", "worse than chance")
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
    chance = _against(auc, 0.5, "better than chance", "worse than chance")
    yield (
        f"{headline}{_EXPLANATIONS.get(headline, '')} ranks the {metrics['rows']['all']:,} test "
        f"rows with an AUC of {_format_beside(auc, 0.5)}: {chance}."
    )
    if up is not None:
        yield (
            f"It predicts {_format(accuracy, '.1%')} of the {moved:,} moves correctly; always "
            f"predicting {'up' if up > 0.5 else 'down'} is correct in {max(up, 1 - up):.1%}."
        )


def _money(figures: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    trades, given = figures["trades"]["value"], metrics["threshold"]
    threshold = "threshold chosen on validation" if given is None else f"threshold {given:g}"
    if not metrics["chosen"]:
        threshold = f"threshold {given or 0.0:g}"
    if not trades:
        yield f"At the {threshold} it makes no trades in the test period."
        return
    net, costs = figures["net_bps"], metrics["costs"]
    yield (
        f"At the {threshold}, {_format(figures['win_rate_gross'], '.1%')} of {trades:,.0f} "
        f"{'trade wins' if trades == 1 else 'trades win'} before costs, and the mean trade returns "
        f"{_format(net, '+.1f')} bps after {costs}: "
        f"{_against(net, 0.0, 'a profit after costs', 'a loss after costs')}. "
        f"The break-even cost is {_format(figures['break_even_bps'], '.1f')} bps a side."
    )
    if (deflated := figures["deflated_sharpe"]["value"]) is not None:
        trials = metrics["trials"]
        of_trials = "what one training" if trials == 1 else f"what the best of {trials} trainings"
        yield (
            f"The Sharpe ratio is {_format(figures['sharpe'], '.2f')}; the probability that it "
            f"exceeds {of_trials} would show by luck is {deflated:.1%}."
        )


def _compared(pairs: Any, model: str, figure: str, style: str, unit: str = "") -> Iterator[str]:
    for pair in pairs:
        if (pair["a"], pair["figure"]) == (model, figure):
            finding = pair["finding"]
            capital = "T" + finding[1:] if finding.startswith("the ") else finding
            yield f"{capital} ({_format(pair, style)}{unit})."


def _against(estimate: Mapping[str, Any], luck: float, better: str, worse: str) -> str:
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
