"""Judge models of several classes on labelled test rows: nothing is traded.

All models are resampled alike, so that differences are paired. Figures of rare classes rest on few
rows; their count is given.
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
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.bootstrap import Bootstrap, Estimate, block_length, exact
from gafcnn.evaluation.breakdowns import Row, plain
from gafcnn.evaluation.comparisons import Judged, Pair, pair_rows
from gafcnn.evaluation.figures import Figure, mean_ratio, ratio
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

MOST_BINS = 20_000
"""Bins of a timeline at most; longer timelines have bins of several bars."""


@dataclass(frozen=True)
class ClassStudy:
    """What is judged.

    Attributes:
        bars: Bars of each symbol, indexed by close time.
        joined: Predictions of several classes, models side by side (see `join`).
        classes: Names of the classes, in the order of their numbers.
        models: All models, in the order of the tables.
        baseline: The model that the others are compared with; None for none.
        horizon: Horizon of the label.
        resamples: Resamples of the bootstrap; 0 for no intervals.
        seed: Seed of the resamples.
    """

    bars: Mapping[str, pd.DataFrame]
    joined: pd.DataFrame
    classes: tuple[str, ...]
    models: Sequence[str]
    baseline: str | None
    horizon: pd.Timedelta
    resamples: int
    seed: int

    @cached_property
    def test(self) -> pd.DataFrame:
        """Test rows of all symbols, including those without a label."""
        of_symbols = [split_rows(rows)[1] for _, rows in self.joined.groupby("symbol", sort=False)]
        return pd.concat(of_symbols, ignore_index=True)

    @cached_property
    def labelled(self) -> pd.DataFrame:
        """Test rows with a label, at least one."""
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
    def times(self) -> pd.DatetimeIndex:
        """Close times of the bars of all symbols from the first labelled row to the last."""
        first, last = self.labelled["time"].min(), self.labelled["time"].max()
        inside = [
            one.index[(one.index >= first) & (one.index <= last)] for one in self.bars.values()
        ]
        times = inside[0]
        for other in inside[1:]:
            times = times.union(other)
        return pd.DatetimeIndex(times)

    @cached_property
    def _places(self) -> NDArray[np.intp]:
        return self.times.get_indexer(pd.DatetimeIndex(self.labelled["time"]))

    def on_bars(self, rows: NDArray[Any]) -> Floats:
        """Return the sums of values of the labelled rows at their bars: shape (bars,)."""
        return np.bincount(self._places, rows, len(self.times)).astype(np.float64)


def judge_classes(study: ClassStudy, advance: Callable[[int], None]) -> dict[str, Any]:
    """Judge all models of a study on its labelled test rows.

    Args:
        study: What to judge.
        advance: Called with the number of models that were finished.

    Returns:
        Plain dicts, lists, strings and numbers, None for what is undefined.

    Raises:
        PredictionsError: There are no labelled test rows.
    """
    n, classes = len(study.label), range(len(study.classes))
    interval = interval_of(next(iter(study.bars.values())))
    # bins are as long as the horizon, longer on long timelines
    length = max(-(-len(study.times) // MOST_BINS), study.horizon // interval)
    predicted = {name: study.p(name).argmax(axis=1) for name in study.models}
    hits = (study.on_bars((one == study.label) - 0.5) for one in predicted.values())
    block = block_length(hits, length)
    bootstrap = Bootstrap(length, len(study.times), block, study.resamples, study.seed)
    judged = {}
    for name, called in predicted.items():
        figures = _figures(study, study.p(name), called)
        judged[name] = Judged.by(
            bootstrap, figures, lambda key, called=called: _count(study, called, key), CLASS_FIGURES
        )
        advance(1)
    no_skill = score_classes(np.tile(study.counts / study.counts.sum(), (n, 1)), study.label)
    others = [name for name in study.models if study.baseline not in (None, name)]
    return {
        "rows": {"all": len(study.test), "labelled": n, "several": len(study.test) - n},
        "classes": dict(zip(study.classes, study.counts.tolist(), strict=True)),
        "bootstrap": bootstrap.describe(interval),
        "models": {
            name: {key: one.estimates[key].as_dict() for key in CLASS_FIGURES}
            for name, one in judged.items()
        },
        "no_skill": {key: plain(no_skill[key], n) for key in CLASS_FIGURES},
        "per_class": [
            {
                "model": name,
                "class": study.classes[k],
                "n": int(study.counts[k]),
                "called": int((predicted[name] == k).sum()),
                "precision": _share(one.estimates[k, "precision"], study.resamples),
                "recall": _share(one.estimates[k, "recall"], study.resamples),
                "f1": _without_point(one.estimates[k, "f1"]),
            }
            for name, one in judged.items()
            for k in classes
        ],
        "confusion": {
            name: confusion(one, study.label, len(classes)).tolist()
            for name, one in predicted.items()
        },
        "pairs": pair_rows(
            [Pair(name, str(study.baseline)) for name in others], judged, CLASS_FIGURES
        ),
        "folds": [row for name in study.models for row in _fold_rows(study, name)],
    }


def _figures(study: ClassStudy, p: Floats, called: NDArray[np.int64]) -> dict[Any, Figure]:
    """All figures of one model: of `CLASS_FIGURES`, and of each class by its number."""
    numbers, label = range(len(study.classes)), study.label
    of_class = [study.on_bars(label == k) for k in numbers]
    of_called = [study.on_bars(called == k) for k in numbers]
    hits = [study.on_bars((label == k) & (called == k)) for k in numbers]
    both = [one + other for one, other in zip(of_class, of_called, strict=True)]
    forced = p[:, 1:].argmax(axis=1) + 1
    among = [study.on_bars((forced == k) & (label == k)) for k in numbers]
    every = study.on_bars(np.ones(len(label)))
    figures: dict[Any, Figure] = {
        "accuracy": ratio(study.on_bars(called == label), every),
        "balanced_accuracy": mean_ratio(hits, of_class),
        "balanced_accuracy_without_0": mean_ratio(hits[1:], of_class[1:]),
        "balanced_accuracy_among_patterns": mean_ratio(among[1:], of_class[1:]),
        "macro_f1": mean_ratio(hits, both, scale=2.0),
        "macro_f1_without_0": mean_ratio(hits[1:], both[1:], scale=2.0),
        "log_loss": ratio(study.on_bars(log_losses(p, label)), every),
    }
    for k in numbers:
        figures[k, "precision"] = ratio(hits[k], of_called[k])
        figures[k, "recall"] = ratio(hits[k], of_class[k])
        figures[k, "f1"] = ratio(hits[k], both[k], scale=2.0)
    return figures


def _count(study: ClassStudy, called: NDArray[np.int64], figure: str | tuple[int, str]) -> int:
    """How many rows a figure is computed from."""
    if isinstance(figure, tuple):
        number, name = figure
        return int((called == number).sum() if name == "precision" else study.counts[number])
    without_0 = figure.endswith(("_without_0", "_among_patterns"))
    return int(study.counts[1:].sum() if without_0 else study.counts.sum())


def _share(share: Estimate, resamples: int) -> Row:
    """A share, with an exact interval if it has none or if all rows agree: these resample alike."""
    needs_exact = resamples and (share.low is None or share.value in (0.0, 1.0))
    return (exact(share) if needs_exact else share).as_dict()


def _without_point(f1: Estimate) -> Row:
    """An F1, without its interval if all rows agree."""
    return (replace(f1, low=None, high=None) if f1.value in (0.0, 1.0) else f1).as_dict()


def _fold_rows(study: ClassStudy, model: str) -> list[Row]:
    """The scores of each test block of a walk-forward; nothing for a single split."""
    found = []
    for fold, rows in folds_of(study.labelled).items():
        if fold is not None:
            scored = score_classes(study.p(model)[rows], study.label[rows])
            times = study.labelled.loc[rows, "time"]
            row = {"model": model, "fold": fold}
            row |= {"first": times.min().isoformat(), "last": times.max().isoformat()}
            found.append(row | {name: scored[name] for name in ("n", *CLASS_FIGURES)})
    return found
