"""Receipts: they pass on an honest study, and fail on one that peeks."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import gafcnn.app.command  # noqa: F401 - names what conf/ asks for
from gafcnn.app import leakage as receipts
from gafcnn.app import leakage_audits as audits
from gafcnn.app import leakage_future as future
from gafcnn.app.runs import Run, find_runs
from gafcnn.app.studies import markets_of
from gafcnn.data import splits
from gafcnn.data.simulated import simulate
from gafcnn.data.sources import Market
from gafcnn.evaluation.predictions import read_predictions, write_predictions

Study = tuple[dict[str, list[Run]], list[Market]]


@pytest.fixture
def configured(root: Path) -> Iterator[None]:
    """As inside a command: the configuration can be composed."""
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        yield


@pytest.fixture(scope="module")
def study(judged_study: Path) -> Study:
    return study_in(judged_study, "tiny")


def study_in(folder: Path, name: str) -> Study:
    """A study's runs, and its bars."""
    runs = find_runs(folder / "outputs" / name)
    return runs, markets_of(runs)


@pytest.mark.parametrize("moments", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_nothing_at_or_before_t_changes_when_every_bar_after_it_does(
    study: Study, moments: int
) -> None:
    runs, markets = study
    found = future.alterations({name: runs[name] for name in ("60m", "xgboost")}, markets, moments)
    assert set(found) == {
        "indicators",
        "label quantiles",
        "training labels",
        "split membership",
        "60m images",
        "60m predictions",
        "xgboost predictions",
    }
    assert set(found.values()) == {0}
    receipt = receipts.future_receipt(found, moments)
    assert receipt["passed"]
    assert f"at {moments} random decision times" in receipt["found"]
    assert "all stayed the same to the last bit" in receipt["found"]


def test_every_bar_after_t_is_altered_and_none_before() -> None:
    bars = simulate(50)[0]
    t = bars.index.to_numpy("datetime64[ns]")[30]
    other = future.altered(bars, t, np.random.default_rng(0))
    pd.testing.assert_frame_equal(other.iloc[:31], bars.iloc[:31])
    assert (other.iloc[31:] != bars.iloc[31:]).all(axis=None)
    assert (other["low"] <= other[["open", "close"]].min(axis=1)).all()


def test_an_indicator_that_peeks_is_found_out(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = future.indicators

    def peeking(bars: pd.DataFrame) -> pd.DataFrame:
        return honest(bars).assign(ema_8=bars["close"].diff(-1).astype(np.float32))

    monkeypatch.setattr(future, "indicators", peeking)
    found = future.alterations(*study, moments=5)
    assert found["indicators"] == 5
    assert found["xgboost predictions"] > 0
    receipt = receipts.future_receipt(found, 5)
    assert not receipt["passed"]
    assert "indicators changed 5 times" in receipt["found"]


def test_quantiles_of_the_whole_file_are_found_out(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = future.Direction.thresholds
    monkeypatch.setattr(
        future.Direction,
        "thresholds",
        lambda self, outcomes, train: honest(
            self, outcomes, np.flatnonzero(np.isfinite(outcomes.forward_return))
        ),
    )
    assert future.alterations(*study, moments=5)["label quantiles"] == 5


def test_an_image_that_shows_the_next_bar_is_found_out(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(future.WindowReader):
        def __call__(self, rows: np.ndarray) -> np.ndarray:
            return super().__call__(rows + 1)

    monkeypatch.setattr(future, "WindowReader", Late)
    found = future.alterations(*study, moments=5)
    assert found["30m images"] == found["30m predictions"] == 5


@pytest.fixture
def walked(typed: Callable[..., str], tmp_path: Path) -> Study:
    """The baseline alone, on two folds."""
    few = ("market=simulated", "market.days=3", "model=xgboost", "model.rounds=3", "study=walk")
    for fold in (0, 1):
        typed("train", *few, "split=walk_forward", "split.folds=2", f"split.fold={fold}")
    return study_in(tmp_path, "walk")


def test_the_moments_are_of_every_fold(walked: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, markets = walked
    first, second = (future.Audit(of_fold).samples(markets) for of_fold in future.by_fold(runs))
    assert not np.isin(first.times[first.split.test], second.times[second.split.test]).any()
    honest = future.Direction.thresholds
    n = len(first.split.train)
    assert n != len(second.split.train)

    def peeking(self: Any, outcomes: Any, train: np.ndarray) -> tuple[float, float]:
        known = np.flatnonzero(np.isfinite(outcomes.forward_return))
        return honest(self, outcomes, known if len(train) == n else train)

    monkeypatch.setattr(future.Direction, "thresholds", peeking)
    # of five moments, three are of the second fold, which is honest
    assert future.alterations(runs, markets, moments=5)["label quantiles"] == 2
    assert (
        "of validation and test of 2 folds all bars" in receipts.future_receipt({}, 5, 2)["found"]
    )


# --- what is on disk ------------------------------------------------------------------------------


@pytest.fixture
def cfg(root: Path) -> DictConfig:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        return compose("evaluate", ["study=tiny"])


Change = Callable[[pd.DataFrame], pd.DataFrame]
Tampered = Callable[[Change], Study]


@pytest.fixture
def copied(judged_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study's folder, to be tampered with, in the folder that tests are in."""
    for name in ("outputs", "data"):
        shutil.copytree(judged_study / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tampered(copied: Path, reseal: Callable[[Path], None]) -> Tampered:
    """What makes the study with the predictions of a run changed, and sealed anew."""

    def make(change: Change) -> Study:
        path = copied / "outputs" / "tiny" / "30m" / "predictions.parquet"
        write_predictions(path, change(read_predictions(path)))
        reseal(copied)
        return study_in(copied, "tiny")

    return make


def test_an_honest_study_passes_them_all(cfg: DictConfig, copied: Path) -> None:
    study = study_in(copied, "tiny")
    made = [receipts.fits(cfg, *study), receipts.parts(*study), receipts.forecasts(cfg, *study)]
    made.append(receipts.images(cfg, *study) or {})
    assert [receipt["passed"] for receipt in made] == [True] * 4
    fitted, parts, forecasts, images = (receipt["found"] for receipt in made)
    assert "so did 9 thresholds" in fitted
    # bars of a minute, and whatever the embargo is, it is kept by no more than the next of them
    assert parts.startswith("in each of 4 runs the rows, labels and returns are those of its split")
    assert parts.endswith("at the least 1 min")
    assert forecasts.startswith("400 random rows of validation and test were predicted again")
    assert "1e-05 is let pass" in forecasts
    assert "300 random images" in images


def test_several_symbols_pass_them_all(
    cfg: DictConfig, study_of_two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study_of_two)
    study = study_in(study_of_two, "pool")
    made = [receipts.fits(cfg, *study), receipts.parts(*study), receipts.forecasts(cfg, *study)]
    made.append(receipts.images(cfg, *study) or {})
    assert [receipt["passed"] for receipt in made] == [True] * 4
    assert "so did 6 thresholds" in made[0]["found"]  # three models on two symbols
    assert "200 random images" in made[3]["found"]


def test_series_on_disk_are_looked_at_where_images_are_made_on_the_fly(
    typed: Callable[..., str], tiny: tuple[str, ...], cfg: DictConfig, tmp_path: Path
) -> None:
    words = ("images=on_the_fly", "window=15m", "split.stride=8", "trainer.max_epochs=1")
    typed("train", *tiny, *words)
    study = study_in(tmp_path, "tiny")
    assert (receipts.images(cfg, *study) or {})["passed"]
    [path] = tmp_path.glob("data/series/*/series.npy")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    receipt = receipts.images(cfg, *study) or {}
    assert not receipt["passed"]
    assert "series.npy is damaged" in receipt["found"]


@pytest.mark.parametrize("column", ["label", "forward_return", "time"])
def test_rows_that_the_bars_do_not_bear_out_are_found_out(tampered: Tampered, column: str) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        if column == "time":
            return table.iloc[1:]
        return table.assign(**{column: 1 - table[column]})

    receipt = receipts.parts(*tampered(change))
    assert not receipt["passed"]
    told = "lacks 1 of the" if column == "time" else f"disagree on {column} for"
    assert told in receipt["found"]
    assert "30m and the bars" in receipt["found"] or "30m lacks" in receipt["found"]


def test_validation_that_is_known_after_the_test_begins_is_found_out(tampered: Tampered) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        last = table["time"] == table.loc[table["split"] == "val", "time"].max()
        return table.assign(known_at=table["known_at"].mask(last, table["time"].max()))

    receipt = receipts.parts(*tampered(change))
    assert not receipt["passed"]
    assert "30m: val is known at 2024-" in receipt["found"]
    assert " and test begins at 2024-" in receipt["found"]


def test_a_split_that_does_not_purge_is_found_out(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "_known_before", lambda later, part, *_: part)
    monkeypatch.setattr(splits, "check_purged", lambda *_: None)
    monkeypatch.setattr(audits.LabelledSamples, "check", lambda _: None)
    receipt = receipts.parts(*study)
    assert not receipt["passed"]
    assert "15m: train is known at 2024-" in receipt["found"]
    assert receipt["found"].endswith("; and 5 more")  # and the rows of each of four runs


def test_what_is_fitted_on_test_rows_is_found_out(
    cfg: DictConfig, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = importlib.import_module("gafcnn.evaluation.ensembles")
    honest = fitting._fitted
    monkeypatch.setattr(
        fitting, "_fitted", lambda name, p, rows: honest(name, p, rows.assign(split="val"))
    )
    receipt = receipts.fits(cfg, *study)
    assert not receipt["passed"]
    assert receipt["found"] == "; ".join(
        f"{name} changed where no row was altered" for name in ("weighted", "stacking", "two_stage")
    )


def test_a_threshold_that_is_chosen_on_test_rows_is_found_out(
    cfg: DictConfig, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits.Ground, "settled", lambda ground, _: ground.test)
    receipt = receipts.fits(cfg, *study)
    assert not receipt["passed"]
    assert receipt["found"].startswith("the threshold of 15m changed; the threshold of 30m changed")


def test_predictions_that_the_model_does_not_make_are_found_out(
    cfg: DictConfig, tampered: Tampered
) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(p_up=table["p_up"] + 2e-5 * (table["p_up"] < 0.5))

    receipt = receipts.forecasts(cfg, *tampered(change))
    assert not receipt["passed"]
    assert re.search(r"30m: \d+ of 100 rows of SIMULATED are up to 2e-05 from", receipt["found"])
    assert "15m:" not in receipt["found"]


def test_another_runs_checkpoint_is_found_out(
    cfg: DictConfig, copied: Path, reseal: Callable[[Path], None]
) -> None:
    runs = copied / "outputs" / "tiny"
    shutil.copyfile(runs / "30m" / "checkpoints/best.ckpt", runs / "15m" / "checkpoints/best.ckpt")
    reseal(runs)
    receipt = receipts.forecasts(cfg, *study_in(copied, "tiny"))
    assert not receipt["passed"]
    assert "15m: 100 of 100 rows of SIMULATED are up to" in receipt["found"]


def test_a_gpu_may_round_its_products(study: Study) -> None:
    [run] = study[0]["15m"]
    assert audits.tolerance_of(run) == audits.TOLERANCE
    vars(run)["metrics"] = run.metrics | {"device": "CUDA NVIDIA H200"}
    assert audits.tolerance_of(run) == audits.ROUNDED
    vars(run)["metrics"] = run.metrics | {"device": "a CPU", "precision": "bf16-true"}
    assert audits.tolerance_of(run) == audits.ROUNDED
    del vars(run)["metrics"]


def test_images_of_other_bars_and_damaged_ones_are_found_out(
    cfg: DictConfig, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_in(copied, "tiny")
    path = copied / "data" / "gaf" / "SIMULATED_30m" / "images.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    receipt = receipts.images(cfg, *study) or {}
    assert not receipt["passed"]
    assert "SIMULATED_30m/images.npy is damaged in chunk" in receipt["found"]

    class Late(future.WindowReader):
        def __call__(self, rows: np.ndarray) -> np.ndarray:
            return super().__call__(np.minimum(rows + 1, len(self._starts) - 1))

    monkeypatch.setattr(future, "WindowReader", Late)
    receipt = receipts.images(cfg, *study) or {}
    assert re.search(r"SIMULATED_15m: \d+ of 100 images are not those of the", receipt["found"])


def test_where_nothing_is_stored_there_is_no_receipt_of_it(
    cfg: DictConfig, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert receipts.images(cfg, *study) is None


# --- simulated markets ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("configured")
def test_where_nothing_is_the_baseline_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MODELS", {"xgboost": receipts.MODELS["xgboost"]})
    (receipt,) = receipts.no_signal()
    assert receipt["passed"], receipt["found"]
    assert "of 20 random walks" in receipt["found"]


@pytest.mark.usefixtures("configured")
@pytest.mark.slow
def test_a_planted_signal_is_found_and_not_more_of_it_than_there_is() -> None:
    for receipt in receipts.planted_signal():
        assert receipt["passed"], receipt["found"]
        assert 0.8 < receipt["share"] < 1.1
        assert "of the oracle's edge" in receipt["found"]


@pytest.mark.slow
@pytest.mark.usefixtures("configured")
def test_where_nothing_is_a_network_finds_nothing_either() -> None:
    for receipt in receipts.no_signal():
        assert receipt["passed"], receipt["found"]
