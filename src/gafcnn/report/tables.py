"""Scores as a table on the console."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table

from gafcnn.forecasts import ENSEMBLES, RowScores, Score, ScoreTable

WIDTH = 100
ROWS = ("labelled", "all")


def table(scores: ScoreTable, title: str | None = None) -> Table:
    """Make one line per model: rows, accuracy, AUC and log loss on labelled rows and on all.

    Models stand in the order of `scores`, a rule between single models and ensembles. The last
    line, `no skill`, is what the best constant forecast scores on these rows: always the larger
    class, at its own share as the probability. An accuracy below it is worth nothing.
    """
    lines = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    lines.add_column("\nmodel", no_wrap=True)
    for rows in ROWS:
        for figure in (f"{rows}\nrows", "\naccuracy", "\nAUC", "\nlog loss"):
            lines.add_column(figure, justify="right", no_wrap=True)
    models = scores["models"]
    for names in groups(models):
        for name in names:
            lines.add_row(name, *_cells(models[name]))
        lines.add_section()
    for reference in list(models.values())[:1]:
        lines.add_row("no skill", *_cells(_no_skill(reference)), style="dim")
        lines.caption = "\n".join(_classes(rows, reference[rows]) for rows in ROWS)
    return lines


def groups(models: Iterable[str]) -> list[list[str]]:
    """Cut models, in their order, where single models and ensembles meet."""
    return [list(names) for _, names in groupby(models, ENSEMBLES.__contains__)]


def show(lines: Table, file: IO[str] | None = None) -> None:
    """Print a table to a file, standard output by default; piped, it is plain and 100 wide."""
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, width=WIDTH)
    console.print(lines)


def _cells(scores: RowScores) -> list[str]:
    return [
        cell
        for rows in ROWS
        for cell in (
            f"{scores[rows]['n']:,}",
            "n/a" if scores[rows]["accuracy"] is None else f"{scores[rows]['accuracy']:.2%}",
            _decimal(scores[rows]["auc"]),
            _decimal(scores[rows]["log_loss"]),
        )
    ]


def _decimal(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _no_skill(scores: RowScores) -> RowScores:
    return RowScores(labelled=_constant(scores["labelled"]), all=_constant(scores["all"]))


def _constant(scored: Score) -> Score:
    """Score the constant forecast that knows the share of the larger class."""
    share = scored["majority"]
    constant = scored.copy()
    constant["accuracy"] = share
    constant["auc"] = None if scored["auc"] is None else 0.5
    constant["log_loss"] = None if share is None else _entropy(share)
    return constant


def _entropy(share: float) -> float:
    return sum(part * math.log(1 / part) for part in (share, 1 - share) if part)


def _classes(rows: str, scored: Score) -> str:
    if not scored["n"]:
        return f"{rows} rows: none"
    up = sum(scored["confusion"][1]) / scored["n"]
    return f"{rows} rows: {up:.2%} went up, {1 - up:.2%} did not"
