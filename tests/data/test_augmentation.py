"""Training samples from synthetic bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from gafcnn.data.augmentation import Augmentation, Drawn, mirrored, shuffled
from gafcnn.data.bars import COLUMNS
from gafcnn.data.labels import Candlestick, Direction, patterns
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.simulated import tick_walk
from gafcnn.data.splits import Chronological
from gafcnn.errors import ConfigError

Bars = Callable[..., pd.DataFrame]
LOOKBACK = pd.Timedelta("6h")
LABEL = Candlestick()


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return tick_walk(6000, seed=3)


@pytest.fixture(scope="module")
def samples(bars: pd.DataFrame) -> Samples:
    return make_samples(
        bars, label=LABEL, split=Chronological(test=0.2, val=0.2), lookback=LOOKBACK
    )


def draw(samples: Samples, **options: Any) -> list[Drawn]:
    return list(Augmentation(**options).draw(samples))


def class_counts(drawn: list[Drawn], classes: int) -> np.ndarray:
    return np.bincount(np.concatenate([part.label for part in drawn]), minlength=classes)


def test_each_class_is_brought_up_to_per_class(samples: Samples) -> None:
    have = samples.counts("train")
    assert have[1:].min() < 60 < have[1:].max()
    more = class_counts(draw(samples, per_class=60, walks=2), len(have))
    assert (more[1:] == np.maximum(60 - have[1:], 0)).all()
    assert more[0] == more[1:].sum()


def test_drawn_labels_are_those_of_their_bars(samples: Samples) -> None:
    parts = draw(samples, per_class=500, shuffles=2, walks=1)
    assert len(parts) == 1 + 2 * 2 + 1  # mirrored, shuffled, shuffled and mirrored, a walk
    for part in parts:
        assert np.count_nonzero(part.label) == len(part.label) / 2 > 0
        assert (part.label == patterns(part.bars)[part.rows]).all()
        assert part.rows.min() >= LOOKBACK // pd.Timedelta("15min") - 1


def test_seed(samples: Samples) -> None:
    one, same, other = (draw(samples, per_class=100, seed=seed) for seed in (1, 1, 2))
    assert all((a.rows == b.rows).all() for a, b in zip(one, same, strict=True))
    assert any(not np.array_equal(a.rows, b.rows) for a, b in zip(one, other, strict=True))


def test_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gafcnn.data.augmentation.BARS_PER_WALK", 500)
    interval = pd.Timedelta("5min")
    bars = tick_walk(2000, interval, seed=3)
    samples = make_samples(bars, label=LABEL, split=Chronological(0.2, 0.2), lookback="2h")
    found = [part.bars for part in draw(samples, shuffles=2, block=20, walks=2, seed=7)]
    train = bars.loc[: pd.Timestamp(samples.times[samples.labelled("train")[-1]], tz="UTC")]
    one, other = (shuffled(train, 20, seed=seed) for seed in (7, 8))
    expected = [mirrored(train), one, mirrored(one), other, mirrored(other)]
    expected += [tick_walk(500, interval, seed=seed) for seed in (7, 8)]
    for ours, theirs in zip(found, expected, strict=True):
        assert_frame_equal(ours, theirs)


def test_the_next_source_makes_up_for_one_with_too_few_samples(samples: Samples) -> None:
    walk = draw(samples, mirror=True, shuffles=0, walks=1, per_class=120)
    mirrored_only = draw(samples, mirror=True, shuffles=0, walks=0, per_class=120)
    rare = 1  # morning_star: a handful in so few bars
    assert (mirrored_only[0].label == rare).sum() < 120 - samples.counts("train")[rare]
    assert class_counts(walk, 9)[rare] + samples.counts("train")[rare] == 120


def test_options_out_of_range() -> None:
    with pytest.raises(ConfigError, match="no source"):
        Augmentation(mirror=False, shuffles=0, walks=0)
    for option in ({"mirror": "perhaps"}, {"block": 1}, {"per_class": 0}, {"shuffles": -1}):
        with pytest.raises(ConfigError, match=rf"augmentation\.{next(iter(option))} is "):
            Augmentation(**option)  # pyright: ignore[reportArgumentType]


def test_a_label_that_looks_ahead_or_several_symbols(bars: pd.DataFrame, samples: Samples) -> None:
    for other in (
        make_samples(bars, label=Direction("1h")),
        make_samples({"A": bars, "B": bars}, label=LABEL),
    ):
        with pytest.raises(ConfigError, match="label=candlestick"):
            draw(other)
    assert next(Augmentation().draw(samples)).rows.size


# --- mirrored and shuffled bars -------------------------------------------------------------------


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


def test_mirrored_by_hand(make_bars: Bars) -> None:
    bars = make_bars([11, 10.5], open=[10, 11], high=[12, 11], low=[9.5, 10.25], volume=[1, 2])
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
    assert other.attrs["interval"] == bars.attrs["interval"]
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


def test_price_jump_over_a_gap_in_time_is_dropped(make_bars: Bars) -> None:
    close, opened = [10.25, 10.0, 10.0, 90.5], [10.0, 10.25, 10.0, 90.0]
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    other = shuffled(make_bars(close, open=opened, high=high, low=low, missing=[2]), block=3)
    assert other["high"].max() < 20
    assert (other.index[1:] - other.index[:-1] == pd.Timedelta("1min")).all()


def test_shuffled_prices_stay_positive(make_bars: Bars) -> None:
    close = np.array([10.0, *[19.0, 10.0] * 20])  # moves of 9, so that some orders go below zero
    opened = np.r_[10.0, close[:-1]]
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    bars = make_bars(close, open=opened, high=high, low=low)
    other = shuffled(bars, block=41, seed=3)
    assert other["low"].min() > 0
    assert sorted(candles(other)["body"]) == sorted(candles(bars)["body"])


def test_more_candles_per_block_than_bars() -> None:
    with pytest.raises(ConfigError, match="51 candles of 50"):
        shuffled(tick_walk(50), 51)


@pytest.mark.parametrize("price", [3e-9, 4e-3, 1.0, 9.5e4, 2e11])
def test_any_level_of_prices(price: float) -> None:
    """A walk with ticks of 0.01 % of the price."""
    walk = tick_walk(400, seed=2)
    columns = list(COLUMNS[:4])
    bars = walk.assign(**{name: (walk[name] * (price / 1e5)).round(16) for name in columns})
    for other in (mirrored(mirrored(bars)), shuffled(bars, 100)):
        same = (other["open"].to_numpy()[1:] == other["close"].to_numpy()[:-1]).mean()
        assert 0.4 < same < 0.65
        bodies = np.sort((other["close"] - other["open"]).to_numpy())
        expected = np.sort((bars["close"] - bars["open"]).to_numpy())
        assert_allclose(bodies, expected, atol=price * 1e-12)
