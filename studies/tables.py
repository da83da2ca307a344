"""Write the tables and figures of the study from its results.

    python studies/tables.py [outputs/images] [docs]

docs/studies/results.json keeps the figures that the page and the notebook show;
docs/studies/tables.md and docs/pictures/study_*.svg are made of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Row = dict[str, Any]

RANKING = {
    "rank_ic": ("rank IC", 3),
    "spread_bps": ("top less bottom fifth, bps", 0),
    "sharpe_gross": ("Sharpe ratio before costs", 2),
    "sharpe": ("after costs", 2),
    "turnover": ("turnover a day", 2),
    "beta_low_volatility": ("beta to low volatility", 2),
}
"""Figures of a ranking: title and digits."""

DIRECTION = {"auc": ("AUC", 4), "sharpe": ("Sharpe ratio after costs", 2)}
MONEY = (
    "alpha",
    "total_return",
    "annual_return",
    "max_drawdown",
    "deflated_sharpe",
    "break_even_bps",
)
NAMES = {"rank_ic": "rank IC", "sharpe": "net Sharpe ratio", "auc": "AUC"}
POINTS = 120  # of a stored equity curve

_INTRODUCTION = (
    "Written by `studies/tables.py` from `results.json`, which has the same figures. Models, parts",
    "and questions are those of the [plan](plan.md); [Results](../results.md) says what they mean.",
    "Brackets are 95 % intervals; of scores on validation rows, the range of the folds.",
    "",
)


@dataclass(frozen=True)
class Question:
    """Differences that answer a question, and the models that its table shows.

    Args:
        study: The part of the study.
        pairs: Model and the one it is compared with; the first is the headline.
        figures: What is compared.
        others: Models to show beside those of the pairs.
    """

    study: str
    pairs: Sequence[tuple[str, str]]
    figures: Sequence[str] = ("rank_ic", "sharpe")
    others: Sequence[str] = ()

    @property
    def models(self) -> list[str]:
        """The models of the table, each once."""
        return [*dict.fromkeys([*self.others, *(name for pair in self.pairs for name in pair)])]


QUESTIONS = {
    "b": Question("perp-1d", (("residual", "xgboost"), ("two_stage", "xgboost"))),
    "c": Question("perp-1d", (("minirocket", "gaf"), ("bars", "gaf"))),
    "d": Question("perp-1d", (("three", "64x60m"),), others=("64x30m", "64x2h")),
    "f": Question(
        "pooled",
        (("gaf_pooled", "gaf_single"), ("xgboost_pooled", "xgboost_single")),
        ("auc", "sharpe"),
    ),
    "g": Question(
        "perp-1d",
        (
            ("gaf_fixed", "gaf"),
            ("gaf_market", "gaf"),
            ("trees_fixed", "xgboost"),
            ("trees_rocket_fixed", "trees_rocket"),
        ),
    ),
    "h": Question("spot-4h", (("xgboost", "xgboost_plain"), ("gaf_taker", "gaf"))),
    "i": Question(
        "large-1d",
        (("lite0_pretrained", "lite0_random"), ("lite0_frozen", "lite0_pretrained")),
        others=("resnet18",),
    ),
    "stocks": Question(
        "stocks-5d",
        (("two_stage", "xgboost"), ("minirocket", "gaf"), ("bars", "gaf")),
        others=("momentum",),
    ),
}

HORIZONS = ("1h", "4h", "1d", "3d")
RIVALS = ("momentum", "xgboost", "minirocket", "gaf", "two_stage")


def condensed(found: Row) -> Row:
    """Return the figures of a part that are shown, and of the final model an equity curve."""
    metrics = found["metrics"]
    shown = [*RANKING, *DIRECTION, *MONEY]

    def figures(models: Mapping[str, Row]) -> Row:
        return {
            name: {key: rounded(one[key]) for key in shown if one.get(key) is not None}
            for name, one in models.items()
        }

    def short(x: Any) -> Any:
        return round(x, 6) if isinstance(x, float) else x

    def rounded(row: Row) -> Row:
        return {key: short(x) for key, x in row.items()}

    def thinned(curve: Mapping[str, Sequence[Any]]) -> Row:
        step = max(1, len(curve["time"]) // POINTS)
        places = [*range(0, len(curve["time"]) - 1, step), -1]
        return {key: [short(values[k]) for k in places] for key, values in curve.items()}

    curves = {name: thinned(one) for name, one in metrics.get("equity", {}).items()}
    keys = ("a", "b", "figure", "value", "low", "high")
    both = [*found.get("pairs", []), *metrics["pairs"]]
    pairs = {(row["a"], row["b"], row["figure"]): row for row in reversed(both)}
    return {
        "task": metrics["task"],
        "rows": metrics["rows"]["all"],
        "cost_bps": metrics["cost_bps"],
        "models": figures(metrics["models"]),
        "benchmarks": figures(metrics.get("benchmarks", {})),
        "at_2_bps": figures(found.get("at_2_bps", {})),
        "pairs": [rounded({key: row[key] for key in keys}) for row in pairs.values()],
        **({"equity": curves} if "validation" in found else {}),
        **{key: found[key] for key in ("validation", "model", "portfolio") if key in found},
    }


def text(found: Row | None, digits: int = 3) -> str:
    """Return a figure with its interval."""
    if found is None or found["value"] is None:
        return "n/a"
    value, low, high = (found[key] for key in ("value", "low", "high"))
    bounds = "" if low is None else f" [{low:z.{digits}f}, {high:z.{digits}f}]"
    return f"{value:z.{digits}f}{bounds}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield "| " + " | ".join(titles) + " |"
    yield "|---" * len(titles) + "|"
    for cells in rows:
        yield "| " + " | ".join(cells) + " |"


def figures_of(found: Row) -> Mapping[str, tuple[str, int]]:
    """Return the figures that the tables of a part show."""
    return RANKING if found["task"] == "ranking" else DIRECTION


def models(found: Row, names: Sequence[str], figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table of models."""
    rows = ([f"`{name}`", *cells(found["models"][name], figures)] for name in names)
    yield from table(["model", *(title for title, _ in figures.values())], rows)


def cells(one: Row, figures: Mapping[str, Any]) -> list[str]:
    """Return the figures of a model as texts."""
    return [text(one.get(key), digits) for key, (_, digits) in figures.items()]


def difference(found: Row, pair: tuple[str, str], figure: str) -> Row:
    """Return the paired difference of two models."""
    for row in found["pairs"]:
        if (row["a"], row["b"], row["figure"]) == (*pair, figure):
            return row
    raise SystemExit(f"{pair[0]} and {pair[1]} were not compared by {figure}")


def differences(found: Row, question: Question) -> Iterator[str]:
    """Yield the lines of a table of paired differences."""
    digits = {figure: 2 if figure == "sharpe" else 4 for figure in question.figures}
    rows = (
        [f"`{a}` less `{b}`", *(text(difference(found, (a, b), f), n) for f, n in digits.items())]
        for a, b in question.pairs
    )
    yield from table(["difference", *(NAMES[figure] for figure in digits)], rows)


def forest(found: Row, question: Question) -> Figure:
    """Draw paired differences with their intervals, one panel a figure."""
    figure = Figure(figsize=(9, 1.1 + 0.45 * len(question.pairs)), layout="constrained")
    panels = figure.subplots(1, len(question.figures), sharey=True)
    for axes, key in zip(panels, question.figures, strict=True):
        for place, pair in enumerate(question.pairs):
            row = difference(found, pair, key)
            if row["value"] is None:  # of a few rows
                continue
            low, high = (row["value"] if row[end] is None else row[end] for end in ("low", "high"))
            colour = "#1f5fa8" if low > 0 or high < 0 else "#8a949e"
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            axes.plot(row["value"], place, "o", color=colour)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set(ylim=(len(question.pairs) - 0.5, -0.5), xlabel=f"difference in {NAMES[key]}")
    panels[0].set_yticks(range(len(question.pairs)), [f"{a} less {b}" for a, b in question.pairs])
    return figure


def by_horizon(results: Mapping[str, Row]) -> Figure:
    """Draw rank IC and net Sharpe ratio of each model by horizon."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, key in zip(axes, ("rank_ic", "sharpe"), strict=True):
        for number, name in enumerate(RIVALS):
            each = [results[f"perp-{h}"]["models"][name][key] for h in HORIZONS]
            places = [place + (number - 2) * 0.12 for place in range(len(HORIZONS))]
            values = [one["value"] for one in each]
            below = [one["value"] - one["low"] for one in each]
            above = [one["high"] - one["value"] for one in each]
            ax.errorbar(places, values, [below, above], fmt="o", capsize=2, label=name)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_xticks(range(len(HORIZONS)), HORIZONS)
        ax.set(xlabel="horizon", ylabel=NAMES[key])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def horizons(results: Mapping[str, Row]) -> Iterator[str]:
    """Yield the lines of the table of horizons."""
    figures = {key: one for key, one in RANKING.items() if not key.startswith("beta")}
    figures |= {"at_2_bps": ("Sharpe ratio at 2 bps", 2)}
    rows = list[Sequence[str]]()
    for horizon in HORIZONS:
        found = results[f"perp-{horizon}"]
        for name in RIVALS:
            one = found["models"][name] | {"at_2_bps": found["at_2_bps"][name]["sharpe"]}
            rows.append([horizon, f"`{name}`", *cells(one, figures)])
    yield from table(["horizon", "model", *(title for title, _ in figures.values())], rows)


def equity(found: Row) -> Figure:
    """Draw the value of the final portfolio after costs, of its rivals and of the market."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    ax = figure.add_subplot()
    for name, curve in found["equity"].items():
        ax.plot(pd.to_datetime(curve["time"]), curve["value"], label=name)
    ax.xaxis.set_major_locator(locator := AutoDateLocator(maxticks=8))
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set(ylabel="value of 1 after costs")
    ax.legend()
    return figure


def choices(found: Row) -> Iterator[str]:
    """Yield the lines of the tables of what was chosen on validation rows."""
    for kind, scores in found["validation"].items():
        best_first = sorted(scores.items(), key=lambda one: -one[1]["value"])
        title = "net Sharpe ratio on validation: mean and range of the folds"
        yield from table([kind[:-1], title], ([name, text(one, 2)] for name, one in best_first))
        yield ""


def tables(results: Mapping[str, Row]) -> str:
    """Return the tables of all questions, and those of all models of each part."""
    final = results["final"]
    lines = ["# All figures of the study", "", *_INTRODUCTION, "## Question a", ""]
    lines += [*choices(final), *models(final, [*final["models"]], RANKING), ""]
    for name, question in QUESTIONS.items():
        found = results[question.study]
        title = f"Question {name}" if len(name) == 1 else name.capitalize()
        lines += [f"## {title}", "", *differences(found, question), ""]
        lines += [*models(found, question.models, figures_of(found)), ""]
    lines += ["## Question e", "", *horizons(results), ""]
    for name, found in results.items():
        lines += [f"## All models of {name}, {found['rows']:,} test rows", ""]
        lines += [*models(found, [*found["models"]], figures_of(found)), ""]
        pairs = [*dict.fromkeys((row["a"], row["b"]) for row in found["pairs"])]
        every = Question(
            name, pairs, ("auc" if found["task"] == "direction" else "rank_ic", "sharpe")
        )
        lines += [*differences(found, every), ""]
    return "\n".join(lines)


def main(folder: Path, docs: Path) -> None:
    """Write results.json, tables.md and the figures."""
    mpl.rcParams["svg.hashsalt"] = "gafcnn"  # the same figure is the same file
    stored = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    results = {name: condensed(found) for name, found in stored.items()}
    (docs / "studies/results.json").write_text(json.dumps(results, separators=(",", ":")) + "\n")
    (docs / "studies/tables.md").write_text(tables(results) + "\n")
    drawn = {"a": equity(results["final"]), "e": by_horizon(results)}
    drawn |= {name: forest(results[one.study], one) for name, one in QUESTIONS.items()}
    for name, figure in drawn.items():
        path = docs / f"pictures/study_{name}.svg"
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    main(*(given or [Path("outputs/images"), Path("docs")]))
