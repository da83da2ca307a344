"""Ensembles: several models' predictions combined into one.

What is fitted (weights, stacking) is fitted on labelled validation rows, fold by fold; test rows
are only combined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.labels import NULL
from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.joining import (
    TWO_STAGE,
    join,
    member_column,
    probabilities,
)
from gafcnn.evaluation.predictions import KEY, OUTCOME, place, probability_column
from gafcnn.evaluation.statistics import auc
from gafcnn.registry import Registry

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
F = Callable[..., Floats]

CLIP = 1e-6


@dataclass(frozen=True)
class Ensemble:
    """A way to combine probabilities, see `register_ensemble`."""

    combine: F
    fit: Callable[[Floats, Labels], Any] | None = None

    def __post_init__(self) -> None:
        # the registry lets only the same module replace a name
        object.__setattr__(self, "__module__", self.combine.__module__)


@dataclass(frozen=True)
class FittedEnsemble:
    """An ensemble that is ready to combine: called with P(up) of shape (n, members)."""

    combine: F  # function of P(up) and the parameters, if any
    parameters: Any  # result of the fit; None for an ensemble that fits nothing
    name: str  # name of the ensemble

    def __call__(self, p: Floats) -> Floats:
        """Return P(up) of shape (n,).

        Raises:
            PredictionsError: The ensemble does not return one probability per row.
        """
        fitted = () if self.parameters is None else (self.parameters,)
        found = np.asarray(self.combine(p, *fitted), dtype=np.float64)
        # rounding may exceed 1 by the last bit
        if found.shape != p.shape[:1] or not ((found > -CLIP) & (found < 1 + CLIP)).all():
            raise PredictionsError(
                f"the ensemble {self.name} returned an array of shape {found.shape} from "
                f"{found.min(initial=1):g} to {found.max(initial=0):g}",
                expected=f"probabilities of shape {p.shape[:1]}",
                instead="let it return one number in [0, 1] for each row of p",
            )
        return np.clip(found, 0.0, 1.0)


ENSEMBLES: Registry[Ensemble] = Registry("ensemble", "ensemble.methods")


def register_ensemble(
    name: str, fit: Callable[[Floats, Labels], Any] | None = None
) -> Callable[[F], F]:
    """Return a decorator that registers a function as an ensemble.

        @gc.register_ensemble("median")
        def median(p):
            return np.median(p, axis=1)

    The function takes P(up) of shape (n, members), and the fitted parameters if there is a `fit`;
    it returns P(up) of shape (n,), each row from the same row alone.

    Args:
        name: Name of the ensemble.
        fit: Function of P(up), shape (n, members), and labels (0 or 1), shape (n,), of validation
            rows; it returns the parameters.
    """

    def register(combine: F) -> F:
        ENSEMBLES.register(name)(Ensemble(combine, fit))
        return combine

    return register


@register_ensemble("mean")
def mean(p: Floats) -> Floats:
    """Return the mean of the members' probabilities, shape (n, members) or (n, members, k)."""
    return weighted(p, np.ones(p.shape[1])) / p.shape[1]


def auc_weights(p: Floats, label: Labels) -> Floats:
    """Return weights by max(AUC - 0.5, 0) on validation: (members,), sum 1; equal if all are 0."""
    edge = np.array([max((auc(column, label) or 0.5) - 0.5, 0.0) for column in p.T])
    return edge / edge.sum() if edge.any() else np.full(len(edge), 1 / len(edge))


@register_ensemble("weighted", fit=auc_weights)
def weighted(p: Floats, weights: Floats) -> Floats:
    """Return the weighted mean of the members' probabilities; weights sum to 1."""
    # not a matrix product, which rounds a single row differently than the same row among others
    columns = np.moveaxis(p, 1, 0)
    return sum(
        (weight * column for weight, column in zip(weights, columns, strict=True)),
        np.zeros(columns.shape[1:]),
    )


@register_ensemble("vote")
def vote(p: Floats) -> Floats:
    """Return the share of members that predict up (P > 0.5); exactly 0.5 is half a vote.

    The share is not a calibrated probability: unanimous votes are 0 or 1, so the log loss is large.
    """
    return ((p > 0.5) + 0.5 * (p == 0.5)).mean(axis=1)


def stacking_coefficients(p: Floats, label: Labels) -> Floats:
    """Fit a logistic regression (scikit-learn's, L2 with C=1) on the members' log-odds.

    Returns:
        ndarray of shape (1 + members,): the intercept, then one slope per member.
    """
    from sklearn.linear_model import LogisticRegression  # takes most of a second to import

    model = LogisticRegression().fit(log_odds(p), label)
    return np.concatenate([model.intercept_, model.coef_[0]])


@register_ensemble("stacking", fit=stacking_coefficients)
def stacked(p: Floats, coefficients: Floats) -> Floats:
    """Return the logistic model's probability; coefficients are the intercept, then the slopes."""
    score = coefficients[0] + weighted(log_odds(p), coefficients[1:])
    return np.exp(-np.logaddexp(0, -score))  # 1 / (1 + exp(-score)) without overflow


def log_odds(p: Floats) -> Floats:
    """Return ln(p / (1 - p)), with p clipped to [1e-6, 1 - 1e-6]."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    return np.log(clipped / (1 - clipped))


def ensemble(
    models: pd.DataFrame | Mapping[str, pd.DataFrame],
    members: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Add one column of P(up) per ensemble, on validation and test rows.

    `weighted` and `stacking` are fitted on the labelled validation rows of each fold, so their
    results on validation are in-sample; those on test are out of sample, as for all ensembles.

    Args:
        models: Predictions tables by the name of their model, or the result of `join`.
        members: Models to combine; by default all.
        methods: Names of ensembles; by default all that are registered. Each becomes a column.

    Returns:
        The models side by side (see `join`) and the ensembles.

    Raises:
        ConfigError: An ensemble or a member is unknown, or a column has the ensemble's name.
        PredictionsError: The tables do not match, or the labelled validation rows of a fold are not
            of both classes.
    """
    joined = models if isinstance(models, pd.DataFrame) else join(models)
    members = [*joined.columns.drop([*KEY, *OUTCOME])] if members is None else members
    methods = [*ENSEMBLES] if methods is None else methods
    _check_new(joined, methods)
    return joined.assign(**_combined(joined, members, methods))


def two_stage(joined: pd.DataFrame, baseline: str, members: Sequence[str]) -> pd.DataFrame:
    """Add the column `two_stage`: a second model on top of the baseline and the members.

    Stage one is the baseline's P(up). Stage two is a logistic model of its log-odds and the
    members': `stacking`, fitted on the labelled validation rows of each fold.

    Args:
        joined: Baseline and members side by side (see `join`).
        baseline: Column of stage one.
        members: Columns that stage two adds.

    Raises:
        ConfigError: A column is unknown, or a model is named `two_stage`.
        PredictionsError: The labelled validation rows of a fold are not of both classes.
    """
    _check_new(joined, [TWO_STAGE])
    stacking = _combined(joined, [baseline, *members], ["stacking"])["stacking"]
    return joined.assign(**{TWO_STAGE: stacking})


def fit_ensembles(
    rows: pd.DataFrame, members: Sequence[str], methods: Sequence[str]
) -> dict[str, FittedEnsemble]:
    """Fit ensembles on one fold's labelled validation rows.

    Args:
        rows: Rows of one fold, members side by side (see `join`).
        members: Columns to combine.
        methods: Names of ensembles.

    Raises:
        ConfigError: An ensemble or a member is unknown.
        PredictionsError: The labelled validation rows are not of both classes.
    """
    known = [*rows.columns.drop([*KEY, *OUTCOME])]
    unknown = [name for name in members if name not in known]
    if unknown or not members:
        raise ConfigError(
            f"there is no member {', '.join(unknown)}" if unknown else "there are no members",
            expected=f"some of {', '.join(known)}",
            instead="correct the name",
        )
    p = rows[[*members]].to_numpy(dtype=np.float64)
    usable = ((rows["split"] == "val") & rows["label"].notna()).to_numpy() & ~np.isnan(p).any(1)
    label = rows["label"].to_numpy(dtype=np.int8, na_value=NULL)[usable]
    fitted = {}
    for name in methods:
        method = ENSEMBLES[name]
        if method.fit is not None and len(np.unique(label)) < 2:
            free = [other for other, one in ENSEMBLES.items() if one.fit is None]
            raise PredictionsError(
                f"{name} has {len(label):,} labelled validation rows, of {len(np.unique(label))} "
                f"of two classes ({place(rows.iloc[0])} and later)",
                expected="labelled validation rows of both classes to fit on",
                instead="use more bars for validation (split.val=0.2), or only ensembles that fit "
                f"nothing, ensemble.methods=[{','.join(free)}]",
            )
        parameters = None if method.fit is None else method.fit(p[usable], label)
        fitted[name] = FittedEnsemble(method.combine, parameters, name)
    return fitted


def mean_of_classes(
    joined: pd.DataFrame, members: Sequence[str], classes: Sequence[str]
) -> pd.DataFrame:
    """Add the mean of the members' probabilities of several classes, as the member `mean`.

    Args:
        joined: Members side by side (see `join`).
        members: Members to combine.
        classes: Names of the classes.
    """
    together = np.stack([probabilities(joined, name, classes) for name in members], axis=1)
    columns = [member_column("mean", probability_column(name)) for name in classes]
    return joined.assign(**dict(zip(columns, mean(together).T, strict=True)))


def _combined(
    joined: pd.DataFrame, members: Sequence[str], methods: Sequence[str]
) -> dict[str, Floats]:
    """Return P(up) of each method, shape (n,); NaN where a member has no prediction."""
    combined = {name: np.full(len(joined), np.nan) for name in methods}
    fold = joined["fold"].fillna(-1).to_numpy()
    for number in np.unique(fold):
        fitted = fit_ensembles(joined.loc[fold == number], members, methods)
        p = joined[[*members]].to_numpy(dtype=np.float64)
        rows = (fold == number) & ~np.isnan(p).any(axis=1)
        for name, combine in fitted.items():
            combined[name][rows] = combine(p[rows])
    return combined


def _check_new(joined: pd.DataFrame, names: Iterable[str]) -> None:
    taken = [name for name in names if name in joined.columns]
    if taken:
        raise ConfigError(
            f"a model is named {', '.join(taken)}, as an ensemble is",
            expected="another name",
            instead="rename the model",
        )
