"""Decision times, what happened after them, and which part each belongs to: one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.labels import DIRECTIONS, NULL, Label, Outcomes
from gafcnn.data.splits import Split, check_purged, minute
from gafcnn.data.windows import close_times, decision_rows
from gafcnn.errors import SamplesError

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


@runtime_checkable
class Splitter(Protocol):
    """What cuts decision times into parts: `Chronological`, `WalkForward`, or your own."""

    @property
    def embargo(self) -> pd.Timedelta:
        """Time between a label's being known and the start of a later part."""
        ...

    def split(
        self,
        times: NDArray[np.datetime64],
        known_at: NDArray[np.datetime64],
        starts: Sequence[int],
        /,
    ) -> Split:
        """Positions of each part; times and known_at are of shape (n,), datetime64[ns], UTC.

        The samples of each symbol begin at one of `starts`, one symbol after another.
        """
        ...


@dataclass(frozen=True)
class LabelledSamples:
    """All samples, symbol after symbol, each in order of time. Arrays are of shape (n,).

    Attributes:
        times: Decision times, datetime64[ns], UTC.
        outcomes: Forward returns and the times at which they are known.
        label: int8: the number of the class, `NULL` for none or an unknown one.
        split: Positions of train, val and test.
        embargo: Distance kept, beyond the purge, between two parts.
        classes: Names of the classes, in the order of their numbers.
        symbols: Names of the symbols, in their order; "" for one that was not named.
        starts: The position of each symbol's first sample.
    """

    times: NDArray[np.datetime64]
    outcomes: Outcomes
    label: NDArray[np.int8]
    split: Split
    embargo: pd.Timedelta
    classes: tuple[str, ...] = DIRECTIONS
    symbols: tuple[str, ...] = ("",)
    starts: tuple[int, ...] = (0,)

    @classmethod
    def make(
        cls,
        bars: pd.DataFrame | Mapping[str, pd.DataFrame],
        lookback: pd.Timedelta,
        label: Label,
        splitter: Splitter,
    ) -> Self:
        """Find, look ahead, split, label - in this order, so that labels know training only.

        What a label is fitted on are the training samples of its own symbol.

        Args:
            bars: Of one symbol, or of several by their names.
            lookback: Gap-free bars that a sample needs.
            label: What the samples are labelled by.
            splitter: What cuts them into parts, at the same moments for all symbols.

        Raises:
            SamplesError: Where bars, label and split do not fit; two symbols have no common period,
                or one has no sample in some part.
            LeakError: Where a label would be known only after a later part has begun.
        """
        by_symbol = bars if isinstance(bars, Mapping) else {"": bars}
        rows = [decision_rows(one, lookback) for one in by_symbol.values()]
        times = [close_times(one)[at] for one, at in zip(by_symbol.values(), rows, strict=True)]
        found = [label.outcomes(one, at) for one, at in zip(by_symbol.values(), rows, strict=True)]
        _check_common(tuple(by_symbol), times, found)
        outcomes = Outcomes.joined(found)
        starts = (0, *np.cumsum([len(at) for at in rows[:-1]], dtype=np.int64).tolist())
        decided = np.concatenate(times)
        split = splitter.split(decided, outcomes.known_at, starts)
        nothing = np.full(len(decided), NULL, np.int8)
        samples = cls(
            decided, outcomes, nothing, split, splitter.embargo, label.classes,
            tuple(by_symbol), starts,
        )  # fmt: skip
        samples.check()
        each = [samples.of(symbol) for symbol in by_symbol]
        _check_parts(each)
        assigned = [label.assign(one.outcomes, one.split.train) for one in each]
        return replace(samples, label=np.concatenate(assigned))

    def of(self, symbol: str) -> Self:
        """The samples of one symbol alone."""
        number = self.symbols.index(symbol)
        where = slice(self.starts[number], [*self.starts, len(self.times)][number + 1])
        train, val, test = (
            part[np.searchsorted(part, where.start) : np.searchsorted(part, where.stop)]
            - where.start
            for part in (self.split.train, self.split.val, self.split.test)
        )
        return replace(
            self,
            times=self.times[where],
            outcomes=self.outcomes[where],
            label=self.label[where],
            split=Split(train, val, test, self.split.fold),
            symbols=(symbol,),
            starts=(0,),
        )

    def symbol_of(self, positions: NDArray[np.int64]) -> NDArray[np.str_]:
        """The symbol of each of these samples: shape (n,)."""
        numbers = np.searchsorted(self.starts, positions, side="right") - 1
        return np.array(self.symbols)[numbers]

    def part(self, name: Part) -> NDArray[np.int64]:
        """Positions of a part's samples, those without a label included."""
        return getattr(self.split, name)

    def labelled(self, name: Part) -> NDArray[np.int64]:
        """Positions of a part's samples that have a label."""
        positions = self.part(name)
        return positions[self.label[positions] != NULL]

    def counts(self, name: Part) -> NDArray[np.int64]:
        """How many labelled samples of a part are of each class: shape (classes,)."""
        return np.bincount(self.label[self.labelled(name)], minlength=len(self.classes))

    def check(self) -> None:
        """Assert that no sample's label reaches into a later part.

        Raises:
            LeakError: Where one does.
        """
        check_purged(self.times, self.outcomes.known_at, self.split, self.embargo)


def _check_common(
    symbols: Sequence[str], times: Sequence[NDArray[np.datetime64]], outcomes: Sequence[Outcomes]
) -> None:
    """Assert that there is a time at which all of several symbols have samples.

    Raises:
        SamplesError: Two of them have none in common, or one has none with a known outcome.
    """
    if len(symbols) == 1:
        return
    periods = {}
    for symbol, decided, found in zip(symbols, times, outcomes, strict=True):
        known = decided[~np.isnat(found.known_at)]
        if not len(known):
            raise SamplesError(
                f"none of {len(decided)} samples of {symbol} has a known outcome",
                expected="bars that reach further than label.horizon after some of them",
                instead="give more bars of it, or leave it out of market.symbols",
            )
        periods[symbol] = known[0], known[-1]
    latest = max(periods, key=lambda symbol: periods[symbol][0])
    earliest = min(periods, key=lambda symbol: periods[symbol][1])
    if periods[latest][0] > periods[earliest][1]:
        told = [
            f"{symbol} has samples from {minute(first)} to {minute(last)} UTC"
            for symbol, (first, last) in ((one, periods[one]) for one in (earliest, latest))
        ]
        raise SamplesError(
            " and ".join(told),
            expected="a time at which all symbols have some, to be tested at the same moments",
            instead="leave one of them out of market.symbols, or give bars of the same time",
        )


def _check_parts(each: Sequence[LabelledSamples]) -> None:
    """Assert that each of several symbols has samples in every part.

    Raises:
        SamplesError: One has not.
    """
    for one in each if len(each) > 1 else ():
        if not all(len(one.part(name)) for name in PARTS):
            counts = ", ".join(f"{len(one.part(name))} {name}" for name in PARTS)
            raise SamplesError(
                f"of {one.symbols[0]} the split leaves {counts} samples",
                expected="at least one of every symbol in each part",
                instead="leave it out of market.symbols, give more bars of it, or other shares of "
                "split",
            )
