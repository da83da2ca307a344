"""Judge models of several classes on labelled test rows: nothing is traded.

All models are resampled alike, so that differences are paired. Figures of rare classes rest on few
rows; their count is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.errors import PredictionsError
from gafcnn.evaluation import statistics
from gafcnn.evaluation.bootstrap import Bootstrap, block_length, exact
from gafcnn.evaluation.comparisons import Pair, Study, pair_rows
from gafcnn.evaluation.figures import mean_ratio
from gafcnn.evaluation.joining import probabilities
from gafcnn.evaluation.statistics import Floats, Row, confusion, estimate, score_classes
from gafcnn.evaluation.test_set import folds_of, split_rows

# with their names in sentences; "without class 0" is said only of a class 0 called `none`
CLASS_FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "balanced_accuracy_without_0": "balanced accuracy without class 0",
    "balanced_accuracy_among_patterns": "balanced accuracy if class 0 is never predicted",
    "macro_f1": "macro-F1",
    "macro_f1_without_0": "macro-F1 without class 0",
    "log_loss": "log loss",
}
NONE = "none"  # class 0 of labels that recognise patterns: none of them
MOST_BINS = 20_000  # of a timeline; bins of longer ones have several bars


def judge_classes(study: Study, classes: Sequence[str]) -> dict[str, Any]:
    """Judge all models of a study on its labelled test rows, as plain data, None if undefined.

    Raises:
        PredictionsError: There are no labelled test rows.
    """
    symbols = study.joined.groupby("symbol", sort=False)
    test = pd.concat([split_rows(rows)[1] for _, rows in symbols], ignore_index=True)
    rows = test.dropna(subset=["label"]).reset_index(drop=True)
    n, label = len(rows), rows["label"].to_numpy(np.int64)
    if not n:
        raise PredictionsError(
            f"none of {len(test):,} test rows has a label",
            expected="labelled test rows",
            instead="use a larger split.test, or more bars",
        )
    counts = np.bincount(label, minlength=len(classes))
    p = {name: probabilities(rows, name, classes) for name in study.models}
    names = {
        name: text
        for name, text in CLASS_FIGURES.items()
        if classes[0] == NONE or not name.endswith(("_without_0", "_among_patterns"))
    }
    # the timeline is that of the bars from the first row to the last
    decided = pd.DatetimeIndex(rows["time"])
    times = pd.DatetimeIndex(reduce(pd.Index.union, (one.index for one in study.bars.values())))
    times = times[times.slice_indexer(decided.min(), decided.max())]
    places = times.get_indexer(decided)

    def on_bars(values: NDArray[Any]) -> Floats:
        return np.bincount(places, values, len(times)).astype(np.float64)

    # bins are as long as the horizon, longer on long timelines
    length = max(-(-len(times) // MOST_BINS), study.horizon // study.interval)
    hits = (on_bars((one.argmax(axis=1) == label) - 0.5) for one in p.values())
    block = block_length(hits, length)
    bootstrap = Bootstrap(length, len(times), block, study.resamples, study.seed)
    sampled, found, confusions, per_class = {}, {}, {}, []
    for name, one in p.items():
        figures = {
            key: (mean_ratio([*map(on_bars, tops)], [*map(on_bars, bottoms)]), number)
            for key, (number, tops, bottoms) in statistics.class_ratios(one, label).items()
        }
        sampled[name] = bootstrap.sample(figures)
        found[name] = of_model = {key: one.estimate() for key, one in sampled[name].items()}
        confusions[name] = confusion(one.argmax(axis=1), label, len(classes))
        for k, called in enumerate(confusions[name].sum(axis=0)):
            row = {"model": name, "class": classes[k], "n": int(counts[k]), "called": int(called)}
            for figure in ("precision", "recall", "f1"):
                row[figure] = share = of_model[k, figure]
                # if all rows agree, all resample alike
                if share["low"] is None or share["value"] in (0.0, 1.0):
                    is_share = study.resamples and figure != "f1"
                    row[figure] = exact(share) if is_share else estimate(share["value"], share["n"])
            per_class.append(row)
        study.advance(1)
    no_skill = score_classes(np.tile(counts / n, (n, 1)), label)
    others = [name for name in study.models if study.baseline not in (None, name)]
    return {
        "rows": {"all": len(test), "labelled": n, "several": len(test) - n},
        "classes": dict(zip(classes, counts.tolist(), strict=True)),
        "bootstrap": bootstrap.describe(study.interval),
        "models": {name: {key: of_model[key] for key in names} for name, of_model in found.items()},
        "no_skill": {key: estimate(no_skill[key], n) for key in names},
        "per_class": per_class,
        "confusion": {name: counted.tolist() for name, counted in confusions.items()},
        "pairs": pair_rows([Pair(name, str(study.baseline)) for name in others], sampled, names),
        "folds": [row for name, one in p.items() for row in _fold_rows(rows, name, one, names)],
    }


def _fold_rows(rows: pd.DataFrame, model: str, p: Floats, names: Iterable[str]) -> Iterator[Row]:
    for fold, inside in folds_of(rows).items():
        if fold is None:
            return
        block = rows.loc[inside]
        scored = score_classes(p[inside], block["label"])
        yield {
            "model": model,
            "fold": fold,
            "first": block["time"].min().isoformat(),
            "last": block["time"].max().isoformat(),
            **{name: scored[name] for name in ("n", *names)},
        }
