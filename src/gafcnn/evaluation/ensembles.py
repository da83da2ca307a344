"""Several models' predictions, joined to one another, made into one.

What is fitted (weights, stacking) is fitted on labelled validation rows, fold by fold; test rows
are only ever combined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.joining import KEY, OUTCOME, TWO_STAGE, member_column, probabilities
from gafcnn.evaluation.predictions import place, probability_column
from gafcnn.evaluation.statistics import auc

Floats = NDArray[np.float64]
Ints = NDArray[np.int8]

Combine = Callable[[Floats], Floats]
"""From the members' P(up) of shape (n, members) to one of shape (n,), each row by itself."""

CLIP = 1e-6


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
    """Give the mean of the members' probabilities, of shape (n, members) or (n, members, k)."""
    return weighted(p, np.ones(p.shape[1])) / p.shape[1]


def vote(p: Floats) -> Floats:
    """Give the share of members that call up (P > 0.5); a member at exactly 0.5 is half a vote.

    A tie is therefore 0.5. A share is no calibrated probability: unanimous votes are 0 or 1, and
    their log loss is large for it.
    """
    return ((p > 0.5) + 0.5 * (p == 0.5)).mean(axis=1)


def weighted(p: Floats, weights: Floats) -> Floats:
    """Give the weighted mean of the members' probabilities; weights sum to 1.

    Member after member: a matrix product would round a row alone in another way than among others.
    """
    columns = np.moveaxis(p, 1, 0)
    return sum(
        (weight * column for weight, column in zip(weights, columns, strict=True)),
        np.zeros(columns.shape[1:]),
    )


def auc_weights(p: Floats, label: Ints) -> Floats:
    """Weight members by their edge on validation, max(AUC - 0.5, 0); equal where none has any.

    Returns:
        ndarray of shape (members,), summing to 1.
    """
    edge = np.array([max((auc(column, label) or 0.5) - 0.5, 0.0) for column in p.T])
    return edge / edge.sum() if edge.any() else np.full(len(edge), 1 / len(edge))


def stacked(p: Floats, coefficients: Floats) -> Floats:
    """Give the logistic model's probability: intercept first, then one slope per member."""
    score = coefficients[0] + weighted(log_odds(p), coefficients[1:])
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
    combined = joined.assign(**dict.fromkeys(methods, np.nan))
    for _, rows in joined.groupby("fold", dropna=False):
        by_name = fitted(rows, members, methods)
        p = probabilities_of(rows, members)
        for name, combine in by_name.items():
            combined.loc[rows.index, name] = combine(p)
    return combined


def fitted(
    rows: pd.DataFrame, members: Sequence[str], methods: Sequence[str] = tuple(ENSEMBLES)
) -> dict[str, Combine]:
    """How each method combines the members, fitted on one fold's labelled validation rows.

    What a method makes of a row does not depend on the rows beside it, to the last bit.

    Args:
        rows: Of one fold, members side by side (see `join`).
        members: The columns to combine.
        methods: Names of `ENSEMBLES`.

    Raises:
        ConfigError: A method or a member is unknown.
        PredictionsError: The labelled validation rows are not of both classes.
    """
    _check_known("ensemble", methods, ENSEMBLES)
    _check_known("member", members, rows.columns.drop([*KEY, *OUTCOME]))
    p = probabilities_of(rows, members)
    return {name: _fitted(name, p, rows) for name in methods}


def probabilities_of(rows: pd.DataFrame, members: Sequence[str]) -> Floats:
    """The members' P(up): ndarray of shape (n, members)."""
    return rows[list(members)].to_numpy(dtype=np.float64)


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


def mean_of_classes(
    joined: pd.DataFrame, members: Sequence[str], classes: Sequence[str]
) -> pd.DataFrame:
    """Add the mean of the members' probabilities of several classes, as the member `mean`.

    The other ensembles speak of P(up), and are for directions.

    Args:
        joined: Members side by side (see `join`).
        members: Which of them to combine.
        classes: Of their label.
    """
    together = np.stack([probabilities(joined, name, classes) for name in members], axis=1)
    columns = [member_column("mean", probability_column(name)) for name in classes]
    return joined.assign(**dict(zip(columns, mean(together).T, strict=True)))


def _fitted(name: str, p: Floats, rows: pd.DataFrame) -> Combine:
    method = ENSEMBLES[name]
    if method.fit is None:
        return method.combine
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
    return partial(_with, method.combine, method.fit(p[fitted_on], label))


def _with(combine: Callable[..., Floats], parameters: Floats, p: Floats) -> Floats:
    return combine(p, parameters)


def _check_known(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not list(names):
        raise ConfigError(
            f"there is no {kind} called {', '.join(unknown)}" if unknown else f"no {kind} is named",
            expected=f"some of {', '.join(known)}",
            instead=f"leave the {kind} out, or spell it as one of these",
        )
