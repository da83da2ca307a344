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
from gafcnn.errors import ConfigError, LearningError, RunError
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
    symbol = next(iter(study.bars))
    table = judgement.predictions
    of_symbol = table.loc[(table["symbol"] == symbol) & (table["split"] == "test")]
    shown = []
    for name in study.windows:
        gallery = _Gallery(name, study.runs[name], study.bars[symbol])
        rows = of_symbol.loc[of_symbol["window"] == name]
        if study.label.classes == DIRECTIONS:
            calls = _directions(rows)
        else:
            calls = _patterns(rows.dropna(subset=["label"]), study.label.classes)
        shown += [gallery.sample(*call) for call in calls]
    return shown


def _directions(rows: pd.DataFrame) -> Iterator[tuple[Any, int, str, bool]]:
    """Yield the row, the predicted class, a description, and whether it was right."""
    p, returns = rows["p_up"].to_numpy(), rows["forward_return"].to_numpy()
    right = (p > 0.5) == (returns > 0)
    for at in _most_certain(np.abs(p - 0.5), right):
        description = f"P(up) {p[at]:.1%}, then {returns[at]:+.2%}"
        yield rows.iloc[at], int(p[at] > 0.5), description, bool(right[at])


def _patterns(rows: pd.DataFrame, classes: Sequence[str]) -> Iterator[tuple[Any, int, str, bool]]:
    """The same for a label of several classes; class 0 is not shown as a prediction."""
    names = [name.replace("_", " ") for name in classes]
    p, label = rows[[*probability_columns(rows)]].to_numpy(), rows["label"].to_numpy(np.int64)
    called, largest = p.argmax(axis=1), p.max(axis=1)
    right = called == label
    for at in _most_certain(np.where(called > 0, largest, 0.0), right):
        description = f"{names[called[at]]} {largest[at]:.1%}, was {names[label[at]]}"
        yield rows.iloc[at], int(called[at]), description, bool(right[at])


def _most_certain(certainty: NDArray[np.float64], right: NDArray[np.bool_]) -> Iterator[int]:
    for kind in (right, ~right):
        if kind.any():
            row = int(np.argmax(np.where(kind, certainty, -1.0)))
            if certainty[row] > 0:
                yield row


class _Gallery:
    """Shows samples of one window.

    Args:
        name: The name of the window.
        runs: Its runs, of several seeds and folds.
        bars: The bars of the symbol that is shown.
    """

    def __init__(self, name: str, runs: Sequence[Run], bars: pd.DataFrame) -> None:
        settings = runs[0].settings
        self._name, self._runs, self._bars = name, runs, bars
        self._spec = settings.images.spec
        self._read = WindowReader(bars, settings.window, self._spec.fields)

    def sample(self, row: Any, called: int, description: str, right: bool) -> Sample:  # noqa: FBT001
        """Return what the networks saw at a row of predictions, and its explanation."""
        time = row["time"]
        series = self._read(self._bars.index.get_indexer(pd.DatetimeIndex([time])))
        interval = interval_of(self._bars).to_timedelta64()
        times = time + pd.TimedeltaIndex(self._read.offsets * interval)
        image = replace(self._spec, dtype="float32").encode(series)[0]
        fold = None if pd.isna(row["fold"]) else int(row["fold"])
        return Sample(
            window=self._name,
            series=pd.Series(series[0, 0], times, name=self._spec.fields[0]),
            channels=dict(zip(channel_names(self._spec), image, strict=False)),
            description=description,
            correct=right,
            attributions=self._attributions(series, called, fold),
        )

    def _attributions(
        self, series: NDArray[np.float64], called: int, fold: int | None
    ) -> Attributions | None:
        """Return the mean over the networks of a fold; None if one cannot be read."""
        runs = [run for run in self._runs if run.fold == fold]
        try:
            modules: list[Any] = [getattr(run.model(), "module_") for run in runs]  # noqa: B009
            found = [explain(module, series, self._spec, np.array([called])) for module in modules]
        # damaged, or captum is not installed
        except (ConfigError, RunError, LearningError) as error:
            log.warning("%s: predictions of %s are not explained", error.found, self._name)
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
