"""More training samples of rare classes, from synthetic bars.

A label that is known at `t` needs only bars up to `t`, so any bars can be labelled, real or not.
Validation and test are not changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.data.bars import interval_of
from gafcnn.data.samples import Samples
from gafcnn.data.synthetic import mirrored, most_bars, shuffled, tick_walk
from gafcnn.data.windows import close_times, decision_rows
from gafcnn.errors import ConfigError
from gafcnn.settings import settings

BARS_PER_WALK = 100_000


@dataclass(frozen=True)
class Drawn:
    """Samples drawn from synthetic bars.

    Attributes:
        bars: The bars.
        rows: Decision rows in them: shape (n,).
        label: Their classes: int8, shape (n,).
    """

    bars: pd.DataFrame
    rows: NDArray[np.int64]
    label: NDArray[np.int8]


def class_counts(drawn: Iterable[Drawn], classes: int) -> NDArray[np.int64]:
    """Return how many samples of each class were drawn: shape (classes,)."""
    counts = np.zeros(classes, np.int64)
    for part in drawn:
        counts += np.bincount(part.label, minlength=classes)
    return counts


@settings("augmentation")
class Augmentation:
    """Which synthetic bars to draw training samples from, and how many.

    Sources are the training bars upside down, their candles shuffled, both together, and random
    walks on a price grid. Each contributes the same share of what a class lacks, as far as it can.
    From each source as many samples of class 0 are drawn as of all others together; otherwise
    looking like a synthetic source would be a sign of a pattern.

    Args:
        per_class: Training samples that each class but 0 is brought up to, as far as sources go.
        mirror: Whether to use bars upside down.
        shuffles: Shuffled copies of the training bars; with `mirror` each is used upside down too.
        block: Length of the blocks, in bars, within which candles are shuffled.
        walks: Random walks of 100,000 bars.
        seed: Seed of all draws.

    Raises:
        ConfigError: An option is out of its range, or there is no source.
    """

    per_class: Annotated[int, Field(ge=1)] = 12_000
    mirror: bool = True
    shuffles: Annotated[int, Field(ge=0)] = 4
    block: Annotated[int, Field(ge=2)] = 200
    walks: Annotated[int, Field(ge=0)] = 4
    seed: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if not (self.mirror or self.shuffles or self.walks):
            raise ConfigError(
                "augmentation has no source",
                expected="mirror, shuffles or walks",
                instead="set augmentation.shuffles=4, or augmentation=none",
            )

    def draw(self, samples: Samples) -> Iterator[Drawn]:
        """Draw samples from each source in turn.

        Args:
            samples: Of one symbol; bars after the last training sample are not used.

        Raises:
            ConfigError: The label looks ahead, there are several symbols, or fewer training bars
                than a block.
        """
        if samples.definition.horizon or len(samples.symbols) > 1:
            raise ConfigError(
                "augmentation with a label that looks ahead, or with several symbols",
                expected="one symbol, and a label that is known at the decision time",
                instead="use label=candlestick and one symbol, or augmentation=none",
            )
        [bars] = samples.bars.values()
        have = samples.counts("train")
        rng = np.random.default_rng(self.seed)
        known = close_times(bars) <= samples.times[samples.labelled("train")[-1]]
        label = samples.definition
        for left, source in zip(
            range(self.n_sources, 0, -1), self._sources(bars.loc[known]), strict=True
        ):
            rows = decision_rows(source, samples.lookback)
            classes = label.assign(label.outcomes(source, rows), np.arange(len(rows)))
            chosen = []
            for number in range(1, len(have)):
                lacking = math.ceil(max(self.per_class - have[number], 0) / left)
                available = np.flatnonzero(classes == number)
                chosen.append(rng.permutation(available)[:lacking])
            others = sum(len(part) for part in chosen)
            chosen.append(rng.permutation(np.flatnonzero(classes == 0))[:others])
            places = np.sort(np.concatenate(chosen))
            drawn = Drawn(source, rows[places], classes[places])
            have += class_counts([drawn], len(have))
            yield drawn

    @property
    def n_sources(self) -> int:
        """Number of sources."""
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
            n_bars = min(BARS_PER_WALK, most_bars(interval_of(bars)))
            yield tick_walk(n_bars, interval_of(bars), seed=self.seed + number)
