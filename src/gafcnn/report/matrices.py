"""Figures of small matrices: confusion matrices, and win rates by market regime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gafcnn.report.drawing import RC, new_figure
from gafcnn.report.formatters import MISSING
from gafcnn.report.palette import BLUE, VERMILION

PANELS_PER_LINE = 4
STRONGEST = 0.65  # opacity of the strongest shade, on which text is still legible
LONGEST_NAME = 30  # characters of a class on the axes
CLASSES = ("down", "up")
VOLATILITIES, TRENDS = ("high", "middle", "low"), ("down", "flat", "up")

Floats = NDArray[np.float64]


@mpl.rc_context(RC)
def confusion_matrices(
    metrics: Mapping[str, Any], rows: Literal["labelled", "all"] = "labelled"
) -> Figure:
    """Draw the confusion matrix of each model: the outcome (down, up) against the forecast.

    Cells show counts and their share of the row, so that rows sum to 100 %. Blue cells have more
    than 50 %, red cells less; the strongest shades are at 80 % and 20 %.
    """
    figure, panels = _panel_grid(metrics["confusion"], "forecast", "outcome")
    for name, panel in panels.items():
        counts = np.array(metrics["confusion"][name][rows])
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        texts = [f"{n:,}\n{share:.1%}" for n, share in zip(counts.flat, shares.flat, strict=True)]
        _draw_cells(panel, (shares - 0.5) / 0.3, texts, CLASSES, CLASSES)
        panel.set_title(f"{name}\n{_accuracy(counts)}")
    figure.suptitle(f"Outcome against forecast, {rows} rows (shares by row)")
    return figure


@mpl.rc_context(RC)
def class_confusion(model: str, counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix of one model of several classes.

    Cells show counts and their share of the row, which is also the shade.

    Args:
        model: The name of the model.
        counts: One row per true class, one count per predicted class.
        classes: The names of the classes, in the order of their numbers.
    """
    cells = np.array(counts)
    figure = new_figure(0.85 * len(classes) + 1.4, 0.55 * len(classes) + 1.3)
    panel = figure.subplots()
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    texts = [f"{n:,}\n{s:.1%}" if n else "0" for n, s in zip(cells.flat, shares.flat, strict=True)]
    names = [name.replace("_", "\n")[:LONGEST_NAME] for name in classes]
    _draw_cells(panel, shares, texts, names, names)
    panel.set_aspect("auto")
    panel.tick_params(axis="y", labelrotation=0)
    panel.set(xlabel="predicted", ylabel="true")
    panel.set_title(f"{model}\n{_accuracy(cells)}")
    return figure


@mpl.rc_context(RC)
def regime_matrices(metrics: Mapping[str, Any]) -> Figure:
    """Draw the gross win rate of each model by volatility (rows) and trend (columns).

    Cells show the win rate and the number of rows. Blue cells are above 50 %, red cells below; the
    strongest shades are at 60 % and 40 %.
    """
    found = {
        (row["model"], row["volatility"], row["trend"]): row
        for row in metrics["regimes"]
        if row["month"] is None
    }
    figure, panels = _panel_grid(dict.fromkeys(model for model, *_ in found), "trend", "volatility")
    for name, panel in panels.items():
        cells = [found.get((name, v, trend), {}) for v in VOLATILITIES for trend in TRENDS]
        rates = np.array([cell.get("win_rate") for cell in cells], dtype=np.float64)
        counts = [cell.get("n", 0) for cell in cells]
        texts = [
            f"{MISSING if np.isnan(rate) else f'{rate:.1%}'}\n{n:,}"
            for rate, n in zip(rates, counts, strict=True)
        ]
        _draw_cells(panel, (rates.reshape(3, 3) - 0.5) / 0.1, texts, TRENDS, VOLATILITIES)
        panel.set_title(name)
    figure.suptitle("Gross win rate and number of rows by volatility and trend")
    return figure


def _panel_grid(
    models: Iterable[str], x_label: str, y_label: str
) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with one panel per model."""
    names = list(models)
    lines, columns = -(-len(names) // PANELS_PER_LINE), min(len(names), PANELS_PER_LINE)
    figure = new_figure(max(2.0 * columns + 0.4, 4.4), 2.4 * lines + 0.4)
    grid = figure.subplots(lines, columns, squeeze=False)
    for panel in grid.flat:
        panel.set_xlabel(x_label)
    for panel in grid[:, 0]:
        panel.set_ylabel(y_label)
    for panel in grid.flat[len(names) :]:
        panel.remove()
    return figure, dict(zip(names, grid.flat, strict=False))


def _draw_cells(
    panel: Axes, strengths: Floats, texts: Sequence[str], across: Sequence[str], down: Sequence[str]
) -> None:
    """Shade cells by strengths from -1 (red) to 1 (blue), NaN unshaded, and write texts in them."""
    strengths = np.nan_to_num(np.clip(strengths, -1, 1))
    shades = np.empty((*strengths.shape, 4))
    shades[..., :3] = np.where(strengths[..., None] > 0, to_rgb(BLUE), to_rgb(VERMILION))
    shades[..., 3] = STRONGEST * np.abs(strengths)
    panel.imshow(shades)
    size = 9 if len(strengths) == 2 else 7.5
    for (row, column), text in zip(np.ndindex(strengths.shape), texts, strict=True):
        panel.text(column, row, text, size=size, ha="center", va="center", linespacing=1.4)
    panel.set_xticks(range(len(across)), across)
    panel.set_yticks(range(len(down)), down, rotation=90, va="center")
    panel.spines[:].set_visible(True)


def _accuracy(counts: NDArray[np.int64]) -> str:
    n = int(counts.sum())
    return f"{f'{np.trace(counts) / n:.2%}' if n else MISSING} of {n:,} correct"
