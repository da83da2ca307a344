"""What a report is told is text, wherever on the page it stands: no tag, attribute or script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gafcnn.evaluation.recognition import Recognition, judge_recognition
from gafcnn.report.classification_page import write_recognition
from gafcnn.report.explained_images import Attributions
from gafcnn.report.page import write_report
from gafcnn.report.pooled_page import write_pooled
from gafcnn.report.sample_pictures import Sample

Judgement = dict[str, Any]
Make = Callable[..., Judgement]

SCRIPT = "</script><script>alert(1)</script>"
QUOTES = '" onmouseover="alert(1)" \' & <img src=x onerror=alert(1)> -->'
EVIL = SCRIPT + QUOTES


class Found(HTMLParser):
    """What a browser would find that could act: tags, attributes and what scripts say."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.sources: set[str | None] = set()
        self.said: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))
        self.shown = "".join(self.said)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}
        self.sources |= {value for name, value in attrs if name in ("src", "href")}

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def check_harmless(page: Path, plain: Path) -> None:
    """Assert that a page of evil words has the tags and the attributes of one of plain words."""
    evil, usual = Found(page), Found(plain)
    assert evil.tags == usual.tags
    assert evil.attributes == usual.attributes
    assert not any(source and "alert" in source for source in evil.sources)
    source = page.read_text(encoding="utf-8")
    # nor in the charts' JSON
    assert "<script>alert" not in source
    assert "onerror=alert(1)>" not in source
    assert EVIL in evil.shown  # told, as text


def told_of(judgement: Mapping[str, Any], word: str) -> Judgement:
    """A judgement in which this word is wherever words are free."""
    receipts = [{**one, "receipt": word, "found": word} for one in judgement["receipts"]]
    pairs = [{**one, "expected": word, "finding": word} for one in judgement["pairs"]]
    targets = [{**one, "target": word, "goal": word} for one in judgement.get("targets", [])]
    return {
        **judgement,
        "study": word,
        "symbol": word,
        "interval": word,
        "verdict": [word, *judgement["verdict"]],
        "windows": [word],
        "receipts": receipts,
        "pairs": pairs,
        "targets": targets,
        "config": {word: {"path": word, "list": [word]}},
    }


def test_a_report_tells_words_as_text(
    make_judgement: Make, sample: Sample, attributions: Attributions, tmp_path: Path
) -> None:
    pages = []
    for word in (EVIL, "plain"):
        made = told_of(make_judgement(200, (word, "mean"), fold_count=1), word)
        made |= {"horizon": word, "bars": word, "headline": word}
        channels = {word: next(iter(sample.channels.values()))}
        series = sample.series.rename(word)
        shown = [replace(sample, series=series, channels=channels, told=word)]
        shown.append(replace(shown[0], attributions=attributions))
        pages.append(write_report(tmp_path / str(len(word)), made, shown))
    check_harmless(*pages)


def test_a_report_of_several_symbols_tells_words_as_text(
    make_judgement: Make, tmp_path: Path
) -> None:
    pages = []
    for word in (EVIL, "plain"):
        models = (word, "mean")
        parts = {name: make_judgement(200, models) for name in (word, "BTC")}
        made = told_of(make_judgement(400, models), word)
        made |= {
            "horizon": word,
            "bars": dict.fromkeys(parts, word),
            "symbols": {
                name: {key: part[key] for key in ("classes", "models")}
                for name, part in parts.items()
            },
        }
        pages.append(write_pooled(tmp_path / str(len(word)), made))
    evil, usual = map(Found, pages)
    assert evil.tags == usual.tags
    assert evil.attributes == usual.attributes
    assert not any(source and source.startswith("javascript:") for source in evil.sources)
    assert "<script>alert" not in pages[0].read_text()
    assert EVIL in evil.shown


@pytest.mark.parametrize("where", ["model", "field"])
def test_a_report_of_several_classes_tells_words_as_text(
    recognition_of: Callable[..., Recognition], tmp_path: Path, where: str
) -> None:
    pages = []
    for word in (EVIL, "plain"):
        name = word if where == "model" else "15m"
        recognition = recognition_of(models={name: 1.0, "mean": 2.0, "xgboost": 0.0})
        judged = judge_recognition(recognition, resamples=100)
        made = {
            **judged,
            "first": "2025-06-20T00:20:00+00:00",
            "last": "2025-06-20T06:59:00+00:00",
            "looks": 1,
            "trials": 3,
            "stride": 1,
            "headline": recognition.headline,
            "fields": {name: {"candle": [word], "rule": [word]}},
            "verdict": [],
            "receipts": [{"receipt": word, "passed": True, "found": word}],
            "bars": word,
        }
        pages.append(write_recognition(tmp_path / str(len(word)), told_of(made, word)))
    check_harmless(*pages)
