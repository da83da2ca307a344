"""The pages: they are built strictly, their links lead somewhere, what they show is so."""

from __future__ import annotations

import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
SCRIPT = re.compile(
    r"^(?:    )?(?:\$ )?python ((?:train|prepare|evaluate|predict|export|verify)\.py.*)$",
    re.MULTILINE,
)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 25
    reference = (tmp_path / "reference" / "samples.html").read_text()
    assert 'id="gafcnn.data.labels.Direction"' in reference
    for name, shown in (("label", "BeyondCosts"), ("field", "Candles"), ("network", "NETWORKS")):
        text = re.sub("<[^>]+>", "", (tmp_path / "how-to" / f"{name}.html").read_text())
        assert "PYTHONPATH=examples python train.py" in text  # the example itself stands there
        assert shown in text
    for page in pages:  # it can be read without a network
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="([^"]+)"', page.read_text())
        assert not [url for url in loaded if urlparse(url).netloc], page


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not urlparse(target).scheme and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), target


def commands(page: Path) -> Iterator[list[str]]:
    """The scripts that a page types, each as its words."""
    for line in SCRIPT.findall(page.read_text().replace("\\\n", " ")):
        typed = re.sub(r"\s+#.*$", "", line)
        yield re.findall(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""", typed)


def composed(words: list[str]) -> None:
    """Compose a command's configuration with the overrides typed; of a sweep, its first job."""
    script, *overrides = (word.strip("'\"") for word in words)
    own = [word for word in overrides if not word.startswith(("-", "hydra")) and "..." not in word]
    parsed = OverridesParser.create().parse_overrides(own)
    first = [
        f"{one.key_or_group}={next(iter(one.sweep_string_iterator()))}"
        if one.is_sweep_override()
        else str(one.input_line)
        for one in parsed
    ]
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra.compose(script.removesuffix(".py"), first)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_command_that_a_page_types_is_one(page: Path) -> None:
    for words in commands(page):
        try:
            composed(words)
        except HydraException as error:
            pytest.fail(f"{' '.join(words)}: {error}")


def test_pages_type_commands() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 40


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_make_is_told_to_do_it_can(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed = re.findall(r"(?:\$ |`)make ([a-z-]+)", page.read_text())
    assert set(typed) <= targets


def test_the_readme_is_short_and_opens_with_a_picture_and_a_session() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 150
    assert any("docs/pictures/pipeline.svg" in line for line in lines[:10])
    assert "$ make demo" in "\n".join(lines[:12])


def test_pictures_are_small() -> None:
    for path in (ROOT / "docs" / "pictures").iterdir():
        limit = 100_000 if path.name == "pipeline.svg" else 500_000
        assert path.stat().st_size < limit, path


def test_the_examples_of_honest_evaluation_print_what_they_say() -> None:
    text = (ROOT / "docs" / "honest.md").read_text()
    blocks = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 9
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "honest.md", None, 0)
    told = io.StringIO()
    result = doctest.DocTestRunner().run(example, out=told.write)
    assert result.failed == 0, told.getvalue()
    assert result.attempted > 30
