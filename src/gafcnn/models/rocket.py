"""A rival of images: ridge regression on features of thousands of convolutions (MiniRocket).

Dempster, Schmidt and Webb, "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time
Series Classification", KDD, 2021.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from gafcnn.atomic_io import write_bytes
from gafcnn.data.features import relative_to_last
from gafcnn.data.samples import Samples
from gafcnn.data.windows import Window
from gafcnn.errors import ConfigError, LearningError
from gafcnn.images.spec import checked_series
from gafcnn.kernels import compiled
from gafcnn.models.estimator import DESCRIPTION, Estimator, Part

ROCKET = "checkpoints/rocket.npz"
TAPS = np.array([*combinations(range(9), 3)])
"""The places of the weight 2 in each of the 84 kernels, shape (84, 3); the other six are -1."""

_BLOCK = 1024  # samples whose features are in memory at a time
_CONSTANT = 1e-12  # variance of a feature that rounding alone makes

Floats, Floats32, Integers = NDArray[np.float64], NDArray[np.float32], NDArray[np.int64]


class MiniRocketParameters(NamedTuple):
    """Dilations, features of a kernel with each of them, and biases, shape (fields, features)."""

    dilations: Integers
    counts: Integers
    biases: Floats32


@compiled
def convolve(series: Floats32, dilation: int, outputs: Floats32) -> None:
    """Convolve a series with the 84 kernels, zeros beyond its ends: outputs of (84, points)."""
    points = len(series)
    total, tripled = np.zeros(points, np.float32), np.zeros((9, points), np.float32)
    for place in range(9):
        shift = (place - 4) * dilation
        for t in range(max(0, -shift), points - max(0, shift)):
            total[t] += series[t + shift]
            tripled[place, t] = np.float32(3) * series[t + shift]
    for k in range(len(TAPS)):
        a, b, c = TAPS[k]
        for t in range(points):
            outputs[k, t] = tripled[a, t] + tripled[b, t] + tripled[c, t] - total[t]


@compiled
def pool(
    series: Floats32, dilations: Integers, counts: Integers, biases: Floats32, result: Floats32
) -> None:
    """Fill a result of shape (n, fields, features) with the shares of outputs above the biases.

    Every other pair of dilation and kernel leaves out the outputs that read beyond the ends.
    """
    points = series.shape[2]
    outputs = np.empty((len(TAPS), points), np.float32)
    for i, f in np.ndindex(series.shape[:2]):
        feature = 0
        for d in range(len(dilations)):
            convolve(series[i, f], dilations[d], outputs)
            for k in range(len(TAPS)):
                edge = 4 * dilations[d] if (d + k) % 2 else 0
                for _ in range(counts[d]):
                    above = np.int32(0)  # faster than int64
                    for t in range(edge, points - edge):
                        above = np.int32(above + (outputs[k, t] > biases[f, feature]))
                    result[i, f, feature] = above / (points - 2 * edge)
                    feature += 1


def fit_minirocket(series: ArrayLike, features: int = 9996, seed: int = 0) -> MiniRocketParameters:
    """Choose dilations, up to the length of the series, and biases: quantiles of random outputs.

    Training series have shape (n, points) or (n, fields, points). The features of all fields are
    rounded down to a multiple of 84 for each. The seed is that of the series that biases come from.

    Raises:
        ConfigError: The series have fewer than nine points.
        ImagesError: A value is not finite.
    """
    values = checked_series(series).astype(np.float32)
    n, fields, points = values.shape
    if points < 9:
        raise ConfigError(
            f"the series have {points} points",
            expected="9 or more, the length of a kernel",
            instead='use a longer window, such as gc.Window(points=64, step="30min")',
        )
    kernels, per_kernel = len(TAPS), max(features // (len(TAPS) * fields), 1)
    most = min(per_kernel, 32)
    powers = 2 ** np.linspace(0, math.log2((points - 1) / 8), most)
    dilations, counts = np.unique(powers.astype(np.int64), return_counts=True)
    counts = counts * per_kernel // most
    counts[: per_kernel - counts.sum()] += 1
    golden = np.arange(1, kernels * per_kernel + 1) * (math.sqrt(5) + 1) / 2 % 1
    quantiles = np.split(golden, np.repeat(counts, kernels).cumsum()[:-1])
    examples = np.random.default_rng(seed).integers(n, size=(fields, len(quantiles)))
    outputs, biases = np.empty((kernels, points), np.float32), list[NDArray[Any]]()
    for f, pair in np.ndindex(examples.shape):
        convolve(values[examples[f, pair], f], dilations[pair // kernels], outputs)
        biases.append(np.quantile(outputs[pair % kernels], quantiles[pair]))
    held = np.concatenate(biases).astype(np.float32).reshape(fields, -1)
    return MiniRocketParameters(dilations, counts, held)


def transform_minirocket(series: ArrayLike, parameters: MiniRocketParameters) -> Floats32:
    """Return the features of series as in `fit_minirocket`: shape (n, features), in [0, 1]."""
    values = checked_series(series).astype(np.float32)
    result = np.empty((len(values), *parameters.biases.shape), np.float32)
    threads: int = numba.config.NUMBA_NUM_THREADS  # pyright: ignore
    parts = (np.array_split(one, threads) for one in (values, result))
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(lambda some, into: pool(some, *parameters, into), *parts))
    return result.reshape(len(values), -1)


def fit_ridge(
    read: Callable[[Integers], NDArray[Any]], targets: Floats, alphas: Sequence[float]
) -> tuple[Floats, Floats]:
    """Fit linear regressions with a penalty on their weights.

        sum_i |y_i - b - w z_i|^2 + alpha n |w|^2        z: features, mean 0 and sd 1 over n rows

    Two float64 matrices are in memory, of features x features or, with fewer rows than features, of
    rows x rows (and then all features).

    Args:
        read: Returns the features of rows, given their numbers; read twice, block by block.
        targets: Shape (n, outputs).
        alphas: Penalties.

    Returns:
        Weights of features as read, shape (alphas, features, outputs), and intercepts.
    """
    # Cholesky: nine factors take less time than eigenvectors, and half of their memory
    from scipy.linalg import cho_factor, cho_solve, get_blas_funcs

    dsyrk: Any = get_blas_funcs("syrk", dtype=np.float64)
    n, p, level = len(targets), read(np.arange(1)).shape[1], targets.mean(axis=0)
    blocks, moments = np.split(np.arange(n), range(_BLOCK, n, _BLOCK)), np.zeros((2, p))
    for rows in blocks:
        features = read(rows).astype(np.float64)
        moments += features.sum(axis=0), (features**2).sum(axis=0)
    mean, variance = moments[0] / n, moments[1] / n - (moments[0] / n) ** 2
    scale = np.sqrt(np.where(variance > _CONSTANT, variance, 1.0))
    few, z = n < p, mean
    gram, right = np.zeros((min(n, p),) * 2, order="F"), np.zeros((p, targets.shape[1]))
    for rows in [np.arange(n)] if few else blocks:  # then z has all rows
        z = (read(rows) - mean) / scale
        gram = dsyrk(1.0, z.T, beta=1.0, c=gram, trans=few, lower=True, overwrite_c=True)
        right += z.T @ (targets[rows] - level)
    weights = np.empty((len(alphas), *right.shape))
    for held, alpha in zip(weights, alphas, strict=True):
        penalised = gram.copy(order="F")
        penalised[np.diag_indices(len(gram))] += alpha * n
        factor = cho_factor(penalised, lower=True, overwrite_a=True, check_finite=False)
        held[:] = z.T @ cho_solve(factor, targets - level) if few else cho_solve(factor, right)
    weights /= scale[:, None]
    return weights, level - mean @ weights


@dataclass(eq=False, repr=False)
class MiniRocket(Estimator):
    """Ridge regression on MiniRocket's features of the series of a window.

    A ranking is a regression on the target. A direction, and each class against the others, is one
    on 1 and -1, whose scores become probabilities by a logistic regression on the validation
    samples (Platt, "Probabilistic Outputs for Support Vector Machines", 1999).

    Args:
        window: The window whose series are transformed, of nine points or more.
        fields: Fields of the window, which share the features evenly; each is transformed alone.
        scaling: "fixed" takes prices as logarithms relative to the last point, and other fields as
            they are, so that volatility stays visible. "per_field" gives each series mean 0 and
            standard deviation 1, as is usual; a constant one is 0.
        features: Number of features, rounded down to a multiple of 84 for each field.
        alphas: Penalties, see `fit_ridge`, of which the one with the lowest mean squared error on
            the validation samples is used.
        seed: Seed of the series that biases come from.
        folder: Folder to write `checkpoints/rocket.npz` to; None writes nothing.
        name: Name in the predictions table.

    Attributes:
        transform_: The `MiniRocketParameters`.
        weights_, intercept_: Those of the features, shapes (features, outputs) and (outputs,).
        classes_: Names of the classes.
        metrics_: Scores on the labelled validation samples.
        facts_: Number of features, the alpha used, and its mean squared error on validation.
    """

    window: Window | str | Mapping[str, Any] = "30m"
    _: KW_ONLY
    fields: Sequence[str] = ("close",)
    scaling: Literal["per_field", "fixed"] = "fixed"
    features: Annotated[int, Field(ge=len(TAPS), strict=True)] = 9996
    alphas: Sequence[Annotated[float, Field(ge=1e-9)]] = tuple(10.0**k for k in range(-3, 6))
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    folder: str | Path | None = None
    name: str | None = "minirocket"
    transform_: MiniRocketParameters = field(init=False)
    weights_: Floats = field(init=False)
    intercept_: Floats = field(init=False)

    class_weights = augmentation = None
    _file = ROCKET

    def fit(self, samples: Samples, y: None = None) -> Self:
        """Fit the transform and the regressions to labelled training samples; return the estimator.

        Raises:
            ConfigError: A parameter is invalid, or the window has fewer than nine points.
            LearningError: A part lacks classes.
            ImagesError: A value of a field is unknown.
        """
        self.check(samples, y)
        description = self._describe(samples)
        _, labels, train, _ = self._draw(samples)
        val, source = samples.labelled("val"), self._source(samples)
        targets = labels[:, None].astype(np.float64)
        if samples.task != "ranking":
            each = [1] if samples.task == "direction" else range(len(samples.classes))
            targets = np.where(targets == np.array(each), 1.0, -1.0)
        found = self.transform_ = fit_minirocket(source[train], self.features, self.seed)
        weights, intercepts = fit_ridge(
            lambda rows: transform_minirocket(source[train[rows]], found),
            targets[train],
            self.alphas,
        )
        scores = self._linear(source, val, weights) + intercepts[:, None]
        errors = np.square(scores - targets[val]).mean(axis=(1, 2))
        best = int(errors.argmin())
        self.weights_, self.intercept_ = weights[best], intercepts[best]
        if samples.task != "ranking":
            slope, level = _logistic(scores[best], labels[val], samples.classes)
            self.weights_, self.intercept_ = weights[best] @ slope, intercepts[best] @ slope + level
        self.classes_, alpha, mse = samples.classes, float(self.alphas[best]), float(errors[best])
        self.facts_ = {"features": len(self.weights_), "alpha": alpha, "mse": mse}
        if self.folder is not None:
            arrays: dict[str, Any] = {"weights": self.weights_, "intercept": self.intercept_}
            arrays |= self.transform_._asdict() | {DESCRIPTION: json.dumps(description)}
            np.savez(file := io.BytesIO(), **arrays)
            write_bytes(Path(self.folder) / ROCKET, file.getvalue())
        self._score(samples, self._predict(source, val), "features")
        return self

    @classmethod
    def _stored(cls, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            held: dict[str, Any] = dict(file)
        stored = json.loads(str(held.pop(DESCRIPTION)))
        fitted = {"weights_": held.pop("weights"), "intercept_": held.pop("intercept")}
        return stored, {**fitted, "transform_": MiniRocketParameters(**held)}

    @property
    def _fields(self) -> tuple[str, ...]:
        return tuple(self.fields)

    def _read(self, parts: Sequence[Part]) -> Floats32:
        """Return the scaled series of rows of bars: shape (n, fields, points)."""
        values = self._series(parts, self.fields)
        if self.scaling == "fixed":
            return relative_to_last(values, self.fields).astype(np.float32)
        spread = values.std(axis=2, keepdims=True)
        spread[np.ptp(values, axis=2, keepdims=True) == 0] = np.inf  # rounding moves their mean
        return ((values - values.mean(axis=2, keepdims=True)) / spread).astype(np.float32)

    def _linear(self, source: Floats32, positions: Integers, weights: Floats) -> Floats:
        """Return the features at these positions times weights, shape (..., features, outputs)."""
        blocks = np.split(positions, range(_BLOCK, len(positions), _BLOCK))
        found = [transform_minirocket(source[at], self.transform_) @ weights for at in blocks]
        return np.concatenate(found, axis=-2)

    def _predict(self, source: Floats32, positions: Integers) -> Floats:
        from scipy.special import expit, softmax

        scores = self._linear(source, positions, self.weights_) + self.intercept_
        if scores.shape[1] > 1:
            return softmax(scores, axis=1)
        return scores[:, 0] if self._description["task"] == "ranking" else expit(scores[:, 0])


def _logistic(scores: Floats, label: NDArray[Any], classes: Sequence[str]) -> tuple[Floats, Floats]:
    """Return slopes, shape (outputs, outputs), and intercepts of a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    if missing := [name for k, name in enumerate(classes) if k not in label]:
        raise LearningError(
            f"val has no sample of {', '.join(missing)}",
            expected="labelled validation samples of each class, for probabilities",
            instead="use more bars, or a larger split.val",
        )
    spread = np.where(scores.std(axis=0) > 0, scores.std(axis=0), 1.0)
    model = LogisticRegression(max_iter=1000).fit(scores / spread, label)
    return (model.coef_ / spread).T, model.intercept_
