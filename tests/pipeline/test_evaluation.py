"""What `evaluate.py` makes of a study: one page, one file of numbers, and no more than is true."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig
from sklearn.metrics import roc_auc_score

from gafcnn import load_run
from gafcnn.app.runs import holding
from gafcnn.app.studies import for_baseline
from gafcnn.data.simulated import simulate
from gafcnn.models.boosted_trees import Baseline

Command = Callable[..., subprocess.CompletedProcess[str]]
Reseal = Callable[[Path], None]
Refuse = Callable[..., str]
Typed = Callable[..., str]

NAMES = ["15m", "30m", "60m", "mean", "weighted", "vote", "stacking", "xgboost", "two_stage",
         "oracle"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(judged_study: Path) -> Path:
    return judged_study / "outputs" / "tiny"


@pytest.fixture(scope="module")
def config(root: Path) -> DictConfig:
    with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
        return hydra.compose("evaluate", ["study=tiny"])


@pytest.fixture(scope="module")
def metrics(folder: Path) -> dict:
    return json.loads((folder / "evaluation" / "metrics.json").read_text())


def test_a_study_without_a_baseline_is_given_one_and_told_so(judgement: str, folder: Path) -> None:
    assert "study tiny has no baseline: training outputs/tiny/xgboost" in judgement
    run, window = load_run(folder / "xgboost"), load_run(folder / "15m")
    assert isinstance(run.model(), Baseline)
    same = ["symbol", "time", "fold", "split", "label", "forward_return", "known_at"]
    pd.testing.assert_frame_equal(run.predictions[same], window.predictions[same])
    assert run.metrics["samples"] == window.metrics["samples"]
    assert set(run.predictions["window"]) == {"xgboost"}


def test_a_baseline_that_evaluation_trains_asks_for_no_newer_bars(
    folder: Path, config: DictConfig
) -> None:
    run = load_run(folder / "15m")
    asked = {"_target_": "gafcnn.data.exchange.from_exchange", "refresh": True, "url": "http://x"}
    vars(run)["config"] = run.config | {"market": run.config["market"] | asked}
    market = for_baseline(config, run).market
    assert market.refresh is False
    assert market.url is None


def test_the_baseline_that_is_asked_for_is_the_one_that_evaluation_trains(
    folder: Path, judged_study: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(judged_study)
    words = ("model=xgboost", "market=simulated", "market.days=3", "study=tiny")
    assert "outputs/tiny/xgboost is complete: nothing to do" in typed("train", *words)
    assert not list(folder.glob("xgboost/**/*.ckpt"))


def test_every_model_is_judged_and_every_figure_has_its_interval_and_count(metrics: dict) -> None:
    assert list(metrics["models"]) == NAMES
    for figures in metrics["models"].values():
        for name in ("accuracy", "auc", "log_loss", "brier", "auc_labelled", "win_rate_gross",
                     "win_rate_net", "sharpe", "sortino", "max_drawdown", "trades", "net_bps",
                     "break_even_bps", "deflated_sharpe"):  # fmt: skip
            assert set(figures[name]) == {"value", "low", "high", "n"}, name
        assert figures["auc"]["n"] > figures["auc_labelled"]["n"] > 0
        low, value, high = (figures["accuracy"][key] for key in ("low", "value", "high"))
        assert low <= value <= high
    assert metrics["trials"] == 4
    assert metrics["looks"] == 1
    assert metrics["headline"] == "two_stage"


def test_the_numbers_are_those_of_the_predictions(metrics: dict, folder: Path) -> None:
    table = pd.read_parquet(folder / "evaluation" / "predictions.parquet")
    assert set(table["window"]) == set(NAMES)
    test = table[(table["window"] == "two_stage") & (table["split"] == "test")]
    up = test["forward_return"] > 0
    told = metrics["models"]["two_stage"]
    assert told["auc"]["value"] == pytest.approx(roc_auc_score(up, test["p_up"]))
    assert told["accuracy"]["value"] == pytest.approx(((test["p_up"] > 0.5) == up).mean())
    assert metrics["classes"]["all"]["up"] == pytest.approx(up.mean())


def test_the_mean_trade_is_that_of_a_plain_loop(metrics: dict, folder: Path) -> None:
    bars, _ = simulate(3 * 1440)
    test = load_run(folder / "xgboost").predictions.query("split == 'test'")
    threshold = metrics["models"]["xgboost"]["threshold"]["value"]
    net, free = [], pd.Timestamp(0, tz="UTC")
    for row in test.itertuples():
        if abs(row.p_up - 0.5) < threshold or row.p_up == 0.5 or row.time < free:
            continue
        entry = bars["open"].iloc[bars.index.get_loc(row.time) + 1]
        free = row.time + pd.Timedelta("15min")
        x = bars["close"][free] / entry
        net.append((1 if row.p_up > 0.5 else -1) * (x - 1) - 1e-3 * (1 + x))
    told = metrics["models"]["xgboost"]
    assert told["trades"]["value"] == len(net)
    assert told["net_bps"]["value"] == pytest.approx(1e4 * np.mean(net))


def test_pairs_targets_regimes_and_coverage_are_told_with_counts(metrics: dict) -> None:
    pairs = {(row["a"], row["b"]) for row in metrics["pairs"]}
    assert ("two_stage", "xgboost") in pairs
    assert {a for a, _ in pairs} >= {"mean", "weighted", "vote", "stacking"}
    verdicts = {row["target"]: row["verdict"] for row in metrics["targets"]}
    assert verdicts["pattern recognition"] == "not measured"
    rows = metrics["models"]["mean"]["accuracy"]["n"]
    regimes = [row for row in metrics["regimes"] if row["model"] == "mean"]
    assert sum(row["n"] for row in regimes if row["volatility"]) == rows
    assert sum(row["n"] for row in regimes if row["month"]) == rows
    shares = [row["share"] for row in metrics["coverage"] if row["model"] == "mean"]
    assert shares == [1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, None]
    assert [row["chosen"] for row in metrics["coverage"]].count(True) == len(NAMES)


def test_the_page_stands_alone_beside_its_tables_and_figures(folder: Path) -> None:
    page = (folder / "evaluation" / "report.html").read_text()
    assert "two_stage" in page
    assert list((folder / "evaluation" / "tables").glob("*.csv"))
    assert list((folder / "evaluation" / "figures").glob("*.png"))


def test_the_console_tells_the_verdict_and_where_the_page_is(judgement: str, metrics: dict) -> None:
    told = " ".join(judgement.split())
    for sentence in metrics["verdict"]:
        assert " ".join(sentence.split()) in told
    assert "outputs/tiny/evaluation/report.html" in told
    assert "look 1 at the test rows of study tiny" in told


def test_the_baseline_alone_can_be_evaluated(typed: Typed, tmp_path: Path) -> None:
    typed("train", "model=xgboost", "market=simulated", "market.days=3", "study=alone")
    typed("evaluate", "study=alone", "judging.resamples=0")
    metrics = json.loads((tmp_path / "outputs/alone/evaluation/metrics.json").read_text())
    assert list(metrics["models"]) == ["xgboost", "oracle"]
    assert metrics["headline"] == "xgboost"
    assert metrics["pairs"] == []
    assert metrics["models"]["xgboost"]["auc"]["low"] is None


def test_of_two_evaluations_at_once_one_is_told_of_the_other(copied: Path, refused: Refuse) -> None:
    before = sorted(copied.rglob("*"))
    with holding(copied / "evaluation"):
        told = refused("evaluate", "study=copy")
    assert re.match(
        rf"error: process {os.getpid()} on \S+ is at work in outputs/copy/evaluation; expected one",
        told,
    )
    assert sorted(copied.rglob("*")) == before


@pytest.mark.slow
def test_a_threshold_that_never_trades_is_said_and_is_not_zero(copied: Path, typed: Typed) -> None:
    told = typed("evaluate", "study=copy", "trading.threshold=0.5", "judging.resamples=0")
    assert "it makes no trade in the test period" in " ".join(told.split())
    metrics = json.loads((copied / "evaluation" / "metrics.json").read_text())
    figures = metrics["models"]["two_stage"]
    assert figures["trades"]["value"] == 0
    for name in ("win_rate_gross", "net_bps", "sharpe", "deflated_sharpe", "break_even_bps"):
        assert figures[name]["value"] is None, name


@pytest.fixture
def copied(judged_study: Path, tmp_path: Path) -> Path:
    """The study's runs, to be spoilt."""
    return shutil.copytree(judged_study / "outputs" / "tiny", tmp_path / "outputs" / "copy")


def test_runs_of_other_bars_are_refused(copied: Path, refused: Refuse, reseal: Reseal) -> None:
    config = copied / "30m" / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace(text.split("bars: ")[-1].split()[0], "0" * 64))
    reseal(copied)
    told = "outputs/copy/15m and outputs/copy/30m were trained on different bars"
    assert told in refused("evaluate", "study=copy")


def test_bars_that_have_changed_since_are_refused(
    copied: Path, refused: Refuse, reseal: Reseal
) -> None:
    for config in copied.rglob("config.yaml"):
        config.write_text(config.read_text().replace("strength: 0.5", "strength: 0.4"))
    reseal(copied)
    told = "the bars of SIMULATED are not those that outputs/copy/15m was trained on"
    assert told in refused("evaluate", "study=copy")


def test_a_probability_that_is_none_is_named(copied: Path, refused: Refuse, reseal: Reseal) -> None:
    path = copied / "60m" / "predictions.parquet"
    frame = pd.read_parquet(path)
    frame.loc[7, "p_up"] = np.nan
    frame.to_parquet(path, index=False)
    reseal(copied)
    told = refused("evaluate", "study=copy")
    assert "p_up is not a probability in 1 of" in told
    assert "lower `model.lr`" in told


def test_other_horizons_are_refused(copied: Path, refused: Refuse, reseal: Reseal) -> None:
    path = copied / "30m" / "predictions.parquet"
    frame = pd.read_parquet(path)
    frame["known_at"] += pd.Timedelta("29min")
    frame.to_parquet(path, index=False)
    reseal(copied)
    told = refused("evaluate", "study=copy")
    assert "15m and 30m disagree on known_at" in told
    assert "expected one horizon for all members" in told


def test_a_study_without_test_rows_is_refused(
    copied: Path, refused: Refuse, reseal: Reseal
) -> None:
    for path in copied.glob("*/predictions.parquet"):
        frame = pd.read_parquet(path)
        frame[frame["split"] == "val"].to_parquet(path, index=False)
    reseal(copied)
    assert "there are no test rows" in refused("evaluate", "study=copy")


def test_what_is_refused_is_no_look_at_the_test_rows(
    copied: Path, refused: Refuse, reseal: Reseal
) -> None:
    before = (copied / "ledger.jsonl").read_text()
    test_a_study_without_test_rows_is_refused(copied, refused, reseal)
    assert (copied / "ledger.jsonl").read_text() == before


@pytest.mark.slow
def test_a_baseline_that_was_killed_is_trained_again(copied: Path, typed: Typed) -> None:
    (copied / "xgboost" / "metrics.json").unlink()
    (copied / "xgboost" / "predictions.parquet").unlink()
    told = typed("evaluate", "study=copy", "judging.resamples=0")
    assert "study copy has no baseline: training outputs/copy/xgboost" in told
    assert load_run(copied / "xgboost").metrics["rounds"] > 0


def test_a_fold_that_is_missing_is_named_before_anything_is_trained(
    copied: Path, refused: Refuse, reseal: Reseal
) -> None:
    for name, fold in (("15m", 0), ("30m", 0), ("60m", 1)):
        config = copied / name / "config.yaml"
        config.write_text(config.read_text().replace("stride: 1", f"stride: 1\n  fold: {fold}"))
    shutil.rmtree(copied / "xgboost")
    reseal(copied)
    told = refused("evaluate", "study=copy")
    assert "15m has no run of fold 1; expected every fold for every window" in told
    assert not (copied / "xgboost").exists()


@pytest.mark.slow
def test_few_trades_have_no_interval_and_meet_no_target(copied: Path, typed: Typed) -> None:
    """Of two trades that were won, every resample says 100 %."""
    test = load_run(copied / "15m").predictions.query("split == 'test'")["p_up"]
    threshold = float((test - 0.5).abs().nlargest(2).iloc[-1])
    words = ("windows=[15m]", f"trading.threshold={threshold}", "judging.resamples=100")
    typed("evaluate", "study=copy", *words)
    figures = json.loads((copied / "evaluation" / "metrics.json").read_text())["models"]["15m"]
    assert 1 <= figures["trades"]["value"] <= 2
    assert figures["win_rate_gross"]["low"] is None
    assert figures["sharpe"]["low"] is None
    assert figures["auc"]["low"] is not None


def test_a_second_look_is_said_and_the_ledger_knows_by_which_rules(
    copied: Path, typed: Typed
) -> None:
    words = ("study=copy", "windows=[15m]", "trading.cost_bps=2", "judging.resamples=0")
    assert "This is look 2 at these test rows" in " ".join(typed("evaluate", *words).split())
    looks = [json.loads(line) for line in (copied / "ledger.jsonl").read_text().splitlines()]
    costs = [line["trading"]["cost_bps"] for line in looks if line["event"] == "look"]
    assert costs == [10.0, 2]
