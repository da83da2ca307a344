"""Judge models of several classes: nothing is traded.

All models are judged on the same labelled test rows and resampled alike, so that differences are
paired. Figures of rare classes rest on few rows; their count is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

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
from gafcnn.evaluation.breakdowns import Row
from gafcnn.evaluation.comparisons import Pair, finding
from gafcnn.evaluation.figures import Figure, MeanRatio, Ratio
from gafcnn.evaluation.joining import probabilities
from gafcnn.evaluation.statistics import Floats, confusion, log_losses, score_classes
from gafcnn.evaluation.test_set import folds_of, split_rows

CLASS_FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "balanced_accuracy_without_0": "balanced accuracy without class 0",
    "balanced_accuracy_among_patterns": "balanced accuracy if class 0 is never predicted",
    "macro_f1": "macro-F1",
    "macro_f1_without_0": "macro-F1 without class 0",
    "log_loss": "log loss",
}
"""The figures of a model and their names in sentences; see `statistics.score_classes`."""

OF_CLASS = ("precision", "recall", "f1")

MOST_BINS = 20_000
"""Bins of a timeline at most; longer timelines have bins of several bars."""

Name: TypeAlias = str | tuple[int, str]


@dataclass(frozen=True)
class ClassStudy:
    """What is judged.

    Attributes:
        bars: Bars of each symbol, indexed by close time.
        joined: Predictions of several classes, models side by side (see `join`).
        classes: Names of the classes, in the order of their numbers.
        models: All models, in the order of the tables.
        baseline: The model that the others are compared with; None for none.
        headline: The model that the verdict is about.
        horizon: Horizon of the label.
    """

    bars: Mapping[str, pd.DataFrame]
    joined: pd.DataFrame
    classes: tuple[str, ...]
    models: Sequence[str]
    baseline: str | None
    headline: str
    horizon: pd.Timedelta

    @cached_property
    def test(self) -> pd.DataFrame:
        """Test rows of all symbols, including those without a label."""
        of_symbols = [split_rows(rows)[1] for _, rows in self.joined.groupby("symbol", sort=False)]
        return pd.concat(of_symbols, ignore_index=True)

    @cached_property
    def labelled(self) -> pd.DataFrame:
        """Test rows with a label.

        Raises:
            PredictionsError: There are none.
        """
        labelled = self.test.dropna(subset=["label"]).reset_index(drop=True)
        if labelled.empty:
            raise PredictionsError(
                f"none of {len(self.test):,} test rows has a label",
                expected="labelled test rows",
                instead="use a larger split.test, or more bars",
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
        """Return a model's probabilities of the labelled rows, shape (n, classes)."""
        return probabilities(self.labelled, model, self.classes)

    @cached_property
    def interval(self) -> pd.Timedelta:
        """Time between two bars."""
        return interval_of(next(iter(self.bars.values())))

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], int]:
        """The place of each labelled row on a timeline of the bars of all symbols; its length."""
        times = pd.DatetimeIndex(self.labelled["time"])
        first, last = times.min(), times.max()
        timeline = pd.DatetimeIndex([])
        for bars in self.bars.values():
            inside = pd.DatetimeIndex(bars.loc[first:last].index)
            timeline = inside if timeline.empty else timeline.union(inside)
        return timeline.get_indexer(times).astype(np.int64), len(timeline)

    @property
    def n_bars(self) -> int:
        """Bars from the first labelled row to the last."""
        return self._places[1]

    @property
    def bin(self) -> int:
        """Bars that are resampled together: those of the horizon, more on long timelines."""
        return max(-(-self.n_bars // MOST_BINS), self.horizon // self.interval)

    def on_bars(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the sums of values of the labelled rows at their bars: shape (n_bars,)."""
        placed = np.zeros(self.n_bars)
        np.add.at(placed, self._places[0], rows)
        return placed


def judge_classes(
    study: ClassStudy, resamples: int, seed: int, advance: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Judge all models of a study on its labelled test rows.

    Args:
        study: What to judge.
        resamples: Of the stationary bootstrap; 0 for no intervals.
        seed: Seed of the resamples.
        advance: Called with the number of resamples that were finished.

    Returns:
        Plain dicts, lists, strings and numbers, None for what is undefined.

    Raises:
        PredictionsError: There are no labelled test rows.
    """
    predicted = {name: study.p(name).argmax(axis=1) for name in study.models}
    hits = (study.on_bars((one == study.label) - 0.5) for one in predicted.values())
    block = block_length(hits, study.bin)
    bootstrap = Bootstrap(study.bin, study.n_bars, block, resamples, seed)
    figures = {
        (name, figure): made
        for name in study.models
        for figure, made in _figures(study, name, predicted[name]).items()
    }
    drawn = bootstrap.trusted(figures, advance)
    found = {
        key: estimate(figure, drawn[key], _count(study, predicted[key[0]], key[1]))
        for key, figure in figures.items()
    }
    if resamples:
        for key, one in found.items():
            if isinstance(key[1], tuple):
                found[key] = _exact_if_unanimous(key[1], one)
    no_skill = score_classes(
        np.tile(study.counts / study.counts.sum(), (len(study.label), 1)), study.label
    )
    n = len(study.label)
    return {
        "rows": {"all": len(study.test), "labelled": n, "several": len(study.test) - n},
        "classes": dict(zip(study.classes, study.counts.tolist(), strict=True)),
        "bootstrap": {
            "resamples": resamples,
            "block": block,
            "bin": format_duration(study.bin * study.interval),
            "level": bootstrap.level,
            "seed": seed,
        },
        "models": {
            name: {figure: found[name, figure].as_dict() for figure in CLASS_FIGURES}
            for name in study.models
        },
        "no_skill": {
            figure: Estimate(no_skill[figure], None, None, n).as_dict() for figure in CLASS_FIGURES
        },
        "per_class": [
            {
                "model": name,
                "class": study.classes[k],
                "n": int(study.counts[k]),
                "called": int((predicted[name] == k).sum()),
                **{figure: found[name, (k, figure)].as_dict() for figure in OF_CLASS},
            }
            for name in study.models
            for k in range(len(study.classes))
        ],
        "confusion": {
            name: confusion(one, study.label, len(study.classes)).tolist()
            for name, one in predicted.items()
        },
        "pairs": _pair_rows(study, figures, drawn),
        "folds": [row for name in study.models for row in _fold_rows(study, name)],
    }


def _figures(study: ClassStudy, model: str, predicted: NDArray[np.int64]) -> dict[Name, Figure]:
    """All figures of one model: of `CLASS_FIGURES`, and of each class by its number."""
    numbers, every = range(len(study.classes)), study.on_bars(np.ones(len(study.label)))
    of_class = [study.on_bars(study.label == k) for k in numbers]
    called = [study.on_bars(predicted == k) for k in numbers]
    hits = [study.on_bars((study.label == k) & (predicted == k)) for k in numbers]
    both = [one + other for one, other in zip(of_class, called, strict=True)]
    p = study.p(model)
    forced = p[:, 1:].argmax(axis=1) + 1
    among = [study.on_bars((forced == k) & (study.label == k)) for k in numbers]
    whole: dict[Name, Figure] = {
        "accuracy": Ratio(study.on_bars(predicted == study.label), every),
        "balanced_accuracy": MeanRatio(hits, of_class),
        "balanced_accuracy_without_0": MeanRatio(hits[1:], of_class[1:]),
        "balanced_accuracy_among_patterns": MeanRatio(among[1:], of_class[1:]),
        "macro_f1": MeanRatio(hits, both, scale=2.0),
        "macro_f1_without_0": MeanRatio(hits[1:], both[1:], scale=2.0),
        "log_loss": Ratio(study.on_bars(log_losses(p, study.label)), every),
    }
    for k in numbers:
        whole[k, "precision"] = Ratio(hits[k], called[k])
        whole[k, "recall"] = Ratio(hits[k], of_class[k])
        whole[k, "f1"] = Ratio(hits[k], both[k], scale=2.0)
    return whole


def _count(study: ClassStudy, predicted: NDArray[np.int64], figure: Name) -> int:
    """How many rows a figure is computed from."""
    if isinstance(figure, tuple):
        number, name = figure
        return int((predicted == number).sum() if name == "precision" else study.counts[number])
    without_0 = figure.endswith(("_without_0", "_among_patterns"))
    return int(study.counts[1:].sum() if without_0 else study.counts.sum())


def _exact_if_unanimous(figure: tuple[int, str], one: Estimate) -> Estimate:
    """An estimate of a class, with an exact interval if too few rows or only equal ones exist.

    Rows that all agree resample to a point. An F1 of such rows has no interval.
    """
    unanimous = one.value in (0.0, 1.0)
    if figure[1] == "f1":
        return replace(one, low=None, high=None) if unanimous else one
    return exact(one) if unanimous or one.low is None else one


def _pair_rows(
    study: ClassStudy, figures: Mapping[Any, Figure], drawn: Mapping[Any, Floats]
) -> list[Row]:
    """Every other model less the baseline."""
    rows = []
    for name in study.models:
        if study.baseline is None or name == study.baseline:
            continue
        pair = Pair(name, study.baseline)
        for figure in CLASS_FIGURES:
            a, b = (name, figure), (study.baseline, figure)
            n = _count(study, study.label, figure)
            by = difference(figures[a], figures[b], drawn[a], drawn[b], n)
            found = finding(pair, figure, by, CLASS_FIGURES)
            row = {"a": pair.a, "b": pair.b, "figure": figure, **by.as_dict()}
            rows.append(row | {"expected": None, "finding": found})
    return rows


def _fold_rows(study: ClassStudy, model: str) -> list[Row]:
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
                "first": times.min().isoformat(),
                "last": times.max().isoformat(),
                "n": scored["n"],
                **{name: scored[name] for name in CLASS_FIGURES},
            }
        )
    return found
