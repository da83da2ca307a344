"""Evaluation of studies and of foreign tables: the numbers, the ledger, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import gafcnn as gc
from gafcnn.app.runs import damaged_files, hold, write_metrics
from gafcnn.data.reading import write_bars
from gafcnn.errors import RunError

Run = Callable[..., str]
Words = tuple[str, ...]

MODELS = ["15m", "30m", "mean", "weighted", "vote", "stacking", "xgboost", "two_stage", "oracle"]


@pytest.fixture(scope="module")
def folder(study: Path) -> Path:
    return study / "outputs" / "tiny"


@pytest.fixture(scope="module")
def metrics(folder: Path) -> dict[str, Any]:
    return metrics_of(folder)


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """The study, to be changed."""
    return shutil.copytree(folder, tmp_path / "outputs" / "copy")


def metrics_of(study: Path) -> dict[str, Any]:
    return json.loads((study / "evaluation" / "metrics.json").read_text())


def change_config(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the config of a complete run, checksums included."""
    path = run / "seed=0" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))
    seal(path.parent)


def seal(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["seal"]
    write_metrics(run, metrics, list(metrics.pop("checksums")))


def change_predictions(run: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = run / "seed=0" / "predictions.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    seal(path.parent)


def test_a_study_without_a_baseline_gets_one_on_the_same_samples(study: Path, folder: Path) -> None:
    printed = (study / "evaluate.txt").read_text()
    assert "study tiny has no baseline: training it" in printed
    assert printed.count("SIMULATED: 4,320 bars") == 1
    run, window = gc.load_run(folder / "xgboost"), gc.load_run(folder / "15m")
    assert isinstance(run.model(), gc.BoostedTrees)
    same = ["symbol", "time", "fold", "split", "label", "forward_return", "known_at"]
    pd.testing.assert_frame_equal(run.predictions[same], window.predictions[same])


def test_the_evaluation_is_complete(metrics: dict[str, Any], study: Path, folder: Path) -> None:
    assert list(metrics["models"]) == MODELS
    assert (metrics["trials"], metrics["looks"], metrics["headline"]) == (3, 1, "two_stage")
    assert metrics["seeds"] == {}  # one seed has no spread
    assert metrics["bars"] == gc.load_run(folder / "15m").config["bars"]
    assert metrics["study"] == "tiny"
    assert (metrics["symbol"], metrics["interval"]) == ("SIMULATED", "1min")
    assert damaged_files(folder / "evaluation") == []
    names = [path.name for path in (folder / "evaluation").iterdir()]
    assert {"report.html", "tables", "figures", "predictions.parquet"} <= set(names)
    printed = " ".join((study / "evaluate.txt").read_text().split())
    for sentence in metrics["verdict"]:
        assert " ".join(sentence.split()) in printed
    assert "look 1 at the test rows of tiny" in printed
    assert "report: outputs/tiny/evaluation/report.html" in printed


def test_the_mean_trade_is_that_of_a_plain_loop(metrics: dict[str, Any], folder: Path) -> None:
    bars, _ = gc.simulate(3 * 1440)
    test = gc.load_run(folder / "xgboost").predictions.query("split == 'test'")
    threshold = metrics["models"]["xgboost"]["threshold"]["value"]
    net, free = [], pd.Timestamp(0, tz="UTC")
    for row in test.itertuples():
        if abs(row.p_up - 0.5) < threshold or row.p_up == 0.5 or row.time < free:
            continue
        entry = bars["open"].iloc[bars.index.get_loc(row.time) + 1]
        free = row.time + pd.Timedelta("15min")
        x = bars["close"][free] / entry
        net.append((1 if row.p_up > 0.5 else -1) * (x - 1) - 1e-3 * (1 + x))
    found = metrics["models"]["xgboost"]
    assert found["trades"]["value"] == len(net)
    assert found["net_bps"]["value"] == pytest.approx(1e4 * np.mean(net))


def test_the_api_judges_as_the_command_does(
    metrics: dict[str, Any], study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(study, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    loaded = gc.load_study("outputs/tiny")
    assert (loaded.windows, loaded.baseline) == (["15m", "30m"], "xgboost")
    assert repr(loaded) == "Study('outputs/tiny': 15m, 30m, xgboost)"
    result = loaded.judge(resamples=100)
    for model, figures in metrics["models"].items():
        assert result.metrics["models"][model] == figures
    assert "This is look 2" in result.verdict[-1]
    bars, oracle = gc.simulate(3 * 1440)
    samples = gc.make_samples({"SIMULATED": bars})
    methods = ("mean", "weighted", "vote", "stacking", "two_stage")
    plain = gc.judge(
        loaded.members(), bars, label=gc.Direction(), samples=samples, ensembles=methods,
        oracle={"SIMULATED": oracle}, trials=3, resamples=100,
    )  # fmt: skip
    assert plain.metrics["models"] == result.metrics["models"]


def test_some_windows_other_costs_and_a_second_look(copied: Path, typed: Run) -> None:
    (copied / "evaluation" / "tables" / "earlier.csv").touch()
    words = ("study=copy", "windows=[15m]", "trading.cost_bps=2", "judging.resamples=0")
    assert "This is look 2 at these test rows" in " ".join(typed("evaluate", *words).split())
    metrics = metrics_of(copied)
    assert not [name for name in metrics["checksums"] if "earlier" in name]
    assert list(metrics["models"]) == ["15m", "xgboost", "two_stage", "oracle"]
    assert metrics["cost_bps"] == 2
    assert metrics["config"]["evaluate"]["trading"]["cost_bps"] == 2
    assert metrics["models"]["15m"]["auc"]["low"] is None
    lines = (copied / "ledger.jsonl").read_text().splitlines()
    looks = [entry for entry in map(json.loads, lines) if entry["event"] == "look"]
    assert [entry["windows"] for entry in looks] == [["15m", "30m"], ["15m"]]


def test_the_baseline_alone_can_be_evaluated(typed: Run, tmp_path: Path) -> None:
    words = ["model=xgboost", "market=simulated", "market.days=2", "model.rounds=20"]
    typed("train", *words, "study=alone")
    typed("evaluate", "study=alone", "judging.resamples=0")
    assert list(metrics_of(tmp_path / "outputs/alone")["models"]) == ["xgboost", "oracle"]


def test_several_symbols_are_judged_together_and_each_alone(pool: Path) -> None:
    folder = pool / "outputs" / "pool" / "evaluation"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["symbols"]) == {"AAA", "BBB"}
    rows = [metrics["symbols"][symbol]["rows"]["all"] for symbol in ("AAA", "BBB")]
    assert sum(rows) == metrics["rows"]["all"]
    for symbol in ("AAA", "BBB"):
        alone = json.loads((folder / "symbols" / symbol / "metrics.json").read_text())
        assert alone["symbol"] == symbol
        assert alone["models"]["15m"] == metrics["symbols"][symbol]["models"]["15m"]
        assert (folder / "symbols" / symbol / "report.html").is_file()


# --- foreign tables -------------------------------------------------------------------------------


@pytest.fixture
def mine(folder: Path, tmp_path: Path) -> pd.DataFrame:
    """A table of time and P(up), and the bars that it is about."""
    write_bars(tmp_path / "bars.parquet", gc.simulate(3 * 1440)[0])
    table = gc.load_run(folder / "30m").predictions.query("split == 'test'")
    table = table.loc[:, ["time", "p_up"]]
    table.to_parquet(tmp_path / "mine.parquet", index=False)
    return table


def test_a_foreign_table_is_judged_alone(mine: pd.DataFrame, typed: Run, tmp_path: Path) -> None:
    words = ["predictions=mine.parquet", "market=file", "market.path=bars.parquet"]
    printed = typed("evaluate", *words, "label.horizon=15min", "judging.resamples=0")
    assert "look 1 at the test rows of mine" in printed
    metrics = metrics_of(tmp_path / "outputs/mine")
    assert list(metrics["models"]) == ["mine"]
    assert metrics["rows"]["all"] == len(mine)
    bars = gc.read_bars(tmp_path / "bars.parquet")
    result = gc.judge({"mine": mine}, bars, label=gc.Direction("15min"), resamples=0)
    assert metrics["models"] == result.metrics["models"]
    mine.to_csv(tmp_path / "mine.csv", index=False)
    words[0] = "predictions=mine.csv"
    assert "look 2 at" in typed("evaluate", *words, "label.horizon=15min", "judging.resamples=0")
    again = metrics_of(tmp_path / "outputs/mine")
    assert again["models"]["mine"]["auc"] == metrics["models"]["mine"]["auc"]
    assert "This is look 2" in again["verdict"][-1]
    line = (tmp_path / "outputs/mine/ledger.jsonl").read_text().splitlines()[-1]
    assert {"costs", "threshold", "windows", "rows"} <= set(json.loads(line))


def test_a_foreign_table_is_judged_beside_a_study(
    mine: pd.DataFrame, copied: Path, typed: Run, refused: Run, metrics: dict[str, Any]
) -> None:
    words = ["study=copy", "predictions=mine.parquet", "judging.resamples=0"]
    typed("evaluate", *words)
    found = metrics_of(copied)
    assert "mine" in found["models"]
    for name in ("auc", "accuracy"):
        assert found["models"]["mine"][name]["value"] == found["models"]["30m"][name]["value"]
        assert found["models"]["30m"][name]["value"] == metrics["models"]["30m"][name]["value"]
    shutil.copy(copied.parents[1] / "mine.parquet", copied.parents[1] / "30m.parquet")
    assert "called 30m" in refused("evaluate", "study=copy", "predictions=30m.parquet")


# --- what is refused ------------------------------------------------------------------------------


def refusals(copied: Path, refused: Run) -> str:
    """The message of an evaluation, which is no look."""
    before = (copied / "ledger.jsonl").read_text()
    message = refused("evaluate", "study=copy", "judging.resamples=0")
    assert (copied / "ledger.jsonl").read_text() == before
    return message


def test_runs_on_different_or_changed_bars_are_refused(copied: Path, refused: Run) -> None:
    for name in ("15m", "30m", "xgboost"):
        change_config(copied / name, lambda config: config["market"].update(strength=0.4))
    assert "SIMULATED differ" in refusals(copied, refused)
    change_config(copied / "30m", lambda config: config["bars"].update(SIMULATED="0"))
    for name in ("15m", "xgboost"):
        change_config(copied / name, lambda config: config["market"].update(strength=0.5))
    assert "SIMULATED differ from those of outputs/copy/30m/seed=0" in refusals(copied, refused)


def test_runs_of_one_model_that_differ_in_more_than_the_seed_are_refused(
    copied: Path, refused: Run
) -> None:
    shutil.copytree(copied / "15m" / "seed=0", copied / "15m" / "seed=1")
    config = copied / "15m" / "seed=1" / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1").replace("0.001", "0.1"))
    seal(config.parent)
    assert "model.lr: 0.001 -> 0.1" in refusals(copied, refused)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda frame: frame.assign(p_up=frame["p_up"].where(frame.index != 7)), "p_up"),
        (lambda frame: frame.assign(known_at=frame["known_at"].max()), "known_at"),
        (lambda frame: frame[frame["split"] == "val"], "test"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(
    copied: Path, refused: Run, change: Callable[[pd.DataFrame], pd.DataFrame], fact: str
) -> None:
    change_predictions(copied / "30m", change)
    assert fact in refusals(copied, refused)


def test_a_missing_window_or_fold_is_named(copied: Path, refused: Run) -> None:
    message = refused("evaluate", "study=copy", "windows=[15m,45m]")
    assert "45m" in message
    assert "[15m,30m]" in message
    for name, fold in (("15m", 0), ("30m", 1)):
        change_config(copied / name, lambda config, fold=fold: config["split"].update(fold=fold))
    shutil.rmtree(copied / "xgboost")
    assert "15m has no run of fold 1" in refusals(copied, refused)
    assert not (copied / "xgboost").exists()


def test_one_process_evaluates_at_a_time(copied: Path, refused: Run) -> None:
    with hold(copied / "evaluation"):
        message = refusals(copied, refused)
    assert re.search(r"process \d+ on .* outputs/copy/evaluation", message)


def test_a_label_that_is_not_registered_is_named(copied: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["label"] = {"kind": "mine"}
        config["imports"] = ["my_label.py"]

    change_config(copied / "15m", change)
    with pytest.raises(RunError, match=r"'mine' is unknown.*imports=\[my_label\.py\]"):
        _ = gc.load_study(copied).label


@pytest.mark.slow
def test_a_baseline_that_was_killed_is_trained_again(
    study: Path, tmp_path: Path, typed: Run
) -> None:
    shutil.copytree(study, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "outputs" / "tiny"
    (folder / "xgboost" / "seed=0" / "metrics.json").unlink()
    assert "no baseline" in typed("evaluate", "study=tiny", "judging.resamples=0")
    assert gc.load_run(folder / "xgboost").metrics["rounds"] > 0


@pytest.mark.slow
def test_patterns_are_recognised_and_compared_with_rules(tmp_path: Path, typed: Run) -> None:
    words = ["experiment=candlesticks", "market=ticks", "market.days=20", "augmentation=none"]
    small = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "model.network.width=4"]
    typed("train", *words, *small, "model.class_weights=null", "study=ticks")
    printed = typed("evaluate", "study=ticks", "judging.resamples=0")
    metrics = metrics_of(tmp_path / "outputs/ticks")
    assert metrics["task"] == "classification"
    assert list(metrics["models"]) == ["10x15m", "xgboost"]
    assert gc.load_run(tmp_path / "outputs/ticks/xgboost").settings.model.features == "window"
    assert "balanced accuracy" in printed
