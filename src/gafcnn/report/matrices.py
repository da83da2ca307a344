"""Figures of small matrices, a panel for each model: confusion, and win rates by regime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gafcnn.errors import PredictionsError
from gafcnn.report.console import groups
from gafcnn.report.formatters import NONE
from gafcnn.report.plotting import INK, MUTED, RULE, blank, quiet

PANELS_A_LINE = 4
CLASSES = ("down", "up")
VOLATILITIES, TRENDS = ("high", "middle", "low"), ("down", "flat", "up")


def confusion_matrices(
    judgement: Mapping[str, Any], rows: Literal["labelled", "all"] = "labelled", title: str = ""
) -> Figure:
    """Draw one confusion matrix per model: the outcome (down, up) against the forecast.

    Cells hold counts and their share of the row, so that a row adds up to 100 %. The shade is the
    share, on one scale for all panels: white is a coin's 50 %, blue is more, red is less, full from
    80 % and 20 %. Ensembles begin a new line.

    Args:
        judgement: What metrics.json holds; `confusion` is read.
        rows: The rows to show.
        title: A line above all panels.

    Raises:
        PredictionsError: There is no model to draw.
    """
    figure, panels = _panels(judgement["confusion"], labels=("outcome", "forecast"))
    for name, panel in panels.items():
        _draw_confusion(panel, name, np.array(judgement["confusion"][name][rows]))
    figure.suptitle(
        title or f"Outcome against forecast, {rows} rows (shares by row)", color=INK, size=11
    )
    return figure


def class_confusion(model: str, counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw one model's confusion matrix of several classes: what was there against what was called.

    Cells hold counts and their share of the line, which is also the shade, from white (none) to
    blue (all). A line of a class that does not occur is grey.

    Args:
        model: Its name.
        counts: A line for each class, a count for each class called.
        classes: Names, in the order of their numbers.
    """
    cells = np.array(counts)
    figure = blank(1.05 * len(classes) + 1.6, 0.72 * len(classes) + 1.6)
    panel = figure.subplots()
    of_class = cells.sum(axis=1, keepdims=True)
    nowhere = np.full(cells.shape, np.nan)
    share = np.divide(cells, of_class, out=nowhere, where=of_class > 0)
    panel.set_facecolor("#eef0f3")
    panel.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (line, column), n in np.ndenumerate(cells):
        part = share[line, column]
        text = panel.text(column, line, f"{n:,}\n{part:.1%}" if n else "0", fontsize=8.5)
        text.set(color="white" if part > 0.6 else INK if n else MUTED)
        text.set(ha="center", va="center", linespacing=1.3)
    names = [name.replace("_", "\n") for name in classes]
    n = int(cells.sum())
    accuracy = f"{np.trace(cells) / n:.2%}" if n else NONE
    _name(panel, model, f"{accuracy} of {n:,} right", tuple(names), tuple(names))
    panel.tick_params(axis="y", labelrotation=0)
    panel.set_xlabel("called", color=MUTED)
    panel.set_ylabel("there", color=MUTED)
    return figure


def regime_matrices(judgement: Mapping[str, Any]) -> Figure:
    """Draw the gross win rate of each model by volatility (lines) and trend (columns).

    Cells hold the win rate and the rows decided in that regime. White is 50 %, blue is more, red is
    less, full from 60 % and 40 %; a regime without a win rate is grey.

    Args:
        judgement: What metrics.json holds; of `regimes` the rows without a month are read.

    Raises:
        PredictionsError: No model has a regime.
    """
    cells = {
        (row["model"], row["volatility"], row["trend"]): row
        for row in judgement["regimes"]
        if row["month"] is None
    }
    names = dict.fromkeys(model for model, *_ in cells)
    figure, panels = _panels(names, labels=("volatility", "trend"))
    for name, panel in panels.items():
        grid = [[cells.get((name, v, trend)) for trend in TRENDS] for v in VOLATILITIES]
        _draw_regimes(panel, name, grid)
    figure.suptitle(
        "Gross win rate by volatility and trend, and rows decided there", color=INK, size=11
    )
    return figure


def _panels(models: Iterable[str], labels: tuple[str, str]) -> tuple[Figure, dict[str, Axes]]:
    """A figure and a panel for each model; labels stand at the left and below."""
    lines = [
        names[start : start + PANELS_A_LINE]
        for names in groups(models)
        for start in range(0, len(names), PANELS_A_LINE)
    ]
    if not lines:
        raise PredictionsError(
            "there are no scores to draw",
            expected="the scores of at least one model",
            instead="judge one at least",
        )
    columns = max(len(names) for names in lines)
    figure = blank(max(2.4 * columns + 0.6, 5.0), 2.95 * len(lines) + 0.5)
    grid = figure.subplots(len(lines), columns, squeeze=False)
    panels = {}
    for axes, names in zip(grid, lines, strict=True):
        axes[0].set_ylabel(labels[0], color=MUTED)
        for panel, name in zip(axes, names, strict=False):
            panel.set_xlabel(labels[1], color=MUTED)
            panels[name] = panel
        for panel in axes[len(names) :]:
            panel.remove()
    return figure, panels


def _draw_confusion(panel: Axes, name: str, counts: NDArray[np.int64]) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = [
        [f"{n:,}\n{part:.1%}" for n, part in zip(line, shares, strict=True)]
        for line, shares in zip(counts, share, strict=True)
    ]
    _draw_cells(panel, share, texts, reach=0.3)
    n = int(counts.sum())
    accuracy = f"{np.trace(counts) / n:.2%}" if n else NONE
    _name(panel, name, f"{accuracy} of {n:,} right", CLASSES, CLASSES)


def _draw_regimes(panel: Axes, name: str, grid: list[list[dict[str, Any] | None]]) -> None:
    rates = [[_rate(row) for row in line] for line in grid]
    texts = [
        [
            f"{NONE if np.isnan(rate) else f'{rate:.1%}'}\n{row['n'] if row else 0:,}"
            for rate, row in zip(line, rows, strict=True)
        ]
        for line, rows in zip(rates, grid, strict=True)
    ]
    _draw_cells(panel, np.array(rates), texts, reach=0.1)
    rows = sum(row["n"] for line in grid for row in line if row)
    _name(panel, name, f"{rows:,} rows", TRENDS, VOLATILITIES)


def _rate(row: Mapping[str, Any] | None) -> float:
    return np.nan if row is None or row["win_rate"] is None else row["win_rate"]


def _draw_cells(
    panel: Axes, share: NDArray[np.float64], texts: list[list[str]], reach: float
) -> None:
    """Shade cells by their share, white at a half, full at `reach` from it; write in them."""
    panel.set_facecolor("#eef0f3")
    panel.imshow(share, cmap="RdBu", vmin=0.5 - reach, vmax=0.5 + reach)
    for (line, column), part in np.ndenumerate(share):
        dark = abs(part - 0.5) > 0.6 * reach
        ink, size = "white" if dark else INK, 10 if len(share) == 2 else 8.5
        text = panel.text(column, line, texts[line][column], color=ink, fontsize=size)
        text.set(ha="center", va="center", linespacing=1.4)


def _name(
    panel: Axes, name: str, summary: str, across: tuple[str, ...], down: tuple[str, ...]
) -> None:
    panel.set_title(name, loc="left", color=INK, fontweight="bold", fontsize=11, pad=20)
    panel.annotate(
        summary, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
        color=MUTED, fontsize=9,
    )  # fmt: skip
    panel.set_xticks(range(len(across)), across)
    panel.set_yticks(range(len(down)), down, rotation=90, va="center")
    quiet(panel)
    panel.spines[:].set(visible=True, color=RULE)
