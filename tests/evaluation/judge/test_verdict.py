"""The verdict in sentences, which claim no more than the intervals show."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gafcnn.evaluation.verdict import sentences

Row = dict[str, Any]


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Row:
    return {"value": value, "low": low, "high": high, "n": 1000}


def metrics(**changed: Any) -> Row:
    """Metrics of a model m with skill but no profit, except for the changes."""
    figures = {
        "auc": estimate(0.53, 0.51, 0.55),
        "accuracy_moved": estimate(0.52, 0.50, 0.54),
        "trades": estimate(1234),
        "win_rate_gross": estimate(0.56, 0.53, 0.59),
        "net_bps": estimate(-17.0, -18.2, -15.9),
        "break_even_bps": estimate(1.5, 0.9, 2.1),
        "sharpe": estimate(-9.0, -12.0, -6.0),
        "deflated_sharpe": estimate(0.25),
    }
    pair = {"a": "m", "b": "xgboost", "figure": "auc", "finding": "the finding"}
    found = {
        "task": "direction",
        "headline": "m",
        "trials": 9,
        "models": {"m": figures | {key: changed.pop(key) for key in figures if key in changed}},
        "rows": {"all": 1000, "labelled": 800},
        "classes": {"moved": {"up": changed.pop("up", 0.48), "n": 970}},
        "costs": "10 bps a side",
        "threshold": None,
        "chosen": True,
        "pairs": [pair | estimate(0.01, -0.01, 0.03), pair | estimate(1) | {"figure": "sharpe"}],
    }
    return found | changed


def test_a_verdict_by_hand() -> None:
    assert sentences(metrics()) == [
        "m ranks the 1,000 test rows with an AUC of 0.530 [0.510, 0.550]: better than chance.",
        "It predicts 52.0% [50.0%, 54.0%] of the 970 moves correctly; always predicting down is "
        "correct in 52.0%.",
        "At the threshold chosen on validation, 56.0% [53.0%, 59.0%] of 1,234 trades win before "
        "costs, and the mean trade returns -17.0 [-18.2, -15.9] bps after 10 bps a side: a loss "
        "after costs. The break-even cost is 1.5 [0.9, 2.1] bps a side.",
        "The Sharpe ratio is -9.00 [-12.00, -6.00]; the probability that it exceeds what the best "
        "of 9 trainings would show by luck is 25.0%.",
        "The finding (+0.010 [-0.010, +0.030]).",
    ]


@given(value=st.floats(0, 1), below=st.floats(0, 1), above=st.floats(0, 1))
def test_skill_is_claimed_only_if_the_interval_excludes_chance(
    value: float, below: float, above: float
) -> None:
    low, high = value - below, value + above
    skill = sentences(metrics(auc=estimate(value, low, high)))[0]
    assert ("better than chance" in skill) == (low > 0.5)
    assert ("worse than chance" in skill) == (high < 0.5)
    assert ("not statistically significant" in skill) == (low <= 0.5 <= high)


@given(value=st.floats(-99, 99), below=st.floats(0, 99), above=st.floats(0, 99))
def test_a_profit_is_claimed_only_if_the_interval_excludes_zero(
    value: float, below: float, above: float
) -> None:
    low, high = value - below, value + above
    money = sentences(metrics(net_bps=estimate(value, low, high)))[2]
    assert ("a profit after costs" in money) == (low > 0)
    assert ("a loss after costs" in money) == (high < 0)
    assert ("not statistically significant" in money) == (low <= 0 <= high)


def test_without_an_interval_nothing_is_claimed() -> None:
    found = sentences(metrics(auc=estimate(0.9), net_bps=estimate(50.0)))
    for sentence in (found[0], found[2]):
        assert "no confidence interval" in sentence
        assert not re.search("better|a profit|a loss", sentence)
