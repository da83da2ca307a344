"""The deflated Sharpe ratio: numbers of the paper, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gafcnn.evaluation.statistics import deflated_sharpe, expected_maximum, psr

DAYS = 250
SHARPE = 2.5 / math.sqrt(DAYS)
VARIANCE = 0.5 / DAYS


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "deflated"),
    [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)],
)
def test_the_papers_example(trials: int, skewness: float, kurtosis: float, deflated: float) -> None:
    """An annualised ratio of 2.5 over five years of days, the best of trials of variance 1/2."""
    benchmark = expected_maximum(VARIANCE, trials)
    if trials == 100:
        assert benchmark == pytest.approx(0.1132, abs=5e-5)
    assert psr(SHARPE, benchmark, 1250, skewness, kurtosis) == pytest.approx(deflated, abs=5e-5)


@pytest.mark.parametrize("trials", [10, 100, 1000])
def test_expected_maximum_of_simulated_trials(trials: int) -> None:
    drawn = np.random.default_rng(0).normal(0, 0.1, (4000, trials)).max(axis=1)
    assert expected_maximum(0.01, trials) == pytest.approx(drawn.mean(), rel=0.03)


def test_a_single_trial_has_no_selection() -> None:
    assert expected_maximum(None, 1) == expected_maximum(0.3, 1) == 0.0


@given(trials=st.integers(2, 500), variance=st.floats(1e-6, 1))
def test_expected_maximum_grows(trials: int, variance: float) -> None:
    expected = expected_maximum(variance, trials)
    assert expected_maximum(variance, trials + 1) > expected
    assert expected_maximum(variance * 4, trials) == pytest.approx(2 * expected)


def test_psr_by_hand() -> None:
    assert psr(0.1, 0.1, 50, -2, 9) == 0.5
    # normal returns: the ratio's standard error is sqrt((1 + SR^2 / 2) / (n - 1))
    error = math.sqrt((1 + 0.2**2 / 2) / 99)
    assert psr(0.2, 0.0, 100) == pytest.approx(stats.norm.cdf(0.2 / error))


def test_moments_of_the_returns() -> None:
    returns = np.random.default_rng(2).standard_t(5, 300) * 0.01 + 0.001
    sharpe = returns.mean() / returns.std(ddof=1)
    centred = (returns - returns.mean()) / returns.std()
    expected = psr(
        sharpe, expected_maximum(0.002, 7), 300, (centred**3).mean(), (centred**4).mean()
    )
    assert deflated_sharpe(returns, 7, 0.002) == pytest.approx(expected, abs=1e-12)
    assert deflated_sharpe(returns, 1, None) > expected


@pytest.mark.parametrize(
    ("returns", "trials", "variance"),
    [
        ([0.1, 0.2, 0.1], 1, None),
        ([0.1] * 50, 1, None),
        ([0.1, -0.1] * 9, 0, 0.1),
        ([0.1, -0.1] * 9, 5, None),
        ([0.1, -0.1] * 9, 5, math.nan),
        ([0.1, -0.1] * 9, 5, -0.1),
    ],
)
def test_undefined_is_none(returns: list[float], trials: int, variance: float | None) -> None:
    assert deflated_sharpe(returns, trials, variance) is None
