"""What the windows saw where they were surest, what they rested on, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf

from gafcnn.app.factory import load_spec, load_window
from gafcnn.app.runs import Run
from gafcnn.app.studies import Runs, fold_of
from gafcnn.data.bars import interval_of
from gafcnn.data.sources import Market
from gafcnn.data.windows import WindowReader
from gafcnn.errors import LearningError, RunError
from gafcnn.evaluation.positions import confidence
from gafcnn.evaluation.recognition import Recognition
from gafcnn.evaluation.test_set import Ground, folds_of
from gafcnn.images.spec import ImageSpec
from gafcnn.models.explanations.explain import explain
from gafcnn.models.module import GafModule
from gafcnn.report.explained_images import Attributions
from gafcnn.report.sample_pictures import Sample

NAMES = {
    "gasf": "GASF",
    "gadf": "GADF",
    "markov": "Markov transition field",
    "recurrence": "Recurrence plot",
}
"""What a reader knows the kinds of image as."""

log = logging.getLogger(__name__)


def shown_samples(
    runs: Runs, windows: Sequence[str], market: Market, ground: Ground, *, explained: bool = True
) -> list[Sample]:
    """For each window its surest right and its surest wrong forecast of the test rows.

    Args:
        runs: Of the study, by model.
        windows: The models to show.
        market: The bars that they were made of.
        ground: Their test rows.
        explained: Whether to tell what the forecasts rested on.
    """
    shown = []
    for name in windows:
        gallery = _Gallery(name, runs[name], market, explained=explained)
        p = ground.test[name].to_numpy()
        right, came = (p > 0.5) == ground.up, ground.test["forward_return"].to_numpy()
        for row in _surest(confidence(p), right):
            told = f"P(up) {p[row]:.1%}, then {came[row]:+.2%}"
            call = _Call(int(p[row] > 0.5), told, right=bool(right[row]))
            shown.append(gallery.sample(ground.test, row, call))
    return shown


def recognised_samples(
    runs: Runs, windows: Sequence[str], market: Market, study: Recognition
) -> list[Sample]:
    """For each window the pattern that it was surest of and that was there, and one that was not.

    Args:
        runs: Of the study, by model.
        windows: The models to show.
        market: The bars that they were made of.
        study: Their test rows.
    """
    shown, spoken = [], [name.replace("_", " ") for name in study.classes]
    for name in windows:
        gallery = _Gallery(name, runs[name], market)
        p = study.p(name)
        called, largest = p.argmax(axis=1), p.max(axis=1)
        right = called == study.label
        for row in _surest(np.where(called > 0, largest, 0.0), right):
            there = spoken[study.label[row]]
            told = f"{spoken[called[row]]} {largest[row]:.1%}, there was {there}"
            call = _Call(int(called[row]), told, right=bool(right[row]))
            shown.append(gallery.sample(study.labelled, row, call))
    return shown


@dataclass(frozen=True)
class _Call:
    """What was called: the class, what is told of it, and whether that was right."""

    called: int
    told: str
    right: bool


class _Gallery:
    """Shows samples of one window.

    Args:
        name: The window's.
        runs: Its trainings, of several seeds and folds.
        market: The bars that they were made of.
        explained: Whether to tell what was called rested on.
    """

    def __init__(
        self, name: str, runs: Sequence[Run], market: Market, *, explained: bool = True
    ) -> None:
        config = OmegaConf.create(runs[0].config)
        self._name, self._runs, self._bars = name, runs, market.bars
        self._explained, self._images = explained, load_spec(config)
        self._read = WindowReader(market.bars, load_window(config, market), self._images.fields)

    def sample(self, rows: pd.DataFrame, row: int, call: _Call) -> Sample:
        """What was seen at one of the rows of predictions, and what the call rested on."""
        time = pd.DatetimeIndex(rows["time"])[row]
        series = self._read(self._bars.index.get_indexer(pd.DatetimeIndex([time])))
        interval = interval_of(self._bars).to_timedelta64()
        times = time + pd.TimedeltaIndex(self._read.offsets * interval)
        drawn = replace(self._images, dtype="float32").encode(series)[0]
        fold = next(fold for fold, among in folds_of(rows).items() if among[row])
        return Sample(
            window=self._name,
            series=pd.Series(series[0, 0], times, name=self._images.fields[0]),
            channels=dict(zip(channel_names(self._images), drawn, strict=False)),
            told=call.told,
            right=call.right,
            attributions=self._attributions(series, call, fold) if self._explained else None,
        )

    def _attributions(
        self, series: NDArray[np.float64], call: _Call, fold: int | None
    ) -> Attributions | None:
        """Of the networks of all seeds of a fold, whose mean the forecast is, the mean."""
        networks = self._networks(fold)
        if not networks:
            return None
        classes = np.array([call.called])
        found = [explain(network, series, self._images, classes) for network in networks]
        cams = [one.cam[0] for one in found if one.cam is not None]
        return Attributions(
            folded=np.mean([one.folded[0] for one in found], axis=0),
            occluded=np.mean([one.occluded[0] for one in found], axis=0),
            cam=np.mean(cams, axis=0) if cams else None,
        )

    def _networks(self, fold: int | None) -> list[GafModule]:
        """The networks of a fold; none where one is damaged or was left behind, which is told."""
        try:
            models = [run.model() for run in self._runs if fold_of(run) == fold]
        except (RunError, LearningError) as error:
            log.warning("%s: what %s looked at is not shown", error.found, self._name)
            return []
        return [model for model in models if isinstance(model, GafModule)]


def channel_names(images: ImageSpec) -> list[str]:
    """What the first two channels are called; the field is left out where it is the series'."""
    return [
        NAMES[kind] if field == images.fields[0] else f"{NAMES[kind]} of {field}"
        for field, kind in images.channels[:2]
    ]


def _surest(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Iterator[int]:
    """The surest right row and the surest wrong one, where there are such of any confidence."""
    for kind in (right, ~right):
        if kind.any():
            row = int(np.argmax(np.where(kind, confidence, -1.0)))
            if confidence[row] > 0:
                yield row
