"""Cross-sections: targets by hand and their properties, the universe, delistings, schedules."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gafcnn.data.bars import check_bars
from gafcnn.data.calendars import load_calendar
from gafcnn.data.cross_section import (
    AboveMedian,
    Rank,
    Relative,
    Universe,
    check_market,
    traded_value,
)
from gafcnn.data.labels import LABELS, Direction, Outcomes, forward_outcomes
from gafcnn.data.samples import PARTS, Samples, make_samples
from gafcnn.data.simulated import simulate_universe
from gafcnn.data.splits import Chronological, Split, WalkForward
from gafcnn.data.windows import close_times
from gafcnn.errors import ConfigError, LeakError, SamplesError
from gafcnn.settings import as_plain

Bars = Callable[..., pd.DataFrame]
NAN = float("nan")
HOUR = np.timedelta64(1, "h")
FOUR: Any = pd.Timedelta("4h")


def related(label: Any, returns: Any, times: Any, symbols: Any = None) -> np.ndarray:
    moments = np.datetime64("2024-01-01", "ns") + np.asarray(times) * HOUR
    names = np.array([f"S{k}" for k in range(len(moments))] if symbols is None else symbols)
    return label.relate(np.asarray(returns, np.float64), moments, names)


def universe(symbols: int = 4, n_bars: int = 900, **options: Any) -> dict[str, pd.DataFrame]:
    return simulate_universe(symbols, n_bars, **options)[0]


# --- targets by hand ------------------------------------------------------------------------------


def test_relative_by_hand() -> None:
    # mean 0.02, standard deviation 0.01; the second time has one symbol, the third equal returns
    found = related(Relative(), [0.01, 0.5, 0.02, 0.1, 0.03, 0.1], [0, 1, 0, 2, 0, 2])
    assert_allclose(found, [-1, NAN, 0, NAN, 1, NAN], atol=1e-12)
    # an unknown return is left out, and changes nothing for the others
    assert_allclose(related(Relative(), [0.01, NAN, 0.03], [0, 0, 0]), [-(0.5**0.5), NAN, 0.5**0.5])
    assert related(Relative(clip=0.5), [0.01, 0.02, 0.03], [0, 0, 0]).tolist() == [-0.5, 0.0, 0.5]


def test_relative_to_a_market_by_hand() -> None:
    label = Relative(market="M")
    found = related(label, [0.01, 0.02, 0.04, 0.3, 0.1], [0, 0, 0, 1, 1], ["M", "A", "B", "A", "B"])
    sd = np.std([0.01, 0.02, 0.04], ddof=1)
    assert_allclose(found, [0, 0.01 / sd, 0.03 / sd, NAN, NAN])  # the market has no second time
    with pytest.raises(ConfigError, match=r"label\.market is M.*A, B"):
        check_market(label, ["A", "B"])
    assert len(related(label, [], [])) == 0


def test_rank_by_hand() -> None:
    found = related(Rank(), [0.3, -0.1, 0.2, 0.0, 5.0, NAN, 0.2], [0, 0, 0, 0, 1, 1, 2])
    assert_allclose(found, [0.375, -0.375, 0.125, -0.125, NAN, NAN, NAN])
    assert_allclose(related(Rank(), [1, 1, 2, NAN], [0, 0, 0, 0]), [-1 / 6, -1 / 6, 1 / 3, NAN])


def test_above_median_by_hand() -> None:
    found = related(AboveMedian(), [0.1, 0.2, 0.3, 0.4, 0.1, 0.1, NAN], [0, 0, 0, 1, 1, 2, 0])
    assert_allclose(found, [0, NAN, 1, 1, 0, NAN, NAN])


@pytest.mark.parametrize("label", [Relative("4h", market="A", clip=2.0), Rank("1D"), AboveMedian()])
def test_labels_are_registered_and_plain_data(label: Any) -> None:
    assert LABELS.create(as_plain(label), "label") == label


# --- properties of targets ------------------------------------------------------------------------

returns_by_time = st.lists(
    st.lists(st.integers(-200, 200), min_size=2, max_size=7, unique=True), min_size=1, max_size=5
)


def flat(returns: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    times = np.repeat(np.arange(len(returns)), [len(one) for one in returns])
    return np.concatenate(returns) / 1000, times


@settings(max_examples=25)
@given(returns_by_time, st.floats(-0.5, 0.5), st.randoms())
def test_relative_targets_do_not_depend_on_the_market_or_the_order(
    returns: list[list[int]], move: float, random: Any
) -> None:
    values, times = flat(returns)
    found = related(Relative(clip=100), values, times)
    sums = pd.Series(found).groupby(times).agg(["mean", "std"])
    assert_allclose(sums, np.tile([0, 1], (len(sums), 1)), atol=1e-9)
    moved = values + move * (1 + times)  # another move at each time
    assert_allclose(related(Relative(clip=100), moved, times), found, atol=1e-6)
    order = random.sample(range(len(values)), len(values))
    again = related(Relative(clip=100), values[order], times[order])
    assert_allclose(again, found[order], atol=1e-9)  # sums round differently


@settings(max_examples=25)
@given(returns_by_time)
def test_ranks_do_not_depend_on_monotone_maps(returns: list[list[int]]) -> None:
    values, times = flat(returns)
    for label in (Rank(), AboveMedian()):
        found = related(label, values, times)
        assert_array_equal(related(label, values**3 + values, times)[times == 0], found[times == 0])
        mean = pd.Series(found).groupby(times).mean().to_numpy()
        assert_allclose(mean, 0.0 if label == Rank() else 0.5, atol=1e-12)
    assert np.abs(related(Rank(), values, times)).max() < 0.5


# --- samples --------------------------------------------------------------------------------------


def test_samples_are_compared_with_those_of_the_same_time() -> None:
    bars = universe(5, 600, listed=0.4)
    samples = make_samples(bars, label=Relative("4h", clip=100), lookback="6h")
    assert (samples.task, samples.classes, samples.label.dtype) == ("ranking", (), np.float32)
    known = np.isfinite(samples.label)
    means = pd.Series(samples.label[known]).groupby(samples.times[known]).mean()
    assert_allclose(means, 0, atol=1e-6)
    for symbol, frame in bars.items():
        one = samples.of(symbol)
        rows = samples.bar_rows(symbol)
        assert_array_equal(close_times(frame)[rows], one.times)
        assert_array_equal(one.outcomes.known_at, forward_outcomes(frame, rows, FOUR).known_at)
        begins = samples.starts[int(symbol[3:])]
        assert_array_equal(samples.symbol_of(begins + np.arange(2)), symbol)


def test_later_bars_do_not_change_earlier_targets_and_universe() -> None:
    bars = universe(5, 700)
    options: dict[str, Any] = {"lookback": "6h", "universe": Universe(quantile=0.4, over="2D")}
    samples = make_samples(bars, label=Relative("4h"), **options)
    t = samples.times.min() + 300 * HOUR
    rng, other = np.random.default_rng(0), {}
    for symbol, frame in bars.items():
        after = close_times(frame) > t
        other[symbol] = frame.copy()
        other[symbol].loc[after] *= rng.uniform(0.5, 2, (after.sum(), 1))
    again = make_samples(other, label=Relative("4h"), **options)
    for kept in (samples, again):
        assert 0 < len(kept) < 5 * 700 * 0.7
    before, after = ((one.times <= t) for one in (samples, again))
    names = [one.symbol_of(np.flatnonzero(at)) for one, at in ((samples, before), (again, after))]
    assert_array_equal(*names)
    assert (samples.times.shape != again.times.shape) or (samples.times != again.times).any()
    known = [one.outcomes.known_at <= t for one in (samples, again)]
    assert_array_equal(samples.label[known[0]], again.label[known[1]])


def test_the_universe_by_hand(make_bars: Bars) -> None:
    # values of A, B, C: 1, 2, 3 until the fifth bar, then A trades 10
    volumes = {"A": [1.0] * 5 + [10] * 5, "B": [2.0] * 10, "C": [3.0] * 10}
    bars = {name: make_bars(np.ones(10), volume=volume) for name, volume in volumes.items()}
    rows = [np.arange(10)] * 3
    found = Universe(quantile=0.5, over="2min").select([*bars.values()], rows)
    # mean of two bars: 1 until bar 4, 5.5 at bar 5, then 10; ranks above half of three: two of them
    assert [one.tolist() for one in found] == [[5, 6, 7, 8, 9], [1, 2, 3, 4], [*range(1, 10)]]
    assert [*map(len, Universe().select([*bars.values()], rows))] == [10, 10, 10]
    notional = bars["A"].assign(quote_volume=np.arange(10.0))
    assert traded_value(notional, pd.Timedelta("2min"))[1:].tolist() == [k + 0.5 for k in range(9)]


@pytest.mark.parametrize("over", ["40D", "2D"])
def test_a_universe_without_values_is_an_error(over: str) -> None:
    bars = universe()
    if over == "2D":
        bars = {symbol: frame.assign(volume=NAN) for symbol, frame in bars.items()}
    with pytest.raises(SamplesError, match=over):
        make_samples(bars, label=Rank("4h"), lookback="6h", universe=Universe(0.2, over))


# --- listings and delistings ----------------------------------------------------------------------


def test_a_delisted_symbol_is_sold_at_its_last_close(make_bars: Bars) -> None:
    prices = np.linspace(100, 150, 200)
    crash = np.r_[np.full(119, 100.0), 50.0]  # ends at bar 119
    bars = {"A": make_bars(prices), "B": make_bars(prices[::-1]), "C": make_bars(crash)}
    samples = make_samples(bars, label=Relative("10min"), lookback="8min", split=OPEN)
    one, other = samples.of("C"), samples.of("A")
    rows = samples.bar_rows("C")
    assert_allclose(one.outcomes.forward_return[rows == 118], -0.5)
    assert_allclose(one.outcomes.forward_return[(rows >= 109) & (rows < 119)], -0.5)
    assert np.isnan(one.outcomes.forward_return[rows == 119]).all()  # nothing follows
    assert (one.outcomes.forward_return[rows < 109] == 0).all()
    # its target depends on the others, whose return is known ten bars later
    waits = one.outcomes.known_at[rows < 119] - one.times[rows < 119]
    assert (waits == np.timedelta64(10, "m")).all()
    assert np.isfinite(other.label[samples.bar_rows("A") < 190]).all()


def test_a_halted_symbol_is_sold_when_it_trades_again(make_bars: Bars) -> None:
    prices = np.linspace(100, 150, 200)
    halt = make_bars(np.r_[np.full(100, 100.0), np.full(100, 40.0)])
    halt = halt.drop(halt.index[100:120])  # the first bar after it is number 120
    bars = {"A": make_bars(prices), "B": make_bars(prices[::-1]), "C": halt}
    samples = make_samples(bars, label=Relative("10min"), lookback="8min", split=OPEN)
    one, row = samples.of("C"), 95
    at = np.flatnonzero(samples.bar_rows("C") == row)
    assert_allclose(one.outcomes.forward_return[at], -0.6)
    assert (one.outcomes.known_at[at] == close_times(bars["A"])[120]).all()
    # so are the targets of the others at the same time
    others = samples.of("A").outcomes.known_at[samples.bar_rows("A") == row]
    assert others == one.outcomes.known_at[at]


OPEN = Chronological(test=0.2, val=0.2, embargo="0min")


def test_bars_that_end_a_little_earlier_are_not_delisted(make_bars: Bars) -> None:
    # the last download of B lacks two bars: its last decisions are as unknown as those of A
    bars = {"A": make_bars(np.arange(1.0, 201)), "B": make_bars(np.arange(198, 0, -1.0))}
    samples = make_samples(bars, label=Rank("10min"), lookback="8min", split=OPEN)
    known = ~np.isnat(samples.of("B").outcomes.known_at)
    ahead = (close_times(bars["B"])[-1] - samples.of("B").times) / np.timedelta64(1, "m")
    assert (known == (ahead >= 8)).all()  # those until the last known decision of A
    assert np.isnan(samples.label[samples.times > samples.of("A").times[-11]]).all()


def test_a_target_is_purged_until_all_returns_in_it_are_known() -> None:
    # C ends half an hour before validation begins, in the middle of the horizon of the others
    bars = universe(3, 500)
    border = close_times(bars["SIM000"])[300]
    bars["SIM002"] = bars["SIM002"][: 300 - 2]
    label, lookback = Relative("6h"), "8h"
    samples = make_samples(bars, label=label, lookback=lookback, split=OPEN)
    positions = np.flatnonzero(~np.isnat(samples.outcomes.known_at))
    times = samples.times[positions]
    decided = samples.symbol_of(positions) == "SIM002"
    last = positions[decided & (times == border - 4 * HOUR)]
    split = Split(last, positions[times == border], positions[times > border + 24 * HOUR])
    with pytest.raises(LeakError, match="train"):
        samples.with_split(split)


def test_symbols_of_any_period_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    bars = universe(6, 900, listed=0.5, delisted=0.5)
    bars["SHORT"] = bars["SIM000"][:5]
    with caplog.at_level(logging.INFO, "gafcnn"):
        samples = make_samples(bars, label=Rank("4h"), lookback="12h", split=WalkForward(fold=1))
    assert "SHORT has no samples" in caplog.text
    assert "symbols by year: 2024 6" in caplog.text
    assert "survivorship" not in caplog.text
    assert samples.symbols[-1] == "SHORT"
    alone = samples.of("SHORT")
    assert (len(alone), len(samples.bar_rows("SHORT"))) == (0, 0)
    assert "without decision times" in repr(alone)
    assert "SHORT" in repr(samples)
    assert "SHORT" not in samples.symbol_of(np.arange(len(samples)))
    again = samples.with_split(samples.split)
    assert_array_equal(again.label, samples.label)
    caplog.clear()
    late = universe(3, 900, listed=0.7)
    late["SIM001"] = late["SIM001"][:-1]  # one bar less is no delisting
    with caplog.at_level(logging.INFO, "gafcnn"):
        make_samples(late, label=Rank("4h"), lookback="12h")
    assert "survivorship" in caplog.text


# --- schedules ------------------------------------------------------------------------------------


def test_decisions_at_hours_of_the_day() -> None:
    bars = universe(3, 900, listed=0.7)
    samples = make_samples(bars, label=Rank("1D"), lookback="6h", split=Chronological(every="8h"))
    assert set(pd.DatetimeIndex(samples.times).hour) == {0, 8, 16}
    everything = make_samples(bars, label=Rank("1D"), lookback="6h")
    at = np.isin(everything.times, samples.times)
    assert_array_equal(everything.times[at], samples.times)
    assert_array_equal(everything.label[at], samples.label)
    with pytest.raises(ConfigError, match=r"split\.every is 90min"):
        make_samples(bars, label=Rank("1D"), lookback="6h", split=Chronological(every="90min"))


@pytest.mark.parametrize(
    ("interval", "shift", "every"), [("1D", "22h", "1D"), ("1h", "30min", "8h")]
)
def test_bars_that_close_off_the_multiples_of_their_interval(
    interval: str, shift: str, every: str
) -> None:
    bars = universe(2, 600, interval=interval, horizon=interval)
    bars = {
        symbol: frame.set_axis(frame.index + pd.Timedelta(shift)) for symbol, frame in bars.items()
    }
    split, lookback = Chronological(every=every), pd.Timedelta(interval) * 8
    samples = make_samples(bars, label=Rank(interval), lookback=lookback, split=split)
    steps = np.diff(samples.of("SIM001").times)
    assert (steps == pd.Timedelta(every).to_timedelta64()).all()


def test_every_third_session_of_a_trading_calendar(random_bars: Bars) -> None:
    pytest.importorskip("exchange_calendars")
    ends = load_calendar("XNYS", 2023).ends[:250].view("datetime64[ns]")
    index = pd.DatetimeIndex(ends, tz="UTC")
    bars = {
        name: check_bars(random_bars(250, seed=k).set_axis(index), name, "1D", "XNYS")[k * 40 :]
        for k, name in enumerate("ABC")
    }
    split = Chronological(0.2, 0.2, every="3D")
    samples = make_samples(bars, label=Relative("3D"), lookback="8D", split=split)
    assert_array_equal(np.unique(samples.times), index[9::3].tz_localize(None).to_numpy())
    for one in map(samples.of, bars):
        assert len(one) > 30
        known = one.outcomes.known_at[:-1]
        assert_array_equal(known, one.times[1:])  # the horizon spans as many sessions


def test_stride_is_of_decision_times() -> None:
    bars = universe(4, 700, listed=0.6)
    dense, sparse = (
        make_samples(bars, label=Rank("4h"), lookback="6h", split=Chronological(stride=stride))
        for stride in (1, 5)
    )
    times = np.unique(dense.times[dense.split.train])
    kept = np.unique(sparse.times[sparse.split.train])
    assert_array_equal(kept, times[::5])  # each with all of its symbols
    assert_array_equal(
        sparse.split.train, dense.split.train[np.isin(dense.times[dense.split.train], kept)]
    )
    assert_array_equal(sparse.split.test, dense.split.test)


def test_a_schedule_that_a_symbol_of_a_direction_never_meets(random_bars: Bars) -> None:
    bars = {"A": random_bars(2000, interval="15min"), "B": random_bars(12, interval="15min")}
    split = Chronological(every="8h")
    with pytest.raises(SamplesError, match="B, which has samples without decision times"):
        make_samples(bars, label=Direction("15min"), lookback="2h", split=split)


# --- purge and embargo ----------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    seed=st.integers(0, 50),
    horizon=st.sampled_from(["1h", "5h", "1D"]),
    label=st.sampled_from([Relative, Rank, AboveMedian]),
    fold=st.sampled_from([None, 0, 3]),
    embargo=st.sampled_from([None, "0h", "3h", "30h"]),
    every=st.sampled_from([None, "4h"]),
    stride=st.sampled_from([1, 3]),
    quantile=st.sampled_from([0.0, 0.3]),
    shares=st.sampled_from([(0.0, 0.0), (0.5, 0.5), (0.3, 0.6)]),
)
def test_labels_are_known_before_a_later_part_of_any_symbol(
    seed: int, horizon: str, label: Any, fold: int | None, embargo: Any, every: Any, stride: int,
    quantile: float, shares: tuple[float, float],
) -> None:  # fmt: skip
    bars = universe(5, 600, seed=seed, listed=shares[0], delisted=shares[1])
    options: dict[str, Any] = {"embargo": embargo, "every": every, "stride": stride, "val": 0.3}
    split = Chronological(0.3, **options) if fold is None else WalkForward(fold, **options)
    samples = make_samples(
        bars, label=label(horizon), lookback="8h", split=split, universe=Universe(quantile, "1D")
    )
    assert samples.embargo == pd.Timedelta(embargo or "8h")
    for earlier, later in combinations(PARTS, 2):
        known = samples.outcomes.known_at[samples.part(earlier)].max()
        assert known + samples.embargo.to_timedelta64() < samples.times[samples.part(later)].min()
    # a target is not known before any return that it depends on
    known = ~np.isnat(samples.outcomes.known_at)
    known_at = pd.Series(samples.outcomes.known_at[known])
    latest = known_at.groupby(samples.times[known]).transform("max")
    assert (known_at == latest).all()
    assert (known_at - samples.times[known] <= pd.Timedelta(horizon)).all()
    used = np.concatenate([samples.part(part) for part in PARTS])
    assert np.isfinite(samples.outcomes.forward_return[used]).all()


# --- errors ---------------------------------------------------------------------------------------


def test_nothing_to_compare(random_bars: Bars) -> None:
    bars = random_bars(3000)
    with pytest.raises(ConfigError, match="label rank for bars of 1 symbol"):
        make_samples({"A": bars}, label=Rank("15min"))
    later = bars.set_axis(bars.index + pd.Timedelta("3000min"))
    with pytest.raises(SamplesError, match="none of .* train samples of 2 symbols"):
        make_samples({"A": bars, "B": later}, label=Rank("15min"))
    with pytest.raises(SamplesError, match="none of .* test samples of 2 symbols"):
        make_samples({"A": bars, "B": bars[:2600]}, label=Rank("15min"))
    with pytest.raises(SamplesError, match="only 30 bars"):
        make_samples({"A": bars[:30], "B": bars[:30]}, label=Rank("15min"))
    with pytest.raises(ConfigError, match=r"label\.market is X"):
        make_samples({"A": bars, "B": bars}, label=Relative("15min", market="X"))


@pytest.mark.parametrize("label", [Relative("1D", market="M"), Rank("4h")])
def test_targets_computed_in_blocks_of_time(label: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = universe(5, 600, listed=0.5, delisted=0.2)
    label = replace(label, market=[*bars][-1]) if hasattr(label, "market") else label
    whole = make_samples(bars, label=label, lookback="6h")
    monkeypatch.setattr("gafcnn.data.samples._TOGETHER", 40)
    assert_array_equal(make_samples(bars, label=label, lookback="6h").label, whole.label)
    assert np.isfinite(whole.label).any()


def test_a_ranking_of_the_users_own() -> None:
    class Lowest:
        """1 for the lowest return of all, otherwise 0."""

        classes = ()
        horizon = FOUR

        def outcomes(self, bars: pd.DataFrame, rows: Any) -> Outcomes:
            return forward_outcomes(bars, rows, self.horizon)

        def relate(self, returns: Any, times: Any, symbols: Any) -> Any:
            found = pd.Series(returns)
            return (found == found.groupby(times).transform("min")).to_numpy(float)

    samples = make_samples(universe(3), label=Lowest(), lookback="6h")  # pyright: ignore[reportArgumentType]
    assert isinstance(samples, Samples)
    assert samples.label[samples.split.train].mean() == pytest.approx(1 / 3)
    assert replace(samples).task == "ranking"
