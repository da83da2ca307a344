"""The baseline: gradient-boosted trees on a table of features.

Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD, 2016.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray

from gafcnn.atomic_io import write_bytes
from gafcnn.data.samples import LabelledSamples, Part
from gafcnn.errors import LearningError
from gafcnn.models.class_weights import ClassWeights, class_weights

_DIRECTION = {"objective": "binary:logistic", "eval_metric": "logloss"}
_CLASSES = {"objective": "multi:softprob", "eval_metric": "mlogloss"}

# XGBoost takes no brackets in a name
_OUTER, _INNER = str.maketrans("()", "[]"), str.maketrans("[]", "()")


@dataclass(frozen=True)
class Baseline:
    """Trees that give the probability of up, or of each class, from a row of features.

    Attributes:
        booster: The trees, those after the best round included.
        best: The round, from 0, with the least log loss on validation; predictions end there.
    """

    booster: xgboost.Booster
    best: int

    @classmethod
    def fit(
        cls,
        features: pd.DataFrame,
        samples: LabelledSamples,
        *,
        rounds: int = 3000,
        patience: int = 100,
        seed: int = 0,
        weights: ClassWeights = None,
        extra: tuple[pd.DataFrame, NDArray[np.int8]] | None = None,
        **trees: Any,
    ) -> Self:
        """Grow trees on labelled training samples until validation gains no more.

        Args:
            features: A row per sample, shape (n, features); NaN is a value that is not known.
            samples: Labels and split of the same n samples.
            rounds: At most how many trees.
            patience: Rounds without a lower log loss on labelled validation samples after which
                to stop.
            seed: Seed of the rows and columns that each tree is shown.
            weights: What samples of each class count, see `class_weights`.
            extra: Further training rows: their features, and their labels of shape (m,).
            **trees: XGBoost's parameters, such as `max_depth`.

        Raises:
            LearningError: XGBoost refuses a parameter, a part lacks what can be learned from, or
                weights are not of these classes.
        """
        classes = len(samples.classes)
        tables = {part: _table(features, samples, part) for part in ("train", "val")}
        if extra is not None:
            ours, label = tables["train"]
            joined = pd.concat([ours, extra[0]], ignore_index=True)
            tables["train"] = joined, np.concatenate([label, extra[1]])
        counts = np.bincount(tables["train"][1], minlength=classes)
        counted = class_weights(weights, samples.classes, counts)
        train, val = (_matrix(*table, counted) for table in tables.values())
        fixed = _DIRECTION if classes == 2 else _CLASSES | {"num_class": classes}
        with _refused_parameters():
            booster = xgboost.train(
                {
                    "tree_method": "hist",
                    **fixed,
                    **trees,
                    "seed": seed,
                    "validate_parameters": True,
                },
                train,
                rounds,
                evals=[(val, "val")],
                early_stopping_rounds=patience,
                verbose_eval=False,
            )
        return cls(booster, booster.best_iteration)

    def predict(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """P(up) of each row: shape (n,), float64; of several classes (n, classes).

        Raises:
            LearningError: The features are not those that the trees were grown on.
        """
        known = [name.translate(_OUTER) for name in self.booster.feature_names or ()]
        if known != list(features.columns):
            strange = sorted(set(known) ^ set(features.columns)) or ["their order"]
            raise LearningError(
                f"the features differ from those of the training in {', '.join(strange[:3])}",
                expected=f"the {len(known)} features that the trees were grown on",
                instead="train the baseline anew with overwrite=true",
            )
        # an array: of a frame XGBoost looks at each column, which takes longer than a row's trees
        data = xgboost.DMatrix(
            features.to_numpy(np.float32), feature_names=[_inner(name) for name in features.columns]
        )
        return self.booster.predict(data, iteration_range=(0, self.best + 1)).astype(np.float64)

    def gains(self) -> pd.Series:
        """What each feature used adds to the training's likelihood, as shares, largest first."""
        found = self.booster.get_score(importance_type="total_gain")
        named = {name.translate(_OUTER): gain for name, gain in found.items()}
        gains = pd.Series(named, dtype=np.float64)
        return (gains / gains.sum()).sort_values(ascending=False)

    def save(self, path: Path) -> None:
        """Write the trees as XGBoost's JSON, whole or not at all; plain data, no code."""
        write_bytes(path, self.booster.save_raw("json"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            LearningError: The file is missing or holds no trees. Of trees that are damaged XGBoost
                sees most, not all: a run's checksums do.
        """
        booster = xgboost.Booster()
        try:
            # XGBoost would end the process on an empty file; an empty object it refuses
            booster.load_model(bytearray(path.read_bytes() or b"{}"))
            best = booster.best_iteration
        # a refusal that quotes bytes that are no text is a UnicodeDecodeError; and an
        # AttributeError is that no best round is named
        except (OSError, xgboost.core.XGBoostError, UnicodeDecodeError, AttributeError) as error:
            raise LearningError(
                f"{path} cannot be read ({_reason(error)})",
                expected="the trees of a finished run of the baseline",
                instead="train the baseline anew with overwrite=true",
            ) from error
        return cls(booster, best)


def _table(
    features: pd.DataFrame, samples: LabelledSamples, part: Part
) -> tuple[pd.DataFrame, NDArray[np.int8]]:
    """Features and labels of a part's labelled samples."""
    positions, classes = samples.labelled(part), samples.classes
    label = samples.label[positions]
    if (there := len(np.unique(label))) < 2:
        number = "two" if len(classes) == 2 else len(classes)
        raise LearningError(
            f"{part} has {len(label)} labelled samples and {there} of {number} classes",
            expected=f"{'both' if len(classes) == 2 else 'several'} classes, {_listed(classes)}",
            instead="take more bars, or larger shares of split",
        )
    return features.iloc[positions], label


def _matrix(
    features: pd.DataFrame, label: NDArray[np.int8], weights: list[float] | None
) -> xgboost.DMatrix:
    weight = None if weights is None else np.array(weights)[label]
    return xgboost.DMatrix(features.rename(columns=_inner), label, weight=weight)


def _inner(name: str) -> str:
    """A feature's name as XGBoost takes it."""
    return name.translate(_INNER)


def _listed(classes: tuple[str, ...]) -> str:
    return "up and down" if len(classes) == 2 else ", ".join(classes)


@contextmanager
def _refused_parameters() -> Iterator[None]:
    """Refuse what XGBoost refuses, and what it would only warn of: a parameter it does not know."""
    reason = ""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            yield
        except xgboost.core.XGBoostError as error:
            reason = _reason(error)
    unused = [str(warning.message) for warning in told if "are not used" in str(warning.message)]
    if unused:
        reason = " ".join(unused[0].split("Parameters:")[-1].split())
    if reason:
        raise LearningError(
            f"XGBoost refuses its parameters ({reason})",
            expected="those that its documentation lists, in their range",
            instead="correct model.trees",
        )


def _reason(error: Exception) -> str:
    """The sentence of an error, without XGBoost's time, place and stack."""
    return re.sub(r"^\[[\d:]+\] \S+ ", "", str(error).splitlines()[0])
