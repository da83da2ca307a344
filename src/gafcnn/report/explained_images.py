"""The figure of an explanation: what a forecast rested on, bar by bar, beside what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gafcnn.errors import ImagesError
from gafcnn.report.palette import COLOURS
from gafcnn.report.plotting import (
    INK,
    MUTED,
    RULE,
    before_last,
    blank,
    check_sample,
    draw_channel,
    draw_scale,
    draw_series,
    edges,
    in_time,
    quiet,
)

FOR, AGAINST = COLOURS[0], COLOURS[5]  # blue and vermilion
NAMED = 3  # points that are told in words

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attributions:
    """What a forecast rested on, in log-odds of the class that was called; positive spoke for it.

    Attributes:
        folded: Attributions to pixels, folded onto the points of the window: shape (points,).
        occluded: What is lost where a point is hidden: shape (points,).
        cam: Grad-CAM, shape (height, width), 0 or more; None where there is none.
    """

    folded: Floats
    occluded: Floats
    cam: Floats | None = None

    def told(self, times: pd.DatetimeIndex) -> str:
        """The points with the largest shares, in words; `times` are the points'."""
        ago, unit = before_last(times)
        share = np.abs(shares(self.folded))
        largest = np.argsort(-share, kind="stable")[:NAMED]
        named = ", ".join(f"{abs(ago[point]):g}" for point in np.sort(largest))
        return f"{share[largest].sum():.0%} of the attribution lies {named} {unit} before t"


def shares(attributed: Floats) -> Floats:
    """Attributions as parts of all there is, for and against: magnitudes sum to 1, or are all 0."""
    whole = np.abs(attributed).sum()
    return attributed / whole if whole else np.zeros(len(attributed))


def explained_image(
    series: pd.Series,
    channels: Mapping[str, NDArray[Any]],
    attributions: Attributions,
    title: str = "",
) -> Figure:
    """Draw one sample and what a forecast of it rested on.

    To the left the series, behind each point a stripe of its share, and below it the shares: bars
    are pixels folded back onto points, rings are what hiding a point costs. Blue spoke for what was
    called, vermilion against it. To the right what the network sees, and where Grad-CAM looks.

    Args:
        series: What the image was made of, by UTC time, the last at the decision time t.
        channels: Of the image, by what they are called: ndarrays of shape (size, size) in [-1, 1].
        attributions: What the forecast rested on, for each point of the series.
        title: A line above; by default the decision time.

    Raises:
        ImagesError: The channels are no squares in [-1, 1], or there is not one attribution for
            each point.
    """
    check_sample(series, channels)
    _check(series, attributions)
    times = pd.DatetimeIndex(series.index)
    ago, unit = before_last(times)
    squares = [*channels, *([] if attributions.cam is None else ["Grad-CAM"])]
    figure = blank(5.0 + 2.9 * len(squares), 3.9)
    panels = figure.subplot_mosaic(
        [["series", *squares], ["shares", *squares]],
        width_ratios=(1.55, *[1.0] * len(squares)),
        height_ratios=(1.7, 1.0),
    )
    _draw_stripes(panels["series"], ago, shares(attributions.folded))
    draw_series(panels["series"], str(series.name or "price"), ago, series.to_numpy(np.float64))
    panels["series"].set_xticks([])
    _draw_shares(panels["shares"], ago, attributions)
    shown = [draw_channel(panels[name], name, channel, ago) for name, channel in channels.items()]
    if attributions.cam is not None:
        _draw_cam(panels["Grad-CAM"], attributions.cam, ago)
    axes = [axis for name in squares for axis in (panels[name].xaxis, panels[name].yaxis)]
    in_time(unit, panels["shares"].xaxis, *axes)
    draw_scale(figure, shown[0], [panels[name] for name in channels])
    figure.suptitle(title or f"t = {times[-1]:%Y-%m-%d %H:%M} UTC", color=INK)
    return figure


def _draw_stripes(panel: Axes, ago: Floats, share: Floats) -> None:
    """Behind each point its share, the largest in full colour."""
    first, last = edges(ago)
    bounds = np.linspace(first, last, len(ago) + 1)
    largest = np.abs(share).max() or 1.0
    for left, right, part in zip(bounds, bounds[1:], share, strict=False):
        alpha = 0.55 * abs(part) / largest
        panel.axvspan(left, right, color=FOR if part > 0 else AGAINST, alpha=alpha, linewidth=0)


def _draw_shares(panel: Axes, ago: Floats, attributions: Attributions) -> None:
    folded, occluded = shares(attributions.folded), shares(attributions.occluded)
    width = 0.8 * (ago[1] - ago[0])
    panel.bar(ago, np.maximum(folded, 0), width, color=FOR, label="for")
    panel.bar(ago, np.minimum(folded, 0), width, color=AGAINST, label="against")
    panel.plot(ago, occluded, "o", color=INK, fillstyle="none", markersize=4.5, label="hidden")
    panel.axhline(0, color=RULE, linewidth=0.8)
    panel.set_xlim(edges(ago))
    panel.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))  # whole percents
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    panel.set_title("share of the call", loc="left", color=INK, fontsize=11)
    panel.legend(
        frameon=False, fontsize=8.5, ncols=3, loc="lower right", bbox_to_anchor=(1.02, 0.97),
        handlelength=1.2, handletextpad=0.4, columnspacing=1.0, labelcolor=MUTED,
    )  # fmt: skip
    panel.grid(axis="y", color="#e3e7eb", linewidth=0.8)
    panel.set_axisbelow(True)
    quiet(panel)


def _draw_cam(panel: Axes, cam: Floats, ago: Floats) -> None:
    ends = edges(ago)
    panel.imshow(
        cam, cmap="YlGnBu", vmin=0, vmax=cam.max() or 1.0, origin="lower", extent=(*ends, *ends)
    )
    if not cam.any():
        panel.text(
            0.5, 0.5, "nothing for the call", color=MUTED, ha="center", transform=panel.transAxes
        )
    panel.set_title("Grad-CAM", loc="left", color=INK, fontsize=11)
    panel.tick_params(labelcolor=MUTED)
    quiet(panel)


def _check(series: pd.Series, attributions: Attributions) -> None:
    shapes = [attributions.folded.shape, attributions.occluded.shape]
    if shapes != [(len(series),)] * 2:
        raise ImagesError(
            f"attributions of shapes {shapes} are not of a series of {len(series)}",
            expected="one for each of its points",
            instead="give those of one sample, `explain(...).folded[0]`",
        )
