"""Cross-sections by the commands: trained, evaluated, audited; and equal to the Python API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import gafcnn as gc

Run = Callable[..., str]

WORDS = (
    "market=simulated_universe", "market.symbols=5", "market.days=60", "label=relative",
    "split.every=8h", "window=64x60m", "study=ranks",
)  # fmt: skip
NETWORK = (
    "model=small_cnn", "model.network.width=2", "images=on_the_fly", "images.size=16",
    "trainer.accelerator=cpu", "trainer.max_epochs=1", "model.name=net",
)  # fmt: skip
MOMENTUM = ("model=momentum", "model.lookback=2D")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run_in: Run) -> Path:
    """A folder with the study of a cross-section, evaluated."""
    path = tmp_path_factory.mktemp("ranks")
    run_in(path, "train", *WORDS, *MOMENTUM)
    run_in(path, "train", *WORDS, *NETWORK, "seeds=2")
    trees = ("ranking_baseline.rounds=5", "judging.resamples=100", "portfolio.cost_bps=2")
    (path / "out.txt").write_text(run_in(path, "evaluate", "study=ranks", *trees))
    return path


def test_models_are_judged_together(folder: Path) -> None:
    metrics = json.loads((folder / "outputs/ranks/evaluation/metrics.json").read_text())
    assert metrics["task"] == "ranking"
    # the baseline is trained; momentum, which sees no image, is in no ensemble but is compared
    assert set(metrics["models"]) == {"net", "momentum", "xgboost", "two_stage"}
    assert metrics["windows"] == ["net"]
    compared = {(row["a"], row["b"]) for row in metrics["pairs"]}
    assert {("momentum", "xgboost"), ("momentum", "net"), ("net", "xgboost")} <= compared
    assert metrics["seeds"]["net"]["seeds"] == [0, 1]
    assert metrics["cost_bps"] == 2
    assert "rank IC" in (folder / "out.txt").read_text()


def test_the_api_gives_the_same_scores(folder: Path) -> None:
    bars, _ = gc.simulate_universe(5, 60 * 24)
    split = gc.Chronological(every="8h")
    samples = gc.make_samples(bars, label=gc.Relative("1D"), split=split, lookback="64h")
    expected = gc.Momentum(lookback="2D").fit(samples).predict(samples)
    run = gc.load_run(folder / "outputs/ranks/momentum")
    pd.testing.assert_frame_equal(run.predictions, expected)
    pd.testing.assert_frame_equal(run.model().predict(samples), expected)


def test_an_offset_is_stored_and_goes_with_an_overwritten_run(run_in: Run, tmp_path: Path) -> None:
    words = (*WORDS, *NETWORK)
    trees = ("model@offset=xgboost_cross_section", "offset.rounds=3")
    run_in(tmp_path, "train", *words, *trees)
    run = gc.load_run(tmp_path / "outputs/ranks")
    samples = run.settings.samples(gc.simulate_universe(5, 60 * 24)[0])
    pd.testing.assert_frame_equal(run.model().predict(samples), run.predictions)
    # later bars without one symbol, and with a new one: the trees of the offset forecast them
    end, (later, _) = samples.bars["SIM000"].index[-1], gc.simulate_universe(6, 20 * 24, seed=1)
    later = {name: one.set_index(one.index + (end - one.index[0]) + pd.Timedelta("1h"))
             for name, one in later.items() if name != "SIM001"}  # fmt: skip
    judgement = gc.load_study(tmp_path / "outputs/ranks").judge_on(later, resamples=0)
    tested = judgement.predictions.query("split == 'test'")
    assert tested["time"].min() > end
    assert {*tested["symbol"]} == {*later}
    assert tested["score"].notna().all()
    run_in(tmp_path, "train", *words, "overwrite=true")
    assert not list(tmp_path.rglob("offset.parquet"))


@pytest.mark.parametrize(
    ("command", "words", "fact"),
    [
        ("evaluate", ("study=ranks", "trading.cost_bps=5"), "portfolio.cost_bps"),
        ("predict", ("study=ranks",), "ranks symbols"),
        ("export", ("study=ranks",), "ranks symbols"),
        ("train", (*WORDS, "model=momentum", "model.name=week"), "window.lookback=7D"),
        ("train", (*WORDS, "model=xgboost", "model@offset=xgboost"), "model=small_cnn"),
    ],
)
def test_what_does_not_fit_a_ranking_is_an_error(
    folder: Path, run_in: Run, command: str, words: tuple[str, ...], fact: str
) -> None:
    with pytest.raises(SystemExit, match=fact):
        run_in(folder, command, *words)
    trained = (folder / "outputs/ranks/ledger.jsonl").read_text().count('"train"')
    assert trained == 4  # momentum, two networks, the baseline: none that is refused
