"""The report of a study of several classes: page, tables, confusion matrices, console."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from gafcnn.evaluation.recognition import OF_CLASS, RECOGNISED
from gafcnn.report.console import groups
from gafcnn.report.contents import kinds, receipts, targets
from gafcnn.report.formatters import count, form_of, form_of_difference, moment
from gafcnn.report.matrices import class_confusion
from gafcnn.report.page import BADGES
from gafcnn.report.palette import styles
from gafcnn.report.publishing import Picture, published, rendered
from gafcnn.report.sample_pictures import Sample, sample_pictures
from gafcnn.report.tables import INTERVAL, MODEL, ROWS, Column, Sheet, estimated, flat, text

NO_SKILL = "no skill"


def write_recognition(
    folder: Path, judgement: Mapping[str, Any], samples: Sequence[Sample] = ()
) -> Path:
    """Write report.html, which needs no network and no other file, and what it is made of.

    Beside the page, `tables/*.csv` holds every table of it and `figures/*.png` every figure; see
    `published`. The same judgement gives the same bytes.

    Args:
        folder: Where to write; made if need be.
        judgement: What metrics.json holds.
        samples: To be shown, in their order.

    Returns:
        The path of the page.
    """
    tables = _sheets(judgement)
    pictures = [
        Picture.of(
            f"confusion_{model}",
            f"Confusion matrix of {model}",
            class_confusion(model, counts, list(judgement["classes"])),
        )
        for model, counts in judgement["confusion"].items()
    ]
    shown = sample_pictures(samples)
    page = rendered(
        "recognition.html.j2",
        judgement=judgement,
        tables=tables,
        pictures=pictures,
        samples=shown,
        styles=styles(judgement["models"]),
        badges=BADGES,
        config=json.dumps(judgement["config"], indent=2, ensure_ascii=False),
    )
    return published(folder, page, tables, (*pictures, *shown))


def recognition_table(judgement: Mapping[str, Any]) -> Table:
    """Make one line per model: its figures over all classes and over the patterns alone.

    The last line, `no skill`, always calls the most frequent class.

    Args:
        judgement: What metrics.json holds.
    """
    lines = Table(box=box.SIMPLE_HEAD, caption_justify="left", collapse_padding=True)
    lines.add_column("\nmodel", no_wrap=True)
    for heading in ("\nrows", *(_HEADS[figure] for figure in RECOGNISED)):
        lines.add_column(heading, justify="right", no_wrap=True)
    for names in groups(judgement["models"]):
        for name in names:
            lines.add_row(name, *_cells(judgement["models"][name]))
        lines.add_section()
    lines.add_row(NO_SKILL, *_cells(judgement["no_skill"]), style="dim")
    there = ", ".join(f"{name} {count(n)}" for name, n in judgement["classes"].items())
    several = count(judgement["rows"]["several"])
    lines.caption = f"test bars: {there}; {several} of several patterns left out"
    return lines


_HEADS = {
    "accuracy": "\naccuracy",
    "balanced_accuracy": "balanced\naccuracy",
    "balanced_accuracy_without_0": "\non patterns",
    "balanced_accuracy_among_patterns": "among\npatterns",
    "macro_f1": "\nmacro-F1",
    "macro_f1_without_0": "\nof patterns",
    "log_loss": "\nlog loss",
}


def _cells(estimates: Mapping[str, Any]) -> list[str]:
    rows = count(estimates["accuracy"]["n"])
    return [rows, *(form_of(figure)(estimates[figure]["value"]) for figure in RECOGNISED)]


def _sheets(judgement: Mapping[str, Any]) -> dict[str, Sheet]:
    """Every table that has a row, by its name, in the order of the page."""
    made = (targets, _scores, _classes, _pairs, _folds, receipts)
    found = (make(judgement) for make in made)
    return {sheet.name: sheet for sheet in found if sheet.rows}


def _scores(judgement: Mapping[str, Any]) -> Sheet:
    models = judgement["models"]
    rows = [
        {"model": name, "n": found["accuracy"]["n"], **flat(found, [*RECOGNISED])}
        for name, found in {**models, NO_SKILL: judgement["no_skill"]}.items()
    ]
    columns = [estimated(figure, head, form_of(figure)) for figure, head in RECOGNISED.items()]
    return Sheet("scores", (MODEL, ROWS, *columns), rows, [*kinds(models), NO_SKILL])


def _classes(judgement: Mapping[str, Any]) -> Sheet:
    rows = [row | flat(row, OF_CLASS) for row in judgement["per_class"]]
    columns = (
        *(MODEL, text("class", "class"), ROWS, Column("called", "called", count)),
        *(estimated(name, "F1" if name == "f1" else name, form_of(name)) for name in OF_CLASS),
    )
    return Sheet("classes", columns, rows, [row["model"] for row in rows])


def _pairs(judgement: Mapping[str, Any]) -> Sheet:
    rows = [
        row | {"form": form_of_difference(row["figure"]), "figure": RECOGNISED[row["figure"]]}
        for row in judgement["pairs"]
    ]
    columns = (
        *(text("a", "model"), text("b", "less"), text("figure", "in")),
        Column("value", "difference", None, INTERVAL),
        text("finding", "finding"),
        ROWS,
    )
    return Sheet("pairs", columns, rows, [row["a"] for row in rows])


def _folds(judgement: Mapping[str, Any]) -> Sheet:
    columns = (
        *(MODEL, Column("fold", "fold", count)),
        *(text("first", "first bar", moment), text("last", "last bar", moment), ROWS),
        *(Column(figure, head, form_of(figure)) for figure, head in RECOGNISED.items()),
    )
    rows = judgement["folds"]
    return Sheet("folds", columns, rows, [row["model"] for row in rows])
