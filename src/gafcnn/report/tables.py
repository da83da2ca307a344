"""The tables of a judgement: a DataFrame each, and how its columns are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import pandas as pd

from gafcnn.report import formatters as fmt
from gafcnn.report.formatters import BUY_AND_HOLD, model_groups, model_label

TOGETHER = "all symbols"
NO_SKILL = "no skill"
RESULTS = {True: "passed", False: "failed", None: "not run"}

Row: TypeAlias = Mapping[str, Any]
Metrics: TypeAlias = Mapping[str, Any]


class Column(NamedTuple):
    """How a column is shown.

    Attributes:
        header: The heading on the page.
        format: The format of its values; None if each row has its own, in the column "format".
        interval: The columns with the ends of the interval, if values have one.
        kind: Numbers are aligned to the right; a badge is a result that should be seen first.
    """

    header: str
    format: fmt.Format | None = fmt.as_text
    interval: tuple[str, ...] = ()
    kind: Literal["number", "text", "badge"] = "text"


def _number(heading: str, write: fmt.Format | None, *interval: str) -> Column:
    return Column(heading, write, interval, "number")


ENDS = ("low", "high")
_NAMES = "target goal model symbol class side volatility trend month seeds expected finding"
COLUMNS = {
    **{key: Column(key) for key in _NAMES.split()},
    "a": Column("model"),
    "b": Column("minus"),
    "of": Column("among"),
    "choice": Column("rows traded"),
    "receipt": Column("check"),
    "found": Column("finding"),
    **{key: Column("result", kind="badge") for key in ("verdict", "result")},
    **{key: Column(key, fmt.time_text) for key in ("first", "last")},
    "figure": Column("figure", fmt.header),
    "fold": _number("fold", fmt.count),
    "n": _number("rows", fmt.count),
    "n_both": _number("rows or trades", fmt.count),
    "called": _number("predicted", fmt.count),
    "difference": _number("difference", None, *ENDS),
    "value": _number("value", None, *ENDS),
    "least": _number("required", None),
    "lowest": _number("lowest", None),
    "highest": _number("highest", None),
    "majority": _number("majority class", fmt.percent),
    "win_rate": _number("gross win rate", fmt.percent, *ENDS),
    "forecast": _number("mean forecast P(up)", fmt.percent),
    "observed": _number("observed share", fmt.percent, *ENDS),
    "realised": _number("share of rows", fmt.percent),
    "random_rate": _number("random sides", fmt.percent, "random_rate_low", "random_rate_high"),
    "random_bps": _number("random sides", fmt.signed, "random_bps_low", "random_bps_high"),
    "p_value": _number("p-value", fmt.four_digits),
    "validation_coverage": _number("coverage on validation", fmt.percent),
}
"""How columns are shown that are not figures of a model."""

SCORES = "n majority accuracy auc log_loss brier calibration_error"
PART = "n win_rate net_bps accuracy majority auc"
KEYS = {
    "symbols": "model symbol n majority accuracy balanced_accuracy macro_f1 auc log_loss trades "
    "win_rate_gross net_bps sharpe",
    "targets": "target goal verdict value least model figure n_both",
    "scores": f"model n {' '.join(fmt.FIGURES)}",
    "scores_all": f"model {SCORES}",
    "scores_labelled": "model n majority accuracy_labelled auc_labelled log_loss_labelled "
    "brier_labelled",
    "seeds": "model seeds figure lowest highest",
    "classes": "model class n called precision recall f1",
    "trades": "model trades coverage win_rate_gross win_rate_net gross_bps net_bps break_even_bps "
    "profit_factor threshold",
    "returns": "model sharpe deflated_sharpe sortino max_drawdown total_return annual_return "
    "calmar turnover exposure",
    "coin": "model win_rate_gross random_rate net_bps random_bps p_value",
    "pairs": "a b figure difference expected finding n_both",
    "coverage": "model choice realised threshold trades win_rate gross_bps net_bps",
    "calibration": "model forecast observed n",
    "sides": "model side of n win_rate win_rate_net gross_bps net_bps",
    "regimes": f"model volatility trend {PART}",
    "months": f"model month {PART}",
    "folds": "model fold first last n majority accuracy balanced_accuracy macro_f1 auc log_loss "
    "trades win_rate_gross net_bps sharpe threshold validation_coverage",
    "receipts": "receipt result found",
}
"""The columns of each table; those that no row has are left out."""


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        frame: The values; a missing one is None.
        columns: The columns to show by name, from the left; the first one names the row.
    """

    frame: pd.DataFrame
    columns: Mapping[str, Column]

    def csv(self) -> str:
        """Return the columns and their intervals as CSV, all digits of a number included."""
        keys = [key for name, column in self.columns.items() for key in (name, *column.interval)]
        return self.frame[keys].to_csv(index=False, lineterminator="\n")

    def rows(self) -> Iterator[tuple[bool, dict[str, Any]]]:
        """Yield for each row whether it begins a new group, and its values.

        Groups are the rows of a model, or models of one kind if each model has one row.
        """
        names = self.frame.iloc[:, 0].tolist()
        if len(set(names)) == len(names):
            names = [place for place, group in enumerate(model_groups(names)) for _ in group]
        begins = [False, *(a != b for a, b in pairwise(names))]
        yield from zip(begins, self.frame.to_dict("records"), strict=True)


def build_tables(metrics: Metrics) -> dict[str, Table]:
    """Return every table of metrics.json that has rows, by name."""
    models, benchmarks = metrics["models"], metrics.get("benchmarks") or {}

    def found(key: str) -> Sequence[Row]:
        return metrics.get(key) or ()

    rows: dict[str, Iterable[Row]] = {
        "targets": [_with_format(row, models) for row in found("targets")],
        "pairs": [_with_format(row, models) for row in found("pairs")],
        "classes": [{**row, **_flat(row)} for row in found("per_class")],
        "coverage": [
            {**row, "choice": f"top {row['share']:.0%}" if row["share"] else "by validation"}
            for row in found("coverage")
        ],
        "calibration": found("calibration"),
        "sides": found("sides"),
        "folds": [{**row, "validation_coverage": row.get("coverage")} for row in found("folds")],
        "receipts": [{**row, "result": RESULTS[row["passed"]]} for row in found("receipts")],
        "regimes": [row for row in found("regimes") if row["month"] is None],
        "months": [row for row in found("regimes") if row["month"] is not None],
        "symbols": _symbols(metrics),
        "seeds": _seeds(metrics),
    }
    if metrics["task"] == "direction":
        for kind in ("all", "labelled"):
            n, majority = metrics["classes"][kind]["n"], majority_share(metrics, kind)
            rows[f"scores_{kind}"] = _estimates(models, n=n, majority=majority)
        held = {key: benchmarks[key] for key in (BUY_AND_HOLD,) if key in benchmarks}
        rows |= {"trades": _estimates(models), "returns": _estimates({**models, **held})}
        rows["coin"] = _coin(models, benchmarks.get("coin") or {})
    else:
        every = {**models, NO_SKILL: metrics["no_skill"]}
        rows["scores"] = _estimates(every, n=metrics["rows"]["labelled"])
    tables = {name: _table(KEYS[name].split(), list(some)) for name, some in rows.items()}
    return {name: table for name, table in tables.items() if len(table.frame)}


def majority_share(metrics: Metrics, rows: str = "all") -> float | None:
    """Return the share of the most frequent class, for directions among "all" or "labelled" rows.

    None if there are no rows.
    """
    classes = metrics["classes"]
    if "all" in classes:
        up = classes[rows]["up"]
        return None if up is None else max(up, 1 - up)
    return max(classes.values()) / sum(classes.values()) if any(classes.values()) else None


def by_symbol(metrics: Metrics) -> Iterator[tuple[str, str, Metrics]]:
    """Yield for each model each symbol with its metrics, then all symbols together."""
    for model in metrics["models"]:
        for symbol, part in {**(metrics.get("symbols") or {}), TOGETHER: metrics}.items():
            if model in part["models"]:
                yield model, symbol, part


def _table(keys: Sequence[str], rows: Sequence[Row]) -> Table:
    """Build a table of the columns that any row has; figures of a model have intervals."""
    columns = {
        key: COLUMNS[key] if key in COLUMNS else _figure(key, rows)
        for key in keys
        if any(row.get(key) is not None or (key in row and key != "expected") for row in rows)
    }
    names = [name for key, column in columns.items() for name in (key, *column.interval)]
    values = [{name: row.get(name) for name in (*names, "format")} for row in rows]
    return Table(pd.DataFrame(values, columns=[*names, "format"], dtype=object), columns)


def _figure(key: str, rows: Sequence[Row]) -> Column:
    ends = (f"{key}_low", f"{key}_high")
    interval = ends if any(ends[0] in row for row in rows) else ()
    return _number(fmt.header(key.removesuffix("_labelled")), fmt.format_of(key), *interval)


def _flat(estimates: Row) -> dict[str, Any]:
    """Return estimates as one row with the keys `sharpe`, `sharpe_low`, `sharpe_high` and so on."""
    return {
        name + suffix: estimate[end]
        for name, estimate in estimates.items()
        if isinstance(estimate, Mapping)
        for suffix, end in (("", "value"), ("_low", "low"), ("_high", "high"))
    }


def _estimates(models: Mapping[str, Row], **shared: Any) -> list[Row]:
    return [{"model": model_label(name), **_flat(one), **shared} for name, one in models.items()]


def _with_format(row: Row, models: Mapping[str, Any]) -> Row:
    """Add the format of a row by its figure: of a model, or of a difference between models."""
    write = fmt.format_of if row.get("model", "") in models else fmt.difference_format
    added = {"format": write(row["figure"]), "difference": row["value"], "n_both": row["n"]}
    return {**row, **added}


def _symbols(metrics: Metrics) -> Iterator[Row]:
    for model, symbol, part in by_symbol(metrics) if metrics.get("symbols") else ():
        found, majority = part["models"][model], majority_share(part)
        n = found["accuracy"]["n"]
        yield from _estimates({model: found}, symbol=symbol, n=n, majority=majority)


def _seeds(metrics: Metrics) -> Iterator[Row]:
    """Yield the range of each figure over the seeds of a model."""
    for model, found in (metrics.get("seeds") or {}).items():
        seeds = ", ".join(map(str, found["seeds"]))
        for figure, (low, high) in found["figures"].items():
            yield {
                "model": model, "seeds": seeds, "figure": figure,
                "lowest": low, "highest": high, "format": fmt.format_of(figure),
            }  # fmt: skip


def _coin(models: Mapping[str, Row], coin: Mapping[str, Row]) -> Iterator[Row]:
    """Yield the trades of each model beside trades at the same times on random sides."""
    for model, found in coin.items():
        random = {"random_rate": found["win_rate_gross"], "random_bps": found["net_bps"]}
        traded = {name: models[model][name]["value"] for name in ("win_rate_gross", "net_bps")}
        yield {"model": model, **traded, **_flat(random), "p_value": found["p_value"]}
