"""Several models' predictions side by side, brought together by what they are about.

Rows meet by symbol, time, fold and split, never by their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.predictions import (
    P_UP,
    SHARED,
    check_predictions,
    first_row,
    place,
    probability_column,
    probability_columns,
)

KEY = ("symbol", "time", "fold", "split")
OUTCOME = ("label", "forward_return", "known_at")
TWO_STAGE = "two_stage"
RESERVED = ("mean", "weighted", "vote", "stacking", TWO_STAGE)
"""What is made of members, and so the name of none."""


def join(members: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join the predictions of several models by symbol, time, fold and split.

    Args:
        members: Predictions (see `check_predictions`) by the name of their model; several folds
            of a model are one frame, several seeds are averaged first (see `average_seeds`).

    Returns:
        One row per symbol, fold and time, in that order: the columns of `KEY` and `OUTCOME`, then
        one column of P(up) per member, under its name; of several classes one column per member
        and class (see `member_column`).

    Raises:
        PredictionsError: A member is no table of predictions, or two members differ in market,
            classes, horizon (`known_at`), `forward_return`, decision times or `label`. Members that
            are not about the same thing cannot be combined, so nothing is dropped to make them fit.
        ConfigError: There are no members, or one has the name of another column.
    """
    _check_names(members)
    tables = {name: _checked(name, frame) for name, frame in members.items()}
    first, *others = tables
    joined = tables[first][[*KEY, *OUTCOME]].assign(**_columns(first, tables[first]))
    for name in others:
        _check_agreement((first, tables[first]), (name, tables[name]))
        columns = tables[name][[*KEY]].assign(**_columns(name, tables[name]))
        joined = joined.merge(columns, on=list(KEY), validate="one_to_one")
    return joined.sort_values(["symbol", "fold", "time"], ignore_index=True)


def average_seeds(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Make one member of all runs of one window: its mean probabilities over seeds, fold by fold.

    Args:
        frames: Predictions of the window's runs, one frame per seed and fold, in any order.

    Returns:
        Predictions with one row per symbol, time and fold. Runs of one seed are returned as they
        are, put in order; the mean over several seeds has none of its own, and its `seed` is -1.

    Raises:
        PredictionsError: The seeds differ in more than their probabilities (see `join`).
    """
    runs = pd.concat(list(frames), ignore_index=True)
    window = runs["window"].iloc[0]
    by_seed = {f"{window} with seed {seed}": run for seed, run in runs.groupby("seed")}
    joined = join(by_seed)
    averaged = joined.assign(
        window=window,
        seed=runs["seed"].iloc[0] if len(by_seed) == 1 else -1,
        **{
            column: joined[[member_column(name, column) for name in by_seed]].mean(axis="columns")
            for column in probability_columns(runs)
        },
    )
    return averaged.filter([*SHARED, *probability_columns(runs)])


def member_column(name: str, column: str) -> str:
    """Where a member's column of probabilities stands among others': `30m`, `30m.p_none`."""
    return name if column == P_UP else f"{name}.{column}"


def probabilities(joined: pd.DataFrame, name: str, classes: Iterable[str]) -> NDArray[np.float64]:
    """A member's probabilities of several classes: ndarray of shape (n, classes)."""
    columns = [member_column(name, probability_column(one)) for one in classes]
    return joined[columns].to_numpy(dtype=np.float64)


def _columns(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    return {member_column(name, column): frame[column] for column in probability_columns(frame)}


def _check_names(members: Mapping[str, pd.DataFrame]) -> None:
    taken = {*KEY, *OUTCOME, *RESERVED}
    if not members or taken & set(members):
        raise ConfigError(
            f"members are named {', '.join(sorted(taken & set(members))) or 'not at all'}",
            expected=f"at least one member, and none called {', '.join(sorted(taken))}",
            instead="name a member by its window, as in 15m, 30m, 60m",
        )


def _checked(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    windows = check_predictions(frame, name)["window"].unique()
    if len(windows) > 1:
        raise PredictionsError(
            f"{name} holds forecasts of several windows, {','.join(windows)}",
            expected="one window, or other model, per member",
            instead="make each a member of its own, by its name",
        )
    return frame


Member = tuple[str, pd.DataFrame]


def _check_agreement(left: Member, right: Member) -> None:
    """Refuse two members by name where they are about different things, the cause first."""
    (a, ours), (b, theirs) = left, right
    markets = [", ".join(sorted(set(frame["symbol"]))) for frame in (ours, theirs)]
    if markets[0] != markets[1]:
        found = f"{a} and {b} are of different markets, {markets[0]} and {markets[1]}"
        raise _refusal(found, "one market for all members")
    asked = [", ".join(probability_columns(frame)) for frame in (ours, theirs)]
    if asked[0] != asked[1]:
        found = f"{a} and {b} tell of different classes, {asked[0]} and {asked[1]}"
        raise _refusal(found, "one label for all members")
    both = ours[[*KEY, *OUTCOME]].merge(
        theirs[[*KEY, *OUTCOME]], on=list(KEY), how="outer", suffixes=("", "_b"), indicator="side"
    )
    for column in ("known_at", "forward_return"):
        _check_outcome(column, both, left, right)
    _check_times(both, left, right)
    _check_outcome("label", both, left, right)


def _check_outcome(column: str, both: pd.DataFrame, left: Member, right: Member) -> None:
    shared = (both["side"] == "both").to_numpy()
    differ = shared & _differ(both[column], both[f"{column}_b"])
    if not differ.any():
        return
    row = first_row(both, differ)
    values = [_in_words(column, row[name], row["time"]) for name in (column, f"{column}_b")]
    raise _refusal(
        f"{left[0]} and {right[0]} disagree on {column} for {differ.sum():,} of "
        f"{shared.sum():,} shared rows, first {place(row)} ({values[0]} against {values[1]})",
        f"one {'horizon' if column == 'known_at' else column} for all members",
    )


def _check_times(both: pd.DataFrame, left: Member, right: Member) -> None:
    side = both["side"].to_numpy()
    if (side == "both").all():
        return
    raise _refusal(
        f"{right[0]} lacks {(side == 'left_only').sum():,} of the {len(left[1]):,} decision times "
        f"of {left[0]}, and {left[0]} lacks {(side == 'right_only').sum():,} of the "
        f"{len(right[1]):,} of {right[0]}, first {place(first_row(both, side != 'both'))}",
        "the same decision times, folds and splits in all members",
    )


def _differ(a: Any, b: Any) -> NDArray[np.bool_]:
    if a.dtype == np.float64:
        # machines round the last bit of a logarithm or a quotient differently
        return ~np.isclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
    equal = a.eq(b).fillna(value=False) | (a.isna() & b.isna())
    return ~equal.to_numpy(dtype=bool)


def _in_words(column: str, value: Any, time: pd.Timestamp) -> str:
    if column == "known_at":
        return f"+{(value - time) / pd.Timedelta('1min'):g} min"
    return "null" if pd.isna(value) else f"{value:.6g}"


def _refusal(found: str, expected: str) -> PredictionsError:
    return PredictionsError(
        found,
        expected=expected,
        instead="train them with the same market, label and split, in a study of their own",
    )
