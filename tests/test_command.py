"""What a command says of itself, and how much it says where nobody looks."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from gafcnn.command import main

Help = Callable[[str], str]

UNTOLD = {"hydra/job_logging", "hydra/hydra_logging"}
OPTIONLESS = {"paths", "model@pattern_baseline"}  # of one option, or those of the group before


@pytest.fixture
def told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Help:
    """What a command prints for --help."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(name: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
        with pytest.raises(SystemExit, match="0"):
            main(name, root / "conf")
        assert not list(tmp_path.iterdir())
        return capsys.readouterr().out

    return run


def composed_groups(conf: Path, name: str) -> set[str]:
    defaults = OmegaConf.select(OmegaConf.load(conf / f"{name}.yaml"), "defaults")
    return {str(key) for entry in defaults if isinstance(entry, DictConfig) for key in entry} - {
        f"override {group}" for group in UNTOLD
    }


@pytest.mark.parametrize("name", ["train", "evaluate", "predict"])
def test_every_group_that_a_command_composes_is_explained(
    told: Help, root: Path, name: str
) -> None:
    text = told(name)
    assert max(map(len, text.splitlines())) <= 115
    for group in composed_groups(root / "conf", name):
        assert (line := re.search(rf"^  {group} +\w.*$", text, re.MULTILINE)), group
        assert group in OPTIONLESS or text[line.end() + 1 :].startswith("   "), group


@pytest.mark.parametrize("name", ["train", "prepare", "evaluate"])
def test_the_options_are_those_of_the_configuration_the_default_first(
    told: Help, root: Path, name: str
) -> None:
    text = told(name)
    if name != "evaluate":
        assert " bnb (default), file, simulated, ticks\n" in text
        assert " 30m, " in text
    else:
        assert " xgboost (default), resnet18, " in text
    assert "default (default)" not in text


@pytest.mark.parametrize("name", ["train", "prepare", "evaluate", "predict"])
def test_each_of_five_commands_composes(told: Help, root: Path, name: str) -> None:
    lines = re.findall(rf"^  python {name}\.py ((?:\S+ ?)+)", told(name), re.MULTILINE)
    assert len(lines) == 5
    with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
        for line in lines:
            words = [word for word in shlex.split(line) if word != "-m"]
            hydra.compose(name, [re.sub(r"=(\w+),.*", r"=\1", word) for word in words])


def test_the_commands_that_help_names_are_there(told: Help, root: Path) -> None:
    for name in ("train", "prepare", "evaluate", "predict", "export", "verify"):
        for script in re.findall(r"python (\w+\.py)", told(name)):
            assert (root / script).is_file()
