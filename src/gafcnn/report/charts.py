"""The curves of a report as plain data, whatever draws them: a page in a browser, or a PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from gafcnn.report.formatters import Form, count, percent, signed
from gafcnn.report.palette import HOLDING

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Curve:
    """One model's line.

    Attributes:
        model: Whose it is; it gives the line its colour.
        x: Where its points are: numbers, texts, or moments (UTC) as pandas timestamps.
        y: The points; None leaves a gap.
        intervals: The low and high end of each point's interval, where points have one.
        notes: What is told of each point beside x and y, where there is more to tell.
        chosen: Points off the line that are marked: x, y and their note.
    """

    model: str
    x: Sequence[Any]
    y: Sequence[float | None]
    intervals: Sequence[tuple[float, float] | None] = ()
    notes: Sequence[str] = ()
    chosen: Sequence[tuple[float, float, str]] = ()


@dataclass(frozen=True)
class Panel:
    """Curves on one scale.

    Attributes:
        label: What the scale measures.
        curves: A line for each model.
        form: How a value is written.
        tick: How the axis writes it, as a format that Python and d3 both read.
        level: What a line across marks, such as a coin's 0.5; "diagonal" is y = x.
    """

    label: str
    curves: Sequence[Curve]
    form: Form
    tick: str
    level: float | Literal["diagonal"]


@dataclass(frozen=True)
class Chart:
    """Panels one above the other, on one axis of x.

    Attributes:
        name: The name of its files.
        title: What is seen, in a line.
        x_label: What the axis measures.
        x: Its kind: moments, shares on a logarithmic scale, probabilities, or texts in order.
        panels: From above.
        headline: The model that is drawn before all others.
        alone: Whether the others are there only for whom asks for them.
    """

    name: str
    title: str
    x_label: str
    x: Literal["time", "log_share", "probability", "text"]
    panels: Sequence[Panel]
    headline: str
    alone: bool

    def stands_back(self, model: str) -> bool:
        """Whether a model's curve waits to be asked for, beside the headline's."""
        drawn = {curve.model for curve in self.panels[0].curves}
        return self.alone and model != self.headline and self.headline in drawn


def charts(judgement: Mapping[str, Any]) -> list[Chart]:
    """Every chart that the judgement has the numbers of, in the order of the page."""
    made = (equity, drawdown, coverage, calibration, months)
    return [chart for chart in (make(judgement) for make in made) if _has_points(chart)]


def equity(judgement: Mapping[str, Any]) -> Chart:
    """What one unit of money became, model by model, and by buying and holding."""
    curves = [Curve(name, _times(line), line["value"]) for name, line in _equity(judgement)]
    panels = [Panel("equity, starting at 1", curves, _times_over, ".2f", 1.0)]
    return Chart("equity", "Equity over the test rows", "time, UTC", "time", panels,
                 judgement["headline"], alone=False)  # fmt: skip


def drawdown(judgement: Mapping[str, Any]) -> Chart:
    """How far below its own highest point each equity stood."""
    curves = [
        Curve(name, _times(line), _below_peak(line["value"])) for name, line in _equity(judgement)
    ]
    panels = [Panel("below the highest yet", curves, percent, ".1%", 0.0)]
    return Chart("drawdown", "Drawdown over the test rows", "time, UTC", "time", panels,
                 judgement["headline"], alone=False)  # fmt: skip


def coverage(judgement: Mapping[str, Any]) -> Chart:
    """Win rate, and net basis points a trade, against the share of rows traded."""
    rows = [row | {"x": _realised(row)} for row in judgement["coverage"]]
    placed = sorted((row for row in rows if row["x"]), key=lambda row: row["x"])
    panels = _win_rate_panels(judgement, placed, "x")
    return Chart("coverage", "Win rate and earnings against the share of rows traded",
                 "share of test rows traded", "log_share", panels,
                 judgement["headline"], alone=True)  # fmt: skip


def calibration(judgement: Mapping[str, Any]) -> Chart:
    """How often it went up, against how probable that was said to be."""
    curves = [
        Curve(
            model,
            [row["forecast"] for row in rows],
            [row["observed"] for row in rows],
            [_interval(row) for row in rows],
            [f"{count(row['n'])} rows" for row in rows],
        )
        for model, rows in _by_model(judgement, judgement["calibration"])
    ]
    panels = [Panel("share that went up", curves, percent, ".0%", "diagonal")]
    return Chart("calibration", "Calibration", "P(up) forecast", "probability", panels,
                 judgement["headline"], alone=True)  # fmt: skip


def months(judgement: Mapping[str, Any]) -> Chart:
    """Win rate, and net basis points a trade, month by month."""
    rows = sorted(
        (row for row in judgement["regimes"] if row["month"] is not None),
        key=lambda row: row["month"],
    )
    panels = _win_rate_panels(judgement, rows, "month")
    return Chart("months", "Win rate and earnings by month", "month", "text", panels,
                 judgement["headline"], alone=True)  # fmt: skip


def _win_rate_panels(judgement: Mapping[str, Any], rows: Sequence[Row], x: str) -> list[Panel]:
    by_model = list(_by_model(judgement, rows))
    rates = [_curve(model, x, "win_rate", found) for model, found in by_model]
    earned = [_curve(model, x, "net_bps", found) for model, found in by_model]
    return [
        Panel("gross win rate", rates, percent, ".0%", 0.5),
        Panel("net bps a trade", earned, signed, "+.1f", 0.0),
    ]


def _curve(model: str, x: str, figure: str, rows: Sequence[Row]) -> Curve:
    line = [row for row in rows if not row.get("chosen")]
    chosen = [row for row in rows if row.get("chosen") and row[figure] is not None]
    return Curve(
        model,
        [row[x] for row in line],
        [row[figure] for row in line],
        [_interval(row) for row in line] if figure == "win_rate" else (),
        [_counted(row) for row in line],
        [(row[x], row[figure], f"chosen on validation, {_counted(row)}") for row in chosen],
    )


def _counted(row: Row) -> str:
    return f"{count(row['trades'])} trades" if "trades" in row else f"{count(row['n'])} rows"


def _realised(row: Row) -> float | None:
    """The share of test rows that was traded; the share asked for, where that is all one knows."""
    realised = row.get("realised")
    return row["share"] if realised is None else realised


def _interval(row: Row) -> tuple[float, float] | None:
    low, high = row.get("low"), row.get("high")
    return None if low is None or high is None else (low, high)


def _by_model(judgement: Mapping[str, Any], rows: Iterable[Row]) -> Iterable[tuple[str, list[Row]]]:
    """Rows of each model in turn, models in the judgement's order, rows in their own."""
    order = {name: place for place, name in enumerate(judgement["models"])}
    placed = sorted(rows, key=lambda row: order[row["model"]])
    for model, found in groupby(placed, lambda row: row["model"]):
        yield model, list(found)


def _equity(judgement: Mapping[str, Any]) -> list[tuple[str, Row]]:
    """Equities in the order of the models, buying and holding last."""
    found = judgement["equity"]
    return [(name, found[name]) for name in (*judgement["models"], HOLDING) if name in found]


def _times(line: Row) -> list[pd.Timestamp]:
    return list(pd.to_datetime(line["time"], utc=True).tz_localize(None))


def _below_peak(values: Sequence[float]) -> list[float]:
    equity = np.asarray(values, dtype=np.float64)
    return (equity / np.maximum.accumulate(equity) - 1).tolist()


def _times_over(value: float) -> str:
    return f"{value:.3f}"


def _has_points(chart: Chart) -> bool:
    curves = [curve for panel in chart.panels for curve in panel.curves]
    return any(value is not None for curve in curves for value in curve.y)
