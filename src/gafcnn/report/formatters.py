"""How a figure is written: one form for each, on the console, on the page and in hover texts.

What cannot be computed is None, and is written "n/a": never 0, never an empty place.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, TypeAlias

NONE = "n/a"

Form: TypeAlias = Callable[[Any], str]


def percent(value: float | None) -> str:
    """A share, as 52.34%."""
    return NONE if value is None else f"{value:.2%}"


def points(value: float | None) -> str:
    """A difference of two shares, in percentage points, as +1.20 pp."""
    return NONE if value is None else f"{100 * value:+.2f} pp"


def signed_percent(value: float | None) -> str:
    """A return, as +1.20%."""
    return NONE if value is None else f"{value:+.2%}"


def signed(value: float | None) -> str:
    """Basis points and differences, as +1.20."""
    return NONE if value is None else f"{value:+.2f}"


def fine(value: float | None) -> str:
    """A number whose third and fourth digits tell something, as 0.5123."""
    return NONE if value is None else f"{value:.4f}"


def signed_fine(value: float | None) -> str:
    """A difference of such numbers, as +0.0123."""
    return NONE if value is None else f"{value:+.4f}"


def plain(value: float | None) -> str:
    """A ratio or an amount, as 1.23."""
    return NONE if value is None else f"{value:.2f}"


def count(value: float | None) -> str:
    """A number of things, as 1,234."""
    return NONE if value is None else f"{value:,.0f}"


def words(value: object) -> str:
    """A text as it stands; where there is none, nothing."""
    return "" if value is None else str(value)


def moment(value: str) -> str:
    """A time in ISO format as it would be said, to the minute, as 2025-06-20 10:14."""
    return value[:16].replace("T", " ")


FIGURES: Mapping[str, Form] = {
    **dict.fromkeys(
        ("accuracy", "win_rate_gross", "win_rate_net", "win_rate", "majority"), percent
    ),
    **dict.fromkeys(("balanced_accuracy_without_0", "balanced_accuracy_among_patterns"), percent),
    **dict.fromkeys(("macro_f1", "macro_f1_without_0"), percent),
    **dict.fromkeys(("precision", "recall", "f1"), percent),
    **dict.fromkeys(("coverage", "exposure", "calibration_error", "deflated_sharpe"), percent),
    **dict.fromkeys(("auc", "log_loss", "brier", "threshold", "p_value"), fine),
    **dict.fromkeys(("net_bps", "gross_bps", "break_even_bps"), signed),
    **dict.fromkeys(("max_drawdown", "annual_return", "total_return"), signed_percent),
    "trades": count,
}
_OF_DIFFERENCES: Mapping[Form, Form] = {percent: points, signed_percent: points, fine: signed_fine}


def form_of(figure: str) -> Form:
    """The form of a figure by its name: on labelled rows as on all, `plain` for one unheard of."""
    name = figure.removesuffix("_labelled")
    if name not in FIGURES and name.endswith("accuracy"):
        return percent
    return FIGURES.get(name, plain)


def form_of_difference(figure: str) -> Form:
    """The form of a difference between two models in a figure: with its sign, shares in points."""
    return _OF_DIFFERENCES.get(form_of(figure), signed)


def form_of_target(target: Mapping[str, Any], models: Container[str]) -> Form:
    """The form of a target's figure: of one of the models, or else of a difference between two."""
    of = form_of if target["model"] in models else form_of_difference
    return of(target["figure"])
