from __future__ import annotations

import empyrical
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gafcnn.evaluation import statistics as measures

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
def test_measures_agree_with_empyrical(returns: np.ndarray, periods: int) -> None:
    assume(np.ptp(returns) > 0)
    _agree(
        measures.sharpe(returns, periods), empyrical.sharpe_ratio(returns, annualization=periods)
    )
    _agree(measures.max_drawdown(returns), empyrical.max_drawdown(returns))
    _agree(measures.total_return(returns), empyrical.cum_returns_final(returns))
    if (returns < 0).any():
        theirs = empyrical.sortino_ratio(returns, annualization=periods)
        _agree(measures.sortino(returns, periods), theirs)
    if measures.annual_return(returns, periods) is not None:
        theirs = empyrical.annual_return(returns, annualization=periods)
        _agree(measures.annual_return(returns, periods), theirs)
        _agree(
            measures.calmar(returns, periods),
            empyrical.calmar_ratio(returns, annualization=periods),
        )


def test_what_says_nothing_is_none() -> None:
    none, flat, up = np.array([]), np.zeros(5), np.full(5, 0.1)
    for measure in (measures.sharpe, measures.sortino, measures.calmar, measures.annual_return):
        assert measure(none, 365) is None
    assert measures.max_drawdown(none) is measures.total_return(none) is None
    assert measures.sharpe(flat, 365) is measures.sortino(flat, 365) is None
    assert measures.sharpe(up, 365) is None  # its deviation is rounding
    assert measures.sharpe(up[:1], 365) is None
    assert measures.sortino(up, 365) is measures.calmar(up, 365) is None
    assert measures.annual_return(up, 1e6) is None
    assert measures.win_rate(none) is measures.mean_bps(none) is None
    assert measures.profit_factor(none) is measures.profit_factor(up) is None
    assert measures.break_even_bps(none, none) is None


def test_what_is_nothing_is_0() -> None:
    flat = np.zeros(5)
    assert measures.max_drawdown(flat) == measures.total_return(flat) == 0
    assert measures.annual_return(flat, 365) == 0
    assert measures.win_rate(flat) == measures.mean_bps(flat) == 0
    assert measures.profit_factor(np.array([-0.1])) == 0


def test_all_is_lost() -> None:
    returns = np.array([0.1, -1.0, 0.0])
    assert measures.total_return(returns) == -1
    assert measures.annual_return(returns, 365) == -1
    assert measures.max_drawdown(returns) == -1
    assert measures.calmar(returns, 365) == -1


def test_two_returns_have_a_deviation() -> None:
    assert measures.sharpe(np.array([0.01, 0.03]), 4) == pytest.approx(2 * 0.02 / 0.01 / np.sqrt(2))


def test_trades_by_hand() -> None:
    net = np.array([0.03, -0.01, 0.01, -0.01])
    assert measures.win_rate(net) == 0.5
    assert measures.mean_bps(net) == pytest.approx(50)
    assert measures.profit_factor(net) == pytest.approx(2)
    # 0.02 earned on notionals of 4.02 in all
    assert measures.break_even_bps(np.array([0.01, 0.01]), np.array([2.01, 2.01])) == pytest.approx(
        1e4 * 0.02 / 4.02
    )
