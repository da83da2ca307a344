"""Over the product of all options: no part knows a later one, no sample spans a gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gafcnn.samples import (
    NULL,
    Chronological,
    Direction,
    Label,
    LabelledSamples,
    Part,
    TripleBarrier,
    WalkForward,
    Window,
    WindowReader,
    decision_rows,
)

Bars = Callable[..., pd.DataFrame]
N_BARS = 700
PARTS: Sequence[Part] = ("train", "val", "test")


@dataclass(frozen=True)
class Options:
    """One of all combinations, over bars of which some are missing."""

    interval: timedelta
    outages: tuple[tuple[int, int], ...]  # first missing bar, bars missing
    window: Window
    label: Label
    splitter: Chronological | WalkForward
    seed: int

    def bars(self, random_bars: Bars) -> pd.DataFrame:
        missing = {first + k for first, length in self.outages for k in range(length)}
        inside = [row for row in missing if row < N_BARS]
        return random_bars(N_BARS, interval=self.interval, missing=inside, seed=self.seed)

    def samples(self, bars: pd.DataFrame) -> LabelledSamples:
        return LabelledSamples.make(bars, self.window.lookback, self.label, self.splitter)


@st.composite
def options(draw: st.DrawFn) -> Options:
    interval = timedelta(minutes=draw(st.sampled_from([1, 15])))
    horizon = interval * draw(st.integers(1, 15))
    labels = (
        Direction(horizon, draw(st.sampled_from([0.0, 0.2, 0.8]))),
        TripleBarrier(horizon, draw(st.sampled_from([0.3, 1.0])), interval * 8),
    )
    val = draw(st.sampled_from([0.3, 0.4]))
    embargo = interval * draw(st.sampled_from([0, 1, 15]))
    stride = draw(st.sampled_from([1, 4]))
    splitters = (
        Chronological(draw(st.sampled_from([0.15, 0.3])), val, embargo, stride),
        WalkForward(draw(st.integers(0, 3)), 4, 0.5, val, embargo, stride),
    )
    outage = st.tuples(st.integers(0, N_BARS - 1), st.sampled_from([1, 5, 30]))
    return Options(
        interval,
        tuple(draw(st.lists(outage, max_size=3))),
        Window("w", interval * 8, interval * draw(st.sampled_from([1, 2, 4])), interval * 12),
        draw(st.sampled_from(labels)),
        draw(st.sampled_from(splitters)),
        draw(st.integers(0, 100)),
    )


@settings(max_examples=100, deadline=None)
@given(chosen=options())
def test_an_earlier_part_is_known_before_a_later_one_begins(
    random_bars: Bars, chosen: Options
) -> None:
    samples = chosen.samples(chosen.bars(random_bars))
    known_at = samples.outcomes.known_at
    for earlier, later in combinations(PARTS, 2):
        known = known_at[samples.part(earlier)].max()
        begins = samples.times[samples.part(later)].min()
        assert known + chosen.splitter.embargo.to_timedelta64() < begins


@settings(max_examples=100, deadline=None)
@given(chosen=options())
def test_only_the_purge_the_stride_and_the_unknown_are_left_out(
    random_bars: Bars, chosen: Options
) -> None:
    """The walls are no thicker than promised, or an empty split would pass every other test."""
    bars = chosen.bars(random_bars)
    unthinned = replace(chosen, splitter=replace(chosen.splitter, stride=1)).samples(bars)
    split, known_at = unthinned.split, unthinned.outcomes.known_at
    decided = np.flatnonzero(~np.isnat(known_at))

    in_no_part = np.setdiff1d(decided, np.concatenate([split.train, split.val, split.test]))
    wall = known_at + chosen.splitter.embargo.to_timedelta64()
    purged = np.zeros(len(known_at), dtype=bool)
    for later in (split.val, split.test):
        begins = unthinned.times[later[0] - 1]  # val may have lost its first samples to the purge
        purged |= (unthinned.times <= begins) & (wall > begins)
    before_test_ends = in_no_part[in_no_part < split.test[-1]]
    assert purged[before_test_ends].all()

    thinned = chosen.samples(bars).split
    every = decided[:: chosen.splitter.stride]
    np.testing.assert_array_equal(thinned.train, np.intersect1d(every, split.train))
    np.testing.assert_array_equal(thinned.val, split.val)
    np.testing.assert_array_equal(thinned.test, split.test)


@settings(max_examples=60, deadline=None)
@given(chosen=options())
def test_no_sample_and_no_outcome_spans_a_gap(random_bars: Bars, chosen: Options) -> None:
    bars = chosen.bars(random_bars)
    samples = chosen.samples(bars)
    there = set(bars.index.to_numpy("datetime64[ns]"))
    bar, lookback = np.timedelta64(chosen.interval), chosen.window.lookback.to_timedelta64()
    for name in PARTS:
        for t, known in zip(
            samples.times[samples.part(name)],
            samples.outcomes.known_at[samples.part(name)],
            strict=True,
        ):
            assert there.issuperset(np.arange(t - lookback + bar, known + bar, bar))
            assert t < known <= t + chosen.label.horizon.to_timedelta64()


@settings(max_examples=100, deadline=None)
@given(chosen=options(), data=st.data())
def test_nothing_known_by_then_changes_with_the_bars_after(
    random_bars: Bars, chosen: Options, data: st.DataObject
) -> None:
    bars = chosen.bars(random_bars)
    samples = chosen.samples(bars)
    # from the end of training on, so that thresholds are among what is known
    known_at = samples.outcomes.known_at
    trained = np.searchsorted(
        bars.index.to_numpy("datetime64[ns]"), known_at[samples.split.train].max()
    )
    cut = data.draw(st.integers(int(trained) + 1, len(bars) - 1), label="first altered row")
    altered = bars.copy()
    altered.iloc[cut:] *= data.draw(st.sampled_from([0.5, 1.01, 7.0]), label="by")
    again = chosen.samples(altered)

    rows = decision_rows(bars, chosen.window.lookback)
    np.testing.assert_array_equal(decision_rows(altered, chosen.window.lookback), rows)
    past = rows[rows < cut]
    np.testing.assert_array_equal(
        WindowReader(altered, chosen.window)(past), WindowReader(bars, chosen.window)(past)
    )
    known = known_at < bars.index.to_numpy("datetime64[ns]")[cut]
    assert known[samples.split.train].all()
    np.testing.assert_array_equal(again.outcomes.known_at[known], known_at[known])
    np.testing.assert_array_equal(
        again.outcomes.forward_return[known], samples.outcomes.forward_return[known]
    )
    np.testing.assert_array_equal(again.label[known], samples.label[known])
    for name in PARTS:
        part, part_again = samples.part(name), again.part(name)
        np.testing.assert_array_equal(part_again[known[part_again]], part[known[part]])
    if isinstance(chosen.label, Direction):
        train = samples.split.train
        thresholds = chosen.label.thresholds(samples.outcomes, train)
        assert chosen.label.thresholds(again.outcomes, again.split.train) == thresholds


@settings(max_examples=60, deadline=None)
@given(chosen=options())
def test_the_neutral_share_of_training_samples_has_no_label(
    random_bars: Bars, chosen: Options
) -> None:
    assume(isinstance(chosen.label, Direction))
    assert isinstance(chosen.label, Direction)
    samples = chosen.samples(chosen.bars(random_bars))
    train = samples.label[samples.split.train]
    share = (train == NULL).mean()
    # quantiles fall between two samples at each end of the middle
    assert abs(share - chosen.label.neutral) <= 2 / len(train)
    assert abs((train == 1).mean() - (train == 0).mean()) <= 2 / len(train)
