"""Figures as SVG for the page and as PNG files, by matplotlib without pyplot; styles of models."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from gafcnn.evaluation.ensembles import ENSEMBLES
from gafcnn.report.formatters import BUY_AND_HOLD, ORACLE

DPI = 200
INK, MUTED, RULE = "#1f2933", "#5b6773", "#d9dfe5"

# Okabe and Ito (2008) without yellow and black, then Tol (2021): distinct for colour-blind readers
# and visible on white and on near black
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"),
    *("#d55e00", "#999933", "#aa4499", "#8c6d5a", "#6478d6"),
)
BLUE, VERMILION, GREY = COLOURS[0], COLOURS[5], "#8a929c"

THEME = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)"}
"""Colours of a figure that follow the colour scheme of the page."""

RC: Any = {
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
"""matplotlib settings that apply while a figure is built and while it is written."""


class Style(NamedTuple):
    """The colour of a model's line, as #rrggbb, and its line style."""

    colour: str
    line: Literal["solid", "dashed", "dotted"]


def model_styles(models: Iterable[str]) -> dict[str, Style]:
    """Return the style of each model by its position, and a grey one for buy and hold.

    Single models are solid, ensembles dashed and the oracle dotted, so that kinds of models differ
    in more than colour.
    """
    styles = {BUY_AND_HOLD: Style(GREY, "solid")}
    for name, colour in zip(models, cycle(COLOURS), strict=False):
        line = "dotted" if name == ORACLE else "dashed" if name in ENSEMBLES else "solid"
        styles[name] = Style(colour, line)
    return styles


@dataclass(frozen=True)
class Picture:
    """A figure of the report, as SVG and PNG.

    Attributes:
        name: The name of its PNG file without the suffix.
        title: A description in one line.
        svg: The `<svg>` element for the page.
        png: The content of the PNG file.
    """

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
    tag = re.sub(r"\s+", " ", tag) if "base64" not in tag else tag
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: THEME.get(colour[0], colour[0]), tag)
