"""The table of scores: every model beside what no skill would score, in 100 plain columns."""

from __future__ import annotations

import copy
import io

import pytest

from gafcnn.forecasts import ScoreTable
from gafcnn.report import show, table
from gafcnn.report.tables import groups


def printed(scores: ScoreTable) -> str:
    file = io.StringIO()
    show(table(scores, "study demo, test rows"), file)
    return file.getvalue()


def line(text: str, model: str) -> list[str]:
    return next(row.split() for row in text.splitlines() if row.strip().startswith(model))


def test_each_model_has_its_line_in_order(scores: ScoreTable) -> None:
    text = printed(scores)
    starts = [text.index(f"\n  {name} ") for name in [*scores["models"], "no skill"]]
    assert starts == sorted(starts)
    assert text.startswith("study demo, test rows")


def test_a_line_holds_the_scores_of_both_kinds_of_rows(scores: ScoreTable) -> None:
    labelled, every = scores["models"]["30m"]["labelled"], scores["models"]["30m"]["all"]
    assert line(printed(scores), "30m") == [
        "30m",
        "900",
        f"{labelled['accuracy']:.2%}",
        f"{labelled['auc']:.4f}",
        f"{labelled['log_loss']:.4f}",
        "1,200",
        f"{every['accuracy']:.2%}",
        f"{every['auc']:.4f}",
        f"{every['log_loss']:.4f}",
    ]


def test_an_accuracy_is_never_read_alone(scores: ScoreTable) -> None:
    # two thirds went up: always up is right 66.67 % of the time, and its entropy is 0.6365
    text = printed(scores)
    assert line(text, "no skill") == [
        *("no", "skill"),
        *("900", "66.67%", "0.5000", "0.6365"),
        *("1,200", "66.67%", "0.5000", "0.6365"),
    ]
    assert "labelled rows: 66.67% went up, 33.33% did not" in text
    assert "all rows: 66.67% went up, 33.33% did not" in text


def test_a_score_that_cannot_be_computed_is_said_and_is_no_zero(no_scores: ScoreTable) -> None:
    text = printed(no_scores)
    assert line(text, "15m") == ["15m", *(["0", "n/a", "n/a", "n/a"] * 2)]
    assert line(text, "no skill") == ["no", "skill", *(["0", "n/a", "n/a", "n/a"] * 2)]
    assert "all rows: none" in text


def test_one_class_alone_leaves_only_the_auc_out(scores: ScoreTable) -> None:
    one = scores["models"]["15m"]["all"].copy()
    one.update(auc=None, majority=1.0, confusion=[[0, 0], [500, 700]])
    text = printed({"models": {"15m": {"labelled": one, "all": one}}})
    assert line(text, "no skill") == ["no", "skill", *(["1,200", "100.00%", "n/a", "0.0000"] * 2)]


def test_piped_output_is_plain_and_narrow(scores: ScoreTable) -> None:
    wide = copy.deepcopy(scores["models"]["15m"])
    wide["labelled"]["n"] = wide["all"]["n"] = 1_234_567
    text = printed({"models": {"two_stage": wide, "60m_x64": wide}})
    assert "\x1b" not in text
    assert "…" not in text
    assert "1,234,567" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_table_of_no_models_is_only_its_head() -> None:
    assert "no skill" not in printed({"models": {}})


@pytest.mark.parametrize(
    ("models", "cut"),
    [
        (["15m", "30m", "mean", "vote", "oracle"], [["15m", "30m"], ["mean", "vote"], ["oracle"]]),
        (["stacking"], [["stacking"]]),
        ([], []),
    ],
)
def test_models_are_cut_where_windows_and_ensembles_meet(
    models: list[str], cut: list[list[str]]
) -> None:
    assert groups(models) == cut
