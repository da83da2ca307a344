"""Audits of a study for look-ahead: splits, fitted parameters, predictions, images, the future."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.app.options import METHODS
from gafcnn.app.studies import Study
from gafcnn.data.bars import COLUMNS
from gafcnn.data.labels import DIRECTIONS, Direction
from gafcnn.data.samples import PARTS, Samples
from gafcnn.data.windows import WindowReader
from gafcnn.errors import PredictionsError, StoreError
from gafcnn.evaluation.ensembles import TWO_STAGE, combine
from gafcnn.evaluation.joining import join
from gafcnn.evaluation.predictions import prediction_table, probability_columns
from gafcnn.evaluation.test_set import TestSet
from gafcnn.evaluation.trading_rules import TradingRules
from gafcnn.images.store import MANIFEST, open_store, store_folder
from gafcnn.progress import counting

MOMENTS = 200  # random decision times after which all bars are altered
ROWS = 100  # rows of each run and images of each store that are computed again
EARLIER = 15  # decision times before an altered future that are looked at
SHOWN = 3  # faults that are listed
SEED = 0  # of all draws
TOLERANCE = 1e-5  # of a probability: another processor sums in another order
HALF = ("16-true", "bf16-true")
ROUGH = 5e-3  # of a probability that was computed by a GPU, or with half of float32's digits
STEPS = {"int8": 1.01 / 127, "float16": 1e-3, "float32": TOLERANCE}  # of a pixel in [-1, 1]

Receipt = dict[str, Any]


def receipts(
    study: Study,
    rules: TradingRules | None = None,
    methods: Sequence[str] = METHODS,
    moments: int = MOMENTS,
) -> Iterator[Receipt]:
    """Audit a study for look-ahead.

    Args:
        study: The study.
        rules: Rules by which thresholds are chosen; by default `TradingRules()`.
        methods: Names of the ensembles.
        moments: Number of decision times after which all bars are altered.

    Yields:
        For each audit its name, "receipt"; whether it "passed"; and what was "found".
    """
    yield parts_apart(study)
    if study.label.classes == DIRECTIONS:
        yield fitted_on_validation(study, rules or TradingRules(), methods)
    yield predicted_again(study)
    if (stored := images_again(study)) is not None:
        yield stored
    yield altered_future(study, moments)


def parts_apart(study: Study) -> Receipt:
    """Check that all labels of a part are known before a later part begins.

    The rows on disk must be those of the split; the embargo must have passed.
    """
    faults, nearest, minute = [], np.inf, np.timedelta64(1, "m")
    for fold in study.folds:
        samples = study.samples(fold)
        embargo = samples.embargo.to_timedelta64()
        for earlier, later in combinations(PARTS, 2):
            known = samples.outcomes.known_at[samples.part(earlier)].max()
            begins = samples.times[samples.part(later)].min()
            nearest = min(nearest, distance := (begins - known - embargo) / minute)
            if distance <= 0:
                one, two = (moment.astype("datetime64[m]") for moment in (known, begins))
                faults.append(f"{earlier} is known at {one} and {later} begins at {two} UTC")
        n, classes = len(samples.split.val) + len(samples.split.test), len(samples.classes)
        p = np.zeros(n) if samples.task == "direction" else np.full((n, classes), 1 / classes)
        rows = prediction_table(samples, p, "x", 0)
        for run in study.all_runs:
            try:
                if run.fold == fold:
                    join({str(run.folder): run.predictions, "the split": rows})
            except PredictionsError as error:
                faults.append(error.found)
    return _receipt(
        "parts of the split are apart",
        faults,
        "rows, labels and returns are those of the split, and all labels of a part are known "
        f"before a later part begins, with at least {nearest:g} min beyond the embargo",
    )


def fitted_on_validation(study: Study, rules: TradingRules, methods: Sequence[str]) -> Receipt:
    """Check that ensembles, two_stage and thresholds do not depend on test rows.

    Probabilities, labels and returns of one half of the test rows are altered, then of the other;
    all other combined rows must be equal to the last bit. For thresholds, all test rows are altered
    and all bars from the first of them on.
    """
    rng = np.random.default_rng(SEED)
    joined = join(study.members())
    asked = [*study.windows], [*methods, TWO_STAGE], study.baseline
    before = combine(joined, *asked).table
    models = [*study.runs, *before.columns.drop(joined.columns)]
    test = (joined["split"] == "test").to_numpy()
    half = test & (rng.random(len(joined)) < 0.5)
    faults: dict[str, None] = {}
    for rows in (half, test & ~half):
        after = combine(_with_other_rows(joined, rows, [*study.runs], rng), *asked).table
        for model in models:
            ours, others = (table[model].to_numpy()[~rows] for table in (before, after))
            if ours.tobytes() != others.tobytes():
                faults[f"{model} changed where no row was altered"] = None
    thresholds = 0
    for symbol, bars in study.bars.items():
        for _, rows in before.loc[before["symbol"] == symbol].groupby("fold", dropna=False):
            one = TestSet.of(rows, bars, study.horizon, rules)
            [fold] = one.folds
            begins = one.test["time"].min().to_datetime64()
            changed = altered(bars, begins - np.timedelta64(1, "ns"), rng)
            of_test = (rows["split"] == "test").to_numpy()
            other_rows = _with_other_rows(rows, of_test, models, rng)
            other = TestSet.of(other_rows, changed, study.horizon, rules)
            for model in models:
                thresholds += 1
                if one.choice(fold, model).threshold != other.choice(fold, model).threshold:
                    faults[f"the threshold of {model} changed"] = None
    return _receipt(
        "test rows altered",
        [*faults],
        "with other probabilities, labels and returns in the test rows, all other rows of the "
        f"ensembles and {thresholds:,} thresholds are equal to the last bit",
    )


def predicted_again(study: Study) -> Receipt:
    """Check that the predictions on disk are those of the models."""
    rng, faults, count, largest = np.random.default_rng(SEED), [], 0, 0.0
    for run in study.all_runs:
        table, model = run.predictions, run.model()
        some = table.iloc[np.sort(rng.permutation(len(table))[:ROWS])]
        on_gpu = run.metrics.get("device", "").startswith(("CUDA", "MPS"))
        rough = on_gpu or run.metrics.get("precision") in HALF
        for symbol, bars in study.bars.items():
            rows = some[some["symbol"] == symbol]
            times, written = pd.DatetimeIndex(rows["time"]), rows[[*probability_columns(table)]]
            found = model.predict_at(bars, bars.index.get_indexer(times))
            apart = np.abs(found.reshape(written.shape) - written.to_numpy()).max(axis=1, initial=0)
            count, largest = count + len(rows), max(largest, float(apart.max(initial=0.0)))
            what = f"{run.folder}: predictions of {symbol}"
            faults += _far(what, times, apart, ROUGH if rough else TOLERANCE)
    return _receipt(
        "predictions computed again",
        faults,
        f"{count:,} predictions on disk are those of the models, within {largest:.1g}",
    )


def images_again(study: Study) -> Receipt | None:
    """Check that stored images are those of the bars; None if none are stored."""
    rng, faults, count = np.random.default_rng(SEED), [], 0
    for name in study.windows:
        settings = study.runs[name][0].settings
        spec = settings.images.spec
        for symbol, bars in study.bars.items():
            folder = store_folder(settings.paths.data, symbol, settings.window)
            if not settings.images.stored or not (folder / MANIFEST).is_file():
                continue
            try:
                store = open_store(folder)
            except StoreError as error:
                faults.append(str(error))
                continue
            if not store.matches(bars, settings.window, spec):
                continue
            at = np.sort(rng.permutation(len(store.times))[:ROWS])
            times = pd.DatetimeIndex(store.times[at]).tz_localize("UTC")
            series = WindowReader(bars, settings.window, spec.fields)(bars.index.get_indexer(times))
            written = store.array[at].astype(np.float32) * spec.scale
            apart = np.abs(written - spec.shown(series)).reshape(len(at), -1).max(axis=1)
            count += len(at)
            faults += _far(f"{folder}: images", times, apart, STEPS[spec.dtype])
    found = f"{count:,} stored images are those of the bars"
    return _receipt("images computed again", faults, found) if count or faults else None


def altered_future(study: Study, moments: int = MOMENTS) -> Receipt:
    """Check that nothing known at a decision time changes with the bars after it.

    All bars of all symbols after random decision times are altered. Compared are the split, the
    training labels, and the predictions of each model at and before the decision time.
    """
    rng, folds = np.random.default_rng(SEED), study.folds
    faults: Counter[str] = Counter()
    with counting("altering the future", moments, "times") as advance:
        for fold, of_fold in zip(folds, np.array_split(range(moments), len(folds)), strict=True):
            settings = [run.settings for run in study.all_runs if run.fold == fold][-1]
            samples, bars = settings.samples(study.bars), study.bars
            runs = {k: next(r for r in of if r.fold == fold) for k, of in study.runs.items()}
            models = {name: run.model() for name, run in runs.items()}
            # trees predict each row by itself; the bits of a network depend on the whole batch
            once = {
                (name, symbol): models[name].predict_at(bars[symbol], samples.bar_rows(symbol))
                for symbol in bars
                for name, run in runs.items()
                if run.is_baseline
            }
            judged = np.concatenate([samples.split.val, samples.split.test])
            count = len(of_fold)
            for t in samples.times[rng.choice(judged, count, replace=count > len(judged))]:
                changed = {symbol: altered(frame, t, rng) for symbol, frame in bars.items()}
                ours = _known(samples, models, t, once)
                theirs = _known(settings.samples(changed), models, t, {})
                faults.update(k for k, v in ours.items() if v.tobytes() != theirs[k].tobytes())
                advance(1)
    return _receipt(
        "future altered",
        [f"{what} changed after {n} of {moments} decision times" for what, n in faults.items()],
        f"with all bars after each of {moments} random decision times altered, splits, training "
        "labels and predictions up to it are equal to the last bit",
    )


def _known(
    samples: Samples, models: Mapping[str, Any], t: np.datetime64, once: Mapping[Any, Any]
) -> dict[str, NDArray[Any]]:
    """Return what is known at a decision time, by its name; `once` has predictions of all rows."""
    label = samples.definition
    # a barrier that is reached after t may free a sample from the purge, or leave it in
    settled = t if isinstance(label, Direction) else t - samples.horizon.to_timedelta64()
    membership = np.full(len(samples), -1, dtype=np.int8)
    for number, name in enumerate(PARTS):
        membership[samples.part(name)] = number
    known = {
        "the split": membership[samples.times <= settled],
        "training labels": samples.label[samples.split.train],
    }
    if not samples.horizon:
        known["labels"] = samples.label[samples.times <= t]
    for symbol, bars in samples.bars.items():
        end = int(np.searchsorted(samples.of(symbol).times, t, side="right"))
        near = slice(max(0, end - EARLIER), end)
        rows = samples.bar_rows(symbol)[near]
        for name, model in models.items():
            p = once[name, symbol][near] if (name, symbol) in once else model.predict_at(bars, rows)
            known[f"predictions of {name}, {symbol}"] = p
    return known


def altered(bars: pd.DataFrame, t: np.datetime64, rng: np.random.Generator) -> pd.DataFrame:
    """Return the bars with other prices and volumes after `t`."""
    other, after = bars.copy(), bars.index.to_numpy("datetime64[ns]") > t
    other.loc[after, [*COLUMNS]] *= rng.uniform(0.5, 2.0, (int(after.sum()), 1))
    return other


def _with_other_rows(
    table: pd.DataFrame, rows: NDArray[np.bool_], columns: Sequence[str], rng: np.random.Generator
) -> pd.DataFrame:
    """Return the table with other probabilities, labels and returns in some of its rows."""
    other, n = table.copy(), int(rows.sum())
    other.loc[rows, [*columns]] = rng.random((n, len(columns)))
    other.loc[rows, "label"] = rng.integers(0, 2, n)
    other.loc[rows, "forward_return"] = rng.normal(0, 1e-2, n)
    return other


def _far(
    what: str, times: pd.DatetimeIndex, apart: NDArray[np.floating], allowed: float
) -> list[str]:
    """Return a fault if any of the values that were computed again is too far from the written."""
    far = ~(apart <= allowed)
    text = f"{what}: {far.sum()} of {len(far)} differ by up to {apart.max(initial=0):.1g}, first"
    return [f"{text} {times[far][0]:%Y-%m-%d %H:%M} UTC"] if far.any() else []


def _receipt(name: str, faults: Sequence[str], found: str) -> Receipt:
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    text = "; ".join(faults[:SHOWN]) + more if faults else found
    return {"receipt": name, "passed": not faults, "found": text}
