"""Members meet by what they are about, and what is fitted is fitted on validation rows only."""

from __future__ import annotations

from collections.abc import Callable
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
    auc_weights,
    ensemble,
    fitted,
    log_odds,
    mean,
    stacked,
    stacking_coefficients,
    two_stage,
    vote,
    weighted,
)
from gafcnn.evaluation.joining import TWO_STAGE, average_seeds, join
from gafcnn.evaluation.scores import score_rows

Make = Callable[..., pd.DataFrame]
Members = dict[str, pd.DataFrame]
WINDOWS = ["15m", "30m", "60m"]
SHARED = ["symbol", "time", "fold", "split", "label", "forward_return", "known_at"]


def refusal(members: Members) -> PredictionsError:
    with pytest.raises(PredictionsError) as error:
        join(members)
    assert "\n" not in str(error.value)
    return error.value


# --- joining ---------------------------------------------------------------------------------


def test_joined_rows_are_those_of_each_member(members: Members) -> None:
    joined = join(members)
    assert list(joined.columns) == [*SHARED, *WINDOWS]
    for name, frame in members.items():
        pd.testing.assert_frame_equal(joined.filter(SHARED), frame.filter(SHARED))
        np.testing.assert_array_equal(joined[name], frame["p_up"])


@settings(max_examples=8)
@given(data=st.data())
def test_joining_looks_at_no_members_row_order(predictions: Make, data: st.DataObject) -> None:
    folds = {
        name: pd.concat([predictions(8, window=name, fold=fold) for fold in (0, 1)])
        for name in WINDOWS
    }
    shuffled = {
        name: frame.iloc[data.draw(st.permutations(range(16)), label=name)]
        for name, frame in folds.items()
    }
    pd.testing.assert_frame_equal(join(shuffled), join(folds))


def test_ensemble_is_joined_by_time_never_by_row(predictions: Make) -> None:
    """An earlier system's ensemble was worse than each member: 47.33 %.

    Each window had lost its own neutral fifth, and row k of one stood beside row k of the others.
    """
    rng = np.random.default_rng(0)
    whole = {
        name: predictions(2000, window=name, seed=seed, skill=0.08)
        for seed, name in enumerate(WINDOWS)
    }
    cut = {
        name: frame.iloc[np.sort(rng.choice(2000, 1600, replace=False))]
        for name, frame in whole.items()
    }
    alone = [score_rows(frame, "p_up")["all"]["accuracy"] or 0.0 for frame in whole.values()]

    # its way: row beside row, scored against the labels of 15m
    by_row = cut["15m"].assign(by_row=np.mean([frame["p_up"] for frame in cut.values()], axis=0))
    assert (score_rows(by_row, "by_row")["all"]["accuracy"] or 0.0) < min(alone)

    # here: refused while rows are missing, and right when they are not
    assert refusal(cut).found.startswith("30m lacks ")
    shuffled = {name: frame.sample(frac=1, random_state=1) for name, frame in whole.items()}
    by_time = ensemble(join({**shuffled, "15m": whole["15m"]}), WINDOWS, ["mean"])
    assert (score_rows(by_time, "mean")["all"]["accuracy"] or 0.0) > max(alone)


def test_members_of_other_horizons_are_refused_by_name(predictions: Make) -> None:
    error = refusal(
        {"30m": predictions(window="30m"), "15m": predictions(horizon="30min", window="15m")}
    )
    assert str(error) == (
        "30m and 15m disagree on known_at for 40 of 40 shared rows, first BNBUSDT "
        "2025-06-20 00:00 UTC, val (+15 min against +30 min); expected one horizon for all "
        "members; train them with the same market, label and split, in a study of their own."
    )


def test_members_of_other_returns_are_refused_by_name(predictions: Make) -> None:
    other = predictions(window="60m")
    other.loc[[8, 9], "forward_return"] = [0.25, 0.5]
    other.loc[10, "forward_return"] *= 1 + 1e-12  # another machine's last bits are no difference
    error = refusal({"15m": predictions(), "60m": other})
    assert error.found.startswith(
        "15m and 60m disagree on forward_return for 2 of 40 shared rows, first BNBUSDT "
        "2025-06-20 00:08 UTC, val ("
    )
    assert error.found.endswith(" against 0.25)")
    assert error.expected == "one forward_return for all members"


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (0.01, 0.01 * (1 + 1e-10), True),
        (0.01, 0.01 * (1 + 1e-7), False),
        (0.0, 1e-13, True),  # close / close - 1 of another machine
        (0.0, 1e-10, False),
    ],
)
def test_returns_may_differ_by_what_machines_round(
    predictions: Make, ours: float, theirs: float, same: bool
) -> None:
    members = {name: predictions(window=name) for name in ("15m", "30m")}
    for frame, value in zip(members.values(), (ours, theirs), strict=True):
        frame.loc[20, "forward_return"] = value
    if same:
        join(members)
    else:
        assert refusal(members).found.startswith("15m and 30m disagree on forward_return for 1 of")


def test_members_of_other_labels_are_refused_by_name(predictions: Make) -> None:
    frame = predictions(fold=3).assign(label=pd.array([1] * 40, dtype="Int8"))
    other = frame.assign(label=pd.array([1] * 30 + [None] * 9 + [0], dtype="Int8"), seed=7)
    assert str(refusal({"15m": frame, "30m": other})) == (
        "15m and 30m disagree on label for 10 of 40 shared rows, first BNBUSDT 2025-06-23 "
        "00:30 UTC, fold 3, test (1 against null); expected one label for all members; train them "
        "with the same market, label and split, in a study of their own."
    )


def test_members_with_a_part_of_the_times_are_refused_by_name(predictions: Make) -> None:
    frame = predictions()
    assert refusal({"15m": frame, "30m": frame.iloc[2:]}).found == (
        "30m lacks 2 of the 40 decision times of 15m, and 15m lacks 0 of the 38 of 30m, "
        "first BNBUSDT 2025-06-20 00:00 UTC, val"
    )
    assert refusal({"15m": frame.iloc[3:], "30m": frame.iloc[:-1]}).found == (
        "30m lacks 1 of the 37 decision times of 15m, and 15m lacks 3 of the 39 of 30m, "
        "first BNBUSDT 2025-06-20 00:00 UTC, val"
    )


def test_the_first_time_that_a_member_lacks_is_named(predictions: Make) -> None:
    frame = predictions()
    assert refusal({"15m": frame, "30m": frame.drop(index=[7, 9])}).found.endswith(
        "first BNBUSDT 2025-06-20 00:07 UTC, val"
    )


def test_members_split_elsewhere_are_refused(predictions: Make) -> None:
    frame = predictions()
    other = frame.copy()
    other.loc[19, "split"] = "test"
    assert refusal({"15m": frame, "30m": other}).found.startswith("30m lacks 1 of the 40 decision")


def test_members_of_other_folds_are_refused(predictions: Make) -> None:
    frame = predictions()
    other = frame.assign(fold=pd.array([0] * 40, dtype="Int64"))
    error = refusal({"15m": frame, "30m": other})
    assert error.found.startswith("30m lacks 40 of the 40 decision times of 15m, and 15m lacks 40")


def test_members_of_other_markets_are_refused_by_name(predictions: Make) -> None:
    error = refusal({"15m": predictions(), "30m": predictions(symbol="BTCUSDT")})
    assert error.found == "15m and 30m are of different markets, BNBUSDT and BTCUSDT"


def test_every_member_is_compared_and_not_the_first_two_only(members: Members) -> None:
    third = members["60m"].assign(known_at=members["60m"]["known_at"] + pd.Timedelta("45min"))
    assert refusal({**members, "60m": third}).found.startswith("15m and 60m disagree on known_at")


def test_a_member_that_is_no_table_of_predictions_is_refused_by_name(members: Members) -> None:
    broken = members["30m"].assign(p_up=np.nan)
    assert refusal({**members, "30m": broken}).found.startswith("30m: p_up is not a probability")


def test_a_member_is_one_window(members: Members) -> None:
    error = refusal({"all": pd.concat(members.values())})
    assert error.found == "all holds forecasts of several windows, 15m,30m,60m"
    error = refusal({"both": pd.concat([members["15m"], members["30m"]])})
    assert error.found == "both holds forecasts of several windows, 15m,30m"


@pytest.mark.parametrize("name", [*ENSEMBLES, TWO_STAGE, "label", "time"])
def test_a_member_must_not_hide_another_column(predictions: Make, name: str) -> None:
    with pytest.raises(ConfigError, match=f"^members are named {name}; expected at least one"):
        join({name: predictions()})


def test_a_join_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="members are named not at all"):
        join({})


# --- seeds and folds -------------------------------------------------------------------------


def test_seeds_are_averaged_by_time(predictions: Make) -> None:
    one, two = predictions(seed=1), predictions(seed=2)
    averaged = average_seeds([one, two.sample(frac=1, random_state=0)])
    np.testing.assert_allclose(averaged["p_up"], (one["p_up"] + two["p_up"]) / 2, atol=1e-15)
    assert set(averaged["seed"]) == {-1}
    pd.testing.assert_frame_equal(
        averaged.drop(columns=["p_up", "seed"]),
        one.drop(columns=["p_up", "seed"]),
    )
    assert list(join({"15m": averaged, "30m": one}).columns)[-2:] == ["15m", "30m"]


def test_seeds_are_averaged_fold_by_fold(predictions: Make) -> None:
    runs = {(s, f): predictions(seed=s, fold=f) for s in (1, 2) for f in (0, 1)}
    averaged = average_seeds(runs.values())
    for fold in (0, 1):
        expected = (runs[1, fold]["p_up"] + runs[2, fold]["p_up"]) / 2
        np.testing.assert_allclose(averaged["p_up"][averaged["fold"] == fold], expected, atol=1e-15)


def test_one_seed_is_returned_as_it_is(predictions: Make) -> None:
    frame = predictions()
    pd.testing.assert_frame_equal(average_seeds([frame]), frame)


def test_seeds_with_other_folds_are_refused_by_name(predictions: Make) -> None:
    runs = [predictions(seed=1, fold=0), predictions(seed=1, fold=1), predictions(seed=2, fold=0)]
    with pytest.raises(PredictionsError, match="15m with seed 2 lacks 40 of the 80 decision"):
        average_seeds(runs)


def test_a_run_given_twice_is_refused(predictions: Make) -> None:
    with pytest.raises(
        PredictionsError, match="15m with seed 42: a decision time stands more than once"
    ):
        average_seeds([predictions(), predictions()])


# --- four ensembles --------------------------------------------------------------------------


def test_mean_by_hand() -> None:
    np.testing.assert_allclose(mean(np.array([[0.6, 0.2, 0.1]])), [0.3])


@pytest.mark.parametrize(
    ("p", "share"),
    [([0.6, 0.7, 0.1], 2 / 3), ([0.9, 0.1], 0.5), ([0.5, 0.5], 0.5), ([0.5, 0.51], 0.75)],
)
def test_votes_by_hand(p: list[float], share: float) -> None:
    np.testing.assert_allclose(vote(np.array([p])), [share])


def test_weights_by_hand() -> None:
    label = np.array([0, 0, 1, 1], dtype=np.int8)
    right, half_right, wrong = [0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4], [0.9, 0.8, 0.2, 0.1]
    # AUC 1, 0.75 and 0: edges 0.5, 0.25 and none
    weights = auc_weights(np.array([right, half_right, wrong]).T, label)
    np.testing.assert_allclose(weights, [2 / 3, 1 / 3, 0.0])
    np.testing.assert_allclose(weighted(np.array([[0.6, 0.9, 0.0]]), weights), [0.7])


def test_weights_are_equal_where_no_member_has_an_edge() -> None:
    label = np.array([0, 0, 1, 1], dtype=np.int8)
    wrong, coin = [0.9, 0.8, 0.2, 0.1], [0.5] * 4
    np.testing.assert_array_equal(auc_weights(np.array([wrong, coin]).T, label), [0.5, 0.5])


def test_stacking_is_scikit_learns_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    p, label = rng.uniform(0.2, 0.8, (200, 3)), rng.integers(0, 2, 200).astype(np.int8)
    peer = LogisticRegression().fit(np.log(p / (1 - p)), label)
    ours = stacked(p, stacking_coefficients(p, label))
    np.testing.assert_allclose(ours, peer.predict_proba(np.log(p / (1 - p)))[:, 1], atol=1e-12)


def test_log_odds_are_finite_at_certainty() -> None:
    odds = log_odds(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(odds, [-13.815509557963773, 0.0, 13.815509557963773])


def test_stacking_is_finite_however_steep() -> None:
    steep = stacked(np.array([[0.0], [0.5], [1.0]]), np.array([0.0, 100.0]))
    np.testing.assert_allclose(steep, [0.0, 0.5, 1.0])


def test_each_method_becomes_a_column_of_probabilities(members: Members) -> None:
    joined = join(members)
    combined = ensemble(joined, WINDOWS, ["vote", "mean"])
    assert list(combined.columns) == [*joined.columns, "vote", "mean"]
    combined = ensemble(joined, WINDOWS)
    assert list(combined.columns) == [*joined.columns, "mean", "weighted", "vote", "stacking"]
    pd.testing.assert_frame_equal(combined.filter(joined.columns), joined)
    assert ((combined[[*ENSEMBLES]] >= 0) & (combined[[*ENSEMBLES]] <= 1)).to_numpy().all()
    np.testing.assert_allclose(combined["mean"], joined[WINDOWS].mean(axis=1), atol=1e-15)


def test_an_ensemble_of_one_ranks_as_its_member(members: Members) -> None:
    combined = ensemble(join({"30m": members["30m"]}), ["30m"])
    for name in ("mean", "weighted"):
        np.testing.assert_array_equal(combined[name], combined["30m"])
    by_member = combined.sort_values("30m")
    assert by_member["stacking"].is_monotonic_increasing


def altered(joined: pd.DataFrame, rows: Any, columns: list[str]) -> pd.DataFrame:
    """The same table with other probabilities, returns and labels in some rows."""
    changed = joined.copy()
    changed.loc[rows, columns] = 1 - changed.loc[rows, columns]
    changed.loc[rows, "forward_return"] *= -1
    changed.loc[rows, "label"] = 1 - changed.loc[rows, "label"]
    return changed


MODELS = {"15m": 0.05, "30m": 0.10, "60m": -0.02, "05m": 0.08}


@pytest.mark.parametrize(
    ("symbols", "folds", "seeds"), [(1, (None,), 2), (3, (None,), 1), (2, (0, 1), 2)]
)
def test_what_is_fitted_never_sees_a_test_row(
    predictions: Make, symbols: int, folds: tuple[int | None, ...], seeds: int
) -> None:
    """Means of seeds, all ensembles, two stages: what is altered in some test rows stays there."""
    runs = {
        model: [
            predictions(40, window=model, seed=seed, fold=fold, skill=skill, symbol=f"S{number}")
            for seed in range(seeds)
            for fold in folds
            for number in range(symbols)
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
    for name in ("mean", "weighted", "vote", "stacking", TWO_STAGE):
        assert not np.allclose(after.loc[some, name], before.loc[some, name])


def combined(runs: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """All that is made of a study's runs, the last model being its baseline."""
    joined = join({model: average_seeds(frames) for model, frames in runs.items()})
    return two_stage(ensemble(joined, WINDOWS), [*runs][-1], WINDOWS)


@pytest.mark.parametrize("method", ["weighted", "stacking"])
def test_what_is_fitted_is_fitted_on_labelled_validation_rows(
    members: Members, method: str
) -> None:
    joined = join(members)
    val, neutral = joined["split"].eq("val"), joined["label"].isna()
    fit, combine = ENSEMBLES[method].fit, ENSEMBLES[method].combine
    assert fit is not None
    rows = (val & ~neutral).to_numpy()
    parameters = fit(
        joined[WINDOWS].to_numpy()[rows],
        joined["label"].to_numpy(dtype=np.int8, na_value=-1)[rows],
    )
    expected = combine(joined[WINDOWS].to_numpy(), parameters)
    np.testing.assert_allclose(ensemble(joined, WINDOWS, [method])[method], expected, atol=1e-15)


@pytest.mark.parametrize("method", ENSEMBLES)
def test_a_row_alone_is_combined_as_among_others_to_the_last_bit(
    predictions: Make, method: str
) -> None:
    names = [f"{span}m" for span in range(15, 27)]  # more than a sum is unrolled for
    joined = join({name: predictions(60, window=name) for name in names})
    together = ensemble(joined, names, [method])[method].to_numpy()
    combine = fitted(joined, names, [method])[method]
    p = joined[names].to_numpy()
    alone = np.concatenate([combine(np.array([list(row)])) for row in p])
    assert alone.tobytes() == together.tobytes()


@pytest.mark.parametrize("method", ENSEMBLES)
def test_each_fold_is_fitted_alone(predictions: Make, method: str) -> None:
    folds = {
        name: pd.concat([predictions(100, window=name, fold=fold) for fold in (0, 1)])
        for name in WINDOWS
    }
    joined = join(folds)
    second = joined["fold"] == 1
    before = ensemble(joined, WINDOWS, [method])[method]
    after = ensemble(altered(joined, second, WINDOWS), WINDOWS, [method])[method]
    np.testing.assert_array_equal(after[~second], before[~second])
    assert not np.allclose(after[second], before[second])
    alone = ensemble(joined.query("fold == 1").reset_index(drop=True), WINDOWS, [method])[method]
    np.testing.assert_array_equal(before[second], alone)


@pytest.mark.parametrize("method", ["weighted", "stacking"])
@pytest.mark.parametrize(("label", "found"), [(1, "20 labelled"), (None, "0 labelled")])
def test_validation_rows_of_one_class_are_refused(
    predictions: Make, method: str, label: int | None, found: str
) -> None:
    frame = predictions(fold=1)
    frame.loc[frame["split"] == "val", "label"] = pd.NA if label is None else label
    joined = join({"15m": frame})
    with pytest.raises(PredictionsError) as error:
        ensemble(joined, ["15m"], ["mean", method])
    assert error.value.found.startswith(f"{method} has {found} validation rows and ")
    assert "fold 1" in error.value.found
    assert error.value.instead.endswith("or use `ensemble.methods=[mean,vote]`")
    assert set(ensemble(joined, ["15m"], ["mean", "vote"]).columns) >= {"mean", "vote"}


def test_unknown_names_are_refused_with_the_known_ones(members: Members) -> None:
    joined = join(members)
    with pytest.raises(ConfigError, match="no ensemble called median; expected some of mean, wei"):
        ensemble(joined, WINDOWS, ["mean", "median"])
    with pytest.raises(ConfigError, match="no member called 5m; expected some of 15m, 30m, 60m"):
        ensemble(joined, ["15m", "5m"])
    with pytest.raises(ConfigError, match="no member is named"):
        ensemble(joined, [])


# --- two stages ------------------------------------------------------------------------------


def with_baseline(predictions: Make, n: int = 400, folds: tuple[int | None, ...] = (None,)) -> Any:
    """Three windows and a baseline side by side, in some folds."""
    models = {"15m": 0.05, "30m": 0.10, "60m": -0.02, "05m": 0.08}
    joined = join(
        {
            name: pd.concat([predictions(n, window=name, fold=fold, skill=skill) for fold in folds])
            for name, skill in models.items()
        }
    )
    return joined.rename(columns={"05m": "xgboost"})


def in_two_stages(joined: pd.DataFrame) -> np.ndarray:
    return two_stage(joined, "xgboost", WINDOWS)[TWO_STAGE].to_numpy()


def test_two_stages_are_scikit_learns_logistic_regression_on_log_odds(predictions: Make) -> None:
    joined = with_baseline(predictions)
    p = joined[["xgboost", *WINDOWS]].clip(1e-6, 1 - 1e-6)
    odds = np.log(p / (1 - p)).to_numpy()
    fitted_on = ((joined["split"] == "val") & joined["label"].notna()).to_numpy()
    label = joined["label"][fitted_on].astype(int)
    peer = LogisticRegression().fit(odds[fitted_on], label)
    np.testing.assert_allclose(in_two_stages(joined), peer.predict_proba(odds)[:, 1], atol=1e-12)


def test_two_stages_add_one_column_and_change_none(predictions: Make) -> None:
    joined = with_baseline(predictions)
    added = two_stage(joined, "xgboost", WINDOWS)
    assert list(added.columns) == [*joined.columns, "two_stage"]
    pd.testing.assert_frame_equal(added[joined.columns], joined)


def test_two_stages_know_more_than_the_baseline_where_windows_do(predictions: Make) -> None:
    joined = with_baseline(predictions, 2000)
    test = two_stage(joined, "xgboost", WINDOWS).query("split == 'test'")
    auc = {name: score_rows(test, name)["labelled"]["auc"] for name in ("xgboost", TWO_STAGE)}
    assert auc[TWO_STAGE] > auc["xgboost"]


@pytest.mark.parametrize("kind", ["test", "neutral"])
def test_two_stages_are_fitted_on_labelled_validation_rows_alone(
    predictions: Make, kind: str
) -> None:
    joined = with_baseline(predictions)
    val, neutral = joined["split"] == "val", joined["label"].isna()
    rows = (val & neutral) if kind == "neutral" else ~val
    assert rows.any()
    before = in_two_stages(joined)
    after = in_two_stages(altered(joined, rows, ["xgboost", *WINDOWS]))
    np.testing.assert_array_equal(after[~rows], before[~rows])
    assert not np.allclose(after[rows], before[rows])
    fitted_on = val & ~neutral
    otherwise = in_two_stages(altered(joined, fitted_on, ["xgboost"]))
    assert not np.allclose(otherwise[~fitted_on], before[~fitted_on])


def test_two_stages_are_fitted_fold_by_fold(predictions: Make) -> None:
    joined = with_baseline(predictions, 100, folds=(0, 1))
    second = joined["fold"] == 1
    before = in_two_stages(joined)
    after = in_two_stages(altered(joined, second, ["xgboost", *WINDOWS]))
    np.testing.assert_array_equal(after[~second], before[~second])
    alone = joined[second].reset_index(drop=True)
    np.testing.assert_array_equal(before[second], in_two_stages(alone))


def test_two_stages_of_an_unknown_model_or_one_class_are_refused(predictions: Make) -> None:
    joined = with_baseline(predictions, 40)
    with pytest.raises(ConfigError, match="no member called lightgbm"):
        two_stage(joined, "lightgbm", WINDOWS)
    one_class = joined.assign(label=pd.array([1] * len(joined), dtype="Int8"))
    with pytest.raises(PredictionsError, match="20 labelled validation rows and 1 of two classes"):
        two_stage(one_class, "xgboost", WINDOWS)


def test_a_member_must_not_be_called_two_stage(predictions: Make) -> None:
    with pytest.raises(ConfigError, match="^members are named two_stage; "):
        join({TWO_STAGE: predictions()})
