"""Out-of-fold forecasts, and offsets: what a second model needs to learn what a first has left.

A model's forecasts of its own training rows are far better than those of new rows, and a second
model that saw them would learn to trust them (Wolpert, "Stacked Generalization", Neural Networks,
1992). Out-of-fold forecasts of a training row are by a model of other training rows.

As an offset they are added to the output of a network (as in generalised linear models; McCullagh
and Nelder, 1989): log-odds for a probability, logarithms for those of several classes, and
forecasts of a continuous target as they are.
"""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.util import hash_pandas_object
from sklearn.base import clone

from gafcnn.data.samples import Samples
from gafcnn.data.splits import purged_blocks
from gafcnn.errors import ConfigError, LearningError
from gafcnn.evaluation.predictions import forecast_columns
from gafcnn.models.estimator import Estimator

SMALLEST = 1e-6  # probability: log-odds stay finite

log = logging.getLogger(__name__)


def out_of_fold(estimator: Estimator, samples: Samples, folds: int = 5) -> pd.DataFrame:
    """Forecast training rows by models that did not learn from them; for `GafClassifier.offset`.

    A clone of the estimator forecasts each of several blocks of time after a training on the other
    training rows, purged on both sides, the last of which are its validation. So no label of the
    block, nor of validation or test, has a part in its forecasts. Rows of validation and test are
    forecast by a clone that is fitted as always, and stops by the labels of validation.

    Args:
        estimator: `BoostedTrees` or a `GafClassifier`, which is not changed. With a `folder`, the
            clones write into it and its folders `block=0` and so on.
        samples: Samples.
        folds: Number of blocks.

    Returns:
        Frame with the columns `symbol`, `time` and those of the forecasts (`score`, `p_up` or
        `p_<class>`): all rows of train, validation and test, by symbol and time.

    Raises:
        ConfigError: `folds` is not a whole number above 1.
        LearningError: The estimator has an augmentation, which would draw from the bars of a block.
        SamplesError: There are too few training rows for as many blocks.
    """
    if not isinstance(folds, int) or folds < 2:
        raise ConfigError(f"folds={folds!r}", expected="2 or more", instead="set folds=5")
    if getattr(estimator, "augmentation", None) is not None:
        raise LearningError(
            "an estimator with augmentation, which draws samples from all training bars",
            expected="one that learns from samples only",
            instead="set augmentation=None",
        )
    times, known_at, split = samples.times, samples.outcomes.known_at, samples.split
    blocks = [*purged_blocks(times, known_at, split.train, folds, samples.embargo)]
    parts = [(f"block={k}", samples.with_split(of), of.test) for k, of in enumerate(blocks)]
    parts.append(("", samples, np.concatenate([split.val, split.test])))
    forecasts = []
    for place, part, rows in parts:
        log.info("out-of-fold forecasts %s: %s", place or "of val and test", part)
        model: Any = clone(estimator)
        if model.folder is not None:
            model.set_params(folder=Path(model.folder) / place)
        forecasts.append(model.fit(part).predict_samples(part, rows))
    rows, found = np.concatenate([rows for _, _, rows in parts]), np.concatenate(forecasts)
    columns = dict(zip(forecast_columns(samples.definition), np.atleast_2d(found.T), strict=True))
    keys = {"symbol": samples.symbol_of(rows), "time": pd.DatetimeIndex(times[rows], tz="UTC")}
    table = pd.DataFrame(keys | columns)
    return table.iloc[np.argsort(rows)].reset_index(drop=True)


class Offsets:
    """The offsets of samples, from `symbol`, `time` (UTC) and `p_up`, `score` or `p_<class>`.

    Further rows of the table are ignored.

    Raises:
        LearningError: A column is missing, or a symbol has two rows of the same time.
    """

    def __init__(self, table: pd.DataFrame, samples: Samples) -> None:
        columns = ["symbol", "time", *forecast_columns(samples.definition)]
        rows = table.filter(columns)
        if [*rows] != columns or rows.duplicated(columns[:2]).any():
            raise _invalid(f"a table of {', '.join(map(str, table))}", columns)
        self._columns, self._times = columns, pd.DatetimeIndex(samples.times, tz="UTC")
        self._names = samples.symbol_of(np.arange(len(samples)))
        keys = pd.DataFrame({"symbol": self._names, "time": self._times})
        moments: Any = pd.to_datetime(rows["time"], utc=True)
        rows = rows.assign(time=moments.astype(self._times.dtype))
        values = keys.merge(rows, "left")[columns[2:]].to_numpy()
        if samples.classes:
            p = np.where((values >= 0) & (values <= 1), values, np.nan)
            p = p.clip(SMALLEST, 1 - SMALLEST)
            values = np.log(p) if len(columns) > 3 else np.log(p / (1 - p))
        self._values = np.squeeze(values.astype(np.float32), axis=1 if len(columns) == 3 else ())

    def of(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the offsets of samples, shape (n,); for several classes (n, classes).

        A sample without a valid forecast raises a LearningError.
        """
        found = self._values[positions]
        missing = positions[~np.isfinite(found.reshape(len(found), -1)).all(axis=1)]
        for position in missing[:1]:
            first = f"{self._names[position]} {self._times[position]}".strip()
            text = f"no forecast for {len(missing):,} of {len(found):,} samples (first {first})"
            raise _invalid(text, self._columns)
        return found


def checksum(table: pd.DataFrame) -> int:
    """Return a number that tells one table of offsets from another."""
    hashes: Any = hash_pandas_object
    return zlib.crc32(hashes(table, index=False).to_numpy().tobytes())


def _invalid(found: str, columns: list[str]) -> LearningError:
    return LearningError(
        f"offset: {found}",
        expected=f"one row of {', '.join(columns)} for each labelled sample of train and val, and "
        "each that is predicted; probabilities from 0 to 1",
        instead="pass offset=gc.out_of_fold(estimator, samples)",
    )
