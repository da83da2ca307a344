"""The figures of a model, against plain computations on its rows and trades."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.evaluation.directions import SHARES, _trade_figures, part_figures, parts_of
from gafcnn.evaluation.regimes import regimes
from gafcnn.evaluation.test_set import Candidate
from gafcnn.evaluation.trading_rules import TradingRules

Make = Callable[..., Candidate]
COST = 1e-4


def coverage(model: Candidate, by_row: pd.DataFrame) -> list[Any]:
    return [part[1:] for part in parts_of(model, by_row) if part[0] == "coverage"]


@pytest.fixture(scope="module")
def tested(joined: pd.DataFrame) -> pd.DataFrame:
    return joined.query("split == 'test'")


@pytest.fixture(scope="module")
def model(candidate_of: Make, joined: pd.DataFrame) -> Candidate:
    return candidate_of(joined, "30m")


@pytest.fixture(scope="module")
def by_regime(model: Candidate, bars: pd.DataFrame) -> pd.DataFrame:
    times = pd.DatetimeIndex(model.panel.test["time"])
    return regimes(bars, times, bars.index[60:1000], pd.Timedelta("60min"))


@pytest.fixture(scope="module")
def plain(tested: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    """Each test row as a trade of the model 30m, computed with pandas."""
    entry = bars["open"].shift(-1).loc[tested["time"]].to_numpy()
    leave = bars["close"].shift(-15).loc[tested["time"]].to_numpy()
    side = np.where(tested["30m"] > 0.5, 1, -1)
    gross = side * (leave / entry - 1)
    net = gross - COST * (1 + leave / entry)
    return pd.DataFrame({"p": tested["30m"].to_numpy(), "side": side, "gross": gross, "net": net})


@pytest.mark.parametrize("overlapping", [False, True])
def test_trades_are_summarised_as_by_the_backtest(
    candidate_of: Make, joined: pd.DataFrame, overlapping: bool
) -> None:
    rules = TradingRules(cost_bps=1.0, least_trades=5, overlapping=overlapping)
    model = candidate_of(joined, "30m", rules=rules)
    found = {name: one.value for name, (one, _) in _trade_figures(model).items()}
    assert found.pop("coverage") == pytest.approx((model.position != 0).mean())
    whole = model.traded[0].backtest.summary()
    assert found == pytest.approx({name: whole[name] for name in found})


def test_rows_as_trades_by_pandas(model: Candidate, plain: pd.DataFrame) -> None:
    for inside in (np.ones(len(plain), bool), plain["p"].to_numpy() > 0.6, plain.index < 100):
        figures = part_figures(model, "coverage", inside)
        some = plain[inside]
        assert {name: one.value for name, (one, _) in figures.items()} == pytest.approx(
            {
                "win_rate": (some["gross"] > 0).mean(),
                "win_rate_net": (some["net"] > 0).mean(),
                "gross_bps": some["gross"].mean() * 1e4,
                "net_bps": some["net"].mean() * 1e4,
            }
        )


def test_the_most_confident_rows(
    model: Candidate, by_regime: pd.DataFrame, plain: pd.DataFrame
) -> None:
    confidence = (plain["p"] - 0.5).abs()
    by_rank = confidence.sort_values(ascending=False).index
    *shares, (chosen, traded) = coverage(model, by_regime)
    assert [names["share"] for names, _ in shares] == list(SHARES)
    for names, rows in shares:
        expected = by_rank[: int(np.ceil(names["share"] * len(plain)))]
        assert set(np.flatnonzero(rows)) == set(expected)
        assert names["threshold"] == pytest.approx(confidence[rows].min(), abs=1e-12)
    assert chosen == {"share": None, "threshold": model.traded[0].choices[None].threshold}
    np.testing.assert_array_equal(traded, confidence >= chosen["threshold"])


def test_the_most_confident_rows_are_ranked_within_their_fold(
    candidate_of: Make, walked: pd.DataFrame, by_regime: pd.DataFrame
) -> None:
    model = candidate_of(walked, "30m")
    months = by_regime[:1].reindex(range(len(model.p))).assign(month="2024-01")
    *shares, _ = coverage(model, months)
    for names, rows in shares:
        assert names["threshold"] is None
        for inside in model.panel.sets[0].folds.values():
            assert rows[inside].sum() == np.ceil(names["share"] * inside.sum())
