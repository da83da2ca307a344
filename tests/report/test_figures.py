"""Figures show the numbers that they are given, and the same figure is the same file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gafcnn.errors import ImagesError
from gafcnn.report.matrices import confusion_matrices
from gafcnn.report.plotting import sample_image, save

Channels = dict[str, NDArray[np.float32]]


def test_a_sample_is_its_series_and_its_channels(prices: pd.Series, channels: Channels) -> None:
    series, gasf, gadf, bar = sample_image(prices, channels).axes
    ago, shown = series.lines[0].get_data()
    np.testing.assert_array_equal(ago, np.arange(-14.0, 1.0))
    np.testing.assert_array_equal(shown, prices)
    np.testing.assert_array_equal(gasf.images[0].get_array(), channels["GASF"])
    np.testing.assert_array_equal(gadf.images[0].get_array(), channels["GADF"])
    assert [panel.get_title(loc="left") for panel in (series, gasf, gadf)] == [
        "close",
        "GASF",
        "GADF",
    ]
    assert gasf.images[0].get_clim() == gadf.images[0].get_clim() == (-1.0, 1.0)
    assert bar.get_ylim() == (-1.0, 1.0)


def test_time_runs_to_the_right_and_upwards_on_one_scale(
    prices: pd.Series, channels: Channels
) -> None:
    figure = sample_image(prices, channels)
    series, gasf, gadf, _ = figure.axes
    assert series.get_xlim() == gasf.get_xlim() == gasf.get_ylim() == gadf.get_ylim()
    assert gasf.get_ylim() == (-14.5, 0.5)
    assert gasf.images[0].origin == "lower"
    assert gasf.get_xlabel() == gasf.get_ylabel() == "minutes before t"
    assert figure.get_suptitle() == "t = 2025-06-20 10:14 UTC"
    assert sample_image(prices, channels, "BNBUSDT").get_suptitle() == "BNBUSDT"


def test_long_windows_are_told_in_hours(channels: Channels) -> None:
    times = pd.date_range("2025-06-20", periods=64, freq="1h", tz="UTC")
    series, gasf, *_ = sample_image(pd.Series(np.arange(64.0), times), channels).axes
    assert gasf.get_xlabel() == "hours before t"
    np.testing.assert_array_equal(series.lines[0].get_data()[0], np.arange(-63.0, 1.0))


def test_one_channel_is_a_narrower_figure(prices: pd.Series, channels: Channels) -> None:
    figure = sample_image(prices, {"GADF of body": channels["GADF"]})
    _, panel, bar = figure.axes
    assert panel.get_title(loc="left") == "GADF of body"
    assert bar.get_ylim() == (-1.0, 1.0)
    assert figure.get_figwidth() < sample_image(prices, channels).get_figwidth()


def test_what_is_no_sample_is_refused(prices: pd.Series, channels: Channels) -> None:
    with pytest.raises(ImagesError, match=r"^channels of shapes \[\(16,\)\] and a series of 15 "):
        sample_image(prices, {"GASF": channels["GASF"][0]})
    with pytest.raises(ImagesError, match=r"^channels of shapes \[\] and a series of 15 "):
        sample_image(prices, {})
    with pytest.raises(ImagesError, match="and a series of 1 are no sample"):
        sample_image(prices.tail(1), channels)


@pytest.mark.parametrize("factor", [127.0, np.nan])
def test_stored_integers_are_scaled_first(
    prices: pd.Series, channels: Channels, factor: float
) -> None:
    with pytest.raises(ImagesError, match=r"multiply stored images by their store's `scale`"):
        sample_image(prices, {name: channel * factor for name, channel in channels.items()})


def test_a_figure_is_the_same_file_each_time(
    prices: pd.Series, channels: Channels, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        save(sample_image(prices, channels), tmp_path / "figures" / f"{name}.png")
    one = (tmp_path / "figures" / "one.png").read_bytes()
    assert one == (tmp_path / "figures" / "two.png").read_bytes()
    assert one.startswith(b"\x89PNG")
    assert b"Software" not in one
    assert len(list((tmp_path / "figures").iterdir())) == 2


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    figure = Figure()
    figure.text(0.5, 0.5, "$\\unknown$")
    with pytest.raises(ValueError, match="unknown"):
        save(figure, path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


def test_figures_touch_no_state_of_pyplot(judgement: dict[str, Any], tmp_path: Path) -> None:
    before = sys.modules.get("matplotlib.pyplot")
    save(confusion_matrices(judgement), tmp_path / "figure.png")
    assert sys.modules.get("matplotlib.pyplot") is before
