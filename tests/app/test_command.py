"""The commands: help, messages of errors, exit codes."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from gafcnn.app import command
from gafcnn.app.command import COMMANDS, main, quote_names
from gafcnn.app.options import TrainSettings
from gafcnn.settings import create

Run = Callable[..., str]


@cache
def shown(name: str, program: str = "python {}.py") -> str:
    printed = io.StringIO()
    with redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        main(name, words=["--help"], program=program)
    assert not ended.value.code
    return printed.getvalue()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_script_runs_its_command_whose_help_lists_the_options_of_every_group(
    root: Path, name: str
) -> None:
    assert f'main("{name}"' in (root / f"{name}.py").read_text()
    text = shown(name)
    assert max(map(len, text.splitlines())) <= 115
    defaults = yaml.safe_load((root / "conf" / f"{name}.yaml").read_text())["defaults"]
    groups = [key for entry in defaults if isinstance(entry, dict) for key in entry]
    for group in groups:
        if not group.startswith("override "):
            assert re.search(rf"(^|[ ,]){group}\b", text, re.MULTILINE), group
    if name == "train":
        for folder in (root / "conf").iterdir():
            if folder.name in groups:
                for option in folder.glob("*.yaml"):
                    assert re.search(rf"\b{option.stem}\b", text), option
        assert "bnb (default), file, simulated, simulated_universe, ticks" in text


def test_help_has_the_program_that_was_called() -> None:
    assert "python train.py window=30m" in shown("train")
    text = shown("train", "gafcnn {}")
    assert "gafcnn train window=30m" in text
    assert "gafcnn evaluate study=" in text


def test_the_version_is_that_of_the_project(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    monkeypatch.setattr("sys.argv", ["gafcnn", "--version"])
    command.run()
    assert capsys.readouterr().out.split() == ["gafcnn", project["version"]]


@pytest.mark.parametrize("name", ["train", "evaluate", "prepare"])
def test_the_examples_of_help_compose(refused: Run, name: str) -> None:
    lines = re.findall(rf"^  python {name}\.py ((?:\S+ ?)+)", shown(name), re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        words = [re.sub(r"=(\w+),.*", r"=\1", word) for word in line.split() if word != "-m"]
        # composed, then refused for this option alone
        assert refused(name, *words, "seed=-1" if name != "evaluate" else "judging.seed=-1")


def test_help_imports_neither_pandas_nor_torch(root: Path) -> None:
    code = (
        "import sys; from gafcnn.app.command import main\n"
        "try: main('train', words=['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'pandas', 'torch', 'numpy'} & set(sys.modules), 'imported'"
    )
    environment = {"PYTHONPATH": str(root / "src"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_console_script_lists_the_commands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in ([], ["--help"], ["-h"]):
        monkeypatch.setattr(sys, "argv", ["gafcnn", *words])
        command.run()
        printed = capsys.readouterr().out
        for name in COMMANDS:
            assert re.search(rf"^  {name} +\w.*  gafcnn {name}", printed, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", ["gafcnn", "trian"])
    with pytest.raises(SystemExit, match="no command trian"):
        command.run()
    monkeypatch.setattr(sys, "argv", ["gafcnn", "train", "seed=-1"])
    with pytest.raises(SystemExit, match="seed is -1"):
        command.run()
    assert sys.argv == ["gafcnn", "train", "seed=-1"]


@pytest.mark.parametrize(
    ("name", "words", "facts"),
    [
        ("evaluate", ["cost=2"], ["cost", "did you mean trading.cost_bps?"]),
        ("train", ["max_epochs=2"], ["max_epochs", "trainer.max_epochs"]),
        ("train", ["model=small_cnn", "model.network.dropot=1"], ["model.network.dropout"]),
        ("train", ["a.b.c=1"], ["a.b.c", "--cfg job"]),
        (
            "train",
            ["window=31m"],
            ["window has no option 31m", "did you mean window=30m", "window.span="],
        ),
        ("train", ["window=64x1h"], ["did you mean window=64x60m", "window.points="]),
        ("train", ["window=1h"], ["did you mean window=60m"]),
        ("train", ["split=5"], ["split has no option 5", "chronological"]),
        ("evaluate", ["costs=10", "study=x"], ["costs has no option 10", "costs.KEY=10"]),
        ("evaluate", ["trading=5", "study=x"], ["trading has no option 5"]),
        ("evaluate", ["baseline=none", "study=x"], ["baseline is 'none'", "null"]),
        ("train", ["costs=10"], ["there is no option costs", "--cfg job"]),
        ("train", ["window"], ["'window'"]),
        ("train", ["window=["], ["window=["]),
        ("train", ["window=15m,30m"], ["Ambiguous value", "window=15m,30m", "add -m"]),
        ("train", ["market.path=x.csv"], ["market.path", "add market=file"]),
        ("train", ["seed=${nothing}"], ["nothing"]),
        ("train", ["market=file"], ["market.path has no value", "market.path=VALUE"]),
        ("train", ["market=file", "market.path=gone.csv"], ["gone.csv"]),
        ("train", ["market=file", "market.path=^gone.csv"], ["^gone.csv"]),
        ("train", ["market=file", "market.columns.clse=Close"], ["did you mean", "columns.close?"]),
        ("evaluate", ["study=nowhere"], ["nowhere", "outputs"]),
        ("evaluate", [], ["study has no value"]),
        ("predict", ["study=x", "json=1"], ["json is 1"]),
        ("evaluate", ["predictions=x.parquet"], ["market=file"]),
        ("evaluate", ["predictions=gone.parquet", "market=simulated"], ["gone.parquet"]),
        ("evaluate", ["study=x", "market=simulated"], ["remove market=..."]),
        ("evaluate", ["predictions=[a/x.csv,b/x.csv]"], ["predictions", "different names"]),
        ("train", ["imports=gone.py"], ["gone.py"]),
        ("train", ["imports=[gone_module]"], ["gone_module"]),
    ],
)
def test_messages_have_what_was_found_and_what_to_do(
    refused: Run, tmp_path: Path, name: str, words: list[str], facts: list[str]
) -> None:
    message = refused(name, *words)
    for fact in facts:
        assert fact in message
    assert not list(tmp_path.rglob("*"))


NAMES = [
    "BINANCE_BTCUSDT, 60.csv", "Börse €.csv", "^GSPC.csv", "S&P 500.csv", "BTC~1.csv", "~1.csv",
    "a=b.csv", "[1] BTC.csv", "BTC (1).csv", "it's.csv", 'say "x".csv', "{x}.csv", "a\\b.csv",
    "#1;2!.csv", "2024", "plain.csv",
]  # fmt: skip


CONF = Path(__file__).parents[2] / "conf"


def value_of(word: str) -> Any:
    """What Hydra reads from a word; a list for a sweep."""
    override = OverridesParser.create().parse_override(quote_names(word, CONF))
    return [*override.sweep_iterator()] if override.is_sweep_override() else override.value()


def test_options_of_groups_are_names() -> None:
    for group in filter(Path.is_dir, CONF.iterdir()):
        assert value_of(f"{group.name}=30") == "30"
    assert value_of("seed=30") == 30


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_are_taken_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / name).touch()
    for key in ("market.path", "+market.path", "predictions"):
        assert value_of(f"{key}={name}") == name
        for path in (tmp_path / name, f"~/{name}"):
            assert value_of(f"{key}={path}") == str(tmp_path / name)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("klines, ü", "klines, ü"),
        ("klines, ü/*.csv", "klines, ü/*.csv"),
        ("klines, ü/^?.csv", "klines, ü/^?.csv"),
        ("~/klines, ü/**/*.csv", "{home}/klines, ü/**/*.csv"),
        ("'klines, ü/*.csv'", "klines, ü/*.csv"),
        ("['klines, ü/^1.csv',b]", ["klines, ü/^1.csv", "b"]),
        ("[a,b]", ["a", "b"]),
        ("a,b", ["a", "b"]),
        ("[" + "a," * 300 + "b]", ["a"] * 300 + ["b"]),  # too long for a name
        ("gone.csv", "gone.csv"),
        ("", ""),
        ("null", None),
    ],
)
def test_what_is_no_file_is_left_to_hydra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, read: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("klines, ü", "a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "klines, ü" / "^1.csv").touch()
    read = read.format(home=tmp_path) if isinstance(read, str) else read
    assert value_of(f"market.path={given}") == read


def test_a_sweep_and_names_of_columns(
    typed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[TrainSettings] = []
    monkeypatch.setattr(
        "gafcnn.app.train.train", lambda options: found.append(create(TrainSettings, "", options))
    )
    (tmp_path / NAMES[0]).touch()
    columns = {"close": "Adj Close", "open": "Open (USD)", "time": "<DATE>", "volume": "1"}
    words = [f"market.columns.{role}={name}" for role, name in columns.items()]
    words += ["market.columns.high=null", "market.columns.low='<LOW>'"]
    typed("train", "-m", "seed=1,2", "market=file", f"market.path={NAMES[0]}", *words)
    assert [settings.seed for settings in found] == [1, 2]
    for settings in found:
        assert settings.market.path == (Path(NAMES[0]),)
        assert settings.market.columns == columns | {"low": "<LOW>"}


def test_an_unexpected_error_is_named_and_a_full_error_is_the_exception_itself(
    refused: Run, typed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("1 / 0")

    monkeypatch.setattr("gafcnn.app.train.train", fail)
    message = refused("train")
    assert "ZeroDivisionError: 1 / 0" in message
    assert "HYDRA_FULL_ERROR=1" in message
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ZeroDivisionError):
        typed("train")


def test_an_unknown_flag_is_answered_with_the_form_of_options(
    typed: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        typed("train", "--window", "30m")
    assert ended.value.code == 2
    assert "KEY=VALUE" in capsys.readouterr().err.splitlines()[-1]
