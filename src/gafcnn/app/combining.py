"""All forecasts of a study of directions side by side: its models', and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from gafcnn.app.runs import Run
from gafcnn.app.studies import baseline_of, member_of, windows_of
from gafcnn.evaluation.ensembles import ensemble, two_stage
from gafcnn.evaluation.joining import TWO_STAGE, join


def side_by_side(runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """The forecasts of each model, joined by what they are about."""
    return join({name: member_of(name, found) for name, found in runs.items()})


def combined(
    joined: pd.DataFrame, runs: Mapping[str, Sequence[Run]], methods: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Add the ensembles of the windows, and the two stages, to forecasts side by side.

    Args:
        joined: See `side_by_side`.
        runs: Of the study, by model.
        methods: Names of the ensembles.

    Returns:
        The table, and the names of all models in the order in which they are shown.
    """
    windows, baseline = windows_of(runs), baseline_of(runs)
    models = [*windows]
    if len(windows) > 1:
        joined = ensemble(joined, windows, methods)
        models += methods
    models.append(baseline)
    if windows:
        joined = two_stage(joined, baseline, windows)
        models.append(TWO_STAGE)
    return joined, models
