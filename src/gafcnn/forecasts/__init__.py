"""Forecasts: the table that every model writes, their ensembles, and how good they were.

Nothing here knows what made a forecast, so every model is joined, combined and scored alike.
"""

from gafcnn.forecasts.classes import ClassScore, score_classes
from gafcnn.forecasts.ensemble import (
    ENSEMBLES,
    Combine,
    ensemble,
    fitted,
    mean_of_classes,
    two_stage,
)
from gafcnn.forecasts.joining import TWO_STAGE, average_seeds, join, probabilities
from gafcnn.forecasts.predictions import (
    COLUMNS,
    check_predictions,
    classes_of,
    probability_column,
    read_predictions,
    write_predictions,
)
from gafcnn.forecasts.scores import RowScores, Score, ScoreTable, score, score_rows, score_table

__all__ = [
    "COLUMNS",
    "ENSEMBLES",
    "TWO_STAGE",
    "ClassScore",
    "Combine",
    "RowScores",
    "Score",
    "ScoreTable",
    "average_seeds",
    "check_predictions",
    "classes_of",
    "ensemble",
    "fitted",
    "join",
    "mean_of_classes",
    "probabilities",
    "probability_column",
    "read_predictions",
    "score",
    "score_classes",
    "score_rows",
    "score_table",
    "two_stage",
    "write_predictions",
]
