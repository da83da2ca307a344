"""The report of several symbols: each beside the others, all together, a way to each one's page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gafcnn.report.console import show
from gafcnn.report.pooled_page import pooled_table, write_pooled

Judgement = dict[str, Any]

ODD = '<b>&"x'
MODELS = ("15m", "30m", "mean", "xgboost")


@pytest.fixture(scope="module")
def pooled(make_judgement: Callable[..., Judgement]) -> Judgement:
    """Two symbols of 400 and 300 rows, and what all 700 came to."""
    symbols = {name: make_judgement(n, MODELS) for name, n in (("BNB", 400), ("BTC", 300))}
    of_symbols = {
        name: {key: of[key] for key in ("classes", "models")} for name, of in symbols.items()
    }
    together = {"symbol": "BNB, BTC", "bars": {"BNB": "0" * 64, "BTC": "1" * 64}}
    return {**make_judgement(700, MODELS), **together, "symbols": of_symbols}


@pytest.fixture(scope="module")
def folder(pooled: Judgement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("report")
    assert write_pooled(written, pooled) == written / "report.html"
    return written


def table_of(folder: Path, name: str) -> list[dict[str, str]]:
    text = (folder / "tables" / f"{name}.csv").read_text()
    return [*csv.DictReader(io.StringIO(text))]


def test_the_page_tells_every_part_and_leads_to_each_symbols_own(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    for section in ("verdict", "symbols", "models", "pairs", "equity", "receipts", "config"):
        assert f'<section id="{section}">' in page
    for symbol, bars in (("BNB", "0"), ("BTC", "1")):
        assert f'<a href="symbols/{symbol}/report.html">{symbol}</a>' in page
        assert f"<code>{symbol} {bars * 64}</code>" in page
    assert "<h1>BNB, BTC together, 15min ahead, on 1min bars</h1>" in page
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    assert "<script" not in page


def test_each_model_stands_on_each_symbol_and_on_all_together(
    folder: Path, pooled: Judgement
) -> None:
    rows = table_of(folder, "symbols")
    assert [(row["model"], row["symbol"], row["n"]) for row in rows[:4]] == [
        ("15m", "BNB", "400"), ("15m", "BTC", "300"), ("15m", "all together", "700"),
        ("30m", "BNB", "400"),
    ]  # fmt: skip
    assert len(rows) == 3 * len(MODELS)
    for row, of in ((rows[1], pooled["symbols"]["BTC"]), (rows[2], pooled)):
        for figure in ("accuracy", "auc", "log_loss", "win_rate_gross", "sharpe"):
            told = of["models"]["15m"][figure]
            ends = (told["value"], told["low"], told["high"])
            assert tuple(float(row[figure + end]) for end in ("", "_low", "_high")) == ends
        up = of["classes"]["all"]["up"]
        assert float(row["majority"]) == max(up, 1 - up)
    assert {path.stem for path in (folder / "tables").iterdir()} == {
        "symbols", "scores_all", "scores_labelled", "trades", "returns", "pairs", "receipts",
    }  # fmt: skip
    assert table_of(folder, "returns")[-1]["model"] == "buy and hold"


def test_the_same_judgement_gives_the_same_bytes_and_old_files_go(
    folder: Path, pooled: Judgement, tmp_path: Path
) -> None:
    for stale in ("tables/coverage.csv", "figures/confusion.png"):
        (tmp_path / stale).parent.mkdir(exist_ok=True)
        (tmp_path / stale).write_text("old")
    write_pooled(tmp_path, pooled)
    files = {path.relative_to(folder) for path in folder.rglob("*.*")}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")} == files
    for path in files:
        assert (tmp_path / path).read_bytes() == (folder / path).read_bytes(), path


def test_names_are_shown_as_they_are_and_not_as_markup(pooled: Judgement, tmp_path: Path) -> None:
    judgement = {**pooled, "study": ODD, "symbol": ODD, "verdict": [ODD], "pairs": []}
    page = write_pooled(tmp_path, judgement).read_text()
    assert ODD not in page
    assert page.count("&lt;b&gt;&amp;&#34;x") >= 4
    assert '<section id="pairs">' not in page


def test_the_console_has_a_line_for_each_model_and_symbol(pooled: Judgement) -> None:
    out = io.StringIO()
    show(pooled_table(pooled), out)
    lines = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    found = lines[[line[0] for line in lines].index("15m") :]
    assert [line[:2] for line in found[:2]] == [["15m", "BNB"], ["BTC", "300"]]
    assert found[2][:3] == ["all", "together", "700"]
    auc = pooled["models"]["15m"]["auc"]["value"]
    assert f"{auc:.4f}" in found[2]
    assert max(len(line) for line in out.getvalue().splitlines()) <= 110


def test_the_console_has_a_line_for_each_model_where_symbols_are_many(pooled: Judgement) -> None:
    of = pooled["symbols"]["BNB"]
    out = io.StringIO()
    show(pooled_table({**pooled, "symbols": {f"S{k}": of for k in range(11)}}), out)
    lines = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    assert [line[:4] for line in lines[-4:]] == [
        [name, "all", "together", "700"] for name in MODELS
    ]
