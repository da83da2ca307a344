"""How good probabilities were: accuracy, AUC, log loss, Brier score, confusion matrix.

A score that cannot be computed is None (null in JSON), never 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn import metrics

from gafcnn.errors import PredictionsError

# float32 holds no probability between 1 - 6e-8 and 1: a sigmoid that rounds to 1 is not certainty
CLIP = 1e-7


class Score(TypedDict):
    """The scores of one column of probabilities, ready for JSON."""

    n: int
    """Rows."""
    accuracy: float | None
    """Share of rows whose direction was called; `p_up > 0.5` calls up, 0.5 itself calls down."""
    auc: float | None
    """P(a row that went up was given the higher probability); None with one class only."""
    log_loss: float | None
    """Mean of -ln(probability given to what came), probabilities clipped to [1e-7, 1 - 1e-7]."""
    brier: float | None
    """Mean squared distance of the probability from the outcome (Brier, 1950)."""
    majority: float | None
    """Share of the larger class: the accuracy of always calling it, known only afterwards."""
    confusion: list[list[int]]
    """Counts `[[down called down, down called up], [up called down, up called up]]`."""


class RowScores(TypedDict):
    """One model's scores on the rows that the label names, and on every row."""

    labelled: Score
    all: Score


class ScoreTable(TypedDict):
    """The scores of several models on the same rows."""

    models: dict[str, RowScores]


def score(p_up: ArrayLike, outcome: ArrayLike) -> Score:
    """Score probabilities against what came.

    Args:
        p_up: Probabilities of up, ndarray of shape (n,).
        outcome: 1 or True where it went up, 0 or False where not, ndarray of shape (n,).

    Raises:
        PredictionsError: The two differ in length, or a probability is no number from 0 to 1.
    """
    p, went_up = _checked(np.asarray(p_up, dtype=np.float64), np.asarray(outcome, dtype=bool))
    if not len(p):
        nothing = dict.fromkeys(("accuracy", "auc", "log_loss", "brier", "majority"))
        return Score(n=0, confusion=[[0, 0], [0, 0]], **nothing)
    called_up = p > 0.5
    return Score(
        n=len(p),
        accuracy=float(metrics.accuracy_score(went_up, called_up)),
        auc=auc(p, went_up),
        log_loss=_log_loss(p, went_up),
        brier=float(metrics.brier_score_loss(went_up, p, pos_label=True)),
        majority=float(max(went_up.mean(), 1 - went_up.mean())),
        confusion=metrics.confusion_matrix(went_up, called_up, labels=[False, True]).tolist(),
    )


def score_rows(frame: pd.DataFrame, model: str) -> RowScores:
    """Score one column of probabilities on labelled rows and on all rows.

    On labelled rows the outcome is the label; neutral ones are left out. On all rows it is
    `forward_return > 0`: a return of exactly 0 counts as down, since a long position earns
    nothing by it.

    Args:
        frame: Predictions, or predictions joined: columns `label`, `forward_return` and `model`.
        model: The column of probabilities.
    """
    labelled = frame["label"].notna().to_numpy()
    p = frame[model].to_numpy()
    label = frame["label"].fillna(0).to_numpy(dtype=np.int8)
    return RowScores(
        labelled=score(p[labelled], label[labelled]),
        all=score(p, frame["forward_return"].to_numpy() > 0),
    )


def score_table(frame: pd.DataFrame, models: Iterable[str]) -> ScoreTable:
    """Score several columns of probabilities on the same rows (see `score_rows`).

    Give it the rows to be judged: `score_table(joined[joined["split"] == "test"], [...])`.
    """
    return ScoreTable(models={name: score_rows(frame, name) for name in models})


def auc(p_up: NDArray[np.float64], went_up: NDArray[Any]) -> float | None:
    """Area under the ROC curve, by ranks (Mann and Whitney, 1947); None with one class only."""
    ups = int(np.count_nonzero(went_up))
    pairs = ups * (len(went_up) - ups)
    if not pairs:
        return None
    # scikit-learn's roc_auc_score draws the whole curve, which takes several times as long
    ranks = rankdata(p_up)[went_up == 1].sum()
    return float((ranks - ups * (ups + 1) / 2) / pairs)


def check_probabilities(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `p` if all of it are probabilities.

    Raises:
        PredictionsError: One is no number from 0 to 1.
    """
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        raise PredictionsError(
            f"{int(bad.sum()):,} of {p.size:,} probabilities are none, "
            f"the first is {p[bad][0]} at position {int(np.flatnonzero(bad)[0])}",
            expected="numbers from 0 to 1",
            instead="look for the model whose loss became NaN and train it again",
        )
    return p


def _log_loss(p_up: NDArray[np.float64], went_up: NDArray[np.bool_]) -> float:
    clipped = np.clip(p_up, CLIP, 1 - CLIP)
    return float(metrics.log_loss(went_up, clipped, labels=[False, True]))


def _checked(
    p_up: NDArray[np.float64], went_up: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if p_up.shape != went_up.shape:
        raise PredictionsError(
            f"there are {p_up.size:,} probabilities and {went_up.size:,} outcomes",
            expected="one probability for each outcome",
            instead="join them by symbol, time and fold with `join`",
        )
    return check_probabilities(p_up), went_up
