"""Random predictions of a market, of a direction and of three classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

CLASSES = ("none", "star", "hammer")


def make_predictions(
    n: int = 40, *, window: str = "15m", seed: int = 42, fold: int | None = None,
    skill: float = 0.2, symbol: str = "BNBUSDT", horizon: str = "15min",
) -> pd.DataFrame:  # fmt: skip
    """P(up) at n decision times, one minute apart, the first half validation.

    The returns depend on n and fold alone, so that members of one market agree; the middle fifth of
    them is neutral.
    """
    market = np.random.default_rng([n, 0 if fold is None else fold + 1])
    forward_return = market.normal(0.0, 1e-3, n)
    low, high = np.quantile(forward_return, [0.4, 0.6])
    label = np.select([forward_return > high, forward_return < low], [1.0, 0.0], np.nan)
    start = pd.Timestamp("2025-06-20", tz="UTC") + pd.Timedelta(days=fold or 0)
    time = pd.date_range(start, periods=n, freq="1min").as_unit("ns")
    noise = np.random.default_rng([seed, len(window), int(window[:2])]).normal(0.0, 0.15, n)
    return pd.DataFrame(
        {
            "symbol": pd.array([symbol] * n, dtype="str"),
            "time": time,
            "window": pd.array([window] * n, dtype="str"),
            "fold": pd.array([fold] * n, dtype="Int64"),
            "seed": np.full(n, seed, dtype=np.int64),
            "split": pd.array(np.where(np.arange(n) < n // 2, "val", "test"), dtype="str"),
            "label": pd.array(label, dtype="Int8"),
            "forward_return": forward_return,
            "known_at": time + pd.Timedelta(horizon),
            "p_up": np.clip(0.5 + skill * np.sign(forward_return) + noise, 0.0, 1.0),
        }
    )


def make_class_predictions(window: str = "15m", seed: int = 1) -> pd.DataFrame:
    """Probabilities of three classes at 40 bars; every tenth bar has no label."""
    frame = make_predictions(window=window, seed=seed).drop(columns="p_up")
    label = pd.array(np.arange(40) % 3, dtype="Int8")
    label[::10] = pd.NA
    p = np.random.default_rng([seed, int(window[:2])]).dirichlet(np.ones(3), 40)
    columns = {f"p_{name}": column for name, column in zip(CLASSES, p.T, strict=True)}
    return frame.assign(label=label, forward_return=np.nan, known_at=frame["time"], **columns)


@pytest.fixture(scope="session")
def predictions() -> Callable[..., pd.DataFrame]:
    return make_predictions


@pytest.fixture(scope="session")
def class_predictions() -> Callable[..., pd.DataFrame]:
    return make_class_predictions


@pytest.fixture(scope="session")
def members() -> dict[str, pd.DataFrame]:
    """Three windows over 400 decision times."""
    return {
        window: make_predictions(400, window=window, skill=skill)
        for window, skill in {"15m": 0.05, "30m": 0.10, "60m": -0.02}.items()
    }
