"""The page in a real browser: from disk, without a network, narrow and wide, light and dark."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here; Debian's package is called chromium"
)

LEAST_CONTRAST = 4.5  # of text, WCAG 2.2, level AA

# the contrast of each text with the first opaque background behind it
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
  const texts = "p, th, td, dt, dd, h1, h2, h3, a, li, figcaption, summary, small, svg text";
  return [...document.querySelectorAll(texts)]
    .filter((node) => node.getClientRects().length && node.textContent.trim())
    .map((node) => {
      const style = getComputedStyle(node);
      const colour = node.tagName === "text" ? style.fill : style.color;
      const [a, b] = [light(channels(colour)), light(behind(node))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return [contrast, node.textContent.trim().slice(0, 40)];
    });
}"""

# what a keyboard or a screen reader cannot use
FAULTS = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const levels = all("h1, h2, h3").map((node) => Number(node.tagName[1]));
  const ids = all("[id]").map((node) => node.id);
  const scrolls = (node) => node.scrollWidth > node.clientWidth + 1
    && getComputedStyle(node).overflowX === "auto";
  return [
    ...levels.filter((level, k) => level > (levels[k - 1] ?? 0) + 1 || (k && level === 1)),
    ...ids.filter((id, k) => ids.indexOf(id) !== k),
    ...all("nav a, .skip").filter((link) => !document.querySelector(link.hash)),
    ...all("a, button, summary, [role]").filter((n) => !n.ariaLabel && !n.textContent.trim()),
    ...all("main *").filter((node) => scrolls(node) && node.tabIndex !== 0),
    ...all("html:not([lang]), body:not(:has(> main)), nav:not([aria-label]), [tabindex='1']"),
    ...all("table:not(:has(caption)), th:not([scope]), svg:not([role=img][aria-label], svg svg)"),
  ].map((node) => node.outerHTML ?? node);
}"""


@pytest.fixture(scope="module")
def opened(folder: Path) -> Iterator[tuple[Page, list[str]]]:
    """The page, loaded once, and its messages and requests."""
    messages: list[str] = []
    with sync_playwright() as playwright:
        # Chromium has no sandbox as root, as in most containers
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: messages.append(request.url))
        page.goto((folder / "report.html").as_uri())
        yield page, messages
        browser.close()


def test_page_requests_nothing_and_has_no_errors(
    opened: tuple[Page, list[str]], folder: Path
) -> None:
    requests = [one for one in opened[1] if not one.startswith("data:image/png")]
    assert requests == [(folder / "report.html").as_uri()]


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        *((400, "dark"), (1400, "light")),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((400, "light"), (1400, "dark"))),
    ],
)
def test_page_fits_and_is_accessible(
    opened: tuple[Page, list[str]], root: Path, width: int, scheme: Any
) -> None:
    page = opened[0]
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert not page.evaluate(FAULTS)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink = page.evaluate("getComputedStyle(document.body).color")
    inks = page.eval_on_selector_all(
        "svg text", "(all) => all.map((e) => getComputedStyle(e).fill)"
    )
    assert ink in inks
    for contrast, text in page.evaluate(CONTRASTS):
        assert contrast >= LEAST_CONTRAST, text
    for box in page.eval_on_selector_all(
        "svg", "(all) => all.map((e) => e.getBoundingClientRect().width)"
    ):
        assert box > 0.85 * min(width, 400) - 40
    sizes = page.eval_on_selector_all(
        "p, td, th, figcaption", "(all) => all.map((e) => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 11.5
    folder = root / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"report-{width}-{scheme}.png", full_page=True)


def test_tables_are_sorted_and_contents_follow(opened: tuple[Page, list[str]]) -> None:
    page, head = opened[0], "#table-scores_all th:nth-child(5)"
    for name, order in (("costs", "descending"), ("targets", "ascending")):
        page.locator(f"{head} button").press("Enter")
        column = page.locator("#table-scores_all td:nth-child(5) data")
        found = column.evaluate_all("(all) => all.map((e) => Number(e.value))")
        assert found == sorted(found, reverse=order == "descending")
        assert page.get_attribute(head, "aria-sort") == order
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.locator(f"nav a[href='#{name}']").press("Enter")
        page.wait_for_selector(f"nav a[href='#{name}'][aria-current]")


def test_print_has_four_pages(opened: tuple[Page, list[str]]) -> None:
    assert len(re.findall(rb"/Type\s*/Page\b", opened[0].pdf(prefer_css_page_size=True))) == 4
