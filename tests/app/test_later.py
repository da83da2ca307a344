"""A finished study on later bars: nothing is fitted, and what it has seen is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gafcnn as gc
from gafcnn.errors import BarsError, ConfigError, RunError, SamplesError

Run = Callable[..., str]

WORDS = (
    "market=file", "label=triple_barrier", "label.horizon=4h",
    "split=walk_forward", "split.folds=2", "split.first=0.6", "split.val=0.2", "split.embargo=1h",
    "study=one",
)  # fmt: skip
TREES = ("model=xgboost", "model.rounds=5")
NETWORK = (
    "model=small_cnn", "model.network.width=2", "images=on_the_fly", "images.size=16",
    "trainer.accelerator=cpu", "trainer.max_epochs=1", "window=64x15m",
)  # fmt: skip


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return gc.simulate(3_000, "15min", strength=0.8, seed=3)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run_in: Run, bars: pd.DataFrame) -> Path:
    """A folder with a study of two folds that has seen 2,400 bars, evaluated at 2 bps."""
    path = tmp_path_factory.mktemp("later")
    gc.write_bars(path / "seen.parquet", bars.iloc[:2_400])
    gc.write_bars(path / "later.parquet", bars.iloc[2_400:])
    gc.write_bars(path / "all.parquet", bars)
    for fold in (0, 1):
        words = (*WORDS, f"market.path={path}/seen.parquet", f"split.fold={fold}")
        run_in(path, "train", *words, *TREES, "window=64x15m")
        run_in(path, "train", *words, *NETWORK)
    run_in(path, "evaluate", "study=one", "judging.resamples=0", "trading.cost_bps=2")
    return path


def judge_later(folder: Path, bars: pd.DataFrame) -> gc.Judgement:
    study = gc.load_study(folder / "outputs/one")
    return study.judge_on(bars.iloc[2_400:], count_look=False, resamples=0)


def test_models_thresholds_and_ensembles_are_those_of_the_newest_fold(
    folder: Path, bars: pd.DataFrame
) -> None:
    judgement, study = judge_later(folder, bars), gc.load_study(folder / "outputs/one")
    table = judgement.predictions
    assert judgement.metrics["cost_bps"] == 2
    later = table.loc[table["split"] == "test"].pivot_table("p_up", "time", "window")
    assert later.index.min() == bars.index[2_400]
    assert (table.loc[table["split"] == "test", "fold"] == 1).all()
    rows = bars.index.get_indexer(pd.DatetimeIndex(later.index))
    run = gc.load_run(folder / "outputs/one/xgboost/seed=0/fold=1")
    # the features of the first later rows reach back into the bars of the study
    np.testing.assert_allclose(later["xgboost"], run.model().predict_at(bars, rows), atol=1e-12)
    decider = study.decider
    combined = decider.ensembles["two_stage"](later[["xgboost", "64x15m"]].to_numpy())
    np.testing.assert_allclose(later["two_stage"], combined, atol=1e-12)
    for name, threshold in decider.thresholds["seen"].items():
        assert judgement.metrics["models"][name]["threshold"]["value"] == threshold


def test_other_later_bars_change_nothing_before_them(folder: Path, bars: pd.DataFrame) -> None:
    other = bars.copy()
    other.iloc[2_700:, :4] *= 1.5
    tables = [judge_later(folder, one).predictions for one in (bars, other)]
    known = [table.loc[table["known_at"] <= bars.index[2_699]] for table in tables]
    assert len(known[0])
    pd.testing.assert_frame_equal(*(one.reset_index(drop=True) for one in known))


def test_command_gives_the_same_and_counts_looks_at_these_rows(
    folder: Path, run_in: Run, bars: pd.DataFrame
) -> None:
    words = ("study=one", "judging.resamples=0")
    run_in(folder, "evaluate", *words, "on=later.parquet", pictures=True)
    market = ("on=market", "market=file", "market.path=all.parquet")
    with pytest.raises(SystemExit, match="after=2024-01-26T00:00:00"):
        run_in(folder, "evaluate", *words, *market)
    after = "after=2024-01-26T00:00:00"
    assert "look 2" in run_in(folder, "evaluate", *words, *market, after)
    first, path = sorted((folder / "outputs/one/later").iterdir())
    found = [json.loads((one / "metrics.json").read_text()) for one in (first, path)]
    assert found[0]["models"] == found[1]["models"]
    metrics = found[1]
    assert metrics["config"]["evaluate"]["trading"]["cost_bps"] == 2
    assert {*metrics["config"]["runs"]} == {"xgboost", "64x15m"}
    judgement = judge_later(folder, bars)
    assert metrics["models"] == json.loads(json.dumps(judgement.metrics["models"]))
    seen = json.loads((folder / "outputs/one/evaluation/metrics.json").read_text())
    assert (seen["looks"], metrics["looks"]) == (1, 2)
    assert (path / "report.html").is_file()


@pytest.mark.parametrize(
    ("change", "error", "fact"),
    [
        (lambda bars: bars.iloc[2_399:], BarsError, "2024-01-26 00:00"),
        (lambda bars: gc.resample(bars.iloc[2_400:], "30min"), BarsError, "30min"),
        (lambda bars: bars.iloc[2_400:].assign(volume=np.nan), BarsError, "volume"),
        (lambda bars: bars.iloc[2_400:2_405], SamplesError, "label.horizon"),
        (lambda bars: "later.parquet", ConfigError, "read_bars"),
        (lambda bars: bars.iloc[:0], ConfigError, "read_bars"),
        (lambda bars: dict.fromkeys(("a", "b"), bars.iloc[2_400:]), RunError, "seen"),
    ],
)
def test_bars_that_do_not_continue_the_study_are_refused(
    folder: Path,
    bars: pd.DataFrame,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    error: type[Exception],
    fact: str,
) -> None:
    ledger = (folder / "outputs/one/ledger.jsonl").read_bytes()
    with pytest.raises(error, match=fact):
        gc.load_study(folder / "outputs/one").judge_on(change(bars))
    assert (folder / "outputs/one/ledger.jsonl").read_bytes() == ledger


def test_a_damaged_evaluation_and_prices_that_jump_are_named(
    folder: Path, bars: pd.DataFrame
) -> None:
    tenfold = bars.copy()
    tenfold.iloc[:, :4] *= 10
    assert any("10 times" in note for note in judge_later(folder, tenfold).notes)
    metrics = folder / "outputs/one/evaluation/metrics.json"
    whole = metrics.read_text()
    metrics.write_text(whole.replace("2 bps", "3 bps"))
    with pytest.raises(RunError, match="damaged"):
        judge_later(folder, bars)
    metrics.unlink()
    judgement = judge_later(folder, bars)
    assert any("default rules" in note for note in judgement.notes)
    metrics.write_text(whole)


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("study=one", "on=later.parquet", "trading.cost_bps=5"), "trading"),
        (("on=later.parquet",), "study"),
        (("study=one", "on=market"), "market"),
        (("study=one", "market=file", "market.path=later.parquet"), "on=market"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    folder: Path, run_in: Run, words: tuple[str, ...], fact: str
) -> None:
    with pytest.raises(SystemExit, match=fact):
        run_in(folder, "evaluate", *words)
