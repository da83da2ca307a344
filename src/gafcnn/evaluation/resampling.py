"""Figures on thousands of resampled timelines, from little information about each bin.

A timeline is a list of bins. Sums need only how often each bin was drawn, and so do ranks once the
rows are sorted by score; a drawdown needs the order of the bins and four numbers for each.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gafcnn.evaluation.figures import Auc, Drawdown, OfSums
from gafcnn.evaluation.statistics import Floats
from gafcnn.kernels import compiled

_LANES = 32  # timelines that the ranking kernel processes side by side


class SumTable:
    """Sums of series over bins; equal series share a column.

    Sharing also keeps equal figures exactly equal, which a matrix product of two columns does not
    guarantee.

    Args:
        starts: First bar of each bin, shape (bins,).
    """

    def __init__(self, starts: NDArray[np.int64]) -> None:
        self.starts = starts
        self._columns: list[Floats] = []
        self._numbers: dict[bytes, int] = {}

    def column(self, series: NDArray[Any]) -> int:
        """Return the number of the column that holds the sums of this series."""
        sums = np.add.reduceat(np.asarray(series, np.float64), self.starts)
        key = hashlib.sha256(sums.tobytes()).digest()
        number = self._numbers.setdefault(key, len(self._columns))
        if number == len(self._columns):
            self._columns.append(sums)
        return number

    def matrix(self) -> Floats:
        """Return all sums, shape (bins, columns)."""
        return np.reshape(self._columns, (-1, len(self.starts))).T


class Resamples:
    """A batch of resampled timelines.

    Args:
        picks: The bins of each timeline, in order, shape (batch, bins).
        sums: Sums over bins (see `SumTable`), shape (bins, columns).
    """

    def __init__(self, picks: NDArray[np.int64], sums: Floats) -> None:
        bins = picks.shape[1]
        self.picks = picks
        self.counts = np.stack([np.bincount(row, minlength=bins) for row in picks])
        self.totals: Floats = self.counts.astype(np.float64) @ sums

    @cached_property
    def lanes(self) -> NDArray[np.int32]:
        """How often each bin was drawn, timelines side by side: (batch / lanes, bins, lanes)."""
        batch, bins = self.counts.shape
        padded = np.zeros((-(-batch // _LANES) * _LANES, bins), np.int32)
        padded[:batch] = self.counts
        return np.ascontiguousarray(padded.reshape(-1, _LANES, bins).transpose(0, 2, 1))


class BinSums:
    """A figure of sums, by the columns of a `SumTable`."""

    def __init__(self, figure: OfSums, table: SumTable) -> None:
        self._of = figure.of
        self._columns = [table.column(series) for series in figure.series]

    def on(self, drawn: Resamples) -> Floats:
        """Return the figure on each timeline: shape (batch,)."""
        return self._of(*(drawn.totals[:, column] for column in self._columns))


class BinPaths:
    """The drawdown, by what each bin does to an equity that enters it at 1."""

    def __init__(self, figure: Drawdown, starts: NDArray[np.int64]) -> None:
        self._paths = np.empty((len(starts), 4))
        _trace(np.asarray(figure.returns, np.float64), starts, self._paths)

    def on(self, drawn: Resamples) -> Floats:
        """Return the drawdown on each timeline: shape (batch,)."""
        values = np.empty(len(drawn.picks))
        _deepest_falls(self._paths, drawn.picks, values)
        return values


class RankedRows:
    """The area under the ROC curve, by its rows sorted by score.

    Twice the number of correctly ordered pairs (up, down) is the sum, over rows that went up, of
    twice the downs with a lower score and once the downs with an equal score. A down with the score
    of an up is therefore visited twice, before and after its ups, and counts 1 each time; any other
    is visited once and counts 2.
    """

    def __init__(self, figure: Auc, starts: NDArray[np.int64]) -> None:
        up = figure.up.astype(bool)
        level = np.unique(figure.score, return_inverse=True)[1]
        bins = np.searchsorted(starts, figure.places, side="right") - 1
        among_ups = np.bincount(level, up)[level] > 0
        twice = np.flatnonzero(among_ups & ~up)
        phase = np.concatenate([up.astype(np.int8), np.full(len(twice), 2, np.int8)])
        order = np.lexsort((phase, np.concatenate([level, level[twice]])))
        step = np.where(up, 0, np.where(among_ups, 1, 2))
        self._steps = np.concatenate([step, step[twice]])[order].astype(np.int8)
        self._bins = np.concatenate([bins, bins[twice]])[order].astype(np.int32)

    def on(self, drawn: Resamples) -> Floats:
        """Return the area on each timeline: shape (batch,), NaN with one class only."""
        values = np.empty(drawn.lanes.shape[::2])
        _areas(self._bins, self._steps, drawn.lanes, values)
        return values.reshape(-1)[: len(drawn.picks)]


@compiled
def _trace(returns: Floats, starts: NDArray[np.int64], paths: Floats) -> None:
    """Compute growth over each bin, its highest and lowest point, and the largest fall in it."""
    for b in range(len(starts)):
        growth, highest, lowest, fall = 1.0, 1.0, 1.0, 1.0
        end = starts[b + 1] if b + 1 < len(starts) else len(returns)
        for bar in range(starts[b], end):
            growth *= 1 + returns[bar]
            highest, lowest = max(highest, growth), min(lowest, growth)
            fall = min(fall, growth / highest)
        paths[b, 0], paths[b, 1], paths[b, 2], paths[b, 3] = growth, highest, lowest, fall


@compiled
def _deepest_falls(paths: Floats, picks: NDArray[np.int64], values: Floats) -> None:
    """Compute the drawdown of consecutive bins; equity is relative to its peak."""
    for r in range(len(picks)):
        equity, deepest = 1.0, 1.0
        for b in picks[r]:
            growth, highest, lowest, fall = paths[b]
            deepest = min(deepest, min(fall, equity * lowest))
            equity = equity * growth / max(1.0, equity * highest)
        values[r] = deepest - 1


@compiled
def _areas(
    bins: NDArray[np.int32], steps: NDArray[np.int8], lanes: NDArray[np.int32], values: Floats
) -> None:
    """Compute the area under the ROC curve on every lane; see `RankedRows` for steps."""
    width = lanes.shape[2]
    for block in range(len(lanes)):
        counts = lanes[block]
        pairs, ups, downs = np.zeros(width), np.zeros(width), np.zeros(width)
        for k in range(len(bins)):
            count, step = counts[bins[k]], steps[k]
            if step:
                for lane in range(width):
                    downs[lane] += step * count[lane]
            else:
                for lane in range(width):
                    ups[lane] += count[lane]
                    pairs[lane] += downs[lane] * count[lane]
        for lane in range(width):
            both = ups[lane] * downs[lane]
            values[block, lane] = pairs[lane] / both if both else np.nan
