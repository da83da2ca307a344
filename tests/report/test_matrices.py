"""Matrices show the counts and the rates that they are given, a panel for each model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gafcnn.errors import PredictionsError
from gafcnn.report.matrices import confusion_matrices, regime_matrices
from gafcnn.report.plotting import save

Judgement = dict[str, Any]


def written(panel: Axes) -> set[str]:
    return {text.get_text() for text in panel.texts}


def panels_by_name(figure: Figure) -> dict[str, Axes]:
    return {panel.get_title(loc="left"): panel for panel in figure.axes}


@pytest.mark.parametrize("rows", ["labelled", "all"])
def test_each_model_has_a_panel_with_its_counts_and_shares(
    judgement: Judgement, rows: Literal["labelled", "all"]
) -> None:
    panels = panels_by_name(confusion_matrices(judgement, rows))
    assert list(panels) == list(judgement["models"])
    for name, panel in panels.items():
        confusion = judgement["confusion"][name][rows]
        cells = {f"{count:,}\n{count / sum(row):.1%}" for row in confusion for count in row}
        suffix = "" if rows == "all" else "_labelled"
        accuracy = judgement["models"][name][f"accuracy{suffix}"]
        summary = f"{accuracy['value']:.2%} of {accuracy['n']:,} right"
        assert written(panel) == {*cells, summary}


def test_outcomes_are_rows_and_forecasts_columns(judgement: Judgement) -> None:
    panel = panels_by_name(confusion_matrices(judgement))["15m"]
    (down, _), (wrongly_down, _) = judgement["confusion"]["15m"]["labelled"]
    at = {text.get_position(): text.get_text() for text in panel.texts if "\n" in text.get_text()}
    assert at[(0, 0)].startswith(f"{down:,}\n")
    assert at[(0, 1)].startswith(f"{wrongly_down:,}\n")
    assert panel.get_xlabel() == "forecast"
    assert panel.get_ylabel() == "outcome"


def test_windows_and_ensembles_have_lines_of_their_own(judgement: Judgement) -> None:
    figure = confusion_matrices(judgement)
    figure.draw_without_rendering()
    tops = {name: round(p.get_position().y1, 3) for name, p in panels_by_name(figure).items()}
    assert tops["15m"] == tops["30m"] == tops["60m"] > tops["mean"]
    assert tops["mean"] == tops["weighted"] == tops["vote"] == tops["stacking"] > tops["two_stage"]
    assert tops["xgboost"] == tops["two_stage"] > tops["oracle"]


def test_more_models_than_a_line_holds_go_on_below(judgement: Judgement) -> None:
    one = judgement["confusion"]["15m"]
    many = confusion_matrices({"confusion": {f"{minutes}m": one for minutes in range(9)}})
    assert len(many.axes) == 9


def test_scores_of_no_rows_are_drawn_as_such(no_rows: Judgement, tmp_path: Path) -> None:
    figure = confusion_matrices(no_rows)
    assert written(figure.axes[0]) == {"0\n0.0%", "n/a of 0 right"}
    save(figure, tmp_path / "none.png")


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(PredictionsError, match="there are no scores to draw; expected the scores"):
        confusion_matrices({"confusion": {}})


def test_a_regime_shows_its_win_rate_and_its_rows(judgement: Judgement) -> None:
    panels = panels_by_name(regime_matrices(judgement))
    assert list(panels) == list(judgement["models"])
    cells = {text.get_position(): text.get_text() for text in panels["mean"].texts}
    for row in judgement["regimes"]:
        if row["model"] == "mean" and row["month"] is None and row["win_rate"] is not None:
            at = (
                ["down", "flat", "up"].index(row["trend"]),
                ["high", "middle", "low"].index(row["volatility"]),
            )
            assert cells[at] == f"{row['win_rate']:.1%}\n{row['n']:,}"


def test_a_regime_without_a_row_has_no_win_rate(judgement: Judgement) -> None:
    panel = panels_by_name(regime_matrices(judgement))["15m"]
    assert {text.get_position(): text.get_text() for text in panel.texts}[(0, 0)] == "n/a\n0"
    assert np.ma.is_masked(np.ma.asarray(panel.images[0].get_array())[0, 0])


def test_writing_can_be_read_on_any_shade(make_judgement: Callable[..., Judgement]) -> None:
    made = make_judgement(90, ("15m",))
    for row, rate in zip(made["regimes"], np.linspace(0, 1, 9), strict=False):
        row.update(win_rate=rate, n=10)
    panel = panels_by_name(regime_matrices(made))["15m"]
    inks = {text.get_text(): text.get_color() for text in panel.texts}
    assert inks["50.0%\n10"] == "#1f2933"
    assert inks["0.0%\n10"] == inks["100.0%\n10"] == "white"


def test_no_regimes_are_refused(judgement: Judgement) -> None:
    with pytest.raises(PredictionsError, match="there are no scores to draw"):
        regime_matrices({**judgement, "regimes": []})
