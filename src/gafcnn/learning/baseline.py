"""The baseline: gradient-boosted trees on technical indicators.

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

from gafcnn.errors import LearningError
from gafcnn.files import replacing
from gafcnn.samples import LabelledSamples

_FIXED = {"objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist"}


@dataclass(frozen=True)
class Baseline:
    """Trees that give the probability of up from a row of features.

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
            **trees: XGBoost's parameters, such as `max_depth`.

        Raises:
            LearningError: XGBoost refuses a parameter.
        """
        train, val = (_matrix(features, samples, part) for part in ("train", "val"))
        with _refused_parameters():
            booster = xgboost.train(
                _FIXED | trees | {"seed": seed, "validate_parameters": True},
                train,
                rounds,
                evals=[(val, "val")],
                early_stopping_rounds=patience,
                verbose_eval=False,
            )
        return cls(booster, booster.best_iteration)

    def predict(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """P(up) of each row: shape (n,), float64.

        Raises:
            LearningError: The features are not those that the trees were grown on.
        """
        if (known := self.booster.feature_names) != list(features.columns):
            strange = sorted(set(known or ()) ^ set(features.columns)) or ["their order"]
            raise LearningError(
                f"the features differ from those of the training in {', '.join(strange[:3])}",
                expected=f"the {len(known or ())} features that the trees were grown on",
                instead="train the baseline anew with overwrite=true",
            )
        data = xgboost.DMatrix(features)
        return self.booster.predict(data, iteration_range=(0, self.best + 1)).astype(np.float64)

    def gains(self) -> pd.Series:
        """What each feature used adds to the training's likelihood, as shares, largest first."""
        gains = pd.Series(self.booster.get_score(importance_type="total_gain"), dtype=np.float64)
        return (gains / gains.sum()).sort_values(ascending=False)

    def save(self, path: Path) -> None:
        """Write the trees as XGBoost's JSON, whole or not at all; plain data, no code."""
        with replacing(path) as beside:
            beside.write_bytes(bytes(self.booster.save_raw("json")))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            LearningError: The file is missing or holds no trees.
        """
        booster = xgboost.Booster()
        try:
            # XGBoost would end the process on an empty file; an empty object it refuses
            booster.load_model(bytearray(path.read_bytes() or b"{}"))
        except (OSError, xgboost.core.XGBoostError) as error:
            raise LearningError(
                f"{path} cannot be read ({_reason(error)})",
                expected="the trees of a finished run of the baseline",
                instead="train the baseline anew with overwrite=true",
            ) from error
        return cls(booster, booster.best_iteration)


def _matrix(features: pd.DataFrame, samples: LabelledSamples, part: Any) -> xgboost.DMatrix:
    positions = samples.labelled(part)
    label = samples.label[positions]
    if len(np.unique(label)) < 2:
        raise LearningError(
            f"{part} has {len(label)} labelled samples and {len(np.unique(label))} of two classes",
            expected="both classes, up and down",
            instead="take more bars, or larger shares of split",
        )
    return xgboost.DMatrix(features.iloc[positions], label)


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
