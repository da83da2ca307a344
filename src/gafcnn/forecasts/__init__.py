"""Forecasts: the table that every model writes, their ensembles, and how good they were.

Nothing here knows what made a forecast, so every model is joined, combined and scored alike.
"""

from gafcnn.forecasts.ensemble import ENSEMBLES, TWO_STAGE, average_seeds, ensemble, join, two_stage
from gafcnn.forecasts.predictions import (
    COLUMNS,
    check_predictions,
    read_predictions,
    write_predictions,
)
from gafcnn.forecasts.scores import RowScores, Score, ScoreTable, score, score_rows, score_table

__all__ = [
    "COLUMNS",
    "ENSEMBLES",
    "TWO_STAGE",
    "RowScores",
    "Score",
    "ScoreTable",
    "average_seeds",
    "check_predictions",
    "ensemble",
    "join",
    "read_predictions",
    "score",
    "score_rows",
    "score_table",
    "two_stage",
    "write_predictions",
]
