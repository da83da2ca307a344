"""The verdict on a study, in sentences that say no more than the intervals do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gafcnn.evaluation.joining import TWO_STAGE

_GLOSS = {
    TWO_STAGE: " (the windows and the baseline, stacked)",
    "mean": " (of the windows' probabilities)",
}
"""What a reader of the verdict alone may not know of a model by its name."""

MANY = 100
"""Bars of a class, from which on it need not be said that none was missed."""


def sentences(judged: Mapping[str, Any], headline: str, trials: int) -> list[str]:
    """What a study found of its headline model.

    Args:
        judged: What `judge` returned.
        headline: The model to speak of.
        trials: Trainings that the ledger counts.
    """
    figures = judged["models"][headline]
    return [
        *_skill(headline, figures, judged),
        *_money(figures, judged, trials),
        *_against_baseline(judged["pairs"]),
    ]


def of_recognition(judged: Mapping[str, Any], headline: str, baseline: str) -> list[str]:
    """What a study of several classes found of its headline model, in three sentences at most.

    Args:
        judged: What `judge_recognition` returned.
        headline: The model to speak of.
        baseline: The model that it is compared with.
    """
    figures, counts = judged["models"][headline], judged["classes"]
    rows, there = judged["rows"], [name for name, n in counts.items() if n]
    balanced = figures["balanced_accuracy"]
    left_out = f" ({rows['several']:,} of several patterns left out)" if rows["several"] else ""
    chance = _against(balanced, 1 / len(there), "better than chance", "worse than chance")
    most = max(counts, key=lambda name: counts[name])
    found = [
        f"{headline} tells the {len(there)} classes that occur on {rows['labelled']:,} test bars"
        f"{left_out} apart with a balanced accuracy of {_shown(balanced, '.1%')}: {chance}.",
        f"Over the patterns alone it is {_shown(figures['balanced_accuracy_without_0'], '.1%')}, "
        "and where one of them is called in any case "
        f"{_shown(figures['balanced_accuracy_among_patterns'], '.1%')}; "
        f"of all bars {_shown(figures['accuracy'], '.1%')} are called right, where always saying "
        f"{most} is right in {counts[most] / rows['labelled']:.1%}.",
    ]
    rarest = min(there, key=lambda name: counts[name])
    found.append(
        f"The rarest class is {rarest}, {counts[rarest]:,} of the test bars: one more or less is "
        f"{100 / counts[rarest] / len(there):.2g} points of balanced accuracy."
    )
    whole = [row["class"] for row in judged["per_class"] if _missed_none(row, headline)]
    if whole and judged["bootstrap"]["resamples"]:
        found.append(
            f"No bar of {', '.join(whole)} was missed, and so none is in any resample: as far as "
            "they go, the intervals of means are too narrow."
        )
    for pair in judged["pairs"]:
        if (pair["a"], pair["b"], pair["figure"]) == (headline, baseline, "balanced_accuracy"):
            points = {end: pair[end] and 100 * pair[end] for end in ("value", "low", "high")}
            found.append(f"{pair['finding']} ({_shown(points, '+.1f')} percentage points).")
    return found


def _missed_none(row: Mapping[str, Any], headline: str) -> bool:
    return row["model"] == headline and row["recall"]["value"] == 1.0 and row["n"] < MANY


def _skill(headline: str, figures: Mapping[str, Any], judged: Mapping[str, Any]) -> Iterator[str]:
    auc, right = figures["auc"], figures["accuracy_moved"]
    up, moved = (judged["classes"]["moved"][key] for key in ("up", "n"))
    told = _against(auc, 0.5, "better than chance", "worse than chance")
    yield (
        f"{headline}{_GLOSS.get(headline, '')} ranks the {judged['rows']['all']:,} test rows with "
        f"an AUC of {_beside(auc, 0.5)}: {told}."
    )
    if up is not None:
        yield (
            f"It calls {_shown(right, '.1%')} of the {moved:,} moves right, where always saying "
            f"{'up' if up > 0.5 else 'down'} is right in {max(up, 1 - up):.1%}."
        )


def _money(figures: Mapping[str, Any], judged: Mapping[str, Any], trials: int) -> Iterator[str]:
    trades, given = figures["trades"]["value"], judged["threshold"]
    threshold = "threshold chosen on validation" if given is None else f"given threshold {given:g}"
    if not trades:
        yield (
            f"At the {threshold} it makes no trade in the test period, so nothing can be said of "
            "how it trades; a lower trading.threshold would trade."
        )
        return
    net = figures["net_bps"]
    yield (
        f"At the {threshold} {trades:,.0f} trades win "
        f"{_shown(figures['win_rate_gross'], '.1%')} before costs and come to "
        f"{_shown(net, '+.1f')} bps each after {judged['cost_bps']:g} bps a side: "
        f"{_against(net, 0.0, 'an edge after costs', 'a loss after costs')}. "
        f"They would break even at {_shown(figures['break_even_bps'], '.1f')} bps a side."
    )
    if (deflated := figures["deflated_sharpe"]["value"]) is not None:
        yield (
            f"The Sharpe ratio is {_shown(figures['sharpe'], '.2f')}; the probability that it is "
            f"more than the best of {trials} trainings shows by luck is {deflated:.1%}."
        )


def _against_baseline(pairs: list[Mapping[str, Any]]) -> Iterator[str]:
    for pair in pairs:
        if pair["a"] == TWO_STAGE and pair["figure"] == "auc":
            yield f"{pair['finding']} ({_shown(pair, '+.3f')})."


def _against(estimate: Mapping[str, Any], luck: float, better: str, worse: str) -> str:
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None:
        return "how sure that is cannot be told"
    if low > luck:
        return better
    return worse if high < luck else "not to be told apart from luck"


def _beside(estimate: Mapping[str, Any], luck: float) -> str:
    """As many digits, three at least, as tell the interval's ends apart from luck."""
    ends = [end for end in (estimate["low"], estimate["high"]) if end is not None and end != luck]
    digits = next(n for n in range(3, 18) if all(round(end, n) != luck for end in ends))
    return _shown(estimate, f".{digits}f")


def _shown(estimate: Mapping[str, Any], style: str) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return "n/a"
    if low is None or high is None:
        return f"{value:{style}}"
    return f"{value:{style}} [{low:{style}}, {high:{style}}]"
