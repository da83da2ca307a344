"""The files of the project agree with each other."""

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


def test_the_citation_agrees_with_the_package(project: dict[str, Any]) -> None:
    citation = read("CITATION.cff")
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_mandatory_dependencies_are_few(project: dict[str, Any]) -> None:
    assert len(project["dependencies"]) <= 22


def test_no_two_modules_share_a_name() -> None:
    names = [path.stem for path in (ROOT / "src").rglob("*.py") if path.stem != "__init__"]
    assert len(names) == len(set(names)), sorted({n for n in names if names.count(n) > 1})
