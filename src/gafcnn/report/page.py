"""The report, one HTML page that contains all it shows, and the model card of an export."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from gafcnn.atomic_io import write_bytes
from gafcnn.evaluation.comparisons import SURE
from gafcnn.report import tables as of_tables
from gafcnn.report.charts import Picture, build_figures, model_styles
from gafcnn.report.tables import MISSING, ORACLE, Metrics, Row, Table, build_tables, count, format_of, percent, time_text

CARD = ("accuracy", "auc", "log_loss", "brier", "balanced_accuracy", "macro_f1",
           "trades", "win_rate_gross", "net_bps", "sharpe")  # fmt: skip
"""The figures of a card, those that are known."""

SIMULATED = ("simulated", "tick_walk")  # what names of simulated sources of bars begin with
MAIN = ("auc", "net_bps", "sharpe", "rank_ic", "balanced_accuracy")
"""The figures in which the headline model is always compared with others."""


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
    market, days = _market(metrics), of_tables.period_days(metrics)
    filters = {"headings": _headings, "written": _written, "interval": _interval, "hash": _hash}
    text = _template("page.html.j2", **filters).render(
        metrics=metrics,
        tables=tables,
        pairs=_split_pairs(tables["pairs"], metrics["headline"]) if "pairs" in tables else None,
        pictures=pictures,
        confusion=[picture for name, picture in pictures.items() if "confusion" in name],
        samples=samples,
        files=files,
        symbol_pages=sorted(one.parent.name for one in parts),
        styles=model_styles(metrics["models"]),
        config=json.dumps(metrics.get("config"), indent=2, ensure_ascii=False, default=str),
        market=market,
        simulated=ORACLE in metrics["models"] or market.startswith(SIMULATED),
        days=days,
        least_days=of_tables.LEAST_DAYS,
        short=days < of_tables.LEAST_DAYS,
        annualised=of_tables.ANNUALISED,
        sure=SURE,
        estimate=_estimate,
        header=of_tables.header,
        says_nothing=of_tables.says_nothing,
    )
    if files:
        for name, table in tables.items():
            write_bytes(folder / f"tables/{name}.csv", table.csv().encode())
        for picture in (*pictures.values(), *samples):
            write_bytes(folder / f"figures/{picture.name}.png", picture.png)
    write_bytes(page, text.encode())
    return page


def _market(metrics: Metrics) -> str:
    """Return the kind of the source of the bars, such as "file"; empty if it is not known."""
    config = metrics.get("config") or {}
    options = [*config.get("runs", {}).values(), config.get("evaluate") or {}]
    return next((one["market"]["kind"] for one in options if one.get("market")), "")


def _split_pairs(table: Table, headline: str) -> tuple[list[Any], list[Any]]:
    """Return the rows that are significant, or of a main figure of the headline; and the others."""
    parts: tuple[list[Any], list[Any]] = ([], [])
    for begins, row in table.rows():
        known = row["low"] is not None and not of_tables.says_nothing(row["low"], row["high"], 0.0)
        parts[not known and (row["a"] != headline or row["figure"] not in MAIN)].append((begins, row))
    return parts


def _headings(body: str) -> list[tuple[str, Markup]]:
    """Return the id and the heading of every section; both are texts of the template."""
    found = re.findall(r'<section id="(\w+)">\s*<h2>(.*?)</h2>', body)
    return [(name, Markup(heading)) for name, heading in found]  # noqa: S704


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
    estimate = found.get(figure, {"value": None})
    return f"{_written(estimate['value'], figure)} {_interval(estimate, figure)}".rstrip()


def _written(value: float | None, figure: str) -> str:
    return format_of(figure)(value)


def _interval(estimate: Row, figure: str) -> str:
    ends = [_written(estimate.get(end), figure) for end in ("low", "high")]
    return "" if estimate.get("low") is None else f"[{', '.join(ends)}]"


def _hash(text: str) -> str:
    """Return what allows a script in a content security policy."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _template(name: str, **filters: Callable[..., Any]) -> Template:
    """Return a template of the report; HTML is escaped, and undefined names are errors."""
    environment = Environment(
        loader=PackageLoader("gafcnn.report"),
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = {"count": count, "percent": percent, "time": time_text}
    environment.filters |= {**formats, **filters}
    return environment.get_template(name)
