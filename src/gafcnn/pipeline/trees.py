"""Learning by the baseline: technical indicators, rounds of trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from gafcnn.learning import Baseline
from gafcnn.market import Market, indicators
from gafcnn.pipeline.assembly import plain
from gafcnn.runs import TREES
from gafcnn.samples import LabelledSamples


class TreesLearner:
    """Boosted trees that learn from technical indicators.

    Args:
        cfg: `conf/train.yaml`, composed with `model=xgboost`.
        folder: The run's.
    """

    def __init__(self, cfg: DictConfig, folder: Path) -> None:
        self._seed, self._model, self._folder = cfg.seed, plain(cfg.model), folder

    def prepare(self, market: Market, samples: LabelledSamples) -> None:
        """Compute the features of every sample."""
        self._samples = samples
        self._features = features_of(market.bars, samples.times)

    def learn(self) -> NDArray[np.float64]:
        """Grow the trees; then P(up) of all samples of validation, then of test."""
        model = self._model
        self._baseline = Baseline.fit(
            self._features,
            self._samples,
            rounds=model["rounds"],
            patience=model["patience"],
            seed=self._seed,
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


def features_of(bars: pd.DataFrame, times: NDArray[np.datetime64]) -> pd.DataFrame:
    """The baseline's features at these decision times (UTC): a row each."""
    return indicators(bars).loc[pd.DatetimeIndex(times).tz_localize("UTC")]
