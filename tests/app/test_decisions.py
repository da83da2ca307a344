"""Decisions on the newest bar: those of the evaluation, and what they refuse."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gafcnn as gc
from gafcnn.app.predict import Decider
from gafcnn.app.runs import Run as TrainedRun
from gafcnn.app.studies import Study
from gafcnn.data.indicators import MEMORY
from gafcnn.errors import BarsError, PredictionsError, RunError
from gafcnn.evaluation.trading_rules import TradingRules

Run = Callable[..., str]

MODELS = ["15m", "30m", "mean", "weighted", "vote", "stacking", "xgboost", "two_stage"]
TREES = ("model=xgboost", "model.rounds=30", "market=simulated", "market.days=3")


@pytest.fixture(scope="module")
def folder(live: Path) -> Path:
    return live / "outputs" / "tiny"


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


def test_decisions_are_those_of_the_last_evaluation(
    decider: Decider, folder: Path, bars: pd.DataFrame, root: Path
) -> None:
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert (decider.names, decider.headline) == (MODELS, metrics["headline"])
    assert decider.rules.cost_bps == 5
    table = pd.read_parquet(folder / "evaluation" / "predictions.parquet")
    test = table[table["split"] == "test"]
    written = test.pivot_table(index="time", columns="window", values="p_up")
    sides = set()
    for time in written.index[[0, 1, *range(20, len(written), 40), -1]]:
        decision = decider.decide(bars.loc[:time].iloc[-MEMORY:])
        assert (decision.symbol, decision.time) == ("SIMULATED", time)
        assert decision.close == bars["close"][time]
        assert "5 bps" in decision.rules
        found = [decision.models[name].p_up for name in MODELS]
        np.testing.assert_allclose(found, written.loc[time, MODELS], rtol=0, atol=1e-5)
        for name, forecast in decision.models.items():
            assert forecast.threshold == metrics["models"][name]["threshold"]["value"]
            traded = round(abs(forecast.p_up - 0.5), 12) >= forecast.threshold
            assert forecast.position == (np.sign(forecast.p_up - 0.5) if traded else 0)
            sides.add(forecast.position)
    assert sides == {1, -1, 0}
    for page in ("index", "live"):
        code = (root / f"docs/{page}.md").read_text().replace("outputs/demo", str(folder))
        exec(re.findall(r"```python\n(study.*?)```", code, re.DOTALL)[0], {"gc": gc, "bars": bars})


def test_the_newest_fold_decides_for_each_symbol_by_its_threshold(walk: Study) -> None:
    assert walk.decider.fold == 1
    assert walk.decider.rules == TradingRules()  # there is no evaluation
    [newest] = [run.predictions for run in walk.runs["xgboost"] if run.fold == 1]
    for symbol, part in walk.judge(count_look=False, resamples=0).by_symbol.items():
        row = newest[newest["symbol"] == symbol].iloc[-1]
        decision = walk.decide(walk.bars[symbol].loc[: row["time"]], symbol)
        assert "default" in decision.rules
        found = decision.models["xgboost"]
        assert found.p_up == pytest.approx(row["p_up"], abs=1e-5)
        folds = {(row["model"], row["fold"]): row for row in part.metrics["folds"]}
        assert found.threshold == pytest.approx(folds["xgboost", 1]["threshold"])
    for unknown in ("CCC", None):
        with pytest.raises(RunError):
            walk.decide(walk.bars["AAA"], unknown)


def test_a_model_without_the_newest_fold_is_refused(walk: Study) -> None:
    study = gc.load_study(walk.folder)
    runs = study.runs["xgboost"]
    study.runs = {"whole": runs, "xgboost": runs[:1]}
    with pytest.raises(PredictionsError):
        Decider(study)


def test_bars_that_do_not_fit_are_refused(decider: Decider, bars: pd.DataFrame) -> None:
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
    folder = harmed / "outputs" / "tiny"
    loaded, model = [], TrainedRun.model
    monkeypatch.setattr(TrainedRun, "model", lambda run: loaded.append(run) or model(run))
    before = gc.load_study(folder).decide(bars)
    assert [run.is_baseline for run in loaded] == [True]
    study = gc.load_study(folder)
    [run] = study.runs["15m"]
    checksums = run.metrics["checksums"] | {"checkpoints/best.ckpt": 1}
    vars(run)["metrics"] = run.metrics | {"checksums": checksums}  # trained again
    after = study.decide(bars)
    assert [run.is_baseline for run in loaded[1:]] == [False, True]
    for name in MODELS:
        assert after.models[name].p_up == pytest.approx(before.models[name].p_up, abs=1e-5)
    shutil.rmtree(folder / "export")
    assert len(Study(folder, ["15m"]).decider.members) == 2
    assert [run.is_baseline for run in loaded[3:]] == [False, True]


def test_patterns_have_no_horizon(typed: Run) -> None:
    words = ["market=ticks", "market.days=20", "window=10x15m", "label=candlestick"]
    words += ["split=tenths", "model=xgboost_patterns", "model.rounds=5", "study=patterns"]
    typed("train", *words)
    printed = json.loads(typed("predict", "study=patterns", "json=true"))
    assert (printed["horizon"], printed["rules"]) == (None, None)
    assert "horizon" not in typed("predict", "study=patterns")
