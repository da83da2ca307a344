"""Test rows at their bars, and thresholds that do not depend on anything after validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.data.bars import check_bars
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.positions import Choice, positions
from gafcnn.evaluation.test_set import Candidate, Panel, TestSet, Traded
from gafcnn.evaluation.trading_rules import TradingRules

Make = Callable[..., TestSet]


def by_hand() -> TestSet:
    """Twelve minutes; validation at the first two, tests at minutes 3, 4 and 7; horizon 3."""
    index = pd.date_range("2025-06-20 00:01", periods=12, freq="1min", tz="UTC").as_unit("ns")
    close = 100.0 + np.arange(12)
    bars = pd.DataFrame({"open": close - 0.5, "high": close, "low": close - 0.5, "close": close})
    bars = check_bars(bars.set_index(index), "by hand")
    rows = pd.DataFrame(
        {
            "symbol": "SIM",
            "time": index[[7, 0, 4, 1, 3]],
            "fold": pd.array([None] * 5, dtype="Int64"),
            "split": ["test", "val", "test", "val", "test"],
            "label": pd.array([0, 1, None, 0, 1], dtype="Int8"),
            "forward_return": [-0.01, 0.01, 0.0, -0.01, 0.01],
            "model": [0.2, 0.5, 0.5, 0.5, 0.9],
        }
    )
    return TestSet.of(rows, bars, pd.Timedelta("3min"), TradingRules(cost_bps=10.0))


def test_rows_are_placed_at_the_bars_that_a_trade_would_enter() -> None:
    rows = by_hand()
    panel = Panel([rows])
    assert panel.times.minute.tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert panel.on_bars([5, 6, 7]).tolist() == [5, 6, 0, 0, 7, 0, 0]
    assert panel.periods == 365 * 24 * 60


def test_unchanged_prices_did_not_rise_and_neutral_rows_have_no_label() -> None:
    panel = Panel([by_hand()])
    assert panel.up.tolist() == [True, False, False]
    assert panel.moved.tolist() == [True, False, True]
    assert panel.labelled.tolist() == [True, False, True]
    assert panel.label_up.tolist() == [True, False, False]


def test_every_row_is_a_trade_of_its_own() -> None:
    """Long from 103.5 to 106; nothing at 1/2; short from 107.5 to 110. 10 bps a side."""
    rows = by_hand()
    gross, net = Candidate(Panel([rows]), "model", [rows.trade("model")]).row_returns
    up, down = 106 / 103.5, 110 / 107.5
    np.testing.assert_allclose(gross, [up - 1, 0, 1 - down])
    expected = gross - 1e-3 * np.array([1 + up, 0, 1 + down])
    np.testing.assert_allclose(net[[0, 2]], expected[[0, 2]])


def test_test_rows_are_needed(test_set_of: Make, joined: pd.DataFrame) -> None:
    with pytest.raises(PredictionsError, match=r"split\.test"):
        test_set_of(joined[joined["split"] != "test"])


def test_a_time_in_the_test_of_several_folds_is_an_error(
    test_set_of: Make, walked: pd.DataFrame
) -> None:
    last = walked.query("fold == 0 and split == 'test'").tail(3)
    twice = pd.concat([walked, last.assign(fold=pd.array([1] * 3, dtype="Int64"))])
    with pytest.raises(PredictionsError) as error:
        test_set_of(twice)
    assert "3 decision times" in str(error.value)
    assert str(last["time"].iloc[0]) in str(error.value)


# --- thresholds ------------------------------------------------------------------------------


def choices(rows: TestSet, model: str = "30m") -> dict[int | None, Choice]:
    return dict(rows.trade(model).choices)


def with_other_prices(bars: pd.DataFrame, rows: np.ndarray, rng: np.random.Generator) -> Any:
    later = bars.copy()
    prices = ["open", "high", "low", "close"]
    later.loc[rows, prices] *= np.exp(rng.normal(0, 0.1, (rows.sum(), 1)))
    return later


RULES = st.builds(
    TradingRules,
    cost_bps=st.sampled_from([0.0, 5.0]),
    coverages=st.sampled_from([(1.0, 0.5, 0.2), (0.5, 0.1)]),
    least_trades=st.sampled_from([1, 20]),
    take_profit_bps=st.sampled_from([None, 20.0]),
    stop_loss_bps=st.sampled_from([None, 10.0]),
    overlapping=st.booleans(),
    sides=st.sampled_from(["both", "long", "short"]),
)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), rules=RULES, model=st.sampled_from(["30m", "two_stage"]))
def test_thresholds_are_chosen_on_validation_rows_only(
    test_set_of: Make,
    bars: pd.DataFrame,
    walked: pd.DataFrame,
    seed: int,
    rules: TradingRules,
    model: str,
) -> None:
    """Change predictions, labels and returns of test rows, and bars after validation."""
    rng = np.random.default_rng(seed)
    changed, test = walked.copy(), (walked["split"] == "test").to_numpy()
    changed.loc[test, model] = rng.random(test.sum())
    changed.loc[test, "label"] = rng.integers(0, 2, test.sum())
    changed.loc[test, "forward_return"] = rng.normal(0, 1, test.sum())
    before = choices(test_set_of(walked, rules), model)
    for fold, of_fold in walked.groupby("fold"):
        beyond = bars.index > of_fold.loc[of_fold["split"] == "val", "known_at"].max()
        assert beyond.any()
        later = with_other_prices(bars, beyond, rng)
        assert choices(test_set_of(changed, rules, later), model)[fold] == before[fold]


def test_no_validation_trade_ends_within_the_test(
    test_set_of: Make, bars: pd.DataFrame, barriers: pd.DataFrame
) -> None:
    """Labels of barriers are known early, but the trades last up to the horizon."""
    begins = barriers.loc[barriers["split"] == "test", "time"].min()
    val = barriers[barriers["split"] == "val"]
    assert (val["known_at"] < begins).all()
    assert (val["time"] + pd.Timedelta("15min") >= begins).any()
    rules = TradingRules(cost_bps=1.0, coverages=(1.0, 0.9, 0.8, 0.7), overlapping=True)
    before = choices(test_set_of(barriers, rules))
    for seed in range(5):
        later = with_other_prices(bars, bars.index >= begins, np.random.default_rng(seed))
        assert choices(test_set_of(barriers, rules, later)) == before


def test_thresholds_are_chosen_on_validation_rows_of_the_same_fold(
    test_set_of: Make, walked: pd.DataFrame
) -> None:
    changed = walked.copy()
    second = (walked["fold"] == 1) & (walked["split"] == "val")
    changed.loc[second, "30m"] = 0.5 + (changed.loc[second, "30m"] - 0.5) / 10
    before, after = choices(test_set_of(walked)), choices(test_set_of(changed))
    assert before[0] == after[0]
    assert after[1].threshold == pytest.approx(before[1].threshold / 10)


@pytest.mark.parametrize(("given", "expected"), [(0.1, 0.1), (None, 0.0)])
def test_without_validation_rows_the_given_threshold_or_none_applies(
    test_set_of: Make, joined: pd.DataFrame, given: float | None, expected: float
) -> None:
    rules = TradingRules(threshold=given)
    absent = joined.assign(**{"30m": joined["30m"].where(joined["split"] == "test")})
    for rows in (joined[joined["split"] == "test"], absent):
        assert choices(test_set_of(rows, rules)) == {None: Choice(expected, None, 0, None)}


def test_each_fold_trades_at_its_own_threshold(test_set_of: Make, walked: pd.DataFrame) -> None:
    rows = test_set_of(walked)
    traded: Traded = rows.trade("30m")
    assert traded.choices[0].threshold != traded.choices[1].threshold
    for fold, inside in rows.folds.items():
        expected = positions(rows.test.loc[inside, "30m"], traded.choices[fold].threshold)
        np.testing.assert_array_equal(traded.position[inside], expected)
    decided = traded.backtest.trades["decided"]
    assert decided.isin(rows.test["time"][traded.position != 0]).all()


def test_a_fold_is_traded_as_if_there_were_no_others(
    test_set_of: Make, walked: pd.DataFrame
) -> None:
    rows = test_set_of(walked)
    _, traded = rows.of_fold(1, rows.trade("30m"))
    alone = test_set_of(walked[walked["fold"] == 1].reset_index(drop=True))
    expected = alone.trade("30m").backtest.trades
    pd.testing.assert_frame_equal(traded.backtest.trades, expected)
