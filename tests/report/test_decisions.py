"""A decision on the console, and how long ago things were."""

from __future__ import annotations

import io

import pytest

from gafcnn.report.console import show
from gafcnn.report.decision_text import aged, decision_line, decision_table

SAID = {"p_up": 0.61234, "confidence": 0.11234, "threshold": 0.1, "position": 1}
DECISION = {
    "symbol": "BNBUSDT",
    "time": "2025-06-24T12:30:00+00:00",
    "age_seconds": 65.2,
    "close": 645.31,
    "horizon": "15min",
    "headline": "two_stage",
    "models": {
        "15m": SAID,
        "mean": SAID | {"position": 0},
        "two_stage": SAID | {"p_up": 0.3, "position": -1},
    },
}


def test_a_decision_is_a_line_and_a_row_for_each_model() -> None:
    assert decision_line(DECISION) == (
        "BNBUSDT at 2025-06-24 12:30 UTC, closed 1 min 5 s ago at 645.31: up in 15min?"
    )
    told = io.StringIO()
    show(decision_table(DECISION), told)
    rows = [line.split() for line in told.getvalue().splitlines() if line.strip(" ─")]
    assert rows == [
        ["model", "P(up)", "confidence", "threshold", "position"],
        ["15m", "0.6123", "0.1123", "0.1000", "long"],
        ["mean", "0.6123", "0.1123", "0.1000", "none"],
        ["two_stage", "*", "0.3000", "0.1123", "0.1000", "short"],
        ["*", "of", "which", "an", "evaluation's", "verdict", "speaks"],
    ]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"),
        (3600, "1 h 0 min"), (90_000, "1 d 1 h"), (86_400 * 400, "400 d 0 h"),
    ],
)  # fmt: skip
def test_an_age_is_told_in_its_two_largest_units(seconds: float, told: str) -> None:
    assert aged(seconds) == told
