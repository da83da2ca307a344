from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.backtest import backtest
from gafcnn.evaluation.positions import (
    choose_threshold,
    confidence,
    positions,
    threshold_of,
)
from gafcnn.evaluation.trading_rules import TradingRules as Rules

Bars = Callable[..., pd.DataFrame]

probabilities = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1))


def test_positions_by_hand() -> None:
    p = [0.0, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0]
    np.testing.assert_array_equal(confidence(p), [0.5, 0.25, 0.125, 0, 0.125, 0.25, 0.5])
    assert positions(p, 0.25).tolist() == [-1, -1, 0, 0, 0, 1, 1]
    assert positions(p, 0.25, "long").tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert positions(p, 0.25, "short").tolist() == [-1, -1, 0, 0, 0, 0, 0]
    assert positions(p, 0.0).tolist() == [-1, -1, -1, 0, 1, 1, 1]
    assert positions(p, 0.25).dtype == np.int8


@pytest.mark.parametrize("members", [3, 5, 6, 7, 9, 10])
def test_confidence_is_symmetric(members: int) -> None:
    up = np.arange(1 + members) / members  # in floats, 2/3 - 1/2 is less than 1/2 - 1/3
    np.testing.assert_array_equal(confidence(up), confidence(1 - up))
    threshold = threshold_of(up, 0.5)
    taken = positions(up, threshold)
    assert taken.sum() == 0
    assert set(taken) >= {1, -1}


@given(p=probabilities, coverage=st.floats(0, 1, exclude_min=True))
def test_threshold_is_the_highest_with_the_coverage(p: np.ndarray, coverage: float) -> None:
    threshold = threshold_of(p, coverage)
    assert (confidence(p) >= threshold).mean() >= coverage - 1e-9
    assert (confidence(p) > threshold).mean() < coverage


def test_coverage_is_exact() -> None:
    p = 0.5 + np.arange(100) / 1000
    for rows in range(1, 101):  # 0.07 * 100 is 7.000000000000001
        assert (confidence(p) >= threshold_of(p, rows / 100)).sum() == rows


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_invalid_probabilities(bad: float) -> None:
    for make in (confidence, lambda p: positions(p, 0.1), lambda p: threshold_of(p, 0.5)):
        with pytest.raises(PredictionsError, match="1 of 3 probabilities"):
            make([0.5, bad, 0.4])


# --- choosing the threshold -------------------------------------------------------------------


def _forecasts(bars: pd.DataFrame, n: int, seed: int = 0) -> np.ndarray:
    """P(up) that is right where it is confident, and wrong where it is not."""
    rng = np.random.default_rng(seed)
    went_up = bars["close"].to_numpy()[5 : n + 5] > bars["open"].to_numpy()[1 : n + 1]
    sure = rng.random(n) < 0.3
    right = np.where(went_up, 1, -1) * np.where(sure, 1, -1)
    return 0.5 + right * np.where(sure, 0.4, 0.1) * rng.uniform(0.9, 1, n)


def test_the_most_profitable_coverage_is_chosen(walk: Bars) -> None:
    bars, n, rules = walk(1000, 3), 900, Rules(cost_bps=1)
    times, p = bars.index[:n], _forecasts(bars, n)
    earned = {}
    for coverage in rules.coverages:
        made = backtest(bars, times, positions(p, threshold_of(p, coverage)), "5min", rules)
        if len(made.trades) >= rules.least_trades:
            earned[coverage] = made.equity.iloc[-1]
    choice = choose_threshold(bars, times, p, "5min", rules)
    assert choice.coverage == max(earned, key=earned.__getitem__) == 0.2
    assert choice.threshold == threshold_of(p, 0.2)
    assert len(earned) < len(rules.coverages)  # the smallest shares have too few trades

    made = backtest(bars, times, positions(p, choice.threshold), "5min", rules)
    assert choice.trades == len(made.trades)
    assert choice.net_bps == pytest.approx(made.trades["net"].mean() * 1e4)


def test_without_enough_trades_the_most_trades_are_chosen(walk: Bars) -> None:
    bars, n = walk(1000, 3), 900
    rules = Rules(least_trades=1000, coverages=(0.01, 0.5, 0.1))
    assert (
        choose_threshold(bars, bars.index[:n], _forecasts(bars, n), "5min", rules).coverage == 0.5
    )


def test_the_last_bar_counts(bars_of: Bars) -> None:
    """Both coverages are equal until the last bar, in which the less confident trade loses."""
    flat = (100, 100, 100, 100)
    bars = bars_of([flat, (100, 101, 100, 101), (101, 101, 101, 101), (101, 101, 50, 50)])
    rules = Rules(coverages=(1.0, 0.5), least_trades=1, cost_bps=0)
    choice = choose_threshold(bars, bars.index[:3:2], np.array([0.9, 0.6]), "1min", rules)
    assert (choice.coverage, choice.trades) == (0.5, 1)


def test_ties_go_to_the_larger_coverage(walk: Bars) -> None:
    bars = walk(200, 0)
    p = np.where(np.arange(150) % 2, 0.9, 0.1)  # equally confident, so every coverage is all rows
    rules = Rules(coverages=(0.1, 0.5, 0.2))
    assert choose_threshold(bars, bars.index[:150], p, "5min", rules).coverage == 0.5


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    overlapping=st.booleans(),
    stop=st.sampled_from([None, 12.0]),
    factor=st.floats(0.1, 10),
)
def test_later_bars_do_not_matter(
    walk: Bars, seed: int, overlapping: bool, stop: float | None, factor: float
) -> None:
    bars, n = walk(300, seed), 200
    rules = Rules(cost_bps=1, overlapping=overlapping, stop_loss_bps=stop, least_trades=5)
    times, p = bars.index[:n], _forecasts(bars, n, seed)
    choice = choose_threshold(bars, times, p, "5min", rules)
    altered = bars.copy()
    altered.iloc[n + 5 :, :4] *= factor
    assert choose_threshold(altered, times, p, "5min", rules) == choice
    assert choose_threshold(bars.iloc[: n + 5], times, p, "5min", rules) == choice
