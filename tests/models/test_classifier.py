"""The network as an estimator: what it learns, returns, writes and rejects."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from gafcnn.data.augmentation import Augmentation
from gafcnn.data.bars import resample
from gafcnn.data.cross_section import Relative
from gafcnn.data.labels import Candlestick
from gafcnn.data.market_columns import with_market
from gafcnn.data.reading import read_bars
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.splits import Chronological
from gafcnn.data.windows import Window
from gafcnn.errors import ConfigError, LearningError, SamplesError
from gafcnn.evaluation.joining import average_seeds
from gafcnn.evaluation.predictions import check_predictions, forecast_columns
from gafcnn.images.kinds import register_image
from gafcnn.images.spec import ImageSpec
from gafcnn.models.boosted_trees import BoostedTrees
from gafcnn.models.classifier import GafClassifier
from gafcnn.models.networks import register_network
from gafcnn.models.onnx_export import to_onnx, to_safetensors

Train = Callable[..., GafClassifier]


@pytest.fixture(scope="module")
def trees(samples: Samples) -> BoostedTrees:
    return BoostedTrees(rounds=5).fit(samples)


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


@pytest.mark.parametrize(
    "spec",
    [
        ImageSpec(16, fields=("relative_close", "TWO:close", "market")),
        ImageSpec(48, kinds=("gasf", "ohlc"), assets=("TWO",)),
    ],
)
def test_images_of_other_symbols_are_equal_stored_and_on_the_fly(
    spec: ImageSpec, train: Train, pooled: Samples, tmp_path: Path
) -> None:
    bars = {**pooled.bars, "TWO": pooled.bars["TWO"].iloc[300:]}
    samples, options = make_samples(bars), {"image_spec": spec, "max_epochs": 1}
    model = train(samples, **options)
    stored = train(samples, **options, images="stored", data_folder=tmp_path)
    pd.testing.assert_frame_equal(model.predict(samples), stored.predict(samples))
    rows = samples.bar_rows("ONE")[:50]
    with pytest.raises(SamplesError, match="with_market"):
        model.predict_at(bars["ONE"], rows)
    found = model.predict_at(with_market(bars, spec.read_fields)["ONE"], rows)
    np.testing.assert_allclose(found, model.predict_samples(samples)[:50], atol=1e-6)


def test_impossible_images_of_bars_and_assets(train: Train, samples: Samples) -> None:
    with pytest.raises(ConfigError, match=r"size is 16.*15 bars.*size=45"):
        GafClassifier("15m", image_spec=ImageSpec(16, kinds=("ohlc",))).check(samples)
    with pytest.raises(ConfigError, match="BTC has no bars"):
        train(samples, image_spec=ImageSpec(16, assets=("BTC",)))


def test_a_cross_section_of_real_bars(train: Train, real_bars_folder: Path) -> None:
    names = [f"{coin}USDT" for coin in ("BTC", "ETH", "BNB", "SOL", "XRP", "DOGE")]
    folder = real_bars_folder / "perp-30m"
    bars = {name: read_bars(folder / f"{name}.parquet").iloc[-6000:] for name in names}
    split = Chronological(embargo="1D", every="8h")
    samples = make_samples(bars, label=Relative("1D"), split=split, lookback="320h")
    window, spec = Window(points=20, step="8h"), ImageSpec(60, kinds=("ohlc",))
    model = train(samples, window=window, image_spec=spec, max_epochs=2)
    scores = model.predict(samples)["score"]
    assert np.isfinite(scores).all()
    assert scores.nunique() > 100


def test_without_a_folder_nothing_is_written(
    train: Train, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train(samples, max_epochs=1).predict(samples)
    assert list(tmp_path.iterdir()) == []


def test_every_epoch_logs_a_line(
    train: Train, samples: Samples, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level(logging.INFO):
        model = train(samples, max_epochs=2, folder=tmp_path)
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    assert len(lines) == 2
    for number, line in enumerate(lines, start=1):
        row = model.history_.loc[number]
        figures = [f"{row[name]:.4f}" for name in ("train/loss", "val/loss", "val/auc")]
        assert all(text in line for text in (f"epoch {number} of 2", *figures, "samples/s"))


def test_it_is_a_scikit_learn_estimator(
    trained: GafClassifier, samples: Samples, classes: Samples
) -> None:
    params = trained.get_params()
    other = clone(trained)
    assert other.get_params() == params
    assert not hasattr(other, "module_")
    other.set_params(seed=1, window="30m")
    assert (other.seed, other.model_name, trained.seed) == (1, "30m", 0)
    with pytest.raises(LearningError, match="not fitted"):
        other.predict(samples)
    with pytest.raises(LearningError, match="'none', 'one', 'both'.* was .*'down', 'up'"):
        trained.predict(classes)
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


@pytest.mark.parametrize(
    "options",
    [{}, {"images": "stored"}, {"window": {"span": "15min"}, "image_spec": {"size": 16}}],
    ids=["again", "stored", "plain data"],
)
def test_the_same_options_give_the_same_network(
    train: Train, trained: GafClassifier, samples: Samples, tmp_path: Path, options: dict[str, Any]
) -> None:
    model, rows = train(samples, **options, data_folder=tmp_path), np.arange(len(samples))
    p = model.predict_samples(samples, rows)
    assert np.array_equal(p, trained.predict_samples(samples, rows))
    assert (tmp_path / "gaf" / "15m").is_dir() == ("images" in options)


def test_symbols_are_learned_together_and_predicted_apart(train: Train, pooled: Samples) -> None:
    model = train(pooled, max_epochs=1)
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


def test_drawn_samples_are_trained_on_the_same_wherever_images_come_from(
    train: Train, bars: pd.DataFrame, tmp_path: Path
) -> None:
    samples = make_samples(bars, label=Candlestick())
    drawn = Augmentation(per_class=2000, shuffles=1, walks=0, block=20)
    options: dict[str, Any] = {"max_epochs": 1, "augmentation": drawn}
    fly = train(samples, **options)
    stored = train(samples, **options, images="stored", data_folder=tmp_path)
    rows = np.arange(len(samples))
    assert np.array_equal(fly.predict_samples(samples, rows), stored.predict_samples(samples, rows))
    assert fly.facts_["steps"] > len(samples.labelled("train")) // 64


def test_blank_images_are_warned_of(
    train: Train, samples: Samples, caplog: pytest.LogCaptureFixture
) -> None:
    train(samples, max_epochs=1)
    assert "blank" not in caplog.text
    bars = samples.bars[""].assign(volume=lambda frame: 1e9 * frame["volume"])
    large = make_samples(bars, label=samples.definition)
    train(large, max_epochs=1, image_spec=ImageSpec(fields=("close", "volume"), scaling="fixed"))
    assert "channel gasf of volume: 100 % of the images are blank" in caplog.text
    assert "of close" not in caplog.text


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"window": "64x15m"}, "lookback=16h"), ({"window": Window("90min")}, "lookback=90min"),
        ({"window": Window("5min")}, "5 points"), ({"window": {"spam": "30min"}}, "window.spam"),
        ({"window": 30}, 'window="30m"'), ({"window": ["30m"]}, 'window="30m"'),
        ({"window": pd.Timedelta("30min")}, 'window="30m"'),
        ({"network": "small_cn"}, "small_cn"), ({"network": {"kind": "small_cnn", "a": 3}}, "'a'"),
        ({"network": {"width": 4}}, "None"), ({"network": 5}, "network"),
        ({"image_spec": {"size": 0}}, "images.size"), ({"image_spec": 16}, "image_spec"),
        ({"images": "stored"}, "data_folder"), ({"images": "drawn"}, "drawn"),
        ({"monitor": "val/f1"}, "val/f1"), ({"monitor_mode": "least"}, "least"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"max_epochs": 0}, "max_epochs is 0"), ({"max_epochs": 2.5}, "max_epochs is 2.5"),
        ({"lr": -1}, "lr is -1"), ({"seed": "a"}, "seed is 'a'"), ({"augmentation": 9}, "augment"),
        ({"average_weights": 1}, "average_weights is 1"), ({"compile": "true"}, "compile"),
        ({"class_weights": "balanced"}, "balanced"), ({"weights": "imagenet"}, "imagenet"),
        ({"precision": "16-mixed"}, "16-mixed"), ({"precision": "17"}, "17"),
        ({"accelerator": "abacus"}, "abacus"), ({"loggers": {"paper": {}}}, "paper"),
        ({"loggers": {"csv": {"colour": 1}}}, "csv"),
    ],
)  # fmt: skip
def test_invalid_parameters_are_named(
    train: Train, options: dict[str, Any], found: str, samples: Samples
) -> None:
    with pytest.raises((ConfigError, LearningError)) as caught:
        train(samples, **options)
    assert found in str(caught.value)


def test_samples_bars_and_rows_are_those_that_the_model_can_use(
    trained: GafClassifier, trees: BoostedTrees, samples: Samples, bars: pd.DataFrame
) -> None:
    for model in (trained, trees):
        for method in (model.fit, model.predict):
            with pytest.raises(ConfigError, match="given a DataFrame; expected samples alone"):
                method(bars)
        with pytest.raises(ConfigError, match="samples alone"):
            model.fit(samples, samples.label)
        for found, rows in ((bars, [-1]), (bars, [1500]), (bars, [0.5]), (samples, [-1, 3])):
            with pytest.raises(LearningError, match=rf"rows=\[{rows[0]}"):
                model.predict_proba(found, rows)
        with pytest.raises(LearningError, match="interval is 5min, and was 1min"):
            model.predict_proba(resample(bars, "5min"))
        with pytest.raises(LearningError, match="lookback is 15min"):
            model.predict(make_samples(bars, lookback="15min"))


def test_a_parameter_that_changed_after_fit_is_named(samples: Samples) -> None:
    model = BoostedTrees(rounds=5, window="15m", features="window").fit(samples)
    model.set_params(name="mine").predict(samples)
    with pytest.raises(LearningError, match="window is 30m, and was 15m in fit"):
        model.set_params(window="30m").predict(samples)


def test_a_longer_lookback_makes_room_for_a_longer_window(train: Train, bars: pd.DataFrame) -> None:
    longer = make_samples(bars, split=Chronological(val=0.3), lookback="90min")
    train(longer, window=Window("90min"), max_epochs=1)


def test_other_kinds_of_images_are_encoded_on_the_cpu(train: Train, samples: Samples) -> None:
    @register_image("rows")
    def rows(series: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        return np.repeat(series[:, None, -size:], size, axis=1)

    spec = ImageSpec(8, kinds=("gasf", "rows"))
    model = train(samples, image_spec=spec, max_epochs=1)
    assert np.isfinite(model.predict(samples)["p_up"]).all()


# --- offsets and seeds ----------------------------------------------------------------------------

AT_ONCE: dict[str, Any] = {"max_epochs": 1, "lr": 1e-12}  # nothing is learned


def offsets_of(samples: Samples) -> pd.DataFrame:
    """Random forecasts of all samples, in the columns of the label."""
    columns = forecast_columns(samples.definition)
    p = np.random.default_rng(0).dirichlet(np.ones(max(2, len(columns))), len(samples))
    every = np.arange(len(samples))
    keys = {"symbol": samples.symbol_of(every), "time": pd.DatetimeIndex(samples.times, tz="UTC")}
    table = pd.DataFrame(keys | dict(zip(columns, p.T, strict=False)))
    return table.sample(frac=1, random_state=0)


@pytest.mark.parametrize("name", ["samples", "classes", "ranked"])
def test_without_learning_forecasts_are_the_offset(
    name: str, train: Train, request: pytest.FixtureRequest
) -> None:
    samples: Samples = request.getfixturevalue(name)
    table = offsets_of(samples)
    model = train(samples, **AT_ONCE, offset=table)
    columns = [*forecast_columns(samples.definition)]
    expected = table.sort_index()[columns].to_numpy()
    found = model.predict_samples(samples).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if name == "samples":
        val, loss = samples.labelled("val"), model.history_["val/loss"].iloc[0]
        p = expected[val, 0]
        assert loss == pytest.approx(log_loss(samples.label[val], p), rel=1e-4)


def test_a_network_learns_what_an_offset_has_left(train: Train, samples: Samples) -> None:
    truth = np.where(samples.label == 1, 0.9, 0.1)
    table = offsets_of(samples).sort_index().assign(p_up=np.where(samples.label < 0, 0.5, truth))
    known = train(samples, offset=table)
    assert known.metrics_["auc"] == 1  # it does not forget what it is told
    assert known.history_["train/loss"].iloc[0] < 0.2
    none = train(samples, offset=table.assign(p_up=0.5))
    test = samples.labelled("test")  # it learns as well as without
    assert roc_auc_score(samples.label[test], none.predict_samples(samples, test)) > 0.7


def test_offsets_that_do_not_fit_are_named(train: Train, samples: Samples) -> None:
    table = offsets_of(samples)
    val = pd.Timestamp(samples.times[samples.labelled("val")[3]], tz="UTC")
    for found, wrong in (
        (r"no forecast for 1 of .* \(first " + re.escape(str(val)), table.query("time != @val")),
        ("no forecast for 1 of", table.assign(p_up=table["p_up"].mask(table["time"] == val, 1.5))),
        ("a table of symbol, time, score; expected one row of symbol, time, p_up",
         table.rename(columns={"p_up": "score"})),
        ("a table of symbol, time, p_up", pd.concat([table, table.iloc[:1]])),
    ):  # fmt: skip
        with pytest.raises(LearningError, match=found):
            train(samples, offset=wrong)
    with pytest.raises(ConfigError, match="an offset with augmentation"):
        train(samples, offset=table, augmentation=Augmentation())
    with pytest.raises(ConfigError, match="offset"):
        train(samples, offset="table")

    @register_network("no_linear_end")
    def no_linear_end(channels: int, outputs: int, size: int) -> torch.nn.Module:
        layers = torch.nn.Conv2d(channels, outputs, size), torch.nn.Flatten()
        return torch.nn.Sequential(*layers)

    with pytest.raises(LearningError, match="no_linear_end with an offset"):
        train(samples, offset=table, network="no_linear_end")


def test_an_offset_is_needed_again(
    train: Train, samples: Samples, bars: pd.DataFrame, tmp_path: Path
) -> None:
    table = offsets_of(samples)
    model = train(samples, **AT_ONCE, offset=table, folder=tmp_path)
    loaded = GafClassifier.load(tmp_path, offset=table)
    assert loaded.predict(samples).equals(model.predict(samples))
    with pytest.raises(LearningError, match=r"fitted with an offset; .* pass offset=table to load"):
        GafClassifier.load(tmp_path).predict(samples)
    with pytest.raises(LearningError, match="bars, for a model with an offset"):
        model.predict_at(bars)
    for export in (to_onnx, to_safetensors):
        with pytest.raises(LearningError, match="the export of a model .* and an offset"):
            export(model)
    other = clone(model)
    pd.testing.assert_frame_equal(other.offset, table)
    with pytest.raises(LearningError, match="is of a training with offset="):
        other.set_params(offset=table.assign(p_up=0.5)).fit(samples)
    with pytest.raises(LearningError, match="fitted without an offset"):
        train(samples, **AT_ONCE).set_params(offset=table).predict(samples)


def test_several_seeds_predict_their_mean(
    train: Train, samples: Samples, trained: GafClassifier, tmp_path: Path
) -> None:
    model = train(samples, seeds=2, folder=tmp_path)
    second = train(samples, seed=1)
    singles = [trained.predict(samples), second.predict(samples)]
    table = check_predictions(model.predict(samples), "predictions")
    assert set(table["seed"]) == {-1}
    assert not np.allclose(*(one["p_up"] for one in singles))
    mean = average_seeds(singles)
    np.testing.assert_allclose(table["p_up"], mean["p_up"], rtol=1e-12)
    assert table["time"].tolist() == mean["time"].tolist()
    aucs = [one.metrics_["auc"] for one in (trained, second)]
    assert model.seed_scores_["auc"].to_dict() == {0: aucs[0], 1: aucs[1]}
    assert model.metrics_["seeds"]["auc"] == [min(aucs), max(aucs)]
    val = samples.labelled("val")
    p = model.predict_samples(samples, val)
    assert model.metrics_["auc"] == pytest.approx(roc_auc_score(samples.label[val], p))
    loaded = GafClassifier.load(tmp_path)
    assert (loaded.seeds, loaded.seed) == (2, 0)
    assert loaded.predict(samples).equals(table)
    again = clone(model).fit(samples)  # resumes, and has nothing left to do
    assert again.predict(samples).equals(table)
    shutil.copytree(tmp_path / "seed=1", tmp_path / "seed=2")
    with pytest.raises(LearningError, match="have the seeds 0, 1, 1"):
        GafClassifier.load(tmp_path)
    with pytest.raises(ConfigError, match="seeds=2 with strategy=ddp"):
        train(samples, seeds=2, strategy="ddp")
    with pytest.raises(LearningError, match="export each of model.models_"):
        to_safetensors(model)


def test_training_with_compile_gives_the_names_of_the_plain_network(
    train: Train, samples: Samples
) -> None:
    module = train(samples, max_epochs=1).module_
    names = list(module.state_dict())
    module.network.compile(backend="eager")  # traced, not translated, which takes minutes
    assert list(module.state_dict()) == names
    images = torch.rand(3, 2, 16, 16) * 2 - 1
    assert module.probabilities(images).shape == (3,)
