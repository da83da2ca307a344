"""Draw the pictures of the documentation: python docs/draw.py.

What they show is computed by the library on its simulated market. They have a background of their
own, so that they are legible on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.dates import DateFormatter, MinuteLocator, date2num
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import gafcnn as gc
from gafcnn.data.labels import NULL
from gafcnn.data.windows import WindowReader
from gafcnn.evaluation.positions import positions

FOLDER = Path(__file__).parent / "pictures"
BACKGROUND, INK, MUTED = "#ffffff", "#1f2933", "#66717d"
BLUE, ORANGE, GREEN, PINK, GREY = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d9dfe5"


def main() -> None:
    """Draw all pictures."""
    mpl.rcParams.update({"svg.hashsalt": "gafcnn", "font.size": 10, "text.color": INK})
    for name, draw in PICTURES.items():
        figure = draw()
        figure.set_facecolor(BACKGROUND)
        path = FOLDER / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None, "Creator": None})
        lines = (line.rstrip() for line in path.read_text(encoding="utf-8").splitlines())
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pipeline() -> Figure:
    """Draw the steps from bars to a report."""
    figure, axes = _canvas(10, 4.3, (0, 100), (0, 43))
    bars = _box(axes, 1, 17, 13, 9, "bars", "file, exchange,\nsimulation", BLUE)
    windows = [_box(axes, 21, y, 15, 6, f"{n} min window", "", BLUE) for y, n in _ROWS]
    images = [_box(axes, 42, y, 12, 6, "GAF image", "", ORANGE) for y, _ in _ROWS]
    networks = [_box(axes, 60, y, 12, 6, "network", "", ORANGE) for y, _ in _ROWS]
    indicators = _box(axes, 21, 3, 15, 6, "67 indicators", "", BLUE)
    trees = _box(axes, 60, 3, 12, 6, "XGBoost", "", ORANGE)
    together = _box(axes, 78, 21, 13, 9, "ensembles", "joined by time,\ntwo-stage", GREEN)
    _box(axes, 78, 4, 21, 10, "trading and verdict", "costs, intervals,\nreport", GREEN)
    for window, image, network in zip(windows, images, networks, strict=True):
        for ends in ((bars, window), (window, image), (image, network), (network, together)):
            _arrow(axes, *ends)
    for ends in ((bars, indicators), (indicators, trees), (trees, together)):
        _arrow(axes, *ends)
    axes.annotate(
        "", (84.5, 14.4), (84.5, 20.6), arrowprops={"arrowstyle": "-|>", "color": MUTED, "lw": 1.4}
    )
    below = "labels and splits: purged, with an embargo"
    axes.text(48, 11.4, below, ha="center", color=MUTED, style="italic", size=9)
    for x, text in ((7.5, "market"), (28.5, "samples"), (48, "images"), (66, "models")):
        axes.text(x, 41, text, ha="center", color=MUTED, size=9)
    axes.text(
        88.5,
        41,
        "evaluation, report",
        ha="center",
        va="center",
        color=MUTED,
        size=9,
    )
    return figure


_ROWS = ((32, 15), (24, 30), (16, 60))
Box = tuple[float, float, float, float]


def bars_known_at_close() -> Figure:
    """Draw bars, their labels, and when each is known."""
    bars = gc.simulate(64, seed=5)[0].iloc[-6:]
    figure, axes = _canvas(10, 3.4, (-0.6, 6.8), None)
    for k, (_, bar) in enumerate(bars.iterrows()):
        colour = GREEN if bar["close"] >= bar["open"] else ORANGE
        known = k < 4
        axes.plot([k + 0.5] * 2, [bar["low"], bar["high"]], color=colour, alpha=1 if known else 0.3)
        axes.bar(
            k + 0.5, abs(bar["close"] - bar["open"]), 0.55, min(bar["open"], bar["close"]),
            color=colour, alpha=1 if known else 0.3,
        )  # fmt: skip
    low, high = bars["low"].min(), bars["high"].max()
    span = high - low
    axes.set_ylim(low - 0.5 * span, high + 0.25 * span)
    for k in range(7):
        axes.text(k, low - 0.2 * span, f"10:{30 + k}", ha="center", color=MUTED, size=9)
        axes.plot([k, k], [low - 0.1 * span, low - 0.06 * span], color=MUTED, lw=1)
    axes.axvline(4, 0.24, 0.9, color=BLUE, lw=1.6)
    axes.text(4, high + 0.14 * span, "t = 10:34", ha="center", color=BLUE, weight="bold")
    axes.annotate(
        "labelled 10:33 by exchanges (its open),\n10:34 here (its close: then it is known)",
        (3.5, low - 0.02 * span), (2.0, low - 0.44 * span), ha="center", color=INK, size=9,
        arrowprops={"arrowstyle": "-", "color": MUTED},
    )  # fmt: skip
    axes.text(5.2, low - 0.42 * span, "not known at t", ha="center", color=MUTED, style="italic")
    return figure


def window_and_image() -> Figure:
    """Draw a window of 15 closes, its angles, and the two fields of its image."""
    bars = gc.simulate(400, seed=3)[0]
    read = WindowReader(bars, gc.Window("15min"), ["close"])
    series = read(np.array([300]))
    gasf, gadf = gc.encode(series)[0]
    closes = series[0, 0]
    scaled = 2 * (closes - closes.min()) / np.ptp(closes) - 1
    figure = Figure(figsize=(10, 3.3), layout="constrained")
    left, middle, right, last = figure.subplots(1, 4, width_ratios=[1.25, 1.25, 1, 1])
    minutes = np.arange(-14, 1)
    i, j = 4, 11
    for axes, values, title in (
        (left, closes, "the closes of a window"),
        (middle, np.degrees(np.arccos(scaled)), "scaled to [-1, 1], as angles"),
    ):
        axes.plot(minutes, values, "o-", color=BLUE, ms=3.5)
        axes.plot(minutes[i], values[i], "o", color=ORANGE, ms=8)
        axes.plot(minutes[j], values[j], "o", color=PINK, ms=8)
        axes.set_title(title, size=10)
        axes.set_xlabel("minutes before t", color=MUTED)
        _quiet(axes)
    middle.set_yticks([0, 90, 180], ["0°", "90°", "180°"])
    for axes, image, title in (
        (right, gasf, r"GASF  cos($\phi_i + \phi_j$)"),
        (last, gadf, r"GADF  sin($\phi_i - \phi_j$)"),
    ):
        axes.imshow(
            image,
            cmap="RdBu_r",
            vmin=-1,
            vmax=1,
            extent=(-0.5, 14.5, 14.5, -0.5),
            interpolation="none",
        )
        axes.axhline(i, color=ORANGE, lw=1)
        axes.axvline(j, color=PINK, lw=1)
        axes.plot(j, i, "s", color=INK, fillstyle="none", ms=8)
        axes.set_title(title, size=10)
        axes.set(xticks=[j], yticks=[i])
        axes.set_xticklabels(["bar j"])
        axes.set_yticklabels(["bar i"])
    return figure


def bar_images() -> Figure:
    """Draw 20 bars as a chart, and as bar images with both kinds of scaling."""
    bars = gc.simulate(800, strength=0.8, seed=5)[0]
    row, spec = 510, gc.ImageSpec(kinds=("ohlc",), dtype="float32")
    series = WindowReader(bars, gc.Window("20min"), spec.read_fields)(np.array([row]))
    shown = bars.iloc[row - 19 : row + 1]
    means: Any = bars["close"].rolling(20).mean()
    average = means.iloc[row - 19 : row + 1]
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.4, 1, 1])
    _draw_bars(left, shown)
    left.plot(range(20), average, color=ORANGE, lw=1)
    left.set_title("20 bars and their average", size=10)
    for axes, scaling in ((middle, "per_field"), (right, "fixed")):
        image = gc.encode(series, kinds=["ohlc"], scaling=scaling)[0, 0]
        axes.imshow(image, cmap="Greys_r", vmin=0, vmax=1, interpolation="none")
        axes.set_title(f"images.scaling={scaling}", size=10)
        axes.axis("off")
    return figure


def gallery() -> Figure:
    """Draw a trend, a reversal, a range and a gap, and the images made of each."""
    steps, rng = np.arange(21), np.random.default_rng(7)
    shapes = {
        "trend": 0.4 * steps,
        "reversal": -0.06 * (steps - 10.0) ** 2,
        "range": 1.5 * np.sin(steps * 1.2),
        "gap": np.where(steps > 12, 6.0, 0.0) + 0.1 * steps,
    }
    figure = Figure(figsize=(10, 9.4), layout="constrained")
    rows = figure.subplots(len(shapes), 4, width_ratios=[1.4, 1, 1, 1])
    for (name, shape), row in zip(shapes.items(), rows, strict=True):
        close = 100 + shape + rng.normal(0, 0.25, 21)
        # a gap opens away from the last close; other bars open at it
        opens = np.where(np.diff(close) > 4, close[1:] - 0.2, close[:-1])
        spread = rng.uniform(0.1, 0.5, (2, 20))
        bars = pd.DataFrame({"open": opens, "close": close[1:]})
        bars["high"] = bars.max(axis=1) + spread[0]
        bars["low"] = bars[["open", "close"]].min(axis=1) - spread[1]
        bars["volume_or_zero"] = rng.uniform(0.4, 1.0, 20)
        means: Any = pd.Series(close).rolling(10, min_periods=1).mean()
        bars["average"] = means.to_numpy()[1:]
        _draw_bars(row[0], bars)
        row[0].set_ylabel(name, rotation=0, ha="right")
        fields = gc.ImageSpec(kinds=("ohlc",)).read_fields
        images = [*gc.encode(bars["close"].to_numpy()[None], size=64)[0]]
        images.append(gc.encode(bars[[*fields]].to_numpy().T[None], kinds=["ohlc"])[0, 0])
        for axes, image, kind in zip(row[1:], images, ("GASF", "GADF", "bars"), strict=True):
            colours = (
                {"cmap": "Greys_r", "vmin": 0} if kind == "bars" else {"cmap": "RdBu", "vmin": -1}
            )
            axes.imshow(image, vmax=1, interpolation="none", **colours)
            axes.set_title(kind, size=10)
            axes.axis("off")
    return figure


def _draw_bars(axes: Axes, bars: pd.DataFrame) -> None:
    rows: Any = bars.itertuples()
    for place, bar in enumerate(rows):
        axes.plot([place, place], [bar.low, bar.high], color=BLUE, lw=1.5)
        axes.plot([place - 0.3, place], [bar.open, bar.open], color=BLUE, lw=1.5)
        axes.plot([place, place + 0.3], [bar.close, bar.close], color=BLUE, lw=1.5)
    axes.set_xticks([0, 19], ["t - 19", "t"])
    _quiet(axes)


def horizon_and_known_at() -> Figure:
    """Draw what one sample sees, its horizon, and when its outcome is known."""
    figure, axes = _canvas(10, 3.2, (-64, 24), (0, 10))
    axes.annotate("", (23, 3), (-63, 3), arrowprops={"arrowstyle": "-|>", "color": MUTED})
    for span, y in ((60, 7.6), (30, 6.2), (15, 4.8)):
        axes.add_patch(_bar(-span, y, span, 0.9, BLUE))
        axes.text(-span - 1, y + 0.45, f"{span}m", ha="right", va="center", color=MUTED, size=9)
    axes.add_patch(_bar(0, 4.8, 15, 3.7, ORANGE, 0.25))
    axes.text(7.5, 6.65, "horizon\n15 min", ha="center", va="center")
    for x, text, colour in ((0, "t", BLUE), (15, "known_at", ORANGE)):
        axes.axvline(x, 0.25, 0.93, color=colour, lw=1.6)
        axes.text(x, 9.5, text, ha="center", color=colour, weight="bold")
    axes.plot([1], [3], "^", color=GREEN, ms=9)
    axes.text(1.2, 1.7, "entered at the\nnext bar's open", ha="left", va="center", size=9)
    axes.text(15.5, 1.9, "left", ha="left", va="center", size=9)
    axes.plot([15], [3], "v", color=GREEN, ms=9)
    axes.text(
        -31,
        1.9,
        "every window of a study ends at t",
        ha="center",
        color=MUTED,
        size=9,
        style="italic",
    )
    return figure


def purge_and_embargo() -> Figure:
    """Draw the samples at the border between training and validation."""
    samples = _samples(0.5, seed=2)
    t, known = samples.times, samples.outcomes.known_at
    first_val = t[samples.split.val[0]]
    near = np.flatnonzero(np.abs(t - first_val) < np.timedelta64(105, "m"))[::3]
    part = np.zeros(len(t), dtype=int)
    part[samples.split.train], part[samples.split.val] = 1, 2
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots()
    for height, row in enumerate(near):
        if not part[row]:  # left out by the purge, or by the embargo beyond it
            colour = PINK if known[row] >= first_val else GREY
        else:
            colour = (GREY, BLUE, ORANGE)[part[row]]
        axes.plot(date2num([t[row], known[row]]), [height] * 2, color=colour, lw=2.4)
        axes.plot(date2num(t[row]), height, "o", color=colour, ms=3.6)
    axes.axvline(date2num(first_val), color=ORANGE, lw=1.4)
    top = len(near)
    axes.text(date2num(first_val), top + 2, "validation begins", ha="center", color=INK)
    for x, y, text, colour in (
        (-92, 13, "training", BLUE), (-38, 39, "embargo: an hour", MUTED),
        (-31, 58, "purged: known too late", PINK), (62, 40, "validation", "#a87400"),
    ):  # fmt: skip
        axes.text(date2num(first_val + np.timedelta64(x, "m")), y, text, color=colour, ha="center")
    axes.set(ylim=(-2, top + 6), yticks=[])
    axes.xaxis.set_major_locator(MinuteLocator(byminute=[0, 30]))
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    axes.set_xlabel("a dot is a sample's t, the line ends when its label is known", color=MUTED)
    _quiet(axes)
    axes.spines["left"].set_visible(False)
    return figure


def neutral_band() -> Figure:
    """Draw forward returns of training samples, the middle fifth, and the cost of a round trip."""
    samples = _samples(0.5, seed=2)
    train = samples.split.train
    returns = samples.outcomes.forward_return[train] * 1e4
    lower, upper = (x * 1e4 for x in gc.Direction().thresholds(samples.outcomes, train))
    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots()
    counts, edges = np.histogram(returns, bins=np.arange(-100, 102, 2))
    middle = (edges[:-1] + edges[1:]) / 2
    colours = np.where(middle < lower, ORANGE, np.where(middle > upper, GREEN, "#9aa5b1"))
    axes.bar(middle, counts, 1.8, color=colours.tolist())
    for x in (-20, 20):
        axes.axvline(x, 0, 0.84, color=PINK, lw=1.6, ls="--")
    top = counts.max()
    neutral = (samples.label[train] == NULL).mean()
    axes.text(
        0,
        top * 1.06,
        f"neutral: {neutral:.0%}, {lower:+.1f} to {upper:+.1f} bps",
        ha="center",
        color=MUTED,
    )
    axes.text(-62, top * 0.62, "down (0)", ha="center", color="#a87400")
    axes.text(62, top * 0.62, "up (1)", ha="center", color=GREEN)
    axes.text(22, top * 0.93, "a round trip at 10 bps a side", color="#a8507f")
    axes.set(ylim=(0, top * 1.16), yticks=[], xlim=(-100, 100))
    axes.set_xlabel("return from t to t + 15 min, bps; training samples", color=MUTED)
    _quiet(axes)
    axes.spines["left"].set_visible(False)
    return figure


def overlap_and_costs() -> Figure:
    """Draw how alike overlapping labels are, and what costs leave of the best forecast."""
    figure = Figure(figsize=(10, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    label, minutes = _samples(0.0, seed=0).label, np.arange(1, 26)
    alike = []
    for ahead in minutes:
        now, before = label[ahead:], label[:-ahead]
        both = (now != NULL) & (before != NULL)
        alike.append(np.mean(now[both] == before[both]))
    left.plot(minutes, np.multiply(100, alike), "o-", ms=3.6, color=BLUE)
    left.axhline(50, color=PINK, lw=1.4, ls="--")
    left.text(25, 51.5, "luck", ha="right", color="#a8507f")
    left.axvline(15, color=GREY, lw=1.4, zorder=0)
    left.text(15.4, 92, "the horizon", color=MUTED)
    left.set_title("A random walk: labels that agree, %", color=INK, size=10)
    left.set_xlabel("minutes between two samples", color=MUTED)
    bars, oracle = gc.simulate(14 * 24 * 60, strength=0.5, seed=2)
    p, costs = oracle.iloc[60:-16], np.arange(0, 11)
    net = []
    for cost in costs:
        rules = gc.TradingRules(cost_bps=float(cost))
        trades = gc.backtest(bars, p.index, positions(p, 0.0), "15min", rules)
        net.append(trades.summary()["net_bps"])
    right.plot(costs, net, "o-", ms=3.6, color=BLUE)
    right.axhline(0, color=PINK, lw=1.4, ls="--")
    right.set_title("The best possible forecast: bps a trade", color=INK, size=10)
    right.set_xlabel("cost, bps a side", color=MUTED)
    _quiet(left)
    _quiet(right)
    return figure


def cross_section() -> Figure:
    """Draw a universe around one decision time, and what its scores say over all of them."""
    bars, scores = gc.simulate_universe(symbols=20, n_bars=4_000, strength=0.5, seed=4)
    closes = pd.DataFrame({symbol: frame["close"] for symbol, frame in bars.items()})
    wide = scores.pivot_table(index="time", columns="symbol", values="score")
    ahead = closes.shift(-24) / closes - 1
    relative = 1e4 * ahead.sub(ahead.mean(axis=1), axis=0)
    t = closes.index[2_000]
    order = wide.loc[t].sort_values().index
    at = closes.index.get_indexer([t])[0]
    paths = 100 * (closes.iloc[at - 48 : at + 25] / closes.loc[t] - 1)
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    colours = [ORANGE] * 4 + ["#aab4be"] * 12 + [GREEN] * 4
    for symbol, colour in zip(order, colours, strict=True):
        left.plot(np.arange(-48, 25), paths[symbol], color=colour, lw=1.2)
    left.axvline(0, color=INK, lw=1)
    left.axvspan(0, 24, color=GREY, alpha=0.4, lw=0)
    left.set_xlabel("hours from t; the horizon is grey", color=MUTED)
    left.set_title("20 symbols at one decision time: prices relative to t, %", color=INK, size=10)
    ranks, relative = wide.rank(axis=1), relative.reindex_like(wide)
    means = [np.nanmean(relative[ranks == place]) for place in range(1, 21)]
    right.bar(range(20), means, color=colours)
    right.axhline(0, color=INK, lw=0.8)
    right.set_xticks([1.5, 17.5], ["lowest fifth", "highest fifth"])
    right.set_xlabel("symbols in the order of their scores at t", color=MUTED)
    right.set_title("All times: return less the mean, bps", color=INK, size=10)
    _quiet(left)
    _quiet(right)
    return figure


def _samples(strength: float, seed: int) -> gc.Samples:
    bars, _ = gc.simulate(14 * 24 * 60, strength=strength, seed=seed)
    return gc.make_samples(bars)


def _canvas(
    width: float, height: float, x: tuple[float, float], y: tuple[float, float] | None
) -> tuple[Figure, Axes]:
    """Return a figure without visible axes."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.005, 0.01, 0.99, 0.98))
    axes.set(xlim=x, xticks=[], yticks=[])
    if y is not None:
        axes.set_ylim(y)
    axes.axis("off")
    return figure, axes


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, name: str, more: str, colour: str
) -> Box:
    axes.add_patch(_bar(x, y, width, height, colour, 0.16, edge=colour))
    lift = 1.9 if more else 0
    axes.text(x + width / 2, y + height / 2 + lift, name, ha="center", va="center", weight="bold")
    axes.text(
        x + width / 2, y + height / 2 - 1.6, more, ha="center", va="center", size=8, color=MUTED
    )
    return x, y, width, height


def _bar(
    x: float, y: float, width: float, height: float, colour: str, alpha: float = 0.8,
    edge: str = "none",
) -> Any:  # fmt: skip
    shape = "round,pad=0,rounding_size=0.6"
    return FancyBboxPatch(
        (x, y), width, height, shape, facecolor=to_rgba(colour, alpha), edgecolor=edge, lw=1.2
    )


def _arrow(axes: Axes, source: Box, target: Box) -> None:
    start = (source[0] + source[2] + 0.4, source[1] + source[3] / 2)
    end = (target[0] - 0.4, target[1] + target[3] / 2)
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": MUTED, "lw": 1.2})


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=MUTED, labelsize=9)


PICTURES: dict[str, Callable[[], Figure]] = {
    "pipeline": pipeline,
    "bars": bars_known_at_close,
    "window": window_and_image,
    "bar_images": bar_images,
    "gallery": gallery,
    "horizon": horizon_and_known_at,
    "purge": purge_and_embargo,
    "neutral": neutral_band,
    "honest": overlap_and_costs,
    "cross_section": cross_section,
}

if __name__ == "__main__":
    main()
