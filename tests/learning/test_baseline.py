"""The baseline: what it learns, when it stops, and that its files are plain data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from gafcnn.data.labels import NULL, Outcomes
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.splits import Split
from gafcnn.errors import LearningError
from gafcnn.models.boosted_trees import Baseline

OPTIONS = {"max_depth": 3, "learning_rate": 0.1}


def world(n: int = 3000, seed: int = 0) -> tuple[pd.DataFrame, LabelledSamples]:
    """Two features, one of which tells the direction with some noise; every fifth is neutral."""
    rng = np.random.default_rng(seed)
    features = pd.DataFrame(rng.normal(size=(n, 2)), columns=["telling", "mute"])
    label = (features["telling"] + rng.normal(size=n) > 0).to_numpy().astype(np.int8)
    label[::5] = NULL
    times = np.datetime64("2025-01-01", "ns") + np.arange(n) * np.timedelta64(1, "m")
    outcomes = Outcomes(np.where(label == 1, 0.01, -0.01), times + np.timedelta64(1, "s"))
    parts = np.split(np.arange(n), [n // 2, 3 * n // 4])
    return features, LabelledSamples(times, outcomes, label, Split(*parts), pd.Timedelta(0))


@pytest.fixture(scope="module")
def grown() -> tuple[Baseline, pd.DataFrame, LabelledSamples]:
    features, samples = world()
    return Baseline.fit(features, samples, **OPTIONS, rounds=400, patience=20), features, samples


def test_it_finds_what_is_there(grown: tuple[Baseline, pd.DataFrame, LabelledSamples]) -> None:
    baseline, features, samples = grown
    test = samples.labelled("test")
    p_up = baseline.predict(features.iloc[test])
    assert p_up.dtype == np.float64
    assert roc_auc_score(samples.label[test], p_up) > 0.75
    assert baseline.gains().index[0] == "telling"
    assert baseline.gains().sum() == pytest.approx(1)


def test_it_stops_where_validation_was_best(
    grown: tuple[Baseline, pd.DataFrame, LabelledSamples],
) -> None:
    baseline, features, samples = grown
    val = samples.labelled("val")
    rounds = baseline.booster.num_boosted_rounds()
    assert baseline.best + 1 + 20 == rounds < 400
    losses = [
        log_loss(samples.label[val], Baseline(baseline.booster, k).predict(features.iloc[val]))
        for k in range(rounds)
    ]
    assert int(np.argmin(losses)) == pytest.approx(baseline.best, abs=1)  # float32 ties
    assert min(losses) == pytest.approx(losses[baseline.best], abs=1e-6)


def test_neither_test_samples_nor_neutral_ones_are_learned_from() -> None:
    features, samples = world()
    first = Baseline.fit(features, samples, **OPTIONS, rounds=30)
    label = samples.label.copy()
    label[samples.split.test] = 1 - np.maximum(label[samples.split.test], 0)
    other = features.copy()
    other.iloc[::5] = 99.0
    other.iloc[samples.split.test] = -99.0
    changed = LabelledSamples(
        samples.times, samples.outcomes, label, samples.split, samples.embargo
    )
    second = Baseline.fit(other, changed, **OPTIONS, rounds=30)
    assert first.booster.save_raw("json") == second.booster.save_raw("json")


def test_the_same_seed_gives_the_same_trees_whatever_the_threads() -> None:
    features, samples = world()
    options = OPTIONS | {"subsample": 0.5, "colsample_bytree": 0.5, "rounds": 40}
    one, two, other = (
        Baseline.fit(features, samples, seed=seed, nthread=threads, **options).predict(features)
        for seed, threads in ((0, 1), (0, 2), (1, 2))
    )
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_missing_value_is_a_value() -> None:
    features, samples = world()
    features.iloc[::3, 0] = np.nan
    baseline = Baseline.fit(features, samples, **OPTIONS, rounds=40)
    assert np.isfinite(baseline.predict(features)).all()


def test_it_is_kept_as_plain_data_and_comes_back_the_same(
    grown: tuple[Baseline, pd.DataFrame, LabelledSamples], tmp_path: Path
) -> None:
    baseline, features, _ = grown
    baseline.save(tmp_path / "trees.json")
    assert json.loads((tmp_path / "trees.json").read_text())["learner"]
    again = Baseline.load(tmp_path / "trees.json")
    assert again.best == baseline.best
    assert again.predict(features).tobytes() == baseline.predict(features).tobytes()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"{}", None])
def test_a_file_without_trees_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "trees.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LearningError, match=r"trees.json cannot be read .*overwrite=true"):
        Baseline.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"}]", b"\xb8]"),  # which is no text, and quoted in the refusal
        (b"best_iteration", b"best_iteratioo"),
        (b'"tree_param"', b'"tree_paran"'),
    ],
)
def test_damaged_trees_are_named(tmp_path: Path, old: bytes, new: bytes) -> None:
    features, samples = world(600)
    path = tmp_path / "trees.json"
    Baseline.fit(features, samples, **OPTIONS, rounds=5, nthread=1).save(path)
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new, 1))
    with pytest.raises(LearningError, match=r"trees.json cannot be read .*overwrite=true"):
        Baseline.load(path)


def test_features_of_another_making_are_refused(
    grown: tuple[Baseline, pd.DataFrame, LabelledSamples],
) -> None:
    baseline, features, _ = grown
    with pytest.raises(LearningError, match="differ from those of the training in mute, strange"):
        baseline.predict(features.rename(columns={"mute": "strange"})[["telling", "strange"]])
    with pytest.raises(LearningError, match="in their order"):
        baseline.predict(features[["mute", "telling"]])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"max_depth": -1}, "max_depth"),
        ({"max_depht": 3}, "max_depht"),
        ({"subsample": 2}, "subsample"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(options: dict[str, float], found: str) -> None:
    with pytest.raises(LearningError, match=f"XGBoost refuses its parameters .*{found}"):
        Baseline.fit(*world(200), rounds=3, **options)


def test_one_class_is_nothing_to_learn() -> None:
    features, samples = world(200)
    label = np.where(samples.label == NULL, NULL, 1).astype(np.int8)
    lone = replace(samples, label=label)
    with pytest.raises(LearningError, match=r"train has \d+ labelled samples and 1 of two classes"):
        Baseline.fit(features, lone)


def of_three(n: int = 3000, seed: int = 0) -> tuple[pd.DataFrame, LabelledSamples]:
    """Three classes by a feature, the last of them rare; every seventh sample has no label."""
    features, samples = world(n, seed)
    label = np.digitize(features["telling"], [0.0, 1.5]).astype(np.int8)
    label[::7] = NULL
    named = features.rename(columns={"telling": "close[-1]", "mute": "close[0]"})
    return named, replace(samples, label=label, classes=("none", "star", "hammer"))


def test_several_classes_are_told_apart_and_their_probabilities_sum_to_one() -> None:
    features, samples = of_three()
    baseline = Baseline.fit(features, samples, **OPTIONS, rounds=30, nthread=1)
    test = samples.labelled("test")
    p = baseline.predict(features.iloc[test])
    assert p.shape == (len(test), 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert (p.argmax(axis=1) == samples.label[test]).mean() > 0.95
    val = samples.labelled("val")
    given = baseline.predict(features.iloc[val])[np.arange(len(val)), samples.label[val]]
    assert -np.log(given).mean() == pytest.approx(
        float(baseline.booster.attr("best_score") or "nan"), rel=1e-4
    )


def test_brackets_in_a_name_come_back_as_they_were(tmp_path: Path) -> None:
    features, samples = of_three(600)
    Baseline.fit(features, samples, **OPTIONS, rounds=5, nthread=1).save(tmp_path / "trees.json")
    again = Baseline.load(tmp_path / "trees.json")
    assert again.gains().index[0] == "close[-1]"
    assert again.predict(features).shape == (600, 3)
    with pytest.raises(LearningError, match=r"differ from those of the training in close\[0\], x"):
        again.predict(features.rename(columns={"close[0]": "x"}))


def test_weights_of_classes_are_weights_of_their_samples() -> None:
    features, samples = of_three()
    options = OPTIONS | {"rounds": 5, "max_depth": 1, "nthread": 1}
    plain, weighted, same = (
        Baseline.fit(features, samples, weights=weights, **options)
        for weights in (None, "balanced", [1.0, 1.0, 1.0])
    )
    rare = samples.label == 2
    p = [one.predict(features)[rare, 2].mean() for one in (plain, weighted)]
    assert p[1] > p[0] + 0.01
    assert same.predict(features).tobytes() == plain.predict(features).tobytes()


def test_several_classes_need_more_than_one_of_them() -> None:
    features, samples = of_three(400)
    lone = replace(samples, label=np.minimum(samples.label, 0).astype(np.int8))
    told = (
        r"train has \d+ labelled samples and 1 of 3 classes; expected several classes, none, star"
    )
    with pytest.raises(LearningError, match=told):
        Baseline.fit(features, lone)
