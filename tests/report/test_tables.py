"""The table of scores: every model beside what no skill would score, in 110 plain columns."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest

from gafcnn.report.console import groups, show, table, verdict_lines

Judgement = dict[str, Any]


def printed(judgement: Judgement) -> str:
    file = io.StringIO()
    show(table(judgement, "study demo, test rows"), file)
    return file.getvalue()


def line(text: str, model: str) -> list[str]:
    return next(row.split() for row in text.splitlines() if row.strip().startswith(model))


def test_each_model_has_its_line_in_order(judgement: Judgement) -> None:
    text = printed(judgement)
    starts = [text.index(f"\n  {name} ") for name in [*judgement["models"], "no skill"]]
    assert starts == sorted(starts)
    assert text.startswith("study demo, test rows")


def test_a_line_holds_the_scores_of_both_kinds_of_rows_and_the_trades(judgement: Judgement) -> None:
    value = {name: found["value"] for name, found in judgement["models"]["30m"].items()}
    assert line(printed(judgement), "30m") == [
        "30m",
        "1,200",
        f"{value['accuracy']:.2%}",
        f"{value['auc']:.4f}",
        f"{value['log_loss']:.4f}",
        f"{value['accuracy_labelled']:.2%}",
        f"{value['auc_labelled']:.4f}",
        "212",
        "53.00%",
        "-17.30",
        "-8.20",
    ]


def test_an_accuracy_is_never_read_alone(judgement: Judgement) -> None:
    # two thirds went up: always up is right 66.67 % of the time, and its entropy is 0.6365
    text = printed(judgement)
    assert line(text, "no skill") == [
        *("no", "skill"),
        *("1,200", "66.67%", "0.5000", "0.6365"),
        *("66.67%", "0.5000"),
    ]
    assert "labelled rows: 66.67% went up, 33.33% did not, of 900" in text
    assert "all rows: 66.67% went up, 33.33% did not, of 1,200" in text


def test_where_most_went_down_no_skill_says_down(judgement: Judgement) -> None:
    down = {"all": {"up": 0.4, "n": 1200}, "labelled": {"up": 0.25, "n": 900}}
    text = printed({**judgement, "classes": down})
    assert line(text, "no skill")[3:] == ["60.00%", "0.5000", "0.6730", "75.00%", "0.5000"]


def test_a_score_that_cannot_be_computed_is_said_and_is_no_zero(no_rows: Judgement) -> None:
    text = printed(no_rows)
    assert line(text, "15m") == ["15m", "0", *["n/a"] * 5, "0", *["n/a"] * 3]
    assert line(text, "no skill") == ["no", "skill", "0", *["n/a"] * 5]
    assert "all rows: none" in text
    assert "labelled rows: none" in text


def test_one_class_alone_leaves_only_the_auc_out(judgement: Judgement) -> None:
    up = {"up": 1.0, "n": 1200}
    text = printed({**judgement, "classes": {"all": up, "labelled": up}})
    assert line(text, "no skill") == [
        *("no", "skill"),
        *("1,200", "100.00%", "n/a", "0.0000"),
        *("100.00%", "n/a"),
    ]


def test_piped_output_is_plain_and_narrow(judgement: Judgement) -> None:
    wide = copy.deepcopy(judgement["models"]["15m"])
    wide["accuracy"]["n"] = wide["trades"]["value"] = 1_234_567
    wide["net_bps"]["value"] = -1234.56
    text = printed({**judgement, "models": {"two_stage": wide, "60m_x64": wide}})
    assert "\x1b" not in text
    assert "…" not in text
    assert text.count("1,234,567") == 4
    assert max(map(len, text.splitlines())) <= 110


def test_a_table_of_no_models_is_only_its_head(judgement: Judgement) -> None:
    assert "no skill" not in printed({**judgement, "models": {}})


@pytest.mark.parametrize(
    ("models", "cut"),
    [
        (["15m", "30m", "mean", "vote", "oracle"], [["15m", "30m"], ["mean", "vote"], ["oracle"]]),
        (["mean", "xgboost", "oracle"], [["mean"], ["xgboost"], ["oracle"]]),
        (["stacking"], [["stacking"]]),
        ([], []),
    ],
)
def test_models_are_cut_where_windows_and_ensembles_meet(
    models: list[str], cut: list[list[str]]
) -> None:
    assert groups(models) == cut


def test_the_verdict_goes_before_the_targets(make_judgement: Callable[..., Judgement]) -> None:
    made = make_judgement(60, ("15m",))
    lines = verdict_lines(made)
    assert lines[:2] == made["verdict"]
    assert lines[2:] == [
        "win rate, 65 to 70 %: 53.00% [49.00%, 57.00%], not met",
        "pattern recognition, > 90 %: n/a [n/a, n/a], not measured",
        "Sharpe ratio, 2.0 to 2.5: 2.40 [-0.70, 5.50], not to be told apart from luck",
        "Sortino ratio, 3.0 to 3.5: 3.40 [2.90, 3.90], met",
        "ensemble, +2 to +5 %: +1.20 pp [-0.80 pp, +3.20 pp], not to be told apart from luck",
    ]
