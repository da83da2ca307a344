"""One network on several symbols, by the commands that a user types."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from gafcnn import load_run
from gafcnn.app import leakage_future as future
from gafcnn.app.runs import LOOK, find_runs, recorded
from gafcnn.app.studies import keep_symbols, markets_of
from gafcnn.data.reading import write_bars
from gafcnn.data.simulated import simulate

Type = Callable[..., str]
Refuse = Callable[..., str]

SYMBOLS = "market.symbols=[AAA,BBB]"


@pytest.fixture
def study(study_of_two: Path) -> Path:
    """The folder of the study of two symbols."""
    return study_of_two


def test_there_is_a_store_for_each_symbol_and_one_run_of_both(study: Path) -> None:
    stores = sorted(path.name for path in (study / "data" / "gaf").iterdir() if path.is_dir())
    assert stores == ["AAA_15m", "BBB_15m"]
    told = (study / "train.txt").read_text()
    assert "labelled samples of AAA, BBB, writing to outputs/pool/15m" in told
    run = load_run(study / "outputs" / "pool" / "15m")
    assert list(run.config["bars"]) == ["AAA", "BBB"]
    assert run.config["bars"]["AAA"] != run.config["bars"]["BBB"]
    assert run.model().network is not None


def test_predictions_and_metrics_are_of_each_symbol_and_of_both(study: Path) -> None:
    run = load_run(study / "outputs" / "pool" / "15m")
    table = run.predictions
    counts = table.groupby(["split", "symbol"]).size()
    assert set(counts.index) == {
        (part, name) for part in ("val", "test") for name in ("AAA", "BBB")
    }
    for part in ("val", "test"):  # the same decision times of both
        times = [table.query(f"split == '{part}' and symbol == '{name}'")["time"].tolist()
                 for name in ("AAA", "BBB")]  # fmt: skip
        assert times[0] == times[1]
    each = run.metrics["symbols"]
    for kind in ("train", "val", "test"):
        of_both = run.metrics["samples"][kind]["labelled"]
        assert sum(one["samples"][kind]["labelled"] for one in each.values()) == of_both
    for name, one in each.items():
        rows = table.query(f"split == 'val' and symbol == '{name}'").dropna(subset=["label"])
        right = ((rows["p_up"] > 0.5) == (rows["label"] == 1)).mean()
        assert one["val"]["labelled"]["accuracy"] == pytest.approx(right)
    # what was planted in both is found in both
    assert min(one["val"]["labelled"]["auc"] for one in each.values()) > 0.55


def test_a_symbols_samples_are_those_it_has_alone_and_so_is_its_store(
    study: Path, tiny: tuple[str, ...], typed: Type
) -> None:
    images = study / "data" / "gaf" / "AAA_15m" / "images.npy"
    before = images.stat().st_mtime_ns
    paths = [f"paths.data={study}/data", f"paths.outputs={study}/outputs"]
    words = [*tiny, *paths, "window=15m", "study=alone", "trainer.max_epochs=1"]
    typed("train", *words, "market.symbol=AAA", "overwrite=true")
    assert images.stat().st_mtime_ns == before
    alone = load_run(study / "outputs" / "alone" / "15m")
    assert "symbols" not in alone.config["market"]
    assert "symbols" not in alone.metrics
    shared = ["time", "split", "label", "forward_return", "known_at"]
    mine = load_run(study / "outputs" / "pool" / "15m").predictions.query("symbol == 'AAA'")
    pd.testing.assert_frame_equal(
        mine[shared].reset_index(drop=True), alone.predictions[shared], check_exact=True
    )
    # a list of one symbol is that symbol: the same run, and it is there already
    again = typed("train", *words, "market.symbols=[AAA]")
    assert "outputs/alone/15m is complete: nothing to do" in again


def test_the_evaluation_is_of_each_symbol_and_of_both_at_one_look(study: Path) -> None:
    folder = study / "outputs" / "pool" / "evaluation"
    pooled = json.loads((folder / "metrics.json").read_text())
    assert recorded(study / "outputs" / "pool", LOOK) == 1
    assert pooled["symbol"] == "AAA, BBB"
    table = pd.read_parquet(folder / "predictions.parquet")
    n = 0
    for name in ("AAA", "BBB"):
        its = folder / "symbols" / name
        own = json.loads((its / "metrics.json").read_text())
        assert (own["symbol"], own["looks"]) == (name, 1)
        assert own["bars"] == pooled["bars"][name]
        assert set(own["models"]) == {"15m", "xgboost", "two_stage", "oracle"}
        assert pooled["symbols"][name]["models"] == own["models"]
        assert {"targets", "regimes", "coverage", "sides", "calibration"} <= own.keys()
        assert "BBB" not in (its / "tables" / "scores_all.csv").read_text()
        page = (its / "report.html").read_text()
        assert f"<h1>{name}, 15min ahead" in page
        mine = pd.read_parquet(its / "predictions.parquet")
        assert set(mine["symbol"]) == {name}
        assert len(mine) == (table["symbol"] == name).sum()
        n += own["rows"]["all"]
    assert pooled["rows"]["all"] == n
    found = pooled["models"]["xgboost"]
    assert found["auc"]["n"] == n
    assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]
    assert 'href="symbols/AAA/report.html"' in (folder / "report.html").read_text()
    told = (study / "evaluate.txt").read_text()
    assert "all together" in told
    assert f"stacked) ranks the {n:,} test rows" in " ".join(told.split())
    assert "look 1 at the test rows of study pool" in told


def test_what_was_said_of_symbols_that_left_a_study_goes(tmp_path: Path) -> None:
    for name in ("AAA", "BBB"):
        (tmp_path / "symbols" / name / "tables").mkdir(parents=True)
    (tmp_path / "tables").mkdir()
    keep_symbols(tmp_path, ["AAA", "CCC"])
    assert [path.name for path in (tmp_path / "symbols").iterdir()] == ["AAA"]
    keep_symbols(tmp_path, [])
    assert not [*(tmp_path / "symbols").iterdir()]
    assert (tmp_path / "tables").is_dir()


def test_the_oracle_of_each_symbol_stands_at_its_own_rows(study: Path) -> None:
    folder = study / "outputs" / "pool" / "evaluation"
    table = pd.read_parquet(folder / "predictions.parquet").query("window == 'oracle'")
    for seed, name in enumerate(("AAA", "BBB")):
        _, oracle = simulate(3 * 1440, seed=seed)
        mine = table[table["symbol"] == name]
        np.testing.assert_array_equal(mine["p_up"], oracle.loc[pd.DatetimeIndex(mine["time"])])


def test_the_future_of_no_symbol_changes_what_is_known(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    runs = find_runs(study / "outputs" / "pool")
    markets = markets_of(runs)
    assert [market.symbol for market in markets] == ["AAA", "BBB"]
    found = future.alterations(runs, markets, moments=10)
    assert set(found.values()) == {0}
    assert {"15m predictions", "xgboost predictions", "label quantiles"} <= found.keys()

    honest = future.indicators

    def peeking(bars: pd.DataFrame) -> pd.DataFrame:  # at the other symbol's next bar alone
        table = honest(bars)
        return table.assign(ema_8=bars["close"].diff(-1)) if len(bars) == peeked else table

    short = markets[1].bars.iloc[:-1]
    short.attrs = markets[1].bars.attrs
    peeked = len(short)
    monkeypatch.setattr(future, "indicators", peeking)
    others = [markets[0], type(markets[1])("BBB", short)]
    assert future.alterations(runs, others, moments=3)["indicators"] == 3


def test_images_on_the_fly_and_files_by_their_own_names_go_the_same_way(
    typed: Type, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    for seed, name in enumerate(("bnb", "btc")):
        write_bars(tmp_path / f"{name}.parquet", simulate(3000 + 500 * seed, seed=seed)[0])
    words = [word for word in tiny if not word.startswith("market")]
    words += ["market=file", "market.path=[bnb.parquet,btc.parquet]", "window=15m", "study=files"]
    typed("train", *words, "images=on_the_fly")
    typed("train", *words, "study=stored")
    one, other = (load_run(tmp_path / "outputs" / name / "15m") for name in ("files", "stored"))
    assert list(one.predictions["symbol"].unique()) == ["bnb", "btc"]
    pd.testing.assert_frame_equal(one.predictions, other.predictions, check_exact=True)
    last = one.predictions.groupby("symbol")["time"].max()
    assert len(set(last)) == 1  # what btc has after bnb's end is in no part
    images = typed("prepare", *words, "window=30m")
    assert f"{3000 - 59 + 3500 - 59:,} images of 30m are in data/gaf" in images


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["market.symbols=AAA"], "market.symbols is AAA; expected a list of names"),
        (["market.symbols=[]"], "market.symbols is []; expected a list of names"),
        (["market.symbols=[AAA,AAA]"], "market.symbols names AAA more than once"),
        (["market.symbols=[A/B]"], "market.symbol is 'A/B'; expected letters, digits"),
        (
            [SYMBOLS, "label=candlestick"],
            "a label of patterns with several symbols; expected the bars of one symbol, on which "
            "patterns are judged; train each symbol in a study of its own, or take label=direction",
        ),
        (
            [SYMBOLS, "augmentation=rare_classes"],
            "augmentation with several symbols; expected the bars of one symbol, to draw from; set",
        ),
    ],
)
def test_what_is_no_list_of_symbols_is_told(
    refused: Refuse, tiny: tuple[str, ...], tmp_path: Path, words: list[str], told: str
) -> None:
    assert told in refused("train", *tiny, *words)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_two_symbols_without_a_common_period_are_told_and_nothing_is_lost(
    refused: Refuse, typed: Type, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    bars = simulate(1500)[0]
    write_bars(tmp_path / "bnb.parquet", bars)
    late = bars.set_axis(bars.index + pd.Timedelta("30D"))
    late.attrs = bars.attrs
    write_bars(tmp_path / "eth.parquet", late)
    coarse = late.iloc[14::15].copy()
    coarse.attrs = {"interval": pd.Timedelta("15min")}
    write_bars(tmp_path / "ada.parquet", coarse)
    words = [word for word in tiny if not word.startswith("market")]
    words += ["market=file", "window=15m", "study=apart", "model.batch_size=64"]
    typed("train", *words, "market.path=bnb.parquet", "split.embargo=0min")
    run = tmp_path / "outputs" / "apart" / "15m"
    held = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    both = ["market.path=[bnb.parquet,eth.parquet]", "split.embargo=0min", "overwrite=true"]
    assert refused("train", *words, *both) == (
        "error: bnb has samples from 2024-01-01 01:00:00 to 2024-01-02 00:45:00 UTC and eth has "
        "samples from 2024-01-31 01:00:00 to 2024-02-01 00:45:00 UTC; expected a time at which all "
        "symbols have some, to be tested at the same moments; leave one of them out of "
        "market.symbols, or give bars of the same time."
    )
    assert refused("train", *words, "market.path=[eth.parquet,ada.parquet]", "overwrite=true") == (
        "error: eth has bars of 1min and ada of 15min; expected the same time between two bars of "
        "every symbol; set market.interval=15min."
    )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == held
    assert not (tmp_path / "data" / "gaf" / "eth_15m").exists()


def test_a_study_of_other_bars_is_told(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = find_runs(study / "outputs" / "pool")
    run = runs["15m"][0]
    changed = OmegaConf.to_container(OmegaConf.create(run.config))
    assert isinstance(changed, dict)
    changed["bars"]["BBB"] = "another"
    monkeypatch.setitem(run.__dict__, "config", changed)
    with pytest.raises(Exception, match="^the bars of AAA, BBB are not those that"):
        markets_of({"15m": [run]})
