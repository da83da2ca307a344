"""The network as an estimator: what it learns, returns, writes and rejects."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import accuracy_score, roc_auc_score

from gafcnn.data.augmentation import Augmentation
from gafcnn.data.candlestick import Candlestick
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.splits import Chronological
from gafcnn.data.windows import Window
from gafcnn.errors import ConfigError, LearningError
from gafcnn.evaluation.predictions import check_predictions
from gafcnn.images.kinds import register_image
from gafcnn.images.spec import ImageSpec
from gafcnn.models.classifier import GafClassifier


def test_a_network_finds_the_momentum(trained: GafClassifier, samples: Samples) -> None:
    table = check_predictions(trained.predict(samples), "predictions")
    assert len(table) == len(samples.split.val) + len(samples.split.test)
    assert set(table["window"]) == {"15m"}
    labelled = table.dropna(subset=["label"])
    assert roc_auc_score(labelled["label"].astype(int), labelled["p_up"]) > 0.7


def test_metrics_are_those_of_the_best_epoch_beside_the_share_of_the_larger_class(
    trained: GafClassifier, samples: Samples, caplog: pytest.LogCaptureFixture
) -> None:
    val = samples.labelled("val")
    label, p = samples.label[val], trained.predict_samples(samples, val)
    assert trained.metrics_["auc"] == pytest.approx(roc_auc_score(label, p))
    assert trained.metrics_["accuracy"] == accuracy_score(label, p > 0.5)
    assert trained.metrics_["majority"] == max(label.mean(), 1 - label.mean())
    best = trained.history_["val/loss"].idxmin()
    assert trained.best_epoch_ == trained.facts_["best_epoch"] == best
    logged = trained.history_.loc[best]
    assert logged["val/auc"] == pytest.approx(trained.metrics_["auc"], abs=1e-6)
    assert logged["val/loss"] == pytest.approx(trained.metrics_["log_loss"], rel=1e-4)
    assert json.loads(json.dumps(trained.facts_))["epochs"] == 3
    with caplog.at_level(logging.INFO):
        trained._score(samples, p, "epochs")
    assert f"{trained.metrics_['majority']:.4f}" in caplog.messages[-1]


def test_without_a_folder_nothing_is_written(
    quick: dict[str, Any], samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    GafClassifier(**quick | {"max_epochs": 1}).fit(samples).predict(samples)
    assert list(tmp_path.iterdir()) == []


def test_every_epoch_logs_a_line(
    quick: dict[str, Any], samples: Samples, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level(logging.INFO):
        model = GafClassifier(**quick | {"max_epochs": 2}, folder=tmp_path).fit(samples)
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    assert len(lines) == 2
    for number, line in enumerate(lines, start=1):
        row = model.history_.loc[number]
        figures = [f"{row[name]:.4f}" for name in ("train/loss", "val/loss", "val/auc")]
        assert all(text in line for text in (f"epoch {number} of 2", *figures, "samples/s"))


def test_it_is_a_scikit_learn_estimator(trained: GafClassifier, samples: Samples) -> None:
    params = trained.get_params()
    other = clone(trained)
    assert other.get_params() == params
    assert not hasattr(other, "module_")
    other.set_params(seed=1, window="30m")
    assert (other.seed, other.model_name, trained.seed) == (1, "30m", 0)
    with pytest.raises(LearningError, match="not fitted"):
        other.predict(samples)
    p = trained.predict_proba(samples, samples.split.test)
    assert p.shape == (len(samples.split.test), 2)
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_predictions_at_rows_of_bars_are_those_of_the_samples(
    trained: GafClassifier, samples: Samples, bars: pd.DataFrame
) -> None:
    rows = samples.bar_rows("")
    expected = trained.predict_samples(samples, np.arange(len(samples)))
    np.testing.assert_allclose(trained.predict_at(bars, rows), expected, atol=1e-6)
    np.testing.assert_allclose(trained.predict_proba(bars)[:, 1], expected, atol=1e-6)
    newest = bars.iloc[-60:]
    np.testing.assert_allclose(trained.predict_at(newest, np.array([59])), expected[-1:], atol=1e-6)


def test_later_bars_do_not_change_a_prediction(trained: GafClassifier, bars: pd.DataFrame) -> None:
    changed = bars.copy()
    changed.iloc[1001:, :4] *= 2
    rows = np.array([900, 1000])
    assert np.array_equal(trained.predict_at(bars, rows), trained.predict_at(changed, rows))


def test_the_seed_decides_the_network(
    quick: dict[str, Any], trained: GafClassifier, samples: Samples
) -> None:
    rows = samples.split.test
    same, other = (
        GafClassifier(**quick, seed=seed).fit(samples).predict_samples(samples, rows)
        for seed in (0, 1)
    )
    assert np.array_equal(same, trained.predict_samples(samples, rows))
    assert not np.allclose(same, other)


def test_stored_images_give_the_same_network_as_images_on_the_fly(
    quick: dict[str, Any], trained: GafClassifier, samples: Samples, tmp_path: Path
) -> None:
    model = GafClassifier(**quick, images="stored", data_folder=tmp_path).fit(samples)
    rows = np.arange(len(samples))
    stored = model.predict_samples(samples, rows)
    assert np.array_equal(stored, trained.predict_samples(samples, rows))
    assert (tmp_path / "gaf" / "15m").is_dir()


def test_symbols_are_learned_together_and_predicted_apart(
    quick: dict[str, Any], pooled: Samples
) -> None:
    model = GafClassifier(**quick | {"max_epochs": 1}).fit(pooled)
    table = model.predict(pooled)
    assert table.groupby("symbol").size().to_dict() == {
        symbol: len(part.split.val) + len(part.split.test)
        for symbol, part in ((symbol, pooled.of(symbol)) for symbol in pooled.symbols)
    }
    for symbol in pooled.symbols:
        part = pooled.of(symbol)
        p = model.predict_at(part.bars[symbol], part.bar_rows(symbol)[part.split.test])
        own = table.query("symbol == @symbol and split == 'test'")["p_up"]
        np.testing.assert_allclose(own, p, atol=1e-6)


def test_several_classes_have_a_probability_each(
    trained_classes: GafClassifier, classes: Samples
) -> None:
    table = trained_classes.predict(classes)
    columns = ["p_none", "p_one", "p_both"]
    np.testing.assert_allclose(table[columns].sum(axis=1), 1, atol=1e-5)
    metrics = {"val/accuracy", "val/balanced_accuracy", "val/macro_f1", "val/loss"}
    assert metrics <= set(trained_classes.history_.columns)
    assert trained_classes.metrics_["balanced_accuracy"] > 0.5
    assert trained_classes.metrics_["majority"] < 1


def test_other_classes_than_those_of_the_training_are_rejected(
    trained: GafClassifier, classes: Samples
) -> None:
    with pytest.raises(LearningError, match="none, one, both"):
        trained.predict(classes)


def test_drawn_samples_are_trained_on_the_same_wherever_images_come_from(
    quick: dict[str, Any], bars: pd.DataFrame, tmp_path: Path
) -> None:
    samples = make_samples(bars, label=Candlestick())
    drawn = Augmentation(per_class=2000, shuffles=1, walks=0, block=20)
    options: dict[str, Any] = quick | {"max_epochs": 1, "augmentation": drawn}
    fly = GafClassifier(**options).fit(samples)
    stored = GafClassifier(**options, images="stored", data_folder=tmp_path).fit(samples)
    rows = np.arange(len(samples))
    assert np.array_equal(fly.predict_samples(samples, rows), stored.predict_samples(samples, rows))
    assert fly.facts_["steps"] > len(samples.labelled("train")) // 64


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"window": "64x15m"}, "lookback to 16h"),
        ({"window": Window("5min")}, "5 points"),
        ({"network": "small_cn"}, "small_cn"),
        ({"network": {"kind": "small_cnn", "depth": 3}}, "depth"),
        ({"images": "stored"}, "data_folder"),
        ({"images": "drawn"}, "drawn"),
        ({"monitor": "val/f1"}, "val/f1"),
        ({"monitor_mode": "least"}, "least"),
        ({"batch_size": 100_000}, "100000"),
        ({"class_weights": "balanced"}, "balanced"),
        ({"weights": "imagenet"}, "imagenet"),
        ({"precision": "16-mixed"}, "16-mixed"),
        ({"precision": "17"}, "17"),
        ({"accelerator": "abacus"}, "abacus"),
        ({"loggers": {"paper": {}}}, "paper"),
        ({"loggers": {"csv": {"colour": 1}}}, "csv"),
        ({"image_spec": {"size": 0}}, "images.size"),
        ({"max_epochs": 0}, "val/loss"),
    ],
)
def test_invalid_parameters_are_named(
    quick: dict[str, Any], options: dict[str, Any], found: str, samples: Samples
) -> None:
    with pytest.raises((ConfigError, LearningError)) as caught:
        GafClassifier(**quick | options).fit(samples)
    assert found in str(caught.value)


def test_a_window_longer_than_the_lookback_is_rejected_with_the_lookback_it_needs(
    quick: dict[str, Any], bars: pd.DataFrame, samples: Samples
) -> None:
    with pytest.raises(ConfigError, match=r"lookback to 90min"):
        GafClassifier(**quick | {"window": Window("90min")}).fit(samples)
    longer = make_samples(bars, split=Chronological(val=0.3), lookback="90min")
    GafClassifier(**quick | {"window": Window("90min"), "max_epochs": 1}).fit(longer)


def test_options_may_be_plain_data(
    quick: dict[str, Any], samples: Samples, trained: GafClassifier
) -> None:
    """As a configuration has them."""
    plain: dict[str, Any] = {"window": {"span": "15min"}, "image_spec": {"size": 16}}
    model = GafClassifier(**quick | plain).fit(samples)
    rows = samples.split.test
    assert np.array_equal(
        model.predict_samples(samples, rows), trained.predict_samples(samples, rows)
    )


def test_other_kinds_of_images_are_encoded_on_the_cpu(
    quick: dict[str, Any], samples: Samples
) -> None:
    @register_image("rows")
    def rows(series: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        return np.repeat(series[:, None, -size:], size, axis=1)

    spec = ImageSpec(8, kinds=("gasf", "rows"))
    model = GafClassifier(**quick | {"image_spec": spec, "max_epochs": 1}).fit(samples)
    assert np.isfinite(model.predict(samples)["p_up"]).all()


def test_the_package_imports_torch_only_to_train() -> None:
    code = (
        "import sys, gafcnn as gc; gc.GafClassifier(), gc.BoostedTrees(); "
        "assert not {'torch', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_training_with_compile_gives_the_names_of_the_plain_network(
    quick: dict[str, Any], samples: Samples
) -> None:
    module = GafClassifier(**quick | {"max_epochs": 1}).fit(samples).module_
    names = list(module.state_dict())
    module.network.compile(backend="eager")  # traced, not translated, which takes minutes
    assert list(module.state_dict()) == names
    images = torch.rand(3, 2, 16, 16) * 2 - 1
    assert module.probabilities(images).shape == (3,)
