"""The documentation builds, its links work, its code runs; files of the project agree."""

from __future__ import annotations

import doctest
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import hydra
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from playwright.sync_api import sync_playwright

import gafcnn

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
PACKAGES = ("data", "images", "models", "evaluation", "report", "app")
SCRIPT = re.compile(
    r"^(?:    )?(?:\$ )?python ((?:train|prepare|evaluate|predict|export|verify)\.py.*)$",
    re.MULTILINE,
)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_reads_offline(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    reference = (tmp_path / "reference" / "data.html").read_text()
    label = reference.partition('id="gafcnn.data.labels.Direction"')[2][:6000]
    assert "neutral" in label
    assert "0.2" in label
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="([^"]+)"', page.read_text())
        assert not [url for url in loaded if urlparse(url).netloc], page
    if chromium := shutil.which("chromium"):
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            opened = browser.new_page()
            opened.goto((tmp_path / "index.html").as_uri())
            opened.type(".md-search__input", "embargo")
            opened.wait_for_selector(".md-search-result__item", timeout=20_000)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_relative_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not urlparse(target).scheme and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_the_reference_has_every_public_name() -> None:
    pages = {name: (ROOT / "docs/reference" / f"{name}.md").read_text() for name in PACKAGES}
    listed = re.findall(r"`gc\.(\w+)`", (ROOT / "docs/reference/index.md").read_text())
    assert sorted(listed) == gafcnn.__all__
    for name in gafcnn.__all__:
        package, _, _ = gafcnn._MODULE_OF[name].partition(".")
        assert f"::: gafcnn.{gafcnn._MODULE_OF[name]}\n" in pages[package], name
    for package, page in pages.items():
        folder = ROOT / "src/gafcnn" / package
        modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
        assert set(re.findall(rf"::: gafcnn\.{package}\.(\w+)\n", page)) >= modules, package


def commands(page: Path) -> Iterator[list[str]]:
    """The scripts that a page calls, each as its words."""
    for line in SCRIPT.findall(page.read_text().replace("\\\n", " ")):
        call = re.sub(r"\s+#.*$", "", line)
        yield re.findall(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""", call)


def compose(words: list[str]) -> None:
    """Compose the configuration of a command with its overrides; of a sweep, its first job."""
    script, *overrides = (word.strip("'\"") for word in words)
    skipped = ("-", "hydra", "imports", "label=beyond_costs", "label.round_trip_bps", "on=")
    own = [word for word in overrides if not word.startswith(skipped) and "..." not in word]
    first = [
        f"{one.key_or_group}={next(iter(one.sweep_string_iterator()))}"
        if one.is_sweep_override()
        else str(one.input_line)
        for one in OverridesParser.create().parse_overrides(own)
    ]
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra.compose(script.removesuffix(".py"), first)


@pytest.mark.parametrize("kind", ["first", pytest.param("other", marks=pytest.mark.slow)])
def test_every_command_of_the_pages_composes(kind: str) -> None:
    pages = [
        page
        for page in PAGES
        if (page.stem in ("README", "index", "data", "live")) == (kind == "first")
    ]
    calls = {tuple(words) for page in pages for words in commands(page)}
    assert len(calls) > 9
    for words in calls:
        compose(list(words))


RUN = [  # pages whose commands need neither a network nor files of the reader, and how they begin
    ("README.md", ("train.py -m window=15m,30m,60m model=small_cnn", "evaluate.py study=first")),
    (
        "docs/index.md",
        ("train.py -m experiment=demo", "evaluate.py study=demo"),
    ),
    ("docs/live.md", ("predict.py", "export.py")),
    ("docs/how-to/extend.md", ("train.py", "evaluate.py")),
    ("docs/images.md", ("prepare.py",)),
    ("docs/patterns.md", ("train.py experiment=candlesticks market=ticks",)),
    ("docs/cross-section.md", ("train.py -m experiment=cross_section market=simulated",)),
]
FASTER = {  # options that change how long a command takes
    "docs/how-to/extend.md": ["market=simulated", "model=small_cnn", "trainer.max_epochs=1"],
    "docs/images.md": ["market=simulated", "market.days=2"],
    "docs/patterns.md": ["market.days=20", "trainer.max_epochs=1"],
    "docs/cross-section.md": ["market.symbols=4", "trainer.max_epochs=1"],
}


@pytest.mark.slow
def test_the_commands_of_the_pages_run(tmp_path: Path) -> None:
    for name in ("examples", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = 0
    for page, begins in RUN:
        for words in commands(ROOT / page):
            if " ".join(words).startswith(begins):
                more = FASTER.get(page, []) if words[0] != "evaluate.py" else []
                line = " ".join(["python", str(ROOT / words[0]), *words[1:], *more])
                done = subprocess.run(
                    ["bash", "-c", f"PATH={Path(sys.executable).parent}:$PATH; {line}"],
                    cwd=tmp_path, env=environment, capture_output=True, text=True,
                )  # fmt: skip
                assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
                ran += 1
    assert ran == 11


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_make_targets_of_the_pages_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:\$ |`)make ([a-z-]+)", page.read_text())) <= targets


def test_the_readme_is_short_and_pictures_are_small() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 90
    for path in (ROOT / "docs" / "pictures").iterdir():
        assert path.stat().st_size < 500_000, path


def test_the_examples_of_honest_evaluation_print_what_the_page_says() -> None:
    blocks = re.findall(r"```pycon\n(.*?)```", (ROOT / "docs/honest.md").read_text(), re.DOTALL)
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "honest.md", None, 0)
    output = io.StringIO()
    result = doctest.DocTestRunner().run(example, out=output.write)
    assert result.failed == 0, output.getvalue()
    assert result.attempted > 25


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize(
    "page",
    [
        *("../README", "index", "images", "explanations", "cross-section"),
        *("how-to/data", "how-to/notebook", "how-to/coming-from"),
    ],
)
def test_the_python_of_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pyts_image: ModuleType
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(python_blocks(f"docs/{page}.md")).partition("study = ")[0]
    code = code.replace("20_160", "3_000").replace('"examples', f'"{ROOT}/examples')
    exec(re.sub(r"max_epochs=\d+", "max_epochs=1", code), scope := {})
    assert page in ("images", "explanations") or scope["result"].verdict
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"] * (page == "index")


# --- files of the project -------------------------------------------------------------------------


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_pre_commit_runs_the_commands_of_make_lint() -> None:
    recipe = re.search(r"^lint: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    (local,) = read(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == commands


def test_the_workflow_runs_make_test_on_the_oldest_and_newest_python(
    project: dict[str, Any],
) -> None:
    (job,) = read(".github/workflows/test.yml")["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test PYTHON=python"]
    oldest, newest = job["strategy"]["matrix"]["python"]
    assert project["requires-python"] == f">={oldest}"
    assert newest == "3.x"


def test_few_dependencies_and_a_citation_that_agrees(project: dict[str, Any]) -> None:
    assert len(project["dependencies"]) <= 22
    citation = read("CITATION.cff")
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"] == "MIT"
    matrix = read(".github/workflows/package.yml")["jobs"]["resolve"]["strategy"]["matrix"]
    assert matrix["python"] == [c[-4:] for c in project["classifiers"] if "Python" in c]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_no_two_modules_share_a_name() -> None:
    names = [path.stem for path in (ROOT / "src").rglob("*.py") if path.stem != "__init__"]
    assert len(names) == len(set(names)), sorted({n for n in names if names.count(n) > 1})
