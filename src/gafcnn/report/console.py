"""The judgement on the console: a table of all models, and the verdict in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import IO, Any

from rich import box
from rich.console import Console
from rich.table import Table

from gafcnn.evaluation.ensembles import ENSEMBLES
from gafcnn.report.formatters import count, fine, form_of, form_of_target, percent
from gafcnn.report.palette import ORACLE

WIDTH = 110
COLUMNS = {
    "accuracy": "all rows\naccuracy",
    "auc": "\nAUC",
    "log_loss": "\nlog loss",
    "accuracy_labelled": "labelled\naccuracy",
    "auc_labelled": "\nAUC",
    "trades": "\ntrades",
    "win_rate_gross": "gross\nwin rate",
    "net_bps": "net\nbps",
    "sharpe": "\nSharpe",
}


def table(judgement: Mapping[str, Any], title: str | None = None) -> Table:
    """Make one line per model: its scores on all rows and on labelled ones, and what it traded.

    Models stand in the order of the judgement, a rule between single models, ensembles and the
    oracle. The last line, `no skill`, is what the best constant forecast scores on these rows:
    always the larger class, at its own share as the probability. An accuracy below it is worth
    nothing.

    Args:
        judgement: What metrics.json holds; `models` and `classes` are read.
        title: A line above.
    """
    lines = Table(
        title=title, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left",
        collapse_padding=True,
    )  # fmt: skip
    lines.add_column("\nmodel", no_wrap=True)
    lines.add_column("\nrows", justify="right", no_wrap=True)
    for heading in COLUMNS.values():
        lines.add_column(heading, justify="right", no_wrap=True)
    models, classes = judgement["models"], judgement["classes"]
    for names in groups(models):
        for name in names:
            lines.add_row(name, *_cells(models[name]))
        lines.add_section()
    if models:
        lines.add_row("no skill", *_no_skill(classes), style="dim")
        lines.caption = "\n".join(_shares(rows, classes[rows]) for rows in ("labelled", "all"))
    return lines


def groups(models: Iterable[str]) -> list[list[str]]:
    """Cut models, in their order, where single models, ensembles and the oracle meet."""
    return [
        list(names)
        for _, names in groupby(models, lambda name: (name in ENSEMBLES, name == ORACLE))
    ]


def verdict_lines(judgement: Mapping[str, Any]) -> list[str]:
    """The verdict's sentences, then what came of each target, a line each."""
    return [
        *judgement["verdict"],
        *(_target(row, judgement["models"]) for row in judgement["targets"]),
    ]


def show(lines: Table, file: IO[str] | None = None) -> None:
    """Print a table to a file, standard output by default; piped, it is plain and 110 wide."""
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, width=WIDTH)
    console.print(lines)


def _cells(estimates: Mapping[str, Any]) -> list[str]:
    rows = count(estimates["accuracy"]["n"])
    return [rows, *(form_of(figure)(estimates[figure]["value"]) for figure in COLUMNS)]


def _no_skill(classes: Mapping[str, Any]) -> list[str]:
    """The constant forecast that knows the share of the larger class; it trades nothing."""
    up, up_labelled = classes["all"]["up"], classes["labelled"]["up"]
    entropy = None if up is None else _entropy(up)
    accuracies = [percent(_majority(share)) for share in (up, up_labelled)]
    aucs = [fine(_no_skill_auc(share)) for share in (up, up_labelled)]
    rows = count(classes["all"]["n"])
    return [rows, accuracies[0], aucs[0], fine(entropy), accuracies[1], aucs[1]]


def _majority(up: float | None) -> float | None:
    return None if up is None else max(up, 1 - up)


def _no_skill_auc(up: float | None) -> float | None:
    """0.5, and none where all rows are of one class."""
    return None if up in (None, 0, 1) else 0.5


def _entropy(share: float) -> float:
    return sum(part * math.log(1 / part) for part in (share, 1 - share) if part)


def _shares(rows: str, counted: Mapping[str, Any]) -> str:
    if not counted["n"]:
        return f"{rows} rows: none"
    up = counted["up"]
    return f"{rows} rows: {up:.2%} went up, {1 - up:.2%} did not, of {counted['n']:,}"


def _target(row: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    form = form_of_target(row, models)
    value, low, high = (form(row[key]) for key in ("value", "low", "high"))
    return f"{row['target']}, {row['goal']}: {value} [{low}, {high}], {row['verdict']}"
