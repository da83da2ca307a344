"""The tables of the page: which rows and which columns of the judgement each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gafcnn.report.console import groups
from gafcnn.report.formatters import (
    count,
    fine,
    form_of,
    form_of_difference,
    form_of_target,
    moment,
    percent,
    plain,
    signed,
    words,
)
from gafcnn.report.palette import HOLDING, spoken
from gafcnn.report.tables import (
    ACCURACY,
    AUC,
    INTERVAL,
    MAJORITY,
    MODEL,
    ROWS,
    Column,
    Row,
    Sheet,
    estimated,
    flat,
    text,
)

SCORES = {"auc": "AUC", "log_loss": "log loss", "brier": "Brier score"}
TRADES = {
    "trades": "trades",
    "coverage": "rows traded",
    "win_rate_gross": "win rate, gross",
    "win_rate_net": "win rate, net",
    "gross_bps": "gross bps a trade",
    "net_bps": "net bps a trade",
    "break_even_bps": "break-even bps a side",
    "profit_factor": "profit factor",
    "threshold": "threshold",
}
RETURNS = {
    "sharpe": "Sharpe",
    "deflated_sharpe": "deflated Sharpe",
    "sortino": "Sortino",
    "max_drawdown": "max drawdown",
    "total_return": "return",
    "annual_return": "return a year",
    "calmar": "Calmar",
    "turnover": "turnover a day",
    "exposure": "time in the market",
}
TOGETHER = "all together"
WIN_RATE = Column("win_rate", "win rate, gross", percent, INTERVAL)
GROSS_BPS, NET_BPS = Column("gross_bps", "gross bps", signed), Column("net_bps", "net bps", signed)


def sheets(judgement: Mapping[str, Any]) -> dict[str, Sheet]:
    """Every table that has a row, by its name, in the order of the page."""
    return _made(
        judgement,
        *(targets, _scores_all, _scores_labelled, _trades, _returns, _coin, _pairs),
        *(_coverage, _calibration, _sides, _regimes, _months, _folds, receipts),
    )


def pooled_sheets(judgement: Mapping[str, Any]) -> dict[str, Sheet]:
    """Every table of several symbols that has a row, by its name, in the order of the page."""
    return _made(
        judgement,
        *(_symbols, _scores_all, _scores_labelled, _trades, _returns, _pairs, receipts),
    )


def _made(
    judgement: Mapping[str, Any], *sheets_of: Callable[[Mapping[str, Any]], Sheet]
) -> dict[str, Sheet]:
    found = (make(judgement) for make in sheets_of)
    return {sheet.name: sheet for sheet in found if sheet.rows}


def targets(judgement: Mapping[str, Any]) -> Sheet:
    """What was to be reached."""
    models = judgement["models"]
    rows = [row | {"form": form_of_target(row, models)} for row in judgement["targets"]]
    columns = (
        text("target", "target"),
        text("goal", "goal"),
        Column("verdict", "verdict", words, kind="badge"),
        Column("value", "found", None, INTERVAL),
        Column("least", "least that would do", None),
        text("model", "model"),
        text("figure", "figure", _named),
        Column("n", "rows or trades", count),
    )
    return Sheet("targets", columns, rows)


def by_symbol(judgement: Mapping[str, Any]) -> list[tuple[str, str, Row]]:
    """For each model each symbol and the judgement of its rows; then of all symbols together."""
    of_symbols = {**judgement["symbols"], TOGETHER: judgement}
    return [(model, name, of) for model in judgement["models"] for name, of in of_symbols.items()]


def _symbols(judgement: Mapping[str, Any]) -> Sheet:
    """Each model on each symbol, and on all together."""
    figures = {
        **{
            name: (form_of(name), head) for name, head in {"accuracy": "accuracy", **SCORES}.items()
        },
        **{name: (form_of(name), TRADES[name]) for name in ("trades", "win_rate_gross", "net_bps")},
        "sharpe": (form_of("sharpe"), RETURNS["sharpe"]),
    }
    rows = []
    for model, symbol, of in by_symbol(judgement):
        up, n = of["classes"]["all"]["up"], of["classes"]["all"]["n"]
        majority = None if up is None else max(up, 1 - up)
        rows.append(
            {"model": model, "symbol": symbol, "n": n, "majority": majority}
            | flat(of["models"][model], [*figures])
        )
    accuracy, *others = (estimated(name, head, form) for name, (form, head) in figures.items())
    columns = (MODEL, text("symbol", "symbol"), ROWS, accuracy, MAJORITY, *others)
    return _by_model("symbols", columns, rows)


def _scores_all(judgement: Mapping[str, Any]) -> Sheet:
    return _scores(judgement, "all", {**SCORES, "calibration_error": "calibration error"})


def _scores_labelled(judgement: Mapping[str, Any]) -> Sheet:
    return _scores(judgement, "labelled", SCORES)


def _scores(judgement: Mapping[str, Any], rows: str, figures: Mapping[str, str]) -> Sheet:
    """Scores on one kind of rows, the larger class beside every accuracy."""
    suffix = "" if rows == "all" else "_labelled"
    up, n = judgement["classes"][rows]["up"], judgement["classes"][rows]["n"]
    majority = None if up is None else max(up, 1 - up)
    scores = [estimated(name + suffix, head, form_of(name)) for name, head in figures.items()]
    accuracy = estimated("accuracy" + suffix, "accuracy", percent)
    found = [
        {"model": name, "n": n, "majority": majority}
        | flat(estimates, [column.key for column in (accuracy, *scores)])
        for name, estimates in judgement["models"].items()
    ]
    columns = (MODEL, ROWS, accuracy, _majority(up), *scores)
    return Sheet(f"scores_{rows}", columns, found, kinds(judgement["models"]))


def _majority(up: float | None) -> Column:
    """The share of the larger class, under its name."""
    name = "" if up is None else f", {'up' if up > 0.5 else 'down'}"
    return Column("majority", f"majority class{name}", percent)


def _trades(judgement: Mapping[str, Any]) -> Sheet:
    return _figures("trades", judgement["models"], TRADES)


def _returns(judgement: Mapping[str, Any]) -> Sheet:
    models = judgement["models"]
    held = judgement["benchmarks"].get(HOLDING)
    return _figures("returns", models | ({spoken(HOLDING): held} if held else {}), RETURNS)


def _figures(name: str, models: Mapping[str, Any], figures: Mapping[str, str]) -> Sheet:
    rows = [{"model": model} | flat(found, [*figures]) for model, found in models.items()]
    columns = [estimated(figure, head, form_of(figure)) for figure, head in figures.items()]
    return Sheet(name, (MODEL, *columns), rows, kinds(models))


def _coin(judgement: Mapping[str, Any]) -> Sheet:
    """Each model's trades beside a coin's: the same times, sides tossed."""
    rows = [
        {
            "model": model,
            "model_net_bps": _value(judgement, model, "net_bps"),
            "model_win_rate": _value(judgement, model, "win_rate_gross"),
            **flat(tossed, ["win_rate_gross", "net_bps"]),
            "p_value": tossed["p_value"],
        }
        for model, tossed in judgement["benchmarks"].get("coin", {}).items()
    ]
    columns = (
        MODEL,
        Column("model_win_rate", "win rate, gross", percent),
        estimated("win_rate_gross", "a coin's win rate", percent),
        Column("model_net_bps", "net bps a trade", signed),
        estimated("net_bps", "a coin's net bps", signed),
        Column("p_value", "p", fine),
    )
    return Sheet("coin", columns, rows, kinds(row["model"] for row in rows))


def _value(judgement: Mapping[str, Any], model: str, figure: str) -> float | None:
    return judgement["models"][model].get(figure, {}).get("value")


def _pairs(judgement: Mapping[str, Any]) -> Sheet:
    rows = [row | {"form": form_of_difference(row["figure"])} for row in judgement["pairs"]]
    columns = (
        text("a", "model"),
        text("b", "less"),
        text("figure", "in", _named),
        Column("value", "difference", None, INTERVAL),
        text("expected", "expected"),
        text("finding", "finding"),
        Column("n", "rows or trades", count),
    )
    return Sheet("pairs", columns, rows, [(row["a"], row["b"]) for row in rows])


def _coverage(judgement: Mapping[str, Any]) -> Sheet:
    rows = [
        row | {"choice": "on validation" if row["chosen"] else f"most confident {row['share']:.0%}"}
        for row in judgement["coverage"]
    ]
    columns = (
        MODEL,
        text("choice", "rows chosen"),
        Column("realised", "share", percent),
        Column("threshold", "confidence from", fine),
        Column("trades", "trades", count),
        *(WIN_RATE, GROSS_BPS, NET_BPS),
    )
    return _by_model("coverage", columns, rows)


def _calibration(judgement: Mapping[str, Any]) -> Sheet:
    rows = [{"low": None, "high": None} | row for row in judgement["calibration"]]
    columns = (
        MODEL,
        Column("forecast", "mean P(up)", percent),
        Column("observed", "went up", percent, INTERVAL),
        ROWS,
    )
    return _by_model("calibration", columns, rows)


def _sides(judgement: Mapping[str, Any]) -> Sheet:
    columns = (
        *(MODEL, text("side", "side"), text("of", "of"), ROWS),
        *(WIN_RATE, Column("win_rate_net", "win rate, net", percent), GROSS_BPS, NET_BPS),
    )
    return _by_model("sides", columns, judgement["sides"])


def _regimes(judgement: Mapping[str, Any]) -> Sheet:
    rows = [row for row in judgement["regimes"] if row["month"] is None]
    names = (text("volatility", "volatility"), text("trend", "trend"))
    return _by_model("regimes", (MODEL, *names, *_OF_A_PART), rows)


def _months(judgement: Mapping[str, Any]) -> Sheet:
    rows = [row for row in judgement["regimes"] if row["month"] is not None]
    return _by_model("months", (MODEL, text("month", "month"), *_OF_A_PART), rows)


_OF_A_PART = (ROWS, WIN_RATE, NET_BPS, ACCURACY, MAJORITY, AUC)


def _folds(judgement: Mapping[str, Any]) -> Sheet:
    columns = (
        MODEL,
        Column("fold", "fold", count),
        text("first", "first decision", moment),
        text("last", "last decision", moment),
        *(ROWS, ACCURACY, MAJORITY, AUC),
        Column("trades", "trades", count),
        Column("win_rate_gross", "win rate, gross", percent),
        NET_BPS,
        Column("sharpe", "Sharpe", plain),
        Column("threshold", "threshold", fine),
        Column("coverage", "coverage on validation", percent),
    )
    return _by_model("folds", columns, judgement["folds"])


def receipts(judgement: Mapping[str, Any]) -> Sheet:
    """What was checked."""
    columns = (
        text("receipt", "receipt"),
        Column("passed", "passed", _passed, kind="badge"),
        text("found", "found"),
    )
    return Sheet("receipts", columns, judgement["receipts"])


def _passed(value: bool | None) -> str:  # noqa: FBT001  a form takes a value and nothing else
    return {True: "passed", False: "failed", None: "not asked for"}[value]


def _named(figure: str) -> str:
    """A figure as its own table heads it; one that stands in no table by its words."""
    name = figure.removesuffix("_labelled")
    heads = {**SCORES, **TRADES, **RETURNS}
    return heads.get(name, name.replace("_", " ")) + (", labelled" if name != figure else "")


def _by_model(name: str, columns: Sequence[Column], rows: Sequence[Row]) -> Sheet:
    return Sheet(name, columns, rows, [row["model"] for row in rows])


def kinds(models: Iterable[str]) -> list[int]:
    """The group of each model: single models, ensembles, the oracle; see `groups`."""
    return [place for place, names in enumerate(groups(models)) for _ in names]
