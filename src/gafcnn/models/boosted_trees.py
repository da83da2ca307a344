"""The baseline: gradient-boosted trees on a table of features.

Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD, 2016.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.atomic_io import write_bytes
from gafcnn.data.augmentation import Augmentation, Drawn
from gafcnn.data.indicators import cross_section, indicators
from gafcnn.data.samples import Samples
from gafcnn.data.windows import Window
from gafcnn.errors import LearningError
from gafcnn.models.estimator import DESCRIPTION, ClassWeights, Estimator, Part, reason

TREES = "checkpoints/trees.json"

_MANY = 0.01  # a share of unknown values that is worth a message

DEFAULT_TREES = {
    "max_depth": 4,
    "learning_rate": 0.02,
    "subsample": 0.5,
    "colsample_bytree": 0.3,
    "min_child_weight": 50,
    "reg_lambda": 10,
    "nthread": 0,  # all cores; the result does not depend on their number
}
"""XGBoost's parameters for a weak signal."""

SQUARED_TREES = DEFAULT_TREES | {"min_child_weight": 300}
"""Those for squared errors, in which a row weighs 1, and not p (1 - p) as for log loss."""

# XGBoost does not accept brackets in a name
_OUTER, _INNER = str.maketrans("()", "[]"), str.maketrans("[]", "()")

log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class BoostedTrees(Estimator):
    """Gradient-boosted trees that learn from technical indicators, or from the values of a window.

    Args:
        features: "indicators" (see `gafcnn.data.indicators`), "cross_section" (their ranks among
            all symbols at `t`, see `gafcnn.data.indicators.cross_section`), "window" (the values
            that the images of a window show), or None: cross_section for a ranking, indicators for
            another label that looks ahead, else the window. TA-Lib's patterns are among the
            indicators, so they would leak a label of patterns.
        objective: Of a ranking: "regression" (squared errors), "ranking" (the order of pairs of
            symbols at a time, LambdaMART; Burges, 2010), or None: regression for a continuous
            target, log loss for two classes.
        window: The window whose values are features: a `Window` or a name. It is needed for
            features="window", and so for patterns; indicators ignore it.
        fields: Fields of the window; those of another symbol as "BTCUSDT:close".
        class_weights: None, "balanced" or a list, for a label of several classes.
        rounds: The largest number of trees (of several classes, for each of them).
        patience: Rounds without a better validation (log loss, squared error, or for pairs of
            symbols NDCG) after which training ends.
        trees: XGBoost's parameters; None for `DEFAULT_TREES`, or `SQUARED_TREES`.
        augmentation: An `Augmentation` (or its options) for rare classes; None for none.
        seed: Seed of the rows and columns that each tree sees.
        folder: Folder to write `checkpoints/trees.json` to; None writes nothing.
        name: Name in the predictions table.

    Attributes:
        booster_: The `xgboost.Booster`, with the trees after the best round.
        best_round_: The best round on validation, from 1; predictions use trees up to it.
        classes_: Names of the classes.
        metrics_: Scores on the labelled validation samples, the share of the larger class included.
        facts_: Facts of the training: rounds, best_round, features, gains.
    """

    features: Literal["indicators", "window", "cross_section"] | None = None
    _: KW_ONLY
    objective: Literal["regression", "ranking"] | None = None
    window: Window | str | Mapping[str, Any] | None = None
    fields: Sequence[str] = ("close",)
    class_weights: ClassWeights = None
    rounds: Annotated[int, Field(ge=1, strict=True)] = 3000
    patience: Annotated[int, Field(ge=1, strict=True)] = 100
    trees: Mapping[str, Any] | None = None
    augmentation: Augmentation | Mapping[str, Any] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    folder: str | Path | None = None
    name: str | None = "xgboost"
    booster_: xgboost.Booster = field(init=False)
    best_round_: int = field(init=False)

    _file = TREES

    def fit(self, samples: Samples, y: None = None) -> Self:
        """Grow trees until the validation score stops improving; return the estimator.

        Raises:
            ConfigError: A parameter is invalid.
            LearningError: XGBoost does not accept a parameter, a part lacks classes, or the class
                weights do not fit the label.
        """
        self.check(samples, y)
        looks_ahead = samples.horizon > pd.Timedelta(0)
        self.features_ = self.features or ("indicators" if looks_ahead else "window")
        if self.features is None and samples.task == "ranking":
            self.features_ = "cross_section"
        description = self._describe(samples) | {"features": self.features_}
        drawn, labels, train, weights = self._draw(samples)
        table = self._source(samples, drawn)
        if self.features_ != "window":
            unknown = table.iloc[train].isna().to_numpy().mean()
            if unknown > _MANY:
                log.info(
                    "%s: %.1f %% of the indicators of the training rows are unknown, because there "
                    "are too few bars since a gap, or no volume", self.model_name, 100 * unknown,
                )  # fmt: skip
        val = samples.labelled("val")
        aim = self._aim(samples)
        default = SQUARED_TREES if aim["objective"] == "reg:squarederror" else DEFAULT_TREES
        times = samples.times if self.objective == "ranking" else None
        train_data, val_data = (
            _matrix(table, labels, part, weights, times) for part in (train, val)
        )
        parameters: dict[str, Any] = {"tree_method": "hist", **aim}
        parameters |= default if self.trees is None else self.trees
        parameters |= {"seed": self.seed, "validate_parameters": True}
        with _invalid_parameters():
            booster = xgboost.train(
                parameters,
                train_data,
                self.rounds,
                evals=[(val_data, "val")],
                early_stopping_rounds=self.patience,
                verbose_eval=False,
            )
        self.booster_, self.classes_ = booster, samples.classes
        self.best_round_ = booster.best_iteration + 1
        booster.set_attr(**{DESCRIPTION: json.dumps(description)})
        if self.folder is not None:
            write_bytes(Path(self.folder) / TREES, booster.save_raw("json"))
        self.facts_ = {
            "rounds": booster.num_boosted_rounds(),
            "best_round": self.best_round_,
            "features": train_data.num_col(),
            "gains": self.gains().to_dict(),
        }
        self._score(samples, self._predict(table, val), "rounds")
        return self

    @classmethod
    def _stored(cls, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        booster = xgboost.Booster()
        # XGBoost ends the process on an empty file; on an empty object it raises an error
        booster.load_model(bytearray(path.read_bytes() or b"{}"))
        stored, best = json.loads(booster.attr(DESCRIPTION) or "{}"), booster.best_iteration + 1
        features = stored.get("features", stored["parameters"]["features"])
        return stored, {"booster_": booster, "best_round_": best, "features_": features}

    def gains(self) -> pd.Series:
        """Return the share of each feature in the gain of likelihood, largest first."""
        found = self.booster_.get_score(importance_type="total_gain")
        named = {name.translate(_OUTER): gain for name, gain in found.items()}
        gains = pd.Series(named, dtype=np.float64)
        return (gains / gains.sum()).sort_values(ascending=False)

    def _aim(self, samples: Samples) -> dict[str, Any]:
        if self.objective is not None and samples.task != "ranking":
            raise LearningError(
                f"objective={self.objective} for the classes {', '.join(samples.classes)}",
                expected="a label that ranks symbols",
                instead="leave model.objective out",
            )
        if samples.task == "classification":
            return {"objective": "multi:softprob", "num_class": len(samples.classes)}
        if self.objective == "ranking":
            return {"objective": "rank:pairwise"}
        logistic = samples.classes and self.objective is None
        return {"objective": "binary:logistic" if logistic else "reg:squarederror"}

    def _source(self, samples: Samples, drawn: Sequence[Drawn] = ()) -> pd.DataFrame:
        table: pd.DataFrame = super()._source(samples, drawn)
        if self.features_ == "cross_section":
            return cross_section(table, samples.times)
        return table

    @property
    def _fields(self) -> tuple[str, ...]:
        return tuple(self.fields) if self.features_ == "window" else ()

    def _read(self, parts: Sequence[Part]) -> pd.DataFrame:
        """Return the features at rows of bars, before they are compared with other symbols.

        The values of a window are named `close[-1]` for the point before the last, `close[0]` for
        the last; field by field.
        """
        if self.features_ == "cross_section" and len(parts) < 2:
            raise LearningError(
                "one symbol, for features that are ranks among symbols",
                expected="samples of all symbols that are compared",
                instead="pass samples of several symbols, or use features='indicators'",
            )
        if self.features_ != "window":
            tables = [indicators(bars).iloc[rows] for bars, rows in parts]
            return pd.concat(tables, ignore_index=True)
        values = self._series(parts, self.fields).astype(np.float32)  # as XGBoost reads it
        columns = [f"{field}[{k}]" for field in self.fields for k in range(1 - values.shape[-1], 1)]
        return pd.DataFrame(values.reshape(len(values), -1), columns=columns)

    def _predict(self, source: pd.DataFrame, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        # by name: bars of another source may have volumes that add indicators
        names = [name.translate(_OUTER) for name in self.booster_.feature_names or ()]
        places = source.columns.get_indexer(names)
        if (places < 0).any():
            raise LearningError(
                f"the bars lack the volumes for {names[places.argmin()]}",
                expected="bars with the volumes that the trees were trained with",
                instead="use bars of the same source, or train again",
            )
        data = _table_matrix(source.iloc[positions, places])
        p = self.booster_.predict(data, iteration_range=(0, self.best_round_))
        return p.astype(np.float64)


def _matrix(
    table: pd.DataFrame,
    label: NDArray[Any],
    rows: NDArray[np.int64],
    weights: Sequence[float] | None,
    times: NDArray[np.datetime64] | None,
) -> xgboost.DMatrix:
    """Return labelled rows for XGBoost, weighted by their class.

    With times, for learning to rank, they are in order of time, and labels become quintiles.
    """
    if times is None:
        weight = None if weights is None else np.array(weights)[label[rows]]
        return _table_matrix(table.iloc[rows], label=label[rows], weight=weight)
    rows = rows[np.argsort(times[rows], kind="stable")]
    _, groups = np.unique(times[rows], return_inverse=True)
    share: Any = pd.Series(label[rows]).groupby(groups).rank(pct=True)
    quintile = np.ceil(5 * share.to_numpy()) - 1
    return _table_matrix(table.iloc[rows], label=quintile, qid=groups)


def _table_matrix(table: pd.DataFrame, **more: Any) -> xgboost.DMatrix:
    # an array: XGBoost inspects every column of a frame, longer than it takes to predict
    names = [name.translate(_INNER) for name in table.columns]
    return xgboost.DMatrix(table.to_numpy(np.float32), feature_names=names, **more)


@contextmanager
def _invalid_parameters() -> Iterator[None]:
    """Raise an error for an invalid parameter, and for an unknown one, of which XGBoost warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
            found = [reason(one.message) for one in caught if "are not used" in str(one.message)]
        except xgboost.core.XGBoostError as error:
            found = [reason(error)]
    if found:
        raise LearningError(
            f"XGBoost does not accept its parameters ({found[0]})",
            expected="parameters of its documentation, in their range",
            instead="correct model.trees",
        )
