"""What the windows saw where they were surest, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf

from gafcnn.images import ImageSpec
from gafcnn.judging import Ground
from gafcnn.market import Market
from gafcnn.pipeline.assembly import load_spec, load_window
from gafcnn.report import Sample
from gafcnn.runs import Run
from gafcnn.samples import WindowReader
from gafcnn.trading import confidence

NAMES = {
    "gasf": "GASF",
    "gadf": "GADF",
    "markov": "Markov transition field",
    "recurrence": "Recurrence plot",
}
"""What a reader knows the kinds of image as."""


def shown_samples(
    runs: Mapping[str, Sequence[Run]], windows: Sequence[str], market: Market, ground: Ground
) -> list[Sample]:
    """For each window its surest right and its surest wrong forecast of the test rows."""
    return [
        sample for name in windows for sample in _of_window(name, runs[name][0], market, ground)
    ]


def _of_window(name: str, run: Run, market: Market, ground: Ground) -> Iterator[Sample]:
    config = OmegaConf.create(run.config)
    images = replace(load_spec(config), dtype="float32")
    read = WindowReader(market.bars, load_window(config, market), images.fields)
    p = ground.test[name].to_numpy()
    for row in _surest(p, ground.up):
        at = ground.fills.decided[row : row + 1]
        series = read(at)
        last = market.bars.index[at[0]]
        times = last + pd.TimedeltaIndex(read.offsets * ground.interval.to_timedelta64())
        yield Sample(
            window=name,
            series=pd.Series(series[0, 0], times, name=images.fields[0]),
            channels=dict(zip(channel_names(images), images.encode(series)[0], strict=False)),
            p_up=float(p[row]),
            forward_return=float(ground.test["forward_return"].iloc[row]),
            right=bool((p[row] > 0.5) == ground.up[row]),
        )


def channel_names(images: ImageSpec) -> list[str]:
    """What the first two channels are called; the field is left out where it is the series'."""
    return [
        NAMES[kind] if field == images.fields[0] else f"{NAMES[kind]} of {field}"
        for field, kind in images.channels[:2]
    ]


def _surest(p: NDArray[np.float64], up: NDArray[np.bool_]) -> Iterator[int]:
    """The surest right row and the surest wrong one, where there are such."""
    right = (p > 0.5) == up
    for kind in (right, ~right):
        if kind.any():
            yield int(np.argmax(np.where(kind, confidence(p), -1.0)))
