"""The console has one line per model and plain text; numbers have one format everywhere."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest

from gafcnn.report.console import decision_line, decision_table, format_age, show, summary_table
from gafcnn.report.tables import FIGURES, as_text, difference_format, format_of, time_text

Metrics = dict[str, Any]


def printed(table: Any) -> list[list[str]]:
    file = io.StringIO()
    show(table, file)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 110
    assert not {"\x1b", "…"} & set(file.getvalue())
    return [line.split() for line in lines if line.strip(" ─")]


def test_each_model_has_a_line_in_order(metrics: Metrics) -> None:
    lines = printed(summary_table(metrics))
    names = [*metrics["models"], "no"]
    assert [line[0] for line in lines if line[0] in names] == names
    found = {name: estimate["value"] for name, estimate in metrics["models"]["30m"].items()}
    assert next(line for line in lines if line[0] == "30m") == [
        *("30m", "1,700", f"{found['accuracy']:.2%}", f"{found['auc']:.4f}"),
        *(f"{found['log_loss']:.4f}", f"{found['accuracy_labelled']:.2%}"),
        *(f"{found['auc_labelled']:.4f}", f"{found['trades']:,}"),
        *(f"{found['win_rate_gross']:.2%}", f"{found['net_bps']:+.2f}", f"{found['sharpe']:.2f}"),
    ]


def test_no_skill_is_the_best_constant_forecast(metrics: Metrics) -> None:
    classes = {"all": {"up": 0.4, "n": 1200}, "labelled": {"up": 0.75, "n": 900}}
    lines = printed(summary_table({**metrics, "classes": classes}))
    entropy = -0.4 * math.log(0.4) - 0.6 * math.log(0.6)
    assert next(line for line in lines if line[0] == "no") == [
        *("no", "skill", "1,200", "60.00%", "0.5000", f"{entropy:.4f}", "75.00%", "0.5000"),
    ]
    assert ["labelled", "rows:", "900,", "75.00%", "of", "them", "up"] in lines


def test_rankings_have_their_own_columns(ranking: Metrics) -> None:
    lines = printed(summary_table(ranking))
    found = {name: one["value"] for name, one in ranking["models"]["20d"].items()}
    assert next(line for line in lines if line[0] == "20d") == [
        *("20d", "79", f"{found['rank_ic']:+.4f}", f"{found['spread_bps']:+.2f}"),
        *(f"{found[name]:.2f}" for name in ("sharpe_gross", "sharpe", "sortino")),
        *(f"{found['max_drawdown']:+.2%}", f"{found['turnover']:.2f}"),
        f"{found['break_even_bps']:.2f}",
    ]
    assert next(line for line in lines if line[0] == "xgboost")[1:3] == ["0", "n/a"]
    market = next(line for line in lines if line[0] == "equal-weighted")
    assert f"{ranking['benchmarks']['market']['sharpe']['value']:.2f}" in market


def test_missing_figures_are_no_zeros(metrics: Metrics) -> None:
    empty = copy.deepcopy(metrics)
    for estimate in empty["models"]["15m"].values():
        estimate.update(value=None, n=0)
    nothing = {"up": None, "n": 0}
    lines = printed(summary_table({**empty, "classes": {"all": nothing, "labelled": nothing}}))
    assert next(line for line in lines if line[0] == "15m") == ["15m", "0", *["n/a"] * 9]
    assert next(line for line in lines if line[0] == "no") == ["no", "skill", "0", *["n/a"] * 5]


def test_symbols_have_lines_and_many_are_summed_up(pooled: Metrics) -> None:
    lines = printed(summary_table(pooled))
    assert [line[:3] for line in lines if line[0] == "15m"] == [
        ["15m", "A", "1,700"], ["15m", "B", "1,700"], ["15m", "all", "symbols"],
    ]  # fmt: skip
    many = {f"S{k}": pooled["symbols"]["A"] for k in range(11)}
    lines = printed(summary_table({**pooled, "symbols": many}))
    assert [line[:3] for line in lines if line[0] == "15m"] == [["15m", "all", "symbols"]]


def test_classes_have_their_own_figures(class_metrics: Metrics) -> None:
    lines = printed(summary_table(class_metrics))
    found = class_metrics["models"]["15m"]["balanced_accuracy"]["value"]
    assert f"{found:.2%}" in next(line for line in lines if line[0] == "15m")
    assert "bull_one" in lines[-1]


FOUND = {"p_up": 0.61234, "confidence": 0.11234, "threshold": 0.1, "position": 1}
DECISION = {
    "symbol": "BNBUSDT",
    "time": "2025-06-24T12:30:00+00:00",
    "age_seconds": 65.2,
    "close": 645.31,
    "horizon": "15min",
    "headline": "two_stage",
    "rules": "cost 5 bps per side",
    "models": {
        "15m": FOUND,
        "mean": FOUND | {"position": 0},
        "two_stage": FOUND | {"p_up": 0.3, "position": -1},
    },
}


def test_decision_has_a_line_per_model() -> None:
    line = decision_line(DECISION)
    for fact in ("BNBUSDT", "2025-06-24 12:30 UTC", "1 min 5 s", "645.31", "horizon 15min"):
        assert fact in line
    lines = printed(decision_table(DECISION))
    assert lines[:4] == [
        ["model", "P(up)", "confidence", "threshold", "position"],
        ["15m", "0.6123", "0.1123", "0.1000", "long"],
        ["mean", "0.6123", "0.1123", "0.1000", "flat"],
        ["two_stage", "*", "0.3000", "0.1123", "0.1000", "short"],
    ]
    assert lines[-1] == ["cost", "5", "bps", "per", "side"]


def test_decision_on_classes_has_their_probabilities() -> None:
    found = {"probabilities": {"none": 0.25, "bull_one": 0.75}, "predicted": "bull_one"}
    models = {"15m": found, "mean": found | {"predicted": "none"}}
    lines = printed(decision_table({**DECISION, "headline": "mean", "models": models}))
    assert lines[:3] == [
        ["model", "none", "bull", "one", "predicted"],
        ["15m", "0.2500", "0.7500", "bull", "one"],
        ["mean", "*", "0.2500", "0.7500", "none"],
    ]
    assert "cost" not in lines[-1]


def test_ages_have_two_units() -> None:
    ages = {0.4: "0 s", 60: "1 min 0 s", 3599: "59 min 59 s", 90_000: "1 d 1 h"}
    assert {seconds: format_age(seconds) for seconds in ages} == ages


@pytest.mark.parametrize(
    ("figure", "value", "text", "difference"),
    [
        ("accuracy", 0.52341, "52.34%", "+52.34 pp"),
        ("auc_labelled", 0.51234, "0.5123", "+0.5123"),
        ("net_bps", -20.0, "-20.00", "-20.00"),
        ("trades", 1234.0, "1,234", "+1234.00"),
        ("unknown", 1.0, "1.00", "+1.00"),
        ("break_even_bps", -1.0, "none", "-1.00"),
    ],
)
def test_figures_have_a_format(figure: str, value: float, text: str, difference: str) -> None:
    assert format_of(figure)(value) == text
    assert difference_format(figure)(value) == difference


def test_missing_values_have_a_text() -> None:
    assert {format_of(name)(None) for name in FIGURES} == {"n/a"}
    assert {difference_format(name)(None) for name in FIGURES} == {"n/a"}
    assert as_text(None) == ""
    assert time_text("2025-06-20T10:14:00+00:00") == "2025-06-20 10:14"
