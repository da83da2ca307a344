"""Judge models of several classes on labelled test rows: nothing is traded.

All models are resampled alike, so that differences are paired. Figures of rare classes rest on few
rows; their count is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.labels import PATTERNS
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.bootstrap import Bootstrap, block_length, exact
from gafcnn.evaluation.comparisons import Pair, Study, pair_rows, pattern_target
from gafcnn.evaluation.figures import Counted, mean_ratio, ratio
from gafcnn.evaluation.joining import probabilities
from gafcnn.evaluation.statistics import (
    Floats,
    Row,
    confusion,
    estimate,
    log_losses,
    score_classes,
)
from gafcnn.evaluation.test_set import folds_of, split_rows, union_of

CLASS_FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "balanced_accuracy_without_0": "balanced accuracy without class 0",
    "balanced_accuracy_among_patterns": "balanced accuracy if class 0 is never predicted",
    "macro_f1": "macro-F1",
    "macro_f1_without_0": "macro-F1 without class 0",
    "log_loss": "log loss",
}
"""The figures of a model and their names in sentences; see `statistics.score_classes`.

Those that leave class 0 out are given only if class 0 is called `none`.
"""

NONE = "none"
"""The class 0 of labels that recognise patterns: none of them."""

MOST_BINS = 20_000
"""Bins of a timeline at most; longer timelines have bins of several bars."""


class LabelledRows:
    """Labelled test rows of all symbols, on one timeline of their bars; see `judge_classes`."""

    def __init__(self, study: Study, classes: Sequence[str]) -> None:
        symbols = study.joined.groupby("symbol", sort=False)
        test = pd.concat([split_rows(rows)[1] for _, rows in symbols], ignore_index=True)
        self.all, self.rows = len(test), test.dropna(subset=["label"]).reset_index(drop=True)
        if self.rows.empty:
            raise PredictionsError(
                f"none of {len(test):,} test rows has a label",
                expected="labelled test rows",
                instead="use a larger split.test, or more bars",
            )
        # class of each row, shape (n,), and rows of each class, shape (classes,)
        self.label = self.rows["label"].to_numpy(np.int64)
        self.counts = np.bincount(self.label, minlength=len(classes))
        decided = pd.DatetimeIndex(self.rows["time"])
        times = union_of([frame.index for frame in study.bars.values()])
        # close times of the bars from the first row to the last, shape (bars,)
        self.times = times[(times >= decided.min()) & (times <= decided.max())]
        self._places, self._classes = self.times.get_indexer(decided), classes

    def p(self, model: str) -> Floats:
        """Return a model's probabilities: shape (n, classes)."""
        return probabilities(self.rows, model, self._classes)

    def on_bars(self, values: NDArray[Any]) -> Floats:
        """Return the sums of values of the rows at their bars: shape (bars,)."""
        return np.bincount(self._places, values, len(self.times)).astype(np.float64)


def judge_classes(study: Study, classes: Sequence[str]) -> dict[str, Any]:
    """Judge all models of a study on its labelled test rows.

    Args:
        study: What to judge.
        classes: Names of the classes, in the order of their numbers.

    Returns:
        Plain dicts, lists, strings and numbers, None for what is undefined.

    Raises:
        PredictionsError: There are no labelled test rows.
    """
    rows = LabelledRows(study, classes)
    names = {
        name: text
        for name, text in CLASS_FIGURES.items()
        if classes[0] == NONE or not name.endswith(("_without_0", "_among_patterns"))
    }
    n = len(rows.label)
    # bins are as long as the horizon, longer on long timelines
    length = max(-(-len(rows.times) // MOST_BINS), study.horizon // study.interval)
    predicted = {name: rows.p(name).argmax(axis=1) for name in study.models}
    hits = (rows.on_bars((one == rows.label) - 0.5) for one in predicted.values())
    block = block_length(hits, length)
    bootstrap = Bootstrap(length, len(rows.times), block, study.resamples, study.seed)
    sampled, found = {}, {}
    for name, called in predicted.items():
        sampled[name] = bootstrap.sample(_figures(rows, rows.p(name), called))
        found[name] = {key: one.estimate() for key, one in sampled[name].items()}
        study.advance(1)
    no_skill = score_classes(np.tile(rows.counts / rows.counts.sum(), (n, 1)), rows.label)
    others = [name for name in study.models if study.baseline not in (None, name)]
    targets = []
    if classes == PATTERNS:
        balanced = found[study.headline]["balanced_accuracy"]
        targets.append(pattern_target(study.headline, balanced, int(np.count_nonzero(rows.counts))))
    return {
        "rows": {"all": rows.all, "labelled": n, "several": rows.all - n},
        "classes": dict(zip(classes, rows.counts.tolist(), strict=True)),
        "bootstrap": bootstrap.describe(study.interval),
        "models": {name: {key: of_model[key] for key in names} for name, of_model in found.items()},
        "no_skill": {key: estimate(no_skill[key], n) for key in names},
        "per_class": [
            {
                "model": name,
                "class": name_of_class,
                "n": int(rows.counts[k]),
                "called": int((predicted[name] == k).sum()),
                "precision": _share(of_model[k, "precision"], study.resamples),
                "recall": _share(of_model[k, "recall"], study.resamples),
                "f1": _f1(of_model[k, "f1"]),
            }
            for name, of_model in found.items()
            for k, name_of_class in enumerate(classes)
        ],
        "confusion": {
            name: confusion(one, rows.label, len(classes)).tolist()
            for name, one in predicted.items()
        },
        "pairs": pair_rows([Pair(name, str(study.baseline)) for name in others], sampled, names),
        "folds": [row for name in study.models for row in _fold_rows(rows, name, names)],
        "targets": targets,
    }


def _figures(rows: LabelledRows, p: Floats, called: NDArray[np.int64]) -> dict[Any, Counted]:
    """All figures of one model: of `CLASS_FIGURES`, and of each class by its number."""
    numbers, label, counts = range(len(rows.counts)), rows.label, rows.counts.tolist()
    of_class = [rows.on_bars(label == k) for k in numbers]
    of_called = [rows.on_bars(called == k) for k in numbers]
    hits = [rows.on_bars((label == k) & (called == k)) for k in numbers]
    twice = [2 * one for one in hits]
    both = [one + other for one, other in zip(of_class, of_called, strict=True)]
    forced = p[:, 1:].argmax(axis=1) + 1
    among = [rows.on_bars((forced == k) & (label == k)) for k in numbers]
    every, n, without_0 = rows.on_bars(np.ones(len(label))), sum(counts), sum(counts[1:])
    figures: dict[Any, Counted] = {
        "accuracy": (ratio(rows.on_bars(called == label), every), n),
        "balanced_accuracy": (mean_ratio(hits, of_class), n),
        "balanced_accuracy_without_0": (mean_ratio(hits[1:], of_class[1:]), without_0),
        "balanced_accuracy_among_patterns": (mean_ratio(among[1:], of_class[1:]), without_0),
        "macro_f1": (mean_ratio(twice, both), n),
        "macro_f1_without_0": (mean_ratio(twice[1:], both[1:]), without_0),
        "log_loss": (ratio(rows.on_bars(log_losses(p, label)), every), n),
    }
    for k in numbers:
        figures[k, "precision"] = ratio(hits[k], of_called[k]), int((called == k).sum())
        figures[k, "recall"] = ratio(hits[k], of_class[k]), counts[k]
        figures[k, "f1"] = ratio(twice[k], both[k]), counts[k]
    return figures


def _share(share: Row, resamples: int) -> Row:
    """Add an exact interval if there is none or if all rows agree, which all resample alike."""
    needs_exact = resamples and (share["low"] is None or share["value"] in (0.0, 1.0))
    return exact(share) if needs_exact else share


def _f1(found: Row) -> Row:
    """Leave out the interval if all rows agree."""
    return estimate(found["value"], found["n"]) if found["value"] in (0.0, 1.0) else found


def _fold_rows(rows: LabelledRows, model: str, names: Iterable[str]) -> list[Row]:
    """The scores of each test block of a walk-forward; nothing for a single split."""
    found = []
    for fold, inside in folds_of(rows.rows).items():
        if fold is not None:
            scored = score_classes(rows.p(model)[inside], rows.label[inside])
            times = rows.rows.loc[inside, "time"]
            row = {"model": model, "fold": fold}
            row |= {"first": times.min().isoformat(), "last": times.max().isoformat()}
            found.append(row | {name: scored[name] for name in ("n", *names)})
    return found
