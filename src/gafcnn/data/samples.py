"""Samples: decision times, their labels, and the part of the split that each belongs to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import check_together, ensure_bars
from gafcnn.data.cross_section import (
    Rows,
    Universe,
    check_market,
    describe_universe,
    on_schedule,
    outcomes_together,
)
from gafcnn.data.labels import DIRECTIONS, NULL, Direction, Label, Outcomes
from gafcnn.data.splits import Chronological, Split, Splitter, check_purged, format_moment
from gafcnn.data.windows import close_times, decision_rows, longest_span
from gafcnn.durations import DurationLike, parse_duration
from gafcnn.errors import ConfigError, SamplesError

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

MOST_NAMES = 8  # symbols that are listed by their names
_TOGETHER = 2**16  # samples, about, that are related to each other at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Samples:
    """All samples, symbol after symbol, each in order of time. Arrays have shape (n,).

    Times and outcomes are computed from the bars whenever they are read: kept, they would take as
    much memory as half of the bars.

    Attributes:
        bars: Bars of each symbol, by its name ("" if it was not named).
        lookback: The gap-free stretch of bars that each sample ends.
        definition: The label's definition, for example `Direction("15min")`.
        rows: Rows of the bars of each symbol that its samples are decided at, int32.
        label: int8: the number of the class, `NULL` for none or an unknown one. For a cross-section
            float32: the target, NaN for none.
        split: Positions of train, val and test.
        embargo: Time kept between a label becoming known and a later part, beyond the purge.
        starts: Position of each symbol's first sample.
        overnight: Whether the lookback may span the nights of a trading calendar.
        together: The samples of all symbols of a cross-section, if these are of one of them.
    """

    bars: Mapping[str, pd.DataFrame]
    lookback: pd.Timedelta
    definition: Any  # a `Label`, with `assign` or `relate`
    rows: Rows
    label: NDArray[Any]
    split: Split
    embargo: pd.Timedelta
    starts: tuple[int, ...] = (0,)
    overnight: bool = True
    together: Self | None = None

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        parts = ", ".join(f"{len(self.part(name))} {name}" for name in PARTS)
        of = f" of {self.described_symbols}" if any(self.symbols) else ""
        return f"<Samples{of}: {parts}, {self.definition!r}, {self._period}>"

    @property
    def _period(self) -> str:
        if not len(self):
            return "without decision times"
        return f"from {format_moment(self.times.min())} to {format_moment(self.times.max())} UTC"

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Decision times, datetime64[ns], UTC."""
        bars = zip(self.bars.values(), self.rows, strict=True)
        return np.concatenate([close_times(frame)[at] for frame, at in bars])

    @property
    def outcomes(self) -> Outcomes:
        """Forward returns and when they are known."""
        if self.together is not None:
            return self.together.outcomes[self.together._where(*self.symbols)]
        return outcomes_together(self.definition, [*self.bars.values()], self.rows)

    def known(self, positions: NDArray[Any]) -> tuple[NDArray[np.datetime64], Outcomes]:
        """Return decision times and outcomes of samples at these positions, in their order.

        For a cross-section, all samples at their decision times with a known outcome. Less
        memory is needed than for the outcomes of all samples.
        """
        if self.together is not None:
            return self.times[positions], self.outcomes[positions]
        ordered, ends = np.sort(positions), [*self.starts, len(self)]
        rows = []
        for of_symbol, (first, last) in zip(self.rows, pairwise(ends), strict=True):
            begin, end = np.searchsorted(ordered, (first, last))
            rows.append(of_symbol[ordered[begin:end] - first])
        part, at = replace(self, rows=rows), np.searchsorted(ordered, positions)
        return part.times[at], part.outcomes[at]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbols, in their order."""
        return tuple(self.bars)

    @property
    def described_symbols(self) -> str:
        """Names of the symbols, or their number if they are many."""
        if len(self.symbols) > MOST_NAMES:
            return f"{len(self.symbols)} symbols"
        return ", ".join(self.symbols)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers; () for a continuous target."""
        return tuple(self.definition.classes)

    @property
    def task(self) -> Literal["direction", "classification", "ranking"]:
        """What the label asks, see `task_of`."""
        return task_of(self.definition)

    @property
    def horizon(self) -> pd.Timedelta:
        """How far the label looks ahead; without an attribute `horizon`, the longest wait."""
        waits: Any = pd.Series(self.outcomes.known_at - self.times)
        return getattr(self.definition, "horizon", None) or waits.max()

    def of(self, symbol: str) -> Self:
        """Return the samples of one symbol."""
        where, parts = self._where(symbol), {}
        for name in PARTS:
            first, last = np.searchsorted(self.part(name), (where.start, where.stop))
            parts[name] = self.part(name)[first:last] - where.start
        return replace(
            self,
            bars={symbol: self.bars[symbol]},
            rows=[self.rows[self.symbols.index(symbol)]],
            label=self.label[where],
            split=replace(self.split, **parts),
            starts=(0,),
            together=self if self.task == "ranking" and self.together is None else self.together,
        )

    def _where(self, symbol: str) -> slice:
        number = self.symbols.index(symbol)
        return slice(self.starts[number], [*self.starts, len(self)][number + 1])

    def with_split(self, split: Split) -> Self:
        """Return the samples with another split, and labels fitted to it; see `check_purged`."""
        parts = {name: np.sort(np.asarray(getattr(split, name), np.int64)) for name in PARTS}
        return replace(self, split=replace(split, **parts))._labelled(self.times, self.outcomes)

    def symbol_of(self, positions: NDArray[np.int64]) -> NDArray[np.str_]:
        """Return the symbol of each of these samples: shape (n,)."""
        numbers = np.searchsorted(self.starts, positions, side="right") - 1
        return np.array(self.symbols)[numbers]

    def bar_rows(self, symbol: str) -> NDArray[np.int64]:
        """Return the row of a symbol's bars that each of its samples is decided at."""
        return self.rows[self.symbols.index(symbol)].astype(np.int64)

    def part(self, name: Part) -> NDArray[np.int64]:
        """Return the positions of a part's samples, including those without a label."""
        return getattr(self.split, name)

    def labelled(self, name: Part) -> NDArray[np.int64]:
        """Return the positions of a part's samples that have a label."""
        positions = self.part(name)
        label = self.label[positions]
        known = np.isfinite(label) if label.dtype.kind == "f" else label != NULL
        return positions if known.all() else positions[known]

    def counts(self, name: Part) -> NDArray[np.int64]:
        """Return the number of labelled samples of each class in a part: shape (classes,)."""
        label = self.label[self.labelled(name)]
        return np.array([np.count_nonzero(label == k) for k in range(len(self.classes))], int)

    def _labelled(self, times: NDArray[np.datetime64], outcomes: Outcomes) -> Self:
        """Return the samples with labels fitted on the training samples of each symbol."""
        check_purged(times, outcomes.known_at, self.split, self.embargo)
        if self.task == "ranking":
            return self._related(times, outcomes.forward_return)
        each = [self.of(symbol) for symbol in self.symbols]
        needed = PARTS[:1] if self.split.block else PARTS
        for one in each:
            if not all(len(one.part(name)) for name in needed):
                counts = ", ".join(f"{len(one.part(name))} {name}" for name in PARTS)
                raise SamplesError(
                    f"{counts} samples of {one.symbols[0]}, which has samples {one._period}",
                    expected="samples of every symbol in each part; all have the same borders",
                    instead="remove it, use bars of the same period for all, or change the split",
                )
        parts = [(outcomes[self._where(*one.symbols)], one.split.train) for one in each]
        label = np.concatenate([self.definition.assign(*part) for part in parts])
        if len(label) != len(self) or not {*np.unique(label)} <= {*range(NULL, len(self.classes))}:
            raise SamplesError(
                f"the label assigned {len(label)} numbers from {label.min()} to {label.max()}",
                expected=f"{len(self)} of {NULL} (no class) to {len(self.classes) - 1}",
                instead="correct the label's assign or its classes",
            )
        samples = replace(self, label=label.astype(np.int8))
        if not len(samples.labelled("train")):
            raise SamplesError(
                f"0 labelled training samples of {len(self.split.train)}",
                expected="samples of every class",
                instead="use more bars whose prices change, or other options of label and split",
            )
        return samples

    def _related(self, times: NDArray[np.datetime64], returns: NDArray[np.float64]) -> Self:
        label, by_symbol = np.empty(len(self), np.float32), np.split(times, self.starts[1:])
        blocks = len(self) // _TOGETHER + 1  # of time, as the names of all samples are large
        step = (times.max() - times.min()) // blocks + np.timedelta64(1, "ns")
        for block in pairwise(times.min() + step * np.arange(blocks + 1)):
            parts = zip(by_symbol, self.starts, strict=True)
            at = np.concatenate([np.arange(*np.searchsorted(a, block)) + k for a, k in parts])
            if len(at):
                label[at] = self.definition.relate(returns[at], times[at], self.symbol_of(at))
        samples = replace(self, label=label)
        for part in PARTS:
            if not len(samples.labelled(part)):
                raise SamplesError(
                    f"none of {len(self.part(part)):,} {part} samples of {len(self.symbols)} "
                    "symbols can be compared with another",
                    expected="bars of several symbols that close at the same times",
                    instead="read several, as in market.path=[a.csv,b.csv], or set another label",
                )
        return samples


def task_of(label: Any) -> Literal["direction", "classification", "ranking"]:
    """Return what a label asks: "down" and "up" are a direction, related symbols are ranked."""
    if hasattr(label, "relate"):
        return "ranking"
    return "direction" if tuple(label.classes) == DIRECTIONS else "classification"


def _having(argument: str, value: Any, example: str, *attributes: str) -> Any:
    if isinstance(value, type) or not all(hasattr(value, name) for name in attributes):
        raise ConfigError(
            f"{argument} is {value!r}",
            expected=f"an object such as {example}, with {', '.join(attributes)}",
            instead=f"write {argument}={example}, for example",
        )
    return value


def make_samples(
    bars: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    label: Label | None = None,
    split: Splitter | None = None,
    lookback: DurationLike = "60min",
    overnight: bool = True,
    universe: Universe | None = None,
) -> Samples:
    """Find the decision times of bars, look ahead, split, and label - in this order.

    Labels are fitted on training samples only. Symbols of a cross-section may begin and end at any
    time; for other labels each symbol needs samples in each part of the split.

    Args:
        bars: Bars of one symbol, or of several by their names (see `gafcnn.as_bars`).
        label: How samples are labelled; `Direction("15min")` by default.
        split: The split, at the same moments for all symbols; `Chronological()` by default.
        lookback: The gap-free stretch of bars that a sample needs, at least as long as the longest
            window that will be used. The embargo is as long, unless `split` has its own.
        overnight: Whether the lookback may span the nights of a trading calendar.
        universe: Which symbols are compared at a decision time; all by default.

    Raises:
        BarsError: The bars did not pass through `as_bars`.
        SamplesError: Bars, label and split do not fit together; symbols have no common period, or
            one has no sample in some part.
        LeakError: A label would be known only after a later part has begun.
        ConfigError: The lookback or horizon is not a multiple of the bars' interval, the intervals
            of symbols differ, or `label` or `split` is of another kind.
    """
    label = Direction() if label is None else label
    split = Chronological() if split is None else split
    ranking = hasattr(label, "relate")
    example = 'gc.Relative("1D")' if ranking else 'gc.Direction("1h")'
    needed = ("classes", "outcomes", "relate" if ranking else "assign")
    definition: Any = _having("label", label, example, *needed)
    splitter: Splitter = _having("split", split, "gc.Chronological()", "embargo", "split")
    by_symbol = dict(bars) if isinstance(bars, Mapping) else {"": bars}
    frames = [ensure_bars(frame) for frame in by_symbol.values()]
    check_together(by_symbol)
    if ranking:
        check_market(definition, [*by_symbol])
    length = parse_duration("lookback", lookback)
    rows, embargoes, lacking = [], [], []
    numbers = np.arange(max(map(len, frames)), dtype=np.int32)
    for symbol, frame in by_symbol.items():
        try:
            found = decision_rows(frame, length, overnight=overnight)
            whole = numbers[found[0] : found[-1] + 1]  # a view: without a gap they are kept once
            rows.append(whole if len(whole) == len(found) else numbers[found])
            embargoes.append(longest_span(frame, length, overnight=overnight))
        except SamplesError as error:
            lacking.append(symbol)
            if not ranking or len(lacking) == len(by_symbol):
                raise
            log.info("%s has no samples: %s", symbol, error.found)
            rows.append(numbers[:0])
    if (every := getattr(splitter, "every", None)) is not None:
        rows = on_schedule(frames, rows, every)
    if universe is not None:
        rows = universe.select(frames, rows)
    starts = (0, *np.cumsum([len(at) for at in rows[:-1]], dtype=np.int64).tolist())
    decided = zip(frames, rows, strict=True)
    moments = np.concatenate([close_times(frame)[at] for frame, at in decided])
    outcomes = outcomes_together(definition, frames, rows)
    if ranking:
        log.info("%s", describe_universe(by_symbol, moments, starts, outcomes.known_at))
    embargo = max(embargoes, default=length) if splitter.embargo is None else splitter.embargo
    parts = splitter.split(moments, outcomes.known_at, (0,) if ranking else starts, embargo)
    labels = np.full(len(moments), NULL, np.int8)  # until they are fitted
    return Samples(
        by_symbol, length, definition, rows, labels, parts, embargo, starts, overnight
    )._labelled(moments, outcomes)
