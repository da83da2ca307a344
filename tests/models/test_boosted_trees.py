"""Boosted trees: what they learn, when they stop, and their files; weights of classes."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight

from gafcnn.data.cross_section import AboveMedian
from gafcnn.data.indicators import indicators
from gafcnn.data.labels import DIRECTIONS, Direction
from gafcnn.data.market_columns import with_market
from gafcnn.data.samples import Samples, make_samples
from gafcnn.data.windows import WindowReader, as_window
from gafcnn.errors import ConfigError, LearningError, SamplesError
from gafcnn.evaluation.predictions import check_predictions
from gafcnn.evaluation.statistics import rank_correlations
from gafcnn.models.boosted_trees import TREES, BoostedTrees, _matrix
from gafcnn.models.estimator import class_weights

QUICK: dict[str, Any] = {
    "rounds": 200,
    "patience": 20,
    "trees": {"max_depth": 3, "learning_rate": 0.1, "nthread": 1},
}
WINDOW: dict[str, Any] = QUICK | {"features": "window", "window": "15m"}


@pytest.fixture(scope="module")
def fitted(samples: Samples) -> BoostedTrees:
    return BoostedTrees(**QUICK).fit(samples)


def test_trees_find_the_momentum(fitted: BoostedTrees, samples: Samples) -> None:
    table = check_predictions(fitted.predict(samples), "predictions")
    assert set(table["window"]) == {"xgboost"}
    labelled = table.dropna(subset=["label"])
    assert roc_auc_score(labelled["label"].astype(int), labelled["p_up"]) > 0.6
    assert fitted.gains().sum() == pytest.approx(1)
    assert fitted.facts_["features"] == len(indicators(samples.bars[""]).columns)
    assert fitted.metrics_["majority"] >= 0.5


def test_many_unknown_indicators_are_logged(
    samples: Samples, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    BoostedTrees(**QUICK | {"rounds": 1}).fit(samples)
    assert "unknown" not in caplog.text
    without = samples.bars[""].assign(volume=np.nan)
    blind = make_samples(without, label=Direction("15min"))
    BoostedTrees(**QUICK | {"rounds": 1}).fit(blind)
    rows = blind.bar_rows("")[blind.labelled("train")]
    share = indicators(without).iloc[rows].isna().to_numpy().mean()
    assert f"{100 * share:.1f} % of the indicators" in caplog.text


def test_predictions_use_the_trees_up_to_the_best_round(
    fitted: BoostedTrees, samples: Samples
) -> None:
    val = samples.labelled("val")
    assert fitted.facts_["rounds"] == fitted.best_round_ + 20
    losses = []
    best = fitted.best_round_
    for rounds in (best - 5, best, best + 15):
        fitted.best_round_ = max(rounds, 1)
        losses.append(log_loss(samples.label[val], fitted.predict_samples(samples, val)))
    fitted.best_round_ = best
    assert losses[1] == min(losses)
    assert losses[1] == pytest.approx(fitted.metrics_["log_loss"])


def test_neither_test_nor_unlabelled_samples_are_learned(bars: pd.DataFrame) -> None:
    samples = make_samples(bars)
    first = BoostedTrees(**WINDOW).fit(samples)
    changed = bars.copy()
    later = bars.index > pd.Timestamp(samples.times[samples.split.test[0]], tz="UTC")
    changed.loc[later, ["open", "high", "low", "close"]] *= 1.5
    second = BoostedTrees(**WINDOW).fit(make_samples(changed))
    assert first.booster_.save_raw("json") == second.booster_.save_raw("json")


def test_the_same_seed_gives_the_same_trees_with_any_number_of_threads(samples: Samples) -> None:
    options = {"max_depth": 3, "subsample": 0.5, "colsample_bytree": 0.5}
    one, two, other = (
        BoostedTrees(rounds=20, seed=seed, trees=options | {"nthread": threads})
        .fit(samples)
        .predict_samples(samples, samples.split.test)
        for seed, threads in ((0, 1), (0, 2), (1, 2))
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_features_are_indicators_for_a_label_that_looks_ahead_else_the_window(
    fitted: BoostedTrees, classes: Samples
) -> None:
    assert fitted.features_ == "indicators"
    with pytest.raises(ConfigError, match="window"):
        BoostedTrees(**QUICK).fit(classes)
    with pytest.raises(ConfigError, match="features is 'windows'"):
        BoostedTrees(**WINDOW | {"features": "windows"}).fit(classes)
    model = BoostedTrees(**QUICK, window="15m", fields=("close", "high")).fit(classes)
    assert model.features_ == "window"
    assert set(model.gains().index) <= {f"{f}[{-k}]" for f in ("close", "high") for k in range(15)}
    bars, rows = classes.bars[""], classes.bar_rows("")[:3]
    values = WindowReader(bars, as_window("15m"), ("close", "high"))(rows)
    table = model._read([(bars, rows)])
    np.testing.assert_allclose(table["high[-2]"], values[:, 1, -3], rtol=1e-6)


def test_few_validation_samples_are_warned_of(
    samples: Samples, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = len(samples.labelled("val"))
    for few, warned in ((n + 1, True), (n, False)):
        monkeypatch.setattr("gafcnn.models.estimator.FEW", few)
        caplog.clear()
        BoostedTrees(**WINDOW | {"rounds": 5}).fit(samples)
        assert (f"validation has only {n} labelled samples" in caplog.text) == warned


def test_fields_of_other_symbols(pooled: Samples) -> None:
    fields = ("relative_close", "TWO:close")
    model = BoostedTrees(**WINDOW | {"rounds": 5}, fields=fields).fit(pooled)
    with pytest.raises(SamplesError, match="with_market"):
        model.predict_at(pooled.bars["TWO"])
    p = model.predict_at(with_market(pooled.bars, fields)["TWO"], pooled.bar_rows("TWO"))
    np.testing.assert_array_equal(p, model.predict_samples(pooled)[pooled.starts[1] :])
    with pytest.raises(ConfigError, match="X has no bars"):
        BoostedTrees(**WINDOW, fields=("X:close",)).fit(pooled)


def test_several_classes(classes: Samples) -> None:
    model = BoostedTrees(**QUICK, window="15m", fields=("body",)).fit(classes)
    table = model.predict(classes)
    np.testing.assert_allclose(table[["p_none", "p_one", "p_both"]].sum(axis=1), 1, atol=1e-5)
    assert model.metrics_["balanced_accuracy"] > 0.8
    assert model.predict_proba(classes).shape == (len(classes), 3)


def test_class_weights_raise_the_probability_of_their_class(classes: Samples) -> None:
    options = QUICK | {"window": "15m", "rounds": 5, "trees": {"max_depth": 1, "nthread": 1}}
    plain, weighted, equal = (
        BoostedTrees(**options, class_weights=weights).fit(classes).predict_proba(classes)[:, 2]
        for weights in (None, [1, 1, 5], [1.0, 1.0, 1.0])
    )
    assert weighted.mean() > plain.mean() + 0.01
    assert np.array_equal(plain, equal)


def test_predictions_at_rows_of_bars_are_those_of_the_samples(pooled: Samples) -> None:
    model = BoostedTrees(**QUICK).fit(pooled)
    rows = np.random.default_rng(0).permutation(len(pooled))
    shuffled = model.predict_samples(pooled, rows)
    assert np.array_equal(model.predict_samples(pooled, np.arange(len(pooled)))[rows], shuffled)
    for symbol in pooled.symbols:
        part = pooled.of(symbol)
        p = model.predict_samples(part, np.arange(len(part)))
        assert np.array_equal(model.predict_at(part.bars[symbol], part.bar_rows(symbol)), p)


def test_bars_with_further_volumes(fitted: BoostedTrees, samples: Samples) -> None:
    bars, rows = samples.bars[""], samples.bar_rows("")
    further = bars.assign(trades=100 * bars["volume"], taker_buy_volume=bars["volume"] / 2)
    assert len(indicators(further).columns) > len(indicators(bars).columns)
    assert np.array_equal(fitted.predict_at(further, rows), fitted.predict_at(bars, rows))
    taught = BoostedTrees(**QUICK | {"rounds": 2}).fit(make_samples(further))
    with pytest.raises(LearningError, match="taker_buy_share"):
        taught.predict_at(bars, rows)


def test_trees_are_stored_as_plain_data_and_loaded_the_same(
    samples: Samples, classes: Samples, tmp_path: Path
) -> None:
    for name, options, some in (("a", QUICK, samples), ("b", WINDOW, classes)):
        folder = tmp_path / name
        model = BoostedTrees(**options, folder=folder, seed=3).fit(some)
        assert json.loads((folder / TREES).read_text())["learner"]
        loaded = BoostedTrees.load(folder)
        rows = np.arange(len(some))
        expected = model.predict_samples(some, rows)
        assert np.array_equal(loaded.predict_samples(some, rows), expected)
        assert (loaded.classes_, loaded.lookback) == (model.classes_, model.lookback)
        assert (loaded.seed, loaded.name) == (3, "xgboost")
        assert loaded.gains().equals(model.gains())


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"{}", None, (b"best_iteration", b"best_iteratioo"),
                (b'"tree_param"', b'"tree_paran"'), (b"}]", b"\xb8]")],
)  # fmt: skip
def test_damaged_trees_are_named(content: Any, fitted: BoostedTrees, tmp_path: Path) -> None:
    path = tmp_path / "trees.json"
    if isinstance(content, tuple):
        content = bytes(fitted.booster_.save_raw("json")).replace(*content, 1)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LearningError, match=r"trees.json cannot be read"):
        BoostedTrees.load(path)


@pytest.mark.parametrize("options", [{"max_depth": -1}, {"max_depht": 3}, {"subsample": 2}])
def test_invalid_parameters_of_xgboost_are_named(
    options: dict[str, float], samples: Samples
) -> None:
    with pytest.raises(LearningError, match=next(iter(options))):
        BoostedTrees(rounds=3, trees=options).fit(samples)


def test_it_is_a_scikit_learn_estimator(fitted: BoostedTrees, samples: Samples) -> None:
    other = clone(fitted).set_params(seed=5)
    assert other.get_params() == fitted.get_params() | {"seed": 5}
    with pytest.raises(LearningError, match="not fitted"):
        other.predict(samples)


def test_one_class_cannot_be_learned(classes: Samples) -> None:
    constant = replace(classes, label=np.minimum(classes.label, 0))
    with pytest.raises(LearningError, match="1 of 3 classes"):
        BoostedTrees(**WINDOW).fit(constant)


# --- cross-sections -------------------------------------------------------------------------------

RANKED: dict[str, Any] = QUICK | {"trees": QUICK["trees"] | {"min_child_weight": 20}}


@pytest.mark.parametrize("objective", ["regression", "ranking"])
def test_trees_rank_symbols(objective: Any, ranked: Samples, tmp_path: Path) -> None:
    model = BoostedTrees(**RANKED, objective=objective, folder=tmp_path).fit(ranked)
    assert model.features_ == "cross_section"
    assert model.metrics_["rank_ic"] > 0.1
    table = check_predictions(model.predict(ranked), "predictions")
    val = table.query("split == 'val'").dropna(subset=["forward_return"])
    ic = rank_correlations(*(val[name].to_numpy() for name in ("score", "forward_return", "time")))
    assert model.metrics_["rank_ic"] == pytest.approx(ic.mean())
    every = model.predict_samples(ranked)
    some = np.random.default_rng(0).permutation(len(ranked))[:50]
    assert np.array_equal(model.predict_samples(ranked, some), every[some])
    assert np.array_equal(BoostedTrees.load(tmp_path).predict_samples(ranked), every)


def test_features_of_one_symbol_have_no_ranks(ranked: Samples) -> None:
    model = BoostedTrees(**RANKED | {"rounds": 2}).fit(ranked)
    with pytest.raises(LearningError, match=r"one symbol.*samples of all symbols"):
        model.predict_at(ranked.bars["A"])
    with pytest.raises(LearningError, match="one symbol"):
        model.predict_samples(ranked.of("A"))
    plain = BoostedTrees(**RANKED | {"rounds": 2}, features="indicators").fit(ranked)
    p = plain.predict_at(ranked.bars["B"], ranked.bar_rows("B"))
    assert np.array_equal(p, plain.predict_samples(ranked.of("B")))


def test_grades_are_the_quintiles_of_each_time(ranked: Samples) -> None:
    rows = ranked.labelled("train")[::-1]
    table = pd.DataFrame({"target": ranked.label})
    data = _matrix(table, ranked.label, rows, None, ranked.times)
    target, grades = data.get_data().toarray()[:, 0], data.get_label()
    groups = data.get_uint_info("group_ptr")
    assert len(groups) - 1 == len(np.unique(ranked.times[rows]))
    for first, end in itertools.pairwise(groups):
        assert sorted(grades[first:end]) == [0, 1, 2, 3, 4]
        assert np.array_equal(np.argsort(grades[first:end]), np.argsort(target[first:end]))


def test_objectives_of_labels(ranked: Samples, samples: Samples) -> None:
    halves = replace(ranked, definition=AboveMedian("15min")).with_split(ranked.split)
    scores = BoostedTrees(**RANKED).fit(halves).predict(halves)["score"]
    assert scores.between(0, 1).all()
    aims = {
        BoostedTrees(objective=name)._aim(of)["objective"]
        for of in (halves, ranked)
        for name in (None, "regression", "ranking")
    }
    assert aims == {"binary:logistic", "reg:squarederror", "rank:pairwise"}
    with pytest.raises(LearningError, match="objective=ranking for the classes down, up"):
        BoostedTrees(objective="ranking").fit(samples)


# --- weights of classes ---------------------------------------------------------------------------

THREE, COUNTS = ("none", "star", "hammer"), np.array([5, 2, 1])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    found = class_weights("balanced", THREE, COUNTS)
    label = np.repeat(np.arange(3), COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=label)
    np.testing.assert_allclose(found, expected)
    assert COUNTS @ np.array(found) == pytest.approx(COUNTS.sum())
    assert class_weights(None, THREE, COUNTS) is None
    assert class_weights([1, 2.5, 3], THREE, COUNTS) == [1.0, 2.5, 3.0]


@pytest.mark.parametrize(
    ("weights", "classes", "counts", "found"),
    [
        *((weights, THREE, COUNTS, "3 positive numbers")
          for weights in ([1, 2], [1, 2, 0], [1, 2, -1], [1, 2, np.nan], "even", [[1]])),
        ([1, 2], DIRECTIONS, [5, 2], "none for a direction"),
        ("balanced", DIRECTIONS, [5, 2], "none for a direction"),
        ("balanced", THREE, [5, 2, 0], "0 hammer"),
    ],
)  # fmt: skip
def test_other_weights_are_rejected(weights: Any, classes: Any, counts: Any, found: str) -> None:
    with pytest.raises(LearningError, match=found):
        class_weights(weights, classes, np.array(counts))
