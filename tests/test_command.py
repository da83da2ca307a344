"""What a command says of itself, and how much it says where nobody looks."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import hydra
import pytest
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from omegaconf import DictConfig, OmegaConf

from gafcnn.app.command import main

Help = Callable[[str], str]

UNTOLD = {"hydra/job_logging", "hydra/hydra_logging"}
OPTIONLESS = {"paths", "model@pattern_baseline"}  # of one option, or those of the group before


@pytest.fixture(scope="module")
def told(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Help:
    """What a command prints for --help, asked once."""
    folder = tmp_path_factory.mktemp("help")

    @cache
    def run(name: str) -> str:
        printed = StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
            patch.chdir(folder)
            patch.setenv("HYDRA_FULL_ERROR", "0")
            patch.setattr(sys, "argv", [f"{name}.py", "--help"])
            with pytest.raises(SystemExit, match="0"):
                main(name, root / "conf")
        assert not list(folder.iterdir())
        return printed.getvalue()

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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train", ["window=30m", "model.lr=1", "+new.key=[1,{a:2}]"]),
        ("train", ["experiment=demo", "~label.horizon"]),
        ("evaluate", ["study=x", "~judging", "windows=[a]"]),
    ],
)
def test_what_tests_read_once_is_what_hydra_reads(
    conf_read_once: Callable[[], AbstractContextManager[None]],
    root: Path,
    name: str,
    words: list[str],
) -> None:
    def composed(*typed: str) -> str:
        cfg = hydra.compose(name, [*typed], return_hydra_config=True)
        return OmegaConf.to_yaml(cfg)

    with hydra.initialize_config_dir(str(root / "conf"), version_base="1.3"):
        groups = [word for word in words if word[0].isalpha() and "." not in word]
        composed(*groups, "+seed.other=5", "hydra.verbose=true")
        kept = composed(*words)
        with conf_read_once():
            assert FileConfigSource.load_config.__module__.startswith("hydra.")
            assert composed(*words) == kept
