"""Figures of a judgement: equity, coverage, months, calibration, confusion and regimes.

They are drawn by matplotlib without pyplot, as SVG for the page and as PNG files.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from gafcnn.evaluation.ensembles import ENSEMBLES
from gafcnn.report.tables import BENCHMARKS, MISSING, ORACLE, Metrics, model_label

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
WIDTH, PANEL_HEIGHT = 5.4, 1.7  # inches
STRONGEST = 0.65  # opacity of the strongest shade, on which text is still legible
LONGEST_NAME = 30  # characters of a class on the axes
VOLATILITIES, TRENDS = ("high", "middle", "low"), ("down", "flat", "up")

DPI = 200
INK, MUTED, RULE = "#1f2933", "#5b6773", "#d9dfe5"

# Okabe and Ito (2008) without yellow and black, then Tol (2021): distinct for colour-blind readers
# and visible on white and on near black
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"),
    *("#d55e00", "#999933", "#aa4499", "#8c6d5a", "#6478d6"),
)
BLUE, VERMILION, GREY = COLOURS[0], COLOURS[5], "#8a929c"

# colours of a figure that follow the colour scheme of the page
THEME = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)"}

RC: Any = {  # settings of matplotlib while a figure is built and while it is written
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # names are text, not TeX
    "figure.facecolor": "white",
    "axes.facecolor": "none",
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.axisbelow": True,
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
    "figure.titlesize": 10,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.labelcolor": MUTED,
    "image.interpolation": "none",
    "svg.fonttype": "none",
}

Names: TypeAlias = Sequence[str]

_OF_TRADES = {"win_rate": ("gross win rate", 0.5), "net_bps": ("net bps per trade", 0)}
_OF_RANKS = {"rank_ic": ("rank IC", 0), "net_bps": ("net bps per decision", 0)}


def build_figures(metrics: Metrics) -> Iterator[tuple[str, str, Figure]]:
    """Yield the name, the title and the figure of all that metrics.json has data for."""
    regimes = metrics.get("regimes") or ()
    headline, others = [metrics["headline"]], [*metrics["models"]]
    others.remove(*headline)
    for suffix, names in (("", headline), ("_others", others)):
        if names and metrics.get("equity"):
            title = f"Equity and drawdown of {', '.join(names)}, after costs"
            yield f"equity{suffix}", title, equity_chart(metrics, names)
    if metrics["task"] == "classification":
        for number, model in enumerate(headline + others, start=1):
            counts = metrics["confusion"][model]
            figure = class_confusion(model, counts, list(metrics["classes"]))
            yield file_name(f"confusion_{number}_{model}"), f"Confusion matrix of {model}", figure
    if metrics.get("coverage"):
        yield "coverage", "Win rate and return by coverage", coverage_chart(metrics)
    if metrics.get("calibration"):
        yield "calibration", "Calibration", calibration_chart(metrics)
    if len({row["month"] for row in regimes} - {None}) > 1:
        yield "months", "Win rate and return by month", months_chart(metrics)
    if metrics.get("curves"):
        title = f"Cumulative returns of the quantiles of {metrics['headline']}, less the mean"
        yield "quantiles", title, quantile_chart(metrics)
        title = f"The portfolio of {metrics['headline']}"
        yield "portfolio", title, portfolio_chart(metrics)
    months = [*_months_of(metrics)]
    if len({row["month"] for row in months}) > 1:
        yield "rank_ic", "Rank IC and net return by month", _by_month(metrics, months, _OF_RANKS)
    if any(row["month"] is None for row in regimes):
        title = f"Gross win rate of {metrics['headline']} by volatility and trend"
        yield "regimes", title, regime_matrix(metrics)


def file_name(text: str) -> str:
    """Replace characters that are not safe in a file name."""
    return re.sub(r"[^\w.=-]+", "_", text)[:80]


def model_styles(models: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the `color` (#rrggbb) and the `linestyle` of each model, and of the benchmarks.

    Single models are solid, ensembles dashed and the oracle dotted, so that kinds of models differ
    in more than colour.
    """
    styles = {name: {"color": GREY, "linestyle": "solid"} for name in BENCHMARKS}
    for place, name in enumerate(models):
        line = "dotted" if name == ORACLE else "dashed" if name in ENSEMBLES else "solid"
        styles[name] = {"color": COLOURS[place % len(COLOURS)], "linestyle": line}
    return styles


@mpl.rc_context(RC)
def equity_chart(metrics: Metrics, models: Names) -> Figure:
    """Draw the equity of models and of the benchmark, and how far each is below its maximum."""
    figure, (top, below) = _panels("equity, start = 1", "drawdown")
    for name in (*models, *BENCHMARKS):
        if name in metrics["equity"]:
            line = pd.DataFrame(metrics["equity"][name])
            times, look = pd.to_datetime(line["time"], utc=True), _look(metrics, name)
            top.plot(times, line["value"], **look)
            below.plot(times, line["value"] / line["value"].cummax() - 1, **look)
    top.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
    below.yaxis.set_major_formatter(PercentFormatter(1))
    _as_time(below)
    return _with_legend(figure, top)


def _as_time(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("time, UTC")


@mpl.rc_context(RC)
def coverage_chart(metrics: Metrics) -> Figure:
    """Draw the win rate and the net return per trade against the share of rows traded."""
    rows = pd.DataFrame(metrics["coverage"])
    rows = rows.loc[rows["realised"] > 0].sort_values("realised", kind="stable")
    figure, panel = _by_value(metrics, rows, "realised", _OF_TRADES)
    panel.set_xscale("log")
    panel.set_xticks(SHARES, [f"{share:.0%}" for share in SHARES])
    panel.minorticks_off()
    panel.set_xlabel("share of test rows traded, most confident first")
    return figure


def months_chart(metrics: Metrics) -> Figure:
    """Draw the win rate and the net return per trade by month."""
    rows = [row for row in metrics["regimes"] if row["month"] is not None]
    return _by_month(metrics, rows, _OF_TRADES)


@mpl.rc_context(RC)
def calibration_chart(metrics: Metrics) -> Figure:
    """Draw the observed share of rises against the forecast probability."""
    figure, (panel,) = _panels("observed share of rises")
    figure.set_figheight(3.6)
    for rows, look in _by_model(metrics, pd.DataFrame(metrics["calibration"])):
        if look["alpha"] < 1:  # an ensemble by vote forecasts 0 and 1: leave the headline the space
            panel.set(xlim=panel.get_xlim(), ylim=panel.get_ylim())
        _draw_line(panel, rows, "forecast", "observed", look)
    panel.axline((0.5, 0.5), slope=1, color=GREY, linewidth=0.8, linestyle=":")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    panel.set_xlabel("forecast P(up)")
    return _with_legend(figure, panel)


@mpl.rc_context(RC)
def _by_month(metrics: Metrics, rows: Sequence[Any], shown: Mapping[str, Any]) -> Figure:
    frame = pd.DataFrame(rows).sort_values("month", kind="stable")
    numbers, months = pd.factorize(frame["month"])
    figure, panel = _by_value(metrics, frame.assign(chosen=False, number=numbers), "number", shown)
    step = -(-len(months) // 7)
    panel.set_xticks(range(0, len(months), step), months[::step])
    panel.set_xlabel("month")
    return figure


def _by_value(
    metrics: Metrics, rows: pd.DataFrame, x: str, shown: Mapping[str, Any]
) -> tuple[Figure, Axes]:
    """Draw columns, given with labels and levels, against another; also return the last panel."""
    figure, panels = _panels(*(label for label, _ in shown.values()))
    for axes, (y, (_, level)) in zip(panels, shown.items(), strict=True):
        for found, look in _by_model(metrics, rows):
            chosen = found["chosen"].astype(bool)
            _draw_line(axes, found.loc[~chosen], x, y, look)
            marks = found.loc[chosen].dropna(subset=[y])
            if look["alpha"] == 1 and len(marks):
                mark = {"marker": "D", "fillstyle": "none", "markersize": 8, "zorder": 4}
                axes.plot(marks[x], marks[y], color=look["color"], linestyle="none", **mark)
        axes.axhline(level, color=GREY, linewidth=0.8, linestyle=":")
        if y == "win_rate":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _with_legend(figure, panels[0]), panels[-1]


def _panels(*labels: str) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, one above the other on the same axis of x."""
    figure = new_figure(WIDTH, 0.9 + PANEL_HEIGHT * len(labels))
    panels = figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, label in zip(panels, labels, strict=True):
        axes.set_ylabel(label)
        axes.grid(axis="y")
    return figure, list(panels)


def _by_model(metrics: Metrics, rows: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, dict]]:
    """Yield the rows and the look of each model: the headline first, the others faded behind it."""
    names = [name for name in metrics["models"] if (rows["model"] == name).any()]
    faded = metrics["headline"] in names
    for name in sorted(names, key=lambda name: name != metrics["headline"]):
        yield rows.loc[rows["model"] == name], _look(metrics, name, faded=faded)


def _look(metrics: Metrics, name: str, *, faded: bool = False) -> dict[str, Any]:
    """Return how a model is drawn; the headline is thick and never faded."""
    headline = name == metrics["headline"]
    return {
        **model_styles(metrics["models"])[name],
        "linewidth": 1.8 if headline else 0.9,
        "markersize": 3.5 if headline else 2,
        "alpha": 0.5 if faded and not headline else 1.0,
        "zorder": 3 if headline else 2,
        "label": model_label(name),
    }


def _draw_line(axes: Axes, rows: pd.DataFrame, x: str, y: str, look: dict[str, Any]) -> None:
    """Draw a model's rows as a line, with the intervals of shares if it is not faded."""
    axes.plot(rows[x], rows[y].astype(float), marker="o", **look)
    if look["alpha"] == 1 and y != "net_bps":
        ends = rows.dropna(subset=["low"])
        axes.vlines(ends[x], ends["low"], ends["high"], color=look["color"], linewidth=0.9)


def _with_legend(figure: Figure, axes: Axes, columns: int = 4) -> Figure:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return figure


def _months_of(metrics: Metrics) -> Iterator[dict[str, Any]]:
    """Yield the rows of months, with the ends of the interval of the rank IC."""
    for row in metrics.get("parts") or ():
        if row["part"] == "month":
            ends = {end: row["rank_ic"][end] for end in ("low", "high")}
            values = {name: row[name]["value"] for name in ("rank_ic", "net_bps")}
            yield {"model": row["model"], "month": row["of"], **ends, **values}


@mpl.rc_context(RC)
def quantile_chart(metrics: Metrics) -> Figure:
    """Draw the sum of the returns of each quantile of the headline's scores, less the mean."""
    figure, (panel,) = _panels("sum of returns, %")
    figure.set_figheight(3.2)
    curves = dict(metrics["curves"]["quantiles"])
    times = pd.to_datetime(curves.pop("time"), utc=True)
    shades = LinearSegmentedColormap.from_list("quantiles", (VERMILION, GREY, BLUE))
    for place, (number, values) in enumerate(curves.items()):
        colour, edge = shades(place / (len(curves) - 1)), place in (0, len(curves) - 1)
        values = 100 * np.array(values, float)
        label = f"{number}, {'lowest' if place == 0 else 'highest'} scores" if edge else number
        panel.plot(times, values, color=colour, linewidth=1.6 if edge else 0.9, label=label)
    panel.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
    _as_time(panel)
    return _with_legend(figure, panel, len(curves))


@mpl.rc_context(RC)
def portfolio_chart(metrics: Metrics) -> Figure:
    """Draw the turnover, the largest weights and the number of symbols of the headline."""
    found = pd.DataFrame(metrics["curves"]["portfolio"])
    times = pd.to_datetime(found.pop("time"), utc=True)
    figure, panels = _panels("turnover per day", "largest weight", "symbols")
    for axes, names in zip(panels, (("turnover",), ("long", "short"), ("names",)), strict=True):
        for name, colour in zip(names, (BLUE, VERMILION), strict=False):
            axes.plot(times, found[name], color=colour, linewidth=1, label=name)
    for axes in panels[:2]:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    panels[1].legend(ncols=2, loc="upper right")
    panels[2].set_ylim(bottom=0)
    _as_time(panels[2])
    return figure


@mpl.rc_context(RC)
def class_confusion(model: str, counts: Sequence[Sequence[int]], classes: Names) -> Figure:
    """Draw the confusion matrix of one model: a row per true class, a column per predicted class.

    Cells show counts and their share of the row, which is also the shade.
    """
    figure = new_figure(0.85 * len(classes) + 1.4, 0.55 * len(classes) + 1.3)
    panel, cells = figure.subplots(), np.array(counts)
    n, shares = int(cells.sum()), cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    names = [name.replace("_", "\n")[:LONGEST_NAME] for name in classes]
    texts = [f"{k:,}\n{s:.1%}" if k else "0" for k, s in zip(cells.flat, shares.flat, strict=True)]
    _draw_cells(panel, shares, texts, names, names)
    correct = f"{np.trace(cells) / n:.2%}" if n else MISSING
    panel.set_title(f"{model}\n{correct} of {n:,} correct")
    panel.set_aspect("auto")
    panel.tick_params(axis="y", labelrotation=0)
    panel.set(xlabel="predicted", ylabel="true")
    return figure


@mpl.rc_context(RC)
def regime_matrix(metrics: Metrics) -> Figure:
    """Draw the gross win rate of the headline model by volatility (rows) and trend (columns).

    Cells show the win rate and the number of rows. Blue cells are above 50 %, red cells below; the
    strongest shades are at 60 % and 40 %.
    """
    frame = pd.DataFrame([row for row in metrics["regimes"] if row["month"] is None])
    frame = frame.set_index(["model", "volatility", "trend"]).loc[metrics["headline"]]
    cells = frame.reindex(pd.MultiIndex.from_product((VOLATILITIES, TRENDS)))
    rates, counts = cells["win_rate"].to_numpy(np.float64), cells["n"].fillna(0)
    texts = [
        f"{MISSING if np.isnan(rate) else f'{rate:.1%}'}\n{n:,.0f}"
        for rate, n in zip(rates, counts, strict=True)
    ]
    figure = new_figure(3.4, 2.6)
    panel = figure.subplots()
    _draw_cells(panel, (rates.reshape(3, 3) - 0.5) / 0.1, texts, TRENDS, VOLATILITIES)
    panel.set_aspect("auto")
    panel.set(xlabel="trend", ylabel="volatility")
    return figure


def _draw_cells(
    panel: Axes, strengths: NDArray[np.float64], texts: Names, across: Names, down: Names
) -> None:
    """Shade cells by strengths from -1 (red) to 1 (blue), NaN unshaded, and write texts in them."""
    strengths = np.nan_to_num(np.clip(strengths, -1, 1))
    shades = np.empty((*strengths.shape, 4))
    shades[..., :3] = np.where(strengths[..., None] > 0, to_rgb(BLUE), to_rgb(VERMILION))
    shades[..., 3] = STRONGEST * np.abs(strengths)
    panel.imshow(shades)
    for (row, column), text in zip(np.ndindex(strengths.shape), texts, strict=True):
        panel.text(column, row, text, size=7.5, ha="center", va="center", linespacing=1.4)
    panel.set_xticks(range(len(across)), across)
    panel.set_yticks(range(len(down)), down, rotation=90, va="center")
    panel.spines[:].set_visible(True)


@dataclass(frozen=True)
class Picture:
    """A figure of the report: the `<svg>` element for the page, and `<name>.png`."""

    name: str
    title: str
    svg: Markup
    png: bytes

    @classmethod
    def draw(cls, name: str, title: str, figure: Figure) -> Picture:
        """Write a figure in both formats, which changes the figure; the layout is computed once.

        The text and the grid of the `<svg>` element take their colours from the page.
        """
        png, svg = io.BytesIO(), io.StringIO()
        with mpl.rc_context({**RC, "svg.hashsalt": name}):
            # savefig would draw twice; metadata would hold the version of matplotlib
            FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
            figure.set_layout_engine("none")  # keep the layout that drawing computed
            figure.patch.set_visible(False)
            FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
        text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg.getvalue(), flags=re.S)
        body = re.sub(r"<[^>]+>", _clean_tag, text[text.index(">", text.index("<svg")) + 1 :])
        width, height = (round(72 * inches) for inches in figure.get_size_inches())
        element = Markup(  # noqa: S704  matplotlib escapes all texts of a figure
            f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" '
            f'style="--width: {width}">{body}'
        )
        return cls(name, title, element, png.getvalue())


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, with a layout that makes room for labels."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    return figure


def _clean_tag(match: re.Match[str]) -> str:
    """Shorten a tag of matplotlib's SVG and replace the colours of `THEME`."""
    tag = match[0].replace("xlink:", "")
    if tag.startswith("<g "):
        tag = re.sub(r' id="[^"]*"', "", tag)  # the same in every figure, and never used
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r"\d+\.\d{3,}", lambda number: f"{round(float(number[0]), 2):g}", tag)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: THEME.get(colour[0], colour[0]), tag)
