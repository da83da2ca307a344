"""Several models' predictions, brought together by what they are about, and combined.

Rows meet by symbol, time, fold and split, never by their number. What is fitted (weights,
stacking) is fitted on labelled validation rows, fold by fold; test rows are only ever combined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.forecasts.predictions import COLUMNS, check_predictions, first_row, place
from gafcnn.forecasts.scores import auc

Floats = NDArray[np.float64]
Ints = NDArray[np.int8]

KEY = ("symbol", "time", "fold", "split")
OUTCOME = ("label", "forward_return", "known_at")
TWO_STAGE = "two_stage"
CLIP = 1e-6


# --- one row of each member beside the others' -----------------------------------------------


def join(members: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join the predictions of several models by symbol, time, fold and split.

    Args:
        members: Predictions (see `check_predictions`) by the name of their model; several folds
            of a model are one frame, several seeds are averaged first (see `average_seeds`).

    Returns:
        One row per symbol, fold and time, in that order: the columns of `KEY` and `OUTCOME`, then
        one column of P(up) per member, under its name.

    Raises:
        PredictionsError: A member is no table of predictions, or two members differ in market,
            horizon (`known_at`), `forward_return`, decision times or `label`. Members that are not
            about the same thing cannot be combined, so nothing is dropped to make them fit.
        ConfigError: There are no members, or one has the name of another column.
    """
    _check_names(members)
    tables = {name: _checked(name, frame) for name, frame in members.items()}
    first, *others = tables
    joined = tables[first][[*KEY, *OUTCOME]].assign(**{first: tables[first]["p_up"]})
    for name in others:
        _check_agreement((first, tables[first]), (name, tables[name]))
        column = tables[name][[*KEY]].assign(**{name: tables[name]["p_up"]})
        joined = joined.merge(column, on=list(KEY), validate="one_to_one")
    return joined.sort_values(["symbol", "fold", "time"], ignore_index=True)


def average_seeds(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Make one member of all runs of one window: the mean P(up) over seeds, fold by fold.

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
        p_up=joined[list(by_seed)].mean(axis="columns"),
    )
    return averaged.filter(COLUMNS)


def _check_names(members: Mapping[str, pd.DataFrame]) -> None:
    taken = {*KEY, *OUTCOME, *ENSEMBLES, TWO_STAGE}
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
        return ~np.isclose(a, b, rtol=1e-9, atol=1e-12)
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


# --- four ways to make one probability of several --------------------------------------------


@dataclass(frozen=True)
class Ensemble:
    """How members' probabilities become one.

    Attributes:
        combine: From P(up) of shape (n, members), and the parameters if any, to P(up) (n,).
        fit: From P(up) of shape (n, members) and labels (n,) of validation rows to parameters.
    """

    combine: Callable[..., Floats]
    fit: Callable[[Floats, Ints], Floats] | None = None


def mean(p: Floats) -> Floats:
    """Give the mean of the members' probabilities."""
    return p.mean(axis=1)


def vote(p: Floats) -> Floats:
    """Give the share of members that call up (P > 0.5); a member at exactly 0.5 is half a vote.

    A tie is therefore 0.5. A share is no calibrated probability: unanimous votes are 0 or 1, and
    their log loss is large for it.
    """
    return ((p > 0.5) + 0.5 * (p == 0.5)).mean(axis=1)


def weighted(p: Floats, weights: Floats) -> Floats:
    """Give the weighted mean of the members' probabilities; weights sum to 1."""
    return p @ weights


def auc_weights(p: Floats, label: Ints) -> Floats:
    """Weight members by their edge on validation, max(AUC - 0.5, 0); equal where none has any.

    Returns:
        ndarray of shape (members,), summing to 1.
    """
    edge = np.array([max((auc(column, label) or 0.5) - 0.5, 0.0) for column in p.T])
    return edge / edge.sum() if edge.any() else np.full(len(edge), 1 / len(edge))


def stacked(p: Floats, coefficients: Floats) -> Floats:
    """Give the logistic model's probability: intercept first, then one slope per member."""
    score = coefficients[0] + log_odds(p) @ coefficients[1:]
    # 1 / (1 + exp(-score)), without its overflow
    return np.exp(-np.logaddexp(0, -score))


def stacking_coefficients(p: Floats, label: Ints) -> Floats:
    """Fit a logistic regression (scikit-learn's, L2 with C=1) on the members' log-odds.

    Returns:
        ndarray of shape (1 + members,): the intercept, then one slope per member.
    """
    model = LogisticRegression().fit(log_odds(p), label)
    return np.concatenate([model.intercept_, model.coef_[0]])


def log_odds(p: Floats) -> Floats:
    """ln(p / (1 - p)), with p clipped to [1e-6, 1 - 1e-6]."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    return np.log(clipped / (1 - clipped))


ENSEMBLES = {
    "mean": Ensemble(mean),
    "weighted": Ensemble(weighted, fit=auc_weights),
    "vote": Ensemble(vote),
    "stacking": Ensemble(stacked, fit=stacking_coefficients),
}


def ensemble(
    joined: pd.DataFrame, members: Sequence[str], methods: Sequence[str] = tuple(ENSEMBLES)
) -> pd.DataFrame:
    """Add one column of P(up) per method, for validation and test rows alike.

    `weighted` and `stacking` are fitted on the labelled validation rows of each fold, so their
    scores on validation are in-sample; on test they, like all others, are not.

    Args:
        joined: Members side by side (see `join`).
        members: The columns to combine.
        methods: Names of `ENSEMBLES`; each becomes a column.

    Raises:
        ConfigError: A method or a member is unknown.
        PredictionsError: A fold's labelled validation rows are not of both classes.
    """
    _check_known("ensemble", methods, ENSEMBLES)
    _check_known("member", members, joined.columns.drop([*KEY, *OUTCOME]))
    combined = joined.assign(**dict.fromkeys(methods, np.nan))
    for _, rows in joined.groupby("fold", dropna=False):
        p = rows[list(members)].to_numpy(dtype=np.float64)
        for name in methods:
            combined.loc[rows.index, name] = _combine(name, p, rows)
    return combined


def two_stage(joined: pd.DataFrame, baseline: str, members: Sequence[str]) -> pd.DataFrame:
    """Add the column `two_stage`: the windows join the baseline in a second model.

    Stage one is the baseline's P(up) (market conditions, technical signals). Stage two is a
    logistic model over its log-odds and the members', which calibrates by its intercept and slopes;
    like `stacking`, of which it is a case, it is fitted on the labelled validation rows of each
    fold alone.

    Args:
        joined: Baseline and members side by side (see `join`).
        baseline: The column of stage one.
        members: The columns that stage two adds.

    Raises:
        ConfigError: A column is unknown.
        PredictionsError: A fold's labelled validation rows are not of both classes.
    """
    stacking = ensemble(joined, [baseline, *members], ["stacking"])["stacking"]
    return joined.assign(**{TWO_STAGE: stacking})


def _combine(name: str, p: Floats, rows: pd.DataFrame) -> Floats:
    method = ENSEMBLES[name]
    if method.fit is None:
        return method.combine(p)
    fitted_on = ((rows["split"] == "val") & rows["label"].notna()).to_numpy()
    label = rows["label"].to_numpy(dtype=np.int8, na_value=-1)[fitted_on]
    if len(np.unique(label)) < 2:
        unfitted = ",".join(known for known, one in ENSEMBLES.items() if not one.fit)
        raise PredictionsError(
            f"{name} has {len(label):,} labelled validation rows and {len(np.unique(label))} "
            f"of two classes among them ({place(rows.iloc[0])} and later)",
            expected="labelled validation rows of both classes to fit it on",
            instead="validate on more of the bars (`split.val=0.2`), or use "
            f"`ensemble.methods=[{unfitted}]`",
        )
    return method.combine(p, method.fit(p[fitted_on], label))


def _check_known(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not list(names):
        raise ConfigError(
            f"there is no {kind} called {', '.join(unknown)}" if unknown else f"no {kind} is named",
            expected=f"some of {', '.join(known)}",
            instead=f"leave the {kind} out, or spell it as one of these",
        )
