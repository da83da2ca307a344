"""Sample pictures: the images that the windows were most certain about, with explanations."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.app.runs import Run
from gafcnn.app.studies import Study
from gafcnn.data.bars import interval_of
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.windows import WindowReader
from gafcnn.errors import LearningError, RunError
from gafcnn.evaluation.judge import Judgement
from gafcnn.evaluation.predictions import probability_columns
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations import explain
from gafcnn.report.sample_pictures import Attributions, Sample

KIND_NAMES = {
    "gasf": "GASF",
    "gadf": "GADF",
    "markov": "Markov transition field",
    "recurrence": "Recurrence plot",
}
"""Names of image kinds for readers."""

log = logging.getLogger(__name__)


def sample_pictures(study: Study, judgement: Judgement) -> list[Sample]:
    """Return for each window the test row that it was most certain about and right, and wrong.

    Args:
        study: The study.
        judgement: Its judgement; rows of the first symbol are shown.
    """
    symbol, bars = next(iter(study.bars.items()))
    table, interval = judgement.predictions, interval_of(bars).to_timedelta64()
    of_symbol = table.loc[(table["symbol"] == symbol) & (table["split"] == "test")]
    shown = []
    for name in study.windows:
        settings = study.runs[name][0].settings
        spec = settings.images.spec
        read = WindowReader(bars, settings.window, spec.fields)
        rows = of_symbol.loc[of_symbol["window"] == name]
        for row, called, description, right in _most_certain(rows, study.label.classes):
            series = read(bars.index.get_indexer(pd.DatetimeIndex([row["time"]])))
            times = row["time"] + pd.TimedeltaIndex(read.offsets * interval)
            image = replace(spec, dtype="float32").encode(series)[0]
            fold = None if pd.isna(row["fold"]) else int(row["fold"])
            runs = [run for run in study.runs[name] if run.fold == fold]
            sample = Sample(
                window=name,
                series=pd.Series(series[0, 0], times, name=spec.fields[0]),
                channels=dict(zip(channel_names(spec), image, strict=False)),
                description=description,
                correct=right,
                attributions=_attributions(runs, series, spec, called),
            )
            shown.append(sample)
    return shown


def _most_certain(
    rows: pd.DataFrame, classes: Sequence[str]
) -> Iterator[tuple[Any, int, str, bool]]:
    """Yield the row, the predicted class, a description, and whether it was right.

    Class 0 of several is not shown as a prediction.
    """
    if tuple(classes) == DIRECTIONS:
        p, returns = rows["p_up"].to_numpy(), rows["forward_return"].to_numpy()
        called, certainty = (p > 0.5).astype(int), np.abs(p - 0.5)
        right = (p > 0.5) == (returns > 0)
        texts = [
            f"P(up) {one:.1%}, then {after:+.2%}" for one, after in zip(p, returns, strict=True)
        ]
    else:
        rows = rows.dropna(subset=["label"])
        names = [name.replace("_", " ") for name in classes]
        p, label = rows[[*probability_columns(rows)]].to_numpy(), rows["label"].to_numpy(np.int64)
        called, largest = p.argmax(axis=1), p.max(axis=1)
        certainty, right = np.where(called > 0, largest, 0.0), called == label
        texts = [
            f"{names[one]} {share:.1%}, was {names[true]}"
            for one, share, true in zip(called, largest, label, strict=True)
        ]
    for kind in (right, ~right):
        at = int(np.argmax(np.where(kind, certainty, -1.0))) if len(kind) else 0
        if kind.any() and certainty[at] > 0:
            yield rows.iloc[at], int(called[at]), texts[at], bool(right[at])


def _attributions(
    runs: Sequence[Run], series: NDArray[np.float64], spec: ImageSpec, called: int
) -> Attributions | None:
    """Return the mean over the networks; None if one cannot be read, or captum is missing."""
    try:
        modules: list[Any] = [getattr(run.model(), "module_") for run in runs]  # noqa: B009
        found = [explain(module, series, spec, np.array([called])) for module in modules]
    except (RunError, LearningError) as error:
        log.warning("%s: predictions of %s are not explained", error.found, runs[0].settings.name)
        return None
    cams = [one.cam[0] for one in found if one.cam is not None]
    return Attributions(
        folded=np.mean([one.folded[0] for one in found], axis=0),
        occluded=np.mean([one.occluded[0] for one in found], axis=0),
        cam=np.mean(cams, axis=0) if cams else None,
    )


def channel_names(spec: ImageSpec) -> list[str]:
    """Return the names of the first two channels; with their field if it is not the first one."""
    names = [(field, KIND_NAMES.get(kind, kind)) for field, kind in spec.channels[:2]]
    return [kind if field == spec.fields[0] else f"{kind} of {field}" for field, kind in names]
