"""Charts for a browser, by plotly: transparent, and coloured by the page's own style sheet.

Words, axes and grids take their colours from CSS, so that a chart follows the reader's light or
dark page; the lines' colours can be seen on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from gafcnn.report.charts import Chart, Curve, Panel
from gafcnn.report.palette import Style, spoken

HEIGHTS = {1: 430, 2: 600}  # pixels, by panels
GAP = 0.07
AXES: Mapping[str, Mapping[str, Any]] = {
    "time": {"type": "date"},
    "log_share": {
        "type": "log",
        "tickvals": [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1],
        "ticktext": ["1%", "2%", "5%", "10%", "20%", "50%", "100%"],
    },
    "probability": {"tickformat": ".0%"},
    "text": {"type": "category"},
}
CONFIG = {"displayModeBar": False, "responsive": True}
CLEAR = "rgba(0,0,0,0)"


def script() -> str:
    """The whole of plotly.js, to stand once on a page."""
    return get_plotlyjs()


def interactive(chart: Chart, styles: Mapping[str, Style]) -> str:
    """A chart as a div and its script; `script` must stand before it on the page.

    Args:
        chart: What to draw.
        styles: The look of each model.
    """
    figure = go.Figure(layout=_layout(chart))
    for place, panel in enumerate(chart.panels, start=1):
        for curve in panel.curves:
            figure.add_traces(_traces(chart, panel, curve, place, styles[curve.model]))
    return figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=f"chart-{chart.name}", config=CONFIG
    )


def _layout(chart: Chart) -> go.Layout:
    """Panels share the axis of x, which stands below the last."""
    last = len(chart.panels)
    height = (1 - GAP * (last - 1)) / last
    axes = {
        f"yaxis{place}": {
            "title": {"text": panel.label},
            "domain": [(last - place) * (height + GAP), (last - place) * (height + GAP) + height],
            "tickformat": panel.tick,
            "automargin": True,
            "zeroline": False,
        }
        for place, panel in enumerate(chart.panels, start=1)
    }
    x = {"title": {"text": chart.x_label}, "anchor": f"y{last}", "automargin": True}
    return go.Layout(
        height=HEIGHTS[last],
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font={"family": "system-ui, sans-serif", "size": 13},
        hovermode="closest",
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        hoverlabel={"font": {"color": "#ffffff"}},
        shapes=[_level(chart, panel, place) for place, panel in enumerate(chart.panels, start=1)],
        xaxis={**AXES[chart.x], **x, "zeroline": False},
        **axes,
    )


def _level(chart: Chart, panel: Panel, place: int) -> dict[str, Any]:
    """The line that a panel's curves are read against."""
    line = {"type": "line", "line": {"color": "#8a929c", "width": 1.5, "dash": "dot"}}
    axis = "" if place == 1 else str(place)
    if panel.level == "diagonal":
        shown = [curve for curve in panel.curves if not chart.stands_back(curve.model)]
        ends = [x for curve in shown for x in curve.x]
        first, final = min(ends), max(ends)
        return {**line, "x0": first, "y0": first, "x1": final, "y1": final, "layer": "below"}
    across = {"xref": "paper", "yref": f"y{axis}", "x0": 0, "x1": 1, "layer": "below"}
    return {**line, **across, "y0": panel.level, "y1": panel.level}


def _traces(chart: Chart, panel: Panel, curve: Curve, place: int, style: Style) -> list[go.Scatter]:
    """The line, its intervals and its chosen points, which the legend shows and hides as one."""
    leads = curve.model == chart.headline
    shared: dict[str, Any] = {
        "legendgroup": curve.model,
        "name": escape(spoken(curve.model)),
        "yaxis": "y" if place == 1 else f"y{place}",
        "visible": "legendonly" if chart.stands_back(curve.model) else True,
    }
    line = go.Scatter(
        x=_places(curve.x),
        y=_rounded(curve.y),
        mode="lines" if chart.x == "time" else "lines+markers",
        line={"color": style.colour, "dash": style.dash, "width": 3 if leads else 1.5},
        text=[_told(panel, y, note) for y, note in _noted(curve)],
        hovertemplate="%{x}: %{text}",
        showlegend=place == 1,
        **shared,
    )
    asides = {**shared, "showlegend": False}
    return [line, *_intervals(curve, style, asides), *_chosen(panel, curve, style, asides)]


def _intervals(curve: Curve, style: Style, shared: Mapping[str, Any]) -> list[go.Scatter]:
    """One upright stroke for each point, from low to high, with a gap after it."""
    found = [(x, ends) for x, ends in zip(curve.x, curve.intervals, strict=False) if ends]
    if not found:
        return []
    x = [place for at, _ in found for place in (at, at, None)]
    y = [end for _, (low, high) in found for end in (low, high, None)]
    stroke = {"color": style.colour, "width": 1.2}
    return [go.Scatter(x=x, y=_rounded(y), mode="lines", line=stroke, hoverinfo="skip", **shared)]


def _chosen(
    panel: Panel, curve: Curve, style: Style, shared: Mapping[str, Any]
) -> list[go.Scatter]:
    if not curve.chosen:
        return []
    x, y, notes = zip(*curve.chosen, strict=True)
    ring = {"symbol": "diamond-open", "size": 15, "color": style.colour, "line": {"width": 2.5}}
    told = [_told(panel, value, note) for value, note in zip(y, notes, strict=True)]
    return [
        go.Scatter(
            x=list(x),
            y=_rounded(y),
            mode="markers",
            marker=ring,
            text=told,
            hovertemplate="%{x}: %{text}",
            **shared,
        )
    ]


def _noted(curve: Curve) -> list[tuple[float | None, str]]:
    return list(zip(curve.y, curve.notes or [""] * len(curve.y), strict=True))


def _told(panel: Panel, value: float | None, note: str) -> str:
    text = panel.form(value) if value is not None else ""
    return f"{text}, {note}" if note else text


def _places(x: Any) -> list[Any]:
    return [f"{at:%Y-%m-%d %H:%M:%S}" if isinstance(at, pd.Timestamp) else at for at in x]


def _rounded(values: Any) -> list[float | None]:
    """Six digits are more than a screen can show, and keep the page small."""
    return [None if value is None else round(value, 6) for value in values]
