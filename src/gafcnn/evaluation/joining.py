"""Predictions of several models side by side, joined by symbol, time, fold and split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.predictions import (
    KEY,
    OUTCOME,
    P_UP,
    SCORE,
    SHARED,
    check_predictions,
    class_columns,
    first_row,
    place,
    probability_columns,
)


def join(members: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join the predictions of several models by symbol, time, fold and split.

    Members are predictions (see `check_predictions`) by the name of their model. Several folds of a
    model are one table; average several seeds first (see `average_seeds`).

    Returns:
        One row per symbol, fold and time, in that order: the columns of `KEY` and `OUTCOME`, then
        one column of P(up) per member, with its name; for several classes one column per member
        and class (see `member_column`).

    Raises:
        PredictionsError: A member is not a predictions table, or two members differ in symbols,
            classes, decision times, `known_at`, `forward_return` or `label`. No row is dropped to
            make members agree; see `join_common` for that.
        ConfigError: There are no members, or one has the name of another column.
    """
    return _side_by_side(members, complete=True)


def join_common(
    members: Mapping[str, pd.DataFrame], notes: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Join predictions of models that do not cover the same rows.

    Test rows that a model lacks are dropped for all; validation rows that it lacks are NaN.

    Returns:
        The table as from `join`, and the notes, with one more per model that lacks rows.

    Raises:
        PredictionsError: The members have no test row in common, or see `join`.
    """
    joined = _side_by_side(members, complete=False)
    is_test, notes, common = joined["split"] == "test", [*notes], joined["split"] == "test"
    for name, frame in members.items():
        has = joined[member_column(name, probability_columns(frame)[0])].notna()
        common &= has
        for part, inside in (("test", is_test), ("validation", ~is_test)):
            if missing := np.count_nonzero(inside & ~has):
                notes.append(
                    f"{name} has no predictions for {missing:,} of {inside.sum():,} {part} rows"
                    + ("; they are left out for all models" if part == "test" else "")
                )
    if not np.any(common):
        raise _disagreement("; ".join(["the models have no test row in common", *notes]))
    return joined.loc[common | ~is_test].reset_index(drop=True), notes


def average_seeds(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the mean probabilities over seeds, fold by fold, as one table; of tables in any order.

    Returns:
        Predictions with one row per symbol, time and fold. Those of a single seed are returned
        unchanged but sorted; a mean over several has `seed` -1.

    Raises:
        PredictionsError: The seeds differ in more than their probabilities (see `join`).
    """
    runs = pd.concat(list(frames), ignore_index=True)
    window, columns = runs["window"].iloc[0], probability_columns(runs)
    by_seed = {f"{window} with seed {seed}": run for seed, run in runs.groupby("seed")}
    joined = join(by_seed)
    means = {
        column: joined[[member_column(name, column) for name in by_seed]].mean(axis="columns")
        for column in columns
    }
    seed = runs["seed"].iloc[0] if len(by_seed) == 1 else -1
    return joined.assign(window=window, seed=seed, **means).filter([*SHARED, *columns])


def as_predictions(
    joined: pd.DataFrame, names: Sequence[str], columns: Sequence[str], classes: Sequence[str]
) -> pd.DataFrame:
    """Return a joined table as predictions: a row per model, symbol, time and fold; seed -1."""
    shared, parts = joined[[*KEY, *OUTCOME]], []
    for name in names:
        p = dict(zip(columns, probabilities(joined, name, classes).T, strict=True))
        parts.append(shared.assign(window=name, seed=-1, **p).dropna(subset=[*columns]))
    return pd.concat(parts, ignore_index=True)


def member_column(name: str, column: str) -> str:
    """Return the name of a member's column in a joined table: `30m`, or `30m.p_star`."""
    return name if column in (P_UP, SCORE) else f"{name}.{column}"


def member_columns(name: str, classes: Sequence[str]) -> list[str]:
    """Return the names of all columns of a member, in the order of the classes; () for P(up)."""
    return [member_column(name, column) for column in class_columns(classes)]


def is_ranking(joined: pd.DataFrame) -> bool:
    """Return whether models have scores of a ranking: only its labels are numbers, not classes."""
    return joined["label"].dtype.kind == "f"


def probabilities(
    joined: pd.DataFrame, name: str, classes: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Return a member's probabilities: ndarray of shape (n, classes), (n, 1) for P(up)."""
    return joined[member_columns(name, classes)].to_numpy(dtype=np.float64)


def _side_by_side(members: Mapping[str, pd.DataFrame], *, complete: bool) -> pd.DataFrame:
    """Join members after a check that they agree and, if `complete`, have the same rows."""
    taken = {*KEY, *OUTCOME}
    if not members or taken & set(members):
        raise ConfigError(
            f"the members are {', '.join(members) or 'none'}",
            expected=f"at least one, with a name other than {', '.join(sorted(taken))}",
            instead="name each table by its model, such as 15m or xgboost",
        )
    for name, frame in members.items():
        windows = check_predictions(frame, name)["window"].unique()
        if len(windows) > 1:
            raise PredictionsError(
                f"{name} holds predictions of several windows, {', '.join(windows)}",
                expected="one window, or other model, per member",
                instead='split it by its column "window"',
            )
    (first, reference), *others = members.items()
    for other, frame in others:
        _check_agreement(first, reference, other, frame, complete=complete)
    rows = pd.concat([frame.filter([*KEY, *OUTCOME]) for frame in members.values()])
    joined = rows.drop_duplicates([*KEY])
    for name, frame in members.items():
        names = {column: member_column(name, column) for column in probability_columns(frame)}
        right = frame.filter([*KEY, *names]).rename(columns=names)
        joined = joined.merge(right, on=[*KEY], how="left", validate="one_to_one")
    return joined.sort_values(["symbol", "fold", "time"], ignore_index=True)


def _check_agreement(
    a: str, ours: pd.DataFrame, b: str, theirs: pd.DataFrame, *, complete: bool
) -> None:
    """Raise an error if two members are about different things; check causes before effects."""
    columns = [", ".join(probability_columns(frame)) for frame in (ours, theirs)]
    if columns[0] != columns[1]:
        raise _disagreement(f"{a} and {b} have different classes, {columns[0]} and {columns[1]}")
    both = ours[[*KEY, *OUTCOME]].merge(
        theirs[[*KEY, *OUTCOME]], on=[*KEY], how="outer", suffixes=("", "_b"), indicator="side"
    )
    shared = (both["side"] == "both").to_numpy()
    for column in ("known_at", "forward_return", "label"):
        if column == "label" and complete and not shared.all():
            counts = both["side"].value_counts()
            raise _disagreement(
                f"{b} lacks {counts['left_only']:,} of the {len(ours):,} decision times of {a}, "
                f"and {a} lacks {counts['right_only']:,} of the {len(theirs):,} of {b}, "
                f"first {place(first_row(both, ~shared))}"
            )
        if column == "label" and columns[0] == SCORE:
            continue  # a target depends on which other symbols a table has
        x, y = both[column], both[f"{column}_b"]
        if column == "forward_return":
            # the last bit of a quotient differs between processors
            same = np.isclose(x, y, rtol=1e-9, atol=1e-12, equal_nan=True)
        else:
            same = (x.eq(y).fillna(value=False) | (x.isna() & y.isna())).to_numpy(dtype=bool)
        if (differ := shared & ~same).any():
            row = first_row(both, differ)
            raise _disagreement(
                f"{a} and {b} disagree on {column} for {differ.sum():,} of {shared.sum():,} shared "
                f"rows, first {place(row)} ({row[column]} and {row[f'{column}_b']})"
            )


def _disagreement(found: str) -> PredictionsError:
    return PredictionsError(
        found,
        expected="the same decision times, folds, splits and labels in all members",
        instead="train and predict all with the same bars, label, split and window.lookback",
    )
