"""Small bars, and processes that write stores of them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from gafcnn.samples import Window

WINDOW = Window("15m", "15min", None, "60min")


def random_walk(n: int, seed: int = 0) -> pd.DataFrame:
    """One-minute bars of a random walk, indexed by close time."""
    rng = np.random.default_rng(seed)
    close = 600 * np.exp(rng.normal(0, 1e-3, n).cumsum())
    start = pd.Timestamp("2024-01-01 00:01", tz="UTC")
    index = pd.date_range(start, periods=n, freq="1min", name="close_time").as_unit("ns")
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    bars = pd.DataFrame(prices | {"volume": rng.uniform(1, 9, n)}, index=index)
    bars.attrs["interval"] = pd.Timedelta("1min")
    return bars


@pytest.fixture(scope="session")
def walk() -> Callable[..., pd.DataFrame]:
    return random_walk


@pytest.fixture(scope="session")
def window() -> Window:
    return WINDOW


@pytest.fixture(scope="session")
def pyts_image() -> ModuleType:
    """pyts's pictures; whoever makes one in a test asks for this first.

    pyts compiles all its kernels at import, for half a minute; here they are left as Python.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numba.config.DISABLE_JIT", True)
        import pyts.image
    pyts.preprocessing._discretizer.List = list  # numba's own cannot be had without compiling
    return pyts.image
