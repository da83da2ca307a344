"""The figure of an explanation shows the shares that it is given, at their points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from gafcnn.errors import ImagesError
from gafcnn.report.explained_images import AGAINST, FOR, Attributions, explained_image, shares
from gafcnn.report.plotting import save

Channels = dict[str, NDArray[np.float32]]


def test_shares_are_parts_of_all_there_is() -> None:
    np.testing.assert_allclose(shares(np.array([1.0, -2.0, 1.0])), [0.25, -0.5, 0.25])
    np.testing.assert_array_equal(shares(np.zeros(3)), np.zeros(3))


def test_series_shares_and_fields_stand_beside_each_other(
    prices: pd.Series, channels: Channels, attributions: Attributions
) -> None:
    figure = explained_image(prices, channels, attributions)
    panels = {panel.get_label(): panel for panel in figure.axes}
    assert [*panels][:5] == ["series", "GASF", "GADF", "Grad-CAM", "shares"]
    np.testing.assert_array_equal(panels["series"].lines[0].get_ydata(), prices)
    bars = np.array([bar.get_height() for bar in panels["shares"].patches])
    np.testing.assert_allclose(bars[:15] + bars[15:], shares(attributions.folded))
    assert (bars[:15] >= 0).all()
    assert (bars[15:] <= 0).all()
    hidden = next(line for line in panels["shares"].lines if line.get_label() == "hidden")
    ago, of_it = hidden.get_data()
    np.testing.assert_array_equal(ago, np.arange(-14.0, 1.0))
    np.testing.assert_allclose(of_it, shares(attributions.occluded))
    assert panels["shares"].get_xlim() == panels["GASF"].get_xlim() == panels["series"].get_xlim()
    np.testing.assert_array_equal(panels["Grad-CAM"].images[0].get_array(), attributions.cam)
    assert panels["Grad-CAM"].images[0].get_extent() == panels["GASF"].images[0].get_extent()
    assert figure.get_suptitle() == "t = 2025-06-20 10:14 UTC"


def test_behind_each_point_is_a_stripe_of_its_share(
    prices: pd.Series, channels: Channels, attributions: Attributions
) -> None:
    stripes = explained_image(prices, channels, attributions).axes[0].patches
    assert len(stripes) == 15
    colours = [stripe.get_facecolor() for stripe in stripes]
    assert colours[11][:3] == to_rgb(FOR)
    assert colours[14][:3] == to_rgb(AGAINST)
    assert colours[14][3] > colours[11][3] > colours[0][3] > 0


def test_without_grad_cam_the_figure_is_narrower(
    prices: pd.Series, channels: Channels, attributions: Attributions
) -> None:
    whole = explained_image(prices, channels, attributions)
    figure = explained_image(prices, channels, replace(attributions, cam=None), "BNBUSDT")
    assert figure.get_figwidth() < whole.get_figwidth()
    assert figure.get_suptitle() == "BNBUSDT"
    assert "Grad-CAM" not in [panel.get_label() for panel in figure.axes]


def test_a_grad_cam_of_nothing_says_so(
    prices: pd.Series, channels: Channels, attributions: Attributions
) -> None:
    nothing = replace(attributions, cam=np.zeros((4, 4)), folded=np.zeros(15))
    panels = {p.get_label(): p for p in explained_image(prices, channels, nothing).axes}
    assert [text.get_text() for text in panels["Grad-CAM"].texts] == ["nothing for the call"]


def test_the_largest_shares_are_told_in_words(
    prices: pd.Series, attributions: Attributions
) -> None:
    times = pd.DatetimeIndex(prices.index)
    told = "of the attribution lies 3, 1, 0 minutes before t"
    assert attributions.told(times) == f"75% {told}"
    hours = pd.date_range("2025-06-20", periods=15, freq="1h", tz="UTC")
    assert attributions.told(hours) == f"75% {told.replace('minutes', 'hours')}"


def test_attributions_of_another_series_are_refused(
    prices: pd.Series, channels: Channels, attributions: Attributions
) -> None:
    with pytest.raises(
        ImagesError, match=r"^attributions of shapes \[\(15,\), \(15,\)\] are not of "
    ):
        explained_image(prices.tail(14), channels, attributions)


def test_a_figure_is_the_same_file_each_time(
    prices: pd.Series, channels: Channels, attributions: Attributions, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        save(explained_image(prices, channels, attributions), tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
