"""Splits: hand cases, walk-forward blocks, and the check for leaks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gafcnn.data.splits import SPLITS, Chronological, Split, WalkForward, check_purged
from gafcnn.errors import ConfigError, LeakError, SamplesError

START = np.datetime64("2024-01-01T00:00", "ns")


def _minutes(numbers: Any) -> NDArray[np.datetime64]:
    return START + np.asarray(numbers) * np.timedelta64(1, "m").astype("timedelta64[ns]")


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
    assert {part.dtype for part in (split.train, split.val, split.test)} == {np.dtype(np.int64)}


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


def test_times_must_increase() -> None:
    for times in (TIMES[::-1], np.repeat(TIMES[:50], 2)):
        with pytest.raises(SamplesError, match="not strictly increasing"):
            Chronological().split(times, KNOWN)


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
