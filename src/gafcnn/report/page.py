"""The report, one HTML page that contains all it shows, and the model card of an export."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from gafcnn.atomic_io import write_bytes
from gafcnn.evaluation import comparisons
from gafcnn.report import tables as of_tables
from gafcnn.report.charts import Picture, build_figures, model_styles
from gafcnn.report.tables import MISSING, Metrics, build_tables, format_of

CARD = ("accuracy", "auc", "log_loss", "brier", "balanced_accuracy", "macro_f1",
           "trades", "win_rate_gross", "net_bps", "sharpe")  # fmt: skip
"""The figures of a card, those that are known."""


def write_report(
    path: Path | str, metrics: Metrics, samples: Sequence[Picture] = (), *, files: bool = False
) -> Path:
    """Write a judgement as one HTML page that needs no other file and no network; return its path.

    Every file is written completely or not at all, the page last.

    Args:
        path: The page, such as "report.html".
        metrics: The content of metrics.json, or `Judgement.metrics`; breakdowns may be absent.
        samples: Pictures of samples to show, in this order.
        files: Whether to write `tables/*.csv` and `figures/*.png`, which the page cites.
    """
    page = Path(path)
    folder = page.parent
    parts = folder.glob(f"symbols/*/{page.name}") if files else ()
    tables = build_tables(metrics)
    pictures = {figure[0]: Picture.draw(*figure) for figure in build_figures(metrics)}
    text = _template("page.html.j2").render(
        metrics=metrics,
        tables=tables,
        pictures=pictures,
        samples=samples,
        files=files,
        symbol_pages=sorted(one.parent.name for one in parts),
        styles=model_styles(metrics["models"]),
        config=json.dumps(metrics.get("config"), indent=2, ensure_ascii=False, default=str),
        days=comparisons.period_days(metrics),
        comparisons=comparisons,
        of_tables=of_tables,
        estimate=_estimate,
    )
    if files:
        for name, table in tables.items():
            write_bytes(folder / f"tables/{name}.csv", table.csv().encode())
        for picture in (*pictures.values(), *samples):
            write_bytes(folder / f"figures/{picture.name}.png", picture.png)
    write_bytes(page, text.encode())
    return page


def model_card(facts: Mapping[str, Any]) -> str:
    """Return the model card as Markdown, from metadata.json: files, use, evaluation and limits.

    The idea is that of Mitchell et al., "Model Cards for Model Reporting", FAT*, 2019.
    """
    validation = {
        f"{name}, {rows} rows": {figure: {"value": value} for figure, value in found.items()}
        for name, model in facts["models"].items()
        for rows, found in model["validation"].items()
    }
    dump = partial(yaml.safe_dump, sort_keys=False)
    return _template("card.md.j2", cell=_cell, yaml=dump).render(
        facts,
        known_figures=lambda models: [
            name for name in CARD if any(name in found for found in models.values())
        ],
        estimate=_estimate,
        validation=validation,
    )


def _cell(value: object) -> str:
    return MISSING if value is None else str(value).replace("|", "\\|")


def _estimate(found: Mapping[str, Any], figure: str) -> str:
    estimate, write = found.get(figure, {"value": None}), format_of(figure)
    if estimate.get("low") is None:
        return write(estimate["value"])
    return f"{write(estimate['value'])} [{write(estimate['low'])}, {write(estimate['high'])}]"


def _template(name: str, **filters: Callable[..., Any]) -> Template:
    """Return a template of the report; HTML is escaped, and undefined names are errors."""
    environment = Environment(
        loader=PackageLoader("gafcnn.report"),
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = {"count": of_tables.count, "percent": of_tables.percent, "time": of_tables.time_text}
    environment.filters |= {**formats, **filters}
    return environment.get_template(name)
