"""Receipts: they pass on an honest study, and fail on one that peeks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import initialize_config_dir
from omegaconf import OmegaConf

import gafcnn.command  # noqa: F401 - names what conf/ asks for
from gafcnn.market import Market, simulate
from gafcnn.pipeline import future, receipts
from gafcnn.pipeline.assembly import load_markets
from gafcnn.runs import find_runs

MOMENTS = 200


@pytest.fixture
def configured(root: Path) -> Iterator[None]:
    """As inside a command: the configuration can be composed."""
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        yield


@pytest.fixture(scope="module")
def study(judged_study: Path) -> tuple[dict, list[Market]]:
    runs = find_runs(judged_study / "outputs" / "tiny")
    config = {"market": runs["15m"][0].config["market"] | {"folder": None}}
    return runs, load_markets(OmegaConf.create(config))


def test_nothing_at_or_before_t_changes_when_every_bar_after_it_does(
    study: tuple[dict, list[Market]],
) -> None:
    runs, markets = study
    found = future.alterations({name: runs[name] for name in ("60m", "xgboost")}, markets, MOMENTS)
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
    receipt = receipts.future_receipt(found, MOMENTS)
    assert receipt["passed"]
    assert "at 200 random decision times" in receipt["found"]
    assert "all stayed the same to the last bit" in receipt["found"]


def test_every_bar_after_t_is_altered_and_none_before() -> None:
    bars = simulate(50)[0]
    t = bars.index.to_numpy("datetime64[ns]")[30]
    other = future.altered(bars, t, np.random.default_rng(0))
    pd.testing.assert_frame_equal(other.iloc[:31], bars.iloc[:31])
    assert (other.iloc[31:] != bars.iloc[31:]).all(axis=None)
    assert (other["low"] <= other[["open", "close"]].min(axis=1)).all()


def test_an_indicator_that_peeks_is_found_out(
    study: tuple[dict, list[Market]], monkeypatch: pytest.MonkeyPatch
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
    study: tuple[dict, list[Market]], monkeypatch: pytest.MonkeyPatch
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
    study: tuple[dict, list[Market]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(future.WindowReader):
        def __call__(self, rows: np.ndarray) -> np.ndarray:
            return super().__call__(rows + 1)

    monkeypatch.setattr(future, "WindowReader", Late)
    found = future.alterations(*study, moments=5)
    assert found["30m images"] == found["30m predictions"] == 5


@pytest.mark.slow
@pytest.mark.usefixtures("configured")
def test_where_nothing_is_the_baseline_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MODELS", {"xgboost": receipts.MODELS["xgboost"]})
    (receipt,) = receipts.no_signal()
    assert receipt["passed"], receipt["found"]
    assert "of 20 random walks" in receipt["found"]


@pytest.mark.usefixtures("configured")
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
