"""Figures on thousands of resampled timelines, from little information about each bin.

A timeline is a list of bins. Sums need only how often each bin was drawn, and so do ranks once the
rows are sorted by score; a drawdown needs the order of the bins and four numbers for each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gafcnn.evaluation.figures import Auc, Drawdown
from gafcnn.evaluation.statistics import Floats
from gafcnn.kernels import compiled

_LANES = 32  # timelines that the ranking kernel processes side by side


class Resamples:
    """A batch of resampled timelines.

    Args:
        picks: The bins of each timeline, in order, shape (batch, bins).
        sums: Sums of series over bins, shape (bins, columns).

    Attributes:
        totals: The sums of each timeline, shape (batch, columns).
        lanes: How often each bin was drawn, timelines side by side: (batch / lanes, bins, lanes).
    """

    def __init__(self, picks: NDArray[np.int64], sums: Floats) -> None:
        batch, bins = picks.shape
        counts = np.zeros((-(-batch // _LANES) * _LANES, bins), np.int32)
        for row, drawn in enumerate(picks):
            counts[row] = np.bincount(drawn, minlength=bins)
        self.picks = picks
        self.totals: Floats = counts[:batch].astype(np.float64) @ sums
        self.lanes = np.ascontiguousarray(counts.reshape(-1, _LANES, bins).transpose(0, 2, 1))


Compute = Callable[[Resamples], Floats]
"""Computes a figure on each timeline of a batch: shape (batch,), NaN where it is undefined."""


def prepare_drawdown(figure: Drawdown, starts: NDArray[np.int64]) -> Compute:
    """Prepare the drawdown for timelines of bins that begin at these bars."""
    paths = np.empty((len(starts), 4))
    _trace(np.asarray(figure.returns, np.float64), starts, paths)

    def compute(drawn: Resamples) -> Floats:
        values = np.empty(len(drawn.picks))
        _deepest_falls(paths, drawn.picks, values)
        return values

    return compute


def prepare_auc(figure: Auc, starts: NDArray[np.int64]) -> Compute:
    """Prepare the area under the ROC curve for timelines of bins that begin at these bars.

    Twice the number of correctly ordered pairs (up, down) is the sum, over rows that went up, of
    twice the downs with a lower score and once the downs with an equal score. A down with the score
    of an up is therefore visited twice, before and after its ups, and counts 1 each time; any other
    is visited once and counts 2.
    """
    up = figure.up.astype(bool)
    level = np.unique(figure.score, return_inverse=True)[1]
    bins = np.searchsorted(starts, figure.places, side="right") - 1
    among_ups = np.bincount(level, up)[level] > 0
    twice = np.flatnonzero(among_ups & ~up)
    phase = np.concatenate([up.astype(np.int8), np.full(len(twice), 2, np.int8)])
    order = np.lexsort((phase, np.concatenate([level, level[twice]])))
    step = np.where(up, 0, np.where(among_ups, 1, 2))
    steps = np.concatenate([step, step[twice]])[order].astype(np.int8)
    sorted_bins = np.concatenate([bins, bins[twice]])[order].astype(np.int32)

    def compute(drawn: Resamples) -> Floats:
        values = np.empty(drawn.lanes.shape[::2])
        _areas(sorted_bins, steps, drawn.lanes, values)
        return values.reshape(-1)[: len(drawn.picks)]

    return compute


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
    """Compute the area under the ROC curve on every lane; see `prepare_auc` for steps."""
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
