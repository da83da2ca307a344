"""Judgements and live decisions, as `gafcnn.app.predict` prints them as JSON, on the console."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import IO, Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.stats import entropy

from gafcnn.report import tables
from gafcnn.report.tables import MARKET, NO_SKILL, TOGETHER, count, four_digits, percent

POSITIONS = {1: "long", -1: "short", 0: "flat"}
WIDTH = 110
MOST_SYMBOLS = 10  # with more, only the lines of all symbols together are shown
HEADING_WIDTH = 8  # longer headings have several lines


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """Return one line per model, or per model and symbol, with its scores and its trades.

    Models are in the order of the metrics, with a line between single models, ensembles and the
    oracle. The last line, "no skill", is the best constant forecast: it always predicts the most
    frequent class, and its share as the probability. An accuracy below it is worth nothing. For
    rankings it is the equal-weighted market.
    """
    symbols, ranking = metrics.get("symbols") or {}, metrics["task"] == "ranking"
    columns = [
        name
        for name in tables.KEYS["summary_ranking" if ranking else "summary"].split()
        if any(name in found for found in metrics["models"].values())
        and not (symbols and name.endswith("_labelled"))
    ]
    table = Table(box=box.SIMPLE_HEAD, caption_justify="left", collapse_padding=True)
    for heading in ("model", "symbol") if symbols else ("model",):
        table.add_column(heading, no_wrap=True, vertical="bottom")
    for heading in ("decision times" if ranking else "rows", *map(tables.header, columns)):
        lines = fill(heading, HEADING_WIDTH, break_long_words=False)
        table.add_column(lines, justify="right", no_wrap=True, vertical="bottom")

    few = 0 < len(symbols) <= MOST_SYMBOLS
    ends = {names[-1] for names in tables.model_groups(metrics["models"])}
    for model, symbol, part in tables.by_symbol(metrics):
        together = symbol == TOGETHER
        if together or few:
            names = [model, symbol] if symbols else [model]
            last = together and (few or model in ends)
            table.add_row(*names, *_cells(part["models"][model], columns), end_section=last)
    if ranking:
        names, last = [tables.model_label(MARKET)], metrics["benchmarks"][MARKET]
    else:
        names, last = [NO_SKILL, TOGETHER] if symbols else [NO_SKILL], _no_skill(metrics)
    table.add_row(*names, *_cells(last, columns), style="dim")
    table.caption = _caption(metrics)
    return table


def decision_line(decision: Mapping[str, Any]) -> str:
    """Describe the bar: `BNBUSDT at 2025-06-24 00:00 UTC, 5 s ago: price 645; horizon 15min`."""
    time, age = pd.Timestamp(decision["time"]), format_age(decision["age_seconds"])
    text = f"{time:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    horizon = f"; horizon {decision['horizon']}" if decision["horizon"] else ""
    return f"{decision['symbol']} at {text} UTC, {age} ago: price {decision['close']:g}{horizon}"


def decision_table(decision: Mapping[str, Any]) -> Table:
    """Return one line per model: P(up), its confidence, the threshold and the position.

    For other classes than down and up: the probability of each, and the most probable one. The
    headline model has a star. The text "rules" is shown below.
    """
    models = decision["models"]
    cells = {name: _decided(found) for name, found in models.items()}
    table = Table(box=box.SIMPLE_HEAD, caption_justify="left", collapse_padding=True)
    table.caption = "* headline model"
    if "position" in next(iter(cells.values())):
        table.caption += f"\n{decision['rules']}"
    table.add_column("model", no_wrap=True)
    for heading in next(iter(cells.values())):
        table.add_column(heading.replace("_", " "), justify="right")
    for names in tables.model_groups(models):
        for name in names:
            leads = name == decision["headline"]
            first = f"{name} *" if leads else name
            table.add_row(first, *cells[name].values(), style="bold" if leads else None)
        table.add_section()
    return table


def _decided(found: Mapping[str, Any]) -> dict[str, str]:
    if "probabilities" in found:
        shares = {name: four_digits(share) for name, share in found["probabilities"].items()}
        return {**shares, "predicted": found["predicted"].replace("_", " ")}
    numbers = {name: four_digits(found[name]) for name in ("p_up", "confidence", "threshold")}
    return {"P(up)": numbers.pop("p_up"), **numbers, "position": POSITIONS[found["position"]]}


def format_age(seconds: float) -> str:
    """Format a duration in its two largest units: `4 s`, `2 min 5 s`, `3 h 0 min`, `12 d 4 h`."""
    rest, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def show(table: Table, file: IO[str] | None = None) -> None:
    """Print a table to a file, standard output by default; pipes get 110 columns of plain text."""
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)


def _cells(estimates: Mapping[str, Any], columns: list[str]) -> list[str]:
    shown = {name: tables.format_of(name)(found["value"]) for name, found in estimates.items()}
    n = estimates["rank_ic" if "rank_ic" in estimates else "accuracy"]["n"]
    return [count(n), *(shown.get(name, "") for name in columns)]


def _no_skill(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the estimates of the best constant forecast."""
    if metrics["task"] == "classification":
        return metrics["no_skill"]
    estimates = {}
    for rows, suffix in (("all", ""), ("labelled", "_labelled")):
        up, n = metrics["classes"][rows]["up"], metrics["classes"][rows]["n"]
        values = {
            "accuracy": tables.majority_share(metrics, rows),
            "auc": None if up in (None, 0, 1) else 0.5,
            "log_loss": None if up is None else entropy([up, 1 - up]),
        }
        estimates |= {name + suffix: {"value": value, "n": n} for name, value in values.items()}
    return estimates


def _caption(metrics: Mapping[str, Any]) -> str:
    if metrics["task"] == "ranking":
        found = metrics["cross_section"]
        return (
            f"{count(metrics['rows']['all'])} test rows of {found['symbols']} symbols, "
            f"at least {found['fewest']} at each decision time; {metrics['costs']}"
        )
    classes = metrics["classes"]
    if metrics["task"] == "classification":
        found = ", ".join(f"{name} {count(n)}" for name, n in classes.items())
        without = metrics["rows"]["all"] - metrics["rows"]["labelled"]
        return f"test rows by class: {found}; {count(without)} without a label"
    return "\n".join(
        f"{rows} rows: {count(classes[rows]['n'])}, {percent(classes[rows]['up'])} of them up"
        for rows in ("labelled", "all")
    )
