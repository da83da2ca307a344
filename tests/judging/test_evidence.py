"""The figures of a model, against plain computations on its rows and trades."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from gafcnn.evaluation.figures import value_of
from gafcnn.evaluation.judge import Study
from gafcnn.evaluation.metrics import (
    SHARES,
    as_trades,
    by_forecast,
    by_regime,
    by_side,
    by_threshold,
    money,
    most_confident,
    scores,
    share_up,
)
from gafcnn.evaluation.test_set import Ground, RowTrades, Traded
from gafcnn.evaluation.trade_summary import summary
from gafcnn.evaluation.trading_rules import Rules

Make = Callable[..., Ground]
COST = 1e-4


@pytest.fixture(scope="module")
def tested(joined: pd.DataFrame) -> pd.DataFrame:
    return joined.query("split == 'test'")


@pytest.fixture(scope="module")
def plain(tested: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    """Each test row as a trade of the column 30m, by pandas alone."""
    entry = bars["open"].shift(-1).loc[tested["time"]].to_numpy()
    leave = bars["close"].shift(-15).loc[tested["time"]].to_numpy()
    side = np.where(tested["30m"] > 0.5, 1, -1)
    gross = side * (leave / entry - 1)
    net = gross - COST * (1 + leave / entry)
    return pd.DataFrame({"p": tested["30m"].to_numpy(), "side": side, "gross": gross, "net": net})


@pytest.mark.parametrize("model", ["30m", "vote", "oracle"])
def test_scores_are_those_of_scikit_learn(ground: Ground, tested: pd.DataFrame, model: str) -> None:
    found = {name: value_of(figure) for name, figure in scores(ground, model).items()}
    labelled = tested["label"].notna()
    for suffix, up, p in (
        ("", tested["forward_return"] > 0, tested[model]),
        ("_labelled", tested["label"][labelled] == 1, tested[model][labelled]),
    ):
        clipped = p.clip(1e-7, 1 - 1e-7)
        assert found[f"accuracy{suffix}"] == pytest.approx(((p > 0.5) == up).mean())
        assert found[f"auc{suffix}"] == pytest.approx(metrics.roc_auc_score(up, p))
        assert found[f"brier{suffix}"] == pytest.approx(((p - up) ** 2).mean())
        assert found[f"log_loss{suffix}"] == pytest.approx(metrics.log_loss(up, clipped))


def test_scores_of_rows_without_a_label_are_none(ground_of: Make, joined: pd.DataFrame) -> None:
    unnamed = joined.assign(label=pd.array([None] * len(joined), dtype="Int8"))
    found = {name: value_of(figure) for name, figure in scores(ground_of(unnamed), "30m").items()}
    assert {name for name, value in found.items() if value is None} == {
        name for name in found if name.endswith("_labelled")
    }


@pytest.mark.parametrize("overlapping", [False, True])
def test_money_is_what_the_summary_of_the_backtest_says(
    ground_of: Make, joined: pd.DataFrame, overlapping: bool
) -> None:
    ground = ground_of(joined, Rules(cost_bps=1.0, least_trades=5, overlapping=overlapping))
    traded = Traded.by(ground, "30m")
    whole = summary(traded.backtest, ground.interval)
    found = {name: value_of(figure) for name, figure in money(ground, traded).items()}
    assert found.pop("coverage") == pytest.approx((traded.position != 0).mean())
    for name, value in found.items():
        assert value == pytest.approx(whole[name]), name


def test_rows_as_trades_by_pandas(ground: Ground, plain: pd.DataFrame) -> None:
    trades = RowTrades.by(ground, "30m")
    for rows in (np.ones(len(plain), bool), plain["p"].to_numpy() > 0.6, plain.index < 100):
        found = {name: value_of(one) for name, one in as_trades(ground, trades, rows).items()}
        some = plain[rows]
        assert found == pytest.approx(
            {
                "win_rate": (some["gross"] > 0).mean(),
                "win_rate_net": (some["net"] > 0).mean(),
                "gross_bps": some["gross"].mean() * 1e4,
                "net_bps": some["net"].mean() * 1e4,
            }
        )


def test_no_rows_have_no_figures(ground: Ground) -> None:
    none = np.zeros(len(ground.test), dtype=bool)
    figures = as_trades(ground, RowTrades.by(ground, "30m"), none)
    assert {value_of(figure) for figure in figures.values()} == {None}
    assert value_of(share_up(ground, none)) is None


def test_the_most_confident_are_those_with_the_highest_confidence(
    ground: Ground, plain: pd.DataFrame
) -> None:
    confidence = (plain["p"] - 0.5).abs()
    by_rank = confidence.sort_values(ascending=False).index
    parts = list(most_confident(ground, "30m"))
    assert [names["share"] for names, _ in parts] == list(SHARES)
    for names, rows in parts:
        expected = by_rank[: int(np.ceil(names["share"] * len(plain)))]
        assert set(np.flatnonzero(rows)) == set(expected)
        assert names["threshold"] == pytest.approx(confidence[rows].min(), abs=1e-12)


def test_the_most_confident_are_found_fold_by_fold(ground_of: Make, walked: pd.DataFrame) -> None:
    ground = ground_of(walked)
    for names, rows in most_confident(ground, "30m"):
        assert names["threshold"] is None
        for fold in ground.folds.values():
            assert rows[fold].sum() == np.ceil(names["share"] * fold.sum())


def test_equal_confidence_is_not_cut(ground: Ground) -> None:
    """Three votes know four answers: the most confident hundredth are all unanimous ones."""
    unanimous = ground.test["vote"].isin([0.0, 1.0]).to_numpy()
    *_, (_, rows) = most_confident(ground, "vote")
    np.testing.assert_array_equal(rows, unanimous)


def test_the_chosen_threshold_is_a_part_of_its_own(ground: Ground) -> None:
    traded = Traded.by(ground, "30m")
    names, rows = by_threshold(traded)
    assert names == {"share": None, "threshold": traded.choices[None].threshold}
    np.testing.assert_array_equal(
        rows, (ground.test["30m"] - 0.5).abs() >= traded.choices[None].threshold
    )


def test_sides_make_up_all_rows_but_those_at_a_half(ground_of: Make, joined: pd.DataFrame) -> None:
    split = joined.assign(half=joined["30m"].where(joined["30m"].round(1) != 0.5, 0.5))
    ground = ground_of(split)
    halves = (ground.test["half"] == 0.5).sum()
    assert halves > 0
    traded = Traded.by(ground, "half")
    parts = {(names["side"], names["of"]): rows for names, rows in by_side(ground, "half", traded)}
    every = parts["long", "all rows"].astype(int) + parts["short", "all rows"]
    assert every.max() == 1
    assert every.sum() == len(ground.test) - halves
    chosen = parts["long", "traded rows"] | parts["short", "traded rows"]
    np.testing.assert_array_equal(chosen, traded.position != 0)
    assert (ground.test["half"][parts["short", "traded rows"]] < 0.5).all()


def test_bins_of_the_reliability_table_make_up_all_rows(ground: Ground) -> None:
    parts = list(by_forecast(ground, "30m"))
    np.testing.assert_array_equal(np.sum([rows for _, rows in parts], axis=0), 1)
    told = [names["forecast"] for names, _ in parts]
    assert told == sorted(told)
    for names, rows in parts:
        assert names["forecast"] == pytest.approx(ground.test["30m"][rows].mean())
        assert value_of(share_up(ground, rows)) == pytest.approx(ground.up[rows].mean())


def test_regimes_and_months_each_make_up_all_rows(
    study_of: Callable[..., Study], joined: pd.DataFrame
) -> None:
    study = study_of(joined)
    parts = list(by_regime(study.ground, study.regimes))
    for months in (False, True):
        some = [rows for names, rows in parts if (names["month"] is not None) == months]
        np.testing.assert_array_equal(np.sum(some, axis=0), 1)
    for names, rows in parts:
        if names["month"] is not None:
            assert set(study.ground.test["time"][rows].dt.strftime("%Y-%m")) == {names["month"]}


def test_regimes_meet_rows_by_time_whatever_their_order(
    study_of: Callable[..., Study], joined: pd.DataFrame
) -> None:
    study = study_of(joined)
    shuffled = study.regimes.sample(frac=1, random_state=0)
    for (names, rows), (others, same) in zip(
        by_regime(study.ground, study.regimes), by_regime(study.ground, shuffled), strict=True
    ):
        assert names == others
        np.testing.assert_array_equal(rows, same)
