"""What is known of bins: equal series are kept once, and a timeline counts what it drew."""

from __future__ import annotations

import numpy as np

from gafcnn.evaluation.resampling import Resamples, SumTable


def test_series_of_equal_sums_share_a_column() -> None:
    table = SumTable(np.array([0, 2, 4]), 5)
    wins = np.array([True, False, True, True, False])
    assert [table.column(one) for one in (wins, np.ones(5), wins.astype(float))] == [0, 1, 0]
    assert table.matrix().tolist() == [[1, 2], [2, 2], [0, 1]]


def test_the_last_bin_holds_what_is_left() -> None:
    assert SumTable(np.array([0, 2, 4]), 5).bin_of_bars().tolist() == [0, 0, 1, 1, 2]


def test_timelines_count_their_bins_side_by_side() -> None:
    drawn = Resamples(np.array([[0, 0, 2], [1, 2, 1]]), np.array([[1.0], [10.0], [100.0]]))
    assert drawn.counts.tolist() == [[2, 0, 1], [0, 2, 1]]
    assert drawn.totals[:, 0].tolist() == [102, 120]
    assert drawn.lanes[0, :, :2].tolist() == [[2, 0], [0, 2], [1, 1]]
    assert not drawn.lanes[0, :, 2:].any()
