"""Judgements and a sample to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gafcnn.evaluation.ensembles import ENSEMBLES
from gafcnn.evaluation.scores import score, score_rows
from gafcnn.report.explained_images import Attributions
from gafcnn.report.sample_pictures import Sample

Judgement = dict[str, Any]
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
MODELS = ("15m", "30m", "60m", *ENSEMBLES, "xgboost", "two_stage", "oracle")
MONEY = {
    "win_rate_gross": 0.53,
    "win_rate_net": 0.31,
    "net_bps": -17.3,
    "gross_bps": 2.7,
    "break_even_bps": 1.35,
    "profit_factor": 0.61,
    "sharpe": -8.2,
    "sortino": -11.4,
    "max_drawdown": -0.312,
    "turnover": 3.4,
    "exposure": 0.21,
    "coverage": 0.098,
}
NO_INTERVAL = {
    "annual_return": -0.91,
    "total_return": -0.28,
    "calmar": -2.9,
    "threshold": 0.0312,
    "calibration_error": 0.013,
    "deflated_sharpe": 0.02,
    "trades": 212,
}


def estimate(value: float | None, half: float | None = None, n: int = 0) -> dict[str, Any]:
    low, high = (None, None) if value is None or half is None else (value - half, value + half)
    return {"value": value, "low": low, "high": high, "n": n}


class Market:
    """Rows of which two thirds went up, every fourth neutral, and forecasts that know a little."""

    def __init__(self, n: int, models: tuple[str, ...]) -> None:
        rng = np.random.default_rng(0)
        self.up = np.arange(n) % 3 > 0
        self.returns = np.where(self.up, 1, -1) * rng.exponential(1.5e-3, n)
        label = np.where(np.arange(n) % 4 > 0, self.up, np.nan)
        known = {name: 0.004 + 0.002 * k for k, name in enumerate(models)}
        self.p = {
            name: np.clip(0.5 + 0.05 * rng.normal(size=n) + skill * (self.up - 0.5), 0, 1)
            for name, skill in known.items()
        }
        self.frame = pd.DataFrame({"forward_return": self.returns, **self.p}).assign(
            label=pd.array(label, dtype="Int8")
        )
        self.time = pd.date_range("2025-05-20", periods=max(n, 1), freq="15min", tz="UTC")

    def part(self, model: str, rows: NDArray[np.bool_]) -> dict[str, Any]:
        p, n = self.p[model][rows], int(rows.sum())
        side = np.sign(p - 0.5)
        wins = float((side * self.returns[rows] > 0).mean()) if n else None
        gross = float((side * self.returns[rows]).mean() * 1e4) if n else None
        rate = estimate(wins, 0.98 / np.sqrt(n) if n > 4 else None)
        scored = score(p, self.up[rows])
        return {
            "n": n,
            "trades": n,
            "win_rate": wins,
            "low": rate["low"],
            "high": rate["high"],
            "win_rate_net": None if wins is None else wins / 2,
            "gross_bps": gross,
            "net_bps": None if gross is None else gross - 20,
            **{name: scored[name] for name in ("accuracy", "auc", "majority")},
        }


def figures(market: Market, name: str, *, trades: bool) -> dict[str, Any]:
    """Every figure of a model; those of trading are None where there is no trade."""
    scored = score_rows(market.frame, name)
    found = {
        f"{figure}{suffix}": estimate(scored[rows][figure], 0.02, scored[rows]["n"])
        for rows, suffix in (("all", ""), ("labelled", "_labelled"))
        for figure in ("accuracy", "auc", "log_loss", "brier")
    }
    for figure, value in (MONEY | NO_INTERVAL).items():
        half = abs(value) / 3 if figure in MONEY else None
        kept = trades or figure == "calibration_error"
        found[figure] = estimate(value if kept else None, half, 212 if kept else 0)
    if not trades:
        found |= {"trades": estimate(0), "coverage": estimate(0.0)}
    return found


def coverage(market: Market, name: str, *, trades: bool) -> Iterator[dict[str, Any]]:
    confidence = np.abs(market.p[name] - 0.5)
    for share in (*SHARES, None) if len(confidence) else ():
        threshold = float(np.quantile(confidence, 1 - (share or 0.098)))
        rows = confidence >= threshold if share or trades else np.zeros(len(confidence), bool)
        yield {
            "model": name,
            "share": share,
            "threshold": threshold,
            **market.part(name, rows),
            "chosen": share is None,
            "realised": float(rows.mean()),
        }


def calibration(market: Market, name: str) -> Iterator[dict[str, Any]]:
    order = np.argsort(market.p[name])
    for rows in np.array_split(order, 10) if len(order) else ():
        observed, n = float(market.up[rows].mean()), len(rows)
        interval = {"low": observed - 0.98 / np.sqrt(n), "high": observed + 0.98 / np.sqrt(n)}
        forecast = float(market.p[name][rows].mean())
        yield {"model": name, "forecast": forecast, "observed": observed, **interval, "n": n}


def sides(market: Market, name: str) -> Iterator[dict[str, Any]]:
    p = market.p[name]
    for side, called in (("long", p > 0.5), ("short", p < 0.5)):
        for of, traded in (("all rows", called), ("traded rows", called & (abs(p - 0.5) > 0.08))):
            yield {"model": name, "side": side, "of": of, **market.part(name, traded)}


def regimes(market: Market, name: str) -> Iterator[dict[str, Any]]:
    n = len(market.up)
    volatility, trend = np.arange(n) % 3, np.arange(n) // 3 % 3
    for v, calm in enumerate(("low", "middle", "high")):
        for t, way in enumerate(("down", "flat", "up")):
            rows = (volatility == v) & (trend == t) & (np.arange(n) < (n if v < 2 or t else 0))
            names = {"volatility": calm, "trend": way, "month": None}
            yield {"model": name, **names, **market.part(name, rows)}
    month = market.time[:n].strftime("%Y-%m")
    for one in sorted(set(month)):
        names = {"volatility": None, "trend": None, "month": one}
        yield {"model": name, **names, **market.part(name, np.asarray(month == one))}


def folds(market: Market, name: str, count: int) -> Iterator[dict[str, Any]]:
    for fold, rows in enumerate(np.array_split(np.arange(len(market.up)), count) if count else ()):
        part = market.part(name, np.isin(np.arange(len(market.up)), rows))
        times = {"first": market.time[rows[0]], "last": market.time[rows[-1]]}
        yield {
            "model": name,
            "fold": fold,
            **{key: time.isoformat() for key, time in times.items()},
            **part,
            "win_rate_gross": part["win_rate"],
            "sharpe": None if fold == 0 else -1.2,
            "threshold": 0.03 + fold / 1000,
            "coverage": 0.1,
        }


def equity(market: Market, name: str, *, trades: bool) -> dict[str, Any]:
    rng = np.random.default_rng(list(name.encode()))
    steps = rng.normal(-2e-4, 3e-3, 1000) * (trades or name == "buy_and_hold")
    times = pd.date_range(market.time[0], periods=1000, freq="1h")
    value = np.cumprod(1 + np.array([0, *steps[1:]]))
    return {"time": [time.isoformat() for time in times], "value": value.tolist()}


def pairs(names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for a in names[1:]:
        for figure, value in (("accuracy", 0.012), ("auc", 0.004), ("net_bps", 1.5)):
            expected = "+2 to +5 % accuracy" if (a, figure) == ("mean", "accuracy") else None
            finding = f"{a} and {names[0]} are not to be told apart by {figure}"
            difference = estimate(value, 0.02 if value < 1 else 3.0, 1200)
            row = {"a": a, "b": names[0], "figure": figure, **difference}
            yield row | {"expected": expected, "finding": finding}


def targets(headline: str) -> Iterator[dict[str, Any]]:
    luck = "not to be told apart from luck"
    for target, goal, model, figure, least, found, verdict in (
        ("win rate", "65 to 70 %", headline, "win_rate_gross", 0.65, (0.53, 0.04), "not met"),
        ("pattern recognition", "> 90 %", headline, "pattern_accuracy", 0.9, (), "not measured"),
        ("Sharpe ratio", "2.0 to 2.5", headline, "sharpe", 2.0, (2.4, 3.1), luck),
        ("Sortino ratio", "3.0 to 3.5", headline, "sortino", 3.0, (3.4, 0.5), "met"),
        ("ensemble", "+2 to +5 %", "ensemble less window", "accuracy", 0.02, (0.012, 0.02), luck),
    ):
        names = {"target": target, "goal": goal, "model": model, "figure": figure, "least": least}
        yield {**names, **estimate(*(found or (None,)), n=212), "verdict": verdict}


def judgement_of(
    n: int = 1200,
    models: tuple[str, ...] = MODELS,
    *,
    fold_count: int = 0,
    trades: bool = True,
    symbol: str = "BNB/USDT",
) -> Judgement:
    """What metrics.json of a study would hold, on n made-up rows of which 3/4 are labelled."""
    market = Market(n, models)
    headline = "mean" if "mean" in models else models[0] if models else "none"
    labelled = market.frame["label"].notna().to_numpy()
    up = {"all": market.up, "labelled": market.up[labelled]}
    scored = {name: score_rows(market.frame, name) for name in models}
    no_coin: dict[str, Any] = {
        "net_bps": estimate(None),
        "win_rate_gross": estimate(None),
        "p_value": None,
    }
    coin = {"net_bps": estimate(-20.0, 4), "win_rate_gross": estimate(0.5, 0.06), "p_value": 0.19}
    held = {name: estimate(value) for name, value in (MONEY | NO_INTERVAL).items()}
    del held["deflated_sharpe"]
    receipts = (True, "every bar after t altered"), (None, "a planted signal"), (False, "noise")
    return {
        "study": "demo",
        "symbol": symbol,
        "interval": "1min",
        "horizon": "15min",
        "windows": [name for name in models if name.endswith("m")],
        "headline": headline,
        "first": "2025-05-20T00:00:00+00:00",
        "last": "2025-06-30T23:45:00+00:00",
        "looks": 3,
        "trials": 7,
        "stride": 1,
        "cost_bps": 10.0,
        "bars": "9f" * 32,
        "verdict": [
            f"{headline} ranks the {n:,} test rows with an AUC of 0.531 [0.498, 0.561]: not to be "
            "told apart from luck.",
            "At the threshold chosen on validation 212 trades win 53.1% before costs and come to "
            "-17.3 bps each after 10 bps a side: a loss after costs.",
        ],
        "classes": {
            rows: {"up": float(of.mean()) if n else None, "n": len(of)} for rows, of in up.items()
        },
        "bootstrap": {"resamples": 2000, "block": 1.9, "bin": "15min", "level": 0.95, "seed": 0},
        "models": {name: figures(market, name, trades=trades) for name in models},
        "benchmarks": {
            "buy_and_hold": held,
            "coin": dict.fromkeys(models, coin if trades else no_coin),
        },
        "confusion": {
            name: {"all": one["all"]["confusion"], "labelled": one["labelled"]["confusion"]}
            for name, one in scored.items()
        },
        "calibration": [row for name in models for row in calibration(market, name)],
        "pairs": [*pairs(models)],
        "coverage": [row for name in models for row in coverage(market, name, trades=trades)],
        "sides": [row for name in models for row in sides(market, name)],
        "regimes": [row for name in models for row in regimes(market, name)],
        "folds": [row for name in models for row in folds(market, name, fold_count)],
        "targets": [*targets(headline)],
        "receipts": [
            {"receipt": name, "passed": passed, "found": f"{name}: what was found, in a sentence"}
            for passed, name in receipts
        ],
        "equity": {name: equity(market, name, trades=trades) for name in (*models, "buy_and_hold")},
        "config": {"market": {"symbol": symbol}, "window": {"span": "30min"}},
    }


@pytest.fixture(scope="session")
def make_judgement() -> Callable[..., Judgement]:
    """What makes a judgement; see `judgement_of`."""
    return judgement_of


@pytest.fixture(scope="session")
def judgement() -> Judgement:
    """Three windows, four ensembles, a baseline, both, and an oracle on 1,200 rows."""
    return judgement_of()


@pytest.fixture(scope="session")
def no_rows() -> Judgement:
    """Two windows on no rows."""
    return judgement_of(0, ("15m", "30m"), trades=False)


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
def sample(prices: pd.Series, channels: dict[str, NDArray[np.float32]]) -> Sample:
    """A window's forecast that was right."""
    return Sample("15m", prices, channels, "P(up) 61.2%, then +0.12%", right=True)


@pytest.fixture(scope="session")
def attributions() -> Attributions:
    """Of fifteen points, mostly on three of them; the last spoke against the call."""
    folded = np.array([0.1] * 11 + [1.0, 0.1, 1.0, -1.6])
    return Attributions(folded, folded[::-1].copy(), np.arange(16.0).reshape(4, 4))
