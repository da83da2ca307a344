"""The report of a study of several symbols: each beside the others, and all together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from gafcnn.report.charts import drawdown, equity
from gafcnn.report.contents import TOGETHER, by_symbol, pooled_sheets
from gafcnn.report.formatters import count, form_of
from gafcnn.report.page import BADGES
from gafcnn.report.palette import styles
from gafcnn.report.publishing import Picture, published, rendered
from gafcnn.report.still_charts import drawn

SHOWN = 10
"""Symbols of which the console tells one by one."""


def write_pooled(folder: Path, judgement: Mapping[str, Any]) -> Path:
    """Write report.html, which needs no network and no other file, and what it is made of.

    Beside the page, `tables/*.csv` holds every table of it and `figures/*.png` every figure; see
    `published`. The pages of the symbols, to which it leads, are in `symbols/<symbol>/`. The same
    judgement gives the same bytes.

    Args:
        folder: Where to write; made if need be.
        judgement: What metrics.json holds.

    Returns:
        The path of the page.
    """
    tables, look = pooled_sheets(judgement), styles(judgement["models"])
    pictures = [
        Picture.of(chart.name, chart.title, drawn(chart, look))
        for chart in (equity(judgement), drawdown(judgement))
    ]
    page = rendered(
        "pooled.html.j2",
        judgement=judgement,
        tables=tables,
        pictures={picture.name: picture for picture in pictures},
        styles=look,
        badges=BADGES,
        config=json.dumps(judgement["config"], indent=2, ensure_ascii=False),
    )
    return published(folder, page, tables, pictures)


def pooled_table(judgement: Mapping[str, Any]) -> Table:
    """Make one line per model and symbol, and one per model of all symbols together.

    Of more than `SHOWN` symbols it is the last alone: the page and its tables have them all.

    Args:
        judgement: What metrics.json holds.
    """
    lines = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    for heading in ("\nmodel", "\nsymbol"):
        lines.add_column(heading, no_wrap=True)
    for heading in ("\nrows", *_HEADS.values()):
        lines.add_column(heading, justify="right", no_wrap=True)
    last, few = None, len(judgement["symbols"]) <= SHOWN
    for model, symbol, of in by_symbol(judgement):
        if not few and symbol != TOGETHER:
            continue
        if few and last not in (None, model):
            lines.add_section()
        found = of["models"][model]
        cells = [form_of(figure)(found[figure]["value"]) for figure in _HEADS]
        lines.add_row("" if model == last else model, symbol, count(found["auc"]["n"]), *cells)
        last = model
    return lines


_HEADS = {
    "accuracy": "\naccuracy",
    "auc": "\nAUC",
    "log_loss": "\nlog loss",
    "trades": "\ntrades",
    "win_rate_gross": "gross\nwin rate",
    "net_bps": "net\nbps",
    "sharpe": "\nSharpe",
}
