"""Figures show the numbers that they are given, and the same figure is the same file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gafcnn.errors import ImagesError, PredictionsError
from gafcnn.forecasts import ScoreTable
from gafcnn.report import confusion_matrices, sample_image, save


def written(panel: Axes) -> set[str]:
    return {text.get_text() for text in panel.texts}


def panels_by_name(figure: Figure) -> dict[str, Axes]:
    return {panel.get_title(loc="left"): panel for panel in figure.axes}


@pytest.mark.parametrize("rows", ["labelled", "all"])
def test_each_model_has_a_panel_with_its_counts_and_shares(
    scores: ScoreTable, rows: Literal["labelled", "all"]
) -> None:
    panels = panels_by_name(confusion_matrices(scores, rows))
    assert list(panels) == list(scores["models"])
    for name, panel in panels.items():
        scored = scores["models"][name][rows]
        cells = {
            f"{count:,}\n{count / sum(row):.1%}" for row in scored["confusion"] for count in row
        }
        summary = f"{scored['accuracy']:.2%} of {scored['n']:,} right"
        assert written(panel) == {*cells, summary}


def test_outcomes_are_rows_and_forecasts_columns(scores: ScoreTable) -> None:
    panel = panels_by_name(confusion_matrices(scores))["15m"]
    (down, _), (wrongly_down, _) = scores["models"]["15m"]["labelled"]["confusion"]
    at = {text.get_position(): text.get_text() for text in panel.texts if "\n" in text.get_text()}
    assert at[(0, 0)].startswith(f"{down:,}\n")
    assert at[(0, 1)].startswith(f"{wrongly_down:,}\n")
    assert panel.get_xlabel() == "forecast"
    assert panel.get_ylabel() == "outcome"


def test_windows_and_ensembles_have_lines_of_their_own(scores: ScoreTable) -> None:
    figure = confusion_matrices(scores)
    figure.draw_without_rendering()
    tops = {name: round(p.get_position().y1, 3) for name, p in panels_by_name(figure).items()}
    assert tops["15m"] == tops["30m"] == tops["60m"] > tops["mean"]
    assert tops["mean"] == tops["weighted"] == tops["vote"] == tops["stacking"] > tops["oracle"]


def test_more_models_than_a_line_holds_go_on_below(scores: ScoreTable) -> None:
    one = scores["models"]["15m"]
    many = confusion_matrices({"models": {f"{minutes}m": one for minutes in range(9)}})
    assert len(many.axes) == 9


def test_scores_of_no_rows_are_drawn_as_such(no_scores: ScoreTable, tmp_path: Path) -> None:
    figure = confusion_matrices(no_scores)
    assert written(figure.axes[0]) == {"0\n0.0%", "n/a of 0 right"}
    save(figure, tmp_path / "none.png")


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(PredictionsError, match="there are no scores to draw; expected the scores"):
        confusion_matrices({"models": {}})


def test_a_sample_is_its_series_and_two_fields(
    prices: pd.Series, image: NDArray[np.float32]
) -> None:
    series, gasf, gadf, bar = sample_image(prices, image).axes
    ago, shown = series.lines[0].get_data()
    np.testing.assert_array_equal(ago, np.arange(-14.0, 1.0))
    np.testing.assert_array_equal(shown, prices)
    np.testing.assert_array_equal(gasf.images[0].get_array(), image[0])
    np.testing.assert_array_equal(gadf.images[0].get_array(), image[1])
    assert [panel.get_title(loc="left") for panel in (series, gasf, gadf)] == [
        "close",
        "GASF",
        "GADF",
    ]
    assert gasf.images[0].get_clim() == gadf.images[0].get_clim() == (-1.0, 1.0)
    assert bar.get_ylim() == (-1.0, 1.0)


def test_time_runs_to_the_right_and_upwards_on_one_scale(
    prices: pd.Series, image: NDArray[np.float32]
) -> None:
    figure = sample_image(prices, image)
    series, gasf, gadf, _ = figure.axes
    assert series.get_xlim() == gasf.get_xlim() == gasf.get_ylim() == gadf.get_ylim()
    assert gasf.get_ylim() == (-14.5, 0.5)
    assert gasf.images[0].origin == "lower"
    assert gasf.get_xlabel() == gasf.get_ylabel() == "minutes before t"
    assert figure.get_suptitle() == "t = 2025-06-20 10:14 UTC"
    assert sample_image(prices, image, "BNBUSDT").get_suptitle() == "BNBUSDT"


def test_long_windows_are_told_in_hours(image: NDArray[np.float32]) -> None:
    times = pd.date_range("2025-06-20", periods=64, freq="1h", tz="UTC")
    series, gasf, *_ = sample_image(pd.Series(np.arange(64.0), times), image).axes
    assert gasf.get_xlabel() == "hours before t"
    np.testing.assert_array_equal(series.lines[0].get_data()[0], np.arange(-63.0, 1.0))


def test_what_is_no_sample_is_refused(prices: pd.Series, image: NDArray[np.float32]) -> None:
    with pytest.raises(ImagesError, match=r"shape \(16, 16\) and 15 prices are no sample"):
        sample_image(prices, image[0])
    with pytest.raises(ImagesError, match="and 1 prices are no sample"):
        sample_image(prices.tail(1), image)


@pytest.mark.parametrize("factor", [127.0, np.nan])
def test_stored_integers_are_scaled_first(
    prices: pd.Series, image: NDArray[Any], factor: float
) -> None:
    with pytest.raises(ImagesError, match=r"multiply stored images by their store's `scale`"):
        sample_image(prices, image * factor)


def test_a_figure_is_the_same_file_each_time(
    prices: pd.Series, image: NDArray[np.float32], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        save(sample_image(prices, image), tmp_path / "figures" / f"{name}.png")
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


def test_figures_touch_no_state_of_pyplot(scores: ScoreTable, tmp_path: Path) -> None:
    before = sys.modules.get("matplotlib.pyplot")
    save(confusion_matrices(scores), tmp_path / "figure.png")
    assert sys.modules.get("matplotlib.pyplot") is before
