"""More training samples of rare classes, from synthetic bars: mirrored, shuffled, or a random walk.

A label that is known at `t` needs only bars up to `t`, so any bars can be labelled, real or not.
Validation and test are not changed. All prices lie on a grid, as real prices do, so that equal
prices are exactly equal. Rules that compare an open with the previous close see both cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.data.bars import PRICES, check_bars, interval_of
from gafcnn.data.samples import Samples
from gafcnn.data.simulated import most_bars, tick_walk
from gafcnn.data.windows import close_times, decision_rows
from gafcnn.errors import ConfigError
from gafcnn.settings import settings

BARS_PER_WALK = 100_000
DIGITS = 14  # significant digits of a price; integers of this size and their sums are exact


class Drawn(NamedTuple):
    """Samples drawn from synthetic bars."""

    bars: pd.DataFrame
    rows: NDArray[np.int64]  # decision rows in the bars, shape (n,)
    label: NDArray[np.int8]  # their classes, shape (n,)


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
        """Draw samples from each source in turn, from bars up to the last training sample.

        A label that looks ahead, several symbols, or too few bars for a block raise a ConfigError.
        """
        if samples.horizon or len(samples.symbols) > 1:
            raise ConfigError(
                "augmentation with a label that looks ahead, or with several symbols",
                expected="one symbol, and a label that is known at the decision time",
                instead="use label=candlestick and one symbol, or augmentation=none",
            )
        [bars] = samples.bars.values()
        have = samples.counts("train")
        rng = np.random.default_rng(self.seed)
        known = close_times(bars) <= samples.times[samples.labelled("train")[-1]]
        label, sources = samples.definition, [*self._sources(bars.loc[known])]
        for left, source in zip(range(len(sources), 0, -1), sources, strict=True):
            rows = decision_rows(source, samples.lookback, overnight=samples.overnight)
            classes = label.assign(label.outcomes(source, rows), np.arange(len(rows)))
            chosen = []
            for number in range(1, len(have)):
                lacking = math.ceil(max(self.per_class - have[number], 0) / left)
                chosen.extend(rng.permutation(np.flatnonzero(classes == number))[:lacking])
            chosen.extend(rng.permutation(np.flatnonzero(classes == 0))[: len(chosen)])
            places = np.sort(np.array(chosen, np.int64))
            drawn = Drawn(source, rows[places], classes[places])
            have += np.bincount(drawn.label, minlength=len(have))
            yield drawn

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


def mirrored(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars upside down: each price p becomes K - p, with K large enough for p > 0.

    A rise becomes a fall of the same size, an upper shadow a lower one. Times, gaps and volumes
    stay the same.
    """
    (opened, high, low, close), scale = _on_grid(bars)
    top = 2 * int(high.max())
    return _with_prices(bars, [top - opened, top - low, top - high, top - close], scale)


def shuffled(bars: pd.DataFrame, block: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return the bars' candles in random order within each block.

    A candle consists of its gap from the previous close, its body and shadows (in units of price)
    and its volume. Candles of a block have about the same time and volatility; a new order makes
    new patterns. The incomplete block at the end is dropped. Gaps in time are closed, and the
    candle after one opens at the previous close.

    Raises:
        ConfigError: There are fewer bars than `block`, or `block` is below 2.
    """
    if not 1 < block <= len(bars):
        raise ConfigError(
            f"a block of {block} candles of {len(bars)} bars",
            expected="at least two candles, and at most the number of bars",
            instead=f"set augmentation.block to {max(2, len(bars) // 4)}, or use more bars",
        )
    (opened, high, low, close), scale = _on_grid(bars)
    before = np.concatenate([opened[:1], close[:-1]])
    interval = interval_of(bars)
    whole = np.concatenate([[False], np.diff(bars.index) == interval])
    gap = np.where(whole, opened - before, 0)
    blocks = len(bars) // block
    rng = np.random.default_rng(seed)
    within = rng.random((blocks, block)).argsort(axis=1)
    order = (within + np.arange(blocks)[:, None] * block).ravel()

    ends = int(before[0]) + np.cumsum((gap + close - opened)[order])
    begins = ends - (close - opened)[order]
    above = (high - np.maximum(opened, close))[order]
    below = (np.minimum(opened, close) - low)[order]
    lows = np.minimum(begins, ends) - below
    lift = max(0, 1 - int(lows.min()))  # another order may lead below zero
    index = pd.date_range(bars.index[0], periods=len(order), freq=interval, name="close_time")
    highs = np.maximum(begins, ends) + above
    prices = [ticks + lift for ticks in (begins, highs, lows, ends)]
    return _with_prices(bars.iloc[order].set_axis(index), prices, scale)


def _on_grid(bars: pd.DataFrame) -> tuple[list[NDArray[np.int64]], int]:
    """Return open, high, low and close as integers, and the integer that a price of 1 becomes."""
    scale = 10 ** max(0, DIGITS - 1 - int(np.log10(bars["high"].max())))
    prices = [bars[name].to_numpy(np.float64) * scale for name in PRICES]
    return [np.rint(price).astype(np.int64) for price in prices], scale


def _with_prices(bars: pd.DataFrame, prices: list[NDArray[np.int64]], scale: int) -> pd.DataFrame:
    # division gives the float nearest to the decimal number, as reading it from a text does
    divided = {name: ticks / scale for name, ticks in zip(PRICES, prices, strict=True)}
    frame, calendar = bars.assign(**divided), bars.attrs.get("calendar")
    return check_bars(frame, "synthetic bars", interval_of(bars), calendar)
