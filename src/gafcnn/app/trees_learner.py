"""Learning by the baseline: a table of features, rounds of trees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from gafcnn.app.factory import load_window, made, plain, train_weights
from gafcnn.app.runs import TREES
from gafcnn.data.augmentation import Drawn
from gafcnn.data.indicators import indicators
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.sources import Market
from gafcnn.data.windows import WindowReader, close_times
from gafcnn.models.boosted_trees import Baseline


class TreesLearner:
    """Boosted trees that learn from technical indicators, or from the values of a window.

    Args:
        cfg: `conf/train.yaml`, composed with `model=xgboost`.
        folder: The run's.
    """

    def __init__(self, cfg: DictConfig, folder: Path) -> None:
        self._cfg, self._model, self._folder = cfg, plain(cfg.model), folder

    def prepare(
        self, markets: Sequence[Market], samples: LabelledSamples, drawn: Sequence[Drawn] = ()
    ) -> None:
        """Compute the features of every sample, and what samples of each class count."""
        self._samples = samples
        self._weights = train_weights(self._cfg, samples, drawn)
        self._features = pd.concat(
            features_of(self._cfg, market, samples.of(market.symbol).times) for market in markets
        )
        self._extra = self._features_of_drawn(markets[0].symbol, drawn) if drawn else None

    def learn(self) -> NDArray[np.float64]:
        """Grow the trees; then predict all samples of validation, then of test."""
        model = self._model
        self._baseline = Baseline.fit(
            self._features,
            self._samples,
            rounds=model["rounds"],
            patience=model["patience"],
            seed=self._cfg.seed,
            weights=self._weights,
            extra=self._extra,
            **model["trees"],
        )
        self._baseline.save(self._folder / TREES)
        rows = np.concatenate([self._samples.split.val, self._samples.split.test])
        return self._baseline.predict(self._features.iloc[rows])

    def facts(self) -> dict[str, Any]:
        """What metrics.json says of the training."""
        return {
            "rounds": self._baseline.booster.num_boosted_rounds(),
            "best_round": self._baseline.best + 1,
            "features": self._features.shape[1],
            "gains": {name: float(gain) for name, gain in self._baseline.gains().items()},
        }

    def _features_of_drawn(
        self, symbol: str, drawn: Sequence[Drawn]
    ) -> tuple[pd.DataFrame, NDArray[np.int8]]:
        features = [
            features_of(self._cfg, Market(symbol, part.bars), close_times(part.bars)[part.rows])
            for part in drawn
        ]
        label = np.concatenate([part.label for part in drawn])
        return pd.concat(features, ignore_index=True), label


def features_named(cfg: DictConfig) -> Literal["indicators", "window"]:
    """What the baseline sees: as `model.features` says, or what suits the label.

    TA-Lib's patterns are among the indicators: they would tell a label of patterns itself.
    """
    if cfg.model.features:
        return cfg.model.features
    looks_ahead = made(cfg.label).horizon > pd.Timedelta(0)
    return "indicators" if looks_ahead else "window"


def features_of(cfg: DictConfig, market: Market, times: NDArray[np.datetime64]) -> pd.DataFrame:
    """The baseline's features at these decision times (UTC): a row each."""
    at = pd.DatetimeIndex(times).tz_localize("UTC")
    if features_named(cfg) == "indicators":
        return indicators(market.bars).loc[at]
    return window_values(cfg, market, market.bars.index.get_indexer(at))


def window_values(cfg: DictConfig, market: Market, rows: NDArray[np.int64]) -> pd.DataFrame:
    """The values of the window that ends at each of these rows of the bars, as a table.

    Columns are `close[-1]` for the point before the last, `close[0]` for the last; field by field.
    """
    fields = plain(cfg.images)["fields"]
    values = WindowReader(market.bars, load_window(cfg, market), fields)(rows)
    columns = [f"{field}[{k}]" for field in fields for k in range(1 - values.shape[-1], 1)]
    # XGBoost reads float32 anyway
    flat = values.reshape(len(rows), -1).astype(np.float32)
    return pd.DataFrame(flat, market.bars.index[rows], columns)
