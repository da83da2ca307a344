"""Decisions on the newest bar: those of the evaluation, and what they refuse."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gafcnn as gc
from gafcnn.app.decisions import Decider
from gafcnn.app.studies import Study
from gafcnn.data.indicators import MEMORY
from gafcnn.data.labels import LABELS
from gafcnn.errors import BarsError, RunError
from gafcnn.evaluation.trading_rules import TradingRules

Run = Callable[..., str]

MODELS = ["15m", "30m", "mean", "weighted", "vote", "stacking", "xgboost", "two_stage"]
TREES = ("model=xgboost", "model.rounds=30", "market=simulated", "market.days=3")


@pytest.fixture(scope="module")
def folder(live: Path) -> Path:
    return live / "outputs" / "tiny"


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return gc.simulate(3 * 1440)[0]


@pytest.fixture(scope="module")
def decider(folder: Path) -> Decider:
    return gc.load_study(folder).decider


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, run_in: Run) -> Study:
    """Trees of two symbols in two folds, without an evaluation."""
    folder = tmp_path_factory.mktemp("walk")
    words = [*TREES, "market.symbols=[AAA,BBB]", "split=walk_forward", "split.folds=2"]
    run_in(folder, "train", "-m", *words, "split.fold=0,1", "study=walk")
    return gc.load_study(folder / "outputs" / "walk")


def test_decisions_are_the_predictions_of_the_evaluation(
    decider: Decider, folder: Path, bars: pd.DataFrame
) -> None:
    table = pd.read_parquet(folder / "evaluation" / "predictions.parquet")
    test = table[table["split"] == "test"]
    written = test.pivot_table(index="time", columns="window", values="p_up")
    assert decider.names == MODELS
    for number in (0, 1, 50, len(written) // 2, len(written) - 1):
        time = written.index[number]
        decision = decider.decide(bars.loc[:time].iloc[-MEMORY:])
        assert (decision.symbol, decision.time) == ("SIMULATED", time)
        assert decision.close == bars["close"][time]
        found = [decision.models[name].p_up for name in MODELS]
        np.testing.assert_allclose(found, written.loc[time, MODELS], rtol=0, atol=1e-5)


def test_thresholds_and_rules_are_those_of_the_last_evaluation(
    decider: Decider, folder: Path, bars: pd.DataFrame
) -> None:
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert decider.rules.cost_bps == 5
    assert decider.headline == metrics["headline"]
    sides = set()
    for end in range(4000, 4320, 40):
        decision = decider.decide(bars.iloc[:end])
        assert "5 bps" in decision.rules
        for name, forecast in decision.models.items():
            assert forecast.threshold == metrics["models"][name]["threshold"]["value"]
            traded = round(abs(forecast.p_up - 0.5), 12) >= forecast.threshold
            side = 1 if forecast.p_up > 0.5 else -1 if forecast.p_up < 0.5 else 0
            assert forecast.position == (side if traded else 0)
            assert sum(forecast.probabilities.values()) == pytest.approx(1)
            sides.add(forecast.position)
    assert sides == {1, -1, 0}


def test_without_an_evaluation_the_rules_are_the_defaults(walk: Study) -> None:
    assert walk.decider.rules == TradingRules()
    assert "default" in walk.decide(walk.bars["AAA"], "AAA").rules


def test_the_newest_fold_decides_for_each_symbol_by_its_threshold(walk: Study) -> None:
    decider = walk.decider
    assert decider.fold == 1
    first, newest = (
        run.predictions for run in sorted(walk.runs["xgboost"], key=lambda r: r.fold or 0)
    )
    assert first["time"].max() < newest["time"].max()
    for symbol in ("AAA", "BBB"):
        row = newest[newest["symbol"] == symbol].iloc[-1]
        found = walk.decide(walk.bars[symbol].loc[: row["time"]], symbol).models["xgboost"]
        assert found.p_up == pytest.approx(row["p_up"], abs=1e-5)
        assert found.threshold == decider.thresholds[symbol]["xgboost"]
    judgement = walk.judge(count_look=False, resamples=0)
    assert decider.thresholds["AAA"] != decider.thresholds["BBB"]
    for symbol, part in judgement.by_symbol.items():
        [fold] = [
            row for row in part.metrics["folds"] if (row["model"], row["fold"]) == ("xgboost", 1)
        ]
        assert fold["threshold"] == pytest.approx(decider.thresholds[symbol]["xgboost"])


def test_a_baseline_without_the_newest_fold_is_refused(folder: Path) -> None:
    study = gc.load_study(folder)

    def of_fold(run: Any, fold: int) -> Any:
        other = gc.load_run(run.folder)
        vars(other)["config"] = run.config | {"split": {"kind": "walk_forward", "fold": fold}}
        return other

    study.runs = {
        name: [of_fold(run, fold) for fold in ((0,) if run.is_baseline else (0, 1))]
        for name, [run] in study.runs.items()
    }
    with pytest.raises(RunError):
        Decider(study)


@pytest.mark.parametrize("symbol", ["CCC", None])
def test_several_symbols_need_one_of_them(walk: Study, symbol: str | None) -> None:
    with pytest.raises(RunError):
        walk.decide(walk.bars["AAA"], symbol)


def test_another_symbol_than_the_only_one_is_warned_about_once(
    decider: Decider, bars: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    for symbol in ("SIMULATED", "OTHER", "OTHER"):
        assert decider.decide(bars, symbol).symbol == symbol
    assert len([text for text in caplog.messages if "OTHER" in text]) == 1


def test_bars_that_do_not_fit_are_refused(decider: Decider, bars: pd.DataFrame) -> None:
    assert decider.history == MEMORY
    hourly, _ = gc.simulate(MEMORY, "1h", horizon="1h")
    gap = bars.drop(bars.index[-30:-28])
    unmarked = pd.DataFrame(bars.to_numpy(), bars.index, bars.columns)
    for wrong in (bars.iloc[: MEMORY - 1], gap, hourly, unmarked):
        with pytest.raises(BarsError):
            decider.decide(wrong)
    older = bars.drop(bars.index[-62:-61])  # outside the lookback
    assert decider.decide(older).time == bars.index[-1]


def test_exported_networks_decide_if_they_are_of_the_same_checkpoint(
    harmed: Path, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports = []
    monkeypatch.setattr("gafcnn.app.decisions.Run.model", lambda run: loaded(run, exports))
    folder = harmed / "outputs" / "tiny"
    before = gc.load_study(folder).decide(bars)
    assert exports == ["xgboost"]
    network = folder / "export" / "15m.onnx"
    network.write_bytes(network.read_bytes()[:-1])
    after = gc.load_study(folder).decide(bars)
    assert exports == ["xgboost", "15m", "30m", "xgboost"]
    for name in MODELS:
        assert after.models[name].p_up == pytest.approx(before.models[name].p_up, abs=1e-5)
    shutil.rmtree(folder / "evaluation")
    assert gc.load_study(folder).decider.rules == TradingRules()


def loaded(run: Any, names: list[str]) -> Any:
    names.append(run.folder.parent.name)
    model = gc.BoostedTrees if run.is_baseline else gc.GafClassifier
    return model.load(run.checkpoint)


@pytest.fixture
def three_classes(root: Path) -> Iterator[str]:
    known = set(LABELS)
    yield f"imports=[{root / 'examples' / 'own_three_classes.py'}]"
    for name in set(LABELS) - known:
        del LABELS._found[name]
    sys.modules.pop("own_three_classes", None)


def test_three_classes_have_probabilities_and_no_position(
    three_classes: str, tmp_path: Path, typed: Run
) -> None:
    words = [three_classes, "study=classes"]
    typed("train", *words, *TREES, "label=band")
    printed = typed("predict", *words, "json=true")
    [found] = json.loads(printed)["models"].values()
    assert set(found) == {"probabilities", "predicted"}
    p = found["probabilities"]
    assert len(p) == 3
    assert sum(p.values()) == pytest.approx(1)
    assert found["predicted"] == max(p, key=p.__getitem__)
    run = gc.load_run(tmp_path / "outputs" / "classes")
    forecast = gc.load_study(tmp_path / "outputs" / "classes").decide(
        gc.simulate(3 * 1440)[0].loc[: run.predictions["time"].iloc[-1]]
    )
    last = run.predictions.filter(like="p_").iloc[-1]
    np.testing.assert_allclose(
        [*forecast.models["xgboost"].probabilities.values()], last, atol=1e-6
    )
    assert forecast.models["xgboost"].position is None
