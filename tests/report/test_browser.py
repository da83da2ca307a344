"""The page in a real browser: from disk, without a network, narrow and wide, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gafcnn.report import Sample, write_report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here; Debian's package is called chromium"
)

HEIGHT = 900
LEAST_CONTRAST = 4.5  # of text, WCAG 2.2, level AA

# the luminance of a colour, and the contrast of an element's text with what lies behind it
CONTRASTS = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = channels(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("p, th, td, dt, dd, h1, h2, h3, figcaption, summary, small")]
    .filter((node) => node.offsetParent && node.textContent.trim())
    .map((node) => {
      const [a, b] = [light(channels(getComputedStyle(node).color)), light(behind(node))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return [contrast, node.textContent.trim().slice(0, 40)];
    });
}"""


@pytest.fixture(scope="module")
def page_path(
    tmp_path_factory: pytest.TempPathFactory, judgement: dict[str, Any], sample: Sample
) -> Path:
    return write_report(tmp_path_factory.mktemp("page"), judgement, [sample])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # as root, as in most containers, Chromium has no sandbox
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def opened(browser: Browser, page_path: Path) -> Iterator[Callable[..., tuple[Page, list[str]]]]:
    """Open the page; what it complained of and what it asked the network for."""
    contexts = []

    def run(width: int, scheme: Literal["light", "dark"]) -> tuple[Page, list[str]]:
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        page, told = context.new_page(), []
        page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.on("request", lambda asked: told.append(asked.url))
        page.goto(page_path.as_uri())
        page.wait_for_function("document.querySelectorAll('.main-svg').length > 0")
        return page, [line for line in told if not line.startswith((page_path.as_uri(), "data:"))]

    yield run
    for context in contexts:
        context.close()


SHOWN = [(400, "light"), (400, "dark"), (1400, "light"), (1400, "dark")]


@pytest.mark.parametrize(("width", "scheme"), SHOWN)
def test_the_page_is_whole_and_can_be_read(
    opened: Callable[..., tuple[Page, list[str]]], root: Path, width: int, scheme: str
) -> None:
    page, told = opened(width, scheme)
    assert told == []
    charts = page.query_selector_all(".js-plotly-plot")
    assert len(charts) == len(page.query_selector_all("[id^=chart-]")) >= 5
    for chart in charts:
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 0.7 * (min(width, 1216) - 80)
        assert chart.query_selector_all(".scatterlayer .trace"), chart.get_attribute("id")
    for image in page.query_selector_all("img"):
        assert image.evaluate("(img) => img.complete && img.naturalWidth > 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for contrast, text in page.evaluate(CONTRASTS):
        assert contrast >= LEAST_CONTRAST, text
    for size in page.eval_on_selector_all(
        "p, td, th, figcaption",
        "(all) => all.map((one) => parseFloat(getComputedStyle(one).fontSize))",
    ):
        assert size >= 11.5
    kept = root / "build" / "screenshots"
    kept.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=kept / f"report-{width}-{scheme}.png", full_page=True)


def test_the_words_of_a_chart_follow_the_page(
    opened: Callable[..., tuple[Page, list[str]]],
) -> None:
    inks = {}
    for scheme in ("light", "dark"):
        page, _ = opened(1400, scheme)
        inks[scheme] = page.eval_on_selector(
            ".js-plotly-plot .xtick text", "(text) => getComputedStyle(text).fill"
        )
        assert inks[scheme] == page.evaluate("getComputedStyle(document.body).color")
    assert inks["light"] != inks["dark"]


def test_a_click_on_a_name_hides_its_curve(opened: Callable[..., tuple[Page, list[str]]]) -> None:
    page, told = opened(1400, "light")
    shown = ".js-plotly-plot >> nth=0 >> .scatterlayer .trace"
    before = page.locator(shown).count()
    page.locator(".js-plotly-plot >> nth=0 >> .legendtoggle").first.click()
    page.wait_for_function(
        "(before) => document.querySelector('.js-plotly-plot')"
        ".querySelectorAll('.scatterlayer .trace').length < before", arg=before
    )  # fmt: skip
    assert told == []
