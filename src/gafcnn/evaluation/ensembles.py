"""Ensembles: several models' predictions combined into one.

What is fitted (weights, stacking) is fitted on labelled validation rows, fold by fold; test rows
are only combined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.errors import ConfigError, PredictionsError
from gafcnn.evaluation.joining import is_ranking, join, member_columns, probabilities
from gafcnn.evaluation.predictions import KEY, OUTCOME, folds_of, place
from gafcnn.evaluation.statistics import Floats, auc
from gafcnn.registry import Registry

Labels = NDArray[np.int8]
F = Callable[..., Floats]

CLIP = 1e-6
ENSEMBLE = "mean"  # that targets and verdict refer to; nothing in it is fitted
TWO_STAGE = "two_stage"  # on top of a baseline: `stacking` of the baseline and the members


class Ensemble(NamedTuple):
    """A way to combine probabilities, see `register_ensemble`."""

    compute: F
    fit: Callable[[Floats, Labels], Any] | None = None


@dataclass(frozen=True)
class FittedEnsemble:
    """An ensemble that is ready to combine its members."""

    method: str  # name under which it is registered
    members: Sequence[str]  # models that it combines
    parameters: Any = None  # result of the fit; None for an ensemble that fits nothing

    def __call__(self, p: Floats) -> Floats:
        """Combine P(up) of shape (n, members), or for `mean` of classes (n, members, classes).

        Raises:
            PredictionsError: The ensemble does not return one probability per row.
        """
        fitted = () if self.parameters is None else (self.parameters,)
        found = np.asarray(ENSEMBLES[self.method].compute(p, *fitted), dtype=np.float64)
        # rounding may exceed 1 by the last bit
        if found.shape != p[:, 0].shape or not ((found > -CLIP) & (found < 1 + CLIP)).all():
            raise PredictionsError(
                f"the ensemble {self.method} returned an array of shape {found.shape} from "
                f"{found.min(initial=1):g} to {found.max(initial=0):g}",
                expected=f"probabilities of shape {p[:, 0].shape}",
                instead="let it return one number in [0, 1] for each row of p",
            )
        return np.clip(found, 0.0, 1.0)


ENSEMBLES: Registry[Ensemble] = Registry("ensemble")


def register_ensemble(
    name: str, fit: Callable[[Floats, Labels], Any] | None = None
) -> Callable[[F], F]:
    """Return a decorator that registers a function as an ensemble.

        @gc.register_ensemble("median")
        def median(p):
            return np.median(p, axis=1)

    The function takes P(up) of shape (n, members), and the fitted parameters if there is a `fit`;
    it returns P(up) of shape (n,), each row from the same row alone. `fit` returns them, given
    P(up), shape (n, members), and labels (0 or 1), shape (n,), of validation rows.
    """

    def register(compute: F) -> F:
        ENSEMBLES.register(name)(Ensemble(compute, fit))
        return compute

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
    """Return the intercept, then a slope per member, of a logistic regression: (1 + members,).

    It is scikit-learn's, L2 with C=1, on the members' log-odds.
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


def mean_rank(scores: Floats, times: Any) -> Floats:
    """Return the mean of the members' quantiles among the rows of a time: shape (n,), -0.5 to 0.5.

    Scores of a ranking, shape (n, members), have no unit: only their orders can be averaged.
    """
    by_time = pd.DataFrame(scores, index=pd.Index(times)).groupby(level=0)
    quantiles = (by_time.rank() - 0.5) / by_time.transform("count") - 0.5
    return quantiles.mean(axis="columns").to_numpy(np.float64)


def combine(
    joined: pd.DataFrame,
    members: Sequence[str],
    methods: Sequence[str],
    baseline: str | None = None,
    classes: Sequence[str] = (),
) -> tuple[pd.DataFrame, list[str], dict[str, FittedEnsemble]]:
    """Add ensembles of the members, and `two_stage` of the baseline and the members.

    A single member is not combined. The only ensemble of several classes is `mean`; `classes` is ()
    for P(up). `two_stage` among the methods needs a baseline. Of a ranking, both are the
    `mean_rank` of their members, in which nothing is fitted. `joined` has the models side by side
    (see `join`).

    Returns:
        The table with a column per ensemble; the names of models and ensembles, in the order in
        which they are shown; and the ensembles of the last fold, in the same order. Errors are
        those of `ensemble`.
    """
    wanted = [name for name in methods if name != TWO_STAGE] if len(members) > 1 else []
    if classes or is_ranking(joined):
        wanted = [ENSEMBLE] if wanted else []
    of = dict.fromkeys(wanted, members)
    names = [*members, *wanted]
    if baseline is not None:
        names.append(baseline)
        if TWO_STAGE in methods and members and not classes:
            names.append(TWO_STAGE)
            of[TWO_STAGE] = [baseline, *members]
    table, fitted = _add(joined, of, classes)
    return table, names, fitted


def ensemble(
    models: pd.DataFrame | Mapping[str, pd.DataFrame],
    members: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Add one column of P(up) per ensemble to the models side by side (see `join`).

    `weighted` and `stacking` are fitted on the labelled validation rows of each fold, so their
    results on validation are in-sample; those on test are out of sample, as for all ensembles. The
    only ensemble of scores of a ranking is `mean` (see `mean_rank`).

    Args:
        models: Predictions tables by the name of their model, or the result of `join`.
        members: Models to combine; by default all.
        methods: Names of ensembles; by default all that are registered. Each becomes a column.

    Raises:
        ConfigError: An ensemble or a member is unknown, or a column has the ensemble's name.
        PredictionsError: The tables do not match, or a fold's labelled validation has one class.
    """
    joined = models if isinstance(models, pd.DataFrame) else join(models)
    known = [*joined.columns.drop([*KEY, *OUTCOME])]
    members = known if members is None else members
    if not members or not set(members) <= set(known):
        found = f"the members are {', '.join(members) or 'none'}"
        expected, instead = f"some of {', '.join(known)}", "correct the names"
        raise ConfigError(found, expected=expected, instead=instead)
    ranking = is_ranking(joined)
    if methods is None:
        methods = [ENSEMBLE] if ranking else [*ENSEMBLES]
    if ranking and set(methods) - {ENSEMBLE}:
        raise ConfigError(
            f"the methods are {', '.join(methods)}",
            expected="mean, the only ensemble of scores of a ranking",
            instead="leave the others out, which combine probabilities",
        )
    return _add(joined, dict.fromkeys(methods, members))[0]


def fit_ensemble(rows: pd.DataFrame, name: str, members: Sequence[str]) -> FittedEnsemble:
    """Fit an ensemble on the labelled validation rows of one fold, where no member is missing."""
    method = "stacking" if name == TWO_STAGE else name
    fit = ENSEMBLES[method].fit
    if fit is None:
        return FittedEnsemble(method, members)
    val = rows.loc[rows["split"] == "val"].dropna(subset=["label", *members])
    label = val["label"].to_numpy(dtype=np.int8)
    if len(np.unique(label)) < 2:
        free = [other for other, one in ENSEMBLES.items() if one.fit is None]
        raise PredictionsError(
            f"{name} has {len(label):,} labelled validation rows, not of two classes "
            f"({place(rows.iloc[0])} and later)",
            expected="labelled validation rows of both classes to fit on",
            instead="use more bars for validation (split.val=0.2), or only ensembles that fit "
            f"nothing, ensemble.methods=[{','.join(free)}]",
        )
    return FittedEnsemble(method, members, fit(val[[*members]].to_numpy(np.float64), label))


def _add(
    joined: pd.DataFrame, of: Mapping[str, Sequence[str]], classes: Sequence[str] = ()
) -> tuple[pd.DataFrame, dict[str, FittedEnsemble]]:
    """Add ensembles of the given members; NaN where a member has no prediction."""
    columns = {name: member_columns(name, classes) for name in of}
    if taken := [name for name in of if columns[name][0] in joined.columns]:
        raise ConfigError(
            f"a model is named {', '.join(taken)}, as an ensemble is",
            expected="another name",
            instead="rename the model",
        )
    fitted: dict[str, FittedEnsemble] = {}
    found = {name: np.full((len(joined), len(columns[name])), np.nan) for name in of}
    for inside in folds_of(joined).values():
        rows = joined.loc[inside]
        for name, members in of.items():
            p = np.stack([probabilities(rows, member, classes) for member in members], axis=1)
            complete = ~np.isnan(p).any(axis=(1, 2))
            if is_ranking(joined):
                combined = mean_rank(p[complete, :, 0], rows["time"][complete])
            else:
                fitted[name] = fit_ensemble(rows, name, members)
                combined = fitted[name](p[complete] if classes else p[complete, :, 0])
            at = np.flatnonzero(inside)[complete]
            found[name][at] = combined.reshape(len(at), -1)
    for name, values in found.items():
        joined = joined.assign(**dict(zip(columns[name], values.T, strict=True)))
    return joined, fitted
