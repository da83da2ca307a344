"""Mirrored and shuffled bars, and random walks on a grid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from gafcnn.data.augmentation import mirrored, shuffled
from gafcnn.data.bars import COLUMNS, check_bars
from gafcnn.data.simulated import TickWalkSource, most_bars, tick_walk
from gafcnn.errors import ConfigError


def bars_of(
    rows: list[tuple[float, float, float, float]], missing: tuple[int, ...] = ()
) -> pd.DataFrame:
    """Return bars from open, high, low and close, without the rows in `missing`."""
    index = pd.date_range("2024-01-01 00:01", periods=len(rows), freq="1min", tz="UTC")
    frame = pd.DataFrame(rows, index=index, columns=list(COLUMNS[:4])).assign(volume=1.0)
    frame["volume"] = np.arange(1.0, len(rows) + 1)
    return check_bars(frame.drop(index=index[list(missing)]), "hand", "1min")


def candles(bars: pd.DataFrame) -> pd.DataFrame:
    """Return bodies, shadows and volumes, which do not depend on the level of prices."""
    top, bottom = bars[["open", "close"]].max(axis=1), bars[["open", "close"]].min(axis=1)
    shape = {
        "body": bars["close"] - bars["open"],
        "above": bars["high"] - top,
        "below": bottom - bars["low"],
        "volume": bars["volume"],
    }
    return pd.DataFrame(shape).round(6)


def test_mirrored_by_hand() -> None:
    bars = bars_of([(10.0, 12.0, 9.5, 11.0), (11.0, 11.0, 10.25, 10.5)])
    turned = mirrored(bars)  # at 24, twice the highest price
    assert turned[list(COLUMNS[:4])].to_numpy().tolist() == [
        [14.0, 14.5, 12.0, 13.0],
        [13.0, 13.75, 13.0, 13.5],
    ]
    assert turned.index.equals(bars.index)
    assert turned["volume"].tolist() == [1.0, 2.0]


@settings(max_examples=25)
@given(seed=st.integers(0, 20), block=st.integers(2, 90))
def test_shuffled_blocks_have_the_same_candles(seed: int, block: int) -> None:
    bars = tick_walk(200, "1min", seed=7)
    other = shuffled(bars, block, seed)
    whole = len(bars) // block * block
    assert len(other) == whole
    assert other.attrs == bars.attrs
    ours, theirs = (
        candles(frame[:whole])
        .assign(block=np.arange(whole) // block)
        .sort_values(["block", "body", "above", "below", "volume"])
        .to_numpy()
        for frame in (bars, other)
    )
    assert_allclose(ours, theirs, atol=1e-6)
    # the same moves lead to the same close at the end of a block
    ends = np.arange(block - 1, whole, block)
    moved = other["close"].to_numpy()[ends] - bars["close"].to_numpy()[ends]
    assert_allclose(moved, moved[0], atol=1e-6)


def test_equal_prices_stay_equal_to_the_last_bit() -> None:
    bars = tick_walk(5000, seed=1)
    without_gap = (bars["open"].to_numpy()[1:] == bars["close"].to_numpy()[:-1]).mean()
    for other in (mirrored(bars), shuffled(bars), mirrored(shuffled(bars))):
        same = (other["open"].to_numpy()[1:] == other["close"].to_numpy()[:-1]).mean()
        assert same == pytest.approx(without_gap, abs=0.02)
        ticks = other["close"].to_numpy() * 100
        assert_allclose(ticks, np.rint(ticks), atol=1e-6)


def test_price_jump_over_a_gap_in_time_is_dropped() -> None:
    rows = [(10.0, 10.5, 9.5, 10.25), (10.25, 10.5, 10.0, 10.0), (10.0, 10.0, 10.0, 10.0),
            (90.0, 91.0, 90.0, 90.5)]  # fmt: skip
    other = shuffled(bars_of(rows, missing=(2,)), block=3)
    assert other["high"].max() < 20
    assert (other.index[1:] - other.index[:-1] == pd.Timedelta("1min")).all()


def test_shuffled_prices_stay_positive() -> None:
    rows = [(10.0, 10.0, 10.0, 10.0)]
    for _ in range(20):  # moves of 9, so that some orders go below zero
        rows += [(10.0, 19.0, 10.0, 19.0), (19.0, 19.0, 10.0, 10.0)]
    other = shuffled(bars_of(rows), block=41, seed=3)
    assert other["low"].min() > 0
    assert sorted(candles(other)["body"]) == sorted(candles(bars_of(rows))["body"])


def test_tick_walk() -> None:
    bars = tick_walk(20_000, seed=4)
    assert_frame_equal(bars, tick_walk(20_000, seed=4))
    assert not bars.equals(tick_walk(20_000, seed=5))
    at_the_close = bars["open"].to_numpy()[1:] == bars["close"].to_numpy()[:-1]
    assert 0.45 < at_the_close.mean() < 0.6
    ticks = bars[list(COLUMNS[:4])].to_numpy() * 100
    assert_allclose(ticks, np.rint(ticks), atol=1e-6)


@pytest.mark.parametrize("price", [3e-9, 4e-3, 1.0, 9.5e4, 2e11])
def test_any_level_of_prices(price: float) -> None:
    """A walk with ticks of 0.01 % of the price."""
    walk = tick_walk(400, seed=2)
    columns = list(COLUMNS[:4])
    bars = walk.assign(**{name: (walk[name] * (price / 1e5)).round(16) for name in columns})
    bars.attrs = walk.attrs
    for other in (mirrored(mirrored(bars)), shuffled(bars, 100)):
        same = (other["open"].to_numpy()[1:] == other["close"].to_numpy()[:-1]).mean()
        assert 0.4 < same < 0.65
        bodies = np.sort((other["close"] - other["open"]).to_numpy())
        expected = np.sort((bars["close"] - bars["open"]).to_numpy())
        assert_allclose(bodies, expected, atol=price * 1e-12)


def test_walks_end_before_2100() -> None:
    days = most_bars(pd.Timedelta("1D"))
    assert tick_walk(days, "1D").index[-1].year == 2099
    with pytest.raises(ConfigError, match=f"{days:,}"):
        tick_walk(days + 1, "1D")


def test_invalid_arguments() -> None:
    with pytest.raises(ConfigError, match="51 candles of 50"):
        shuffled(tick_walk(50), 51)
    with pytest.raises(ConfigError, match="1 bars"):
        tick_walk(1)


def test_source_of_walks() -> None:
    bars = TickWalkSource(symbols=("ONE", "TWO"), days=1, seed=3).load()
    assert_frame_equal(bars["TWO"], tick_walk(96, seed=4))
