"""The tables of a judgement: a DataFrame each, and how their columns and figures are written.

A value that cannot be computed is None and is written "n/a".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import pandas as pd

from gafcnn.evaluation.ensembles import ENSEMBLES

ORACLE, BUY_AND_HOLD, MARKET = "oracle", "buy_and_hold", "market"
BENCHMARKS = {BUY_AND_HOLD: "buy and hold", MARKET: "equal-weighted market"}
MISSING, NO_SKILL, TOGETHER = "n/a", "no skill", "all symbols"

Row: TypeAlias = Mapping[str, Any]
Metrics: TypeAlias = Mapping[str, Any]
Format: TypeAlias = Callable[[Any], str]


def _format(template: str, factor: float = 1) -> Format:
    def write(value: float | None) -> str:
        return MISSING if value is None else template.format(value * factor)

    return write


percent = _format("{:.2%}")
points = _format("{:+.2f} pp", 100)
signed_percent = _format("{:+.2%}")
signed = _format("{:+.2f}")
four_digits = _format("{:.4f}")
signed_four_digits = _format("{:+.4f}")
two_digits = _format("{:.2f}")
count = _format("{:,.0f}")


def break_even(value: float | None) -> str:
    """Return a break-even cost with two digits; "none" if money is lost even without costs."""
    return two_digits(value) if value is None or value >= 0 else "none"


def as_text(value: object) -> str:
    """Return a text unchanged; None becomes an empty string."""
    return "" if value is None else str(value)


def time_text(value: str) -> str:
    """Shorten an ISO time to minutes, such as `2025-06-20 10:14`."""
    return value[:16].replace("T", " ")


FIGURES: dict[str, tuple[str, Format]] = {  # heading and format of each figure of a model
    "accuracy": ("accuracy", percent),
    "balanced_accuracy": ("balanced accuracy", percent),
    "balanced_accuracy_without_0": ("balanced accuracy without class 0", percent),
    "balanced_accuracy_among_patterns": ("balanced accuracy, class 0 excluded", percent),
    "macro_f1": ("macro F1", percent),
    "macro_f1_without_0": ("macro F1 without class 0", percent),
    "precision": ("precision", percent),
    "recall": ("recall", percent),
    "f1": ("F1", percent),
    "auc": ("AUC", four_digits),
    "log_loss": ("log loss", four_digits),
    "brier": ("Brier score", four_digits),
    "calibration_error": ("calibration error", percent),
    "trades": ("trades", count),
    "coverage": ("rows traded", percent),
    "win_rate_gross": ("gross win rate", percent),
    "win_rate_net": ("net win rate", percent),
    "gross_bps": ("gross bps per trade", signed),
    "net_bps": ("net bps per trade", signed),
    "break_even_bps": ("break-even cost, bps per side", break_even),
    "profit_factor": ("profit factor", two_digits),
    "threshold": ("threshold", four_digits),
    "sharpe": ("Sharpe ratio", two_digits),
    "deflated_sharpe": ("deflated Sharpe ratio", percent),
    "sortino": ("Sortino ratio", two_digits),
    "max_drawdown": ("maximum drawdown", signed_percent),
    "total_return": ("total return", signed_percent),
    "annual_return": ("annual return", signed_percent),
    "calmar": ("Calmar ratio", two_digits),
    "turnover": ("turnover per day", two_digits),
    "exposure": ("time in the market", percent),
    "rank_ic": ("rank IC", signed_four_digits),
    "ic_positive": ("IC above 0", percent),
    "icir": ("IC over its standard deviation", signed),
    "spread_bps": ("top less bottom quantile, bps", signed),
    "monotonicity": ("monotonicity", signed),
    "return_bps": ("return less the mean, bps", signed),
    "sharpe_gross": ("Sharpe ratio before costs", two_digits),
    "capacity": ("capacity", count),
    "band": ("band", percent),
    "smoothing": ("smoothing", two_digits),
    "beta": ("beta alone", signed),
    "beta_market": ("beta to the market", signed),
    "beta_momentum": ("beta to momentum", signed),
    "beta_low_volatility": ("beta to low volatility", signed),
    "alpha": ("alpha a year", signed_percent),
    "contribution": ("contribution to the return", signed_percent),
    "held": ("share of decisions held", percent),
}


def header(figure: str) -> str:
    """Return the heading of a figure; an unknown name is shown as it is."""
    name = figure.removesuffix("_labelled")
    text = FIGURES[name][0] if name in FIGURES else name.replace("_", " ")
    return text if name == figure else f"{text}, labelled rows"


def format_of(figure: str) -> Format:
    """Return the format of a figure; unknown accuracies are percentages, others have two digits."""
    name = figure.removesuffix("_labelled")
    unknown = percent if name.endswith("accuracy") else two_digits
    return FIGURES.get(name, ("", unknown))[1]


def difference_format(figure: str) -> Format:
    """Return the format of a difference in a figure: signed, shares in percentage points."""
    write = format_of(figure)
    if write in (percent, signed_percent):
        return points
    return signed_four_digits if write in (four_digits, signed_four_digits) else signed


def model_label(model: str) -> str:
    """Return the name of a model as readers see it."""
    return BENCHMARKS.get(model, model)


def model_groups(models: Iterable[str]) -> list[list[str]]:
    """Split models, in their order, into runs of single models, ensembles and the oracle."""
    runs = groupby(models, lambda name: (name in ENSEMBLES, name == ORACLE))
    return [list(names) for _, names in runs]


class Column(NamedTuple):
    """How a column is shown."""

    header: str
    format: Format | None = None  # None if each row has its own, in the column "format"
    interval: tuple[str, ...] = ()  # the columns with the ends of the interval
    kind: Literal["number", "text", "badge"] = "number"  # a badge should be seen first


ENDS = ("low", "high")
_NAMES = "target goal model symbol class side volatility trend month seeds finding"
_RENAMED = {
    "a": "model", "b": "minus", "of": "among", "choice": "rows traded", "part": "by",
    "receipt": "check", "found": "finding",
}  # fmt: skip
COLUMNS = {  # that are not figures of a model
    **{key: Column(key, as_text, kind="text") for key in _NAMES.split()},
    **{key: Column(name, as_text, kind="text") for key, name in _RENAMED.items()},
    **{key: Column("result", as_text, kind="badge") for key in ("verdict", "result")},
    **{key: Column(key, time_text, kind="text") for key in ("first", "last")},
    "figure": Column("figure", header, kind="text"),
    "fold": Column("fold", count),
    "n": Column("rows", count),
    "n_both": Column("rows or trades", count),
    "times": Column("decision times", count),
    "quantile": Column("quantile", count),
    "called": Column("predicted", count),
    "difference": Column("difference", None, ENDS),
    "value": Column("value", None, ENDS),
    "least": Column("required"),
    "lowest": Column("lowest"),
    "highest": Column("highest"),
    "majority": Column("majority class", percent),
    "win_rate": Column("gross win rate", percent, ENDS),
    "forecast": Column("mean forecast P(up)", percent),
    "observed": Column("observed share", percent, ENDS),
    "realised": Column("share of rows", percent),
    "random_rate": Column("random sides", percent, ("random_rate_low", "random_rate_high")),
    "random_bps": Column("random sides", signed, ("random_bps_low", "random_bps_high")),
    "p_value": Column("p-value", four_digits),
    "validation_coverage": Column("coverage on validation", percent),
}

PART = "n win_rate net_bps accuracy majority auc"
KEYS = {  # the columns of each table, and of the console; those that no row has are left out
    "summary": "accuracy balanced_accuracy balanced_accuracy_without_0 "
    "balanced_accuracy_among_patterns macro_f1 macro_f1_without_0 auc log_loss accuracy_labelled "
    "auc_labelled trades win_rate_gross net_bps sharpe",
    "summary_ranking": "rank_ic spread_bps sharpe_gross sharpe sortino max_drawdown turnover "
    "break_even_bps",
    "symbols": "model symbol n majority accuracy balanced_accuracy macro_f1 auc log_loss trades "
    "win_rate_gross net_bps sharpe",
    "targets": "target goal verdict value least model figure n_both",
    "scores": f"model n {' '.join(FIGURES)}",
    "scores_all": "model n majority accuracy auc log_loss brier calibration_error",
    "scores_labelled": "model n majority accuracy_labelled auc_labelled log_loss_labelled "
    "brier_labelled",
    "seeds": "model seeds figure lowest highest",
    "classes": "model class n called precision recall f1",
    "trades": "model trades coverage win_rate_gross win_rate_net gross_bps net_bps break_even_bps "
    "profit_factor threshold",
    "returns": "model sharpe deflated_sharpe sortino max_drawdown total_return annual_return "
    "calmar turnover exposure",
    "ranks": "model times rank_ic ic_positive icir spread_bps monotonicity",
    "portfolios": "model sharpe_gross sharpe deflated_sharpe sortino max_drawdown total_return "
    "annual_return calmar turnover break_even_bps win_rate_gross win_rate_net capacity band "
    "smoothing",
    "exposures": "model beta beta_market beta_momentum beta_low_volatility alpha",
    "quantiles": "model quantile times return_bps",
    "parts": "model part of times rank_ic spread_bps net_bps",
    "contributions": "symbol model times held contribution",
    "coin": "model win_rate_gross random_rate net_bps random_bps p_value",
    "pairs": "a b figure difference finding n_both",
    "coverage": "model choice realised threshold trades win_rate gross_bps net_bps",
    "calibration": "model forecast observed n",
    "sides": "model side of n win_rate win_rate_net gross_bps net_bps",
    "regimes": f"model volatility trend {PART}",
    "months": f"model month {PART}",
    "folds": "model fold first last n majority accuracy balanced_accuracy macro_f1 auc log_loss "
    "trades win_rate_gross net_bps sharpe threshold validation_coverage",
    "receipts": "receipt result found",
}


@dataclass(frozen=True)
class Table:
    """Values (None for a missing one), and the columns to show; the first one names the row."""

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
    models = metrics["models"]
    found = defaultdict[str, Any](tuple, metrics)
    rows: dict[str, Iterable[Row]] = {
        "targets": [_with_format(row, models) for row in found["targets"]],
        "pairs": [_with_format(row, models) for row in found["pairs"]],
        **{name: found[name] for name in ("calibration", "sides", "contributions")},
        "classes": [{**row, **_flat(row)} for row in found["per_class"]],
        "coverage": [
            {**row, "choice": f"top {row['share']:.0%}" if row["share"] else "by validation"}
            for row in found["coverage"]
        ],
        "folds": [{**row, "validation_coverage": row.get("coverage")} for row in found["folds"]],
        "receipts": [
            {**row, "result": "passed" if row["passed"] else "failed"} for row in found["receipts"]
        ],
        "regimes": [row for row in found["regimes"] if row["month"] is None],
        "months": [row for row in found["regimes"] if row["month"] is not None],
        "quantiles": [{**row, **_flat(row)} for row in found["quantiles"]],
        "parts": [{**row, **_flat(row)} for row in found["parts"]],
        "symbols": _symbols(metrics),
        "seeds": _seeds(metrics),
    }
    if metrics["task"] == "direction":
        for kind in ("all", "labelled"):
            n, majority = metrics["classes"][kind]["n"], majority_share(metrics, kind)
            rows[f"scores_{kind}"] = _estimates(models, n=n, majority=majority)
        every = {**models, BUY_AND_HOLD: metrics["benchmarks"][BUY_AND_HOLD]}
        rows |= {"trades": _estimates(models), "returns": _estimates(every)}
        rows["coin"] = _coin(models, metrics["benchmarks"].get("coin", {}))
    elif metrics["task"] == "ranking":
        rows["ranks"] = _estimates(models, times=metrics["cross_section"]["times"])
        rows["portfolios"] = _estimates({**models, MARKET: metrics["benchmarks"][MARKET]})
        rows["exposures"] = _estimates(models)
    else:
        every = {**models, NO_SKILL: metrics["no_skill"]}
        rows["scores"] = _estimates(every, n=metrics["rows"]["labelled"])
    tables = {name: _table(KEYS[name].split(), list(some)) for name, some in rows.items()}
    return {name: table for name, table in tables.items() if len(table.frame)}


def says_nothing(low: float | None, high: float | None, luck: float | None) -> bool:
    """Return whether an interval includes the value without skill."""
    return low is not None and high is not None and luck is not None and low <= luck <= high


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
        if any(key in row for row in rows)
    }
    names = [name for key, column in columns.items() for name in (key, *column.interval)]
    values = [{name: row.get(name) for name in (*names, "format")} for row in rows]
    return Table(pd.DataFrame(values, columns=[*names, "format"], dtype=object), columns)


def _figure(key: str, rows: Sequence[Row]) -> Column:
    ends = (f"{key}_low", f"{key}_high")
    interval = ends if any(ends[0] in row for row in rows) else ()
    return Column(header(key.removesuffix("_labelled")), format_of(key), interval)


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
    write = format_of if row.get("model", "") in models else difference_format
    added = {"format": write(row["figure"]), "difference": row["value"], "n_both": row["n"]}
    return {**row, **added}


def _symbols(metrics: Metrics) -> Iterator[Row]:
    for model, symbol, part in by_symbol(metrics) if metrics.get("symbols") else ():
        found, majority = part["models"][model], majority_share(part)
        n = found["accuracy"]["n"]
        yield from _estimates({model: found}, symbol=symbol, n=n, majority=majority)


def _seeds(metrics: Metrics) -> Iterator[Row]:
    for model, found in (metrics.get("seeds") or {}).items():
        seeds = ", ".join(map(str, found["seeds"]))
        for figure, (low, high) in found["figures"].items():
            yield {
                "model": model, "seeds": seeds, "figure": figure,
                "lowest": low, "highest": high, "format": format_of(figure),
            }  # fmt: skip


def _coin(models: Mapping[str, Row], coin: Mapping[str, Row]) -> Iterator[Row]:
    """Yield the trades of each model beside trades at the same times on random sides."""
    for model, found in coin.items():
        random = {"random_rate": found["win_rate_gross"], "random_bps": found["net_bps"]}
        traded = {name: models[model][name]["value"] for name in ("win_rate_gross", "net_bps")}
        yield {"model": model, **traded, **_flat(random), "p_value": found["p_value"]}
