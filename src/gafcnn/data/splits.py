"""Training, validation and test samples, in the order of time and apart from each other.

    first decision time                                           last
    |------------- train -------------|  |-- val --|  |-- test ---|
                                   purge, embargo

Borders are moments of the calendar, set by decision times alone. Before each border those samples
are left out whose label is not known, an embargo included, when the later part begins (Lopez de
Prado, Advances in Financial Machine Learning, 2018, chapter 7). A sample without a known outcome
is in no part.

Of several symbols the borders are the same moments: from the first decision of any of them to the
last that all have; what one has after it is in no part. A later part begins with its first decision
of any symbol, and no symbol's label reaches into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gafcnn.durations import DurationLike, format_duration, parse_duration
from gafcnn.errors import ConfigError, LeakError, SamplesError

_TICK = np.timedelta64(1, "ns")


@dataclass(frozen=True)
class Split:
    """Positions of the samples of each part, increasing; the fold where there are several."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    fold: int | None = None


@dataclass(frozen=True)
class Chronological:
    """The last part of the time is test, the last part of what is before it validation.

    Args:
        test: Share of the time from the first decision to the last one, in (0, 1).
        val: Share of the time before test, in (0, 1).
        embargo: Time that must lie between a label's being known and the start of a later part.
        stride: Train on every stride-th decision time; validation and test keep them all.

    Raises:
        ConfigError: An option is out of its range.
    """

    test: float
    val: float
    embargo: pd.Timedelta
    stride: int

    def __init__(
        self, test: float = 0.1, val: float = 0.1, embargo: DurationLike = "60min", stride: int = 1
    ) -> None:
        self.__dict__.update(
            test=_share("split.test", test),
            val=_share("split.val", val),
            embargo=parse_duration("split.embargo", embargo),
            stride=_count("split.stride", stride),
        )

    def split(self, times: ArrayLike, known_at: ArrayLike, starts: Sequence[int] = (0,)) -> Split:
        """Split n samples by their decision times and by when their labels are known.

        Args:
            times: Decision times, strictly increasing for each symbol: shape (n,), datetime64[ns],
                UTC.
            known_at: When each label is known, NaT for never: shape (n,), datetime64[ns], UTC.
            starts: Positions at which the samples of each symbol begin, one symbol after another.

        Raises:
            SamplesError: The times are in disorder, or a part of the split is empty.
        """
        start, end = _period(times, known_at, starts)
        test_start = _between(start, end, 1 - self.test)
        val_start = _between(start, test_start, 1 - self.val)
        borders = (val_start, test_start, end + _TICK)
        return _split(times, known_at, starts, borders, self.embargo, self.stride)


@dataclass(frozen=True)
class WalkForward:
    """Consecutive test blocks, each predicted from all that was before it.

    After the share `first` of the time, the rest is cut into `folds` blocks of the same length.
    Fold k tests block k; the last part of the time before that block is its validation.

    Args:
        fold: Which block to test, from 0 to `folds - 1`.
        folds: Number of blocks.
        first: Share of the time before the first block, in (0, 1).
        val: Share of the time before a block that is its validation, in (0, 1).
        embargo: Time that must lie between a label's being known and the start of a later part.
        stride: Train on every stride-th decision time; validation and test keep them all.

    Raises:
        ConfigError: An option is out of its range.
    """

    fold: int
    folds: int
    first: float
    val: float
    embargo: pd.Timedelta
    stride: int

    def __init__(
        self,
        fold: int,
        folds: int = 4,
        first: float = 0.5,
        val: float = 0.1,
        embargo: DurationLike = "60min",
        stride: int = 1,
    ) -> None:
        self.__dict__.update(
            folds=_count("split.folds", folds),
            fold=_count("split.fold", fold, least=0, most=folds - 1),
            first=_share("split.first", first),
            val=_share("split.val", val),
            embargo=parse_duration("split.embargo", embargo),
            stride=_count("split.stride", stride),
        )

    def split(self, times: ArrayLike, known_at: ArrayLike, starts: Sequence[int] = (0,)) -> Split:
        """Split n samples by their decision times and by when their labels are known.

        Args:
            times: Decision times, strictly increasing for each symbol: shape (n,), datetime64[ns],
                UTC.
            known_at: When each label is known, NaT for never: shape (n,), datetime64[ns], UTC.
            starts: Positions at which the samples of each symbol begin, one symbol after another.

        Raises:
            SamplesError: The times are in disorder, or a part of the split is empty.
        """
        start, end = _period(times, known_at, starts)
        blocks = _between(start, end, self.first)
        test_start = _between(blocks, end, self.fold / self.folds)
        next_block = _between(blocks, end, (self.fold + 1) / self.folds)
        val_start = _between(start, test_start, 1 - self.val)
        last = self.fold == self.folds - 1
        borders = (val_start, test_start, end + _TICK if last else next_block)
        return _split(times, known_at, starts, borders, self.embargo, self.stride, self.fold)


def check_purged(
    times: ArrayLike, known_at: ArrayLike, split: Split, embargo: DurationLike
) -> None:
    """Assert that no part of the split knows anything of a later one.

    Args:
        times: Decision times: shape (n,), datetime64[ns], UTC.
        known_at: When each label is known: shape (n,), datetime64[ns], UTC.
        split: Positions into both.
        embargo: Time that must lie between a label's being known and the start of a later part.

    Raises:
        SamplesError: A part is empty.
        LeakError: A sample is in two parts or has no known label, or an earlier part is not known,
            embargo included, before a later one begins.
    """
    times, known_at = _moments(times), _moments(known_at)
    embargo = parse_duration("split.embargo", embargo)
    parts = {"train": split.train, "val": split.val, "test": split.test}
    _refuse_empty(parts, int((~np.isnat(known_at)).sum()))
    for name, part in parts.items():
        if not (known_at[part] >= times[part]).all():
            raise LeakError(
                f"{name} has a sample whose label is never known, or known before it is decided",
                expected="labels known at or after their decision time",
                instead="take known_at from the outcomes of the label",
            )
    for (earlier, before), (later, after) in combinations(parts.items(), 2):
        _refuse_overlap(earlier, before, later, after)
        known, begins = known_at[before].max() + embargo.to_timedelta64(), times[after].min()
        if known >= begins:
            raise LeakError(
                f"with an embargo of {format_duration(embargo)} the labels of {earlier} are known at "
                f"{minute(known)} UTC",
                expected=f"a time before {later} begins at {minute(begins)} UTC",
                instead="take the split from Chronological or WalkForward, which purge",
            )


def _refuse_overlap(
    earlier: str, before: NDArray[np.int64], later: str, after: NDArray[np.int64]
) -> None:
    shared = np.intersect1d(before, after)
    if len(shared):
        raise LeakError(
            f"sample {shared[0]} is both in {earlier} and in {later}",
            expected="each sample in one part at most",
            instead="take the split from Chronological or WalkForward, which part them by time",
        )


def _refuse_empty(parts: dict[str, NDArray[np.int64]], known: int) -> None:
    if not all(len(part) for part in parts.values()):
        counts = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
        raise SamplesError(
            f"of {known} samples with a known outcome the split leaves {counts}",
            expected="at least one in each part",
            instead="give more bars, or other shares of split or a shorter split.embargo",
        )


def _split(
    times: ArrayLike,
    known_at: ArrayLike,
    starts: Sequence[int],
    borders: tuple[np.datetime64, np.datetime64, np.datetime64],
    embargo: pd.Timedelta,
    stride: int,
    fold: int | None = None,
) -> Split:
    """The parts [.., val start), [val start, test start), [test start, test stop), purged."""
    times, known_at = _moments(times), _moments(known_at)
    part = np.searchsorted(np.array(borders), times, side="right")
    part[np.isnat(known_at)] = -1
    train, val, test = (np.flatnonzero(part == number) for number in range(3))

    of_symbols = np.split(train, np.searchsorted(train, starts[1:]))
    train = np.concatenate([of_symbol[::stride] for of_symbol in of_symbols])
    # against the later part as it was cut, so that what is purged of it moves nothing before it
    train = _known_before(times[val], train, known_at, embargo)
    val = _known_before(times[test], val, known_at, embargo)
    split = Split(train, val, test, fold)
    check_purged(times, known_at, split, embargo)
    return split


def _known_before(
    later: NDArray[np.datetime64],
    part: NDArray[np.int64],
    known_at: NDArray[np.datetime64],
    embargo: pd.Timedelta,
) -> NDArray[np.int64]:
    """Those of a part whose labels are known, embargo included, before the later times."""
    if not len(later):
        return part
    return part[known_at[part] + embargo.to_timedelta64() < later.min()]


def _period(
    times: ArrayLike, known_at: ArrayLike, starts: Sequence[int]
) -> tuple[np.datetime64, np.datetime64]:
    """The first decision time with a known outcome of any symbol, and the last that all have."""
    times, known_at = _moments(times), _moments(known_at)
    periods = []
    for symbol, known in zip(
        np.split(times, starts[1:]), np.split(known_at, starts[1:]), strict=True
    ):
        if not (np.diff(symbol) > np.timedelta64(0)).all():
            raise SamplesError(
                "the decision times are not strictly increasing",
                expected="the samples of one symbol after another, each in the order of time",
                instead="take the times of each symbol's decision_rows, and starts of where it "
                "begins",
            )
        decided = symbol[~np.isnat(known)]
        if not len(decided):
            raise SamplesError(
                f"none of {len(symbol)} samples has a known outcome",
                expected="bars that reach further than label.horizon after some of them",
                instead="give more bars or shorten label.horizon",
            )
        periods.append((decided[0], decided[-1]))
    first, last = zip(*periods, strict=True)
    return min(first), min(last)


def _between(start: np.datetime64, stop: np.datetime64, share: float) -> np.datetime64:
    """The moment at which this share of the time from start to stop is over."""
    length = (stop - start).astype(np.int64)
    return start + np.timedelta64(round(share * float(length)), "ns")


def _moments(times: ArrayLike) -> NDArray[np.datetime64]:
    return np.asarray(times, dtype="datetime64[ns]")


def minute(moment: np.datetime64) -> str:
    """A moment as a sentence has it: 2025-06-20 10:14:00."""
    return str(moment.astype("datetime64[s]")).replace("T", " ")


def _share(key: str, value: float) -> float:
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigError(
            f"{key} is {value}",
            expected="a share of the time, above 0 and below 1",
            instead=f"write {key}=0.1, say",
        )
    return float(value)


def _count(key: str, value: int, *, least: int = 1, most: int | None = None) -> int:
    inside = isinstance(value, int) and least <= value <= (value if most is None else most)
    if not inside:
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigError(
            f"{key} is {value}",
            expected=f"a whole number {limits}",
            instead=f"write {key}={least}, say",
        )
    return value
