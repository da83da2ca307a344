"""Whether what is on disk of a study is what its split, its bars and its models make of it now.

Each audit gives the faults that it found, a sentence each, and how much it looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from gafcnn.app.combining import combined, side_by_side
from gafcnn.app.factory import images_on_disk, load_samples
from gafcnn.app.leakage_future import altered, images_at
from gafcnn.app.runs import Run
from gafcnn.app.studies import Runs
from gafcnn.app.train import predictions_of
from gafcnn.app.trees_learner import features_of
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.sources import Market
from gafcnn.durations import parse_duration
from gafcnn.errors import PredictionsError, StoreError
from gafcnn.evaluation.joining import join
from gafcnn.evaluation.predictions import probability_columns
from gafcnn.evaluation.test_set import Ground
from gafcnn.evaluation.trading_rules import TradingRules
from gafcnn.models.boosted_trees import Baseline
from gafcnn.models.module import GafModule

ROWS = 100  # of a run, that its model is asked about again
TOLERANCE = 1e-5  # of a probability: another processor sums in another order
ROUNDED = 5e-3  # where float32 was rounded on the way: in TF32 by a GPU, or to half of it
STEPS = {"int8": 1.01 / 127, "float16": 1e-3, "float32": TOLERANCE}  # of a pixel in [-1, 1]

_HALF = ("bf16-true", "16-true")
_TICK = np.timedelta64(1, "ns")


@dataclass(frozen=True)
class Audited:
    """What an audit found.

    Attributes:
        faults: A sentence each.
        looked_at: How many there were to look at.
        most: The least distance, or the largest difference, that was found.
    """

    faults: list[str]
    looked_at: int
    most: float = 0.0


def parts_apart(runs: Runs, markets: Sequence[Market]) -> Audited:
    """That no part of a run's split knows a later one, of any symbols, and its rows are of it.

    Training is what the split makes of the bars, validation and test are the rows of the run's
    predictions.

    Returns:
        `most` is the shortest time, in seconds, from what is known of a part to a later one,
        less the embargo.
    """
    faults, nearest, samples_of = [], np.inf, _Samples(markets)
    for run in _every(runs):
        samples, rows = samples_of(run), run.predictions
        known: dict[str, Any] = {
            "train": _utc(samples.outcomes.known_at[samples.split.train].max())
        }
        begins: dict[str, Any] = {}
        for part in ("val", "test"):
            of_part = rows[rows["split"] == part]
            known[part], begins[part] = of_part["known_at"].max(), of_part["time"].min()
        for earlier, later in combinations(("train", *begins), 2):
            distance = begins[later] - known[earlier] - samples.embargo
            nearest = min(nearest, distance.total_seconds())
            if distance <= pd.Timedelta(0):
                faults.append(
                    f"{run.folder}: {earlier} is known at {known[earlier]:%Y-%m-%d %H:%M} and "
                    f"{later} begins at {begins[later]:%Y-%m-%d %H:%M} UTC"
                )
        faults += _other_rows(run, samples)
    return Audited(faults, len(_every(runs)), nearest)


def fitted_on_validation(
    runs: Runs,
    markets: Sequence[Market],
    methods: Sequence[str],
    rules: TradingRules,
    seed: int = 0,
) -> Audited:
    """That ensembles, two stages and thresholds are the same whatever the test rows are.

    Probabilities, labels and returns of one half of the test rows are altered, then of the other:
    what is combined of validation and of the other half has to stay the same to the last bit. For
    thresholds, of each fold and symbol, all test rows are altered and all bars from the first of
    them on.
    """
    rng = np.random.default_rng(seed)
    joined = side_by_side(runs)
    before, models = combined(joined, runs, methods)
    test = (joined["split"] == "test").to_numpy()
    half = test & (rng.random(len(joined)) < 0.5)
    changed: dict[str, None] = {}
    for rows in (half, test & ~half):
        after, _ = combined(_with_other_rows(joined, rows, [*runs], rng), runs, methods)
        for model in models:
            ours, theirs = (table[model].to_numpy()[~rows] for table in (before, after))
            if ours.tobytes() != theirs.tobytes():
                changed[f"{model} changed where no row was altered"] = None
    horizon = parse_duration("label.horizon", _every(runs)[0].config["label"]["horizon"])
    grounds = 0
    for market in markets:
        its_rows = before.loc[before["symbol"] == market.symbol]
        for _, rows in its_rows.groupby("fold", dropna=False):
            grounds += 1
            ground = Ground.of(rows, market.bars, horizon, rules)
            (fold,) = ground.folds
            begins = ground.test["time"].min().to_datetime64()
            bars = altered(market.bars, begins - _TICK, rng)
            its_test = (rows["split"] == "test").to_numpy()
            other = Ground.of(_with_other_rows(rows, its_test, models, rng), bars, horizon, rules)
            for model in models:
                if ground.choice(fold, model).threshold != other.choice(fold, model).threshold:
                    changed[f"the threshold of {model} changed"] = None
    return Audited([*changed], grounds * len(models))


def predicted_again(runs: Runs, markets: Sequence[Market], seed: int = 0) -> Audited:
    """That the probabilities in a run's file are those that its model gives of the bars.

    Returns:
        `most` is the largest difference of a probability.
    """
    rng = np.random.default_rng(seed)
    faults, looked_at, largest = [], 0, 0.0
    for run in _every(runs):
        table = run.predictions
        some = table.iloc[np.sort(rng.permutation(len(table))[:ROWS])]
        model = run.model()
        for market in markets:
            rows = some[some["symbol"] == market.symbol]
            written = rows[list(probability_columns(table))].to_numpy()
            now = _predicted(run, model, market, rows["time"].to_numpy("datetime64[ns]"))
            apart = np.abs(now.reshape(written.shape) - written).max(axis=1, initial=0.0)
            looked_at += len(rows)
            largest = max(largest, float(apart.max(initial=0.0)))
            if (far := ~(apart <= tolerance_of(run))).any():
                faults.append(
                    f"{run.folder}: {far.sum()} of {len(rows)} rows of {market.symbol} are up to "
                    f"{apart.max():.1g} from what the model gives, first "
                    f"{rows['time'][far].iloc[0]:%Y-%m-%d %H:%M} UTC"
                )
    return Audited(faults, looked_at, largest)


def stored_again(runs: Runs, markets: Sequence[Market], data: str, seed: int = 0) -> Audited:
    """That images on disk are those that the bars give; of series, that theirs are.

    A step of the pixels' dtype is let pass, as another processor may round a half elsewhere.

    Args:
        runs: Of the study, by model.
        markets: Its bars.
        data: The folder under which stores lie.
        seed: Of the images that are looked at.

    Returns:
        `looked_at` is 0 where nothing is on disk of the runs' images.
    """
    rng = np.random.default_rng(seed)
    faults, looked_at = [], 0
    for run in _one_of_each_window(runs):
        config = OmegaConf.create(run.config | {"paths": {"data": data}})
        for market in markets:
            try:
                source = images_on_disk(config, market)
            except StoreError as error:
                faults.append(str(error))
                continue
            if source is None:
                continue
            positions = np.sort(rng.permutation(len(source.times))[:ROWS])
            there = source.to_images(torch.from_numpy(source.sent(source.read(positions)))).numpy()
            made = images_at(run, market, _rows_of(market, source.times[positions]))
            step = STEPS[config.images.dtype]
            apart = np.abs(there - made).reshape(len(positions), -1).max(axis=1)
            looked_at += len(positions)
            if (far := ~(apart <= step)).any():
                faults.append(
                    f"{source.folder}: {far.sum()} of {len(positions)} images are not those of the "
                    f"bars, first {_utc(source.times[positions][far][0]):%Y-%m-%d %H:%M} UTC"
                )
    return Audited(faults, looked_at)


def tolerance_of(run: Run) -> float:
    """How far a probability of the run may be from the same on this machine's CPU."""
    by_gpu = run.metrics.get("device", "").startswith(("CUDA", "MPS"))
    return ROUNDED if by_gpu or run.metrics.get("precision") in _HALF else TOLERANCE


def _every(runs: Runs) -> list[Run]:
    return [run for found in runs.values() for run in found]


def _one_of_each_window(runs: Runs) -> Iterator[Run]:
    return (found[0] for found in runs.values() if not found[0].is_baseline)


class _Samples:
    """The samples of runs, made once for all that share them."""

    def __init__(self, markets: Sequence[Market]) -> None:
        self._markets, self._known = markets, {}

    def __call__(self, run: Run) -> LabelledSamples:
        asked = (run.config["label"], run.config["split"], run.config["window"]["lookback"])
        key = json.dumps(asked, sort_keys=True)
        if key not in self._known:
            self._known[key] = load_samples(OmegaConf.create(run.config), self._markets)
        return self._known[key]


def _other_rows(run: Run, samples: LabelledSamples) -> list[str]:
    """How the rows of a run's file differ from what the split and the bars say of them."""
    n = len(samples.split.val) + len(samples.split.test)
    nothing = np.zeros(n)
    if len(columns := probability_columns(run.predictions)) > 1:
        nothing = np.eye(len(columns))[np.zeros(n, dtype=int)]
    expected = predictions_of(OmegaConf.create(run.config), samples, nothing)
    try:
        join({f"{run.folder}": run.predictions, "the bars": expected})
    except PredictionsError as error:
        return [error.found]
    return []


def _with_other_rows(
    table: pd.DataFrame,
    rows: NDArray[np.bool_],
    columns: Sequence[str],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The table with other probabilities, labels and returns in some of its rows."""
    other, n = table.copy(), int(rows.sum())
    other.loc[rows, list(columns)] = rng.random((n, len(columns)))
    other.loc[rows, "label"] = rng.integers(0, 2, n)
    other.loc[rows, "forward_return"] = rng.normal(0, 1e-2, n)
    return other


def _predicted(
    run: Run, model: GafModule | Baseline, market: Market, times: NDArray[np.datetime64]
) -> NDArray[np.float64]:
    """What a run's model gives at these decision times: as `probability_columns`."""
    if isinstance(model, Baseline):
        return model.predict(features_of(OmegaConf.create(run.config), market, times))
    images = torch.from_numpy(images_at(run, market, _rows_of(market, times)))
    with torch.no_grad():
        return model.predict_step((images, torch.empty(0)), 0).double().numpy()


def _rows_of(market: Market, times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    return market.bars.index.get_indexer(pd.DatetimeIndex(times).tz_localize("UTC"))


def _utc(moment: np.datetime64) -> Any:
    return pd.Timestamp(moment, tz="UTC")
