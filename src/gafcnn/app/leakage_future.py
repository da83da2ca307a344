"""Whether anything that a study knows at `t` depends on what came after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from gafcnn.app.factory import load_samples, load_spec, load_window, made
from gafcnn.app.runs import Run
from gafcnn.app.studies import fold_of
from gafcnn.app.trees_learner import features_named, window_values
from gafcnn.data.bars import COLUMNS
from gafcnn.data.indicators import indicators
from gafcnn.data.labels import Direction
from gafcnn.data.samples import PARTS, LabelledSamples
from gafcnn.data.sources import Market
from gafcnn.data.windows import WindowReader
from gafcnn.models.boosted_trees import Baseline

EARLIER = 15  # decision times before t whose images and predictions are looked at beside t's
FACTORS = (0.5, 2.0)  # that prices and volumes are multiplied by

Known = dict[str, NDArray[Any]]
"""What is known of a symbol at and before a decision time, by what it is."""


class Audit:
    """What the models of a study, one run each, know at a decision time.

    Args:
        runs: A run of each model, by name; all of the same samples.
    """

    def __init__(self, runs: Mapping[str, Run]) -> None:
        self._models = {name: run.model() for name, run in runs.items()}
        self._configs = {name: OmegaConf.create(run.config) for name, run in runs.items()}
        self._config = next(iter(self._configs.values()))
        self._label = made(self._config.label)

    def samples(self, markets: Sequence[Market]) -> LabelledSamples:
        """The samples that the runs share."""
        return load_samples(self._config, markets)

    def known(self, markets: Sequence[Market]) -> Callable[[np.datetime64], list[Known]]:
        """What is known of each symbol at and before a time, if these are the bars."""
        samples = self.samples(markets)
        each = [self._known_of(market, samples.of(market.symbol)) for market in markets]
        return lambda t: [of_symbol(t) for of_symbol in each]

    def _known_of(
        self, market: Market, samples: LabelledSamples
    ) -> Callable[[np.datetime64], Known]:
        features = indicators(market.bars)

        def at(t: np.datetime64) -> Known:
            last = int(np.searchsorted(samples.times, t, side="right")) - 1
            times = samples.times[max(last - EARLIER, 0) : last + 1]
            rows = market.bars.index.get_indexer(pd.DatetimeIndex(times).tz_localize("UTC"))
            before = features.iloc[: rows[-1] + 1]
            return {
                "indicators": before.to_numpy(),
                **self._of_labels(samples, t),
                **self._of_models(market, before, rows),
            }

        return at

    def _of_labels(self, samples: LabelledSamples, t: np.datetime64) -> Known:
        membership = np.full(len(samples.times), -1, dtype=np.int8)
        for number, name in enumerate(PARTS):
            membership[samples.part(name)] = number
        fixed = isinstance(self._label, Direction)
        known_at_once = self._label.horizon == pd.Timedelta(0)
        # a barrier that is reached after t may free a sample from the purge, or leave it in
        settled = t if fixed else t - self._label.horizon.to_timedelta64()
        train = samples.split.train
        quantiles = self._label.thresholds(samples.outcomes, train) if fixed else ()
        return {
            "label quantiles": np.array(quantiles),
            "training labels": samples.label[train],
            "split membership": membership[samples.times <= settled],
            **({"labels": samples.label[samples.times <= t]} if known_at_once else {}),
        }

    def _of_models(self, market: Market, features: pd.DataFrame, rows: NDArray[np.int64]) -> Known:
        known: Known = {}
        for name, model in self._models.items():
            config = self._configs[name]
            if isinstance(model, Baseline):
                table = features.iloc[rows]
                if features_named(config) == "window":
                    table = window_values(config, market, rows)
                known[f"{name} predictions"] = model.predict(table)
                continue
            images = _images(config, market, rows)
            with torch.no_grad():
                logits = model(torch.from_numpy(images))
            known[f"{name} images"], known[f"{name} predictions"] = images, logits.numpy()
        return known


def alterations(
    runs: Mapping[str, Sequence[Run]],
    markets: Sequence[Market],
    moments: int,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Alter all bars of all symbols after random decision times, and count what changed before.

    The decision times are of all folds, as many of each, as far as they can be.

    Looked at are the image that each window encodes, the training labels and their quantiles, the
    indicators of all bars, which part of the split each sample is in, and each model's predictions.

    Args:
        runs: Of a study, by model; one of each is looked at, fold by fold.
        markets: The bars that they were made of.
        moments: How many decision times of validation and test to draw.
        seed: Of the draw, and of what bars are altered to.
        advance: Told when a moment is done, by 1.

    Returns:
        By what was looked at: after how many of the moments it was not the same to the last bit.
    """
    rng = np.random.default_rng(seed)
    changed: dict[str, int] = {}
    folds = by_fold(runs)
    for number, of_fold in enumerate(folds):
        audit = Audit(of_fold)
        samples, as_it_was = audit.samples(markets), audit.known(markets)
        judged = np.concatenate([samples.split.val, samples.split.test])
        count = moments * (number + 1) // len(folds) - moments * number // len(folds)
        for t in samples.times[rng.choice(judged, count, replace=count > len(judged))]:
            others = [Market(market.symbol, altered(market.bars, t, rng)) for market in markets]
            known, known_otherwise = as_it_was(t), audit.known(others)(t)
            for what in known[0]:
                differs = any(
                    ours[what].tobytes() != theirs[what].tobytes()
                    for ours, theirs in zip(known, known_otherwise, strict=True)
                )
                changed[what] = changed.get(what, 0) + differs
            if advance:
                advance(1)
    return changed


def by_fold(runs: Mapping[str, Sequence[Run]]) -> list[dict[str, Run]]:
    """One run of each model for each fold, of its last seed, in the order of the folds."""
    folds: dict[int | None, dict[str, Run]] = {}
    for name, found in runs.items():
        for run in found:
            folds.setdefault(fold_of(run), {})[name] = run
    return [folds[fold] for fold in sorted(folds, key=lambda fold: fold or 0)]


def altered(bars: pd.DataFrame, t: np.datetime64, rng: np.random.Generator) -> pd.DataFrame:
    """The bars, with every one after `t` at other prices and another volume."""
    other = bars.copy()
    after = bars.index.to_numpy("datetime64[ns]") > t
    other.loc[after, list(COLUMNS)] *= rng.uniform(*FACTORS, (int(after.sum()), 1))
    return other


def images_at(run: Run, market: Market, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """What the run's network is shown at these rows, scaled as it is shown it."""
    return _images(OmegaConf.create(run.config), market, rows)


def _images(config: DictConfig, market: Market, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    images = load_spec(config)
    read = WindowReader(market.bars, load_window(config, market), images.fields)
    return images.shown(read(rows))
