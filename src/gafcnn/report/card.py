"""The model card of an export: its files, how to use them, how they were evaluated, their limits.

Mitchell et al., "Model Cards for Model Reporting", FAT*, 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import yaml

from gafcnn.report.formatters import MISSING, format_of, load_template

FIGURES = ("accuracy", "auc", "log_loss", "brier", "balanced_accuracy", "macro_f1",
           "trades", "win_rate_gross", "net_bps", "sharpe")  # fmt: skip
"""The figures of a card, those that are known."""


def model_card(facts: Mapping[str, Any]) -> str:
    """Write the model card as Markdown.

    Args:
        facts: The content of metadata.json, see `gafcnn.app.export`. "trees" may be absent: by name
            the file, the seed, the fold and the features of exported trees; so may "ensembles": by
            name a description in one line.
    """
    validation = {
        f"{name}, {rows} rows": {figure: {"value": value} for figure, value in found.items()}
        for name, model in facts["models"].items()
        for rows, found in model["validation"].items()
    }
    dump = partial(yaml.safe_dump, sort_keys=False)
    return load_template("card.md.j2", cell=_cell, yaml=dump).render(
        {"trees": {}, "ensembles": {}, **facts},
        known_figures=lambda models: [
            name for name in FIGURES if any(name in found for found in models.values())
        ],
        estimate=_estimate,
        validation=validation,
    )


def _cell(value: object) -> str:
    """Return the text of a cell of a table."""
    return MISSING if value is None else str(value).replace("|", "\\|")


def _estimate(found: Mapping[str, Any], figure: str) -> str:
    """Return a figure with its interval, if it is known."""
    estimate, write = found.get(figure, {"value": None}), format_of(figure)
    if estimate.get("low") is None:
        return write(estimate["value"])
    return f"{write(estimate['value'])} [{write(estimate['low'])}, {write(estimate['high'])}]"
