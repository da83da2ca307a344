"""What is told without being resampled, against plain computations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.evaluation import breakdowns as tables
from gafcnn.evaluation.scores import score_rows
from gafcnn.evaluation.test_set import Ground, Traded
from gafcnn.evaluation.trade_summary import summary
from gafcnn.evaluation.trading_rules import Rules

Make = Callable[..., Ground]


@pytest.fixture(scope="module")
def traded(ground: Ground) -> Traded:
    return Traded.by(ground, "30m")


@pytest.mark.parametrize("model", ["30m", "vote", "oracle"])
def test_confusion_is_that_of_the_scores(ground: Ground, model: str) -> None:
    scored = score_rows(ground.test, model)
    assert tables.confusion(ground, model) == {
        "all": scored["all"]["confusion"],
        "labelled": scored["labelled"]["confusion"],
    }


def test_confusion_has_four_counts_however_few_rows_are_labelled(
    ground_of: Make, joined: pd.DataFrame
) -> None:
    unnamed = joined.assign(label=pd.array([None] * len(joined), dtype="Int8"))
    assert tables.confusion(ground_of(unnamed), "30m")["labelled"] == [[0, 0], [0, 0]]


def test_classes_are_shares_of_their_own_rows(ground: Ground, joined: pd.DataFrame) -> None:
    test = joined[joined["split"] == "test"]
    labelled = test["label"].dropna()
    assert tables.classes(ground) == {
        "all": {"up": pytest.approx((test["forward_return"] > 0).mean()), "n": len(test)},
        "moved": {
            "up": pytest.approx((test.query("forward_return != 0")["forward_return"] > 0).mean()),
            "n": int((test["forward_return"] != 0).sum()),
        },
        "labelled": {"up": pytest.approx(labelled.mean()), "n": len(labelled)},
    }


def test_classes_of_no_labels_have_no_share(ground_of: Make, joined: pd.DataFrame) -> None:
    unnamed = joined.assign(label=pd.array([None] * len(joined), dtype="Int8"))
    assert tables.classes(ground_of(unnamed))["labelled"] == {"up": None, "n": 0}


def test_figures_without_interval_are_the_backtests(ground: Ground, traded: Traded) -> None:
    found = tables.without_interval(ground, "30m", traded)
    whole = summary(traded.backtest, ground.interval)
    for name in ("trades", "total_return"):
        assert found[name].value == whole[name]
    # fifteen hours tell nothing of a year
    assert found["annual_return"].value is None
    assert found["calmar"].value is None
    assert found["threshold"].value == traded.choices[None].threshold
    assert {(one.low, one.high) for one in found.values()} == {(None, None)}


def test_calibration_by_hand(ground_of: Make, joined: pd.DataFrame) -> None:
    """One that always says 60 % is as far off as 60 % is from what came."""
    ground = ground_of(joined.assign(always=0.6))
    found = tables.without_interval(ground, "always", Traded.by(ground, "always"))
    assert found["calibration_error"].value == pytest.approx(abs(0.6 - ground.up.mean()))


def test_several_folds_have_no_one_threshold(ground_of: Make, walked: pd.DataFrame) -> None:
    ground = ground_of(walked)
    found = tables.without_interval(ground, "30m", Traded.by(ground, "30m"))
    assert found["threshold"].value is None


@pytest.mark.parametrize(
    ("figure", "of"),
    [("auc", "rows"), ("coverage", "rows"), ("auc_labelled", "labelled"), ("sharpe", "trades")],
)
def test_a_figure_rests_on_rows_or_on_trades(
    ground: Ground, traded: Traded, figure: str, of: str
) -> None:
    counts = {
        "rows": len(ground.test),
        "labelled": int(ground.test["label"].notna().sum()),
        "trades": len(traded.backtest.trades),
    }
    assert len(set(counts.values())) == 3
    assert tables.rests_on(ground, traded, figure) == counts[of]


def test_a_fold_is_what_it_would_be_alone(ground_of: Make, walked: pd.DataFrame) -> None:
    ground = ground_of(walked)
    rows = list(tables.folds(ground, "30m", Traded.by(ground, "30m")))
    for fold, row in enumerate(rows):
        alone = ground_of(walked[walked["fold"] == fold].reset_index(drop=True))
        made = Traded.by(alone, "30m")
        figures = summary(made.backtest, alone.interval)
        for name in ("trades", "win_rate_gross", "net_bps", "sharpe"):
            assert row[name] == figures[name]
        assert row["threshold"] == made.choices[fold].threshold
        assert row["coverage"] == made.choices[fold].coverage
        assert row["n"] == len(alone.test)


def test_holding_is_from_the_first_decision_to_the_last_horizon(
    ground: Ground, bars: pd.DataFrame
) -> None:
    test = ground.test["time"]
    bought = bars["open"].shift(-1)[test.iloc[0]]
    sold = bars["close"].shift(-15)[test.iloc[-1]]
    (trade,) = tables.held_over(ground).trades.to_dict("records")
    assert (trade["entry"], trade["exit"], trade["side"]) == (bought, sold, 1)
    assert trade["net"] == pytest.approx(sold / bought - 1 - 1e-4 * (1 + sold / bought))


def test_a_coin_trades_as_often_as_its_model(ground: Ground, traded: Traded) -> None:
    found = tables.benchmarks(ground, {"30m": traded}, seed=0)
    coin: dict[str, Any] = found["coin"]["30m"]
    assert coin["net_bps"]["n"] == len(traded.backtest.trades)
    assert coin["net_bps"]["low"] < coin["net_bps"]["value"] < coin["net_bps"]["high"]
    assert coin["p_value"] < 0.05  # 30m knows what the oracle knows
    assert found["coin"] == tables.benchmarks(ground, {"30m": traded}, seed=0)["coin"]
    assert found["buy_and_hold"]["trades"]["value"] == 1


def test_a_coin_of_no_trades_has_no_figures(ground_of: Make, joined: pd.DataFrame) -> None:
    ground = ground_of(joined, Rules(threshold=0.5))
    never = {"30m": Traded.by(ground, "30m")}
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    assert tables.benchmarks(ground, never, seed=0)["coin"]["30m"] == {
        **dict.fromkeys(("net_bps", "win_rate_gross", "win_rate_net"), nothing),
        "p_value": None,
    }


def test_equity_is_thinned_and_ends_where_it_ended(ground_of: Make, walked: pd.DataFrame) -> None:
    ground = ground_of(walked)
    made = Traded.by(ground, "30m")
    whole = made.backtest.equity
    assert len(whole) > tables.POINTS
    curves = tables.equity(ground, {"30m": made})
    assert set(curves) == {"30m", "buy_and_hold"}
    for curve in curves.values():
        assert len(curve["time"]) == len(curve["value"]) == tables.POINTS
    shown = pd.Series(curves["30m"]["value"], pd.DatetimeIndex(curves["30m"]["time"]))
    assert shown.index[-1] == whole.index[-1]
    np.testing.assert_array_equal(shown, whole.loc[shown.index])


def test_a_short_equity_is_shown_whole(ground: Ground, traded: Traded) -> None:
    curve = tables.equity(ground, {"30m": traded})["30m"]
    assert curve["value"] == traded.backtest.equity.tolist()
