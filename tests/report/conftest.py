"""Judgements of made-up forecasts, and a sample to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import gafcnn as gc
from gafcnn.report.charts import Picture
from gafcnn.report.page import write_report
from gafcnn.report.sample_pictures import Attributions, sample_image

Metrics = dict[str, Any]
FIRST, LAST, AHEAD = 400, 3000, 15  # decision rows, and bars ahead
CLASSES = ("none", "bull_one", "bear")


def table(bars: pd.DataFrame, name: str, label: Any, columns: dict[str, Any]) -> pd.DataFrame:
    """A predictions table of one symbol: 900 validation rows, then test rows."""
    rows = np.arange(FIRST, LAST)
    close = bars["close"].to_numpy()
    return pd.DataFrame(
        {
            "symbol": "BNB",
            "time": bars.index[rows],
            "window": name,
            "fold": pd.array([None] * len(rows), "Int64"),
            "seed": 0,
            "split": np.where(np.arange(len(rows)) < 900, "val", "test"),
            "label": pd.array(label, "Int8"),
            "forward_return": close[rows + AHEAD] / close[rows] - 1,
            "known_at": bars.index[rows + AHEAD],
            **columns,
        }
    )


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    """3,200 simulated bars of a minute."""
    return gc.simulate(3200, seed=2)[0]


@pytest.fixture(scope="session")
def metrics(bars: pd.DataFrame) -> Metrics:
    """A direction judged: two windows, an ensemble, a baseline, both stacked; with all facts."""
    rng, oracle = np.random.default_rng(0), gc.simulate(3200, seed=2)[1]
    close = bars["close"].to_numpy()
    up = (close[AHEAD:] > close[:-AHEAD])[FIRST:LAST]
    label = [int(up) if k % 4 else None for k, up in enumerate(up)]
    tables = {}
    for name, skill in (("15m", 0.01), ("30m", 0.02), ("xgboost", 0.03)):
        p = 0.5 + 0.08 * rng.normal(size=len(up)) + skill * np.where(up, 1, -1)
        tables[name] = table(bars, name, label, {"p_up": np.clip(p, 0.01, 0.99)})
    judged = gc.judge(
        tables, bars, ensembles=("mean", "two_stage"), resamples=100, oracle=oracle
    ).metrics
    fold = {
        "model": "15m", "first": judged["first"], "last": judged["last"], "n": 850, "trades": 12,
        "accuracy": 0.52, "majority": 0.53, "auc": 0.51, "log_loss": 0.7, "win_rate_gross": 0.5,
        "net_bps": -20.0, "sharpe": None, "threshold": 0.031, "coverage": 0.1,
    }  # fmt: skip
    study = {"study": "demo", "looks": 3, "stride": 2, "embargo": "60min", "bars": "9f" * 32}
    return {
        **judged,
        **study,
        "notes": ["mine: 12 rows have no bar"],
        "config": {"market": {"symbol": "BNB"}, "window": {"span": "30min"}},
        "folds": [{**fold, "fold": 0}, {**fold, "fold": 1}],
        "seeds": {"15m": {"seeds": [4, 5, 6], "figures": {"auc": [0.5011, 0.5432]}}},
        "receipts": [
            {"receipt": "look-ahead", "passed": True, "found": "no forecast changed"},
            {"receipt": "noise", "passed": False, "found": "0.61"},
        ],
    }


@pytest.fixture(scope="session")
def class_metrics(bars: pd.DataFrame) -> Metrics:
    """Three classes judged: a window and a baseline."""
    rng, n = np.random.default_rng(0), LAST - FIRST
    label = np.arange(n) % 3
    tables = {}
    for name, skill in (("15m", 0.3), ("xgboost", 0.6)):
        p = rng.dirichlet(np.ones(3), size=n)
        p[np.arange(n), label] += skill
        p /= p.sum(axis=1, keepdims=True)
        columns = {f"p_{one}": p[:, k] for k, one in enumerate(CLASSES)}
        tables[name] = table(bars, name, label, columns)
    return gc.judge(tables, bars, resamples=100).metrics


@pytest.fixture(scope="session")
def ranking() -> Metrics:
    """Six symbols ranked: two models, their ensemble, and a baseline whose scores are equal."""
    rng, bars, rows = np.random.default_rng(0), {}, []
    times = pd.date_range("2025-01-01", periods=120, freq="1D", tz="UTC")
    for symbol in "ABCDEF":
        close = 100 * np.exp(0.02 * rng.normal(size=120).cumsum())
        frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), index=times)
        bars[symbol] = gc.as_bars(frame.assign(volume=1e4), label="close")
        later = np.append(close[1:] / close[:-1] - 1, 0.0)
        rows.append(pd.DataFrame({"time": times, "symbol": symbol, "later": later})[40:])
    table = pd.concat(rows)
    scores = {name: rng.normal(size=len(table)) for name in ("20d", "60d")}
    scores["20d"] += 30 * table.pop("later")
    tables = {name: table.assign(score=one) for name, one in (scores | {"xgboost": 0.0}).items()}
    rules = {"costs_bps": {"A": 10}}
    return gc.judge(
        tables, bars, label=gc.Relative("1D"), rules=rules, ensembles=["mean"], resamples=100
    ).metrics


@pytest.fixture(scope="session")
def pooled(metrics: Metrics) -> Metrics:
    """Two symbols, and both together."""
    parts = {name: {key: metrics[key] for key in ("rows", "classes", "models")} for name in "AB"}
    return {**metrics, "symbols": parts, "symbol": "A, B", "bars": {"A": "0" * 64, "B": "1" * 64}}


@pytest.fixture(scope="session")
def prices() -> pd.Series:
    """Fifteen closes, a minute apart."""
    times = pd.date_range("2025-06-20 10:00", periods=15, freq="1min", tz="UTC")
    return pd.Series(650 + np.sin(np.arange(15.0)), times, name="close")


@pytest.fixture(scope="session")
def channels() -> dict[str, NDArray[np.float32]]:
    """GASF and GADF of a cosine, 16 pixels wide."""
    angle = np.linspace(0, np.pi, 16)
    gasf, gadf = np.cos(np.add.outer(angle, angle)), np.sin(np.subtract.outer(angle, angle))
    return {"GASF": gasf.astype(np.float32), "GADF": gadf.astype(np.float32)}


@pytest.fixture(scope="session")
def attributions() -> Attributions:
    """Of fifteen points, mostly of three; the last one opposes the class."""
    folded = np.array([0.1] * 11 + [1.0, 0.1, 1.0, -1.6])
    return Attributions(folded, folded[::-1].copy(), np.arange(16.0).reshape(4, 4))


@pytest.fixture(scope="session")
def folder(
    metrics: Metrics, prices: pd.Series, channels: dict[str, NDArray[np.float32]],
    attributions: Attributions, tmp_path_factory: Any,
) -> Path:  # fmt: skip
    """A report of the direction with two samples."""
    folder = tmp_path_factory.mktemp("report")
    title = "P(up) 61.2%, then +0.12%, correct"
    samples = [
        Picture.draw(name, title, sample_image(prices, channels, title, found))
        for name, found in (("sample_1_15m", None), ("sample_2_30m", attributions))
    ]
    return write_report(folder / "report.html", metrics, samples, files=True).parent
