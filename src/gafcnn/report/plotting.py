"""Figures as PNG: matplotlib's Figure objects, without pyplot and its global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gafcnn.atomic_io import write_bytes
from gafcnn.errors import ImagesError

DPI = 150
INK, MUTED, RULE, LINE = "#1f2933", "#66737f", "#d5dbe1", "#1f5fa8"
HOURS_FROM = -300.0  # minutes


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure as PNG, whole or not at all; the same figure gives the same bytes."""
    write_bytes(Path(path), png(figure))


def png(figure: Figure) -> bytes:
    """A figure as PNG."""
    file, dpi, canvas = io.BytesIO(), figure.get_dpi(), figure.canvas
    figure.set_dpi(DPI)
    try:
        # not savefig, which draws twice, the first time for nothing but the layout that drawing
        # makes anyway; and matplotlib would sign the file with its version
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    finally:
        figure.set_canvas(canvas)
        figure.set_dpi(dpi)
    return file.getvalue()


def blank(width: float, height: float) -> Figure:
    """An empty white figure, in inches, that finds room for its labels."""
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    return figure


def quiet(panel: Axes) -> None:
    """Leave out the frame and the ticks' marks."""
    panel.spines[:].set_visible(False)
    panel.tick_params(colors=MUTED, length=0)


def sample_image(
    series: pd.Series, channels: Mapping[str, NDArray[Any]], title: str = ""
) -> Figure:
    """Draw one sample: a series of it, and beside it what a network sees.

    Args:
        series: What the image was made of, by UTC time, the last at the decision time t.
        channels: Of the image, by what they are called: ndarrays of shape (size, size) in [-1, 1].
        title: A line above; by default the decision time.

    Raises:
        ImagesError: The channels are no squares in [-1, 1], or have no series to them.
    """
    check_sample(series, channels)
    times = pd.DatetimeIndex(series.index)
    ago, unit = before_last(times)
    figure = blank(4.6 + 3.2 * len(channels), 3.8)
    line, *squares = figure.subplots(
        1, 1 + len(channels), width_ratios=(1.25, *[1.0] * len(channels))
    )
    draw_series(line, str(series.name or "price"), ago, series.to_numpy(dtype=np.float64))
    shown = [
        draw_channel(panel, name, channel, ago)
        for panel, (name, channel) in zip(squares, channels.items(), strict=True)
    ]
    in_time(unit, line.xaxis, *(axis for panel in squares for axis in (panel.xaxis, panel.yaxis)))
    draw_scale(figure, shown[0], squares)
    figure.suptitle(title or f"t = {times[-1]:%Y-%m-%d %H:%M} UTC", color=INK)
    return figure


def in_time(unit: str, *axes: Axis) -> None:
    """Let axes count back from the decision, as "15 minutes before t"."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 3, 5, 10]))
        axis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axis.set_label_text(f"{unit} before t", color=MUTED)


def draw_scale(figure: Figure, shown: AxesImage, panels: Sequence[Axes]) -> None:
    """Draw what the colours of channels mean, to the right of them."""
    bar = figure.colorbar(shown, ax=[*panels], ticks=[-1, -0.5, 0, 0.5, 1], pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, length=0)


def draw_series(
    panel: Axes, name: str, ago: NDArray[np.float64], prices: NDArray[np.float64]
) -> None:
    """Draw a series, its last point larger."""
    panel.plot(ago, prices, color=LINE, linewidth=1.6, marker="o", markersize=3)
    panel.plot(ago[-1], prices[-1], color=LINE, marker="o", markersize=7)
    panel.set_xlim(edges(ago))
    panel.set_title(name, loc="left", color=INK, fontsize=11)
    panel.ticklabel_format(axis="y", useOffset=False)
    panel.grid(axis="y", color="#e3e7eb", linewidth=0.8)
    quiet(panel)


def draw_channel(
    panel: Axes, name: str, channel: NDArray[Any], ago: NDArray[np.float64]
) -> AxesImage:
    """Draw a channel, time to the right and upwards."""
    ends = edges(ago)
    shown = panel.imshow(
        channel, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower", extent=(*ends, *ends)
    )
    panel.set_title(name, loc="left", color=INK, fontsize=11)
    quiet(panel)
    return shown


def edges(ago: NDArray[np.float64]) -> tuple[float, float]:
    """Where the first point's cell begins and the last one's ends."""
    half = (ago[-1] - ago[0]) / (len(ago) - 1) / 2
    return float(ago[0] - half), float(ago[-1] + half)


def before_last(times: pd.DatetimeIndex) -> tuple[NDArray[np.float64], str]:
    """Times as minutes (a long stretch as hours) counted from the last, so up to 0."""
    minutes = np.asarray((times - times[-1]) / pd.Timedelta("1min"), dtype=np.float64)
    return (minutes / 60, "hours") if minutes[0] < HOURS_FROM else (minutes, "minutes")


def check_sample(series: pd.Series, channels: Mapping[str, NDArray[Any]]) -> None:
    """Assert that this is a series, and channels that can be made of it.

    Raises:
        ImagesError: It is not.
    """
    shapes = [channel.shape for channel in channels.values()]
    square = [len(shape) == 2 and shape[0] == shape[1] for shape in shapes]
    if not shapes or not all(square) or len(series) < 2:
        raise ImagesError(
            f"channels of shapes {shapes} and a series of {len(series)} are no sample",
            expected="channels of shape (size, size) and at least 2 values by time",
            instead="give one sample: channels of `encode(series)[0]`, and what it was made of",
        )
    for name, channel in channels.items():
        # the last bit of a float32 cosine may stand above 1
        if not np.abs(channel).max() <= 1 + 1e-6:
            raise ImagesError(
                f"the channel {name} goes from {channel.min()} to {channel.max()}",
                expected="values from -1 to 1",
                instead="multiply stored images by their store's `scale` first",
            )
