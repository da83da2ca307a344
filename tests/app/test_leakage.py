"""Audits for look-ahead pass on a clean study, and each fails on a fault."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gafcnn as gc
from gafcnn.app import leakage
from gafcnn.app.runs import write_metrics
from gafcnn.app.studies import Study
from gafcnn.atomic_io import read_sealed
from gafcnn.evaluation.predictions import read_predictions, write_predictions
from gafcnn.evaluation.test_set import TestSet
from gafcnn.evaluation.trading_rules import TradingRules


@pytest.fixture
def clean(live: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A clean study, in whose folder the test runs."""
    monkeypatch.chdir(live)
    return gc.load_study("outputs/tiny")


@pytest.fixture
def change(harmed: Path) -> Any:
    """Change the predictions of the run 30m, checksums included; return the study."""

    def write(changed: Any) -> Study:
        folder = harmed / "outputs" / "tiny" / "30m" / "seed=0"
        path = folder / "predictions.parquet"
        write_predictions(path, changed(read_predictions(path)))
        metrics = read_sealed(folder / "metrics.json")
        assert metrics is not None
        write_metrics(folder, metrics, list(metrics.pop("checksums")))
        return gc.load_study(harmed / "outputs" / "tiny")

    return write


def fault(receipt: leakage.Receipt | None) -> str:
    """Return what an audit that fails has found."""
    assert receipt is not None
    assert not receipt["passed"]
    return receipt["found"]


def test_a_clean_study_passes(clean: Study) -> None:
    found = list(leakage.receipts(clean, moments=3))
    assert len({receipt["receipt"] for receipt in found}) == 5
    assert [receipt["found"] for receipt in found if not receipt["passed"]] == []


@pytest.mark.parametrize(
    "changed",
    [
        lambda table: table.iloc[1:],
        lambda table: table.assign(split=table["split"].shift(50, fill_value="val")),
        lambda table: table.assign(label=1 - table["label"]),
        lambda table: table.assign(forward_return=-table["forward_return"]),
        lambda table: table.assign(known_at=table["known_at"].max()),
    ],
)
def test_rows_that_are_not_those_of_the_split_are_found(change: Any, changed: Any) -> None:
    assert "30m" in fault(leakage.parts_apart(change(changed)))


def test_training_labels_known_in_the_test_are_found(clean: Study, monkeypatch: Any) -> None:
    samples = clean.samples()
    samples.outcomes.known_at[samples.split.train[-1]] = samples.times[-1]
    monkeypatch.setattr(Study, "samples", lambda *_: samples)
    fault(leakage.parts_apart(clean))


def test_ensembles_fitted_on_test_rows_are_found(clean: Study, monkeypatch: Any) -> None:
    module = import_module("gafcnn.evaluation.ensembles")
    fit = module.fit_ensemble
    monkeypatch.setattr(module, "fit_ensemble", lambda rows, *a: fit(rows.assign(split="val"), *a))
    found = fault(leakage.fitted_on_validation(clean, TradingRules(), ["weighted", "mean"]))
    assert [name in found for name in ("weighted", "two_stage", "mean")] == [True, True, False]


def test_thresholds_chosen_on_test_rows_are_found(clean: Study, monkeypatch: Any) -> None:
    choice = TestSet.choice

    def peek(self: TestSet, fold: int | None, model: str) -> Any:
        val = self.test.assign(time=self.val["time"].iloc[: len(self.test)])
        return choice(TestSet(self.bars, val, self.test, self.horizon, self.rules), fold, model)

    monkeypatch.setattr(TestSet, "choice", peek)
    fault(leakage.fitted_on_validation(clean, TradingRules(), ["mean"]))


def test_predictions_of_no_model_are_found(change: Any) -> None:
    shifted = change(lambda table: table.assign(p_up=table["p_up"].shift(1, fill_value=0.5)))
    found = fault(leakage.predicted_again(shifted))
    assert ("30m" in found, "15m" in found) == (True, False)


def test_only_gpus_and_half_precision_may_round(change: Any) -> None:
    study = change(lambda table: table.assign(p_up=table["p_up"] + 4e-5))
    fault(leakage.predicted_again(study))
    [run] = study.runs["30m"]
    for facts in ({"device": "CUDA NVIDIA H200"}, {"precision": "bf16-true"}):
        vars(run)["metrics"] = run.metrics | {"device": "a CPU"} | facts
        assert leakage.predicted_again(study)["passed"]


def test_changed_images_are_found(harmed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, reader = gc.load_study(harmed / "outputs" / "tiny"), leakage.WindowReader
    with monkeypatch.context() as late:
        late.setattr(leakage, "WindowReader", lambda *a: lambda rows: reader(*a)(rows - 1))
        fault(leakage.images_again(study))
    path = harmed / "data" / "gaf" / "SIMULATED_30m" / "images.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    found = fault(leakage.images_again(study))
    assert ("SIMULATED_30m" in found, "SIMULATED_15m" in found) == (True, False)
    monkeypatch.chdir("/")
    assert leakage.images_again(study) is None  # nothing is stored


def test_features_that_look_ahead_are_found(clean: Study, monkeypatch: Any) -> None:
    module = import_module("gafcnn.models.boosted_trees")
    honest = module.indicators
    monkeypatch.setattr(
        module, "indicators", lambda bars: honest(bars).assign(ema_8=-bars["close"].diff(-1))
    )
    found = fault(leakage.altered_future(clean, moments=3))
    assert ("of xgboost" in found, "of 15m" in found) == (True, False)


def test_images_that_look_ahead_are_found(clean: Study, monkeypatch: Any) -> None:
    at = gc.GafClassifier.predict_at
    monkeypatch.setattr(gc.GafClassifier, "predict_at", lambda self, b, rows: at(self, b, rows + 1))
    assert "of 30m" in fault(leakage.altered_future(clean, moments=3))


def test_labels_fitted_on_all_bars_are_found(clean: Study, monkeypatch: Any) -> None:
    fit = gc.Direction.thresholds
    monkeypatch.setattr(
        gc.Direction, "thresholds",
        lambda self, outcomes, _: fit(self, outcomes, np.arange(len(outcomes.known_at))),
    )  # fmt: skip
    assert "training labels" in fault(leakage.altered_future(clean, moments=3))


def auc_of_trees(strength: float, days: int, seed: int) -> list[dict[str, float]]:
    """Return the AUC of trees on a simulated market, and that of the oracle."""
    bars, oracle = gc.simulate(days * 1440, strength=strength, seed=seed)
    samples = gc.make_samples(bars, split=gc.Chronological(test=0.3))
    tables = {"xgboost": gc.BoostedTrees().fit(samples).predict(samples)}
    models = gc.judge(tables, bars, samples=samples, oracle=oracle).metrics["models"]
    return [models[name]["auc"] for name in ("xgboost", "oracle")]


@pytest.mark.slow
def test_without_a_signal_none_is_found() -> None:
    """Of twenty intervals of 95 %, nineteen are expected to hold 0.5."""
    found = [auc_of_trees(0, 10, seed)[0] for seed in range(20)]
    assert sum(auc["low"] <= 0.5 <= auc["high"] for auc in found) >= 18


@pytest.mark.slow
def test_a_planted_signal_is_found_and_no_more_than_there_is() -> None:
    auc, best = auc_of_trees(0.5, 30, 0)
    assert auc["low"] > 0.5
    assert 0.8 < (auc["value"] - 0.5) / (best["value"] - 0.5) < 1.1
