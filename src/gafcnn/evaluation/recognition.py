"""How well a study recognises classes, and how sure that is: nothing is forecast, nothing traded.

All models stand on the same labelled test rows and are resampled alike, so their differences are
paired. Figures of rare classes rest on few rows; the count stands beside each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import interval_of
from gafcnn.durations import format_duration
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.bootstrap import (
    Bootstrap,
    Estimate,
    block_length,
    difference,
    estimate,
    exact,
)
from gafcnn.evaluation.comparisons import Pair, finding
from gafcnn.evaluation.figures import Figure, Floats, MeanRatio, Ratio
from gafcnn.evaluation.joining import probabilities
from gafcnn.evaluation.statistics import confusion, log_losses, score_classes
from gafcnn.evaluation.targets import pattern_target
from gafcnn.evaluation.test_set import folds_of, parts_of

RECOGNISED = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "balanced_accuracy_without_0": "balanced accuracy on patterns",
    "balanced_accuracy_among_patterns": "balanced accuracy among patterns",
    "macro_f1": "macro-F1",
    "macro_f1_without_0": "macro-F1 of patterns",
    "log_loss": "log loss",
}
"""The figures of a model, and what a sentence calls them; `ClassScore` says what each is."""

OF_CLASS = ("precision", "recall", "f1")

MOST_BINS = 20_000
"""Bins that a timeline is cut into at most: longer ones have bins of several bars."""

Row = dict[str, Any]
Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Recognition:
    """What is judged.

    Attributes:
        bars: Bars, indexed by close time.
        joined: Predictions of several classes, models side by side (see `gafcnn.evaluation.joining.join`).
        classes: Their names, in the order of their numbers.
        models: All models, in the order in which they are shown.
        baseline: The one that the others are compared with.
        headline: The one that the verdict speaks of, named before anything was seen.
    """

    bars: pd.DataFrame
    joined: pd.DataFrame
    classes: tuple[str, ...]
    models: Sequence[str]
    baseline: str
    headline: str

    @cached_property
    def test(self) -> pd.DataFrame:
        """Test rows by time, those without a label included.

        Raises:
            PredictionsError: There are none, or rows of several symbols or of folds that overlap.
        """
        return parts_of(self.joined)[1]

    @cached_property
    def labelled(self) -> pd.DataFrame:
        """Test rows that are of one class; on the others several patterns stand.

        Raises:
            PredictionsError: There are none.
        """
        labelled = self.test.dropna(subset=["label"]).reset_index(drop=True)
        if labelled.empty:
            raise PredictionsError(
                f"none of {len(self.test):,} test rows has a label",
                expected="rows of one class, to judge by",
                instead="train with a larger split.test, or on more bars",
            )
        return labelled

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """The class of each labelled row, shape (n,)."""
        return self.labelled["label"].to_numpy(np.int64)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Labelled rows of each class, shape (classes,)."""
        return np.bincount(self.label, minlength=len(self.classes))

    def p(self, model: str) -> Floats:
        """A model's probabilities of the labelled rows, shape (n, classes)."""
        return probabilities(self.labelled, model, self.classes)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """The bar of each labelled row, counted from the first one's."""
        rows = self.bars.index.get_indexer(pd.DatetimeIndex(self.labelled["time"]))
        return rows - rows[0]

    @property
    def n_bars(self) -> int:
        """Bars from the first labelled row's to the last one's."""
        return int(self.places[-1]) + 1

    @property
    def bin(self) -> int:
        """Bars that are drawn together: one, where they are not too many."""
        return -(-self.n_bars // MOST_BINS)

    def on_bars(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Values of the labelled rows, each at its bar: shape (n_bars,), 0 between."""
        placed = np.zeros(self.n_bars, rows.dtype)
        placed[self.places] = rows
        return placed


def judge_recognition(
    study: Recognition,
    *,
    resamples: int = 2000,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Judge all models of a study on its labelled test rows.

    Args:
        study: What to judge.
        resamples: Of the stationary bootstrap; 0 for no intervals.
        seed: Of the resamples.
        advance: Told how many resamples more are done.

    Returns:
        Plain dicts, lists, texts and numbers, None for what cannot be computed: the part of a
        study's metrics.json that rests on its test rows.

    Raises:
        PredictionsError: See `Recognition.test`.
    """
    called = {name: study.p(name).argmax(axis=1) for name in study.models}
    hits = (study.on_bars((one == study.label) - 0.5) for one in called.values())
    block = block_length(hits, study.bin)
    bootstrap = Bootstrap(study.bin, study.n_bars, block, resamples, seed)
    figures = {
        (name, figure): made
        for name in study.models
        for figure, made in _figures(study, name, called[name]).items()
    }
    drawn = bootstrap.trusted(figures, advance)
    found = {
        key: estimate(figure, drawn[key], _rests_on(study, called[key[0]], key[1]))
        for key, figure in figures.items()
    }
    if resamples:
        found |= {
            key: _of_agreeing(key[1], of) for key, of in found.items() if isinstance(key[1], tuple)
        }
    no_skill = score_classes(
        np.tile(study.counts / study.counts.sum(), (len(study.label), 1)), study.label
    )
    return {
        "rows": {
            "all": len(study.test),
            "labelled": len(study.label),
            "several": len(study.test) - len(study.label),
        },
        "classes": dict(zip(study.classes, study.counts.tolist(), strict=True)),
        "bootstrap": {
            "resamples": resamples,
            "block": block,
            "bin": format_duration(study.bin * interval_of(study.bars)),
            "level": bootstrap.level,
            "seed": seed,
        },
        "models": {
            name: {figure: found[name, figure].as_dict() for figure in RECOGNISED}
            for name in study.models
        },
        "no_skill": {
            figure: Estimate(no_skill[figure], None, None, len(study.label)).as_dict()
            for figure in RECOGNISED
        },
        "per_class": [
            _class_row(study, name, number, called[name], found)
            for name in study.models
            for number in range(len(study.classes))
        ],
        "confusion": {
            name: confusion(one, study.label, len(study.classes)).tolist()
            for name, one in called.items()
        },
        "pairs": _compared(study, figures, drawn),
        "folds": [row for name in study.models for row in _folds(study, name)],
        "targets": [
            pattern_target(
                found[study.headline, "balanced_accuracy"],
                int(np.count_nonzero(study.counts)),
                study.headline,
            )
        ],
    }


def _figures(
    study: Recognition, model: str, called: NDArray[np.int64]
) -> dict[str | tuple[int, str], Figure]:
    """All figures of one model: of `RECOGNISED`, and of each class by its number."""
    numbers, every = range(len(study.classes)), study.on_bars(np.ones(len(study.label)))
    of_class = [study.on_bars(study.label == k) for k in numbers]
    said = [study.on_bars(called == k) for k in numbers]
    hits = [one & other for one, other in zip(of_class, said, strict=True)]
    both = [one.astype(np.int8) + other for one, other in zip(of_class, said, strict=True)]
    p = study.p(model)
    forced = p[:, 1:].argmax(axis=1) + 1
    among = [study.on_bars((forced == k) & (study.label == k)) for k in numbers]
    right = study.on_bars(called == study.label)
    loss = study.on_bars(log_losses(p, study.label))
    whole: dict[str | tuple[int, str], Figure] = {
        "accuracy": Ratio(right, every),
        "balanced_accuracy": MeanRatio(hits, of_class),
        "balanced_accuracy_without_0": MeanRatio(hits[1:], of_class[1:]),
        "balanced_accuracy_among_patterns": MeanRatio(among[1:], of_class[1:]),
        "macro_f1": MeanRatio(hits, both, scale=2.0),
        "macro_f1_without_0": MeanRatio(hits[1:], both[1:], scale=2.0),
        "log_loss": Ratio(loss, every),
    }
    for k in numbers:
        whole[k, "precision"] = Ratio(hits[k], said[k])
        whole[k, "recall"] = Ratio(hits[k], of_class[k])
        whole[k, "f1"] = Ratio(hits[k], both[k], scale=2.0)
    return whole


def _rests_on(study: Recognition, called: NDArray[np.int64], figure: str | tuple[int, str]) -> int:
    """How many rows a figure is made of."""
    if isinstance(figure, tuple):
        number, name = figure
        return int((called == number).sum()) if name == "precision" else int(study.counts[number])
    of_patterns = figure.endswith(("_without_0", "_among_patterns"))
    return int(study.counts[1:].sum() if of_patterns else study.counts.sum())


def _of_agreeing(figure: tuple[int, str], of: Estimate) -> Estimate:
    """A figure of one class, without an interval that is a point: rows that agree resample alike.

    A share of too few rows, or of rows that agree, is given its exact interval; an F1 has none.
    """
    agree = of.value in (0.0, 1.0)
    if figure[1] == "f1":
        return replace(of, low=None, high=None) if agree else of
    return exact(of) if agree or of.low is None else of


def _class_row(
    study: Recognition,
    model: str,
    number: int,
    called: NDArray[np.int64],
    found: Mapping[Any, Estimate],
) -> Row:
    return {
        "model": model,
        "class": study.classes[number],
        "n": int(study.counts[number]),
        "called": int((called == number).sum()),
        **{name: found[model, (number, name)].as_dict() for name in OF_CLASS},
    }


def _compared(
    study: Recognition, figures: Mapping[Any, Figure], drawn: Mapping[Any, Floats]
) -> list[Row]:
    """Every other model less the baseline."""
    rows = []
    for name in study.models:
        if name == study.baseline:
            continue
        pair = Pair(name, study.baseline)
        for figure in RECOGNISED:
            ours, theirs = (name, figure), (study.baseline, figure)
            by = difference(
                figures[ours],
                figures[theirs],
                drawn[ours],
                drawn[theirs],
                _rests_on(study, study.label, figure),
            )
            said = finding(pair, figure, by, RECOGNISED)
            rows.append(
                {"a": pair.a, "b": pair.b, "figure": figure, **by.as_dict(), "finding": said}
            )
    return rows


def _folds(study: Recognition, model: str) -> list[Row]:
    """The scores of each test block of a walk-forward; nothing for a single split."""
    found = []
    for fold, rows in folds_of(study.labelled).items():
        if fold is None:
            return []
        scored = score_classes(study.p(model)[rows], study.label[rows])
        times = study.labelled.loc[rows, "time"]
        found.append(
            {
                "model": model,
                "fold": fold,
                "first": times.iloc[0].isoformat(),
                "last": times.iloc[-1].isoformat(),
                "n": scored["n"],
                **{name: scored[name] for name in RECOGNISED},
            }
        )
    return found
