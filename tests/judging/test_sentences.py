"""The verdict in words: never more than the intervals say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.evaluation.verdict import sentences

Shown = dict[str, Any]


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Shown:
    return {"value": value, "low": low, "high": high, "n": 1000}


def judgement(**changed: Any) -> dict[str, Any]:
    """The judgement of a model m with skill and without an edge, but for what is changed."""
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
    pair = {"a": "two_stage", "b": "xgboost", "figure": "auc", "finding": "the finding"}
    return {
        "models": {"m": figures | {key: changed[key] for key in figures if key in changed}},
        "rows": {"all": 1000, "labelled": 800},
        "classes": {"moved": {"up": changed.get("up", 0.48), "n": 970}},
        "cost_bps": 10.0,
        "threshold": changed.get("threshold"),
        "pairs": [pair | estimate(0.01, -0.01, 0.03), pair | estimate(1) | {"figure": "sharpe"}],
    }


def test_a_whole_verdict_by_hand() -> None:
    assert sentences(judgement(), "m", trials=9) == [
        "m ranks the 1,000 test rows with an AUC of 0.530 [0.510, 0.550]: better than chance.",
        "It calls 52.0% [50.0%, 54.0%] of the 970 moves right, where always saying down is right "
        "in 52.0%.",
        "At the threshold chosen on validation 1,234 trades win 56.0% [53.0%, 59.0%] before costs "
        "and come to -17.0 [-18.2, -15.9] bps each after 10 bps a side: a loss after costs. They "
        "would break even at 1.5 [0.9, 2.1] bps a side.",
        "The Sharpe ratio is -9.00 [-12.00, -6.00]; the probability that it is more than the best "
        "of 9 trainings shows by luck is 25.0%.",
        "the finding (+0.010 [-0.010, +0.030]).",
    ]


def test_an_interval_that_begins_beside_chance_is_seen_to_do_so() -> None:
    [said, *_] = sentences(judgement(auc=estimate(0.53, 0.50004, 0.56)), "m", trials=1)
    assert said.endswith("an AUC of 0.53000 [0.50004, 0.56000]: better than chance.")


@given(value=st.floats(0, 1), below=st.floats(0, 1), above=st.floats(0, 1))
def test_skill_is_said_only_where_the_interval_leaves_chance_out(
    value: float, below: float, above: float
) -> None:
    low, high = value - below, value + above
    said = sentences(judgement(auc=estimate(value, low, high)), "m", 1)[0]
    assert ("better than chance" in said) == (low > 0.5)
    assert ("worse than chance" in said) == (high < 0.5)
    assert ("not to be told apart from luck" in said) == (low <= 0.5 <= high)


@given(value=st.floats(-99, 99), below=st.floats(0, 99), above=st.floats(0, 99))
def test_an_edge_is_said_only_where_the_interval_leaves_nothing_out(
    value: float, below: float, above: float
) -> None:
    low, high = value - below, value + above
    said = sentences(judgement(net_bps=estimate(value, low, high)), "m", 1)[2]
    assert ("an edge after costs" in said) == (low > 0)
    assert ("a loss after costs" in said) == (high < 0)
    assert ("not to be told apart from luck" in said) == (low <= 0 <= high)


def test_without_an_interval_nothing_is_claimed() -> None:
    figures = judgement(auc=estimate(0.9), net_bps=estimate(50.0))
    said = sentences(figures, "m", 1)
    for sentence in (said[0], said[2]):
        assert "how sure that is cannot be told" in sentence
        assert not re.search("better|an edge|a loss", sentence)


def test_what_cannot_be_computed_is_not_a_number() -> None:
    nothing = judgement(auc=estimate(None), sharpe=estimate(None), break_even_bps=estimate(None))
    said = " ".join(sentences(nothing, "m", 1))
    assert "an AUC of n/a" in said
    assert "break even at n/a bps" in said
    assert "None" not in said
    assert "nan" not in said


@pytest.mark.parametrize(
    ("threshold", "told"),
    [(None, "At the threshold chosen on validation"), (0.25, "At the given threshold 0.25")],
)
def test_one_who_never_trades_is_told_what_would(threshold: float | None, told: str) -> None:
    said = sentences(judgement(trades=estimate(0), threshold=threshold), "m", 1)
    assert said[2] == (
        f"{told} it makes no trade in the test period, so nothing can be said of how it trades; "
        "a lower trading.threshold would trade."
    )
    assert not any("Sharpe" in sentence for sentence in said)


def test_a_threshold_that_was_given_is_not_said_to_be_chosen() -> None:
    said = sentences(judgement(threshold=0.1), "m", 1)[2]
    assert said.startswith("At the given threshold 0.1 1,234 trades win")


def test_luck_is_told_of_only_where_it_was_computed() -> None:
    said = sentences(judgement(deflated_sharpe=estimate(None)), "m", 1)
    assert not any("by luck is" in sentence for sentence in said)


@pytest.mark.parametrize(("up", "side", "share"), [(0.6, "up", "60.0%"), (0.5, "down", "50.0%")])
def test_the_larger_class_is_named(up: float, side: str, share: str) -> None:
    assert f"always saying {side} is right in {share}" in sentences(judgement(up=up), "m", 1)[1]
