"""What networks and boosted trees have in common as scikit-learn estimators."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from gafcnn.data.augmentation import Augmentation, Drawn
from gafcnn.data.bars import interval_of
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.market_columns import with_market
from gafcnn.data.samples import Samples
from gafcnn.data.windows import WindowReader, as_window, decision_rows
from gafcnn.durations import format_duration, parse_duration
from gafcnn.errors import ConfigError, LearningError
from gafcnn.evaluation.predictions import prediction_table
from gafcnn.evaluation.statistics import rank_correlations, score, score_classes
from gafcnn.settings import as_plain, create

ClassWeights: TypeAlias = str | Sequence[float] | None
"""None, "balanced", or a positive number for each class."""

FEW = 100  # labelled validation samples, from which a choice says something
DESCRIPTION = "gafcnn"  # the key of what a stored model says of itself
REMEDY = "give another path, or train again (on the command line with overwrite=true)"

# parameters that say where and how fast a training is computed, not which training it is
ELSEWHERE = (
    "images", "accelerator", "devices", "strategy", "precision", "compile", "loggers", "progress",
    "folder", "data_folder", "offset",
)  # fmt: skip

Part: TypeAlias = tuple[pd.DataFrame, NDArray[np.int64]]
"""Bars, and decision rows in them."""

log = logging.getLogger(__name__)


class Estimator(BaseEstimator):
    """Base of `GafClassifier` and its rivals: predictions of samples and of bars."""

    name: str | None
    window: Any
    seed: int
    seeds: int = 1
    class_weights: ClassWeights
    augmentation: Any
    classes_: tuple[str, ...]
    metrics_: dict[str, Any]
    facts_: dict[str, Any]
    _description: dict[str, Any]
    _file = ""  # of a training, in its folder

    @classmethod
    def load(cls, path: str | Path, **params: Any) -> Self:
        """Load a training from its folder or its file, and set parameters.

        Raises:
            LearningError: The file is missing or damaged. XGBoost notices most damage, not all; the
                checksums of a run notice all.
        """
        path = Path(path) / cls._file if Path(path).is_dir() else Path(path)
        try:
            stored, fitted = cls._stored(path)
            model = cls(**{**stored["parameters"], **params})
            vars(model).update(fitted, classes_=tuple(stored["classes"]), _description=stored)
        except Exception as error:  # zipfile, NumPy and XGBoost raise many kinds of error
            raise LearningError(
                f"{path} cannot be read ({reason(error)})",
                expected="the file of a finished training",
                instead=REMEDY,
            ) from error
        return model

    @classmethod
    def _stored(cls, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the description in a file, and the attributes that were fitted."""
        raise NotImplementedError

    def predict(self, samples: Samples) -> pd.DataFrame:
        """Return the predictions table of all validation and test samples.

        Raises:
            LearningError: The estimator is not fitted, or to other parameters, classes or bars.
        """
        self._check(samples)
        rows = np.concatenate([samples.split.val, samples.split.test])
        p = self.predict_samples(samples, rows)
        return prediction_table(samples, p, self.model_name, self.seed if self.seeds == 1 else -1)

    def predict_proba(
        self,
        X: Samples | pd.DataFrame,  # noqa: N803 - scikit-learn's name
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Return the probability of each class, as scikit-learn does: shape (n, classes).

        `X` are samples, or the bars of one symbol; `rows` are positions of samples, or rows of the
        bars, by default all at which a decision is possible.
        """
        p = (self.predict_samples if isinstance(X, Samples) else self.predict_at)(X, rows)  # pyright: ignore[reportArgumentType]
        return np.stack([1 - p, p], axis=1) if p.ndim == 1 else p

    def predict_samples(
        self, samples: Samples, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Return P(up), or the scores of a ranking, shape (n,); for several classes (n, classes).

        The rows are n positions of samples, by default of all.
        """
        self._check(samples)
        self._check_fitted(samples)
        rows = _among(rows, np.arange(len(samples)), "positions of samples")
        return self._predict(self._source(samples), rows)

    def predict_at(
        self, bars: pd.DataFrame, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Return P(up) at rows of bars, shape (n,); for several classes (n, classes).

        Bars are from `gafcnn.with_market` if a field reads other symbols. The n rows end a gap-free
        `lookback`; by default all that do.
        """
        self._check_fitted(bars)
        lookback = parse_duration("lookback", self.lookback)
        possible = decision_rows(bars, lookback, overnight=self.overnight)
        what = f"rows that end {format_duration(lookback)} without a gap"
        rows = _among(rows, possible, what)
        return self._predict(self._read([(bars, rows)]), np.arange(len(rows)))

    def _source(self, samples: Samples, drawn: Sequence[Drawn] = ()) -> Any:
        """Return what a prediction of any of the samples reads, and then of drawn ones."""
        return self._read(self._parts(samples, drawn))

    def _parts(self, samples: Samples, drawn: Sequence[Drawn] = ()) -> list[Part]:
        """Return bars and rows of each symbol and of what is drawn, with what the fields need."""
        add = partial(with_market, fields=self._fields) if self._fields else dict
        parts = [*zip(add(samples.bars).values(), samples.rows, strict=True)]
        for one in drawn:  # of one symbol
            parts += [(bars, one.rows) for bars in add({samples.symbols[0]: one.bars}).values()]
        return parts

    @property
    def _fields(self) -> tuple[str, ...]:
        """The fields of windows that a prediction reads; () for none."""
        return ()

    def _read(self, parts: Sequence[Part]) -> Any:
        """Return what predictions at these rows read, part after part."""
        raise NotImplementedError

    def _predict(self, source: Any, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _series(self, parts: Sequence[Part], fields: Sequence[str]) -> NDArray[np.float64]:
        """Return the series of the window at rows of bars: shape (n, fields, points)."""
        window = replace(as_window(self.window), lookback=self.lookback)
        return np.concatenate([WindowReader(bars, window, fields)(rows) for bars, rows in parts])

    @property
    def model_name(self) -> str:
        """The name of the model in the predictions table: that of the window by default."""
        return self.name or as_window(self.window).name

    @property
    def lookback(self) -> pd.Timedelta:
        """The gap-free stretch of bars that a prediction needs: that of the samples of `fit`."""
        return parse_duration("", self._description["lookback"])

    @property
    def overnight(self) -> bool:
        """Whether the lookback may span the nights of a trading calendar."""
        return self._description.get("overnight", True)

    def check(self, samples: Samples, y: None = None) -> None:
        """Check the parameters, and that samples can be learned from.

        Raises:
            ConfigError: A parameter is invalid.
            LearningError: A part has labelled samples of fewer than two classes.
        """
        self._check(samples, y)
        for part in ("val", "train") if samples.task != "ranking" else ():
            counts = samples.counts(part)
            if (present := np.count_nonzero(counts)) < 2:
                raise LearningError(
                    f"{part} has samples of {present} of {len(counts)} classes",
                    expected=f"labelled samples of at least two of {', '.join(samples.classes)}",
                    instead="use more bars, larger shares in split, or a shorter lookback "
                    f"(window.lookback): the embargo is {format_duration(samples.embargo)}",
                )

    def _check(self, samples: object, y: object = None) -> None:
        """Check that samples are given, not bars or a table of features and y; and parameters."""
        if y is not None or not isinstance(samples, Samples):
            raise ConfigError(
                f"given a {type(samples).__name__}" + ("" if y is None else " and y"),
                expected="samples alone, which hold bars, labels and the split",
                instead="pass gc.make_samples(bars, label=gc.Direction('15min'))",
            )
        if getattr(self, "window", None) is not None:
            as_window(self.window)
        create(type(self), "", self.get_params(deep=False))

    def _describe(self, samples: Samples) -> dict[str, Any]:
        """Return, and keep, what a stored model needs besides its numbers, as plain data."""
        self._description = {
            "parameters": self._parameters(),
            "classes": list(samples.classes),
            "task": samples.task,
            "lookback": format_duration(samples.lookback),
            "overnight": samples.overnight,
            "interval": format_duration(interval_of(next(iter(samples.bars.values())))),
        }
        return self._description

    def _parameters(self) -> dict[str, Any]:
        """Return the parameters that say which training it is, as plain data."""
        params = self.get_params(deep=False).items()
        return {name: plain(value) for name, value in params if name not in ELSEWHERE}

    def _check_fitted(self, found: Samples | pd.DataFrame) -> None:
        """Check that the model is fitted, with its parameters, to such samples or bars."""
        if not hasattr(self, "classes_"):
            raise LearningError(
                "this model is not fitted",
                expected="a fitted model",
                instead="call fit(samples) first",
            )
        given = self._parameters()
        if isinstance(found, Samples):
            lookback = min(found.lookback, parse_duration("lookback", self.lookback))
            given |= {"classes": list(found.classes), "task": found.task}
            given["lookback"] = format_duration(lookback)
            found = next(iter(found.bars.values()))
        given["interval"] = format_duration(interval_of(found))
        fitted = self._description | self._description["parameters"]
        for name, value in given.items():
            if name not in ("name", "offset") and value != fitted.get(name, value):
                raise LearningError(
                    f"{name} is {value}, and was {fitted[name]} in fit",
                    expected="parameters, classes, bars and lookback as in fit",
                    instead=f"set {name} back, pass samples like those of fit, or call fit again",
                )

    def _draw(
        self, samples: Samples
    ) -> tuple[list[Drawn], NDArray[Any], NDArray[np.int64], list[float] | None]:
        """Draw additional training samples, which come after the others; return them, and labels.

        These are of all samples; then follow the positions of the labelled training samples, and
        the weights of the classes.
        """
        if samples.task == "ranking":
            if self.augmentation is not None or self.class_weights is not None:
                raise LearningError(
                    "augmentation or class_weights for a label of a cross-section",
                    expected="neither, as it has no rare classes",
                    instead="leave augmentation and model.class_weights out",
                )
            return [], samples.label, samples.labelled("train"), None
        drawn, counts = list[Drawn](), samples.counts("train")
        if (source := self.augmentation) is not None:
            if not isinstance(source, Augmentation):
                source = create(Augmentation, "augmentation", source)
            drawn = [part for part in source.draw(samples) if len(part.rows)]
        n, labels, train = len(samples), samples.label, samples.labelled("train")
        if drawn:  # else nothing is copied
            labels = np.concatenate([labels, *(part.label for part in drawn)])
            train = np.concatenate([train, np.arange(n, len(labels), dtype=train.dtype)])
            counts = np.bincount(labels[train], minlength=len(counts))
        if samples.task != "direction":
            log.info(
                "%s training samples without a label are left out, %s are drawn; of each class: %s",
                f"{len(samples.part('train')) - len(train) + len(labels) - n:,}",
                f"{len(labels) - n:,}",
                ", ".join(f"{n:,} {name}" for name, n in zip(samples.classes, counts, strict=True)),
            )
        return drawn, labels, train, class_weights(self.class_weights, samples.classes, counts)

    def _score(self, samples: Samples, p: NDArray[np.float64], unit: str) -> None:
        """Score the labelled validation samples, given their probabilities; log the result."""
        val = samples.labelled("val")
        label = samples.label[val]
        if len(val) < FEW:
            log.warning(
                "validation has only %d labelled samples: what is chosen on them is arbitrary; use "
                "more bars, a larger split.val, or a shorter lookback", len(val)
            )  # fmt: skip
        if samples.task == "ranking":
            times, outcomes = samples.known(val)
            ic = rank_correlations(p, outcomes.forward_return, times)
            self.metrics_ = {"n": len(val), "rank_ic": float(ic.mean()) if len(ic) else None}
            text = "no rank IC: all forecasts of a time are equal, as nothing was learned"
            if len(ic):
                text = f"rank IC {ic.mean():.4f}, the mean over {len(ic):,} decision times"
            log.info("%s: validation %s", self.model_name, text)
            return
        if p.ndim == 1:
            scores, name = score(p, label == 1), "auc"
        else:
            scores, name = score_classes(p, label), "balanced_accuracy"
            scores["classes"] = dict(zip(samples.classes, scores["classes"], strict=True))
        self.metrics_, count = scores, self.facts_[unit]
        log.info(
            "%s: %d %s, validation %s %.4f, accuracy %.4f (always the largest class: %.4f), on %s "
            "labelled samples",
            self.model_name, count, unit if count > 1 else unit[:-1], name, scores[name],
            scores["accuracy"], scores["majority"], f"{scores['n']:,}",
        )  # fmt: skip


def _among(rows: Any, possible: NDArray[np.int64], what: str) -> NDArray[np.int64]:
    """Return rows after a check that all are possible; None stands for all."""
    found = possible if rows is None else np.asarray(rows)
    whole = found.dtype.kind in "iu" or not found.size
    if found.ndim != 1 or not whole or not np.isin(found, possible).all():
        raise LearningError(
            f"rows={str(found.tolist())[:60]}",
            expected=f"whole numbers among the {len(possible):,} {what}",
            instead="leave rows out for all of them",
        )
    return found.astype(np.int64)


def reason(error: object) -> str:
    """Return the message of an error, without the time, the place and the stack of XGBoost's."""
    text = str(error).partition("Stack trace")[0] or type(error).__name__
    return " ".join(re.sub(r"^\[[\d:]+\] (WARNING: )?\S+", "", text).split())


def plain(value: Any) -> Any:
    """Return settings as JSON holds them: lists instead of tuples."""
    return json.loads(json.dumps(as_plain(value)))


def class_weights(
    weights: ClassWeights, classes: Sequence[str], counts: NDArray[np.int64]
) -> list[float] | None:
    """Return the weight of a training sample of each class, in the order of the classes.

    `counts` are the labelled training samples of each class. Balanced weights are
    `n / (classes * n of the class)`: every class then has the same total weight, and the sum over
    all samples stays the same (King and Zeng, "Logistic Regression in Rare Events Data", Political
    Analysis, 2001).

    Raises:
        LearningError: The weights do not fit the classes, the label is a direction (which balances
            its classes itself), or a class to balance has no sample.
    """
    if weights is None:
        return None
    if weights == "balanced":
        with np.errstate(divide="ignore"):
            numbers = counts.sum() / (len(counts) * counts.astype(np.float64))
    else:
        numbers = np.array([] if isinstance(weights, str) else weights, dtype=np.float64)
    valid = numbers.shape == (len(classes),) and (np.isfinite(numbers) & (numbers > 0)).all()
    if not valid or tuple(classes) == DIRECTIONS:
        present = ", ".join(f"{n:,} {name}" for name, n in zip(classes, counts, strict=True))
        raise LearningError(
            f"model.class_weights={weights} for training samples of {present}",
            expected=f"balanced or {len(classes)} positive numbers, and none for a direction",
            instead="leave model.class_weights out",
        )
    return numbers.tolist()
