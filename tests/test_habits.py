"""The files for the next person can be read, and say what is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lint_commands() -> list[str]:
    """What `make lint` runs, as it stands in the Makefile."""
    recipe = re.search(r"^lint: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]


def test_the_hooks_of_pre_commit_are_the_commands_of_make_lint() -> None:
    (local,) = read(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"  # nothing is fetched
    assert [hook["entry"] for hook in local["hooks"]] == lint_commands()
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    assert not any(hook["pass_filenames"] for hook in local["hooks"])


def test_pre_commit_takes_its_configuration() -> None:
    clientlib = pytest.importorskip("pre_commit.clientlib", reason="pre-commit is not installed")
    clientlib.load_config(ROOT / ".pre-commit-config.yaml")


def test_the_workflow_runs_what_everyone_runs(project: dict[str, Any]) -> None:
    workflow = read(".github/workflows/test.yml")
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test PYTHON=python"]
    oldest, newest = job["strategy"]["matrix"]["python"]
    assert project["requires-python"] == f">={oldest}"
    assert newest == "3.x"
    assert workflow["permissions"] == {"contents": "read"}


def test_the_citation_is_of_this_project(project: dict[str, Any]) -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "type"} <= set(citation)
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"] == "MIT"
    for work in (citation, *citation["references"]):
        assert work["title"]
        assert all({"name"} <= set(who) or "family-names" in who for who in work["authors"])
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


@pytest.mark.parametrize("name", ["bug", "question"])
def test_an_issue_template_asks_for_something(name: str) -> None:
    template = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert template["name"]
    assert template["description"]
    ids = [field["id"] for field in template["body"]]
    assert len(set(ids)) == len(ids) > 0
    assert any(field.get("validations", {}).get("required") for field in template["body"])


def test_contributing_is_one_screen() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 45
