"""What examples/ shows is trained and evaluated as its docstrings say, on a tiny market."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from gafcnn import load_run
from gafcnn.data.features import FIELDS, field
from gafcnn.errors import SamplesError
from gafcnn.models.networks import NETWORKS

Typed = Callable[..., str]

TINY = (
    *("market=simulated", "market.days=2", "images.size=16", "trainer.max_epochs=1"),
    *("trainer.accelerator=cpu", "callbacks.progress=null", "logger=csv"),
)
SMALL = ("model=small_cnn", "model.network.width=2")  # where the example brings no network
NAMES = ("own_label", "own_field", "own_network")


@pytest.fixture(autouse=True)
def _own_modules(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The examples can be imported, and leave nothing behind."""
    monkeypatch.syspath_prepend(root / "examples")
    held = [(table, dict(table)) for table in (FIELDS, NETWORKS)]
    yield
    for table, before in held:
        table.clear()
        table.update(before)
    for name in NAMES:
        sys.modules.pop(name, None)


def commands(root: Path, name: str) -> list[list[str]]:
    """The command lines of an example's docstring, without PYTHONPATH and python."""
    text = (root / "examples" / f"{name}.py").read_text().replace("\\\n", " ")
    lines = re.findall(r"^PYTHONPATH=examples python (.*)$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(root: Path, name: str) -> None:
    assert len((root / "examples" / f"{name}.py").read_text().splitlines()) < 30


@pytest.mark.parametrize(
    ("name", "evaluated"),
    [
        ("own_label", True),
        *((name, False) for name in ("own_field", "own_network")),  # a label is judged by, too
        *(
            pytest.param(name, True, marks=pytest.mark.slow)
            for name in ("own_field", "own_network")
        ),
    ],
)
def test_an_example_is_trained_and_evaluated_as_it_says(
    root: Path, tmp_path: Path, typed: Typed, refused: Typed, name: str, evaluated: bool
) -> None:
    (train, *training), (evaluate, *judging) = commands(root, name)
    assert (train, evaluate) == ("train.py", "evaluate.py")
    typed("train", *training, *TINY, *(() if name == "own_network" else SMALL))
    study = next(word for word in training if word.startswith("study="))
    run = load_run(tmp_path / "outputs" / study.removeprefix("study=") / "15m")
    assert run.metrics["epochs"] == 1
    if name == "own_label":
        _check_labels(run.predictions)

    assert judging[-1] == f"trust=[{name}]"
    told = refused("evaluate", *judging[:-1])
    assert told.endswith(f"if that code is your own, add trust=[{name}].")
    if evaluated:
        assert "look 1 at the test rows" in typed("evaluate", *judging, "judging.resamples=0")


def _check_labels(rows: pd.DataFrame) -> None:
    moved = rows["forward_return"].abs() > 20e-4
    assert rows["label"].isna().equals(~moved)
    assert (rows.loc[moved, "label"] == (rows.loc[moved, "forward_return"] > 0)).all()


def test_a_module_that_is_not_there_is_told(refused: Typed) -> None:
    assert refused("train", "imports=[nowhere]", *TINY, *SMALL) == (
        "error: imports=[nowhere], which cannot be imported (No module named 'nowhere'); expected "
        "modules that python finds; put the folder that it is in on PYTHONPATH, or correct its "
        "name."
    )


def test_a_field_of_anothers_name_is_refused() -> None:
    with pytest.raises(SamplesError, match="there is a field 'close' already, last price; expec"):
        field("close")(lambda candles: candles.close)
