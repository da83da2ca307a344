"""Curves are the judgement's numbers, and both ways to draw them draw the same ones."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.report.charts import Chart, charts
from gafcnn.report.interactive import interactive
from gafcnn.report.palette import COLOURS, styles
from gafcnn.report.still_charts import drawn

Judgement = dict[str, Any]


@pytest.fixture(scope="module")
def by_name(judgement: Judgement) -> dict[str, Chart]:
    return {chart.name: chart for chart in charts(judgement)}


def traces(chart: Chart, judgement: Judgement) -> list[dict[str, Any]]:
    """What the page hands to plotly."""
    html = interactive(chart, styles(judgement["models"]))
    start = html.index("[", html.index("Plotly.newPlot"))
    return json.JSONDecoder().raw_decode(html, start)[0]


def test_every_chart_is_there_in_the_order_of_the_page(by_name: dict[str, Chart]) -> None:
    assert list(by_name) == ["equity", "drawdown", "coverage", "calibration", "months"]


def test_a_drawdown_is_counted_from_the_highest_point_before(judgement: Judgement) -> None:
    times = ["2025-05-20T00:00:00+00:00"] * 4
    line = {"time": times, "value": [1.0, 1.25, 1.0, 1.5]}
    found = {chart.name: chart for chart in charts({**judgement, "equity": {"15m": line}})}
    assert found["drawdown"].panels[0].curves[0].y == pytest.approx([0.0, 0.0, -0.2, 0.0])


def test_times_with_an_offset_are_drawn_in_utc(judgement: Judgement) -> None:
    line = {"time": ["2025-05-20T02:00:00+02:00"], "value": [1.0]}
    equity = charts({**judgement, "equity": {"15m": line}})[0]
    assert equity.panels[0].curves[0].x == [pd.Timestamp("2025-05-20 00:00")]
    assert traces(equity, judgement)[0]["x"] == ["2025-05-20 00:00:00"]


def test_the_choice_of_validation_is_a_mark_and_no_point_of_the_curve(
    judgement: Judgement, by_name: dict[str, Chart]
) -> None:
    curve = next(one for one in by_name["coverage"].panels[0].curves if one.model == "mean")
    chosen = next(row for row in judgement["coverage"] if row["model"] == "mean" and row["chosen"])
    assert len(curve.x) == 7
    assert curve.x == sorted(curve.x)
    note = f"chosen on validation, {chosen['trades']} trades"
    assert curve.chosen == [(chosen["realised"], chosen["win_rate"], note)]


def test_a_threshold_that_nothing_reaches_is_not_marked(
    make_judgement: Callable[..., Judgement],
) -> None:
    made = charts(make_judgement(200, ("15m",), trades=False))
    coverage = next(chart for chart in made if chart.name == "coverage")
    assert all(not curve.chosen for panel in coverage.panels for curve in panel.curves)


@pytest.mark.parametrize("name", ["equity", "drawdown", "coverage", "calibration", "months"])
def test_the_page_and_the_paper_show_the_same_points(
    judgement: Judgement, by_name: dict[str, Chart], name: str
) -> None:
    chart = by_name[name]
    axes = drawn(chart, styles(judgement["models"])).axes
    on_page = {
        (trace["legendgroup"], trace["yaxis"]): trace["y"]
        for trace in traces(chart, judgement)
        if "text" in trace and trace["mode"].startswith("lines")
    }
    for place, (panel, panel_axes) in enumerate(zip(chart.panels, axes, strict=True)):
        on_paper = {line.get_label(): line.get_ydata() for line in panel_axes.lines}
        for curve in panel.curves:
            label = curve.model.replace("buy_and_hold", "buy and hold")
            y = np.array(curve.y, dtype=float)
            page = np.array(on_page[curve.model, f"y{place + 1}" if place else "y"], dtype=float)
            np.testing.assert_allclose(page, y, atol=5e-7)
            np.testing.assert_array_equal(on_paper[label], y)


def test_intervals_are_strokes_from_low_to_high(
    judgement: Judgement, by_name: dict[str, Chart]
) -> None:
    rows = [row for row in judgement["calibration"] if row["model"] == "mean"]
    stroke = next(
        trace
        for trace in traces(by_name["calibration"], judgement)
        if trace["legendgroup"] == "mean" and trace.get("hoverinfo") == "skip"
    )
    ends = [end for row in rows for end in (row["low"], row["high"], None)]
    assert [y if y is None else round(y, 6) for y in ends] == stroke["y"]


def test_a_model_of_extremes_leaves_the_headline_its_room(judgement: Judgement) -> None:
    extreme = copy.deepcopy(judgement)
    for row in extreme["calibration"]:
        if row["model"] == "vote":
            row.update(forecast=1.0, observed=1.0)
    chart = next(chart for chart in charts(extreme) if chart.name == "calibration")
    highest = max(r["forecast"] for r in extreme["calibration"] if r["model"] == "mean")
    assert drawn(chart, styles(extreme["models"])).axes[0].get_xlim()[1] < highest + 0.05
    html = interactive(chart, styles(extreme["models"]))
    assert f'"x1":{highest}' in html


def test_rows_without_an_interval_have_no_stroke(judgement: Judgement) -> None:
    bare = copy.deepcopy(judgement)
    for row in bare["calibration"]:
        del row["low"], row["high"]
    chart = next(chart for chart in charts(bare) if chart.name == "calibration")
    assert len(traces(chart, bare)) == len(bare["models"])


def test_only_the_headline_stands_in_a_crowded_chart(
    judgement: Judgement, by_name: dict[str, Chart]
) -> None:
    shown = {t["legendgroup"]: t["visible"] for t in traces(by_name["coverage"], judgement)}
    assert [model for model, visible in shown.items() if visible is True] == ["mean"]
    assert {t["visible"] for t in traces(by_name["equity"], judgement)} == {True}


def test_without_the_headline_all_stand(judgement: Judgement) -> None:
    chart = next(c for c in charts({**judgement, "headline": "else"}) if c.name == "coverage")
    assert {trace["visible"] for trace in traces(chart, judgement)} == {True}


def test_a_model_keeps_its_colour_in_every_chart(
    judgement: Judgement, by_name: dict[str, Chart]
) -> None:
    for chart in by_name.values():
        for trace in traces(chart, judgement):
            look = styles(judgement["models"])[trace["legendgroup"]]
            drawn_in = trace["line"] if "line" in trace else trace["marker"]
            assert drawn_in["color"] == look.colour


def test_ten_models_have_ten_colours_and_each_kind_its_dash(judgement: Judgement) -> None:
    look = styles(judgement["models"])
    assert len({style.colour for style in look.values()}) == len(COLOURS) + 1
    assert [look[name].dash for name in ("15m", "xgboost", "mean", "oracle")] == [
        *("solid", "solid", "dash", "dot")
    ]


def test_the_name_of_a_model_is_no_markup(judgement: Judgement) -> None:
    odd = "</script><b>"
    line = {"time": ["2025-05-20T00:00:00+00:00"], "value": [1.0]}
    made = {**judgement, "models": {odd: {}}, "equity": {odd: line}}
    made |= {"coverage": [], "calibration": [], "regimes": []}
    html = interactive(charts(made)[0], styles(made["models"]))
    assert len(re.findall("</script>", html)) == html.count("<script")
    assert "<b>" not in html
    assert traces(charts(made)[0], made)[0]["name"] == "&lt;/script&gt;&lt;b&gt;"
