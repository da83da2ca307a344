"""For all combinations of options: no part depends on a later one, and no sample spans a gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal

from gafcnn.data.augmentation import Augmentation, Drawn
from gafcnn.data.features import FIELDS
from gafcnn.data.indicators import indicators
from gafcnn.data.labels import NULL, Candlestick, Direction, Label, TripleBarrier
from gafcnn.data.market_columns import with_market
from gafcnn.data.samples import PARTS, Samples, make_samples
from gafcnn.data.splits import Chronological, WalkForward
from gafcnn.data.windows import Window, WindowReader, close_times, decision_rows

Bars = Callable[..., pd.DataFrame]
BySymbol = dict[str, pd.DataFrame]
Load = Callable[["Options"], BySymbol]
N_BARS = 700
MOST_BACK = max(field.back for field in FIELDS.values())


@dataclass(frozen=True)
class Symbol:
    """The bars of a symbol, some of which are missing."""

    begins: int  # in bars after the earliest possible start
    n_bars: int
    outages: tuple[tuple[int, int], ...]  # first missing bar, number of missing bars
    seed: int


@dataclass(frozen=True)
class Options:
    """One combination of options, over bars of one to three symbols."""

    interval: timedelta
    symbols: tuple[Symbol, ...]
    window: Window
    label: Label
    splitter: Chronological | WalkForward

    def samples(self, bars: BySymbol) -> Samples:
        return make_samples(
            bars, label=self.label, split=self.splitter, lookback=self.window.lookback
        )

    @property
    def embargo(self) -> np.timedelta64:
        own = self.splitter.embargo
        return (self.window.lookback if own is None else own).to_timedelta64()


@pytest.fixture(scope="session")
def load(random_bars: Bars, tick_bars: Bars) -> Load:
    """Return a function that makes the bars of a combination of options."""

    def bars_of(chosen: Options) -> BySymbol:
        # patterns need opens that differ from the previous close, quantiles need distinct returns
        make = tick_bars if isinstance(chosen.label, Candlestick) else random_bars
        found = {}
        for number, symbol in enumerate(chosen.symbols):
            missing = {first + k for first, length in symbol.outages for k in range(length)}
            inside = [row for row in missing if row < symbol.n_bars]
            bars = make(symbol.n_bars, interval=chosen.interval, missing=inside, seed=symbol.seed)
            volume = bars["volume"]
            bars = bars.assign(quote_volume=9 * volume, trades=volume, taker_buy_volume=volume / 2)
            found[f"S{number}"] = bars.set_axis(bars.index + chosen.interval * symbol.begins)
        return found

    return bars_of


@st.composite
def options(draw: st.DrawFn) -> Options:
    interval = timedelta(minutes=draw(st.sampled_from([1, 15])))
    horizon = interval * draw(st.integers(1, 15))
    labels = (
        Direction(horizon, draw(st.sampled_from([0.0, 0.2, 0.8]))),
        TripleBarrier(horizon, draw(st.sampled_from([0.3, 1.0])), interval * 8),
        Candlestick(),
    )
    val = draw(st.sampled_from([0.3, 0.4]))
    embargo: Any = draw(st.sampled_from([None, interval * 0, interval, interval * 15]))
    stride = draw(st.sampled_from([1, 4]))
    splitters = (
        Chronological(draw(st.sampled_from([0.15, 0.3])), val, embargo, stride),
        WalkForward(draw(st.integers(0, 3)), 4, 0.5, val, embargo, stride),
    )
    outage = st.tuples(st.integers(0, N_BARS - 1), st.sampled_from([1, 5, 30]))
    count = draw(st.integers(1, 3))
    apart = 30 if count > 1 else 0  # several symbols begin and end at different times
    symbol = st.builds(
        Symbol,
        st.integers(0, apart),
        st.integers(N_BARS, N_BARS + 2 * apart),
        st.lists(outage, max_size=3 if count == 1 else 2).map(tuple),
        st.integers(0, 100),
    )
    step = interval * draw(st.sampled_from([1, 2, 4]))
    return Options(
        interval,
        tuple(draw(st.lists(symbol, min_size=count, max_size=count))),
        Window(span=interval * 8, step=step, lookback=interval * 12),
        draw(st.sampled_from(labels)),
        draw(st.sampled_from(splitters)),
    )


# --- splits ---------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(chosen=options())
def test_labels_are_known_before_a_later_part_of_any_symbol(load: Load, chosen: Options) -> None:
    bars = load(chosen)
    samples = chosen.samples(bars)
    assert samples.embargo.to_timedelta64() == chosen.embargo
    each = [samples.of(symbol) for symbol in samples.symbols]
    for earlier, later in combinations(PARTS, 2):
        known = max(one.outcomes.known_at[one.part(earlier)].max() for one in each)
        begins = min(one.times[one.part(later)].min() for one in each)
        assert known + chosen.embargo < begins

    # all samples of the test period up to the common end are tested, and none after it
    end = min(one.times[~np.isnat(one.outcomes.known_at)].max() for one in each)
    test = samples.times[samples.split.test].min(), samples.times[samples.split.test].max()
    assert test[1] <= end
    parts = [samples.part(part) for part in PARTS]
    assert len(np.unique(np.concatenate(parts))) == sum(len(part) for part in parts)
    for one in each:
        inside = (one.times >= test[0]) & (one.times <= test[1]) & ~np.isnat(one.outcomes.known_at)
        assert_array_equal(np.flatnonzero(inside), one.split.test)

    # nothing but purged, strided and unknown samples is left out, so that no part is empty
    dense = replace(chosen, splitter=replace(chosen.splitter, stride=1)).samples(bars)
    times, known_at, split = dense.times, dense.outcomes.known_at, dense.split
    left_out = ~np.isnat(known_at)
    left_out[np.concatenate([split.train, split.val, split.test])] = False
    purged = np.zeros(len(times), dtype=bool)
    for later in (split.val, split.test):
        begins = times[later].min()
        purged |= (times < begins) & (known_at + chosen.embargo >= begins)
    assert purged[left_out & (times < times[split.test].max())].all()

    for whole, some in ((dense.of(symbol), samples.of(symbol)) for symbol in dense.symbols):
        every = np.flatnonzero(~np.isnat(whole.outcomes.known_at))[:: chosen.splitter.stride]
        assert_array_equal(some.split.train, np.intersect1d(every, whole.split.train))
        assert_array_equal(some.split.val, whole.split.val)
        assert_array_equal(some.split.test, whole.split.test)


@settings(max_examples=25)
@given(chosen=options())
def test_no_sample_or_outcome_spans_a_gap(load: Load, chosen: Options) -> None:
    bars = load(chosen)
    samples = chosen.samples(bars)
    back = (chosen.window.lookback - chosen.interval).to_timedelta64()
    for symbol, frame in bars.items():
        one = samples.of(symbol)
        used = np.concatenate([one.part(name) for name in PARTS])
        ahead = one.outcomes.known_at[used] - one.times[used]
        first = close_times(frame).searchsorted(one.times[used] - back)
        last = close_times(frame).searchsorted(one.outcomes.known_at[used])
        assert_array_equal((last - first) * np.timedelta64(chosen.interval), ahead + back)
        assert (ahead <= chosen.label.horizon.to_timedelta64()).all()
        assert ((ahead > np.timedelta64(0)) == bool(chosen.label.horizon)).all()


# --- future bars ----------------------------------------------------------------------------------


@settings(max_examples=30)
@given(chosen=options(), data=st.data())
def test_later_bars_do_not_change_samples(load: Load, chosen: Options, data: st.DataObject) -> None:
    bars = load(chosen)
    samples = chosen.samples(bars)
    # from the end of training on, so that the fitted thresholds must not change
    known_at, bar = samples.outcomes.known_at, np.timedelta64(chosen.interval)
    trained = known_at[samples.split.train].max()
    left = (max(close_times(frame)[-1] for frame in bars.values()) - trained) // bar
    t = trained + data.draw(st.integers(0, int(left) - 1), label="bars after training") * bar
    rng = np.random.default_rng(data.draw(st.integers(0, 100), label="seed"))
    other = {symbol: altered(frame, t, rng) for symbol, frame in bars.items()}
    assert any((other[symbol] != frame).any(axis=None) for symbol, frame in bars.items())
    again = chosen.samples(other)

    assert_array_equal(again.times, samples.times)
    known = known_at <= t
    assert known[samples.split.train].all()
    for before, after in (
        (known_at, again.outcomes.known_at),
        (samples.outcomes.forward_return, again.outcomes.forward_return),
        (samples.label, again.label),
    ):
        assert_array_equal(after[known], before[known])
    assert (samples.label[samples.split.train] != NULL).any()
    for name in PARTS:
        part, part_again = samples.part(name), again.part(name)
        assert_array_equal(part_again[known[part_again]], part[known[part]])
    for symbol in samples.symbols:
        assert _thresholds(again.of(symbol)) == _thresholds(samples.of(symbol))


@settings(max_examples=20)
@given(chosen=options(), data=st.data())
def test_later_bars_do_not_change_fields_and_indicators(
    load: Load, chosen: Options, data: st.DataObject
) -> None:
    bars = load(chosen)["S0"]
    span, step = chosen.window.span, chosen.window.step
    window = Window(span=span, step=step, lookback=span + MOST_BACK * step)
    rows = decision_rows(bars, window.lookback)
    row = data.draw(st.sampled_from(rows.tolist()), label="last known row")
    rng = np.random.default_rng(data.draw(st.integers(0, 100), label="seed"))
    other = altered(bars, close_times(bars)[row], rng)
    share = data.draw(st.sampled_from([0.0, 0.9, 1.0]), label="share of later bars that exist")
    keep = np.arange(len(bars)) <= row
    keep[row + 1 :] = rng.random(len(bars) - row - 1) < share
    other = other[keep]

    past = rows[rows <= row]
    known, changed = (with_market({"S0": frame}, FIELDS)["S0"] for frame in (bars, other))
    before, after = (WindowReader(frame, window, FIELDS)(past) for frame in (known, changed))
    assert_array_equal(after, before)
    assert not np.isnan(before).any()
    before, after = (indicators(frame).to_numpy()[: row + 1] for frame in (bars, other))
    assert after.tobytes() == before.tobytes()


@settings(max_examples=8)
@given(chosen=options().filter(lambda chosen: isinstance(chosen.label, Candlestick)))
def test_augmentation_uses_training_bars_only(load: Load, chosen: Options) -> None:
    bars = load(chosen)["S0"]
    samples = chosen.samples({"S0": bars})
    last = samples.times[samples.split.train[-1]]
    later = altered(bars, last, np.random.default_rng(0))
    for one, other in zip(_draw(chosen, bars), _draw(chosen, later), strict=True):
        assert_frame_equal(one.bars, other.bars)
        assert_array_equal(one.rows, other.rows)
        assert_array_equal(one.label, other.label)
        assert one.bars.index[-1] <= pd.Timestamp(last, tz="UTC")


@settings(max_examples=25)
@given(chosen=options().filter(lambda chosen: isinstance(chosen.label, Direction)))
def test_the_neutral_share_of_training_samples_has_no_label(load: Load, chosen: Options) -> None:
    assert isinstance(chosen.label, Direction)
    samples = chosen.samples(load(chosen))
    for one in map(samples.of, samples.symbols):
        train = one.label[one.split.train]
        # each quantile may fall between two samples
        assert abs((train == NULL).mean() - chosen.label.neutral) <= 2 / len(train)
        assert abs((train == 1).mean() - (train == 0).mean()) <= 2 / len(train)


def altered(bars: pd.DataFrame, t: np.datetime64, rng: np.random.Generator) -> pd.DataFrame:
    """The bars, with other prices and volumes after `t`."""
    other = bars.copy()
    after = close_times(bars) > t
    other.loc[after] *= rng.uniform(0.5, 2, (int(after.sum()), 1))
    return other


def _thresholds(samples: Samples) -> tuple[float, float] | None:
    label = samples.definition
    if not isinstance(label, Direction):
        return None
    return label.thresholds(samples.outcomes, samples.split.train)


def _draw(chosen: Options, bars: pd.DataFrame) -> list[Drawn]:
    augmentation = Augmentation(per_class=40, shuffles=1, block=20, walks=0)
    return list(augmentation.draw(chosen.samples({"S0": bars})))
