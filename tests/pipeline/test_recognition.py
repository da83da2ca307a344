"""A study of candlestick patterns by the commands that a user types: trained, joined, judged."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gafcnn.app.factory import load_markets
from gafcnn.evaluation.class_scores import score_classes
from omegaconf import OmegaConf

from gafcnn import load_run
from gafcnn.app import leakage_future as future
from gafcnn.app.runs import find_runs
from gafcnn.data.bars import check_bars
from gafcnn.data.candlestick import PATTERNS, patterns
from gafcnn.data.reading import write_bars
from gafcnn.evaluation.predictions import classes_of, probability_column

Command = Callable[..., subprocess.CompletedProcess[str]]
Refuse = Callable[..., str]
Typed = Callable[..., str]

WORDS = (
    "label=candlestick",
    "model=small_cnn",
    "images.size=16",
    "images.fields=[open,close]",
    "trainer.max_epochs=1",
)
BASELINE = ("pattern_baseline.rounds=4", "pattern_baseline.trees.nthread=1")


def tick_bars(n: int) -> pd.DataFrame:
    """A random walk on a grid of ticks, on which patterns are found."""
    rng = np.random.default_rng(0)
    close = 2000 + np.cumsum(rng.integers(-6, 7, n))
    begin = np.concatenate([[2000], close[:-1]]) + rng.integers(-3, 4, n)
    wicks = rng.geometric(0.35, (2, n)) - 1
    high, low = np.maximum(begin, close) + wicks[0], np.minimum(begin, close) - wicks[1]
    times = pd.date_range("2024-01-01 00:01", periods=n, freq="1min", tz="UTC", unit="ns")
    columns = {"open": begin, "high": high, "low": low, "close": close, "volume": close}
    return check_bars(pd.DataFrame(columns, times).astype(float) / 10, "ticks")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patterns")
    write_bars(folder / "ticks.parquet", tick_bars(2500))
    return folder


@pytest.fixture(scope="module")
def trained(world: Path, command: Command) -> str:
    words = ("market=file", "market.path=ticks.parquet", "window=15m,30m", "study=seen")
    done = command(world, "train.py", "-m", *WORDS, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told(world: Path, trained: str, command: Command) -> str:
    done = command(world, "evaluate.py", "study=seen", "judging.resamples=100", *BASELINE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def metrics(world: Path, told: str) -> dict:
    return json.loads((world / "outputs/seen/evaluation/metrics.json").read_text())


def test_a_run_tells_classes_and_counts_what_it_leaves_out(world: Path, trained: str) -> None:
    run = load_run(world / "outputs/seen/15m")
    samples = run.metrics["samples"]["train"]
    assert samples["several"] == samples["all"] - samples["labelled"] > 0
    assert sum(samples["classes"].values()) == samples["labelled"]
    assert f"{samples['several']} training samples of more than one pattern are left out" in trained
    assert "balanced accuracy" in trained
    rows = run.predictions
    assert classes_of(rows) == PATTERNS
    assert (rows["known_at"] == rows["time"]).all()
    found = pd.Series(patterns(tick_bars(2500)), tick_bars(2500).index).loc[rows["time"]]
    np.testing.assert_array_equal(rows["label"].fillna(-1), found)
    labelled = rows[(rows["split"] == "val") & rows["label"].notna()]
    scored = score_classes(labelled[[*map(probability_column, PATTERNS)]], labelled["label"])
    assert run.metrics["val"]["labelled"]["log_loss"] == pytest.approx(scored["log_loss"])


def test_the_surest_patterns_are_shown_and_explained(world: Path, told: str) -> None:
    page = (world / "outputs/seen/evaluation/report.html").read_text()
    shown = page.count("What the network looked at")
    table = pd.read_parquet(world / "outputs/seen/evaluation/predictions.parquet")
    columns = [probability_column(name) for name in PATTERNS]
    of_windows = table[(table["split"] == "test") & table["window"].isin(["15m", "30m"])]
    called = of_windows.dropna(subset=["label"])[columns].to_numpy().argmax(axis=1)
    # a network of one epoch may call no pattern at all
    assert shown == (called > 0).any()
    assert page.count(", there was ") == page.count("of the attribution lies")


def test_the_baseline_sees_the_longest_window_s_own_values(world: Path, told: str) -> None:
    assert "study seen has no baseline: training outputs/seen/xgboost" in told
    run = load_run(world / "outputs/seen/xgboost")
    assert run.config["model"]["features"] == "window"
    assert run.config["images"] == {"fields": ["open", "close"]}
    assert run.config["window"]["span"] == "30min"
    assert run.metrics["features"] == 60
    assert set(run.metrics["gains"]) <= {f"{f}[{-k}]" for f in ("open", "close") for k in range(30)}


def test_every_model_is_judged_on_the_same_labelled_rows(world: Path, metrics: dict) -> None:
    assert list(metrics["models"]) == ["15m", "30m", "mean", "xgboost"]
    assert metrics["headline"] == "mean"
    table = pd.read_parquet(world / "outputs/seen/evaluation/predictions.parquet")
    test = table[(table["split"] == "test") & (table["window"] == "mean")]
    assert metrics["rows"]["all"] == len(test)
    assert metrics["rows"]["several"] == test["label"].isna().sum() > 0
    labelled = test[test["label"].notna()]
    scored = score_classes(labelled[[*map(probability_column, PATTERNS)]], labelled["label"])
    for figure, told in metrics["models"]["mean"].items():
        assert told["value"] == pytest.approx(scored[figure]), figure
    low, value, high = (metrics["models"]["mean"]["accuracy"][k] for k in ("low", "value", "high"))
    assert low <= value <= high
    assert "equity" not in metrics
    assert {row["b"] for row in metrics["pairs"]} == {"xgboost"}


def test_the_page_and_the_console_tell_the_verdict(world: Path, told: str, metrics: dict) -> None:
    folder = world / "outputs/seen/evaluation"
    page = (folder / "report.html").read_text()
    for sentence in metrics["verdict"]:
        assert " ".join(sentence.split()) in " ".join(told.split())
        assert sentence in page
    assert (folder / "figures/confusion_mean.png").is_file()
    assert (folder / "tables/classes.csv").is_file()
    assert "look 1 at the test rows of study seen" in told
    assert metrics["looks"] == 1


def test_nothing_known_of_a_bar_changes_with_later_bars(world: Path, told: str) -> None:
    runs = find_runs(world / "outputs/seen")
    config = {"market": runs["15m"][0].config["market"] | {"path": str(world / "ticks.parquet")}}
    found = future.alterations(runs, load_markets(OmegaConf.create(config)), moments=4)
    assert {"labels", "30m images", "xgboost predictions"} <= set(found)
    assert set(found.values()) == {0}


@pytest.mark.slow
def test_a_second_look_is_said_and_receipts_are_of_this_study(
    world: Path, told: str, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    monkeypatch.setattr("gafcnn.app.leakage.MOMENTS", 2)
    again = typed("evaluate", "study=seen", "judging.resamples=0", "receipts=true")
    assert "This is look 2 at these test rows" in " ".join(again.split())
    assert "every bar after t altered: passed" in again
    metrics = json.loads((world / "outputs/seen/evaluation/metrics.json").read_text())
    assert {receipt["receipt"]: receipt["passed"] for receipt in metrics["receipts"]} == {
        "parts of the split are apart": True,
        "predictions made again": True,
        "images made again": True,
        "every bar after t altered": True,
    }


def test_a_simulated_market_has_patterns_too(typed: Typed, tmp_path: Path) -> None:
    words = ("model=xgboost", "model.rounds=2", "model.trees.nthread=1", "study=x")
    out = typed("train", "label=candlestick", "market=simulated", "market.days=2", *words)
    assert "no training sample is of morning_star, evening_star, shooting_star, inverted" in out
    config = load_run(tmp_path / "outputs/x/xgboost").config
    assert config["market"]["horizon"] == "15min"
    assert config["model"]["features"] == "window"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["monitor=val/auc"], "monitor=val/auc; expected train/loss or train/accuracy or train/b"),
        (["objective=auc"], "objective=auc; expected accuracy or balanced_accuracy or"),
        (["model.class_weights=[1,2]"], "expected null, balanced, or 9 numbers above 0"),
        (["model.class_weights=balanced"], "class morning_star has 0 of"),
        (["model=xgboost", "model.class_weights=balanced"], "class morning_star has 0 of"),
        (["model=xgboost", "model.features=images"], "model.features=images; expected indicators"),
        (["label=direction", "model.class_weights=balanced"], "with a label of two classes"),
        (["label=direction", "monitor=val/macro_f1"], "monitor=val/macro_f1; expected train/loss"),
        (["+label.horizon=15min"], "expected the options that this _target_ takes"),
    ],
)
def test_training_refuses(refused: Refuse, words: list[str], told: str) -> None:
    market = ("market=simulated", "market.days=1", "window=15m")
    assert told in refused("train", *WORDS, *market, *words)
