"""What holds for markets, wherever they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gafcnn.data.exchange import from_exchange
from gafcnn.data.reading import write_bars
from gafcnn.data.simulated import from_simulation, simulate
from gafcnn.data.sources import from_file
from gafcnn.errors import ConfigError


def _simulated(symbol: str, folder: Path, days: Any = 1, interval: str = "1min") -> Any:
    return from_simulation(symbol, days, interval, 0.5, "15min", 0, folder)


def _downloaded(symbol: str, folder: Path) -> Any:
    nowhere = "http://127.0.0.1:9"
    pair, end = "BNB/USDT", "2025-05-10"
    return from_exchange(symbol, "binance", pair, "1h", 3, end, folder, url=nowhere)


def _read(symbol: str, folder: Path) -> Any:
    return from_file(symbol, folder / "bars.csv")


@pytest.mark.parametrize("make", [_simulated, _downloaded, _read])
@pytest.mark.parametrize("symbol", ["../BNB", "BNB/USDT", "", "..", ".BNB", "BNB\n", "BNB USDT"])
def test_a_symbol_that_is_no_plain_name_is_refused_before_anything_is_written(
    make: Callable[[str, Path], Any], symbol: str, tmp_path: Path
) -> None:
    folder = tmp_path / "bars"
    with pytest.raises(ConfigError) as refused:
        make(symbol, folder)
    assert str(refused.value) == (
        f"market.symbol is {symbol!r}; expected letters, digits, dots, dashes and underscores, "
        "the first of them no dot; write market.symbol=BNBUSDT, say."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("symbol", ["BNBUSDT", "BRK.B", "1000SATS-perp_v2"])
def test_a_plain_name_is_a_symbol(symbol: str, tmp_path: Path) -> None:
    market = _simulated(symbol, tmp_path)
    assert market.symbol == symbol
    write_bars(tmp_path / "bars.parquet", market.bars)
    assert from_file(symbol, tmp_path / "bars.parquet").symbol == symbol


@pytest.mark.parametrize("days", [float("nan"), float("inf"), "x", None, 0, -3, 1e-3, 10**9])
def test_days_that_are_no_period_are_refused(days: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^market.days is {days}; expected two bars of 1min at"):
        _simulated("SIM", tmp_path, days)
    assert list(tmp_path.iterdir()) == []


def test_an_interval_of_no_length_is_refused(tmp_path: Path) -> None:
    told = "^market.interval is 0min; expected the time between two bars, which is more than none"
    with pytest.raises(ConfigError, match=told):
        _simulated("SIM", tmp_path, interval="0min")
    with pytest.raises(ConfigError, match=told):
        simulate(100, interval="0min")


def test_a_file_names_what_is_in_it_where_nothing_else_does(tmp_path: Path) -> None:
    market = from_simulation("SIM", 1, "1min", 0.5, "15min", 0, None)
    write_bars(tmp_path / "ETHUSDT-1m.parquet", market.bars)
    assert from_file(None, tmp_path / "ETHUSDT-1m.parquet").symbol == "ETHUSDT-1m"
    assert from_file("ETH", tmp_path / "ETHUSDT-1m.parquet").symbol == "ETH"
