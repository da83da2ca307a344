"""The folder of a run: complete, resumed, refused, damaged, locked."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gafcnn.app.runs import (
    claim,
    damaged_files,
    differences,
    find_runs,
    hold,
    is_complete,
    load_run,
    read_config,
    write_metrics,
)
from gafcnn.errors import RunError

CONFIG: dict[str, Any] = {
    "window": {"name": "30m", "span": "30min"},
    "model": {"kind": "gaf", "lr": 1e-4, "network": {"freeze": ["layer1"]}},
    "split": {"fold": None},
    "paths": {"outputs": "outputs"},
    "bars": {"BNB": "abc"},
}
CHECKED = ("config.yaml", "predictions.parquet", "checkpoints/best.ckpt")


def leave(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def complete(folder: Path, config: dict[str, Any] = CONFIG) -> None:
    """A complete run without content."""
    claim(folder, config, overwrite=False)
    leave(folder, "checkpoints/best.ckpt", "predictions.parquet")
    write_metrics(folder, {"epochs": 1}, CHECKED)


def test_a_folder_is_free_then_resumed_then_complete(tmp_path: Path) -> None:
    assert not is_complete(tmp_path, CONFIG)
    claim(tmp_path, CONFIG, overwrite=False)
    leave(tmp_path, "checkpoints/last.ckpt")
    assert not is_complete(tmp_path, CONFIG)
    complete(tmp_path)
    assert is_complete(tmp_path, CONFIG)
    assert load_run(tmp_path).config == CONFIG


def test_another_run_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    complete(tmp_path)
    other = CONFIG | {"model": CONFIG["model"] | {"lr": 1e-3}}
    with pytest.raises(RunError) as caught:
        is_complete(tmp_path, other)
    for fact in ("model.lr: 0.0001 -> 0.001", "study=...", "overwrite=true"):
        assert fact in str(caught.value)
    assert damaged_files(tmp_path) == []


def test_a_best_checkpoint_marks_a_run_and_a_config_alone_does_not(tmp_path: Path) -> None:
    claim(tmp_path, CONFIG, overwrite=False)
    other = CONFIG | {"bars": {"BNB": "other"}}
    assert not is_complete(tmp_path, other)
    leave(tmp_path, "checkpoints/best.ckpt")  # killed before the last one was written
    with pytest.raises(RunError, match="different run"):
        is_complete(tmp_path, other)


def test_overwrite_deletes_the_old_run_and_nothing_else(tmp_path: Path) -> None:
    complete(tmp_path)
    leave(tmp_path, "checkpoints/last.ckpt", "csv/metrics.csv", "notes.txt")
    claim(tmp_path, CONFIG | {"bars": {"BNB": "other"}}, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "notes.txt"]


def test_where_and_how_a_run_is_computed_makes_no_difference() -> None:
    moved = CONFIG | {"paths": {"outputs": "/elsewhere"}, "logger": {"csv": None}}
    assert differences(CONFIG, moved) == []
    other = CONFIG | {"bars": {"BNB": "xyz"}}
    assert differences(CONFIG, other) == ["bars.BNB: abc -> xyz"]
    shorter = {"model": {"lr": 1e-4}}
    assert differences({"model": {"lr": 1e-4, "width": 8}}, shorter) == ["model.width: 8 -> None"]


def test_a_run_is_loaded_by_its_folder_or_one_above_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run"):
        load_run(tmp_path)
    claim(tmp_path / "30m" / "seed=0", CONFIG, overwrite=False)
    with pytest.raises(RunError, match="not complete"):
        load_run(tmp_path)
    complete(tmp_path / "30m" / "seed=0")
    assert load_run(tmp_path).folder == load_run(tmp_path / "30m/seed=0").folder
    complete(tmp_path / "30m" / "seed=1")
    with pytest.raises(RunError, match="2 runs"):
        load_run(tmp_path / "30m")


def test_runs_are_found_by_model_windows_by_span_and_the_baseline_last(tmp_path: Path) -> None:
    study = tmp_path / "bnb"
    for name, span in {"60m": "60min", "15m": "15min", "4h": "4h"}.items():
        complete(study / name / "seed=0", CONFIG | {"window": {"span": span}})
    complete(study / "15m" / "seed=1", CONFIG | {"window": {"span": "15min"}})
    complete(study / "boosted" / "seed=0", CONFIG | {"model": {"kind": "trees"}})
    # trees that were not finished are grown again
    claim(study / "boosted" / "seed=1", CONFIG | {"model": {"kind": "trees"}}, overwrite=False)
    found = find_runs(study)
    assert list(found) == ["15m", "60m", "4h", "boosted"]
    assert [run.folder.name for run in found["15m"]] == ["seed=0", "seed=1"]
    assert [found[name][0].is_baseline for name in found] == [False, False, False, True]
    assert len(found["boosted"]) == 1


def test_a_study_without_complete_runs_is_named(tmp_path: Path) -> None:
    complete(tmp_path / "bnb" / "15m" / "seed=0")
    with pytest.raises(RunError, match=r"no study bnbb in .* did you mean bnb\?"):
        find_runs(tmp_path / "bnbb")
    (tmp_path / "outputs" / "demo").mkdir(parents=True)
    with pytest.raises(RunError, match=r"did you mean \S+outputs/demo\?"):
        find_runs(tmp_path / "demo")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no runs in .*empty"):
        find_runs(tmp_path / "empty")
    claim(tmp_path / "bnb" / "30m" / "seed=0", CONFIG, overwrite=False)
    with pytest.raises(RunError, match="30m.*not complete"):
        find_runs(tmp_path / "bnb")


def test_a_second_process_is_kept_out(tmp_path: Path, root: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gafcnn.app.runs import hold\n"
        "from gafcnn.errors import RunError\n"
        "try:\n    with hold(Path(sys.argv[1])): print('held')\n"
        "except RunError as error: print(error)"
    )

    def another() -> str:
        return subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env={"PYTHONPATH": str(root / "src")}, capture_output=True, text=True, check=True,
            timeout=60,
        ).stdout  # fmt: skip

    with hold(tmp_path):
        assert f"process {os.getpid()} on {platform.node()}" in another()
    assert another() == "held\n"


def test_partial_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    leave(tmp_path, "checkpoints/.last.ckpt.7.partial", ".config.yaml.7.partial", "notes.txt")
    with hold(tmp_path):
        pass
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()} - {".lock"}
    assert left == {"notes.txt"}


# --- damage ---------------------------------------------------------------------------------------


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 7, -1])
@pytest.mark.parametrize("name", [*CHECKED, "metrics.json"])
def test_a_flipped_bit_of_a_complete_run_is_found(tmp_path: Path, name: str, place: int) -> None:
    complete(tmp_path)
    for file in CHECKED[1:]:
        (tmp_path / file).write_bytes(bytes(range(100)))
    write_metrics(tmp_path, {"epochs": 1}, CHECKED)
    assert damaged_files(tmp_path) == []
    flip(tmp_path / name, place)
    assert damaged_files(tmp_path) == [name]
    run, attribute = load_run(tmp_path), name.split(".")[0]
    with pytest.raises(RunError, match=rf"/{name} is damaged"):
        getattr(run, attribute if hasattr(type(run), attribute) else "checkpoint")
    if name != "metrics.json":
        (tmp_path / name).unlink()
        assert damaged_files(tmp_path) == [name]


@pytest.mark.parametrize("name", [*CHECKED, "metrics.json"])
def test_a_damaged_run_is_refused_and_left(tmp_path: Path, name: str) -> None:
    complete(tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(RunError, match=f"/{name}"):
        is_complete(tmp_path, CONFIG)
    assert (tmp_path / "metrics.json").is_file()


@pytest.mark.parametrize(
    "content",
    [
        "!!python/object/apply:os.system ['touch ran']", "label: !!python/name:os.system",
        "a: !!binary aGk=", "a: 2024-01-01", "a: [", "[" * 2000, "- a", "",
    ],
)  # fmt: skip
def test_a_config_is_plain_data_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(content)
    with pytest.raises(RunError, match=r"config\.yaml cannot be read"):
        read_config(tmp_path)
    assert not Path("ran").exists()
