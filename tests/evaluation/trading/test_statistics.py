from __future__ import annotations

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gafcnn.evaluation.statistics import growth, max_drawdown

returns_series = arrays(
    np.float64, st.integers(2, 80), elements=st.floats(-0.2, 0.2).map(lambda x: round(x, 6))
)


@given(returns=returns_series, periods=st.sampled_from([12, 252, 365]))
def test_agreement_with_empyrical(returns: np.ndarray, periods: int) -> None:
    found = growth(returns, periods)
    theirs = {
        "total_return": empyrical.cum_returns_final(returns),
        "annual_return": empyrical.annual_return(returns, annualization=periods),
        "calmar": empyrical.calmar_ratio(returns, annualization=periods),
    }
    for name, value in theirs.items():
        if found[name] is None:
            assert name == "calmar" or found["annual_return"] is None
        else:
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert max_drawdown(returns) == pytest.approx(empyrical.max_drawdown(returns), abs=1e-12)


def test_undefined_statistics_are_none() -> None:
    up = np.full(5, 0.1)
    assert growth(up, 365)["calmar"] is None
    assert growth(up, 1e6)["annual_return"] is None
    assert growth(np.array([0.1, -0.1]), 1e9)["annual_return"] == pytest.approx(-1)


def test_total_loss() -> None:
    returns = np.array([0.1, -1.0, 0.0])
    assert growth(returns, 365) == {"total_return": -1, "annual_return": -1, "calmar": -1}
    assert max_drawdown(returns) == -1
