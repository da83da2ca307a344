"""Splits: training, validation and test samples in order of time, with purge and embargo.

    first decision time                                           last
    |------------- train -------------|  |-- val --|  |-- test ---|
                                   purge, embargo

The borders are moments of the calendar, determined by decision times only. A sample is left out
before a border if its label, plus the embargo, is known only when the later part has begun (Lopez
de Prado, Advances in Financial Machine Learning, 2018, chapter 7). A sample without a known outcome
is in no part.

Several symbols have the same borders: from the first decision of any of them to the last that all
have; later samples of a symbol are in no part. In a cross-section they reach to the last decision
of any symbol. A later part begins with the first decision of any symbol, and no symbol's label
reaches into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.durations import NO_TIME, OptionalDuration, format_duration
from gafcnn.errors import ConfigError, LeakError, SamplesError
from gafcnn.registry import Registry
from gafcnn.settings import settings

Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]

SPLITS: Registry[Any] = Registry("split")

_BLOCK = 2**16  # samples that are checked at a time
_TICK = np.timedelta64(1, "ns")


@dataclass(frozen=True)
class Split:
    """Positions of the samples of each part, increasing; the fold if there are several.

    With `block`, test is a block of time that train and val lie around, for cross-validation.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    fold: int | None = None
    block: bool = False

    def __repr__(self) -> str:
        return f"<Split: {len(self.train)} train, {len(self.val)} val, {len(self.test)} test>"


class Splitter(Protocol):
    """A way to split samples: `Chronological`, `WalkForward`, or a class of your own."""

    @property
    def embargo(self) -> pd.Timedelta | None:
        """Time between a label becoming known and a later part; None for the samples' lookback."""
        ...

    def split(
        self,
        times: NDArray[np.datetime64],
        known_at: NDArray[np.datetime64],
        starts: Sequence[int],
        embargo: pd.Timedelta,
    ) -> Split:
        """Return the positions of each part.

        Args:
            times: Decision times, datetime64[ns], UTC, shape (n,).
            known_at: When each label is known, NaT for never, shape (n,).
            starts: Positions where the samples of each symbol begin, one symbol after another; a
                cross-section is given as one symbol.
            embargo: The embargo to keep.
        """
        ...


class _ByTime:
    """The method that both kinds of splits share."""

    embargo: Any
    stride: int
    # returns the start of val, the start of test, and the end of test, which is excluded
    _borders: Callable[[np.datetime64, np.datetime64], tuple[np.datetime64, ...]]

    def split(
        self,
        times: NDArray[np.datetime64],
        known_at: NDArray[np.datetime64],
        starts: Sequence[int] = (0,),
        embargo: pd.Timedelta = NO_TIME,
    ) -> Split:
        """Split n samples, see `Splitter.split`; raises a SamplesError if a part is empty."""
        parts = zip(np.split(times, starts[1:]), np.split(known_at, starts[1:]), strict=True)
        decided = (one[~np.isnat(at)] for one, at in parts)
        ends = np.array([(one.min(), one.max()) for one in decided if len(one)])
        if not len(ends):
            raise SamplesError(
                f"none of {len(times)} samples has a known outcome",
                expected="bars that extend beyond label.horizon after some of them",
                instead="use more bars or a shorter label.horizon",
            )
        # from the first decision with a known outcome of any symbol to the last that all have
        borders = np.array(self._borders(ends[:, 0].min(), ends[:, 1].min()))
        part = sum((times >= border for border in borders), np.zeros(len(times), np.int8))
        part[np.isnat(known_at)] = -1
        if self.stride > 1:  # of decision times: in a cross-section symbols share them
            train = np.flatnonzero(part == 0)
            part[train] = -1
            for one in np.split(train, np.searchsorted(train, starts[1:])):
                strided = np.unique(times[one])[:: self.stride]
                part[one[np.isin(times[one], strided)]] = 0
        for later in (1, 2):  # val is purged last, so that the border of train does not move
            begins = times[part == later]
            if len(begins):
                until = begins.min() - embargo.to_timedelta64()
                part[(part == later - 1) & (known_at >= until)] = -1
        kind = np.promote_types(np.int32, np.min_scalar_type(-len(times)))  # int64 if it must be
        train, val, test = (np.flatnonzero(part == k).astype(kind) for k in range(3))
        split = Split(train, val, test, getattr(self, "fold", None))
        check_purged(times, known_at, split, embargo)
        return split


@SPLITS.register("chronological")
@settings("split")
class Chronological(_ByTime):
    """Split off the last part of the time as test, and the last part before it as validation.

    Args:
        test: Share of the time from the first decision to the last, in (0, 1).
        val: Share of the time before test, in (0, 1).
        embargo: Time between a label becoming known and the start of a later part; None for the
            samples' lookback.
        stride: Train on every stride-th decision time; validation and test keep all of them.
        every: Decide at these times only, in all parts: "8h" is 00:00, 08:00 and 16:00 UTC; in a
            trading calendar every bar that is as many bars after the one before. None for each bar.
    """

    test: Share = 0.1
    val: Share = 0.1
    embargo: OptionalDuration = None
    stride: Count = 1
    every: OptionalDuration = None

    def _borders(self, start: np.datetime64, end: np.datetime64) -> tuple[np.datetime64, ...]:
        test_start = _between(start, end, 1 - self.test)
        return _between(start, test_start, 1 - self.val), test_start, end + _TICK


@SPLITS.register("walk_forward")
@settings("split")
class WalkForward(_ByTime):
    """Consecutive test blocks, each predicted from everything before it.

    After the share `first` of the time, the rest is divided into `folds` blocks of equal length.
    Fold k tests block k; the last part of the time before that block is its validation.

    Args:
        fold: Which block to test, from 0 to `folds - 1`.
        folds: Number of blocks.
        first: Share of the time before the first block, in (0, 1).
        val: Share of the time before a block that is its validation, in (0, 1).
        embargo: See `Chronological`, also for `stride` and `every`.
    """

    fold: Annotated[int, Field(ge=0)]
    folds: Count = 4
    first: Share = 0.5
    val: Share = 0.1
    embargo: OptionalDuration = None
    stride: Count = 1
    every: OptionalDuration = None

    def __post_init__(self) -> None:
        if self.fold >= self.folds:
            raise ConfigError(
                f"split.fold is {self.fold}",
                expected=f"a number from 0 to {self.folds - 1}",
                instead="choose another split.fold, or a larger split.folds",
            )

    def _borders(self, start: np.datetime64, end: np.datetime64) -> tuple[np.datetime64, ...]:
        blocks = _between(start, end, self.first)
        test_start = _between(blocks, end, self.fold / self.folds)
        after = self.fold + 1
        test_stop = _between(blocks, end, after / self.folds) if after < self.folds else end + _TICK
        return _between(start, test_start, 1 - self.val), test_start, test_stop


@dataclass(frozen=True)
class OutOfTime:
    """Train and validation of another split of the time until `end`; all that is later is test.

    Args:
        fitted: The split of the models.
        end: The last moment that they have seen, UTC; labels that were not known then are not.
        embargo: The embargo that was kept.
    """

    fitted: Splitter
    end: np.datetime64
    embargo: pd.Timedelta

    @property
    def every(self) -> pd.Timedelta | None:
        """The times of decisions, see `Chronological`."""
        return getattr(self.fitted, "every", None)

    def split(
        self,
        times: NDArray[np.datetime64],
        known_at: NDArray[np.datetime64],
        starts: Sequence[int],
        embargo: pd.Timedelta,
    ) -> Split:
        """Split n samples, see `Splitter.split`; raises a SamplesError if test is empty."""
        seen, later = np.flatnonzero(times <= self.end), times > self.end
        known = np.where(known_at <= self.end, known_at, np.datetime64("NaT"))[seen]
        firsts = np.searchsorted(seen, starts)
        split = self.fitted.split(times[seen], known, tuple(firsts), embargo)
        test = np.flatnonzero(later & ~np.isnat(known_at))
        if not len(test):
            raise SamplesError(
                f"no decision after {format_moment(self.end)} UTC has a known outcome",
                expected="later bars that extend beyond label.horizon after some of them",
                instead="use more of them",
            )
        return replace(split, train=seen[split.train], val=seen[split.val], test=test)


def check_purged(
    times: NDArray[np.datetime64],
    known_at: NDArray[np.datetime64],
    split: Split,
    embargo: pd.Timedelta,
) -> None:
    """Check that no part of a split contains information about a later one.

    Times are datetime64[ns], UTC, shape (n,); the embargo is to lie between a label becoming known
    and the start of a later part.

    Raises:
        SamplesError: A part is empty.
        LeakError: A sample has no known label, or a label of an earlier part is known, plus the
            embargo, only after a later part begins, as that of a sample in both parts is.
    """
    parts = {"train": split.train, "val": split.val, "test": split.test}
    if not all(len(part) for part in parts.values()):
        counts = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
        known = int((~np.isnat(known_at)).sum())
        raise SamplesError(
            f"of {known} samples with a known outcome the split leaves {counts}",
            expected=f"at least one in each part, with an embargo of {format_duration(embargo)}",
            instead="use more bars, larger shares in split, or a shorter lookback, "
            "which sets the embargo",
        )
    blocks = {name: np.array_split(part, len(part) // _BLOCK + 1) for name, part in parts.items()}
    for name, found in blocks.items():
        if not all((known_at[some] >= times[some]).all() for some in found):
            raise LeakError(
                f"{name} has a sample whose label is never known, or known before it is decided",
                expected="labels that are known at or after their decision time",
                instead="take known_at from the outcomes of the label",
            )
    pairs = [*combinations(blocks.items(), 2)]
    if split.block:
        pairs = pairs[:1]  # train before val
        others = np.concatenate([split.train, split.val])
        left = _outside(others, times, known_at, split.test, embargo)
        if len(left) < len(others):
            raise LeakError(
                f"{len(others) - len(left):,} training or validation samples overlap the test",
                expected="labels that are known before it, or decisions after its labels are known",
                instead="use purged_blocks",
            )
    for (earlier, before), (later, after) in pairs:
        known = max(known_at[some].max() for some in before) + embargo.to_timedelta64()
        begins = min(times[some].min() for some in after)
        if known >= begins:
            raise LeakError(
                f"with an embargo of {format_duration(embargo)} the labels of {earlier} are known "
                f"at {format_moment(known)} UTC",
                expected=f"a time before {later} begins at {format_moment(begins)} UTC",
                instead="use Chronological or WalkForward, which purge",
            )


def purged_blocks(
    times: NDArray[np.datetime64],
    known_at: NDArray[np.datetime64],
    train: NDArray[np.int64],
    folds: int,
    embargo: pd.Timedelta,
) -> Iterator[Split]:
    """Split training samples into `folds` contiguous blocks of time, each tested once.

    This is purged k-fold cross-validation (Lopez de Prado, 2018, chapter 7), with the embargo on
    both sides of a block. The last tenth of the decision times outside the block is validation.
    Other arguments and errors are those of `check_purged`.
    """
    for moments in np.array_split(np.unique(times[train]), folds):
        test = train[np.isin(times[train], moments)]
        left = _outside(train, times, known_at, test, embargo) if len(test) else test
        decided = np.unique(times[left])
        begins = decided[len(decided) * 9 // 10 :].min(initial=times.max())
        ends = known_at[left] + embargo.to_timedelta64()
        split = Split(left[ends < begins], left[times[left] >= begins], test, block=True)
        check_purged(times, known_at, split, embargo)
        yield split


def _outside(
    samples: NDArray[np.int64],
    times: NDArray[np.datetime64],
    known_at: NDArray[np.datetime64],
    block: NDArray[np.int64],
    embargo: pd.Timedelta,
) -> NDArray[np.int64]:
    """Return the samples that are known before a block, or decided after its labels are known."""
    wait = embargo.to_timedelta64()
    before = known_at[samples] + wait < times[block].min()
    return samples[before | (times[samples] > known_at[block].max() + wait)]


def _between(start: np.datetime64, stop: np.datetime64, share: float) -> np.datetime64:
    """The moment at which this share of the time from start to stop is over."""
    length = (stop - start).astype(np.int64)
    return start + np.timedelta64(round(share * float(length)), "ns")


def format_moment(moment: np.datetime64) -> str:
    """Return a moment as text: 2025-06-20 10:14:00."""
    return str(moment.astype("datetime64[s]")).replace("T", " ")
