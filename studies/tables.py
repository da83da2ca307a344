"""Write the tables and figures of the study: tables.md beside its results, and study_*.svg.

python studies/tables.py [outputs/images] [docs/pictures]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

Row = dict[str, Any]

RANKING = {
    "rank_ic": ("rank IC", 3),
    "sharpe_gross": ("Sharpe ratio before costs", 2),
    "sharpe": ("after costs", 2),
    "turnover": ("turnover a day", 2),
    "break_even_bps": ("break-even cost, bps", 1),
}
"""Figures of a ranking: title and digits."""

DIRECTION = {"auc": ("AUC", 4), "sharpe": ("Sharpe ratio after costs", 2)}
NAMES = {"rank_ic": "rank IC", "sharpe": "net Sharpe ratio", "auc": "AUC"}

QUESTIONS = {
    "b": ("perp-1d", "rank_ic", (("residual", "xgboost"), ("two_stage", "xgboost"))),
    "b_sharpe": ("perp-1d", "sharpe", (("residual", "xgboost"), ("two_stage", "xgboost"))),
    "c": ("perp-1d", "rank_ic", (("minirocket", "gaf"), ("bars", "gaf"))),
    "d": ("perp-1d", "rank_ic", (("three", "64x60m"),)),
    "f": ("pooled", "auc", (("gaf_pooled", "gaf_single"), ("xgboost_pooled", "xgboost_single"))),
    "g": ("perp-1d", "rank_ic", (("gaf_fixed", "gaf"), ("gaf_market", "gaf"))),
    "h": ("spot-4h", "rank_ic", (("xgboost_plain", "xgboost"), ("gaf_taker", "gaf"))),
    "i": (
        "large-1d", "rank_ic",
        (("lite0_pretrained", "lite0_random"), ("lite0_frozen", "lite0_pretrained")),
    ),
    "stocks": ("stocks-5d", "rank_ic", (("two_stage", "xgboost"), ("minirocket", "gaf"))),
}  # fmt: skip
"""The differences of each question, with the study and the figure; the first is the headline."""

HORIZONS = ("1h", "4h", "1d", "3d")


def text(found: Row | None, digits: int = 3) -> str:
    """Return a figure with its interval."""
    if found is None or found["value"] is None:
        return "n/a"
    value, low, high = (found[key] for key in ("value", "low", "high"))
    bounds = "" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{bounds}"


def models(found: Row) -> Iterator[str]:
    """Yield the lines of the table of a study's models."""
    figures = DIRECTION if found["metrics"]["task"] == "direction" else RANKING
    titles = [title for title, _ in figures.values()]
    yield "| " + " | ".join(["model", *titles]) + " |"
    yield "|---" * (len(titles) + 1) + "|"
    for name, one in found["metrics"]["models"].items():
        cells = [text(one.get(key), digits) for key, (_, digits) in figures.items()]
        yield "| " + " | ".join([name, *cells]) + " |"


def differences(found: Row, figure: str, pairs: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """Yield the paired differences that a question asks for."""
    known = [*found["pairs"], *found["metrics"].get("pairs", [])]
    for a, b in pairs:
        for row in known:
            if row["figure"] == figure and (row["a"], row["b"]) == (a, b) and row["value"]:
                yield row
                break


def forest(rows: Sequence[Row], title: str) -> Figure:
    """Draw differences with their intervals; the headline is the first."""
    figure = Figure(figsize=(7, 0.9 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        low, high = (row["value"] if row[end] is None else row[end] for end in ("low", "high"))
        significant = low > 0 or high < 0
        colour = "tab:blue" if significant else "tab:gray"
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot(row["value"], place, "o", color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{row['a']} less {row['b']}" for row in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=title)
    return figure


def by_horizon(results: dict[str, Row]) -> Figure:
    """Draw rank IC and net Sharpe ratio of each model by horizon."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    names = ("momentum", "xgboost", "minirocket", "gaf", "two_stage")
    for ax, key in zip(axes, ("rank_ic", "sharpe"), strict=True):
        for number, name in enumerate(names):
            each = [results[f"perp-{h}"]["metrics"]["models"][name][key] for h in HORIZONS]
            places = [place + (number - 2) * 0.12 for place in range(len(HORIZONS))]
            values = [one["value"] for one in each]
            below = [one["value"] - one["low"] for one in each]
            above = [one["high"] - one["value"] for one in each]
            ax.errorbar(places, values, [below, above], fmt="o", capsize=2, label=name)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_xticks(range(len(HORIZONS)), HORIZONS)
        ax.set(xlabel="horizon", ylabel=NAMES[key])
    axes[0].legend(fontsize=8)
    return figure


def equity(found: Row) -> Figure:
    """Draw the value of the final portfolio after costs, of its rivals and of the market."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    ax = figure.add_subplot()
    for name, curve in found["metrics"]["equity"].items():
        ax.plot(pd.to_datetime(curve["time"]), curve["value"], label=name)
    ax.set(ylabel="value of 1 after costs")
    ax.legend(fontsize=8)
    return figure


def main(results: Path, pictures: Path) -> None:
    """Write tables.md and the figures."""
    mpl.rcParams["svg.hashsalt"] = "gafcnn"  # the same figure is the same file
    found = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    lines, drawn = [], {"e": by_horizon(found), "a": equity(found["final"])}
    for name, one in found.items():
        lines += [f"## {name}", "", *models(one), ""]
    for question, (study, figure, pairs) in QUESTIONS.items():
        rows = [*differences(found[study], figure, pairs)]
        drawn[question] = forest(rows, f"difference in {NAMES[figure]}, {study}")
        lines += [f"- {question}: {r['a']} less {r['b']}, {NAMES[figure]}: {text(r)}" for r in rows]
    for question, one in drawn.items():
        one.savefig(pictures / f"study_{question}.svg", metadata={"Date": None})
    (results / "tables.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    main(*(given or [Path("outputs/images"), Path("docs/pictures")]))
