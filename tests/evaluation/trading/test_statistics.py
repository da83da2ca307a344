from __future__ import annotations

import empyrical
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gafcnn.evaluation import statistics

returns_series = arrays(
    np.float64, st.integers(2, 80), elements=st.floats(-0.2, 0.2).map(lambda x: round(x, 6))
)
years = st.sampled_from([12, 252, 365])


def _agree(ours: float | None, theirs: float) -> None:
    if ours is None:
        assert not np.isfinite(theirs)
    else:
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@given(returns=returns_series, periods=years)
def test_agreement_with_empyrical(returns: np.ndarray, periods: int) -> None:
    assume(np.ptp(returns) > 0)
    _agree(
        statistics.sharpe(returns, periods), empyrical.sharpe_ratio(returns, annualization=periods)
    )
    _agree(statistics.max_drawdown(returns), empyrical.max_drawdown(returns))
    _agree(statistics.total_return(returns), empyrical.cum_returns_final(returns))
    if (returns < 0).any():
        theirs = empyrical.sortino_ratio(returns, annualization=periods)
        _agree(statistics.sortino(returns, periods), theirs)
    if statistics.annual_return(returns, periods) is not None:
        theirs = empyrical.annual_return(returns, annualization=periods)
        _agree(statistics.annual_return(returns, periods), theirs)
        _agree(
            statistics.calmar(returns, periods),
            empyrical.calmar_ratio(returns, annualization=periods),
        )


def test_undefined_statistics_are_none() -> None:
    none, flat, up = np.array([]), np.zeros(5), np.full(5, 0.1)
    for measure in (
        statistics.sharpe,
        statistics.sortino,
        statistics.calmar,
        statistics.annual_return,
    ):
        assert measure(none, 365) is None
    assert statistics.max_drawdown(none) is statistics.total_return(none) is None
    assert statistics.sharpe(flat, 365) is statistics.sortino(flat, 365) is None
    assert statistics.sharpe(up, 365) is None  # its deviation is a rounding error
    assert statistics.sharpe(up[:1], 365) is None
    assert statistics.sortino(up, 365) is statistics.calmar(up, 365) is None
    assert statistics.annual_return(up, 1e6) is None
    assert statistics.win_rate(none) is statistics.mean_bps(none) is None
    assert statistics.profit_factor(none) is statistics.profit_factor(up) is None
    assert statistics.break_even_bps(none, none) is None


def test_total_loss() -> None:
    returns = np.array([0.1, -1.0, 0.0])
    assert statistics.total_return(returns) == -1
    assert statistics.annual_return(returns, 365) == -1
    assert statistics.max_drawdown(returns) == -1
    assert statistics.calmar(returns, 365) == -1


def test_trades_by_hand() -> None:
    net = np.array([0.03, -0.01, 0.01, -0.01])
    assert statistics.win_rate(net) == 0.5
    assert statistics.mean_bps(net) == pytest.approx(50)
    assert statistics.profit_factor(net) == pytest.approx(2)
    # 0.02 earned on notionals of 4.02 in all
    assert statistics.break_even_bps(
        np.array([0.01, 0.01]), np.array([2.01, 2.01])
    ) == pytest.approx(1e4 * 0.02 / 4.02)
