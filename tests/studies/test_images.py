"""What the driver of the study computes of the predictions of several models."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from gafcnn.app.command import import_own


def test_a_blend_is_the_mean_rank_where_all_have_a_score(root: Path) -> None:
    import_own([str(root / "studies/images.py")])
    blend = sys.modules["images"].blend
    rows = pd.DataFrame({"symbol": [*"ABCAB"], "time": [1, 1, 1, 2, 2], "fold": 0, "split": "test"})
    one = rows.assign(score=[0.1, 0.2, 0.3, 5.0, 4.0], seed=3)
    other = rows.assign(score=[30.0, 10.0, 20.0, 1.0, 2.0])[:-1]
    found = blend(one, other.sample(frac=1, random_state=0))
    assert [*found["symbol"]] == [*"ABCA"]  # B has no score of the other model at time 2
    assert [*found["score"]] == pytest.approx([4 / 6, 3 / 6, 5 / 6, 1])
    assert (found["seed"] == -1).all()
