from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.labels import Direction
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.splits import Chronological
from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import ImageStore
from gafcnn.images.writing import build_series, build_store
from gafcnn.models.image_sources import ImagesOnTheFly, StoredImages


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    """800 one-minute bars of a random walk."""
    close = 600 * np.exp(np.random.default_rng(0).normal(0, 1e-3, 800).cumsum())
    index = pd.date_range("2025-01-01", periods=800, freq="1min", tz="UTC", unit="ns")
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), index=index)
    frame.index.name = "close_time"
    frame["volume"] = 1.0
    frame.attrs["interval"] = pd.Timedelta("1min")
    return frame


@pytest.fixture(scope="session")
def samples(bars: pd.DataFrame) -> LabelledSamples:
    """Labelled and split, horizon 15 minutes, no embargo."""
    return LabelledSamples.make(
        bars, pd.Timedelta("60min"), Direction("15min"), Chronological(embargo="0min")
    )


@pytest.fixture(scope="session")
def store(bars: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """16-pixel images of 15 minutes."""
    folder = tmp_path_factory.mktemp("store") / "RANDOM_15m"
    return build_store(folder, bars, Window("15m", "15min"), ImageSpec(16), progress=False)


@pytest.fixture(scope="session")
def stored(store: ImageStore) -> StoredImages:
    """The images of the store."""
    return StoredImages(store)


@pytest.fixture(scope="session")
def on_the_fly(bars: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ImagesOnTheFly:
    """The same images, of series."""
    window = Window("15m", "15min")
    series = build_series(tmp_path_factory.mktemp("series"), bars, window, progress=False)
    rows = decision_rows(bars, window.lookback)
    return ImagesOnTheFly(series, rows, WindowReader(bars, window).offsets, ImageSpec(16))
