from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gafcnn.data.splits import Chronological, Split, WalkForward, check_purged
from gafcnn.errors import ConfigError, LeakError, SamplesError

START = np.datetime64("2024-01-01T00:00", "ns")


def _minutes(numbers: Any) -> NDArray[np.datetime64]:
    return START + np.asarray(numbers) * np.timedelta64(1, "m").astype("timedelta64[ns]")


TIMES = _minutes(range(100))
KNOWN = _minutes(np.arange(100) + 5)


def _list(first: int, last: int, stride: int = 1) -> list[int]:
    return list(range(first, last + 1, stride))


# --- chronological --------------------------------------------------------------------------------


def test_chronological_by_hand() -> None:
    # 99 minutes: test is the last fifth, from 79.2 on; val the last quarter before, from 59.4 on
    split = Chronological(test=0.2, val=0.25, embargo="3min").split(TIMES, KNOWN)
    assert split.test.tolist() == _list(80, 99)
    assert split.val.tolist() == _list(60, 71)  # 71 + 5 + 3 = 79 is before 80
    assert split.train.tolist() == _list(0, 51)  # 51 + 5 + 3 = 59 is before 60
    assert split.fold is None
    assert {part.dtype for part in (split.train, split.val, split.test)} == {np.dtype(np.int64)}


def test_shares_are_of_time_and_not_of_samples() -> None:
    # half of the samples lie in the first ten minutes of a hundred
    times = _minutes([*np.arange(0, 10, 0.5), *range(60, 101, 2)])
    split = Chronological(test=0.2, val=0.25, embargo="0min").split(
        times, times + np.timedelta64(30, "s")
    )
    assert times[split.test[0]] == _minutes(80)  # at the border begins the later part
    assert times[split.val[0]] == _minutes(60)
    assert times[split.train[-1]] == _minutes(9.5)


def test_stride_thins_the_training_part_only() -> None:
    split = Chronological(0.2, 0.25, "3min", stride=4).split(TIMES, KNOWN)
    assert split.train.tolist() == _list(0, 51, 4)
    assert split.val.tolist() == _list(60, 71)
    assert split.test.tolist() == _list(80, 99)


def test_samples_without_a_known_outcome_are_in_no_part() -> None:
    known = KNOWN.copy()
    unknown = [0, 10, 65, 90, 98, 99]
    known[unknown] = np.datetime64("NaT")
    split = Chronological(0.2, 0.25, "3min").split(TIMES, known)
    parts = np.concatenate([split.train, split.val, split.test])
    assert not set(unknown) & set(parts.tolist())
    # known from 1 to 97: the last fifth begins at 1 + 0.8 x 96 = 77.8
    assert split.test.tolist() == [*_list(78, 89), *_list(91, 97)]


def test_known_exactly_when_the_next_part_begins_is_too_late() -> None:
    known = KNOWN.copy()
    known[49] = _minutes(57)
    known[48] = _minutes(57) - np.timedelta64(1, "ns")
    split = Chronological(0.2, 0.25, "3min").split(TIMES, known)
    assert 48 in split.train
    assert 49 not in split.train


def test_the_last_block_has_the_last_sample() -> None:
    times = START + np.arange(0, 400, 3) * np.timedelta64(1, "D") + np.timedelta64(1, "ns")
    for splitter in (Chronological(), WalkForward(fold=3), WalkForward(2, folds=3, first=0.3)):
        assert splitter.split(times, times).test[-1] == len(times) - 1


def test_pandas_times_are_taken_as_utc() -> None:
    times = pd.DatetimeIndex(TIMES).tz_localize("UTC").tz_convert("Asia/Tokyo")
    known = pd.DatetimeIndex(KNOWN).tz_localize("UTC")
    splitter = Chronological(embargo="1min")
    split, peer = splitter.split(times, known), splitter.split(TIMES, KNOWN)
    np.testing.assert_array_equal(split.train, peer.train)
    np.testing.assert_array_equal(split.test, peer.test)


# --- walk-forward ---------------------------------------------------------------------------------


def test_walk_forward_by_hand() -> None:
    # 99 minutes, the first third is for training and validation, then three blocks of 22
    options: dict[str, Any] = {"folds": 3, "first": 1 / 3, "val": 0.25, "embargo": "2min"}
    first, second, third = (WalkForward(k, **options).split(TIMES, KNOWN) for k in range(3))
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
        WalkForward(k, folds=folds, first=0.4, embargo="0min", val=0.3).split(TIMES, KNOWN)
        for k in range(folds)
    ]
    assert np.concatenate([split.test for split in splits]).tolist() == _list(40, 99)
    assert all((np.diff([len(split.train) for split in splits])) > 0)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.2, float("nan"), "all"])
@pytest.mark.parametrize(
    ("splitter", "share"),
    [(Chronological, "test"), (Chronological, "val"), (WalkForward, "val"), (WalkForward, "first")],
)
def test_a_share_out_of_range_is_refused(
    splitter: type[Chronological | WalkForward], share: str, value: Any
) -> None:
    options: dict[str, Any] = {share: value} | ({"fold": 0} if splitter is WalkForward else {})
    with pytest.raises((ConfigError, SamplesError)) as caught:
        splitter(**options)
    assert str(caught.value) == (
        f"split.{share} is {value}; expected a share of the time, above 0 and below 1; "
        f"write split.{share}=0.1, say."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fold": 4}, "split.fold is 4; expected a whole number from 0 to 3; write split.fold=0"),
        ({"fold": -1}, "split.fold is -1; expected a whole number from 0 to 3; write split.fold=0"),
        ({"fold": 0.5}, "split.fold is 0.5; expected a whole number from 0 to 3;"),
        ({"fold": 0, "folds": 0}, "split.folds is 0; expected a whole number of at least 1;"),
        ({"fold": 0, "stride": 0}, "split.stride is 0; expected a whole number of at least 1;"),
        ({"fold": 0, "embargo": 60}, "split.embargo is 60; expected a length of time with its"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ConfigError, SamplesError)) as caught:
        WalkForward(**options)
    assert str(caught.value).startswith(sentence)


def test_an_empty_part_is_refused_with_what_each_part_has() -> None:
    with pytest.raises((ConfigError, SamplesError)) as caught:
        Chronological(test=0.2, val=0.25, embargo="60min").split(TIMES, KNOWN)
    assert str(caught.value) == (
        "of 100 samples with a known outcome the split leaves 0 train, 0 val, 20 test; expected at "
        "least one in each part; give more bars, or other shares of split or a shorter "
        "split.embargo."
    )
    kept = np.r_[0:61, 80:100]  # an outage as long as the second block
    with pytest.raises(SamplesError, match=r"leaves \d+ train, \d+ val, 0 test;"):
        WalkForward(1, folds=4, first=0.5, embargo="0min").split(TIMES[kept], KNOWN[kept])


def test_times_in_disorder_are_refused() -> None:
    for times in (TIMES[::-1], np.repeat(TIMES[:50], 2)):
        with pytest.raises(SamplesError, match=r"^the decision times are not strictly increasing;"):
            Chronological().split(times, KNOWN)


def test_no_known_outcome_at_all_is_refused() -> None:
    nothing = np.full(100, np.datetime64("NaT", "ns"))
    for times, known in ((TIMES, nothing), (TIMES[:0], KNOWN[:0])):
        with pytest.raises(SamplesError, match=rf"^none of {len(times)} samples has a known"):
            Chronological().split(times, known)


# --- the assertion --------------------------------------------------------------------------------


def _split(train: Iterable[int], val: Iterable[int], test: Iterable[int]) -> Split:
    return Split(np.array([*train]), np.array([*val], dtype=np.int64), np.array([*test]))


SOUND = _split(range(50), range(60, 70), range(80, 100))


def test_a_sound_split_passes() -> None:
    check_purged(TIMES, KNOWN, SOUND, "5min")  # 49 + 5 + 5 = 59 is before 60


@pytest.mark.parametrize(
    ("split", "embargo", "sentence"),
    [
        (
            SOUND,
            "6min",
            "with an embargo of 6min the labels of train are known at 2024-01-01 01:00:00 UTC; "
            "expected a time before val begins at 2024-01-01 01:00:00 UTC; "
            "take the split from Chronological or WalkForward, which purge.",
        ),
        (
            _split(range(50), range(60, 76), range(80, 100)),
            "0min",
            "with an embargo of 0D the labels of val are known at 2024-01-01 01:20:00 UTC; "
            "expected a time before test begins at 2024-01-01 01:20:00 UTC; "
            "take the split from Chronological or WalkForward, which purge.",
        ),
        (
            _split([*range(50), 90], range(60, 70), range(80, 90)),
            "0min",
            "with an embargo of 0D the labels of train are known at 2024-01-01 01:35:00 UTC; "
            "expected a time before val begins at 2024-01-01 01:00:00 UTC; "
            "take the split from Chronological or WalkForward, which purge.",
        ),
        (
            _split(range(50), range(60, 70), [*range(80, 90), 20]),
            "0min",
            "sample 20 is both in train and in test; expected each sample in one part at most; "
            "take the split from Chronological or WalkForward, which part them by time.",
        ),
    ],
    ids=["embargo too long", "val not purged", "train after test", "in two parts"],
)
def test_a_leak_is_told(split: Split, embargo: str, sentence: str) -> None:
    with pytest.raises(LeakError) as caught:
        check_purged(TIMES, KNOWN, split, embargo)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("moment", [np.datetime64("NaT", "ns"), _minutes(3)])
@pytest.mark.parametrize(("position", "part"), [(10, "train"), (65, "val"), (99, "test")])
def test_a_label_never_known_or_known_too_early_is_told(
    moment: np.datetime64, position: int, part: str
) -> None:
    known = KNOWN.copy()
    known[position] = moment
    with pytest.raises(LeakError, match=rf"^{part} has a sample whose label is never known"):
        check_purged(TIMES, known, SOUND, "0min")


def test_an_empty_part_does_not_pass() -> None:
    with pytest.raises(SamplesError, match="leaves 50 train, 0 val, 20 test"):
        check_purged(TIMES, KNOWN, _split(range(50), [], range(80, 100)), "0min")
