"""Predictions of a cross-section: tables of scores, and completion of those from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from gafcnn.data.cross_section import AboveMedian, Rank, Relative
from gafcnn.data.samples import make_samples
from gafcnn.data.simulated import simulate_universe
from gafcnn.data.splits import Chronological
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.joining import average_seeds, join
from gafcnn.evaluation.predictions import (
    check_predictions,
    complete_predictions,
    outcome_table,
    prediction_table,
    probability_columns,
    read_predictions,
    write_predictions,
)

BARS, SCORES = simulate_universe(4, 700, seed=1, listed=0.25, delisted=0.5)
SAMPLES = make_samples(BARS, label=Relative("6h"), lookback="8h")
ROWS = np.concatenate([SAMPLES.split.val, SAMPLES.split.test])
TABLE = prediction_table(SAMPLES, np.linspace(-1, 1, len(ROWS)), "trees", 0)
GIVEN = ["symbol", "time", "score"]
OUTCOMES = ["forward_return", "known_at", "label"]


def test_a_table_of_scores(tmp_path: Path) -> None:
    check_predictions(TABLE, "trees")
    assert probability_columns(TABLE) == ("score",)
    assert "p_up" not in TABLE
    assert (TABLE["label"].dtype, TABLE["label"].isna().sum()) == (np.float64, 0)
    write_predictions(tmp_path / "p.parquet", TABLE)
    assert_frame_equal(read_predictions(tmp_path / "p.parquet"), TABLE)
    with pytest.raises(PredictionsError, match="score is not finite in 1 of"):
        check_predictions(TABLE.assign(score=TABLE["score"].where(TABLE.index != 3)), "trees")
    with pytest.raises(PredictionsError, match="label is Int8"):
        check_predictions(TABLE.assign(label=pd.array([1] * len(TABLE), "Int8")), "trees")


@pytest.mark.parametrize("label", [Relative("6h"), Rank("6h"), AboveMedian("6h")])
def test_completion_by_a_label_agrees_with_the_samples(label: Any) -> None:
    samples = make_samples(BARS, label=label, lookback="8h")
    known = outcome_table(samples)
    complete, notes = complete_predictions(known[["symbol", "time"]].assign(score=0.5), BARS, label)
    assert notes == []
    both = known.merge(complete, on=["symbol", "time"], suffixes=("", "_b"))
    assert len(both) == len(known)
    for column in OUTCOMES:  # those of delisted symbols among them
        assert_frame_equal(
            both[[column]], both[[f"{column}_b"]].set_axis([column], axis=1), check_exact=True
        )
    assert (both["known_at"] > max(one.index[-1] for one in BARS.values())).sum() == 0


def test_completion_by_a_split_and_by_another_table() -> None:
    split = Chronological(0.2, 0.2)
    complete, notes = complete_predictions(SCORES, BARS, Relative("6h"), split)
    assert "neither validation nor test" in notes[0]
    samples = make_samples({k: BARS[k] for k in BARS}, label=Relative("6h"), split=split)
    assert_frame_equal(
        complete.filter(OUTCOMES).describe(), outcome_table(samples).filter(OUTCOMES).describe()
    )
    again, _ = complete_predictions(SCORES, BARS, like=TABLE)
    keys = ["symbol", "time"]
    assert_frame_equal(
        again.sort_values(keys)[[*keys, *OUTCOMES]].reset_index(drop=True),
        TABLE.sort_values(keys)[[*keys, *OUTCOMES]].reset_index(drop=True),
    )


def test_targets_are_among_the_symbols_of_the_table() -> None:
    two = SCORES[SCORES["symbol"].isin([*BARS][:2])]
    complete, _ = complete_predictions(two, BARS, Rank("6h"))
    assert set(complete["label"].dropna()) == {-0.25, 0.25}
    # the market is found in the bars if the table lacks it
    market = [*BARS][3]
    complete, _ = complete_predictions(two, BARS, Relative("6h", market=market))
    one = complete.set_index(["time", "symbol"])["label"].unstack().dropna()  # noqa: PD010
    returns = {name: frame["close"].shift(-6) / frame["close"] - 1 for name, frame in BARS.items()}
    wide = pd.DataFrame(returns).reindex(one.index)[[*one, market]]
    expected = wide.sub(wide[market], axis=0).div(wide.std(axis=1), axis=0).clip(-3, 3)
    known = expected.notna().all(axis=1)
    assert known.sum() > 100
    assert_allclose(one[known], expected.loc[known, [*one]])


def test_scores_of_no_bar_and_probabilities_as_scores() -> None:
    late = SCORES.assign(time=SCORES["time"] + pd.Timedelta("20min"))
    for label in (Rank("6h"), Relative("6h", market="SIM000")):
        with pytest.raises(PredictionsError, match="no bar closes at that time"):
            complete_predictions(late, BARS, label)
    others = SCORES.assign(symbol=SCORES["symbol"].str.lower())
    with pytest.raises(
        PredictionsError, match="no bars of their symbol.*names of the bars: SIM000, SIM001"
    ):
        complete_predictions(others, BARS, Rank("6h"))
    chances = SCORES.assign(score=SCORES["score"] > 0).rename(columns={"score": "p_up"})
    complete, _ = complete_predictions(chances, BARS, Rank("6h"))
    assert set(complete["score"]) == {0.0, 1.0}
    with pytest.raises(PredictionsError, match="no column symbol"):
        complete_predictions(SCORES.drop(columns="symbol"), BARS, Rank("6h"))


def test_members_of_other_symbols_are_joined() -> None:
    seeds = [TABLE.assign(seed=seed, score=TABLE["score"] + seed) for seed in (1, 2)]
    assert_allclose(average_seeds(seeds)["score"].sort_values(), TABLE["score"] + 1.5)
    joined = join({"a": TABLE, "b": seeds[0]})
    assert_allclose(joined["b"] - joined["a"], 1)
