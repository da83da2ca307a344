"""The page in a real browser: from disk, without a network, narrow and wide, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gafcnn.report.page import write_report
from gafcnn.report.sample_pictures import Sample

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here; Debian's package is called chromium"
)

Scheme = Literal["light", "dark"]

HEIGHT = 900
DOUBLE_CLICK = 350  # ms, within which plotly takes a second click for another request
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
    tmp_path_factory: pytest.TempPathFactory,
    make_judgement: Callable[..., dict[str, Any]],
    sample: Sample,
) -> Path:
    models = ("15m", "30m", "mean", "vote", "two_stage")
    return write_report(tmp_path_factory.mktemp("page"), make_judgement(1200, models), [sample])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # as root, as in most containers, Chromium has no sandbox
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Opened:
    """The page, and what it complained of and what it asked the network for since it was opened."""

    page: Page
    told: list[str]


@pytest.fixture(scope="module")
def opened(browser: Browser, page_path: Path) -> Iterator[Callable[[int, Scheme], Opened]]:
    """Open the page, once in each width; light and dark it is as its reader turns it."""
    widths: dict[int, Opened] = {}

    def load(width: int, scheme: Scheme) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, offline=True
        )
        page, told = context.new_page(), []

        def asked(address: str) -> None:
            if not address.startswith((page_path.as_uri(), "data:")):
                told.append(address)

        page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.on("request", lambda request: asked(request.url))
        page.goto(page_path.as_uri())
        page.wait_for_function("document.querySelectorAll('.main-svg').length > 0")
        return Opened(page, told)

    def run(width: int, scheme: Scheme) -> Opened:
        if width not in widths:
            widths[width] = load(width, scheme)
        widths[width].page.emulate_media(color_scheme=scheme)
        return widths[width]

    yield run
    for one in widths.values():
        one.page.context.close()


# each width is opened in another scheme
SHOWN = [(400, "light"), (400, "dark"), (1400, "dark"), (1400, "light")]


@pytest.mark.parametrize(("width", "scheme"), SHOWN)
def test_the_page_is_whole_and_can_be_read(
    opened: Callable[[int, Scheme], Opened], root: Path, width: int, scheme: Scheme
) -> None:
    shown = opened(width, scheme)
    page = shown.page
    assert shown.told == []
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
    opened: Callable[[int, Scheme], Opened],
) -> None:
    inks = {}
    schemes: list[Scheme] = ["light", "dark"]
    for scheme in schemes:
        page = opened(1400, scheme).page
        inks[scheme] = page.eval_on_selector(
            ".js-plotly-plot .xtick text", "(text) => getComputedStyle(text).fill"
        )
        assert inks[scheme] == page.evaluate("getComputedStyle(document.body).color")
    assert inks["light"] != inks["dark"]


def test_a_click_on_a_name_hides_its_curve_and_another_shows_it(
    opened: Callable[[int, Scheme], Opened],
) -> None:
    shown = opened(1400, "light")
    page = shown.page
    curves = "document.querySelector('.js-plotly-plot').querySelectorAll('.scatterlayer .trace')"
    before = page.evaluate(f"{curves}.length")
    name = page.locator(".js-plotly-plot >> nth=0 >> .legendtoggle").first
    name.click()
    page.wait_for_function(f"(before) => {curves}.length < before", arg=before)
    page.wait_for_timeout(DOUBLE_CLICK)
    name.click()
    page.wait_for_function(f"(before) => {curves}.length === before", arg=before)
    assert shown.told == []
