"""Charts on paper: the same curves as in the browser, as matplotlib draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from gafcnn.report.charts import Chart, Curve, Panel
from gafcnn.report.palette import GREY, Style, spoken
from gafcnn.report.plotting import INK, MUTED, blank, quiet

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
DASHES = {"solid": "-", "dash": "--", "dot": ":"}


def drawn(chart: Chart, styles: Mapping[str, Style]) -> Figure:
    """Draw a chart: the headline's curve strong and with its intervals, the others behind it.

    Args:
        chart: What to draw.
        styles: The look of each model.
    """
    figure = blank(9.0, 1.4 + 2.9 * len(chart.panels))
    panels = figure.subplots(len(chart.panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(panels, chart.panels, strict=True):
        _draw_panel(axes, chart, panel, styles)
    _set_places(panels[-1], chart)
    panels[-1].set_xlabel(chart.x_label, color=MUTED)
    figure.suptitle(chart.title, color=INK, size=12)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return figure


def _draw_panel(axes: Axes, chart: Chart, panel: Panel, styles: Mapping[str, Style]) -> None:
    if panel.level == "diagonal":
        axes.axline((0.5, 0.5), slope=1, color=GREY, linewidth=1, linestyle=":")
    else:
        axes.axhline(panel.level, color=GREY, linewidth=1, linestyle=":")
    for curve in sorted(panel.curves, key=lambda curve: chart.stands_back(curve.model)):
        if chart.x == "probability" and chart.stands_back(curve.model):
            # votes of 0 and 1 would leave the others no room
            axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
        _draw_curve(axes, chart, curve, styles[curve.model])
    axes.set_ylabel(panel.label, color=MUTED)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format(value, panel.tick)))
    axes.grid(axis="y", color="#e3e7eb", linewidth=0.8)
    quiet(axes)


def _draw_curve(axes: Axes, chart: Chart, curve: Curve, style: Style) -> None:
    leads, back = curve.model == chart.headline, chart.stands_back(curve.model)
    axes.plot(
        _numbered(chart, curve.x),
        np.array(curve.y, dtype=np.float64),
        color=style.colour,
        linestyle=DASHES[style.dash],
        linewidth=2.4 if leads else 1.2,
        alpha=0.45 if back else 1.0,
        marker=None if chart.x == "time" else "o",
        markersize=5 if leads else 3,
        label=spoken(curve.model),
        zorder=3 if leads else 2,
    )
    if not back:
        _draw_intervals(axes, chart, curve, style)
    for x, y, _ in curve.chosen if not back else ():
        axes.plot(x, y, "D", color=style.colour, markersize=10, fillstyle="none", zorder=4)


def _draw_intervals(axes: Axes, chart: Chart, curve: Curve, style: Style) -> None:
    for x, ends in zip(_numbered(chart, curve.x), curve.intervals, strict=False):
        if ends:
            axes.vlines(x, *ends, color=style.colour, linewidth=1.2)


def _numbered(chart: Chart, x: Sequence[Any]) -> Sequence[Any]:
    """Places on the axis; texts count from 0, in the order of all of them."""
    if chart.x != "text":
        return x
    order = _texts(chart)
    return [order.index(text) for text in x]


def _texts(chart: Chart) -> list[str]:
    return sorted({text for panel in chart.panels for curve in panel.curves for text in curve.x})


def _set_places(axes: Axes, chart: Chart) -> None:
    if chart.x == "time":
        locator = AutoDateLocator(minticks=4, maxticks=9)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    elif chart.x == "text":
        axes.set_xticks(range(len(_texts(chart))), _texts(chart))
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    if chart.x == "log_share":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(SHARES))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
