"""Out-of-fold forecasts: no label of a block, of validation or of test has a part in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from gafcnn.data.augmentation import Augmentation
from gafcnn.data.cross_section import Relative
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological, check_purged, purged_blocks
from gafcnn.errors import ConfigError, LeakError, LearningError, SamplesError
from gafcnn.evaluation.statistics import rank_correlations
from gafcnn.models.boosted_trees import TREES, BoostedTrees
from gafcnn.models.out_of_fold import out_of_fold

QUICK: dict[str, Any] = {
    "rounds": 15,
    "patience": 5,
    "trees": {"max_depth": 3, "learning_rate": 0.2, "min_child_weight": 5, "nthread": 1},
}


@pytest.mark.parametrize("folds", [2, 3, 7])
@pytest.mark.parametrize("embargo", ["0min", "45min"])
def test_blocks_are_purged_on_both_sides(folds: int, embargo: str, pooled: Samples) -> None:
    times, known, train = pooled.times, pooled.outcomes.known_at, pooled.split.train
    wait = pd.Timedelta(embargo)
    splits = [*purged_blocks(times, known, train, folds, wait)]
    assert_array_equal(np.sort(np.concatenate([split.test for split in splits])), train)
    for split in splits:
        begins, ends = times[split.test].min(), known[split.test].max()
        others = [k for k in train if known[k] + wait < begins or times[k] > ends + wait]
        moments = np.unique(times[others])
        start = times[split.val].min()
        assert_array_equal(split.val, [k for k in others if times[k] >= start])
        assert_array_equal(split.train, [k for k in others if known[k] + wait < start])
        assert 0.1 <= (moments >= start).mean() < 0.1 + 1 / len(moments)


def test_a_split_that_touches_its_block_is_a_leak(pooled: Samples) -> None:
    times, known, wait = pooled.times, pooled.outcomes.known_at, pd.Timedelta("45min")
    split = [*purged_blocks(times, known, pooled.split.train, 3, wait)][1]
    check_purged(times, known, split, wait)
    first, last = split.test.min(), split.test.max()
    for near in (first - 20, last + 20):
        with pytest.raises(LeakError, match="1 training or validation samples overlap"):
            check_purged(times, known, replace(split, train=np.append(split.train, near)), wait)
    with pytest.raises(LeakError, match="val begins"):
        check_purged(times, known, replace(split, val=split.train, train=split.val), wait)


def changed(samples: Samples, rows: np.ndarray) -> Samples:
    """Samples whose outcomes at rows are drawn anew."""
    returns = samples.outcomes.forward_return.copy()
    returns[rows] = np.random.default_rng(1).normal(0, 0.1, len(rows))
    outcomes = replace(samples.outcomes, forward_return=returns)
    altered = type("Altered", (Samples,), {"outcomes": outcomes})
    return altered(**vars(samples)).with_split(samples.split)


@pytest.mark.parametrize(("name", "number"), [("ranked", 1), ("pooled", 2)])
def test_labels_of_a_block_have_no_part_in_its_forecasts(
    name: str, number: int, request: pytest.FixtureRequest
) -> None:
    samples: Samples = request.getfixturevalue(name)
    known, split = samples.outcomes.known_at, samples.split
    blocks = [*purged_blocks(samples.times, known, split.train, 3, samples.embargo)]
    table = out_of_fold(BoostedTrees(**QUICK), samples, folds=3)
    rows = np.sort(np.concatenate([split.train, split.val, split.test]))
    column = "score" if name == "ranked" else "p_up"
    assert [*table.columns] == ["symbol", "time", column]
    assert_array_equal(table["symbol"], samples.symbol_of(rows))
    assert_array_equal(table["time"].dt.tz_localize(None), samples.times[rows])
    block = blocks[number].test
    unseen = np.concatenate([block, split.val, split.test])
    other = out_of_fold(BoostedTrees(**QUICK), changed(samples, unseen), folds=3)
    same = other[column].to_numpy() == table[column].to_numpy()
    assert same[np.isin(rows, block)].all()
    assert not same[np.isin(rows, blocks[0].test)].all()


def test_rows_after_training_are_forecast_by_a_model_of_all_training_rows(
    ranked: Samples, tmp_path: Path
) -> None:
    model = BoostedTrees(**QUICK, folder=tmp_path)
    table = out_of_fold(model, ranked, folds=2)
    assert not hasattr(model, "booster_")
    assert {path.parent.parent.name for path in tmp_path.rglob("trees.json")} == {
        "block=0", "block=1", tmp_path.name,
    }  # fmt: skip
    plain = BoostedTrees.load(tmp_path / TREES).predict(ranked)
    both = plain.merge(table, on=["symbol", "time"], suffixes=("", "_oof"))
    assert len(both) == len(plain)
    assert_array_equal(both["score"], both["score_oof"])


def test_noise_is_forecast_in_sample_only() -> None:
    market = {name: simulate(1200, strength=0.0, seed=k)[0] for k, name in enumerate("ABCDE")}
    samples = make_samples(market, label=Relative("5min"), split=Chronological(every="5min"))
    deep = {"max_depth": 6, "learning_rate": 0.5, "nthread": 1}
    model = BoostedTrees(rounds=20, patience=20, trees=deep)
    model.set_params(trees=deep | {"min_child_weight": 1})
    table, rows = out_of_fold(model, samples, folds=3), samples.split.train
    model.fit(samples).best_round_ = 20
    key = pd.MultiIndex.from_frame(table[["symbol", "time"]])
    wanted = [samples.symbol_of(rows), pd.DatetimeIndex(samples.times[rows], tz="UTC")]
    own = table["score"].to_numpy()[key.get_indexer(pd.MultiIndex.from_arrays(wanted))]
    returns, times = samples.outcomes.forward_return[rows], samples.times[rows]
    assert rank_correlations(model.predict_samples(samples, rows), returns, times).mean() > 0.5
    assert abs(rank_correlations(own, returns, times).mean()) < 0.1


def test_what_cannot_be_divided_is_rejected(ranked: Samples) -> None:
    for folds in (1, 2.5):
        with pytest.raises(ConfigError, match=f"folds={folds}"):
            out_of_fold(BoostedTrees(), ranked, folds=folds)  # pyright: ignore[reportArgumentType]
    with pytest.raises(SamplesError, match="0 train"):
        out_of_fold(BoostedTrees(), ranked, folds=10_000)
    with pytest.raises(LearningError, match="augmentation"):
        out_of_fold(BoostedTrees(augmentation=Augmentation()), ranked)
