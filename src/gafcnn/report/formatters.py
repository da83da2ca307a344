"""Names, headings, formats and templates, shared by the page, the console and the model card.

A value that cannot be computed is None and is written "n/a".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from gafcnn.evaluation.ensembles import ENSEMBLES

ORACLE, BUY_AND_HOLD = "oracle", "buy_and_hold"
MISSING = "n/a"

Format: TypeAlias = Callable[[Any], str]


def _number(template: str, factor: float = 1) -> Format:
    def write(value: float | None) -> str:
        return MISSING if value is None else template.format(value * factor)

    return write


percent = _number("{:.2%}")
points = _number("{:+.2f} pp", 100)
signed_percent = _number("{:+.2%}")
signed = _number("{:+.2f}")
four_digits = _number("{:.4f}")
signed_four_digits = _number("{:+.4f}")
two_digits = _number("{:.2f}")
count = _number("{:,.0f}")


def as_text(value: object) -> str:
    """Return a text unchanged; None becomes an empty string."""
    return "" if value is None else str(value)


def time_text(value: str) -> str:
    """Shorten an ISO time to minutes, such as `2025-06-20 10:14`."""
    return value[:16].replace("T", " ")


FIGURES: dict[str, tuple[str, Format]] = {
    "accuracy": ("accuracy", percent),
    "balanced_accuracy": ("balanced accuracy", percent),
    "balanced_accuracy_without_0": ("balanced accuracy without class 0", percent),
    "balanced_accuracy_among_patterns": ("balanced accuracy, class 0 excluded", percent),
    "macro_f1": ("macro F1", percent),
    "macro_f1_without_0": ("macro F1 without class 0", percent),
    "precision": ("precision", percent),
    "recall": ("recall", percent),
    "f1": ("F1", percent),
    "auc": ("AUC", four_digits),
    "log_loss": ("log loss", four_digits),
    "brier": ("Brier score", four_digits),
    "calibration_error": ("calibration error", percent),
    "trades": ("trades", count),
    "coverage": ("rows traded", percent),
    "win_rate_gross": ("gross win rate", percent),
    "win_rate_net": ("net win rate", percent),
    "gross_bps": ("gross bps per trade", signed),
    "net_bps": ("net bps per trade", signed),
    "break_even_bps": ("break-even cost, bps per side", signed),
    "profit_factor": ("profit factor", two_digits),
    "threshold": ("threshold", four_digits),
    "sharpe": ("Sharpe ratio", two_digits),
    "deflated_sharpe": ("deflated Sharpe ratio", percent),
    "sortino": ("Sortino ratio", two_digits),
    "max_drawdown": ("maximum drawdown", signed_percent),
    "total_return": ("total return", signed_percent),
    "annual_return": ("annual return", signed_percent),
    "calmar": ("Calmar ratio", two_digits),
    "turnover": ("turnover per day", two_digits),
    "exposure": ("time in the market", percent),
}
"""Heading and format of each figure of a model."""

_DIFFERENCES = {percent: points, signed_percent: points, four_digits: signed_four_digits}


def header(figure: str) -> str:
    """Return the heading of a figure; an unknown name is shown as it is."""
    name = figure.removesuffix("_labelled")
    text = FIGURES[name][0] if name in FIGURES else name.replace("_", " ")
    return text if name == figure else f"{text}, labelled rows"


def format_of(figure: str) -> Format:
    """Return the format of a figure; unknown accuracies are percentages, others have two digits."""
    name = figure.removesuffix("_labelled")
    unknown = percent if name.endswith("accuracy") else two_digits
    return FIGURES.get(name, ("", unknown))[1]


def difference_format(figure: str) -> Format:
    """Return the format of a difference in a figure: signed, shares in percentage points."""
    return _DIFFERENCES.get(format_of(figure), signed)


def model_label(model: str) -> str:
    """Return the name of a model as readers see it."""
    return "buy and hold" if model == BUY_AND_HOLD else model


def model_groups(models: Iterable[str]) -> list[list[str]]:
    """Split models, in their order, into runs of single models, ensembles and the oracle."""
    runs = groupby(models, lambda name: (name in ENSEMBLES, name == ORACLE))
    return [list(names) for _, names in runs]


def load_template(name: str, **filters: Callable[..., Any]) -> Template:
    """Return a template of the report; HTML is escaped, and undefined names are errors."""
    environment = Environment(
        loader=PackageLoader("gafcnn.report"),
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "time": time_text, **filters}
    return environment.get_template(name)
