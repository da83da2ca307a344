"""More training rows of rare classes, from bars that never were.

A label that is known at `t` needs nothing but bars up to `t`, so any bars can be labelled, real or
not. Validation and test stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import interval_of
from gafcnn.data.labels import Label
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.synthetic import mirrored, most_bars, shuffled, tick_walk
from gafcnn.data.windows import close_times, decision_rows
from gafcnn.errors import ConfigError

BARS_A_WALK = 100_000


@dataclass(frozen=True)
class Drawn:
    """Samples drawn from bars that never were.

    Attributes:
        bars: The bars.
        rows: Decision rows of them: ndarray of shape (n,).
        label: Their classes: ndarray of int8, shape (n,).
    """

    bars: pd.DataFrame
    rows: NDArray[np.int64]
    label: NDArray[np.int8]


def class_counts(drawn: Iterable[Drawn], classes: int) -> NDArray[np.int64]:
    """How many samples were drawn of each class: ndarray of shape (classes,)."""
    counts = np.zeros(classes, np.int64)
    for part in drawn:
        counts += np.bincount(part.label, minlength=classes)
    return counts


@dataclass(frozen=True)
class Augmentation:
    """Which bars to draw from, and how many samples.

    Sources are the training bars upside down, their candles shuffled, both at once, and random
    walks on a grid of ticks; each gives the same share of what a class lacks, as far as it can.
    From each, as many samples of class 0 are drawn as of all others together: were there fewer,
    looking like a source would be a sign of a pattern.

    Args:
        per_class: Training rows that each class but 0 is brought up to, as far as sources go.
        mirror: Whether to turn bars upside down.
        shuffles: Shuffled copies of the training bars; with `mirror` each is turned as well.
        block: Candles that are shuffled among themselves.
        walks: Random walks of 100,000 bars.
        seed: Of all draws.

    Raises:
        ConfigError: An option is out of its range, or there is no source.
    """

    per_class: int = 12_000
    mirror: bool = True
    shuffles: int = 4
    block: int = 200
    walks: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"per_class": 1, "shuffles": 0, "block": 2, "walks": 0, "seed": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < lowest:
                raise ConfigError(
                    f"augmentation.{name} is {value}",
                    expected=f"a whole number of at least {lowest}",
                    instead=f"write augmentation.{name}={max(lowest, 1)}, say",
                )
        if not isinstance(self.mirror, bool):
            raise ConfigError(
                f"augmentation.mirror is {self.mirror}",
                expected="true or false",
                instead="write augmentation.mirror=true",
            )
        if not (self.mirror or self.shuffles or self.walks):
            raise ConfigError(
                "augmentation has no source",
                expected="mirror, shuffles or walks",
                instead="write augmentation.shuffles=4, or augmentation=none",
            )

    def draw(
        self, bars: pd.DataFrame, samples: LabelledSamples, lookback: pd.Timedelta, label: Label
    ) -> Iterator[Drawn]:
        """Samples from each source in turn.

        Args:
            bars: All bars; those after the last training sample are not looked at.
            samples: Labels and split over them.
            lookback: Gap-free bars that a sample needs.
            label: What the samples are labelled by.

        Raises:
            ConfigError: The label looks ahead, and so cannot be asked of bars that lead nowhere, or
                there are fewer training bars than a block.
        """
        if label.horizon:
            raise ConfigError(
                "augmentation is asked for a label that looks ahead",
                expected="a label that is known at the decision time",
                instead="take label=candlestick, or set augmentation=none",
            )
        have = samples.counts("train")
        rng = np.random.default_rng(self.seed)
        known = close_times(bars) <= samples.times[samples.labelled("train")[-1]]
        sources = self._sources(bars.loc[known])
        for left in range(len(self), 0, -1):
            drawn = self._from(next(sources), have, left, lookback, label, rng)
            have += class_counts([drawn], len(have))
            yield drawn

    def __len__(self) -> int:
        """How many sources there are."""
        return (1 + self.shuffles) * (1 + self.mirror) - 1 + self.walks

    def _sources(self, bars: pd.DataFrame) -> Iterator[pd.DataFrame]:
        if self.mirror:
            yield mirrored(bars)
        for number in range(self.shuffles):
            other = shuffled(bars, self.block, seed=self.seed + number)
            yield other
            if self.mirror:
                yield mirrored(other)
        for number in range(self.walks):
            n_bars = min(BARS_A_WALK, most_bars(interval_of(bars)))
            yield tick_walk(n_bars, interval_of(bars), seed=self.seed + number)

    def _from(
        self,
        bars: pd.DataFrame,
        have: NDArray[np.int64],
        left: int,
        lookback: pd.Timedelta,
        label: Label,
        rng: np.random.Generator,
    ) -> Drawn:
        rows = decision_rows(bars, lookback)
        classes = label.assign(label.outcomes(bars, rows), np.arange(len(rows)))
        chosen = []
        for number in range(1, len(have)):
            lacking = math.ceil(max(self.per_class - have[number], 0) / left)
            there = np.flatnonzero(classes == number)
            chosen.append(rng.permutation(there)[:lacking])
        patterns = sum(len(part) for part in chosen)
        chosen.append(rng.permutation(np.flatnonzero(classes == 0))[:patterns])
        places = np.sort(np.concatenate(chosen))
        return Drawn(bars, rows[places], classes[places])
