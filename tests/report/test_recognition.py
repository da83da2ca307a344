"""The report of several classes: a page that stands alone, its tables and its matrices."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gafcnn.evaluation.recognition import Recognition, judge_recognition
from gafcnn.report.classification_page import recognition_table, write_recognition
from gafcnn.report.console import show

ODD = '<b>&"x'


def judgement_of(recognition: Recognition, **changed: Any) -> dict[str, Any]:
    return {
        "study": "patterns",
        "symbol": "BNBUSDT",
        "interval": "1min",
        "windows": ["15m", "30m"],
        "first": "2025-06-20T00:20:00+00:00",
        "last": "2025-06-20T06:59:00+00:00",
        "looks": 1,
        "trials": 3,
        "stride": 1,
        "headline": recognition.headline,
        "fields": {"15m": {"candle": ["body", "gap"], "rule": ["star_rule"]}},
        "verdict": ["What was found, in a sentence."],
        "receipts": [],
        "config": {"market": {"symbol": "BNBUSDT"}},
        "bars": "0" * 64,
        **judge_recognition(recognition, resamples=100),
        **changed,
    }


@pytest.fixture(scope="module")
def judgement(recognition_of: Callable[..., Recognition]) -> dict[str, Any]:
    return judgement_of(recognition_of())


@pytest.fixture(scope="module")
def folder(judgement: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("report")
    assert write_recognition(written, judgement) == written / "report.html"
    return written


def table_of(folder: Path, name: str) -> list[dict[str, str]]:
    text = (folder / "tables" / f"{name}.csv").read_text()
    return [*csv.DictReader(io.StringIO(text))]


def test_the_page_tells_every_part_and_needs_no_other_file(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    for section in ("verdict", "targets", "models", "classes", "pairs", "confusion", "config"):
        assert f'<section id="{section}">' in page
    shown = " ".join(page.split())
    assert "<b>15m</b> was shown what a trader would name: <code>body, gap</code>" in shown
    assert "fields that restate the rules: <code>star_rule</code>" in shown
    assert "What was found, in a sentence." in page
    assert "left out, of several patterns</dt><dd>8</dd>" in page
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page
    assert "<script" not in page


def test_tables_hold_every_number_in_full(folder: Path, judgement: dict[str, Any]) -> None:
    assert {path.stem for path in (folder / "tables").iterdir()} == {
        "targets", "scores", "classes", "pairs",
    }  # fmt: skip
    scores = {row["model"]: row for row in table_of(folder, "scores")}
    assert list(scores) == ["15m", "30m", "mean", "xgboost", "no skill"]
    told = judgement["models"]["mean"]["balanced_accuracy"]
    assert float(scores["mean"]["balanced_accuracy"]) == told["value"]
    assert float(scores["mean"]["balanced_accuracy_low"]) == told["low"]
    assert scores["no skill"]["balanced_accuracy_low"] == ""
    classes = table_of(folder, "classes")
    assert len(classes) == 12
    assert [(row["class"], row["n"]) for row in classes[:3]] == [
        (name, str(n)) for name, n in judgement["classes"].items()
    ]
    assert float(classes[2]["recall_low"]) < float(classes[2]["recall"])
    assert len(table_of(folder, "pairs")) == 21


def test_each_model_has_its_matrix(folder: Path) -> None:
    figures = sorted(path.name for path in (folder / "figures").iterdir())
    assert figures == [f"confusion_{name}.png" for name in ("15m", "30m", "mean", "xgboost")]


def test_the_same_judgement_gives_the_same_bytes_and_old_files_go(
    folder: Path, judgement: dict[str, Any], tmp_path: Path
) -> None:
    for stale in ("tables/coverage.csv", "figures/equity.png"):
        (tmp_path / stale).parent.mkdir(exist_ok=True)
        (tmp_path / stale).write_text("old")
    write_recognition(tmp_path, judgement)
    files = {path.relative_to(folder) for path in folder.rglob("*.*")}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")} == files
    for path in files:
        assert (tmp_path / path).read_bytes() == (folder / path).read_bytes(), path


def test_names_are_shown_as_they_are_and_not_as_markup(
    recognition_of: Callable[..., Recognition], tmp_path: Path
) -> None:
    receipts = [{"receipt": ODD, "passed": False, "found": ODD}]
    judgement = judgement_of(recognition_of(folds=2), study=ODD, verdict=[ODD], receipts=receipts)
    page = write_recognition(tmp_path, judgement).read_text()
    assert ODD not in page
    assert page.count("&lt;b&gt;&amp;&#34;x") >= 4
    assert '<section id="folds">' in page
    assert '<section id="receipts">' in page
    assert "badge bad" in page


def test_the_console_has_a_line_for_each_model_and_tells_the_classes(
    judgement: dict[str, Any],
) -> None:
    out = io.StringIO()
    show(recognition_table(judgement), out)
    lines = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    names = [line[0] for line in lines]
    for name in ("15m", "30m", "mean", "xgboost", "no"):
        assert name in names
    value = judgement["models"]["mean"]["balanced_accuracy"]["value"]
    assert f"{value:.2%}" in lines[names.index("mean")]
    told = " ".join(out.getvalue().split())
    assert "hammer 3; 8 of several patterns left out" in told
