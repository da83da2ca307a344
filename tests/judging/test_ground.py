"""The ground: rows at their bars, and thresholds that know nothing of what comes after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.positions import Choice, positions, threshold_of
from gafcnn.evaluation.test_set import Ground, RowTrades, Traded, trade_rows
from gafcnn.evaluation.trading_rules import Rules

Make = Callable[..., Ground]
RETURNS = [0.01, 0.0, -0.01]
LABELS = [1, None, 0]


def by_hand() -> Ground:
    """Twelve minutes; validation at the first two, tests at minutes 3, 4 and 7; horizon 3."""
    index = pd.date_range("2025-06-20 00:01", periods=12, freq="1min", tz="UTC").as_unit("ns")
    close = 100.0 + np.arange(12)
    bars = pd.DataFrame({"open": close - 0.5, "high": close, "low": close - 0.5, "close": close})
    rows = pd.DataFrame(
        {
            "symbol": "SIM",
            "time": index[[7, 0, 4, 1, 3]],
            "fold": pd.array([None] * 5, dtype="Int64"),
            "split": ["test", "val", "test", "val", "test"],
            "label": pd.array([LABELS[2], 1, LABELS[1], 0, LABELS[0]], dtype="Int8"),
            "forward_return": [RETURNS[2], 0.01, RETURNS[1], -0.01, RETURNS[0]],
            "model": [0.2, 0.5, 0.5, 0.5, 0.9],
        }
    )
    return Ground.of(rows, bars.set_index(index), pd.Timedelta("3min"), Rules(cost_bps=10.0))


def test_rows_stand_at_the_bars_that_a_trade_would_enter() -> None:
    ground = by_hand()
    assert ground.n_bars == 7  # minutes 4 to 10
    assert ground.bin == 3
    np.testing.assert_array_equal(ground.on_bars([5, 6, 7]), [5, 6, 0, 0, 7, 0, 0])
    np.testing.assert_array_equal(ground.bars.index[ground.fills.entry_bar].minute, [5, 6, 9])


def test_rows_are_told_by_time_whatever_their_order() -> None:
    ground = by_hand()
    assert ground.test["time"].is_monotonic_increasing
    assert ground.test["model"].tolist() == [0.9, 0.5, 0.2]
    assert ground.val["label"].tolist() == [1, 0]


def test_not_to_have_moved_is_not_to_have_risen_and_neutral_is_no_label() -> None:
    ground = by_hand()
    assert ground.up.tolist() == [True, False, False]
    assert ground.labelled.tolist() == [True, False, True]
    assert ground.label_up.tolist() == [True, False, False]


def test_every_row_is_a_trade_of_its_own_by_hand() -> None:
    """Long from 103.5 to 106; nothing at 1/2; short from 107.5 to 110. 10 bps a side."""
    trades = RowTrades.by(by_hand(), "model")
    assert trades.side.tolist() == [1, 0, -1]
    up, down = 106 / 103.5, 110 / 107.5
    np.testing.assert_allclose(trades.gross, [up - 1, 0, 1 - down])
    net = trades.gross - 1e-3 * np.array([1 + up, 0, 1 + down])
    np.testing.assert_allclose(trades.net[[0, 2]], net[[0, 2]])


def test_a_year_is_365_days_of_bars() -> None:
    assert by_hand().periods == 365 * 24 * 60


def test_folds_are_told_apart(ground: Ground, ground_of: Make, walked: pd.DataFrame) -> None:
    assert list(ground.folds) == [None]
    assert ground.folds[None].all()
    folds = ground_of(walked).folds
    test = walked[walked["split"] == "test"]
    assert {k: int(rows.sum()) for k, rows in folds.items()} == {
        k: int((test["fold"] == k).sum()) for k in (0, 1)
    }


# --- what is refused -------------------------------------------------------------------------


def refusal(make: Make, joined: pd.DataFrame) -> str:
    with pytest.raises(PredictionsError) as error:
        make(joined)
    assert "\n" not in str(error.value)
    assert str(error.value).count("; ") == 2
    return str(error.value)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_part_without_rows_is_refused(ground_of: Make, joined: pd.DataFrame, split: str) -> None:
    sentence = refusal(ground_of, joined[joined["split"] != split])
    assert sentence.startswith(f"there are no {split} rows; expected rows of validation")
    assert f"split.{split}" in sentence


def test_several_symbols_are_refused_by_name(ground_of: Make, joined: pd.DataFrame) -> None:
    other = pd.concat([joined, joined.assign(symbol="ADAUSDT")])
    assert refusal(ground_of, other).startswith("there are rows of 2 symbols, ADAUSDT, SIM; ")


def test_a_time_in_the_test_of_several_folds_is_refused(
    ground_of: Make, walked: pd.DataFrame
) -> None:
    last = walked.query("fold == 0 and split == 'test'").tail(3)
    twice = pd.concat([walked, last.assign(fold=pd.array([1] * 3, dtype="Int64"))])
    sentence = refusal(ground_of, twice)
    assert sentence.startswith("3 decision times are in the test of several folds, first 2024-")
    assert str(last["time"].iloc[0]) in sentence


# --- thresholds ------------------------------------------------------------------------------


def choices(ground: Ground, model: str = "30m") -> dict[int | None, Choice]:
    return dict(Traded.by(ground, model).choices)


def after_validation(joined: pd.DataFrame) -> pd.Timestamp:
    return joined.loc[joined["split"] == "val", "known_at"].max()


RULES = st.builds(
    Rules,
    cost_bps=st.sampled_from([0.0, 5.0]),
    coverages=st.sampled_from([(1.0, 0.5, 0.2), (0.5, 0.1)]),
    least_trades=st.sampled_from([1, 20]),
    take_profit_bps=st.sampled_from([None, 20.0]),
    stop_loss_bps=st.sampled_from([None, 10.0]),
    overlapping=st.booleans(),
    sides=st.sampled_from(["both", "long", "short"]),
)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), rules=RULES, model=st.sampled_from(["30m", "two_stage"]))
def test_thresholds_are_chosen_on_validation_alone(
    ground_of: Make, bars: pd.DataFrame, walked: pd.DataFrame, seed: int, rules: Rules, model: str
) -> None:
    """Other forecasts, labels and returns of test rows, and other bars after validation."""
    rng = np.random.default_rng(seed)
    changed, test = walked.copy(), (walked["split"] == "test").to_numpy()
    changed.loc[test, model] = rng.random(test.sum())
    changed.loc[test, "label"] = rng.integers(0, 2, test.sum())
    changed.loc[test, "forward_return"] = rng.normal(0, 1, test.sum())
    before = choices(ground_of(walked, rules), model)
    for fold, of_fold in walked.groupby("fold"):
        beyond = bars.index > after_validation(of_fold)
        assert beyond.any()
        later = with_other_prices(bars, beyond, rng)
        assert choices(ground_of(changed, rules, later), model)[fold] == before[fold]


def with_other_prices(bars: pd.DataFrame, rows: np.ndarray, rng: np.random.Generator) -> Any:
    later = bars.copy()
    prices = ["open", "high", "low", "close"]
    later.loc[rows, prices] *= np.exp(rng.normal(0, 0.1, (rows.sum(), 1)))
    return later


def test_no_trade_of_validation_reaches_into_the_test_however_soon_its_label_is_known(
    ground_of: Make, bars: pd.DataFrame, barriers: pd.DataFrame
) -> None:
    begins = barriers.loc[barriers["split"] == "test", "time"].min()
    val = barriers[barriers["split"] == "val"]
    assert (val["known_at"] < begins).all()
    assert (val["time"] + pd.Timedelta("15min") >= begins).any()
    rules = Rules(cost_bps=1.0, coverages=(1.0, 0.9, 0.8, 0.7), overlapping=True)
    before = choices(ground_of(barriers, rules))
    for seed in range(5):
        later = with_other_prices(bars, bars.index >= begins, np.random.default_rng(seed))
        assert choices(ground_of(barriers, rules, later)) == before


def test_all_validation_whose_labels_take_the_horizon_is_chosen_on(ground: Ground) -> None:
    pd.testing.assert_frame_equal(ground.settled(None), ground.val)


def test_thresholds_are_chosen_on_validation_of_the_same_fold(
    ground_of: Make, walked: pd.DataFrame
) -> None:
    changed = walked.copy()
    second = (walked["fold"] == 1) & (walked["split"] == "val")
    changed.loc[second, "30m"] = 0.5 + (changed.loc[second, "30m"] - 0.5) / 10
    before, after = choices(ground_of(walked)), choices(ground_of(changed))
    assert before[0] == after[0]
    assert after[1].threshold == pytest.approx(before[1].threshold / 10)


def test_the_threshold_is_that_of_the_coverage_chosen(ground: Ground) -> None:
    choice = choices(ground)[None]
    assert choice.threshold == threshold_of(ground.val["30m"], choice.coverage or 0.0)


def test_a_threshold_that_the_rules_give_is_kept(ground_of: Make, walked: pd.DataFrame) -> None:
    given_one = choices(ground_of(walked, Rules(threshold=0.1)))
    assert {choice.threshold for choice in given_one.values()} == {0.1}
    assert {choice.coverage for choice in given_one.values()} == {None}


def test_each_fold_trades_at_its_own_threshold(ground_of: Make, walked: pd.DataFrame) -> None:
    ground = ground_of(walked)
    traded = Traded.by(ground, "30m")
    assert traded.choices[0].threshold != traded.choices[1].threshold
    for fold, rows in ground.folds.items():
        p = ground.test.loc[rows, "30m"]
        expected = positions(p, traded.choices[fold].threshold)
        np.testing.assert_array_equal(traded.position[rows], expected)
    decided = traded.backtest.trades["decided"]
    assert decided.isin(ground.test["time"][traded.position != 0]).all()


def test_part_of_the_rows_is_traded_as_if_there_were_no_others(
    ground_of: Make, walked: pd.DataFrame
) -> None:
    ground = ground_of(walked)
    position, rows = Traded.by(ground, "30m").position, ground.folds[1]
    alone = ground_of(walked[walked["fold"] == 1].reset_index(drop=True))
    pd.testing.assert_frame_equal(
        trade_rows(ground, position, rows).trades, Traded.by(alone, "30m").backtest.trades
    )
