"""Over the product of all options: no part knows a later one, no sample spans a gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.data.augmentation import Augmentation, Drawn
from gafcnn.data.candlestick import Candlestick
from gafcnn.data.features import FIELDS
from gafcnn.data.indicators import indicators
from gafcnn.data.labels import NULL, Direction, Label, TripleBarrier
from gafcnn.data.samples import PARTS, LabelledSamples
from gafcnn.data.splits import Chronological, WalkForward
from gafcnn.data.windows import Window, WindowReader, close_times, decision_rows

Bars = Callable[..., pd.DataFrame]
BySymbol = dict[str, pd.DataFrame]
N_BARS = 700
FARTHEST = max(field.back for field in FIELDS.values())  # candles before a window's first


@dataclass(frozen=True)
class Symbol:
    """The bars of a symbol, some of which are missing."""

    begins: int  # bars after the first symbol may
    n_bars: int
    outages: tuple[tuple[int, int], ...]  # first missing bar, bars missing
    seed: int


@dataclass(frozen=True)
class Options:
    """One of all combinations, over bars of one to three symbols."""

    interval: timedelta
    symbols: tuple[Symbol, ...]
    window: Window
    label: Label
    splitter: Chronological | WalkForward

    def bars(self, random_bars: Bars, tick_bars: Bars) -> BySymbol:
        # patterns are rare where a bar opens at the close before; quantiles are unclear on a grid
        make = tick_bars if isinstance(self.label, Candlestick) else random_bars
        found = {}
        for number, symbol in enumerate(self.symbols):
            missing = {first + k for first, length in symbol.outages for k in range(length)}
            inside = [row for row in missing if row < symbol.n_bars]
            bars = make(symbol.n_bars, interval=self.interval, missing=inside, seed=symbol.seed)
            attrs = bars.attrs
            bars.index = bars.index + self.interval * symbol.begins
            bars.attrs = attrs
            found[f"S{number}"] = bars
        return found

    def samples(self, bars: BySymbol) -> LabelledSamples:
        return LabelledSamples.make(bars, self.window.lookback, self.label, self.splitter)


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
    embargo = interval * draw(st.sampled_from([0, 1, 15]))
    stride = draw(st.sampled_from([1, 4]))
    splitters = (
        Chronological(draw(st.sampled_from([0.15, 0.3])), val, embargo, stride),
        WalkForward(draw(st.integers(0, 3)), 4, 0.5, val, embargo, stride),
    )
    outage = st.tuples(st.integers(0, N_BARS - 1), st.sampled_from([1, 5, 30]))
    count = draw(st.integers(1, 3))
    # of several, each begins and ends at a time of its own
    apart = 30 if count > 1 else 0
    symbol = st.builds(
        Symbol,
        st.integers(0, apart),
        st.integers(N_BARS, N_BARS + 2 * apart),
        st.lists(outage, max_size=3 if count == 1 else 2).map(tuple),
        st.integers(0, 100),
    )
    return Options(
        interval,
        tuple(draw(st.lists(symbol, min_size=count, max_size=count))),
        Window("w", interval * 8, interval * draw(st.sampled_from([1, 2, 4])), interval * 12),
        draw(st.sampled_from(labels)),
        draw(st.sampled_from(splitters)),
    )


@settings(max_examples=30)
@given(chosen=options())
def test_an_earlier_part_is_known_before_a_later_one_begins_of_any_symbol(
    random_bars: Bars, tick_bars: Bars, chosen: Options
) -> None:
    samples = chosen.samples(chosen.bars(random_bars, tick_bars))
    each = [samples.of(symbol) for symbol in samples.symbols]
    for earlier, later in combinations(PARTS, 2):
        for one in each:
            known = one.outcomes.known_at[one.part(earlier)].max()
            for other in each:
                begins = other.times[other.part(later)].min()
                assert known + chosen.splitter.embargo.to_timedelta64() < begins

    # what comes after the common end is in no part; before it, test has all there is
    end = min(one.times[~np.isnat(one.outcomes.known_at)].max() for one in each)
    assert samples.times[samples.split.test].max() <= end
    parts = [samples.part(part) for part in PARTS]
    assert len(np.unique(np.concatenate(parts))) == sum(len(part) for part in parts)
    test = samples.times[samples.split.test].min(), samples.times[samples.split.test].max()
    for one in each:
        inside = (one.times >= test[0]) & (one.times <= test[1]) & ~np.isnat(one.outcomes.known_at)
        np.testing.assert_array_equal(np.flatnonzero(inside), one.split.test)


@settings(max_examples=30)
@given(chosen=options())
def test_only_the_purge_the_stride_and_the_unknown_are_left_out(
    random_bars: Bars, tick_bars: Bars, chosen: Options
) -> None:
    """The walls are no thicker than promised, or an empty split would pass every other test."""
    bars = chosen.bars(random_bars, tick_bars)
    unthinned = replace(chosen, splitter=replace(chosen.splitter, stride=1)).samples(bars)
    times, known_at, split = unthinned.times, unthinned.outcomes.known_at, unthinned.split
    in_no_part = ~np.isnat(known_at)
    in_no_part[np.concatenate([split.train, split.val, split.test])] = False
    wall = known_at + chosen.splitter.embargo.to_timedelta64()
    purged = np.zeros(len(times), dtype=bool)
    for later in (split.val, split.test):
        begins = times[later].min()
        purged |= (times < begins) & (wall >= begins)
    assert purged[in_no_part & (times < times[split.test].max())].all()

    thinned = chosen.samples(bars)
    for whole, some in ((unthinned.of(symbol), thinned.of(symbol)) for symbol in unthinned.symbols):
        every = np.flatnonzero(~np.isnat(whole.outcomes.known_at))[:: chosen.splitter.stride]
        np.testing.assert_array_equal(some.split.train, np.intersect1d(every, whole.split.train))
        np.testing.assert_array_equal(some.split.val, whole.split.val)
        np.testing.assert_array_equal(some.split.test, whole.split.test)


@settings(max_examples=25)
@given(chosen=options())
def test_no_sample_and_no_outcome_spans_a_gap(
    random_bars: Bars, tick_bars: Bars, chosen: Options
) -> None:
    bars = chosen.bars(random_bars, tick_bars)
    samples = chosen.samples(bars)
    for symbol, of in bars.items():
        one = samples.of(symbol)
        used = np.concatenate([one.part(name) for name in PARTS])
        first = close_times(of).searchsorted(one.times[used] - _less_a_bar(chosen))
        last = close_times(of).searchsorted(one.outcomes.known_at[used])
        span = one.outcomes.known_at[used] - one.times[used] + _less_a_bar(chosen)
        # as many bars as there is time for them
        np.testing.assert_array_equal((last - first) * np.timedelta64(chosen.interval), span)
        ahead = one.outcomes.known_at[used] - one.times[used]
        assert (ahead <= chosen.label.horizon.to_timedelta64()).all()
        assert ((ahead > np.timedelta64(0)) == bool(chosen.label.horizon)).all()


def _less_a_bar(chosen: Options) -> np.timedelta64:
    return (chosen.window.lookback - chosen.interval).to_timedelta64()


# --- the bars after a moment ----------------------------------------------------------------------


@settings(max_examples=30)
@given(chosen=options(), data=st.data())
def test_nothing_known_by_then_changes_with_the_bars_after(
    random_bars: Bars, tick_bars: Bars, chosen: Options, data: st.DataObject
) -> None:
    bars = chosen.bars(random_bars, tick_bars)
    samples = chosen.samples(bars)
    # from the end of training on, so that thresholds are among what is known
    known_at = samples.outcomes.known_at
    trained = known_at[samples.split.train].max()
    left = (max(close_times(of)[-1] for of in bars.values()) - trained) // np.timedelta64(
        chosen.interval
    )
    t = trained + data.draw(st.integers(0, int(left) - 1), label="bars later") * np.timedelta64(
        chosen.interval
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 100), label="altered to"))
    other = {symbol: altered(of, t, rng) for symbol, of in bars.items()}
    assert any((other[symbol] != of).any(axis=None) for symbol, of in bars.items())
    again = chosen.samples(other)

    np.testing.assert_array_equal(again.times, samples.times)
    known = known_at <= t
    assert known[samples.split.train].all()
    np.testing.assert_array_equal(again.outcomes.known_at[known], known_at[known])
    np.testing.assert_array_equal(
        again.outcomes.forward_return[known], samples.outcomes.forward_return[known]
    )
    np.testing.assert_array_equal(again.label[known], samples.label[known])
    assert (samples.label[samples.split.train] != NULL).any()
    for name in PARTS:
        part, part_again = samples.part(name), again.part(name)
        np.testing.assert_array_equal(part_again[known[part_again]], part[known[part]])
    for symbol in samples.symbols:
        assert _fitted(chosen, again.of(symbol)) == _fitted(chosen, samples.of(symbol))


@settings(max_examples=20)
@given(chosen=options(), data=st.data())
def test_nothing_shown_of_a_moment_changes_with_the_bars_after_or_without_them(
    random_bars: Bars, tick_bars: Bars, chosen: Options, data: st.DataObject
) -> None:
    """Of all fields, and of the indicators, whether or not there are gaps."""
    bars = chosen.bars(random_bars, tick_bars)["S0"]
    step = chosen.interval if chosen.window.step is None else chosen.window.step
    window = Window("w", chosen.window.span, step, chosen.window.span + FARTHEST * step)
    rows = decision_rows(bars, window.lookback)
    row = data.draw(st.sampled_from(rows.tolist()), label="the last row that is known")
    rng = np.random.default_rng(data.draw(st.integers(0, 100), label="altered to"))
    other = altered(bars, close_times(bars)[row], rng)
    keep = np.arange(len(bars)) <= row
    keep[row + 1 :] = rng.random(len(bars) - row - 1) < data.draw(
        st.sampled_from([0.0, 0.9, 1.0]), label="share of the later bars that is there"
    )
    other = other[keep]
    other.attrs = bars.attrs

    past = rows[rows <= row]
    before, after = (WindowReader(of, window, FIELDS)(past) for of in (bars, other))
    np.testing.assert_array_equal(after, before)
    assert not np.isnan(before).any()
    before, after = (indicators(of).to_numpy()[: row + 1] for of in (bars, other))
    assert after.tobytes() == before.tobytes()


@settings(max_examples=8)
@given(chosen=options().filter(lambda chosen: isinstance(chosen.label, Candlestick)))
def test_further_samples_are_drawn_from_the_bars_of_training_alone(
    random_bars: Bars, tick_bars: Bars, chosen: Options
) -> None:
    bars = chosen.bars(random_bars, tick_bars)["S0"]
    samples = chosen.samples({"S0": bars})
    later = altered(bars, samples.times[samples.split.train[-1]], np.random.default_rng(0))
    for one, other in zip(_drawn(chosen, bars), _drawn(chosen, later), strict=True):
        pd.testing.assert_frame_equal(one.bars, other.bars)
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.label, other.label)
        assert one.bars.index[-1] <= pd.Timestamp(samples.times[samples.split.train[-1]], tz="UTC")


@settings(max_examples=25)
@given(chosen=options().filter(lambda chosen: isinstance(chosen.label, Direction)))
def test_the_neutral_share_of_training_samples_has_no_label(
    random_bars: Bars, tick_bars: Bars, chosen: Options
) -> None:
    assert isinstance(chosen.label, Direction)
    samples = chosen.samples(chosen.bars(random_bars, tick_bars))
    for one in map(samples.of, samples.symbols):
        train = one.label[one.split.train]
        share = (train == NULL).mean()
        # quantiles fall between two samples at each end of the middle
        assert abs(share - chosen.label.neutral) <= 2 / len(train)
        assert abs((train == 1).mean() - (train == 0).mean()) <= 2 / len(train)


def altered(bars: pd.DataFrame, t: np.datetime64, rng: np.random.Generator) -> pd.DataFrame:
    """The bars, with every one after `t` at other prices and another volume."""
    other = bars.copy()
    after = close_times(bars) > t
    other.loc[after] *= rng.uniform(0.5, 2, (int(after.sum()), 1))
    return other


def _fitted(chosen: Options, samples: LabelledSamples) -> tuple[float, float] | None:
    if not isinstance(chosen.label, Direction):
        return None
    return chosen.label.thresholds(samples.outcomes, samples.split.train)


def _drawn(chosen: Options, bars: pd.DataFrame) -> list[Drawn]:
    augmentation = Augmentation(per_class=40, shuffles=1, block=20, walks=0)
    samples = chosen.samples({"S0": bars})
    return list(augmentation.draw(bars, samples, chosen.window.lookback, chosen.label))
