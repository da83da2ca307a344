"""The report: one HTML page that contains all it shows, and its tables and figures as files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gafcnn.atomic_io import write_bytes
from gafcnn.errors import ConfigError
from gafcnn.report.charts import build_figures, file_name
from gafcnn.report.drawing import Picture, model_styles
from gafcnn.report.formatters import load_template
from gafcnn.report.sample_pictures import Sample
from gafcnn.report.tables import build_tables

_CITED = r"((?:tables/[\w.=-]+\.csv|figures/[\w.=-]+\.png))</figcaption>"


def write_report(
    path: Path | str,
    metrics: Mapping[str, Any],
    samples: Sequence[Sample] = (),
    *,
    files: bool = False,
) -> Path:
    """Write the report of a judgement as one HTML page that needs no other file and no network.

    Every file is written completely or not at all, the page last.

    Args:
        path: The page, which ends with ".html".
        metrics: The content of metrics.json, or `Judgement.metrics`; breakdowns may be absent.
        samples: Samples to show, in this order.
        files: Whether to write `tables/*.csv` and `figures/*.png` beside the page, which cites
            them. Those that only the earlier page cites are removed; no other file is.

    Returns:
        The path of the page.

    Raises:
        ConfigError: The path does not end with ".html".
    """
    page = Path(path)
    if page.suffix != ".html":
        raise ConfigError(
            f"the report is to be written to {page}",
            expected='a file whose name ends with ".html"',
            instead=f"write {page}.html, for example",
        )
    folder = page.parent
    parts = folder.glob(f"symbols/*/{page.name}") if files else ()
    tables = build_tables(metrics)
    pictures = {figure[0]: Picture.draw(*figure) for figure in build_figures(metrics)}
    shown = [
        sample.picture(file_name(f"sample_{number}_{sample.window}"))
        for number, sample in enumerate(samples, start=1)
    ]
    text = load_template("page.html.j2", headings=_headings).render(
        metrics=metrics,
        tables=tables,
        pictures=pictures,
        confusion=[picture for name, picture in pictures.items() if "confusion" in name],
        samples=shown,
        files=files,
        symbol_pages=sorted(one.parent.name for one in parts),
        styles=model_styles(metrics["models"]),
        config=json.dumps(metrics.get("config"), indent=2, ensure_ascii=False, default=str),
    )
    content, stale = {page: text.encode()}, set[Path]()
    if files:
        earlier = page.read_text(encoding="utf-8") if page.is_file() else ""
        stale = {folder / name for name in re.findall(_CITED, earlier)}
        drawn = (*pictures.values(), *shown)
        content = {
            **{folder / f"tables/{name}.csv": one.csv().encode() for name, one in tables.items()},
            **{folder / f"figures/{picture.name}.png": picture.png for picture in drawn},
            **content,
        }
    for one, written in content.items():
        write_bytes(one, written)
    for one in stale - content.keys():
        one.unlink(missing_ok=True)
    return page


def _headings(body: str) -> list[tuple[str, Markup]]:
    """Return the id and the heading of every section; both are texts of the template."""
    found = re.findall(r'<section id="(\w+)">\s*<h2>(.*?)</h2>', body)
    return [(name, Markup(heading)) for name, heading in found]  # noqa: S704
