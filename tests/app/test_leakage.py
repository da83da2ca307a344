"""Audits for look-ahead pass on a clean study, and each fails on a fault."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gafcnn as gc
from gafcnn.app import leakage
from gafcnn.app.run_folder import write_metrics
from gafcnn.app.studies import Study
from gafcnn.atomic_io import read_sealed
from gafcnn.evaluation.predictions import read_predictions, write_predictions
from gafcnn.evaluation.test_set import TestSet
from gafcnn.evaluation.trading_rules import TradingRules

Table = pd.DataFrame

RULES = TradingRules()


@pytest.fixture
def clean(live: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A clean study; the stored images are found from the folder of the test."""
    monkeypatch.chdir(live)
    return gc.load_study("outputs/tiny")


@pytest.fixture
def change(harmed: Path) -> Callable[[Callable[[Table], Table]], Study]:
    """Change the predictions of the run 30m, checksums included; return the study."""

    def write(changed: Callable[[Table], Table]) -> Study:
        folder = harmed / "outputs" / "tiny" / "30m" / "seed=0"
        path = folder / "predictions.parquet"
        write_predictions(path, changed(read_predictions(path)))
        seal(folder)
        return gc.load_study(harmed / "outputs" / "tiny")

    return write


def seal(folder: Path) -> None:
    metrics = read_sealed(folder / "metrics.json")
    assert metrics is not None
    write_metrics(folder, metrics, list(metrics.pop("checksums")))


def test_a_clean_study_passes(clean: Study) -> None:
    found = list(leakage.receipts(clean, moments=3))
    assert len({receipt["receipt"] for receipt in found}) == 5
    for receipt in found:
        assert receipt["passed"], receipt["found"]


def test_only_bars_after_t_are_altered() -> None:
    bars, _ = gc.simulate(50)
    t = bars.index.to_numpy("datetime64[ns]")[30]
    other = leakage.altered(bars, t, np.random.default_rng(0))
    pd.testing.assert_frame_equal(other.iloc[:31], bars.iloc[:31])
    assert (other.iloc[31:] != bars.iloc[31:]).all(axis=None)
    assert (other["low"] <= other[["open", "close"]].min(axis=1)).all()


def other_split(table: Table) -> Table:
    first = table["time"][table["split"] == "test"].iloc[:50]
    return table.assign(split=table["split"].mask(table["time"].isin(first), "val"))


def known_late(table: Table) -> Table:
    last = table["time"] == table["time"][table["split"] == "val"].max()
    return table.assign(known_at=table["known_at"].mask(last, table["time"].max()))


@pytest.mark.parametrize(
    "changed",
    [
        other_split,
        known_late,
        lambda table: table.iloc[1:],
        lambda table: table.assign(label=1 - table["label"]),
        lambda table: table.assign(forward_return=-table["forward_return"]),
    ],
)
def test_rows_that_are_not_those_of_the_split_are_found(change: Any, changed: Any) -> None:
    receipt = leakage.parts_apart(change(changed))
    assert not receipt["passed"]
    assert "30m" in receipt["found"]


def test_a_split_that_does_not_purge_is_found(
    clean: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = clean.samples()
    known_at = samples.outcomes.known_at.copy()
    known_at[samples.split.train[-1]] = samples.times[samples.split.test[-1]]
    late = gc.Samples.__new__(gc.Samples)
    vars(late).update(vars(samples))
    vars(late)["outcomes"] = type(samples.outcomes)(samples.outcomes.forward_return, known_at)
    monkeypatch.setattr(Study, "samples", lambda *_: late)
    assert not leakage.parts_apart(clean)["passed"]


def test_ensembles_fitted_on_test_rows_are_found(
    clean: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("gafcnn.evaluation.ensembles")
    fit = module.fit_ensembles
    monkeypatch.setattr(module, "fit_ensembles", lambda rows, *a: fit(rows.assign(split="val"), *a))
    receipt = leakage.fitted_on_validation(clean, RULES, ["weighted", "mean"])
    assert not receipt["passed"]
    for name, fitted in (("weighted", True), ("two_stage", True), ("mean changed", False)):
        assert (name in receipt["found"]) == fitted


def test_thresholds_chosen_on_test_rows_are_found(
    clean: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = TestSet.choice

    def peek(self: TestSet, fold: int | None, model: str) -> Any:
        val = self.test.assign(time=self.val["time"].iloc[: len(self.test)])
        return choice(TestSet(self.bars, val, self.test, self.horizon, self.rules), fold, model)

    monkeypatch.setattr(TestSet, "choice", peek)
    assert not leakage.fitted_on_validation(clean, RULES, ["mean"])["passed"]


@pytest.mark.parametrize(
    "changed",
    [
        lambda table: table.assign(p_up=table["p_up"].shift(1, fill_value=0.5)),
        lambda table: table.assign(p_up=table["p_up"] + 2e-5 * (table["p_up"] < 0.5)),
    ],
)
def test_predictions_of_no_model_are_found(change: Any, changed: Any) -> None:
    receipt = leakage.predicted_again(change(changed))
    assert not receipt["passed"]
    assert "30m" in receipt["found"]
    assert "15m" not in receipt["found"]


def test_a_gpu_may_round_otherwise(change: Any) -> None:
    study = change(lambda table: table.assign(p_up=table["p_up"] * 0.999))
    assert not leakage.predicted_again(study)["passed"]
    [run] = study.runs["30m"]
    for facts in ({"device": "CUDA NVIDIA H200"}, {"precision": "bf16-true"}):
        vars(run)["metrics"] = run.metrics | {"device": "a CPU"} | facts
        assert leakage.predicted_again(study)["passed"]


def test_changed_images_are_found(harmed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = gc.load_study(harmed / "outputs" / "tiny")
    reader = leakage.WindowReader

    def late(*args: Any) -> Any:
        return lambda rows: reader(*args)(np.minimum(rows + 1, 4319))

    with monkeypatch.context() as patched:
        patched.setattr(leakage, "WindowReader", late)
        receipt = leakage.images_again(study)
    assert receipt is not None
    assert not receipt["passed"]
    path = harmed / "data" / "gaf" / "SIMULATED_30m" / "images.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    receipt = leakage.images_again(study)
    assert receipt is not None
    assert not receipt["passed"]
    assert "SIMULATED_30m" in receipt["found"]
    assert "SIMULATED_15m" not in receipt["found"]
    monkeypatch.chdir("/")
    assert leakage.images_again(study) is None  # nothing is stored


def test_features_that_look_ahead_are_found(clean: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("gafcnn.models.boosted_trees")
    honest = module.indicators

    def peek(bars: pd.DataFrame) -> pd.DataFrame:
        # as a label would that is known only later
        return honest(bars).assign(ema_8=bars["close"].diff(-1).astype(np.float32))

    monkeypatch.setattr(module, "indicators", peek)
    receipt = leakage.altered_future(clean, moments=3)
    assert not receipt["passed"]
    assert "predictions of xgboost" in receipt["found"]
    assert "predictions of 15m" not in receipt["found"]


def test_images_that_look_ahead_are_found(clean: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("gafcnn.models.classifier")
    honest = module.GafClassifier.predict_at
    monkeypatch.setattr(
        module.GafClassifier, "predict_at", lambda self, bars, rows: honest(self, bars, rows + 1)
    )
    receipt = leakage.altered_future(clean, moments=3)
    assert not receipt["passed"]
    assert "predictions of 30m" in receipt["found"]


def test_labels_fitted_on_all_bars_are_found(clean: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = gc.Direction.thresholds

    def peek(self: gc.Direction, outcomes: Any, _: Any) -> tuple[float, float]:
        return honest(self, outcomes, np.arange(len(outcomes.forward_return)))

    monkeypatch.setattr(gc.Direction, "thresholds", peek)
    receipt = leakage.altered_future(clean, moments=3)
    assert not receipt["passed"]
    assert "training labels" in receipt["found"]


def interval_of_auc(strength: float, days: int, seed: int) -> tuple[dict[str, float], ...]:
    """Return the AUC of trees on a simulated market, that of the oracle, and their difference."""
    bars, oracle = gc.simulate(days * 1440, strength=strength, seed=seed)
    samples = gc.make_samples(bars, split=gc.Chronological(test=0.3))
    table = gc.BoostedTrees().fit(samples).predict(samples)
    judgement = gc.judge(
        {"xgboost": table}, bars, samples=samples, oracle=oracle, headline="xgboost"
    )
    models = judgement.metrics["models"]
    return models["xgboost"]["auc"], models["oracle"]["auc"]


@pytest.mark.slow
def test_where_there_is_no_signal_none_is_found() -> None:
    """Of twenty intervals of 95 %, nineteen are expected to hold 0.5."""
    found = [interval_of_auc(0, 10, seed)[0] for seed in range(20)]
    assert sum(auc["low"] <= 0.5 <= auc["high"] for auc in found) >= 18


@pytest.mark.slow
def test_a_planted_signal_is_found_and_no_more_than_there_is() -> None:
    auc, best = interval_of_auc(0.5, 30, 0)
    assert auc["low"] > 0.5
    assert auc["value"] <= best["high"]
    assert 0.8 < (auc["value"] - 0.5) / (best["value"] - 0.5) < 1.1
