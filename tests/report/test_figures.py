"""Figures show the numbers that they are given."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from gafcnn.report.charts import (
    BLUE,
    THEME,
    VERMILION,
    Picture,
    build_figures,
    class_confusion,
    coverage_chart,
    equity_chart,
    months_chart,
    regime_matrix,
)
from gafcnn.report.sample_pictures import Attributions, sample_image, shares

Metrics = dict[str, Any]
Channels = dict[str, NDArray[np.float32]]


def lines(axes: Axes) -> dict[str, NDArray[np.float64]]:
    found = {str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.lines}
    return {name: y for name, y in found.items() if not name.startswith("_")}


def texts(panel: Axes) -> dict[tuple[float, float], str]:
    return {text.get_position(): text.get_text() for text in panel.texts}


# --- charts ---------------------------------------------------------------------------------------


def test_charts_without_data_are_left_out(metrics: Metrics) -> None:
    charts = ["equity", "equity_others", "coverage", "calibration", "regimes"]
    assert [name for name, *_ in build_figures(metrics)] == charts  # one month
    assert [*build_figures({"task": "direction", "headline": "a", "models": {"a": {}}})] == []


def test_drawdown_is_counted_from_the_previous_maximum(metrics: Metrics) -> None:
    times = pd.date_range("2025-05-20", periods=4, tz="UTC").strftime("%Y-%m-%dT%H:%M%z")
    line = {"time": list(times), "value": [1.0, 1.25, 1.0, 1.5]}
    curves = {"15m": line, "buy_and_hold": line}
    top, below = equity_chart({**metrics, "equity": curves}, ["15m"]).axes
    assert list(lines(top)) == ["15m", "buy and hold"]
    np.testing.assert_allclose(lines(below)["15m"], [0, 0, -0.2, 0])


@pytest.mark.parametrize("names", [["15m"], ["30m", "mean", "oracle"]])
def test_equity_is_drawn_beside_the_benchmark(metrics: Metrics, names: list[str]) -> None:
    top = equity_chart(metrics, names).axes[0]
    for name, y in lines(top).items():
        expected = metrics["equity"][name.replace("buy and hold", "buy_and_hold")]["value"]
        np.testing.assert_array_equal(y, expected)
    assert set(lines(top)) == {*names, "buy and hold"}


def test_threshold_of_validation_is_a_mark_off_the_curve(metrics: Metrics) -> None:
    top, below = coverage_chart(metrics).axes
    rows = [row for row in metrics["coverage"] if row["model"] == metrics["headline"]]
    for axes, key in ((top, "win_rate"), (below, "net_bps")):
        curve = sorted((row["realised"], row[key]) for row in rows if not row["chosen"])
        np.testing.assert_array_equal(lines(axes)["two_stage"], [y for _, y in curve])
        [mark] = [line for line in axes.lines if line.get_marker() == "D"]
        [chosen] = [row for row in rows if row["chosen"]]
        assert (*mark.get_xdata(), *mark.get_ydata()) == (chosen["realised"], chosen[key])


def test_months_are_in_order(metrics: Metrics) -> None:
    row = next(row for row in metrics["regimes"] if row["month"])
    rates = {"2025-02": 0.4, "2024-12": None, "2025-01": 0.6}
    rows = [{**row, "month": month, "win_rate": rate} for month, rate in rates.items()]
    top, below = months_chart({**metrics, "regimes": rows}).axes
    np.testing.assert_array_equal(lines(top)[row["model"]], [np.nan, 0.6, 0.4])
    months = [text.get_text() for text in below.get_xticklabels()]
    assert months == ["2024-12", "2025-01", "2025-02"]


# --- matrices -------------------------------------------------------------------------------------


def test_classes_are_shaded_by_recall() -> None:
    [panel] = class_confusion("15m", [[3, 1, 0], [0, 0, 0], [0, 0, 5]], ["none", "up_1", "b"]).axes
    assert texts(panel)[0, 0] == "3\n75.0%"
    assert texts(panel)[1, 1] == "0"
    shade = np.asarray(panel.images[0].get_array())
    assert shade[2, 2, 3] > shade[0, 0, 3] > shade[0, 1, 3] > shade[1, 1, 3] == 0
    assert [text.get_text() for text in panel.get_xticklabels()] == ["none", "up\n1", "b"]


def test_regimes_show_win_rates_and_rows(metrics: Metrics) -> None:
    [panel] = regime_matrix(metrics).axes
    trends, volatilities = ["down", "flat", "up"], ["high", "middle", "low"]
    for row in metrics["regimes"]:
        if row["model"] == "two_stage" and row["month"] is None and row["win_rate"] is not None:
            cell = trends.index(row["trend"]), volatilities.index(row["volatility"])
            assert texts(panel)[cell] == f"{row['win_rate']:.1%}\n{row['n']:,}"


# --- samples --------------------------------------------------------------------------------------


def test_sample_shows_its_series_and_channels(prices: pd.Series, channels: Channels) -> None:
    series, gasf, gadf, scale = sample_image(prices, channels).axes
    np.testing.assert_array_equal(series.lines[0].get_ydata(), prices)
    np.testing.assert_array_equal(series.lines[0].get_xdata(), np.arange(-14.0, 1.0))
    for panel, name in ((gasf, "GASF"), (gadf, "GADF")):
        np.testing.assert_array_equal(panel.images[0].get_array(), channels[name])
        assert panel.get_title(loc="left") == name
        assert panel.images[0].get_clim() == scale.get_ylim() == (-1, 1)
        assert panel.images[0].origin == "lower"
        assert panel.get_xlim() == panel.get_ylim() == series.get_xlim() == (-14.5, 0.5)
    assert series.get_title(loc="left") == "close"


def test_bar_images_are_upright(prices: pd.Series, attributions: Attributions) -> None:
    bars = {"Bars": np.eye(60)}
    figure = sample_image(prices, bars, attributions=attributions, upright=["Bars"])
    panels = {panel.get_title(loc="left"): panel for panel in figure.axes}
    for name in ("Bars", "Grad-CAM"):
        assert panels[name].images[0].origin == "upper"
        assert panels[name].get_xlim() == (-19.5, 0.5)  # 60 pixels, of which 15 bars have 45
        assert not panels[name].yaxis.get_visible()


def test_attributions_are_bars_stripes_and_rings(
    prices: pd.Series, channels: Channels, attributions: Attributions
) -> None:
    figure = sample_image(prices, channels, attributions=attributions)
    series, below, gasf, _, cam, _ = figure.axes
    expected = shares(attributions.folded)
    heights = np.array([bar.get_height() for bar in below.patches])
    np.testing.assert_allclose(heights[:15] + heights[15:], expected)
    rings = next(line for line in below.lines if line.get_label() == "hidden")
    np.testing.assert_allclose(rings.get_ydata(), shares(attributions.occluded))
    colours = [stripe.get_facecolor() for stripe in series.patches]
    assert (colours[11][:3], colours[14][:3]) == (to_rgb(BLUE), to_rgb(VERMILION))
    assert colours[14][3] > colours[11][3] > colours[0][3] > 0
    np.testing.assert_array_equal(cam.images[0].get_array(), attributions.cam)
    assert cam.images[0].get_extent() == gasf.images[0].get_extent()
    without = sample_image(prices, channels, attributions=replace(attributions, cam=None))
    assert without.get_figwidth() < figure.get_figwidth()


def test_shares_sum_to_one_or_are_zero(prices: pd.Series, attributions: Attributions) -> None:
    np.testing.assert_allclose(shares(np.array([1.0, -2.0, 1.0])), [0.25, -0.5, 0.25])
    np.testing.assert_array_equal(shares(np.zeros(3)), np.zeros(3))
    assert "3, 1, 0 minutes" in attributions.describe(pd.DatetimeIndex(prices.index))


# --- files ----------------------------------------------------------------------------------------


def test_svg_follows_the_page_and_names_are_text(prices: pd.Series, channels: Channels) -> None:
    figure = sample_image(prices, {"$\\x$<b>": channels["GASF"]}, "a & 0.12345")
    picture = Picture.draw("one", 'a "title"', figure)
    assert not any(colour in picture.svg for colour in THEME)
    assert "fill: var(--ink)" in picture.svg
    assert "a &amp; 0.12345" in picture.svg
    assert "$\\x$&lt;b&gt;" in picture.svg
    assert not re.search(r"xmlns|<metadata|<style|http", picture.svg)
    assert picture.png.startswith(b"\x89PNG")
    assert b"Software" not in picture.png
