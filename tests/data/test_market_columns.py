"""The market index and the bars of other assets: hand cases, peers, and no look-ahead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import gafcnn as gc
from gafcnn.data.market_columns import market_index, with_market
from gafcnn.data.windows import Window, WindowReader
from gafcnn.errors import ConfigError, SamplesError

Bars = Callable[..., pd.DataFrame]
WINDOW = Window("3min", lookback="3min")
ALL = ("market", "relative_close", "BTC:close", "BTC:volume", "BTC:gap", "BTC:relative_close")


def test_an_index_by_hand(make_bars: Bars) -> None:
    one = make_bars([100, 110, 110, 99])
    other = make_bars([50, 50, 60, 60], missing=[0])  # begins one bar later
    gap = make_bars([10, 20, 30, 60], missing=[2])  # no return over its gap
    expected = [1.0, 1.55, 1.55 * 1.1, 1.55 * 1.1 * 0.95]  # (10 % + 100 %) / 2, 20 % / 2, -10 % / 2
    index = market_index({"A": one, "B": other, "C": gap})
    assert_allclose(index, expected)
    assert index.index.equals(one.index)
    bars = with_market({"A": one, "B": other, "C": gap}, ["relative_close"])
    assert_allclose(bars["C"]["market"], np.array(expected)[[0, 1, 3]])
    series = WindowReader(bars["A"], WINDOW, ["relative_close", "market"])(np.array([3]))
    assert_allclose(series[0], [np.array([110, 110, 99]) / expected[1:], expected[1:]])
    assert "market" not in one
    assert bars["A"].attrs == one.attrs


def test_an_asset_without_a_bar_is_carried_on(make_bars: Bars) -> None:
    own = make_bars(np.arange(1.0, 9))
    btc = make_bars(np.arange(8) * 10, open=np.arange(8) * 10 - 1, missing=[0, 1, 2, 5])
    bars = with_market({"A": own, "BTC": btc}, ["BTC:close"])["A"]
    fields = ["close", "BTC:open", "BTC:close", "BTC:volume", "BTC:volume_or_zero"]
    reader = WindowReader(bars, WINDOW, fields)
    early, begins, gap = reader(np.array([2, 4, 6]))
    assert_array_equal(early, [[1, 2, 3], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert_array_equal(begins, [[3, 4, 5], [29, 29, 39], [30, 30, 40], [0, 30, 40], [0, 30, 40]])
    assert_array_equal(gap, [[5, 6, 7], [39, 40, 59], [40, 40, 60], [40, 0, 60], [40, 0, 60]])


def test_an_asset_without_volume_that_begins_after_the_last_bar(make_bars: Bars) -> None:
    own = make_bars(np.full(12, 2.0), missing=range(6, 12))
    btc = make_bars(np.full(12, 3.0), missing=range(8)).assign(volume=np.nan)
    bars = with_market({"A": own, "BTC": btc}, ["BTC:close"])
    for fields in (["BTC:close", "BTC:volume_or_zero"], ["BTC:close", "BTC:volume"]):
        assert not WindowReader(bars["A"], WINDOW, fields)(np.array([5])).any()
    with pytest.raises(SamplesError, match="'BTC:volume' needs a column.* volume"):
        WindowReader(bars["BTC"], WINDOW, ["BTC:volume"])


@settings(max_examples=20)
@given(row=st.integers(10, 38), seed=st.integers(0, 99), later=st.booleans())
def test_no_look_ahead(random_bars: Bars, row: int, seed: int, later: bool) -> None:
    rng = np.random.default_rng(seed)
    begin = min(row, 25) if later else 0
    bars = {"A": random_bars(40, missing=[4]), "BTC": random_bars(40, seed=1, missing=range(begin))}
    t = bars["A"].index[row - 1]  # one bar is missing
    changed = {}
    for name, frame in bars.items():
        known = frame.index <= t
        other = frame.mul(np.where(known, 1, rng.uniform(0.5, 2)), axis=0)
        changed[name] = other[known | (rng.random(len(other)) < 0.7)]
    window = Window("3min", lookback="6min")
    ours, theirs = (
        WindowReader(with_market(frames, ALL)["A"], window, ALL)(np.array([row - 1]))
        for frames in (bars, changed)
    )
    assert ours.tobytes() == theirs.tobytes()


def test_bars_without_the_columns_say_how_to_get_them(random_bars: Bars) -> None:
    bars = {"A": random_bars(30), "BTC": random_bars(30, seed=1)}
    for fields in (["close", "BTC:close"], ["market", "BTC:close"], ["BTC:relative_close"]):
        with pytest.raises(SamplesError, match="no column '(market|BTC:.*)'") as error:
            WindowReader(bars["A"], WINDOW, fields)
        assert "volume" not in str(error.value)
        remedy = error.value.instead.removeprefix("pass ").removesuffix(" for these bars")
        frame = eval(remedy, {"gc": gc, "bars_by_symbol": bars, "symbol": "A"})
        assert np.isfinite(WindowReader(frame, WINDOW, fields)(np.array([20]))).all()


def test_unknown_assets_and_fields(random_bars: Bars) -> None:
    bars = {"BTC/USDT:USDT": random_bars(30)}
    with pytest.raises(ConfigError, match="ETH has no bars.*one of the symbols, BTC"):
        with_market(bars, ["ETH:close"])
    with pytest.raises(ConfigError, match="'clos' is unknown"):
        with_market(bars, ["BTC/USDT:USDT:clos"])
    assert with_market(bars, ["close"]) == bars
    [frame] = with_market(bars, ["BTC/USDT:USDT:close"]).values()
    assert_array_equal(frame["BTC/USDT:USDT:close"], frame["close"])
