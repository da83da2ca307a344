"""Audits for look-ahead pass on a clean study, and each fails on a fault."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gafcnn as gc
from gafcnn.app import leakage
from gafcnn.app.options import METHODS
from gafcnn.app.studies import Study
from gafcnn.evaluation.test_set import TestSet
from gafcnn.evaluation.trading_rules import TradingRules


@pytest.fixture
def clean(live: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A clean study, in whose folder the test runs."""
    monkeypatch.chdir(live)
    return gc.load_study("outputs/tiny")


def fault(receipt: leakage.Receipt | None) -> str:
    """Return what an audit that fails has found."""
    assert receipt is not None
    assert not receipt["passed"]
    return receipt["found"]


def test_a_clean_study_passes(clean: Study) -> None:
    found = list(leakage.receipts(clean, TradingRules(), METHODS, moments=3))
    assert len({receipt["receipt"] for receipt in found}) == 2
    assert [receipt["found"] for receipt in found if not receipt["passed"]] == []


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
