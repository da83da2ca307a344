"""Sample pictures: the test rows that each window was most certain about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gafcnn as gc
from gafcnn.app.pictures import sample_pictures


def test_each_window_shows_its_most_certain_rows(study: Path) -> None:
    pytest.importorskip("captum", reason="the extra explain is not installed")
    tiny = gc.load_study(study / "outputs/tiny", windows=["15m"])
    judgement = tiny.judge(resamples=0, count_look=False)
    samples = sample_pictures(tiny, judgement)
    assert [sample.correct for sample in samples] == [True, False]
    rows = judgement.predictions.query("window == '15m' and split == 'test'")
    for sample in samples:
        row = rows[rows["time"] == sample.series.index[-1]].iloc[0]
        right = (rows["p_up"] > 0.5) == (rows["forward_return"] > 0)
        of_kind = rows[right == sample.correct]
        assert abs(row["p_up"] - 0.5) == np.abs(of_kind["p_up"] - 0.5).max()
        bars = tiny.bars["SIMULATED"]["close"]
        np.testing.assert_array_equal(sample.series, bars.loc[sample.series.index])
        assert {image.shape for image in sample.channels.values()} == {(16, 16)}
        assert sample.attributions is not None
