"""Judging: how sure a figure is, what it owes to luck, and where it comes from."""

from gafcnn.judging.bootstrap import Bootstrap, Estimate, block_length, difference, estimate
from gafcnn.judging.calibration import bins_of, expected_calibration_error, reliability
from gafcnn.judging.deflated import deflated_sharpe, expected_maximum, psr
from gafcnn.judging.figures import (
    Auc,
    Drawdown,
    Figure,
    MeanRatio,
    Ratio,
    Sharpe,
    Sortino,
    value_of,
)
from gafcnn.judging.ground import Ground
from gafcnn.judging.judge import Study, judge
from gafcnn.judging.pooled import judge_pooled
from gafcnn.judging.recognition import Recognition, judge_recognition
from gafcnn.judging.regimes import regimes
from gafcnn.judging.sentences import of_recognition, sentences
from gafcnn.judging.targets import TARGETS, Target, targets, verdict

__all__ = [
    "TARGETS",
    "Auc",
    "Bootstrap",
    "Drawdown",
    "Estimate",
    "Figure",
    "Ground",
    "MeanRatio",
    "Ratio",
    "Recognition",
    "Sharpe",
    "Sortino",
    "Study",
    "Target",
    "bins_of",
    "block_length",
    "deflated_sharpe",
    "difference",
    "estimate",
    "expected_calibration_error",
    "expected_maximum",
    "judge",
    "judge_pooled",
    "judge_recognition",
    "of_recognition",
    "psr",
    "regimes",
    "reliability",
    "sentences",
    "targets",
    "value_of",
    "verdict",
]
