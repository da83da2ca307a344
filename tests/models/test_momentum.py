"""Momentum: scores worked out by hand, what it refuses, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from gafcnn.data.conversion import as_bars
from gafcnn.data.cross_section import AboveMedian, Relative
from gafcnn.data.labels import Direction
from gafcnn.data.samples import Samples, make_samples
from gafcnn.errors import ConfigError, LearningError
from gafcnn.evaluation.predictions import check_predictions
from gafcnn.models.momentum import MOMENTUM, Momentum


def bars_of(close: Any) -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=len(close), freq="1h", tz="UTC")
    prices = dict.fromkeys(("open", "high", "low", "close"), np.asarray(close, float))
    return as_bars(pd.DataFrame({"time": times, **prices, "volume": 1.0}), time="time")


@pytest.fixture(scope="module")
def markets() -> dict[str, pd.DataFrame]:
    """Three symbols, each with a steady drift and some noise, and a fourth of constant prices."""
    rng, hours = np.random.default_rng(0), np.arange(300)
    drifts = {"UP": 1e-3, "MORE": 2e-3, "DOWN": -1e-3, "SAME": 0.0}
    noise = 1e-4 * rng.standard_normal(300)
    return {name: bars_of(np.exp(d * hours + noise * (d != 0))) for name, d in drifts.items()}


@pytest.fixture(scope="module")
def samples(markets: dict[str, pd.DataFrame]) -> Samples:
    return make_samples(markets, label=Relative("4h"), lookback="12h")


@pytest.mark.parametrize("skip", [0, 3])
def test_the_score_is_the_return_of_the_time_before(skip: int, samples: Samples) -> None:
    close, rows = samples.bars["MORE"]["close"].to_numpy(), samples.bar_rows("MORE")
    model = Momentum("12h", skip=f"{skip}h").fit(samples)
    # all prices of a bar are equal, so the first open is its close
    expected = close[rows - skip] / close[rows - 11] - 1
    np.testing.assert_allclose(model.predict_samples(samples.of("MORE")), expected, rtol=1e-12)
    assert model.facts_ == {"bars": 12 - skip, "skipped": skip}


def test_scaling_divides_by_the_volatility_of_the_same_time() -> None:
    close = [90, 100, 110, 99, 108.9, 50, 50, 50, 50, 50, *[60.0] * 90]
    pair = {"A": bars_of(close), "B": bars_of(np.arange(100) + 1.0)}
    pair["A"]["open"] = pair["A"]["low"] = pair["A"]["open"] * np.where(np.arange(100) == 1, 0.8, 1)
    samples = make_samples(pair, label=Relative("1h"), lookback="5h")
    model = Momentum("5h", skip="1h", scaled=True).fit(samples)
    # at row 5 the bars from row 1 to row 4 count: from 80 to 100, then 0.1, -0.1 and 0.1
    [score] = model.predict_at(pair["A"], np.array([5]))
    assert score == pytest.approx((108.9 / 80 - 1) / np.sqrt(0.25**2 + 0.03))
    # constant prices have no volatility
    assert model.predict_at(pair["A"], np.array([9])).tolist() == [0.0]


def test_drifts_are_ranked_perfectly_and_reversed(
    samples: Samples, markets: dict[str, pd.DataFrame]
) -> None:
    model = Momentum("12h", name="12h", seed=4).fit(samples)
    reverse = Momentum("12h", reverse=True).fit(samples)
    assert model.metrics_["rank_ic"] == pytest.approx(1.0) == -reverse.metrics_["rank_ic"]
    assert np.array_equal(reverse.predict_samples(samples), -model.predict_samples(samples))
    table = check_predictions(model.predict(samples), "predictions")
    assert (set(table["window"]), set(table["seed"])) == ({"12h"}, {4})
    above = make_samples(markets, label=AboveMedian("4h"), lookback="12h")
    assert Momentum("12h").fit(above).metrics_["rank_ic"] == pytest.approx(1.0)


def test_predictions_at_rows_of_bars_are_those_of_the_samples(samples: Samples) -> None:
    model = Momentum("12h", scaled=True).fit(samples)
    for symbol, bars in samples.bars.items():
        scores = model.predict_samples(samples.of(symbol))
        assert np.array_equal(model.predict_at(bars, samples.bar_rows(symbol)), scores)
    with pytest.raises(LearningError, match="12h without a gap"):
        model.predict_at(samples.bars["UP"], np.array([10]))
    gapped = samples.bars["UP"].drop(samples.bars["UP"].index[100])
    assert len(model.predict_at(gapped)) == 299 - 2 * 11


@pytest.mark.parametrize(("length", "skip"), [("13h", "0h"), ("12h", "12h"), ("6h", "7h")])
def test_errors_name_a_remedy_that_works(
    length: str, skip: str, samples: Samples, markets: dict[str, pd.DataFrame]
) -> None:
    with pytest.raises(ConfigError, match="12h") as error:
        Momentum(length, skip=skip).fit(samples)
    if skip != "0h":
        assert error.value.instead == "set a shorter skip"
        Momentum(length, skip="5h").fit(samples)
    else:
        lookback = error.value.instead.split("'")[1]
        Momentum(length).fit(make_samples(markets, label=Relative("4h"), lookback=lookback))


def test_other_labels_and_parameters_are_rejected(samples: Samples) -> None:
    bars = samples.bars["UP"]
    with pytest.raises(ConfigError, match="label of direction"):
        Momentum("4h").fit(make_samples(bars, label=Direction("1h"), lookback="12h"))
    for length, skip in (("90min", "0h"), ("4h", "30min"), ("4", "0h")):
        with pytest.raises(ConfigError, match="lookback|skip"):
            Momentum(length, skip=skip).fit(samples)


def test_it_is_loaded_as_it_was_stored(samples: Samples, tmp_path: Path) -> None:
    model = Momentum("6h", skip="1h", scaled=True, folder=tmp_path).fit(samples)
    loaded = Momentum.load(tmp_path)
    assert np.array_equal(loaded.predict_samples(samples), model.predict_samples(samples))
    assert loaded.get_params() == model.get_params() | {"folder": None}
    with pytest.raises(LearningError, match="not fitted"):
        clone(loaded).predict(samples)
    with pytest.raises(LearningError, match="lookback is 5h"):
        loaded.set_params(lookback="5h").predict(samples)
    text = (tmp_path / MOMENTUM).read_text()
    for content in ("", "{}", text.replace('"6h"', '"5h"')):
        (tmp_path / MOMENTUM).write_text(content)
        with pytest.raises(LearningError, match=r"momentum.json cannot be read"):
            Momentum.load(tmp_path / MOMENTUM)
