"""Indicators: known at the close of their bar, independent of scale, never across a gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from gafcnn.data.bars import COLUMNS, PRICES, check_bars, resample
from gafcnn.data.conversion import as_bars
from gafcnn.data.indicators import UNRANKED, cross_section, indicators
from gafcnn.data.reading import read_bars
from gafcnn.data.simulated import simulate
from gafcnn.errors import BarsError


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate(900, seed=4)[0]


@pytest.fixture(scope="module")
def table(bars: pd.DataFrame) -> pd.DataFrame:
    return indicators(bars)


def test_nothing_is_missing_after_64_bars(bars: pd.DataFrame, table: pd.DataFrame) -> None:
    assert table.index.equals(bars.index)
    assert (table.dtypes == np.float32).all()
    assert table.iloc[64:].notna().all(axis=None)
    assert not np.isinf(table.to_numpy()).any()


def test_the_level_of_prices_and_volume_does_not_matter(
    bars: pd.DataFrame, table: pd.DataFrame
) -> None:
    other = bars.copy()
    other[list(COLUMNS[:4])] *= 8  # powers of two, so that rounding is the same
    other["volume"] *= 1024
    assert_allclose(indicators(other).iloc[64:], table.iloc[64:], rtol=1e-4, atol=1e-4)


def test_no_indicator_spans_a_gap(bars: pd.DataFrame, table: pd.DataFrame) -> None:
    gapped = pd.concat([bars.iloc[:400], bars.iloc[410:]])
    gapped.attrs = bars.attrs
    before, after = indicators(gapped).iloc[:400], indicators(gapped).iloc[400:]
    assert_frame_equal(before, table.iloc[:400])
    assert_frame_equal(after, indicators(bars.iloc[410:]))
    assert after["ema_55"].iloc[:50].isna().all()


def test_values_equal_talib_and_pandas(bars: pd.DataFrame, table: pd.DataFrame) -> None:
    opened, high, low, close, volume = (bars[name].to_numpy() for name in COLUMNS)
    atr = talib.ATR(high, low, close, 14)
    returns = pd.Series(np.log(close)).diff()
    expected = {
        "rsi_14": talib.RSI(close, 14),
        "ema_21": (close - talib.EMA(close, 21)) / atr,
        "natr_14": 100 * atr / close,
        "atr_14_56": atr / talib.ATR(high, low, close, 56),
        "body": (close - opened) / atr,
        "mfi_14": talib.MFI(high, low, close, volume, 14),
        "return_4": pd.Series(np.log(close)).diff(4) / (returns.rolling(60).std() * 2),
        "volume_1_20": np.log(volume / pd.Series(volume).rolling(20).mean()),
        "return_before_2": (returns / returns.rolling(60).std()).shift(2),
        "close_in_range": (close - low) / (high - low),
    }
    for name, values in expected.items():
        assert_allclose(
            table[name].iloc[64:], np.asarray(values)[64:], rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_periods_of_weekly_bars_are_sessions() -> None:
    days = pd.bdate_range("2022-01-03", periods=600, tz="UTC")
    close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 600)))
    frame = pd.DataFrame(dict.fromkeys(PRICES, close), days).assign(volume=1.0)
    weekly = resample(as_bars(frame, calendar="24/5"), "7D")
    table, log_close = indicators(weekly), pd.Series(np.log(weekly["close"]))
    sigma = log_close.diff().rolling(12).std()  # 60 sessions are 12 weeks
    for name, wanted in (("sigma_60", sigma), ("return_8", log_close.diff(2) / sigma / np.sqrt(2))):
        assert_allclose(table[name], wanted, rtol=1e-5)


def test_calendar_by_hand() -> None:
    times = pd.date_range("2025-06-05 06:00", periods=2, freq="1D", tz="UTC", unit="ns")
    frame = pd.DataFrame(dict.fromkeys(COLUMNS, 1.0), index=times)
    thursday, friday = indicators(check_bars(frame, "by hand")).to_dict("records")
    assert thursday["sin_day"] == pytest.approx(1)  # 06:00 is a quarter of the day
    assert thursday["cos_day"] == pytest.approx(0, abs=1e-6)
    assert thursday["cos_week"] == pytest.approx(np.cos(2 * np.pi / 28))
    assert friday["cos_week"] == pytest.approx(np.cos(2 * np.pi * 5 / 28))


def test_constant_prices_have_no_ratios() -> None:
    times = pd.date_range("2025-06-05", periods=200, freq="1min", tz="UTC", unit="ns")
    frame = pd.DataFrame(dict.fromkeys(COLUMNS, 100.0), index=times).assign(volume=0.0)
    still = indicators(check_bars(frame, "by hand")).iloc[-1]
    assert still[["ema_8", "return_1", "close_in_range", "volume_1_20", "obv_20"]].isna().all()
    assert still["sigma_60"] == 0


def test_a_market_without_volume_lacks_only_indicators_of_volume(bars: pd.DataFrame) -> None:
    found = indicators(bars.assign(volume=np.nan))
    of_volume = ["volume_1_20", "volume_5_60", "obv_20", "mfi_14", "adosc", "money_flow_20"]
    of_volume += ["vwap_20", "price_volume_20"]
    assert [name for name in found if found[name].isna().all()] == of_volume
    others = found.columns.difference(of_volume)
    assert_frame_equal(found[others], indicators(bars)[others])


def test_bars_must_come_from_gafcnn(bars: pd.DataFrame) -> None:
    with pytest.raises(BarsError, match="as_bars"):
        indicators(pd.DataFrame(bars.to_numpy(), bars.index, bars.columns))


def test_real_bars_with_gaps(real_bars_folder: Path) -> None:
    bars = read_bars(real_bars_folder / "bnbusdt-spot-15m-2020-09-20-2025-09-19.feather")
    found = indicators(bars.iloc[:40_000])
    assert found.isna().mean().max() < 0.02
    assert not np.isinf(found.to_numpy()).any()


# --- cross-sections -------------------------------------------------------------------------------


def test_ranks_and_the_state_of_the_market_by_hand() -> None:
    nan = np.nan
    values = {
        "return_1": [3, 1, 1, nan, 5, 7],
        "sin_day": [0.1, 0.1, 0.1, 0.1, 0.2, 0.2],
        "doji": [1, 0, 0, 1, 1, 0],
    }
    times = np.array(["2024-01-01"] * 4 + ["2024-01-02"] * 2, "M8[ns]")
    order = [4, 0, 3, 5, 1, 2]  # symbol after symbol, not time after time
    frame = pd.DataFrame(values, dtype=np.float32).iloc[order]
    found = cross_section(frame, times[order]).sort_index()
    third = 1 / 3  # of three known values the highest, and two that share the ranks 1 and 2
    assert_allclose(found["return_1"], [third, -1 / 6, -1 / 6, nan, -0.25, 0.25], atol=1e-7)
    assert_allclose(found["market_return_1"], [5 / 3] * 4 + [6, 6], rtol=1e-6)
    for name in ("sin_day", "doji"):
        assert_allclose(found[name], values[name], rtol=1e-6)
    assert (found.dtypes == np.float32).all()


def test_ranks_are_those_of_a_loop_over_times(table: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    some = table.iloc[rng.permutation(np.arange(40, 640))]  # some unknown
    times = rng.integers(0, 60, len(some)).astype("M8[h]").astype("M8[ns]")
    found = cross_section(some, times)
    assert [*found.columns[: len(some.columns)]] == [*some.columns]
    for time in np.unique(times):
        at = some[times == time]
        ranks = (at.rank() - 0.5) / at.notna().sum() - 0.5
        expected = ranks.assign(**at[sorted(UNRANKED)])
        assert_allclose(found.loc[times == time, at.columns], expected, atol=1e-6)
        assert_allclose(
            found.loc[times == time, "market_sigma_60"], at["sigma_60"].mean(), rtol=1e-5
        )
