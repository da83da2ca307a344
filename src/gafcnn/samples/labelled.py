"""Decision times, what happened after them, and which part each belongs to: one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.samples.labels import DIRECTIONS, NULL, Label, Outcomes
from gafcnn.samples.splits import Split, check_purged
from gafcnn.samples.windows import close_times, decision_rows

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


class Splitter(Protocol):
    """What cuts decision times into parts: `Chronological`, `WalkForward`, or your own."""

    @property
    def embargo(self) -> pd.Timedelta:
        """Time between a label's being known and the start of a later part."""
        ...

    def split(self, times: NDArray[np.datetime64], known_at: NDArray[np.datetime64], /) -> Split:
        """Positions of each part; times and known_at are of shape (n,), datetime64[ns], UTC."""
        ...


@dataclass(frozen=True)
class LabelledSamples:
    """All samples of one symbol, in order of time. Arrays are of shape (n,).

    Attributes:
        times: Decision times, datetime64[ns], UTC.
        outcomes: Forward returns and the times at which they are known.
        label: int8: the number of the class, `NULL` for none or an unknown one.
        split: Positions of train, val and test.
        embargo: Distance kept, beyond the purge, between two parts.
        classes: Names of the classes, in the order of their numbers.
    """

    times: NDArray[np.datetime64]
    outcomes: Outcomes
    label: NDArray[np.int8]
    split: Split
    embargo: pd.Timedelta
    classes: tuple[str, ...] = DIRECTIONS

    @classmethod
    def make(
        cls, bars: pd.DataFrame, lookback: pd.Timedelta, label: Label, splitter: Splitter
    ) -> Self:
        """Find, look ahead, split, label - in this order, so that labels know training only.

        Raises:
            SamplesError: Where bars, label and split do not fit.
            LeakError: Where a label would be known only after a later part has begun.
        """
        rows = decision_rows(bars, lookback)
        times = close_times(bars)[rows]
        outcomes = label.outcomes(bars, rows)
        split = splitter.split(times, outcomes.known_at)
        assigned = label.assign(outcomes, split.train)
        return cls(times, outcomes, assigned, split, splitter.embargo, label.classes)

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
