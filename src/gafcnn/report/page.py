"""The report: one page that holds all it shows, and its tables and figures beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gafcnn.report.charts import Chart, charts
from gafcnn.report.contents import sheets
from gafcnn.report.interactive import interactive, script
from gafcnn.report.matrices import confusion_matrices, regime_matrices
from gafcnn.report.palette import Style, styles
from gafcnn.report.publishing import Picture, published, rendered
from gafcnn.report.sample_pictures import Sample, sample_pictures
from gafcnn.report.still_charts import drawn
from gafcnn.report.tables import Sheet

BADGES = {
    **dict.fromkeys(("met", "passed"), "good"),
    **dict.fromkeys(("not met", "failed"), "bad"),
}


def write_report(
    folder: Path, judgement: Mapping[str, Any], samples: Sequence[Sample] = ()
) -> Path:
    """Write report.html, which needs no network and no other file, and what it is made of.

    Beside the page, `tables/*.csv` holds every table of it and `figures/*.png` every figure. Each
    file is written whole or not at all, the page last; tables and figures of an earlier report that
    this one does not have are removed then. The same judgement gives the same bytes.

    Args:
        folder: Where to write; made if need be.
        judgement: What metrics.json holds.
        samples: To be shown, in their order.

    Returns:
        The path of the page.
    """
    look = styles(judgement["models"])
    tables, curves = sheets(judgement), charts(judgement)
    stills = {
        chart.name: Picture.of(chart.name, chart.title, drawn(chart, look)) for chart in curves
    }
    matrices = {picture.name: picture for picture in _matrices(judgement)}
    shown = sample_pictures(samples)
    page = _render(judgement, look, tables, curves, stills | matrices, shown)
    return published(folder, page, tables, (*stills.values(), *matrices.values(), *shown))


def _matrices(judgement: Mapping[str, Any]) -> list[Picture]:
    made = []
    if judgement["confusion"]:
        made = [
            Picture.of("confusion_all", "Confusion matrices, all rows",
                     confusion_matrices(judgement, "all")),
            Picture.of("confusion_labelled", "Confusion matrices, labelled rows",
                     confusion_matrices(judgement, "labelled")),
        ]  # fmt: skip
    if any(row["month"] is None for row in judgement["regimes"]):
        title = "Gross win rate by volatility and trend"
        made.append(Picture.of("regimes", title, regime_matrices(judgement)))
    return made


def _render(
    judgement: Mapping[str, Any],
    look: Mapping[str, Style],
    tables: Mapping[str, Sheet],
    curves: Sequence[Chart],
    pictures: Mapping[str, Picture],
    shown: Sequence[Picture],
) -> str:
    return rendered(
        "page.html.j2",
        judgement=judgement,
        tables=tables,
        charts={chart.name: Markup(interactive(chart, look)) for chart in curves},  # noqa: S704  plotly escapes its JSON, and the names were escaped for it
        pictures=pictures,
        samples=shown,
        styles=look,
        badges=BADGES,
        config=json.dumps(judgement["config"], indent=2, ensure_ascii=False),
        plotly=Markup(script()) if curves else "",  # noqa: S704  the library itself
    )
