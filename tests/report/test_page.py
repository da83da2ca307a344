"""The page needs nothing but itself, and says in figures and files what it was given."""

from __future__ import annotations

import base64
import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gafcnn.report import page
from gafcnn.report.explained_images import Attributions
from gafcnn.report.page import write_report
from gafcnn.report.sample_pictures import Sample

Judgement = dict[str, Any]
Make = Callable[..., Judgement]

ODD = '<b>&"x'


class Read(HTMLParser):
    """What a browser would find: headings, words, tables by their id, and all addresses."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.sections: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.numbers: dict[str, list[str]] = {}
        self.texts: dict[str, list[str]] = {}
        self.table = ""
        self.skipped = False
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in {"src", "href", "action", "srcset"}]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag == "section":
            self.sections.append(found["id"] or "")
        if tag == "table":
            self.table = (found["id"] or "").removeprefix("table-")
            self.numbers[self.table], self.texts[self.table] = [], []
        if tag == "data":
            self.numbers[self.table].append(found["value"] or "")
        self.skipped = tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self.skipped = False
        if tag == "table":
            self.table = ""

    def handle_data(self, data: str) -> None:
        if not self.skipped and data.strip():
            self.words.append(data.strip())
            if self.table:
                self.texts[self.table].append(data.strip())


@pytest.fixture(scope="module")
def full(make_judgement: Make) -> Judgement:
    return make_judgement(1200, ("60m", "mean"), fold_count=3, symbol=ODD)


@pytest.fixture(scope="module")
def folder(full: Judgement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    assert write_report(folder, full) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def read(folder: Path) -> Read:
    return Read(folder / "report.html")


def test_the_verdict_comes_first_and_the_rest_in_order(read: Read, full: Judgement) -> None:
    assert read.sections == [
        *("verdict", "targets", "models", "pairs", "equity", "drawdown", "coverage"),
        *("calibration", "confusion", "sides", "regimes", "folds", "receipts", "config"),
    ]
    assert all(sentence in read.words for sentence in full["verdict"])
    assert len(read.ids) == len(set(read.ids))


def test_nothing_is_loaded_from_anywhere(read: Read) -> None:
    assert read.addresses
    assert all(address.startswith("data:image/png;base64,") for address in read.addresses)
    assert not {"link", "iframe", "object", "base"} & set(read.tags)
    own = read.source.replace(page.script(), "")
    assert len(own) < len(read.source) - 1_000_000
    assert not re.search(r"https?:|@import|url\(", own)


def test_plotly_stands_on_the_page_once_and_before_it_is_used(read: Read) -> None:
    assert read.source.count(page.script()) == 1
    assert read.source.index(page.script()) < read.source.index("Plotly.newPlot(")


def test_every_table_is_a_csv_of_the_same_numbers(read: Read, folder: Path) -> None:
    files = {path.stem: path for path in (folder / "tables").iterdir()}
    assert sorted(files) == sorted(read.numbers)
    for name, path in files.items():
        lines = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        cells = [v for line in lines for k, v in line.items() if not k.endswith(("low", "high"))]
        on_page = iter(cells)
        assert all(number in on_page for number in read.numbers[name]), name
        assert len(read.numbers[name]) >= len(lines) or name == "receipts"


def test_a_csv_holds_values_in_full_and_their_intervals(folder: Path, full: Judgement) -> None:
    file = (folder / "tables" / "scores_labelled.csv").read_text(encoding="utf-8").splitlines()
    line = next(row for row in csv.DictReader(file) if row["model"] == "60m")
    auc = full["models"]["60m"]["auc_labelled"]
    ends = [float(line[f"auc_labelled{end}"]) for end in ("", "_low", "_high")]
    assert ends == [auc["value"], auc["low"], auc["high"]]
    assert float(line["majority"]) == full["classes"]["labelled"]["up"]


def test_an_interval_stands_below_its_figure(read: Read, full: Judgement) -> None:
    auc = full["models"]["60m"]["auc"]
    texts = read.texts["scores_all"]
    at = texts.index(f"{auc['value']:.4f}")
    assert texts[at + 1] == f"[{auc['low']:.4f}, {auc['high']:.4f}]"


@pytest.mark.parametrize("name", ["scores_all", "scores_labelled", "regimes", "months", "folds"])
def test_beside_every_accuracy_stands_the_larger_class(folder: Path, name: str) -> None:
    head = (folder / "tables" / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0]
    keys = [key for key in head.split(",") if not key.endswith(("_low", "_high"))]
    accuracy = next(key for key in keys if key.startswith("accuracy"))
    assert keys[keys.index(accuracy) + 1] == "majority"


def test_every_figure_is_a_png_and_the_pages_own_ones_are_those(read: Read, folder: Path) -> None:
    files = {path.read_bytes() for path in (folder / "figures").iterdir()}
    shown = {base64.b64decode(address.partition(",")[2]) for address in read.addresses}
    assert shown == files
    charts = {identity.removeprefix("chart-") for identity in read.ids if "chart-" in identity}
    assert charts == {"equity", "drawdown", "coverage", "calibration", "months"}
    assert charts < {path.stem for path in (folder / "figures").iterdir()}


def test_what_is_written_is_told_as_text(read: Read) -> None:
    assert "b" not in read.tags[: read.tags.index("h1") + 2]
    assert any(word.startswith(ODD) for word in read.words)
    assert json.dumps(ODD) in "".join(read.words)
    assert ODD not in read.source


def test_a_verdict_is_said_in_words(read: Read) -> None:
    for word in ("met", "not met", "not measured", "not to be told apart from luck"):
        assert word in read.texts["targets"]
    for word in ("passed", "failed", "not asked for"):
        assert word in read.texts["receipts"]


def test_the_same_judgement_gives_the_same_bytes(
    full: Judgement, folder: Path, no_rows: Judgement, sample: Sample, tmp_path: Path
) -> None:
    write_report(tmp_path, no_rows, [sample])
    write_report(tmp_path, full)
    old = {path.relative_to(folder): path for path in folder.rglob("*.*")}
    new = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*.*")}
    # the sample of the first report is gone with it
    assert old.keys() == new.keys()
    assert all(old[name].read_bytes() == new[name].read_bytes() for name in old)


def test_one_model_that_never_trades_says_so(make_judgement: Make, tmp_path: Path) -> None:
    made = make_judgement(200, ("15m",), trades=False)
    read = Read(write_report(tmp_path, made))
    assert "folds" not in read.sections
    assert "pairs" not in read.sections
    assert read.texts["trades"][-10:] == ["15m", "0", "0.00%", *["n/a"] * 7]


@pytest.fixture(scope="module")
def with_samples(
    make_judgement: Make,
    sample: Sample,
    attributions: Attributions,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A page of two samples, of which the second is explained."""
    shown = [sample, replace(sample, window="30m", attributions=attributions)]
    made = make_judgement(0, ("15m",), trades=False)
    return write_report(tmp_path_factory.mktemp("samples"), made, shown)


def test_a_sample_tells_what_was_forecast_and_what_came(with_samples: Path) -> None:
    read = Read(with_samples)
    told = "15m, t = 2025-06-20 10:14 UTC: P(up) 61.2%, then +0.12%, right"
    assert f'alt="{told}"' in read.source
    assert "samples" in read.sections
    assert "figures/sample_1_15m.png" in read.words
    png = (with_samples.parent / "figures" / "sample_1_15m.png").read_bytes()
    assert base64.b64encode(png).decode() in read.source


def test_an_explained_sample_tells_its_largest_shares_without_a_picture(with_samples: Path) -> None:
    read = Read(with_samples)
    told = "30m, t = 2025-06-20 10:14 UTC: P(up) 61.2%, then +0.12%, right; "
    assert f'alt="{told}75% of the attribution lies 3, 1, 0 minutes before t"' in read.source
    assert "What the network looked at" in read.words
    plain, explained = ((with_samples.parent / "figures" / f"sample_{k}.png").read_bytes()
                        for k in ("1_15m", "2_30m"))  # fmt: skip
    assert plain != explained


@pytest.fixture(scope="module")
def empty_folder(no_rows: Judgement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("empty"), no_rows).parent


def test_no_rows_at_all_make_a_page_without_a_number(empty_folder: Path) -> None:
    read = Read(empty_folder / "report.html")
    scores = [text for text in read.texts["scores_all"] if "[" not in text]
    assert scores[-7:] == ["0", *["n/a"] * 5, "1.30%"]
    assert "nan" not in "".join(read.words).lower()
    assert "None" not in "".join(read.words)


def test_nan_never_reaches_a_csv(empty_folder: Path) -> None:
    for path in (empty_folder / "tables").iterdir():
        assert "nan" not in path.read_text(encoding="utf-8").lower()


def test_a_report_that_fails_leaves_the_old_one(empty_folder: Path, no_rows: Judgement) -> None:
    old = {path: path.read_bytes() for path in empty_folder.rglob("*.*")}
    with pytest.raises(KeyError, match="config"):
        write_report(empty_folder, {k: v for k, v in no_rows.items() if k != "config"})
    assert {path: path.read_bytes() for path in empty_folder.rglob("*.*")} == old
