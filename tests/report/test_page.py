"""The page shows the numbers that it is given, as text, and needs nothing else."""

from __future__ import annotations

import csv
import io
import re
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gafcnn as gc
from gafcnn.evaluation.comparisons import sentences
from gafcnn.report.charts import Picture
from gafcnn.report.page import model_card, write_report
from gafcnn.report.sample_pictures import Attributions, sample_image

Metrics = dict[str, Any]

SIZE = 2_500_000
# the files of the figures take most of the time of a report
NO_PNG = ("matplotlib.backends.backend_agg.FigureCanvasAgg.print_png", lambda *_, **more: None)
EVIL = '</script><script>alert(1)</script>" onload="alert(1)" \' & <img src=x> --> $\\x$ ../../x'


class Parsed(HTMLParser):
    """The text, the tags and the addresses of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.sections: list[str] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[str]] = {}
        self._table: list[str] | None = None
        self.feed(self.source)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes |= set(values)
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "section":
            self.sections.append(values["id"])
        if tag == "table":
            self.tables[values["id"].removeprefix("table-")] = self._table = []

    def handle_endtag(self, tag: str) -> None:
        self._table = None if tag == "table" else self._table

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())
            if self._table is not None:
                self._table.append(data.strip())


def table_of(folder: Path, name: str) -> list[dict[str, str]]:
    text = (folder / "tables" / f"{name}.csv").read_text(encoding="utf-8")
    return [*csv.DictReader(io.StringIO(text))]


@pytest.fixture(scope="module")
def page(folder: Path) -> Any:
    return Parsed(folder / "report.html")


@pytest.fixture(scope="module")
def class_folder(class_metrics: Metrics, tmp_path_factory: Any) -> Path:
    page = tmp_path_factory.mktemp("classes") / "report.html"
    return write_report(page, class_metrics, files=True).parent


def test_answer_is_first_and_sections_follow_in_order(page: Any, metrics: Metrics) -> None:
    assert page.sections == [
        *("answer", "verdict", "targets", "models", "costs", "confidence", "regimes", "samples"),
        *("limits", "receipts", "config"),
    ]
    assert all(sentence in page.texts for sentence in metrics["verdict"])
    assert len(page.ids) == len(set(page.ids))


def test_page_is_small_and_requests_nothing(page: Any) -> None:
    assert len(page.source.encode()) < SIZE
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert not {"link", "iframe", "object", "base"} & set(page.tags)
    assert page.tags.count("script") == 1  # its own
    assert not [name for name in page.attributes if name.startswith("on")]
    assert not re.search(r"https?:|@import|url\((?!#)", page.source)


def test_first_screen_says_what_the_money_did(page: Any, metrics: Metrics) -> None:
    _, _, source = page.source.partition('<section id="answer">')
    screen = " ".join(re.sub("<.*?>", "", source.partition("<figure")[0]).split())
    assert "Simulated market: these are not real prices" in screen
    assert "Can the direction of BNB over the next 15min be forecast, and does it pay?" in screen
    found = metrics["models"]["two_stage"]
    for one in (found, metrics["benchmarks"]["buy_and_hold"]):
        total, fall = (one[key]["value"] for key in ("total_return", "max_drawdown"))
        words = f"{'lost' if total < 0 else 'gained'} {abs(total):.2%}"
        assert re.search(rf"{words}[a-z ()]* of {-fall:.2%}", screen), words
    for name, style in (("sharpe", ".2f"), ("win_rate_gross", ".2%"), ("auc", ".4f")):
        value, low, high = (format(found[name][key], style) for key in ("value", "low", "high"))
        assert f"{value} [{low}, {high}]" in screen
    assert "Noise: annualised from 1.2 days." in screen


def test_a_market_simulated_in_python_is_said_to_be_simulated(tmp_path: Path) -> None:
    bars, oracle = gc.simulate(2000, seed=3)
    table = pd.DataFrame({"time": oracle.index, "p_up": oracle}).iloc[-800:]
    assert gc.resample(bars, "5min").attrs["simulated"]
    for frame, simulated in ((bars, True), (gc.as_bars(bars, label="close"), False)):
        found = gc.judge({"mine": table}, frame, label=gc.Direction("15min"), resamples=0)
        page = Parsed(found.to_html(tmp_path / "page.html"))
        assert ("Simulated market: these are not real prices" in page.text) == simulated
        assert ("Backtest" in page.text) != simulated
        assert "Can the direction of the market over the next 15min be forecast" in page.text


def test_figures_of_classes_and_targets_without_skill_are_grey(
    class_metrics: Metrics, metrics: Metrics, tmp_path: Path
) -> None:
    found = deepcopy(class_metrics)
    luck = found["no_skill"]
    figures = found["models"][found["headline"]]
    for key, low, high in (("accuracy", 0.1, 0.1), ("balanced_accuracy", 0.2, 0.3)):
        value = luck[key]["value"]
        figures[key] = {"value": value, "low": value - low, "high": value + high, "n": 99}
    page = Parsed(write_report(tmp_path / "page.html", found))
    for key in ("accuracy", "balanced_accuracy"):
        assert (
            f'noise" title="not statistically significant"><data value="{luck[key]["value"]}"'
            in (page.source)
        )
    shown = deepcopy(metrics)
    [row] = [row for row in shown["targets"] if row["figure"] == "win_rate_gross"][:1]
    row |= {"value": 0.53125, "low": 0.49, "high": 0.57}
    page = Parsed(write_report(tmp_path / "page.html", shown))
    assert 'noise" title="not statistically significant"><data value="0.53125"' in page.source


def test_break_even_at_no_cost_is_not_a_cost(metrics: Metrics) -> None:
    for value, text in ((-1.0, "No cost is low enough"), (1.0, "cost is 1.0 [none, 3.0]")):
        found = deepcopy(metrics)
        cost = {"value": value, "low": -2.0, "high": 3.0}
        found["models"]["two_stage"]["break_even_bps"] = cost
        assert text in " ".join(sentences(found))


def test_page_explains_each_verdict_on_a_target(page: Any, metrics: Metrics) -> None:
    rule = page.source.partition('<section id="targets">')[2].partition("<figure")[0]
    explained = set(re.findall("<li><b>(.*?)</b>", rule))
    assert {row["verdict"] for row in metrics["targets"]} <= explained
    assert {"met", "met, but the trades lose money", "not met", "not measured"} < explained
    assert {"not statistically significant", "too few days"} < explained


def test_interval_is_below_its_figure_and_may_make_it_grey(page: Any, metrics: Metrics) -> None:
    auc = metrics["models"]["30m"]["auc"]
    texts = page.tables["scores_all"]
    place = texts.index(f"{auc['value']:.4f}")
    assert texts[place + 1] == f"[{auc['low']:.4f}, {auc['high']:.4f}]"
    for auc in (model["auc"] for model in metrics["models"].values()):
        grey = f'noise" title="not statistically significant"><data value="{auc["value"]}"'
        assert (grey in page.source) == (auc["low"] <= 0.5 <= auc["high"])


def test_values_that_cannot_be_computed_are_not_numbers(page: Any) -> None:
    assert page.tables["folds"].count("n/a") == 2
    assert "nan" not in page.text.lower().replace("finance", "")
    assert "None" not in page.text


def test_csv_files_have_all_digits_and_intervals(folder: Path, metrics: Metrics) -> None:
    [row] = (row for row in table_of(folder, "scores_labelled") if row["model"] == "30m")
    auc = metrics["models"]["30m"]["auc_labelled"]
    found = [float(row[f"auc_labelled{end}"]) for end in ("", "_low", "_high")]
    assert found == [auc["value"], auc["low"], auc["high"]]
    up = metrics["classes"]["labelled"]["up"]
    assert float(row["majority"]) == max(up, 1 - up)
    assert table_of(folder, "returns")[-1]["model"] == "buy and hold"
    assert table_of(folder, "folds")[0]["sharpe"] == ""


def test_every_figure_is_drawn_on_the_page_and_a_file(folder: Path, page: Any) -> None:
    files = {path.stem for path in (folder / "figures").iterdir()}
    assert page.tags.count("svg") == len(files)
    assert files >= {"equity", "equity_others", "coverage", "calibration", "regimes"}
    assert {"sample_1_15m", "sample_2_30m"} < files
    assert all(f"figures/{name}.png" in page.text for name in files)


def test_several_symbols_are_compared_and_linked(
    pooled: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gafcnn.report.page.build_figures", lambda _: ())
    (tmp_path / "symbols" / "A").mkdir(parents=True)
    (tmp_path / "symbols" / "A" / "report.html").touch()
    page = Parsed(write_report(tmp_path / "report.html", pooled, files=True))
    rows = table_of(tmp_path, "symbols")
    assert [(row["model"], row["symbol"]) for row in rows[:4]] == [
        ("15m", "A"), ("15m", "B"), ("15m", "all symbols"), ("30m", "A"),
    ]  # fmt: skip
    assert float(rows[2]["auc_low"]) == pooled["models"]["15m"]["auc"]["low"]
    assert "symbols/A/report.html" in page.addresses
    assert "symbols/B/report.html" not in page.addresses
    assert "B " + "1" * 64 in page.text


def test_classes_are_judged_without_trades(class_folder: Path, class_metrics: Metrics) -> None:
    page = Parsed(class_folder / "report.html")
    assert page.sections == ["answer", "verdict", "models", "config"]
    scores = {row["model"]: row for row in table_of(class_folder, "scores")}
    found = class_metrics["models"]["15m"]["balanced_accuracy"]
    assert float(scores["15m"]["balanced_accuracy_high"]) == found["high"]
    classes = table_of(class_folder, "classes")
    assert [row["class"] for row in classes[:3]] == ["none", "bull_one", "bear"]
    assert float(classes[1]["recall_low"]) < float(classes[1]["recall"])
    assert len(list((class_folder / "figures").iterdir())) == 2
    assert re.findall(r"https?:|<script", page.source) == ["<script"]


def test_rankings_are_shown_with_quantiles_and_portfolios(ranking: Metrics, tmp_path: Path) -> None:
    metrics = rename(ranking, "20d", EVIL)
    page = Parsed(write_report(tmp_path / "report.html", metrics, files=True))
    sections = ["answer", "verdict", "targets", "models", "costs", "regimes", "limits", "config"]
    assert page.sections == sections
    assert len(page.source.encode()) < SIZE
    assert (page.tags.count("script"), page.tags.count("img")) == (1, 0)
    assert "nan" not in page.text.lower()
    assert "6 symbols, ranking over 1D on 1D bars" in page.text
    assert "5.833 bps a side on average" in page.text
    figures = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert figures == {"equity", "equity_others", "quantiles", "rank_ic", "portfolio"}
    ranks = {row["model"]: row for row in table_of(tmp_path, "ranks")}
    assert list(ranks) == [EVIL, "60d", "mean", "xgboost"]
    found = metrics["models"][EVIL]["rank_ic"]
    assert float(ranks[EVIL]["rank_ic_low"]) == found["low"]
    assert ranks["xgboost"]["rank_ic"] == ""
    assert f"{found['value']:+.4f}" in page.tables["ranks"]
    assert "n/a" in page.tables["ranks"]
    assert table_of(tmp_path, "portfolios")[-1]["model"] == "equal-weighted market"
    assert {row["symbol"] for row in table_of(tmp_path, "contributions")} == set("ABCDEF")
    parts = [row for row in table_of(tmp_path, "parts") if row["part"] == "month"]
    assert {row["of"] for row in parts} == {"2025-02", "2025-03", "2025-04"}


def test_judgement_without_a_study_is_one_file(
    metrics: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*NO_PNG)
    study = ("study", "looks", "stride", "embargo", "bars", "config", "folds", "seeds", "receipts")
    bare = {key: value for key, value in metrics.items() if key not in study}
    path, own = tmp_path / "mine.html", tmp_path / "tables" / "coverage.csv"
    own.parent.mkdir()
    own.write_text("mine")
    page = Parsed(write_report(path, bare))
    assert set(tmp_path.rglob("*.*")) == {path, own}
    assert "tables/" not in page.text
    assert "figures/" not in page.text


def test_bytes_repeat(class_folder: Path, class_metrics: Metrics, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", class_metrics, files=True)
    files = {path.relative_to(class_folder) for path in class_folder.rglob("*.*")}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")} == files
    for path in files:
        assert (tmp_path / path).read_bytes() == (class_folder / path).read_bytes(), path


def test_failed_report_leaves_the_old_one(class_folder: Path, class_metrics: Metrics) -> None:
    before = {path: path.read_bytes() for path in class_folder.rglob("*.*")}
    broken = {key: value for key, value in class_metrics.items() if key != "verdict"}
    with pytest.raises(Exception, match="verdict"):
        write_report(class_folder / "report.html", broken, files=True)
    assert {path: path.read_bytes() for path in class_folder.rglob("*.*")} == before


def rename(value: Any, old: str, new: str) -> Any:
    """Replace a name everywhere, keys included."""
    if isinstance(value, dict):
        return {rename(key, old, new): rename(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [rename(item, old, new) for item in value]
    return new if value == old else value


@pytest.mark.parametrize("which", ["class_metrics", "pooled"])
def test_hostile_names_are_text(
    which: str, request: Any, prices: pd.Series, attributions: Attributions, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(*NO_PNG)
    pages = []
    for place, word in enumerate((EVIL, "plain")):
        metrics = rename(request.getfixturevalue(which), "15m", word)
        metrics = rename(rename(metrics, "bull_one", word), "A", word)
        metrics |= {
            "fields": {word: {word: [word]}},
            **dict.fromkeys(("study", "symbol", "interval", "horizon", "bars", "costs"), word),
            **{key: [word] for key in ("verdict", "notes", "windows")},
            "config": {word: word},
            "receipts": [{"receipt": word, "passed": True, "found": word}],
            "pairs": [{**row, "finding": word} for row in metrics["pairs"]],
        }
        figure = sample_image(prices.rename(word), {word: np.eye(16)}, word, attributions)
        shown = Picture.draw("sample", word, figure)
        folder = tmp_path / f"folder{place}" / "report"
        pages.append(Parsed(write_report(folder / "report.html", metrics, [shown], files=True)))
        assert [path.name for path in folder.parent.iterdir()] == ["report"]
    evil, plain = pages
    drawn = {"svg", "g", "path", "use", "text", "tspan", "defs", "rect", "clippath", "image"}
    assert set(evil.tags) == set(plain.tags)
    first, second = ([tag for tag in page.tags if tag not in drawn] for page in pages)
    assert first == second
    assert evil.attributes == plain.attributes
    assert EVIL in evil.text
    assert evil.source.count("<script>") == 1


# --- model card -----------------------------------------------------------------------------------

TIMES = {"first": "2025-06-20T10:14:00+00:00", "last": "2025-06-21T10:14:00+00:00"}
MODEL: dict[str, Any] = {
    "onnx": "30m.onnx",
    "safetensors": "30m.safetensors",
    "input": {"name": "images", "shape": ["batch", 2, 64, 64]},
    "output": {"name": "p_up", "shape": ["batch"], "of": "P(up)"},
    "channels": [["close", "gasf"], ["close", "gadf"]],
    "images": {"size": 64, "dtype": "int8", "range": [-1, 1], "scaling": "each", "scale": 1 / 127},
    "window": {"name": "30m", "points": 30, "step": "1min", "lookback": "60min"},
    "parameters": 12345,
    "seed": 0,
    "fold": None,
    "differences": {"one image": 1e-8, "random images": 1.2e-7},
    "validation": {"all": {"n": 100, "accuracy": 0.61, "auc": 0.654}},
    "config": {"window": {"span": "```\n# no heading"}},
}
FACTS: dict[str, Any] = {
    "study": "demo",
    "version": "2.0",
    "opset": 17,
    "tolerance": 1e-5,
    "kind": "direction",
    "asks": "the probability of up",
    "symbols": ["BNB"],
    "interval": "1min",
    "data": {"BNB|X": {"fingerprint": "ab" * 32, "bars": 1000, "gaps": 2, **TIMES}},
    "models": {"30m": MODEL},
    "trees": {},
    "ensembles": {},
    "evaluation": {
        **TIMES,
        "verdict": ["It is good."],
        "looks": 2,
        "models": {
            "30m": {
                "auc": {"value": 0.6, "low": 0.5, "high": 0.7},
                "trades": {"value": 12, "low": None, "high": None},
            }
        },
    },
}


def test_card_has_the_facts() -> None:
    card = model_card(FACTS)
    for text in (
        "| `30m.onnx` | `30m.safetensors` | 30m | 0 | n/a | 12,345 | 1e-07 |",
        "float32 of shape (batch, 2, 64, 64)", "np.zeros((1, 2, 64, 64)", "gasf of close",
        "| BNB\\|X | 1,000 | 1min | 2025-06-20 10:14 | 2025-06-21 10:14 | 2 |",
        "| model | accuracy | auc |\n| --- | --- | --- |\n| 30m, all rows | 61.00% | 0.6540 |",
        "| model | auc | trades |\n| --- | --- | --- |\n| 30m | 0.6000 [0.5000, 0.7000] | 12 |",
        "after 2 looks", "> It is good.",
    ):  # fmt: skip
        assert text in card
    assert "\n# no heading" not in card
    assert "trees" not in card


def test_card_lists_trees_and_ensembles() -> None:
    tree = {"file": "xgboost.json", "seed": 1, "fold": 2, "features": ["a", "b", "c"]}
    card = model_card({**FACTS, "trees": {"xgboost": tree}, "ensembles": {"mean": "all windows"}})
    assert "| xgboost | `xgboost.json` | 1 | 2 | 3 |" in card
    assert "**mean**: all windows" in card
