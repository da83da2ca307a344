"""Audits of a study for look-ahead: other test rows, and another future, must change nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.app.studies import Study
from gafcnn.data.bars import COLUMNS
from gafcnn.data.labels import DIRECTIONS, Direction
from gafcnn.data.market_columns import with_market
from gafcnn.data.samples import PARTS, Samples
from gafcnn.evaluation.ensembles import TWO_STAGE, combine
from gafcnn.evaluation.joining import join
from gafcnn.evaluation.test_set import TestSet, split_rows
from gafcnn.evaluation.trading_rules import TradingRules
from gafcnn.progress import counting

MOMENTS = 200  # random decision times after which all bars are altered
MOMENTS_OF_RANKING = 20  # the indicators of all symbols are computed at each of them
EARLIER = 15  # decision times before an altered future that are looked at
SHOWN = 3  # faults that are listed
SEED = 0  # of all draws

Receipt = dict[str, Any]


def receipts(
    study: Study, rules: TradingRules, methods: Sequence[str], moments: int = MOMENTS
) -> Iterator[Receipt]:
    """Audit a study for look-ahead, with the rules that choose thresholds and names of ensembles.

    All bars are altered after as many decision times as `moments`.

    Yields:
        For each audit its name, "receipt"; whether it "passed"; and what was "found".
    """
    if study.label.classes == DIRECTIONS:
        yield fitted_on_validation(study, rules, methods)
    yield altered_future(study, min(moments, MOMENTS_OF_RANKING) if study.is_ranking else moments)


def fitted_on_validation(study: Study, rules: TradingRules, methods: Sequence[str]) -> Receipt:
    """Check that ensembles, two_stage and thresholds do not depend on test rows.

    Probabilities, labels and returns of one half of the test rows are altered, then of the other;
    all other combined rows must be equal to the last bit. For thresholds, all test rows are altered
    and all bars from the first of them on.
    """
    rng = np.random.default_rng(SEED)
    joined = join(study.members())
    asked = [*study.windows], [*methods, TWO_STAGE], study.baseline
    before, *_ = combine(joined, *asked)
    models = [*study.runs, *before.columns.drop(joined.columns)]
    test = (joined["split"] == "test").to_numpy()
    half = test & (rng.random(len(joined)) < 0.5)
    faults: dict[str, None] = {}
    for rows in (half, test & ~half):
        after, *_ = combine(_with_other_rows(joined, rows, [*study.runs], rng), *asked)
        for model in models:
            ours, others = (table[model].to_numpy()[~rows] for table in (before, after))
            if ours.tobytes() != others.tobytes():
                faults[f"{model} changed where no row was altered"] = None
    thresholds = 0
    for symbol, bars in study.bars.items():
        for _, rows in before.loc[before["symbol"] == symbol].groupby("fold", dropna=False):
            one = TestSet(bars, *split_rows(rows), study.horizon, rules)
            [fold] = one.folds
            begins = one.test["time"].min().to_datetime64()
            changed = altered(bars, begins - np.timedelta64(1, "ns"), rng)
            of_test = (rows["split"] == "test").to_numpy()
            other_rows = _with_other_rows(rows, of_test, models, rng)
            other = TestSet(changed, *split_rows(other_rows), study.horizon, rules)
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


def altered_future(study: Study, moments: int) -> Receipt:
    """Check that nothing known at a decision time changes with the bars after it.

    All bars of all symbols after random decision times are altered. Compared are the split, the
    training labels, and the predictions of each model at and before the decision time.
    """
    specs = [run.settings.images.spec for run in study.all_runs]
    fields = [*dict.fromkeys(field for spec in specs for field in spec.read_fields)]
    any_offset = any(run.has_offset for run in study.all_runs)
    rng, folds = np.random.default_rng(SEED), study.folds
    faults: Counter[str] = Counter()
    with counting("altering the future", moments, "times") as advance:
        for fold, of_fold in zip(folds, np.array_split(range(moments), len(folds)), strict=True):
            settings = [run.settings for run in study.all_runs if run.fold == fold][-1]
            samples, bars = settings.samples(study.bars), study.bars
            audited = {k: of for k, of in study.runs.items() if not of[0].has_offset}
            runs = {k: next(r for r in of if r.fold == fold) for k, of in audited.items()}
            models = {name: run.model() for name, run in runs.items()}
            # trees predict each row by itself; the bits of a network depend on the whole batch
            once = {
                (name, symbol): models[name].predict_at(frame, samples.bar_rows(symbol))
                for symbol, frame in with_market(bars, fields).items()
                for name, run in runs.items()
                if run.is_baseline and samples.task != "ranking"
            }
            judged = np.concatenate([samples.split.val, samples.split.test])
            count = len(of_fold)
            for t in samples.times[rng.choice(judged, count, replace=count > len(judged))]:
                changed = {symbol: altered(frame, t, rng) for symbol, frame in bars.items()}
                ours = _known(samples, models, fields, t, once)
                theirs = _known(settings.samples(changed), models, fields, t, {})
                faults.update(k for k, v in ours.items() if v.tobytes() != theirs[k].tobytes())
                advance(1)
    return _receipt(
        "future altered",
        [f"{what} changed after {n} of {moments} decision times" for what, n in faults.items()],
        f"with all bars after each of {moments} random decision times altered, splits, training "
        "labels and predictions up to it are equal to the last bit"
        + "; networks with an offset are left out, as it is stored"
        * any_offset,
    )


def _known(
    samples: Samples,
    models: Mapping[str, Any],
    fields: Sequence[str],
    t: np.datetime64,
    once: Mapping[Any, Any],
) -> dict[str, NDArray[Any]]:
    """Return what is known at a decision time, by its name; `once` has predictions of all rows."""
    label = samples.definition
    # a barrier that is reached after t may free a sample from the purge, or leave it in
    waits: Any = pd.Series(samples.outcomes.known_at - samples.times)
    settled = t if isinstance(label, Direction) else t - waits.max().to_timedelta64()
    membership = np.full(len(samples), -1, dtype=np.int8)
    for number, name in enumerate(PARTS):
        membership[samples.part(name)] = number
    known = {
        "the split": membership[samples.times <= settled],
        "training labels": samples.label[samples.split.train],
    }
    if not samples.horizon:
        known["labels"] = samples.label[samples.times <= t]
    if samples.task == "ranking":  # a score may depend on all symbols
        times = np.unique(samples.times)
        near = times[: np.searchsorted(times, t, side="right")][-EARLIER:]
        rows = np.flatnonzero(np.isin(samples.times, near))
        scores = {name: model.predict_samples(samples, rows) for name, model in models.items()}
        return known | {f"predictions of {name}": score for name, score in scores.items()}
    for symbol, bars in with_market(samples.bars, fields).items():
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


def _receipt(name: str, faults: Sequence[str], found: str) -> Receipt:
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    text = "; ".join(faults[:SHOWN]) + more if faults else found
    return {"receipt": name, "passed": not faults, "found": text}
