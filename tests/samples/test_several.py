"""Several symbols: split at the same moments, so that none tells of another's future."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.candlestick import Candlestick
from gafcnn.data.labels import Direction, Label, TripleBarrier
from gafcnn.data.reading import read_bars
from gafcnn.data.samples import PARTS, LabelledSamples
from gafcnn.data.splits import Chronological, Split, WalkForward, check_purged
from gafcnn.errors import LeakError, SamplesError

Bars = Callable[..., pd.DataFrame]

HOUR = pd.Timedelta("60min")
START = np.datetime64("2024-01-01T00:00", "ns")


def _minutes(numbers: Any) -> Any:
    return START + np.asarray(numbers) * np.timedelta64(1, "m").astype("timedelta64[ns]")


def _later(bars: pd.DataFrame, minutes: int) -> pd.DataFrame:
    later = bars.set_axis(bars.index + pd.Timedelta(minutes=minutes))
    later.attrs = bars.attrs
    return later


# --- borders --------------------------------------------------------------------------------------


def test_borders_are_the_same_moments_for_all_by_hand() -> None:
    # A is decided from 0 to 99, B from 40 to 119: the period is 0 to 99, whatever B has after it
    times = np.concatenate([_minutes(range(100)), _minutes(range(40, 120))])
    split = Chronological(test=0.2, val=0.25, embargo="3min").split(times, times, (0, 100))
    # 99 minutes: test from 79.2 on, val from 59.4 on
    assert split.test.tolist() == [*range(80, 100), *range(140, 160)]
    assert split.val.tolist() == [*range(60, 77), *range(120, 137)]
    assert split.train.tolist() == [*range(57), *range(100, 117)]


def test_the_purge_is_against_the_first_decision_of_any_symbol() -> None:
    # B decides at 60 and then not before 70: what A knows only at 66 would tell of B's validation
    a, b = _minutes([*range(60), *range(70, 100)]), _minutes([*range(61), *range(70, 100)])
    times = np.concatenate([a, b])
    known = times + np.timedelta64(7, "m")
    split = Chronological(test=0.2, val=0.25, embargo="0min").split(times, known, (0, len(a)))
    assert times[split.val].min() == _minutes(60)
    assert known[split.train].max() == _minutes(59)
    alone = Chronological(test=0.2, val=0.25, embargo="0min").split(a, known[: len(a)])
    assert known[alone.train].max() == _minutes(66)


def test_stride_is_of_each_symbol() -> None:
    times = np.concatenate([_minutes(range(100))] * 2)
    split = Chronological(0.2, 0.25, "0min", stride=7).split(times, times, (0, 100))
    assert split.train.tolist() == [*range(0, 60, 7), *range(100, 160, 7)]
    assert len(split.val) == 40


def test_walk_forward_tests_blocks_of_the_same_time() -> None:
    times = np.concatenate([_minutes(range(100)), _minutes(range(20, 110))])
    splits = [
        WalkForward(k, folds=3, first=1 / 3, val=0.25, embargo="0min").split(times, times, (0, 100))
        for k in range(3)
    ]
    tested = [times[split.test] for split in splits]
    assert [(one.min(), one.max()) for one in tested] == [
        (_minutes(33), _minutes(54)),
        (_minutes(55), _minutes(76)),
        (_minutes(77), _minutes(99)),
    ]


def test_a_class_that_does_not_occur_is_counted_as_none(make_bars: Bars) -> None:
    bars = make_bars(100 + np.arange(600))  # bars without a body, on none of which a pattern stands
    samples = LabelledSamples.make(bars, HOUR, Candlestick(), Chronological(0.2, 0.2))
    assert samples.counts("train").tolist() == [len(samples.split.train), *[0] * 8]


def test_the_samples_of_one_symbol_are_of_the_same_fold(random_bars: Bars) -> None:
    bars = {"A": random_bars(600), "B": random_bars(600, seed=1)}
    splitter = WalkForward(1, folds=2, val=0.2, embargo="5min")
    samples = LabelledSamples.make(bars, HOUR, Direction("5min"), splitter)
    assert [samples.of(symbol).split.fold for symbol in bars] == [1, 1]


def test_the_assertion_is_over_all_symbols_together(random_bars: Bars) -> None:
    bars = {"A": random_bars(400), "B": random_bars(400, seed=1)}
    samples = LabelledSamples.make(bars, HOUR, Direction("5min"), Chronological(0.2, 0.2, "5min"))
    samples.check()
    b_val = samples.of("B").split.val
    late = samples.times.copy()
    late[samples.split.train[0]] = samples.times[b_val[0]]
    with pytest.raises(LeakError, match="the labels of train are known at"):
        check_purged(late, late, samples.split, "0min")


def test_a_splitter_of_ones_own_that_does_not_purge_is_refused(random_bars: Bars) -> None:
    class Halves:
        embargo = pd.Timedelta("0min")

        def split(self, times: np.ndarray, known_at: np.ndarray, starts: object) -> Split:
            known = np.flatnonzero(~np.isnat(known_at))
            return Split(*np.array_split(known, 3))

    with pytest.raises(LeakError, match="the labels of train are known at"):
        LabelledSamples.make(random_bars(400), HOUR, Direction("5min"), Halves())


# --- labels ---------------------------------------------------------------------------------------


def test_one_symbol_in_company_of_none_is_the_symbol_alone(random_bars: Bars) -> None:
    bars = random_bars(1500)
    alone = LabelledSamples.make(bars, HOUR, Direction("5min"), Chronological())
    named = LabelledSamples.make({"A": bars}, HOUR, Direction("5min"), Chronological())
    assert (alone.symbols, named.symbols) == (("",), ("A",))
    for samples in (named, named.of("A")):
        np.testing.assert_array_equal(samples.times, alone.times)
        np.testing.assert_array_equal(samples.label, alone.label)
        for part in PARTS:
            np.testing.assert_array_equal(samples.part(part), alone.part(part))


@pytest.mark.parametrize(
    "label", [Direction("5min"), TripleBarrier("5min", volatility_lookback="10min"), Candlestick()]
)
def test_a_symbol_is_labelled_as_it_would_be_alone(tick_bars: Bars, label: Label) -> None:
    # B is the same symbol, less volatile by half: a shared quantile would call it neutral
    quiet = tick_bars(1500, seed=1)
    quiet[["open", "high", "low", "close"]] **= 0.5
    bars = {"A": tick_bars(1500), "B": quiet}
    pooled = LabelledSamples.make(bars, HOUR, label, Chronological())
    assert pooled.symbols == ("A", "B")
    n, border = len(pooled.times), pooled.starts[1]
    ends = np.array([0, border - 1, border, n - 1])
    assert pooled.symbol_of(ends).tolist() == ["A", "A", "B", "B"]
    for name, of in bars.items():
        alone = LabelledSamples.make(of, HOUR, label, Chronological())
        mine = pooled.of(name)
        assert set(mine.symbol_of(mine.split.test)) == {name}
        np.testing.assert_array_equal(mine.of(name).times, mine.times)
        np.testing.assert_array_equal(mine.label, alone.label)
        np.testing.assert_array_equal(mine.outcomes.forward_return, alone.outcomes.forward_return)
        for part in PARTS:
            np.testing.assert_array_equal(mine.part(part), alone.part(part))


# --- real symbols ---------------------------------------------------------------------------------


def test_real_symbols_of_different_histories_are_split_at_the_same_moments(
    real_bars_folder: Path,
) -> None:
    found = {
        path.name.partition("-")[0]: read_bars(path)
        for path in sorted(real_bars_folder.glob("*-perp-1m-*"))
    }
    assert [*found] == ["bnbusdt", "btcusdt", "ethusdt"]
    for fold in range(4):
        splitter = WalkForward(fold, first=0.6)
        samples = LabelledSamples.make(found, HOUR, Direction("15min"), splitter)
        samples.check()
        bnb, btc, eth = (samples.of(symbol) for symbol in found)
        # three weeks of BNB alone, then all at the same minutes
        assert len(bnb.split.train) > len(btc.split.train) + 20 * 1440 > 20 * 1440
        for part in ("val", "test"):
            np.testing.assert_array_equal(bnb.times[bnb.part(part)], btc.times[btc.part(part)])
            np.testing.assert_array_equal(bnb.times[bnb.part(part)], eth.times[eth.part(part)])
        assert samples.times.max() > samples.times[samples.split.test].max()


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["MAB", "BAM", "ABM"])
def test_two_symbols_without_a_common_period_are_refused(random_bars: Bars, order: str) -> None:
    bars = {
        "M": random_bars(300),
        "A": _later(random_bars(900), 100),
        "B": _later(random_bars(300), 600),
    }
    in_order = {symbol: bars[symbol] for symbol in order}
    with pytest.raises(SamplesError) as refused:
        LabelledSamples.make(in_order, HOUR, Direction("15min"), Chronological())
    assert str(refused.value) == (
        "M has samples from 2024-01-01 01:00:00 to 2024-01-01 04:45:00 UTC and B has samples from "
        "2024-01-01 11:00:00 to 2024-01-01 14:45:00 UTC; expected a time at which all symbols have "
        "some, to be tested at the same moments; leave one of them out of market.symbols, or give "
        "bars of the same time."
    )


def test_a_symbol_without_a_sample_in_some_part_is_refused(random_bars: Bars) -> None:
    bars = {"A": random_bars(2000), "B": _later(random_bars(350), 1650)}
    with pytest.raises(SamplesError) as refused:
        LabelledSamples.make(bars, HOUR, Direction("15min"), Chronological())
    assert str(refused.value) == (
        "of B the split leaves 0 train, 8 val, 193 test samples; expected at least one of every "
        "symbol in each part; leave it out of market.symbols, give more bars of it, or other "
        "shares of split."
    )


def test_a_symbol_without_a_known_outcome_is_refused(random_bars: Bars) -> None:
    bars = {"A": random_bars(2000), "B": random_bars(70)}
    with pytest.raises(SamplesError) as refused:
        LabelledSamples.make(bars, HOUR, Direction("15min"), Chronological())
    assert str(refused.value) == (
        "none of 11 samples of B has a known outcome; expected bars that reach further than "
        "label.horizon after some of them; give more bars of it, or leave it out of market.symbols."
    )
