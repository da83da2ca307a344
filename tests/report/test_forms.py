"""A figure is written one way, and one that cannot be computed is said to be so."""

from __future__ import annotations

import pytest

from gafcnn.report import formatters as forms
from gafcnn.report.formatters import form_of, form_of_difference


@pytest.mark.parametrize(
    ("figure", "value", "written"),
    [
        ("accuracy", 0.52341, "52.34%"),
        ("accuracy_labelled", 0.5, "50.00%"),
        ("pattern_accuracy", 0.9, "90.00%"),
        ("auc_labelled", 0.51234, "0.5123"),
        ("net_bps", 1.234, "+1.23"),
        ("net_bps", -20.0, "-20.00"),
        ("max_drawdown", -0.3, "-30.00%"),
        ("trades", 1234.0, "1,234"),
        ("sharpe", 1.0, "1.00"),
        ("never_heard_of", 1.0, "1.00"),
    ],
)
def test_a_figure_has_its_form(figure: str, value: float, written: str) -> None:
    assert form_of(figure)(value) == written


@pytest.mark.parametrize(
    ("figure", "value", "written"),
    [
        ("win_rate_gross", 0.012, "+1.20 pp"),
        ("total_return", -0.1, "-10.00 pp"),
        ("auc_labelled", -0.004, "-0.0040"),
        ("sharpe", 0.5, "+0.50"),
        ("net_bps", 0.0, "+0.00"),
    ],
)
def test_a_difference_has_its_sign(figure: str, value: float, written: str) -> None:
    assert form_of_difference(figure)(value) == written


@pytest.mark.parametrize("figure", [*forms.FIGURES, "sharpe"])
def test_what_cannot_be_computed_is_no_number(figure: str) -> None:
    assert form_of(figure)(None) == form_of_difference(figure)(None) == "n/a"


def test_no_words_are_nothing() -> None:
    assert forms.words(None) == ""


def test_a_moment_is_told_to_the_minute() -> None:
    assert forms.moment("2025-06-20T10:14:00+00:00") == "2025-06-20 10:14"
