"""Scores and a sample to draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gafcnn.forecasts import ENSEMBLES, ScoreTable, score_table


def made_up_scores(n: int, *models: str) -> ScoreTable:
    """Scores of models on n rows, two thirds of which went up, every fourth of them neutral."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"forward_return": np.where(np.arange(n) % 3 > 0, 1e-3, -1e-3)})
    label = np.where(np.arange(n) % 4 > 0, frame["forward_return"] > 0, np.nan)
    frame["label"] = pd.array(label, dtype="Int8")
    return score_table(frame.assign(**{name: rng.uniform(size=n) for name in models}), models)


@pytest.fixture(scope="session")
def scores() -> ScoreTable:
    """Three windows, four ensembles and an oracle on 1,200 rows, 900 of them labelled."""
    return made_up_scores(1200, "15m", "30m", "60m", *ENSEMBLES, "oracle")


@pytest.fixture(scope="session")
def no_scores() -> ScoreTable:
    """Two windows on no rows."""
    return made_up_scores(0, "15m", "30m")


@pytest.fixture
def prices() -> pd.Series:
    """Fifteen closes, a minute apart."""
    times = pd.date_range("2025-06-20 10:00", periods=15, freq="1min", tz="UTC")
    return pd.Series(650 + np.sin(np.arange(15.0)), times, name="close")


@pytest.fixture
def image() -> NDArray[np.float32]:
    """GASF and GADF of a cosine, 16 pixels wide."""
    angle = np.linspace(0, np.pi, 16)
    gasf, gadf = np.cos(np.add.outer(angle, angle)), np.sin(np.subtract.outer(angle, angle))
    return np.stack([gasf, gadf]).astype(np.float32)
