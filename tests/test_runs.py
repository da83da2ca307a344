from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gafcnn.errors import RunError
from gafcnn.runs import (
    claim,
    differences,
    find_runs,
    holding,
    is_complete,
    load_run,
    record,
    recorded,
    run_name,
)

CONFIG: dict[str, Any] = {
    "window": {"name": "30m"},
    "model": {"lr": 1e-4, "network": {"freeze": ["layer1"]}},
    "paths": {"outputs": "outputs"},
    "bars": "abc",
}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "30m"),
        ({"seed": 1}, "30m/seed=1"),
        ({"fold": 0}, "30m/fold=0"),
        ({"seed": 2, "fold": 3}, "30m/seed=2/fold=3"),
        ({"swept": ["model.lr=0.1", "model=a/b"]}, "30m/model.lr=0.1/model=a_b"),
    ],
)
def test_a_run_is_named_by_what_it_is(given: dict[str, Any], name: str) -> None:
    assert run_name("30m", **given) == name


def leave(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def test_a_run_is_free_then_gone_on_with_then_complete(tmp_path: Path) -> None:
    assert not is_complete(tmp_path, CONFIG)
    claim(tmp_path, CONFIG, overwrite=False)
    leave(tmp_path, "checkpoints/last.ckpt")
    assert not is_complete(tmp_path, CONFIG)
    leave(tmp_path, "metrics.json")
    assert is_complete(tmp_path, CONFIG)
    assert load_run(tmp_path).config == CONFIG


def test_another_run_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    claim(tmp_path, CONFIG, overwrite=False)
    leave(tmp_path, "metrics.json")
    other = CONFIG | {"model": {"lr": 1e-3, "network": {"freeze": ["layer1"]}}}
    with pytest.raises(RunError) as caught:
        is_complete(tmp_path, other)
    told = str(caught.value)
    assert "model.lr: 0.0001 -> 0.001" in told
    assert "study=..." in told
    assert "overwrite=true" in told


def test_a_start_that_never_reached_a_checkpoint_holds_no_folder(tmp_path: Path) -> None:
    claim(tmp_path, CONFIG, overwrite=False)
    other = CONFIG | {"bars": "other"}
    assert not is_complete(tmp_path, other)
    claim(tmp_path, other, overwrite=False)
    leave(tmp_path, "metrics.json")
    assert load_run(tmp_path).config == other


def test_overwrite_throws_the_old_run_away_and_nothing_else(tmp_path: Path) -> None:
    claim(tmp_path, CONFIG, overwrite=False)
    leave(tmp_path, "metrics.json", "checkpoints/last.ckpt", "notes.txt")
    claim(tmp_path, CONFIG | {"bars": "other"}, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "notes.txt"]


def test_where_and_how_a_run_is_watched_makes_no_other_run() -> None:
    moved = CONFIG | {"paths": {"outputs": "/elsewhere"}, "logger": {"csv": None}}
    assert differences(CONFIG, moved) == []
    assert differences(CONFIG, CONFIG | {"bars": "xyz"}) == ["bars: abc -> xyz"]
    shorter = {"model": {"lr": 1e-4}}
    assert differences({"model": {"lr": 1e-4, "width": 8}}, shorter) == ["model.width: 8 -> None"]


def test_what_is_no_run_and_what_is_not_finished_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        load_run(tmp_path)
    claim(tmp_path, CONFIG, overwrite=False)
    with pytest.raises(RunError, match=r"is not finished.*start the command that began it again"):
        load_run(tmp_path)


def finish(folder: Path, config: dict[str, Any]) -> None:
    claim(folder, config, overwrite=False)
    (folder / "metrics.json").write_text("{}")


def test_runs_are_found_by_model_the_windows_by_span_and_the_baseline_last(tmp_path: Path) -> None:
    study = tmp_path / "bnb"
    spans = {"60m": "60min", "15m": "15min", "15m/seed=1": "15min", "4h": "4h"}
    for name, span in spans.items():
        finish(study / name, CONFIG | {"window": {"span": span}, "model": {"name": name}})
    finish(study / "boosted", CONFIG | {"window": {}, "model": {"trees": {}}})
    found = find_runs(study)
    assert list(found) == ["15m", "60m", "4h", "boosted"]
    assert [run.folder for run in found["15m"]] == [study / "15m", study / "15m/seed=1"]
    assert [found[name][0].is_baseline for name in found] == [False, False, False, True]


def test_a_study_without_runs_or_with_an_unfinished_one_is_named(tmp_path: Path) -> None:
    finish(tmp_path / "bnb" / "15m", CONFIG | {"window": {"span": "15min"}})
    with pytest.raises(RunError, match=r"there is no study bnbb in .*; expected one of bnb;"):
        find_runs(tmp_path / "bnbb")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"study empty has no run; .* window=30m study=empty"):
        find_runs(tmp_path / "empty")
    claim(tmp_path / "bnb" / "30m", CONFIG, overwrite=False)
    with pytest.raises(RunError, match="is not finished"):
        find_runs(tmp_path / "bnb")


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    second = (
        "from pathlib import Path; from gafcnn.runs import holding\n"
        f"with holding(Path({str(tmp_path)!r})): pass"
    )
    with holding(tmp_path):
        refused = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"RunError: process {os.getpid()} on {platform.node()} is at work in" in refused.stderr
    allowed = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True)
    assert allowed.returncode == 0


def test_the_ledger_counts_each_kind_of_event(tmp_path: Path) -> None:
    for event in ("train", "look", "train"):
        record(tmp_path, event, run="15m")
    assert recorded(tmp_path, "train") == 2
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["train", "look", "train"]
    with (tmp_path / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"event": "look", "ti\n')  # cut short by a crash
    record(tmp_path, "look")
    assert recorded(tmp_path, "look") == 3
