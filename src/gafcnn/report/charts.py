"""Charts of a judgement: equity, win rate by coverage and by month, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gafcnn.report.drawing import MUTED, RC, new_figure
from gafcnn.report.palette import BUY_AND_HOLD, GREY, Style, model_label, model_styles

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
WIDTH, PANEL_HEIGHT = 5.4, 1.7  # inches

Rows = Sequence[Mapping[str, Any]]


def build_charts(metrics: Mapping[str, Any]) -> dict[str, tuple[str, Figure]]:
    """Return the title and the figure of every chart that metrics.json has data for, by name."""
    months = {row["month"] for row in metrics.get("regimes") or ()} - {None}
    charts = {
        "equity": ("Equity and drawdown, net of costs", equity_chart, metrics.get("equity")),
        "coverage": ("Win rate and return by coverage", coverage_chart, metrics.get("coverage")),
        "calibration": ("Calibration", calibration_chart, metrics.get("calibration")),
        "months": ("Win rate and return by month", months_chart, len(months) > 1),
    }
    return {name: (title, draw(metrics)) for name, (title, draw, found) in charts.items() if found}


@mpl.rc_context(RC)
def equity_chart(metrics: Mapping[str, Any]) -> Figure:
    """Draw the equity of each model and of buy and hold, and how far each is below its maximum."""
    figure, (top, below) = _panels("equity, start = 1", "drawdown")
    styles = model_styles(metrics["models"])
    for name in (*metrics["models"], BUY_AND_HOLD):
        if name not in metrics["equity"]:
            continue
        line = pd.DataFrame(metrics["equity"][name])
        line["time"] = pd.to_datetime(line["time"], utc=True)
        line["drawdown"] = line["value"] / line["value"].cummax() - 1
        rows, rank = line.to_dict("records"), int(name == metrics["headline"])
        _draw_line(top, name, rows, ("time", "value"), styles[name], rank)
        _draw_line(below, name, rows, ("time", "drawdown"), styles[name], rank)
    top.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
    below.yaxis.set_major_formatter(PercentFormatter(1))
    locator = AutoDateLocator(minticks=3, maxticks=7)
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    below.set_xlabel("time, UTC")
    return _with_legend(figure, top)


@mpl.rc_context(RC)
def coverage_chart(metrics: Mapping[str, Any]) -> Figure:
    """Draw the win rate and the net return per trade against the share of rows traded."""
    rows = [row for row in metrics["coverage"] if row["realised"]]
    figure, panel = _win_rates(metrics, sorted(rows, key=lambda row: row["realised"]), "realised")
    panel.set_xscale("log")
    panel.set_xticks(SHARES, [f"{share:.0%}" for share in SHARES])
    panel.minorticks_off()
    panel.set_xlabel("share of test rows traded, most confident first")
    return figure


@mpl.rc_context(RC)
def months_chart(metrics: Mapping[str, Any]) -> Figure:
    """Draw the win rate and the net return per trade by month."""
    rows = sorted((row for row in metrics["regimes"] if row["month"]), key=lambda row: row["month"])
    months = sorted({row["month"] for row in rows})
    rows = [{**row, "x": months.index(row["month"])} for row in rows]
    figure, panel = _win_rates(metrics, rows, "x")
    step = -(-len(months) // 7)
    panel.set_xticks(range(0, len(months), step), months[::step])
    panel.set_xlabel("month")
    return figure


@mpl.rc_context(RC)
def calibration_chart(metrics: Mapping[str, Any]) -> Figure:
    """Draw the observed share of rises against the forecast probability."""
    figure, (panel,) = _panels("observed share of rises")
    figure.set_figheight(3.6)
    for name, rows, style, rank in _by_model(metrics, metrics["calibration"]):
        if rank < 0:  # an ensemble by vote forecasts 0 and 1: leave the headline the space
            panel.set(xlim=panel.get_xlim(), ylim=panel.get_ylim())
        _draw_line(panel, name, rows, ("forecast", "observed"), style, rank)
    panel.axline((0.5, 0.5), slope=1, color=GREY, linewidth=0.8, linestyle=":")
    panel.xaxis.set_major_formatter(PercentFormatter(1))
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    panel.set_xlabel("forecast P(up)")
    return _with_legend(figure, panel)


def _win_rates(metrics: Mapping[str, Any], rows: Rows, x: str) -> tuple[Figure, Axes]:
    """Draw the gross win rate and the net return against a value; also return the lower panel."""
    figure, panels = _panels("gross win rate", "net bps per trade")
    for axes, y, level in zip(panels, ("win_rate", "net_bps"), (0.5, 0), strict=True):
        for name, found, style, rank in _by_model(metrics, rows):
            line = [row for row in found if not row.get("chosen")]
            _draw_line(axes, name, line, (x, y), style, rank)
            chosen = [row for row in found if row.get("chosen") and row[y] is not None]
            for row in chosen if rank >= 0 else ():
                axes.plot(
                    *(row[x], row[y]), "D", color=style.colour, fillstyle="none", markersize=8,
                    zorder=4,
                )  # fmt: skip
        axes.axhline(level, color=GREY, linewidth=0.8, linestyle=":")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1))
    return _with_legend(figure, panels[0]), panels[1]


def _panels(*labels: str) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, one above the other on the same axis of x."""
    figure = new_figure(WIDTH, 0.9 + PANEL_HEIGHT * len(labels))
    panels = figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, label in zip(panels, labels, strict=True):
        axes.set_ylabel(label)
        axes.grid(axis="y")
    return figure, list(panels)


def _by_model(metrics: Mapping[str, Any], rows: Rows) -> Iterator[tuple[str, Rows, Style, int]]:
    """Yield each model, its rows, its style and its rank.

    The rank is 1 for the headline, which comes first, and -1 for the others, which are drawn faded
    behind it; 0 for all models if the headline has no rows.
    """
    found = {name: [row for row in rows if row["model"] == name] for name in metrics["models"]}
    headline, styles = metrics["headline"], model_styles(metrics["models"])
    others = -1 if found.get(headline) else 0
    for name in sorted(found, key=lambda name: name != headline):
        if found[name]:
            yield name, found[name], styles[name], 1 if name == headline else others


def _draw_line(
    axes: Axes, name: str, rows: Rows, keys: tuple[str, str], style: Style, rank: int
) -> None:
    """Draw a model's rows as a line, with the intervals of shares if it is not faded."""
    x, y = ([row[key] for row in rows] for key in keys)
    axes.plot(
        x, np.array(y, dtype=np.float64), color=style.colour, linestyle=style.line,
        linewidth=1.8 if rank > 0 else 0.9, alpha=0.5 if rank < 0 else 1.0,
        marker=None if keys[0] == "time" else "o", markersize=3.5 if rank > 0 else 2,
        label=model_label(name), zorder=3 if rank > 0 else 2,
    )  # fmt: skip
    for row in rows if rank >= 0 and keys[1] != "net_bps" else ():
        if row.get("low") is not None:
            axes.vlines(row[keys[0]], row["low"], row["high"], color=style.colour, linewidth=0.9)


def _with_legend(figure: Figure, axes: Axes) -> Figure:
    """Add a legend below all panels, models in the order in which they were drawn."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, labelcolor=MUTED)
    return figure
