"""Small bars, and kinds of images."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.conversion import as_bars
from gafcnn.images.kinds import IMAGE_KINDS, register_image


@pytest.fixture(scope="session", autouse=True)
def uncompiled(pyts_image: ModuleType) -> None:
    """Import pyts uncompiled before any test does it otherwise."""


def random_walk(n: int, seed: int = 0) -> pd.DataFrame:
    """One-minute bars of a random walk, indexed by close time."""
    rng = np.random.default_rng(seed)
    close = 600 * np.exp(rng.normal(0, 1e-3, n).cumsum())
    index = pd.date_range("2024-01-01 00:01", periods=n, freq="1min", tz="UTC")
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    frame = pd.DataFrame(prices | {"volume": rng.uniform(1, 9, n)}, index=index)
    return as_bars(frame, label="close")


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    """400 bars with two gaps: 220 decision times with a lookback of 60 minutes."""
    bars = random_walk(400)
    return bars.drop(index=bars.index[[90, 91, 200]])


@pytest.fixture
def register() -> Iterator[Any]:
    """`register_image`, undone after the test."""
    before = dict(IMAGE_KINDS)
    yield register_image
    IMAGE_KINDS.clear()
    IMAGE_KINDS.update(before)
