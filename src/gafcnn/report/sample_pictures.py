"""Pictures of single samples: the series, the image of the network, and what a forecast used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from gafcnn.report.charts import BLUE, INK, MUTED, RC, VERMILION, new_figure

LARGEST = 3  # points that a description names
LONGEST_IN_MINUTES = 300.0  # longer windows are shown in hours

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attributions:
    """The contribution of each point to a forecast, in log-odds of the predicted class.

    Attributes:
        folded: Attributions of pixels, summed by point of the window: shape (points,).
        occluded: The loss of log-odds when a point is hidden: shape (points,).
        cam: Grad-CAM, shape (height, width), not negative; None if there is none.
    """

    folded: Floats
    occluded: Floats
    cam: Floats | None = None

    def describe(self, times: pd.DatetimeIndex) -> str:
        """Name the points with the largest shares, given the times of all points."""
        before, unit = _time_before_last(times)
        share = np.abs(shares(self.folded))
        largest = np.argsort(-share, kind="stable")[:LARGEST]
        named = ", ".join(f"{abs(before[point]):g}" for point in np.sort(largest))
        return f"{share[largest].sum():.0%} of the attribution is at {named} {unit} before t"


def shares(attributed: Floats) -> Floats:
    """Divide attributions by the sum of their magnitudes; zeros stay zeros."""
    total = np.abs(attributed).sum()
    return attributed / total if total else np.zeros(len(attributed))


@mpl.rc_context(RC)
def sample_image(
    series: pd.Series,
    channels: Mapping[str, NDArray[Any]],
    title: str = "",
    attributions: Attributions | None = None,
    upright: Collection[str] = (),
) -> Figure:
    """Draw one sample: its series, and beside it the channels that the network sees.

    With attributions, the panel below the series shows the share of each point: bars are
    attributions of pixels summed by point, rings the effect of hiding a point. Blue supports the
    predicted class, red opposes it. The last panel is Grad-CAM.

    Args:
        series: The values that the image is made of, by UTC time, the last at `t`.
        channels: Channels of the image by name: ndarrays of shape (size, size) in [-1, 1].
        title: The title; the decision time by default.
        attributions: The contributions of the points.
        upright: Names of channels that are bar images: three columns for each point, the last at
            the right edge, and prices from the bottom to the top.
    """
    times = pd.DatetimeIndex(series.index)
    before, unit = _time_before_last(times)
    half = (before[-1] - before[0]) / (len(before) - 1) / 2
    edges = (before[0] - half, before[-1] + half)  # of the cells of the first and the last point
    shown = [(name, channel, "RdBu_r", -1.0, 1.0) for name, channel in channels.items()]
    if attributions is not None and attributions.cam is not None:
        cam = attributions.cam
        shown.append(("Grad-CAM", cam, "YlGnBu", 0.0, cam.max() or 1.0))
    figure = new_figure(3.4 + 2.3 * len(shown), 3.1)
    widths = (1.5, *[1.0] * len(shown))
    grid = figure.add_gridspec(2, len(widths), width_ratios=widths, height_ratios=(1.7, 1))
    line = below = figure.add_subplot(grid[:, 0] if attributions is None else grid[0, 0])
    line.plot(before, series, color=BLUE, linewidth=1.2, marker="o", markersize=2.2)
    line.plot(before[-1], series.iloc[-1], color=BLUE, marker="o", markersize=5.5)
    line.set(xlim=edges, title=str(series.name or "price"))
    line.ticklabel_format(axis="y", useOffset=False)
    line.grid(axis="y")
    if attributions is not None:
        below = figure.add_subplot(grid[1, 0])
        _draw_attributions(line, below, before, attributions)
    images = []
    for place, (name, image, colours, low, high) in enumerate(shown, start=1):
        panel = figure.add_subplot(grid[:, place], title=name)
        look: Any = {"cmap": colours, "vmin": low, "vmax": high, "origin": "lower"}
        extent = edges * 2
        if name in upright or (name not in channels and len(upright) == len(channels)):
            look["origin"] = "upper"
            pixels = len(next(iter(channels.values())))  # of which a point has three
            extent = (edges[1] - pixels / 3 * 2 * half, edges[1]) * 2
            panel.yaxis.set_visible(False)
        images.append(panel.imshow(image, extent=extent, **look))
    squares = [image.axes for image in images]
    for axis in (below.xaxis, *(axis for panel in squares for axis in (panel.xaxis, panel.yaxis))):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 3, 5, 10]))
        axis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axis.set_label_text(f"{unit} before t")
    scale = figure.colorbar(
        images[0], ax=squares[: len(channels)], ticks=[-1, -0.5, 0, 0.5, 1], pad=0.02, aspect=25
    )
    scale.outline.set_visible(False)
    figure.suptitle(title or f"t = {times[-1]:%Y-%m-%d %H:%M} UTC")
    return figure


def _draw_attributions(above: Axes, below: Axes, before: Floats, found: Attributions) -> None:
    """Draw the shares of points as bars, and behind the series as stripes."""
    folded, occluded = shares(found.folded), shares(found.occluded)
    bounds = np.linspace(*above.get_xlim(), len(before) + 1)
    opacities = 0.5 * np.abs(folded) / (np.abs(folded).max() or 1)
    for left, right, share, alpha in zip(bounds, bounds[1:], folded, opacities, strict=False):
        colour = BLUE if share > 0 else VERMILION
        above.axvspan(left, right, color=colour, alpha=alpha, linewidth=0)
    above.set_xticks([])
    width = 0.8 * (before[1] - before[0])
    below.bar(before, np.maximum(folded, 0), width, color=BLUE, label="supports")
    below.bar(before, np.minimum(folded, 0), width, color=VERMILION, label="opposes")
    below.plot(before, occluded, "o", color=INK, fillstyle="none", markersize=3.5, label="hidden")
    below.axhline(0, color=MUTED, linewidth=0.6)
    below.set(xlim=above.get_xlim(), title="share")
    below.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    below.legend(
        fontsize=7, ncols=3, loc="lower right", bbox_to_anchor=(1.02, 0.95),
        handlelength=1.2, handletextpad=0.4, columnspacing=1.0,
    )  # fmt: skip
    below.grid(axis="y")


def _time_before_last(times: pd.DatetimeIndex) -> tuple[Floats, str]:
    """Return times relative to the last one in minutes, or in hours for long windows."""
    minutes = np.asarray((times - times[-1]) / pd.Timedelta("1min"), dtype=np.float64)
    long = minutes[0] < -LONGEST_IN_MINUTES
    return (minutes / 60, "hours") if long else (minutes, "minutes")
