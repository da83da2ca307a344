"""Sources of bars: registration, files, checks across symbols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gafcnn.data.bars import resample
from gafcnn.data.reading import write_bars
from gafcnn.data.simulated import SimulatedSource, simulate
from gafcnn.data.sources import (
    SOURCES,
    FileSource,
    at_rest,
    load_bars,
    load_oracles,
    register_source,
)
from gafcnn.errors import BarsError, ConfigError
from gafcnn.settings import as_plain, create

BARS, _ = simulate(60)


@dataclass(frozen=True)
class Given:
    """A user's own source, in its shortest form."""

    bars: Any

    def load(self) -> dict[str, pd.DataFrame]:
        return self.bars


def test_library_sources() -> None:
    assert {"exchange", "file", "simulated", "tick_walk"} <= set(SOURCES)
    source = SOURCES.create({"kind": "simulated", "days": 2, "symbols": ["A", "B"]}, "market")
    assert source == SimulatedSource(days=2, symbols=("A", "B"))
    assert SOURCES.create(as_plain(source), "market") == source
    assert set(load_bars(source)) == set(load_oracles(source)) == {"A", "B"}


def test_own_source() -> None:
    register_source("given")(Given)
    source = SOURCES.create({"kind": "given", "bars": {"ONE": BARS}}, "market")
    assert load_bars(source)["ONE"] is BARS
    assert load_oracles(source) == {}
    assert at_rest(source) is source
    with pytest.raises(BarsError, match="as_bars"):
        load_bars(Given({"ONE": pd.DataFrame(BARS.to_numpy())}))


@pytest.mark.parametrize("symbol", ["../BNB", "BNB/USDT", "", "..", ".BNB", "BNB\n", "BNB USDT"])
def test_symbol_that_cannot_be_a_file_name(symbol: str) -> None:
    with pytest.raises(ConfigError, match=r"market\.symbol"):
        SimulatedSource(symbol=symbol)
    with pytest.raises(ConfigError, match=r"market\.symbols"):
        SimulatedSource(symbols=("BNB", symbol))
    with pytest.raises(ConfigError, match="symbol"):
        load_bars(Given({symbol: BARS}))


@pytest.mark.parametrize("days", [float("nan"), float("inf"), "x", None, 0, -3, 1e-3, 10**9])
def test_days_that_are_not_a_period(days: Any) -> None:
    with pytest.raises(ConfigError, match=r"market\.days"):
        SimulatedSource(days=days)


def test_files_name_their_symbols(tmp_path: Path) -> None:
    paths = [tmp_path / "BTC-1m.parquet", tmp_path / "BRK.B.parquet"]
    for path in paths:
        write_bars(path, BARS)
    assert list(load_bars(FileSource(paths[0]))) == ["BTC-1m"]
    assert list(load_bars(FileSource(paths[0], symbol="BTC"))) == ["BTC"]
    assert list(load_bars(FileSource(tuple(paths)))) == ["BTC-1m", "BRK"]
    source = FileSource(tuple(paths), symbols=("BTC", "BRK.B"), interval="5min")  # pyright: ignore[reportArgumentType]
    bars = load_bars(source)
    assert_frame_equal(bars["BRK.B"], resample(BARS, "5min"), check_freq=False)
    assert SOURCES.create(as_plain(source), "market") == source


@pytest.mark.parametrize(
    "options",
    [{}, {"path": []}, {"path": "a.csv", "symbols": []}, {"path": "a.csv", "interval": "0min"},
     {"path": ["a.csv", "b.csv"], "symbols": ["one", "ONE"]}, {"path": ["x/bnb.csv", "y/bnb.zip"]},
     {"path": "a.csv", "symbols": ["ONE", "TWO"]}, {"path": ["a.csv", "b.csv"], "symbol": "BNB"}],
)  # fmt: skip
def test_invalid_files(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"market\."):
        create(FileSource, "market", options)


def test_symbols_have_one_interval_and_close_together() -> None:
    load_bars(Given({"ONE": BARS, "TWO": BARS[7:]}))
    with pytest.raises(ConfigError, match="15min"):
        load_bars(Given({"ONE": BARS, "TWO": resample(BARS, "15min")}))
    late = BARS.set_axis(BARS.index + pd.Timedelta("30s"))
    with pytest.raises(ConfigError, match="00:01:30"):
        load_bars(Given({"ONE": BARS, "TWO": late}))
