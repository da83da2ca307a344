"""The report: one HTML page that contains all it shows, and its tables and figures as files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gafcnn.atomic_io import write_bytes
from gafcnn.report.charts import build_figures, file_name
from gafcnn.report.drawing import Picture, model_styles
from gafcnn.report.formatters import load_template
from gafcnn.report.sample_pictures import Sample
from gafcnn.report.tables import build_tables

PAGE = "report.html"


def write_report(
    folder: Path | str, metrics: Mapping[str, Any], samples: Sequence[Sample] = ()
) -> Path:
    """Write the report of a judgement: report.html, `tables/*.csv` and `figures/*.png`.

    The page needs no other file and no network. Every file is written completely or not at all,
    the page last; tables and figures of an earlier report that this one does not have are removed.

    Args:
        folder: The folder to write to. A path that ends with `.html` is the page itself, which is
            then written without tables and figures.
        metrics: The content of metrics.json, or `Judgement.metrics`; breakdowns may be absent.
        samples: Samples to show, in this order.

    Returns:
        The path of the page.
    """
    folder = Path(folder)
    tables = build_tables(metrics)
    pictures = {figure[0]: Picture.draw(*figure) for figure in build_figures(metrics)}
    shown = [
        sample.picture(file_name(f"sample_{number}_{sample.window}"))
        for number, sample in enumerate(samples, start=1)
    ]
    page = load_template("page.html.j2", headings=_headings).render(
        metrics=metrics,
        tables=tables,
        pictures=pictures,
        confusion=[picture for name, picture in pictures.items() if "confusion" in name],
        samples=shown,
        symbol_pages=sorted(path.parent.name for path in folder.glob(f"symbols/*/{PAGE}")),
        styles=model_styles(metrics["models"]),
        config=json.dumps(metrics.get("config"), indent=2, ensure_ascii=False, default=str),
    )
    if folder.suffix == ".html":
        write_bytes(folder, page.encode())
        return folder
    files = {
        folder / "tables" / f"{name}.csv": table.csv().encode() for name, table in tables.items()
    }
    files |= {
        folder / "figures" / f"{picture.name}.png": picture.png
        for picture in (*pictures.values(), *shown)
    }
    files[folder / PAGE] = page.encode()
    for path, content in files.items():
        write_bytes(path, content)
    for path in (*folder.glob("tables/*.csv"), *folder.glob("figures/*.png")):
        if path not in files:
            path.unlink()
    return folder / PAGE


def _headings(body: str) -> list[tuple[str, Markup]]:
    """Return the id and the heading of every section; both are texts of the template."""
    found = re.findall(r'<section id="(\w+)">\s*<h2>(.*?)</h2>', body)
    return [(name, Markup(heading)) for name, heading in found]  # noqa: S704
