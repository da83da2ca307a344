"""The experiment of candlestick patterns, from bars to predictions, on a small walk of ticks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from gafcnn.app.factory import made
from hydra import compose, initialize_config_dir

from gafcnn import load_run
from gafcnn.data.candlestick import PATTERNS
from gafcnn.data.splits import WalkForward
from gafcnn.images.store import open_store
from gafcnn.models.module import GafModule

Command = Callable[..., subprocess.CompletedProcess[str]]
Refuse = Callable[..., str]

WORDS = (
    "experiment=candlesticks",
    "market=ticks",
    "market.days=40",
    "augmentation.per_class=100",
    "augmentation.shuffles=1",
    "augmentation.walks=1",
    "trainer.max_epochs=2",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    folder = tmp_path_factory.mktemp("candlesticks")
    judging = ("study=candlesticks", "pattern_baseline.rounds=5", "judging.resamples=100")
    for words in (("train.py", "-m", *WORDS, "seed=0,1"), ("evaluate.py", *judging)):
        done = command(folder, *words)
        assert done.returncode == 0, done.stderr
    return folder / "outputs" / "candlesticks"


@pytest.mark.slow
def test_seeds_of_an_augmented_experiment_are_one_model(folder: Path) -> None:
    configs = [load_run(folder / name).config for name in ("15m_x10", "15m_x10/seed=1")]
    assert [config["augmentation"]["seed"] for config in configs] == [0, 1]
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert list(metrics["models"]) == ["15m_x10", "xgboost"]
    assert metrics["fields"]["15m_x10"] == {"candle": configs[0]["images"]["fields"]}
    assert metrics["fields"]["xgboost"] == metrics["fields"]["15m_x10"]


def test_the_experiment_may_be_walked_forward(root: Path) -> None:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        words = [*WORDS, "split=walk_forward", "split.fold=1"]
        split = made(compose("train", words).split)
    assert isinstance(split, WalkForward)
    assert split.fold == 1


@pytest.mark.slow
def test_networks_and_trees_learn_from_the_same_rows_and_say_what_was_drawn(folder: Path) -> None:
    names = ("15m_x10/seed=1", "xgboost")  # the baseline is trained like the last of the seeds
    counts = [load_run(folder / name).metrics["samples"] for name in names]
    assert counts[0] == counts[1]
    train = counts[0]["train"]
    assert list(train["drawn"]) == list(PATTERNS)
    for name in PATTERNS[1:]:
        assert train["classes"][name] + train["drawn"][name] >= 100
    assert train["drawn"]["none"] == sum(train["drawn"][name] for name in PATTERNS[1:])
    assert "drawn" not in counts[0]["val"]


@pytest.mark.slow
def test_a_run_of_averaged_weights_is_predicted_by_the_model_that_it_keeps(folder: Path) -> None:
    run = load_run(folder / "15m_x10")
    store = open_store(folder.parents[1] / "data" / "gaf" / "TICKS_15m_x10")
    model = run.model()
    assert isinstance(model, GafModule)
    val = run.predictions.query("split == 'val'")
    at = np.searchsorted(store.times, val["time"].to_numpy("datetime64[ns]"))
    with torch.no_grad():
        images = torch.from_numpy(np.asarray(store.images[at])).float() * store.scale
        p = model(images).softmax(dim=1).numpy()
    told = val[[f"p_{name}" for name in PATTERNS]].to_numpy()
    np.testing.assert_allclose(told, p, atol=1e-5)


@pytest.mark.slow
def test_what_was_drawn_is_learned_alike_from_images_on_the_fly(
    folder: Path, typed: Callable[..., str], tmp_path: Path
) -> None:
    typed("train", *WORDS, "images=on_the_fly")
    made = load_run(tmp_path / "outputs" / "candlesticks" / "15m_x10")
    stored = load_run(folder / "15m_x10")
    assert made.metrics["samples"] == stored.metrics["samples"]
    pd.testing.assert_frame_equal(made.predictions, stored.predictions, check_exact=True)


@pytest.mark.slow
def test_the_trees_see_the_numbers_that_the_images_are_made_of(folder: Path) -> None:
    run = load_run(folder / "xgboost")
    assert run.metrics["features"] == 10 * len(run.config["images"]["fields"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["label=direction", "monitor=val/loss", "model.class_weights=null"],
            "augmentation is asked for a label that",
        ),
        (["augmentation.block=9000"], "a block of 9000 candles of"),
        (["augmentation.walks=-1"], "augmentation.walks is -1; expected a whole number of at"),
        (["images.fields=[bodie]"], "the field 'bodie' is unknown"),
        (["window.lookback=150min"], "set window.lookback to 5h or more"),
        (["images.fields=[close,close]"], "the field 'close' stands twice"),
        (["images.fields=[[close]]"], "is unknown"),
        (["augmentation.mirror=2"], "augmentation.mirror is 2; expected true or false"),
        (["model.class_weights=1"], "model.class_weights=1; expected null, balanced, or 9 numbers"),
        (["model.network.hidden=-1"], "model.network.hidden=-1; expected a whole number"),
        (["model.network.dropout=2"], "model.network.dropout=2; expected a share"),
        (["callbacks.averaged.decay=2"], "callbacks.averaged.decay=2; expected a share"),
        (["market.interval=5min"], "set market.interval=15min, or window.step=5min"),
        (["model=xgboost", "model.features=indicators"], "which are among the indicators"),
    ],
)
def test_what_the_experiment_refuses(refused: Refuse, words: list[str], told: str) -> None:
    assert told in refused("train", *WORDS, *words)
