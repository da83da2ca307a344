"""Joining by symbol, time, fold and split, never by row number, and ensembles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.ensembles import (
    ENSEMBLES,
    TWO_STAGE,
    auc_weights,
    combine,
    ensemble,
    fit_ensemble,
    log_odds,
    mean,
    register_ensemble,
    stacked,
    stacking_coefficients,
    vote,
    weighted,
)
from gafcnn.evaluation.joining import average_seeds, join, probabilities
from gafcnn.evaluation.positions import positions
from gafcnn.evaluation.predictions import check_predictions, classes_of
from gafcnn.evaluation.statistics import score_rows

Make = Callable[..., pd.DataFrame]
Members = dict[str, pd.DataFrame]
WINDOWS = ["15m", "30m", "60m"]
SHARED = ["symbol", "time", "fold", "split", "label", "forward_return", "known_at"]
CLASSES = ("none", "star", "hammer")


def error_of(members: Members) -> str:
    with pytest.raises(PredictionsError) as error:
        join(members)
    return error.value.found


def test_columns_and_rows(members: Members) -> None:
    joined = join(members)
    assert list(joined.columns) == [*SHARED, *WINDOWS]
    for name, frame in members.items():
        pd.testing.assert_frame_equal(joined.filter(SHARED), frame.filter(SHARED))
        np.testing.assert_array_equal(joined[name], frame["p_up"])


@settings(max_examples=8)
@given(data=st.data())
def test_the_order_of_rows_does_not_matter(predictions: Make, data: st.DataObject) -> None:
    folds = {
        name: pd.concat([predictions(8, window=name, fold=fold) for fold in (0, 1)])
        for name in WINDOWS
    }
    shuffled = {
        name: frame.iloc[data.draw(st.permutations(range(16)), label=name)]
        for name, frame in folds.items()
    }
    pd.testing.assert_frame_equal(join(shuffled), join(folds))


def test_ensembles_are_joined_by_time_never_by_row(predictions: Make) -> None:
    """Windows that lost different rows are refused; all rows in any order are combined by time."""
    rng = np.random.default_rng(0)
    whole = {
        name: predictions(2000, window=name, seed=seed, skill=0.08)
        for seed, name in enumerate(WINDOWS)
    }
    cut = {
        name: frame.iloc[np.sort(rng.choice(2000, 1600, replace=False))]
        for name, frame in whole.items()
    }
    assert "30m lacks " in error_of(cut)
    alone = [score_rows(frame, "p_up")["all"]["accuracy"] for frame in whole.values()]
    shuffled = {name: frame.sample(frac=1, random_state=1) for name, frame in whole.items()}
    by_time = ensemble(join({**shuffled, "15m": whole["15m"]}), WINDOWS, ["mean"])
    assert score_rows(by_time, "mean")["all"]["accuracy"] > max(alone)


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (0.01, 0.01 * (1 + 1e-10), True),
        (0.01, 0.01 * (1 + 1e-7), False),
        (0.0, 1e-13, True),  # close / close - 1 on another processor
        (0.0, 1e-10, False),
    ],
)
def test_members_with_different_returns(
    predictions: Make, ours: float, theirs: float, same: bool
) -> None:
    members = {name: predictions(window=name) for name in ("15m", "30m")}
    for frame, value in zip(members.values(), (ours, theirs), strict=True):
        frame.loc[20, "forward_return"] = value
    if same:
        join(members)
    else:
        assert "disagree on forward_return for 1 of 40" in error_of(members)


def test_members_with_different_labels(predictions: Make) -> None:
    frame = predictions(fold=3).assign(label=pd.array([1] * 40, dtype="Int8"))
    other = frame.assign(label=pd.array([1] * 30 + [None] * 9 + [0], dtype="Int8"))
    found = error_of({"15m": frame, "30m": other})
    for fact in ("label", "10 of 40", "00:30 UTC, fold 3, test", "(1 and None)"):
        assert fact in found


def test_members_with_different_rows(predictions: Make) -> None:
    frame = predictions()
    found = error_of({"15m": frame.iloc[3:], "30m": frame.drop(index=[7, 39])})
    for fact in ("30m lacks 2 of the 37", "15m lacks 3 of the 38", "first BNBUSDT 2025-06-20 00:0"):
        assert fact in found
    moved = frame.copy()
    moved.loc[19, "split"] = "test"
    others = moved, frame.assign(fold=pd.array([0] * 40, dtype="Int64")), predictions(symbol="BTC")
    for other, lacks in zip(others, (1, 40, 40), strict=True):
        assert f"30m lacks {lacks} of the 40" in error_of({"15m": frame, "30m": other})


def test_every_member_is_checked(members: Members) -> None:
    third = members["60m"].assign(known_at=members["60m"]["known_at"] + pd.Timedelta("45min"))
    assert "15m and 60m disagree on known_at" in error_of({**members, "60m": third})
    broken = members["30m"].assign(p_up=np.nan)
    assert error_of({**members, "30m": broken}).startswith("30m: p_up")
    assert "15m, 30m, 60m" in error_of({"all": pd.concat(members.values())})


def test_classes(class_predictions: Make, predictions: Make) -> None:
    frames = {name: class_predictions(name) for name in ("15m", "30m")}
    joined = join({**frames, "30m": frames["30m"].sample(frac=1, random_state=0)})
    for name, frame in frames.items():
        columns = [f"p_{one}" for one in CLASSES]
        np.testing.assert_array_equal(probabilities(joined, name, CLASSES), frame[columns])
    for other in (frames["30m"].rename(columns={"p_star": "p_doji"}), predictions(window="30m")):
        assert "different classes, p_none, p_star" in error_of({"15m": frames["15m"], "30m": other})


def test_average_of_seeds(predictions: Make, class_predictions: Make) -> None:
    runs = {(s, f): predictions(seed=s, fold=f) for s in (1, 2) for f in (0, 1)}
    averaged = average_seeds(frame.sample(frac=1, random_state=0) for frame in runs.values())
    for fold in (0, 1):
        expected = (runs[1, fold]["p_up"] + runs[2, fold]["p_up"]) / 2
        np.testing.assert_allclose(averaged["p_up"][averaged["fold"] == fold], expected, atol=1e-15)
    assert set(averaged["seed"]) == {-1}
    check_predictions(averaged, "15m")
    pd.testing.assert_frame_equal(average_seeds([runs[1, 0]]), runs[1, 0])
    classes = average_seeds([class_predictions(seed=1), class_predictions(seed=2)])
    assert classes_of(check_predictions(classes, "15m")) == CLASSES


def test_seeds_that_do_not_match(predictions: Make) -> None:
    runs = [predictions(seed=1, fold=0), predictions(seed=1, fold=1), predictions(seed=2, fold=0)]
    with pytest.raises(PredictionsError, match="15m with seed 2 lacks 40 of the 80"):
        average_seeds(runs)
    with pytest.raises(PredictionsError, match="15m with seed 42: a decision time occurs more"):
        average_seeds([predictions(), predictions()])


BUILT_IN = ["mean", "weighted", "vote", "stacking"]
MODELS = {"15m": 0.05, "30m": 0.10, "60m": -0.02, "05m": 0.08}


@pytest.fixture
def own() -> Iterator[str]:
    """A registered ensemble that is removed after the test."""
    name = "median"

    @register_ensemble(name, fit=lambda p, label: p[label == 1].mean())
    def median(p: np.ndarray, shift: float) -> np.ndarray:
        return np.clip(np.median(p, axis=1) - shift + 0.5, 0, 1)

    yield name
    del ENSEMBLES[name]


# --- the ensembles ---------------------------------------------------------------------------


def test_mean_and_votes_by_hand() -> None:
    np.testing.assert_allclose(mean(np.array([[0.6, 0.2, 0.1]])), [0.3])
    p = [[0.6, 0.7, 0.1, 0.1], [0.5, 0.5, 0.5, 0.5], [0.5, 0.51, 0.9, 0.9]]
    np.testing.assert_allclose(vote(np.array(p)), [1 / 2, 1 / 2, 7 / 8])
    assert positions(vote(np.array(p)), 0.0).tolist() == [0, 0, 1]  # only a majority is traded


def test_weights_by_hand() -> None:
    label = np.array([0, 0, 1, 1], dtype=np.int8)
    right, half_right, wrong = [0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4], [0.9, 0.8, 0.2, 0.1]
    # AUC 1, 0.75 and 0: edges 0.5, 0.25 and none
    weights = auc_weights(np.array([right, half_right, wrong]).T, label)
    np.testing.assert_allclose(weights, [2 / 3, 1 / 3, 0.0])
    np.testing.assert_allclose(weighted(np.array([[0.6, 0.9, 0.0]]), weights), [0.7])
    np.testing.assert_array_equal(auc_weights(np.array([wrong, [0.5] * 4]).T, label), [0.5, 0.5])


def test_stacking_is_logistic_regression_on_log_odds() -> None:
    rng = np.random.default_rng(0)
    p, label = rng.uniform(0.2, 0.8, (200, 3)), rng.integers(0, 2, 200).astype(np.int8)
    peer = LogisticRegression().fit(np.log(p / (1 - p)), label)
    ours = stacked(p, stacking_coefficients(p, label))
    np.testing.assert_allclose(ours, peer.predict_proba(np.log(p / (1 - p)))[:, 1], atol=1e-12)


def test_stacking_is_finite_at_certainty() -> None:
    odds = log_odds(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(odds, [-13.815509557963773, 0.0, 13.815509557963773])
    steep = stacked(np.array([[0.0], [0.5], [1.0]]), np.array([0.0, 100.0]))
    np.testing.assert_allclose(steep, [0.0, 0.5, 1.0])


def test_each_ensemble_is_a_column(members: Members) -> None:
    joined = join(members)
    combined = ensemble(members)
    assert list(combined.columns) == [*joined.columns, *BUILT_IN]
    pd.testing.assert_frame_equal(combined.filter(joined.columns), joined)
    assert ((combined[BUILT_IN] >= 0) & (combined[BUILT_IN] <= 1)).to_numpy().all()
    np.testing.assert_allclose(combined["mean"], joined[WINDOWS].mean(axis=1), atol=1e-15)
    some = ensemble(joined, WINDOWS[:2], ["vote"])
    assert list(some.columns) == [*joined.columns, "vote"]


def test_mean_of_classes(class_predictions: Make) -> None:
    classes = ("none", "star", "hammer")
    joined = join({name: class_predictions(name) for name in WINDOWS})
    combined, names, _ = combine(joined, WINDOWS[:2], ["vote", TWO_STAGE], "60m", classes)
    assert names == [*WINDOWS[:2], "mean", "60m"]
    expected = sum(probabilities(joined, name, classes) for name in WINDOWS[:2]) / 2
    np.testing.assert_allclose(probabilities(combined, "mean", classes), expected)


def test_an_own_ensemble(members: Members, own: str) -> None:
    joined = join(members)
    combined = ensemble(joined, WINDOWS)
    assert list(combined.columns) == [*joined.columns, *BUILT_IN, own]
    fitted = fit_ensemble(joined, own, WINDOWS)
    rows = (joined["split"] == "val") & (joined["label"] == 1).fillna(value=False)
    assert fitted.parameters == pytest.approx(joined.loc[rows, WINDOWS].to_numpy().mean())
    np.testing.assert_array_equal(fitted(joined[WINDOWS].to_numpy()), combined[own])


@pytest.mark.parametrize("result", [lambda p: p, lambda p: p[:, 0] + 1, lambda p: p[:, 0] * np.nan])
def test_an_own_ensemble_returns_probabilities(
    members: Members, own: str, result: Callable[[np.ndarray], np.ndarray]
) -> None:
    register_ensemble(own)(result)
    with pytest.raises(PredictionsError, match="the ensemble median"):
        ensemble(members, WINDOWS, [own])


@pytest.mark.parametrize("method", BUILT_IN)
def test_a_row_is_combined_alone_as_among_others(predictions: Make, method: str) -> None:
    names = [f"{span}m" for span in range(15, 27)]  # more than a sum is unrolled for
    joined = join({name: predictions(60, window=name) for name in names})
    together = ensemble(joined, names, [method])[method].to_numpy()
    fitted = fit_ensemble(joined, method, names)
    alone = np.concatenate([fitted(row[None]) for row in joined[names].to_numpy()])
    assert alone.tobytes() == together.tobytes()


# --- what they are fitted on -----------------------------------------------------------------


def altered(joined: pd.DataFrame, rows: Any, columns: list[str]) -> pd.DataFrame:
    """The same table with other probabilities, returns and labels in some rows."""
    changed = joined.copy()
    changed.loc[rows, columns] = 1 - changed.loc[rows, columns]
    changed.loc[rows, "forward_return"] *= -1
    changed.loc[rows, "label"] = 1 - changed.loc[rows, "label"]
    return changed


def combined(runs: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """All ensembles of a study's runs; the last model is its baseline."""
    joined = join({model: average_seeds(frames) for model, frames in runs.items()})
    return combine(joined, WINDOWS, [*ENSEMBLES, TWO_STAGE], [*runs][-1])[0]


def test_test_rows_do_not_contaminate_others(predictions: Make) -> None:
    """Changing some test rows changes nothing elsewhere: means, ensembles and two stages."""
    runs = {
        model: [
            predictions(40, window=model, seed=seed, fold=fold, skill=skill, symbol=f"S{number}")
            for seed in (0, 1)
            for fold in (0, 1)
            for number in (0, 1)
        ]
        for model, skill in MODELS.items()
    }
    before = combined(runs)
    some = np.random.default_rng(0).random(len(before)) < 0.5
    some &= before["split"] == "test"
    key = ["symbol", "fold", "time"]
    rows = pd.MultiIndex.from_frame(before.loc[some, key])
    after = combined(
        {
            model: [
                altered(frame, pd.MultiIndex.from_frame(frame[key]).isin(rows), ["p_up"])
                for frame in frames
            ]
            for model, frames in runs.items()
        }
    )
    pd.testing.assert_frame_equal(after[~some], before[~some], check_exact=True)
    for name in (*BUILT_IN, TWO_STAGE):
        assert not np.allclose(after.loc[some, name], before.loc[some, name])


@pytest.mark.parametrize("method", [*BUILT_IN, TWO_STAGE])
def test_only_labelled_validation_rows_of_the_fold_are_fitted(
    predictions: Make, method: str
) -> None:
    joined = with_baseline(predictions, 100, folds=(0, 1))

    def column(table: pd.DataFrame) -> np.ndarray:
        return combine(table, WINDOWS, [method], "xgboost")[0][method].to_numpy()

    before = column(joined)
    val, neutral, second = joined["split"] == "val", joined["label"].isna(), joined["fold"] == 1
    for rows in (val & neutral, ~val, second.astype(bool)):
        after = column(altered(joined, rows, ["xgboost", *WINDOWS]))
        np.testing.assert_array_equal(after[~rows], before[~rows])
        assert not np.allclose(after[rows], before[rows])
    alone = column(joined[second].reset_index(drop=True))
    np.testing.assert_array_equal(before[second], alone)
    if method in ("weighted", "stacking", TWO_STAGE):
        after = column(altered(joined, val & ~neutral, ["xgboost", "15m"]))
        assert not np.allclose(after[~val], before[~val])


@pytest.mark.parametrize("method", ["weighted", "stacking"])
@pytest.mark.parametrize(("label", "found"), [(1, "20 labelled"), (None, "0 labelled")])
def test_validation_rows_of_one_class(
    predictions: Make, method: str, label: int | None, found: str
) -> None:
    frame = predictions(fold=1)
    frame.loc[frame["split"] == "val", "label"] = pd.NA if label is None else label
    with pytest.raises(PredictionsError) as error:
        ensemble({"15m": frame}, ["15m"], ["mean", method])
    assert f"{method} has {found}" in error.value.found
    assert "fold 1" in error.value.found
    assert "ensemble.methods=[mean,vote]" in error.value.instead
    assert {"mean", "vote"} <= set(ensemble({"15m": frame}, methods=["mean", "vote"]).columns)


def test_members_without_validation_rows_are_not_combined_there(members: Members) -> None:
    joined = join(members)
    val = joined["split"] == "val"
    joined.loc[val & (joined.index % 2 == 0), "30m"] = np.nan
    combined = ensemble(joined, WINDOWS)
    assert combined[BUILT_IN].isna().all(axis=1).equals(joined["30m"].isna())
    rows = joined["30m"].notna()
    pd.testing.assert_frame_equal(combined[rows], ensemble(joined[rows], WINDOWS))


# --- two stages ------------------------------------------------------------------------------


def with_baseline(predictions: Make, n: int = 400, folds: tuple[int | None, ...] = (None,)) -> Any:
    """Three windows and a baseline side by side, in some folds."""
    joined = join(
        {
            name: pd.concat([predictions(n, window=name, fold=fold, skill=skill) for fold in folds])
            for name, skill in MODELS.items()
        }
    )
    return joined.rename(columns={"05m": "xgboost"})


def test_two_stages_are_logistic_regression_on_log_odds(predictions: Make) -> None:
    joined = with_baseline(predictions)
    added = combine(joined, WINDOWS, [TWO_STAGE], "xgboost")[0]
    assert list(added.columns) == [*joined.columns, TWO_STAGE]
    pd.testing.assert_frame_equal(added[joined.columns], joined)
    p = joined[["xgboost", *WINDOWS]].clip(1e-6, 1 - 1e-6)
    odds = np.log(p / (1 - p)).to_numpy()
    fitted_on = ((joined["split"] == "val") & joined["label"].notna()).to_numpy()
    peer = LogisticRegression().fit(odds[fitted_on], joined["label"][fitted_on].astype(int))
    np.testing.assert_allclose(added[TWO_STAGE], peer.predict_proba(odds)[:, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "fact"),
    [
        (lambda joined: ensemble(joined, WINDOWS, ["mean", "medan"]), "'medan'"),
        (lambda joined: ensemble(joined, ["15m", "5m"]), "5m.*15m, 30m, 60m"),
        (lambda joined: ensemble(joined, []), "none"),
        (
            lambda joined: combine(joined.assign(two_stage=0.5), ["30m"], [TWO_STAGE], "15m"),
            TWO_STAGE,
        ),
    ],
)
def test_unusable_names(members: Members, call: Callable[..., Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        call(join(members))
