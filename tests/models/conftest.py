"""A small simulated market, its samples, and models trained on them once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gafcnn.data.cross_section import Relative
from gafcnn.data.labels import NULL, Direction, Outcomes
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological
from gafcnn.images.spec import ImageSpec
from gafcnn.models.classifier import GafClassifier

SPEC = ImageSpec(16)
QUICK: dict[str, Any] = {
    "window": "15m",
    "network": {"kind": "small_cnn", "width": 4},
    "image_spec": SPEC,
    "batch_size": 64,
    "lr": 1e-2,
    "max_epochs": 3,
    "accelerator": "cpu",
    "progress": False,
}


@dataclass(frozen=True)
class Thirds:
    """A label of three classes: whether the last bar rose, by how many of the last two."""

    classes: tuple[str, ...] = ("none", "one", "both")

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        rose = (bars["close"].diff() > 0).to_numpy().astype(np.int8)
        times = bars.index.to_numpy("datetime64[ns]")[rows]
        return Outcomes(np.full(len(rows), np.nan), times, rose[rows] + rose[rows - 1])

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:
        label = np.asarray(outcomes.value, dtype=np.int8)
        label[::7] = NULL
        return label


@pytest.fixture(scope="session")
def train() -> Callable[..., GafClassifier]:
    """Fit a network that trains within a second to samples, with other parameters."""
    return lambda samples, **options: GafClassifier(**QUICK | options).fit(samples)


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    """1,500 one-minute bars with strong momentum."""
    return simulate(1500, strength=0.9, seed=0)[0]


@pytest.fixture(scope="session")
def samples(bars: pd.DataFrame) -> Samples:
    """Labelled by direction and split in order of time."""
    return make_samples(bars, label=Direction("15min"))


@pytest.fixture(scope="session")
def pooled(bars: pd.DataFrame) -> Samples:
    """Samples of two symbols."""
    return make_samples({"ONE": bars, "TWO": simulate(1200, strength=0.5, seed=1)[0]})


@pytest.fixture(scope="session")
def ranked() -> Samples:
    """Samples of five symbols that are ranked, decided every five minutes."""
    market = {name: simulate(1200, strength=0.9, seed=k)[0] for k, name in enumerate("ABCDE")}
    return make_samples(market, label=Relative("15min"), split=Chronological(every="5min"))


@pytest.fixture(scope="session")
def classes(bars: pd.DataFrame) -> Samples:
    """Samples of three classes, a seventh of them without a label."""
    return make_samples(bars, label=Thirds())


@pytest.fixture(scope="session")
def trained(samples: Samples) -> GafClassifier:
    """A network after three epochs, without a folder."""
    return GafClassifier(**QUICK).fit(samples)


@pytest.fixture(scope="session")
def trained_classes(classes: Samples) -> GafClassifier:
    """A network of three classes after three epochs."""
    return GafClassifier(**QUICK, class_weights="balanced").fit(classes)
