"""Bars of an exchange with sessions: train, evaluate, explain, predict and export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gafcnn as gc

Run = Callable[..., str]

NEW_YORK = "America/New_York"
DAILY = ("window=20x1d", "window.points=10", "window.lookback=20D", "label.horizon=1D")
SESSION = (
    *("window=30m", "window.span=null", "window.points=8", "window.step=65min"),
    *("window.lookback=520min", "label.horizon=65min"),
)


def write_bars(path: Path, step: str) -> None:
    """Write a walk of daily bars, or of bars of 65 minutes, by their local open times."""
    opens = pd.bdate_range("2022-01-03", "2023-12-29" if step == "1D" else "2022-06-30")
    if step != "1D":
        begins = pd.timedelta_range("9h30min", "15h59min", freq=step)
        opens = pd.DatetimeIndex(np.add.outer(opens.to_numpy(), begins.to_numpy()).ravel())
    close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, len(opens))))
    begin = np.r_[100, close[:-1]]
    frame = pd.DataFrame(
        {"Date": opens, "Open": begin, "High": np.maximum(begin, close) * 1.001,
         "Low": np.minimum(begin, close) * 0.999, "Close": close, "Volume": 1e6},
    )  # fmt: skip
    frame.to_csv(path, index=False)


@pytest.mark.parametrize(
    ("step", "words"),
    [("1D", DAILY), pytest.param("65min", SESSION, marks=pytest.mark.slow)],
)
def test_a_market_with_sessions(
    tmp_path: Path, typed: Run, step: str, words: tuple[str, ...]
) -> None:
    write_bars(tmp_path / "stock.csv", step)
    market = (
        *("market=file", "market.path=stock.csv", f"market.timezone={NEW_YORK}"),
        *("market.calendar=24/5" if step == "1D" else "market.calendar=XNYS", "study=stock"),
    )
    small = (
        *("model=small_cnn", "model.network.width=2", "images.size=16"),
        *("trainer.max_epochs=1", "model.batch_size=32"),
    )
    typed("train", *market, *words, *small, "trainer.accelerator=cpu", "split.test=0.3")
    quick = ("judging.resamples=100", "baseline.rounds=20")
    typed("evaluate", "study=stock", *quick, pictures=step == "65min")
    folder = tmp_path / "outputs" / "stock"
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert metrics["interval"] == metrics["horizon"] == step
    assert {"xgboost", "two_stage"} < set(metrics["models"])
    assert (folder / "evaluation" / "report.html").is_file()
    typed("export", "study=stock")
    assert (folder / "export" / "model_card.md").is_file()
    printed = typed("predict", "study=stock", "json=true")
    [decision] = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    calendar = market[3].partition("=")[2]
    bars = gc.read_bars(tmp_path / "stock.csv", timezone=NEW_YORK, calendar=calendar)
    assert pd.Timestamp(decision["time"]) == bars.index[-1]
