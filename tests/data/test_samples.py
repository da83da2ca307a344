"""Samples of one and several symbols, splits, and labels and splits of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sklearn.model_selection import TimeSeriesSplit

from gafcnn.data.cross_section import Relative
from gafcnn.data.labels import (
    LABELS,
    Candlestick,
    Direction,
    Label,
    Outcomes,
    TripleBarrier,
    register_label,
)
from gafcnn.data.samples import PARTS, Samples, make_samples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import SPLITS, Chronological, Split, WalkForward, check_purged
from gafcnn.data.windows import decision_rows
from gafcnn.durations import NO_TIME
from gafcnn.errors import BarsError, ConfigError, LeakError, SamplesError
from gafcnn.settings import as_plain, settings

Bars = Callable[..., pd.DataFrame]
START = np.datetime64("2024-01-01T00:00", "ns")
SHORT = Direction("5min")


def _minutes(numbers: Any) -> Any:
    return START + np.asarray(numbers) * np.timedelta64(1, "m").astype("timedelta64[ns]")


def _later(bars: pd.DataFrame, minutes: int) -> pd.DataFrame:
    return bars.set_axis(bars.index + pd.Timedelta(minutes=minutes))


# --- one symbol -----------------------------------------------------------------------------------


def test_defaults(random_bars: Bars) -> None:
    bars = random_bars(1500)
    samples = make_samples(bars)
    assert samples.definition == Direction("15min")
    assert samples.lookback == samples.embargo == pd.Timedelta("60min")
    assert (samples.symbols, samples.classes, samples.task) == (("",), ("down", "up"), "direction")
    assert len(samples) == 1500 - 59
    assert samples.bars[""] is bars
    assert_array_equal(samples.bar_rows(""), decision_rows(bars, "60min"))


def test_the_embargo_is_the_lookback_unless_the_split_has_its_own(random_bars: Bars) -> None:
    bars = random_bars(3000)
    gaps = []
    for embargo, lookback in ((None, "60min"), (None, "4h"), ("7min", "4h"), ("0min", "4h")):
        samples = make_samples(
            bars, label=SHORT, split=Chronological(embargo=embargo), lookback=lookback
        )
        gap = samples.times[samples.split.val[0]] - samples.times[samples.split.train[-1]]
        gaps.append((samples.embargo, gap - np.timedelta64(6, "m")))
    assert gaps == [
        (pd.Timedelta(length), np.timedelta64(pd.Timedelta(length)))
        for length in ("60min", "4h", "7min", "0min")
    ]


def test_unlabelled_samples_remain_in_their_part(tick_bars: Bars) -> None:
    for label in (Direction("5min", neutral=0.4), Candlestick()):
        samples = make_samples(tick_bars(3000), label=label)
        for part in PARTS:
            positions = samples.part(part)
            labelled = samples.labelled(part)
            assert len(positions) - len(labelled) == (samples.label[positions] == -1).sum() > 0
            assert samples.counts(part).sum() == len(labelled)


def test_a_class_that_does_not_occur_has_count_0(make_bars: Bars) -> None:
    bars = make_bars(100 + np.arange(600))  # no bodies, so no patterns
    samples = make_samples(bars, label=Candlestick(), split=Chronological(0.2, 0.2))
    assert samples.counts("train").tolist() == [len(samples.split.train), *[0] * 8]


def test_bars_must_come_from_gafcnn(random_bars: Bars) -> None:
    bars = random_bars(600)
    bars.attrs = {}
    with pytest.raises(BarsError, match="as_bars"):
        make_samples(bars)
    with pytest.raises(BarsError, match="as_bars"):
        make_samples({"A": random_bars(600), "B": bars})


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"label": "direction"}, "label is 'direction'.*gc.Direction"),
        ({"label": Direction}, "label is <class.*gc.Direction"),
        ({"label": Relative}, "label is <class.*gc.Relative"),
        ({"split": "chronological"}, "split is 'chronological'.*gc.Chronological"),
        ({"split": TimeSeriesSplit()}, "split is TimeSeriesSplit.*embargo"),
        ({"bars": {}}, "no bars"),
        ({"bars": {"A": simulate(600)[0], "B": simulate(600, "5min")[0]}}, "5min.*gc.resample"),
    ],
)
def test_arguments_of_another_kind(options: dict[str, Any], fact: str, random_bars: Bars) -> None:
    with pytest.raises(ConfigError, match=fact):
        make_samples(**({"bars": random_bars(600)} | options))


def test_prices_that_never_change_have_no_labels(make_bars: Bars) -> None:
    with pytest.raises(SamplesError, match="^0 labelled training samples of"):
        make_samples(make_bars(np.ones(1500)))


def test_repr_is_short(random_bars: Bars) -> None:
    found = repr(make_samples({"BNB": random_bars(1500)}, label=SHORT))
    assert found.startswith("<Samples of BNB: ")
    assert " train, " in found
    assert len(found) < 250


# --- labels of the user's own ---------------------------------------------------------------------


class Size:
    """Three classes by the size of the next move; a plain class without a horizon option."""

    classes = ("small", "medium", "large")
    horizon = pd.Timedelta("2min")

    def __init__(self, large: float = 0.8) -> None:
        self.large = large

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        return Direction(self.horizon).outcomes(bars, rows)

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:
        move = np.abs(outcomes.forward_return)
        borders = np.nanquantile(move[train], [0.5, self.large])
        return np.where(np.isnan(move), -1, np.searchsorted(borders, move)).astype(np.int8)


@settings("label")
class Rising(Direction):
    """Up if the return is above a limit; the subclass of a settings class."""

    limit: float = 0.0

    def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[np.int8]:
        return (outcomes.forward_return > self.limit).astype(np.int8)


@pytest.fixture
def own_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, label in (("size", Size), ("rising", Rising)):
        monkeypatch.setitem(LABELS, name, None)  # to be removed after the test
        register_label(name)(label)


@pytest.mark.usefixtures("own_labels")
def test_own_label_of_three_classes(random_bars: Bars) -> None:
    label = LABELS.create({"kind": "size", "large": 0.9}, "label")
    assert as_plain(label) == {"kind": "size", "large": 0.9}
    samples = make_samples(random_bars(2000), label=label)
    assert (samples.task, samples.classes) == ("classification", ("small", "medium", "large"))
    share = samples.counts("train") / len(samples.part("train"))
    assert_allclose(share, [0.5, 0.4, 0.1], atol=0.01)
    with pytest.raises(ConfigError, match="label: .*'larg'"):
        LABELS.create({"kind": "size", "larg": 1}, "label")


def test_own_label_without_a_horizon(
    random_bars: Bars, own_labels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bare:
        classes = ("small", "medium", "large")
        outcomes, assign = Size(0.9).outcomes, Size(0.9).assign

    assert make_samples(random_bars(2000), label=Bare()).horizon == Size.horizon
    assert register_label("bare")(Bare)().horizon == NO_TIME


@pytest.mark.usefixtures("own_labels")
def test_own_label_that_extends_a_settings_class(random_bars: Bars) -> None:
    label = LABELS.create({"kind": "rising", "horizon": "5min", "limit": "0.001"}, "label")
    assert label == Rising("5min", limit=0.001)
    assert as_plain(label)["kind"] == "rising"
    assert as_plain(Direction("5min"))["kind"] == "direction"
    samples = make_samples(random_bars(2000), label=label)
    assert samples.task == "direction"
    known = ~np.isnan(samples.outcomes.forward_return)
    assert_array_equal(samples.label[known], samples.outcomes.forward_return[known] > 0.001)
    with pytest.raises(ConfigError, match=r"label\.limit"):
        Rising(limit="high")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="direction"):
        register_label("direction")(Size)


@pytest.mark.parametrize("assigned", [[3], [-2], [np.nan], [0.5], [0, 0]])
def test_own_label_with_invalid_class_numbers(random_bars: Bars, assigned: list[float]) -> None:
    class Wrong(Size):
        def assign(self, outcomes: Outcomes, train: NDArray[np.int64]) -> NDArray[Any]:
            number = np.array(assigned, dtype=np.float64)
            return np.resize(number, len(outcomes.known_at) * len(number))

    with pytest.raises(SamplesError, match="classes"):
        make_samples(random_bars(600), label=Wrong(), split=Chronological(0.2, 0.2, "0min"))


# --- splits of the user's own ---------------------------------------------------------------------


def test_own_splitter_that_does_not_purge(random_bars: Bars) -> None:
    class Thirds:
        embargo = NO_TIME

        def split(self, times: Any, known_at: Any, starts: Any, embargo: Any) -> Split:
            return Split(*np.array_split(np.flatnonzero(~np.isnat(known_at)), 3))

    with pytest.raises(LeakError, match="labels of train are known at"):
        make_samples(random_bars(400), label=SHORT, split=Thirds())


def test_with_split_fits_the_label_again(random_bars: Bars) -> None:
    bars = random_bars(2000)
    samples = make_samples(bars, label=SHORT)
    other = WalkForward(1, first=0.6).split(
        samples.times, samples.outcomes.known_at, samples.starts, samples.embargo
    )
    shuffled = Split(np.random.default_rng(0).permutation(other.train), other.val, other.test, 1)
    again = samples.with_split(shuffled)
    expected = make_samples(bars, label=SHORT, split=WalkForward(1, first=0.6))
    assert_array_equal(again.label, expected.label)
    assert_array_equal(again.split.train, expected.split.train)
    assert again.split.fold == 1
    assert (again.label != samples.label).any()
    with pytest.raises(LeakError, match="labels of train are known at"):
        samples.with_split(Split(np.arange(500), np.arange(520, 600), np.arange(900, 1000)))


# --- borders of several symbols -------------------------------------------------------------------


def test_borders_by_hand() -> None:
    # A is decided from 0 to 99, B from 40 to 119: the period is 0 to 99
    times = np.concatenate([_minutes(range(100)), _minutes(range(40, 120))])
    splitter = Chronological(test=0.2, val=0.25)
    split = splitter.split(times, times, (0, 100), pd.Timedelta("3min"))
    # 99 minutes: test from 79.2 on, val from 59.4 on
    assert split.test.tolist() == [*range(80, 100), *range(140, 160)]
    assert split.val.tolist() == [*range(60, 77), *range(120, 137)]
    assert split.train.tolist() == [*range(57), *range(100, 117)]


def test_purge_is_against_the_first_decision_of_any_symbol() -> None:
    # B decides at 60 and then not before 70: what A knows only at 66 is purged
    a, b = _minutes([*range(60), *range(70, 100)]), _minutes([*range(61), *range(70, 100)])
    times = np.concatenate([a, b])
    known = times + np.timedelta64(7, "m")
    splitter = Chronological(test=0.2, val=0.25)
    split = splitter.split(times, known, (0, len(a)))
    assert times[split.val].min() == _minutes(60)
    assert known[split.train].max() == _minutes(59)
    assert known[splitter.split(a, known[: len(a)]).train].max() == _minutes(66)


def test_stride_counts_in_each_symbol() -> None:
    times = np.concatenate([_minutes(range(100))] * 2)
    split = Chronological(0.2, 0.25, stride=7).split(times, times, (0, 100))
    assert split.train.tolist() == [*range(0, 60, 7), *range(100, 160, 7)]
    assert len(split.val) == 40


# --- samples of several symbols -------------------------------------------------------------------


def _assert_equal(one: Samples, other: Samples) -> None:
    assert_array_equal(one.times, other.times)
    assert_array_equal(one.label, other.label)
    assert_array_equal(one.outcomes.forward_return, other.outcomes.forward_return)
    assert one.split.fold == other.split.fold
    for part in PARTS:
        assert_array_equal(one.part(part), other.part(part))


def test_one_named_symbol_equals_unnamed_bars(random_bars: Bars) -> None:
    bars = random_bars(1500)
    alone, named = make_samples(bars, label=SHORT), make_samples({"A": bars}, label=SHORT)
    assert (alone.symbols, named.symbols) == (("",), ("A",))
    _assert_equal(named, alone)
    _assert_equal(named.of("A"), alone)


@pytest.mark.parametrize(
    "label", [SHORT, TripleBarrier("5min", volatility_lookback="10min"), Candlestick()]
)
def test_each_symbol_is_labelled_separately(tick_bars: Bars, label: Label) -> None:
    # B moves half as much: a common quantile would call it neutral
    quiet = tick_bars(1500, seed=1)
    quiet[["open", "high", "low", "close"]] **= 0.5
    bars = {"A": tick_bars(1500), "B": quiet}
    splitter = WalkForward(1, folds=2)
    pooled = make_samples(bars, label=label, split=splitter)
    border = pooled.starts[1]
    ends = np.array([0, border - 1, border, len(pooled) - 1])
    assert pooled.symbol_of(ends).tolist() == ["A", "A", "B", "B"]
    for symbol, frame in bars.items():
        one = pooled.of(symbol)
        _assert_equal(one, make_samples(frame, label=label, split=splitter))
        _assert_equal(one.of(symbol), one)
        assert_array_equal(pooled.bar_rows(symbol), decision_rows(frame, "60min"))


@pytest.mark.parametrize("order", ["MAB", "BAM", "ABM"])
def test_symbols_without_a_common_period(random_bars: Bars, order: str) -> None:
    bars = {
        "M": random_bars(300),
        "A": _later(random_bars(900), 20),
        "B": _later(random_bars(300), 600),
    }
    in_order = {symbol: bars[symbol] for symbol in order}
    with pytest.raises(SamplesError, match="of B, .* from 2024-01-01 11:00:00 to 2024-01-01 15:00"):
        make_samples(in_order, split=Chronological(embargo="0min"))


@pytest.mark.parametrize(
    ("bars_of_b", "begins", "found"),
    [(350, 1650, "0 train, 8 val, 193 test samples of B"), (70, 0, "0 test samples of B")],
)
def test_a_symbol_without_samples_in_a_part(
    random_bars: Bars, bars_of_b: int, begins: int, found: str
) -> None:
    with pytest.raises(SamplesError, match=found):
        make_samples({"A": random_bars(2000), "B": _later(random_bars(bars_of_b), begins)})


# --- splits ---------------------------------------------------------------------------------------

TIMES = _minutes(range(100))
MINUTES = [pd.Timedelta(number, "min") for number in range(7)]
KNOWN = _minutes(np.arange(100) + 5)


def _list(first: int, last: int, stride: int = 1) -> list[int]:
    return list(range(first, last + 1, stride))


# --- chronological --------------------------------------------------------------------------------


def test_chronological_by_hand() -> None:
    # 99 minutes: test is the last fifth, from 79.2 on; val the last quarter before, from 59.4 on
    split = Chronological(test=0.2, val=0.25).split(TIMES, KNOWN, (0,), MINUTES[3])
    assert split.test.tolist() == _list(80, 99)
    assert split.val.tolist() == _list(60, 71)  # 71 + 5 + 3 = 79 is before 80
    assert split.train.tolist() == _list(0, 51)  # 51 + 5 + 3 = 59 is before 60
    assert split.fold is None
    assert {part.dtype for part in (split.train, split.val, split.test)} == {np.dtype(np.int32)}


def test_shares_are_of_time_not_of_samples() -> None:
    # half of the samples lie in the first ten minutes of a hundred
    times = _minutes([*np.arange(0, 10, 0.5), *range(60, 101, 2)])
    split = Chronological(test=0.2, val=0.25).split(times, times + np.timedelta64(30, "s"))
    assert times[split.test[0]] == _minutes(80)  # a sample at the border is in the later part
    assert times[split.val[0]] == _minutes(60)
    assert times[split.train[-1]] == _minutes(9.5)


def test_samples_without_a_known_outcome_are_in_no_part() -> None:
    known = KNOWN.copy()
    unknown = [0, 10, 65, 90, 98, 99]
    known[unknown] = np.datetime64("NaT")
    split = Chronological(0.2, 0.25).split(TIMES, known, (0,), MINUTES[3])
    parts = np.concatenate([split.train, split.val, split.test])
    assert not set(unknown) & set(parts.tolist())
    # known from 1 to 97: the last fifth begins at 1 + 0.8 x 96 = 77.8
    assert split.test.tolist() == [*_list(78, 89), *_list(91, 97)]


def test_a_label_known_exactly_when_the_next_part_begins_is_purged() -> None:
    known = KNOWN.copy()
    known[49] = _minutes(57)
    known[48] = _minutes(57) - np.timedelta64(1, "ns")
    split = Chronological(0.2, 0.25).split(TIMES, known, (0,), MINUTES[3])
    assert 48 in split.train
    assert 49 not in split.train


def test_the_last_sample_is_tested() -> None:
    times = START + np.arange(0, 400, 3) * np.timedelta64(1, "D") + np.timedelta64(1, "ns")
    for splitter in (Chronological(), WalkForward(fold=3), WalkForward(2, folds=3, first=0.3)):
        assert splitter.split(times, times).test[-1] == len(times) - 1


# --- walk-forward ---------------------------------------------------------------------------------


def test_walk_forward_by_hand() -> None:
    # 99 minutes, the first third is for training and validation, then three blocks of 22
    first, second, third = (
        WalkForward(k, folds=3, first=1 / 3, val=0.25).split(TIMES, KNOWN, (0,), MINUTES[2])
        for k in range(3)
    )
    assert (first.test.tolist(), first.val.tolist()) == (_list(33, 54), _list(25, 25))
    assert first.train.tolist() == _list(0, 17)
    assert (second.test.tolist(), second.val.tolist()) == (_list(55, 76), _list(42, 47))
    assert second.train.tolist() == _list(0, 34)
    assert (third.test.tolist(), third.val.tolist()) == (_list(77, 99), _list(58, 69))
    assert third.train.tolist() == _list(0, 50)
    assert [split.fold for split in (first, second, third)] == [0, 1, 2]


@pytest.mark.parametrize("folds", [1, 3, 7])
def test_every_sample_after_the_first_share_is_tested_once(folds: int) -> None:
    splits = [
        WalkForward(k, folds=folds, first=0.4, val=0.3).split(TIMES, KNOWN) for k in range(folds)
    ]
    assert np.concatenate([split.test for split in splits]).tolist() == _list(40, 99)
    assert all((np.diff([len(split.train) for split in splits])) > 0)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [(Chronological, name, value) for name in ("test", "val") for value in (0, 1, float("nan"))]
    + [(WalkForward, name, 1) for name in ("val", "first")]
    + [(WalkForward, name, 0) for name in ("folds", "stride")]
    + [(WalkForward, "fold", value) for value in (4, -1, 0.5)]
    + [(Chronological, "embargo", 60)],
)
def test_option_out_of_range(kind: Any, option: str, value: Any) -> None:
    options = ({"fold": 0} if kind is WalkForward else {}) | {option: value}
    for make in (kind, lambda **one: SPLITS.create({"kind": kind.kind, **one}, "split")):
        with pytest.raises(ConfigError, match=rf"split\.{option} is "):
            make(**options)


def test_empty_part() -> None:
    with pytest.raises(SamplesError, match="100 samples .* 0 train, 0 val, 20 test"):
        Chronological(test=0.2, val=0.25).split(TIMES, KNOWN, (0,), pd.Timedelta("60min"))
    kept = np.r_[0:61, 80:100]  # an outage as long as the second block
    with pytest.raises(SamplesError, match=r"leaves \d+ train, \d+ val, 0 test"):
        WalkForward(1, folds=4, first=0.5).split(TIMES[kept], KNOWN[kept])


def test_no_known_outcome() -> None:
    nothing = np.full(100, np.datetime64("NaT", "ns"))
    for times, known in ((TIMES, nothing), (TIMES[:0], KNOWN[:0])):
        with pytest.raises(SamplesError, match=f"none of {len(times)} samples has a known"):
            Chronological().split(times, known)


# --- the check ------------------------------------------------------------------------------------


def _split(train: Iterable[int], val: Iterable[int], test: Iterable[int]) -> Split:
    return Split(np.array([*train]), np.array([*val], dtype=np.int64), np.array([*test]))


SOUND = _split(range(50), range(60, 70), range(80, 100))


def test_sound_split() -> None:
    check_purged(TIMES, KNOWN, SOUND, MINUTES[5])  # 49 + 5 + 5 = 59 is before 60


@pytest.mark.parametrize(
    ("train", "val", "test", "embargo", "facts"),
    [
        (range(50), range(60, 70), range(80, 100), 6, "train .* 01:00:00.* val .* 01:00:00"),
        (range(50), range(60, 76), range(80, 100), 0, "val .* 01:20:00.* test .* 01:20:00"),
        ([*range(50), 90], range(60, 70), range(80, 90), 0, "labels of train .* 01:35:00"),
        (range(50), range(60, 70), [*range(80, 90), 20], 0, "labels of train .* 00:20:00"),
    ],
    ids=["embargo too long", "val not purged", "train after test", "in two parts"],
)
def test_leak(
    train: Iterable[int], val: Iterable[int], test: Iterable[int], embargo: int, facts: str
) -> None:
    with pytest.raises(LeakError, match=facts):
        check_purged(TIMES, KNOWN, _split(train, val, test), MINUTES[embargo])


@pytest.mark.parametrize("moment", [np.datetime64("NaT", "ns"), _minutes(3)])
@pytest.mark.parametrize(("position", "part"), [(10, "train"), (65, "val"), (99, "test")])
def test_label_never_known_or_known_too_early(
    moment: np.datetime64, position: int, part: str
) -> None:
    known = KNOWN.copy()
    known[position] = moment
    with pytest.raises(LeakError, match=f"^{part} has a sample whose label is never known"):
        check_purged(TIMES, known, SOUND, MINUTES[0])
