from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Callable
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest

from gafcnn.app.runs import (
    begun,
    claim,
    damaged_files,
    differences,
    digest,
    find_runs,
    finish,
    holding,
    is_complete,
    load_run,
    record,
    recorded,
    run_name,
)
from gafcnn.errors import ConfigError, DiskError, RunError

Disk = Callable[[int], Path]

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


def end(folder: Path) -> None:
    """Finish the run that was claimed, with a model and predictions of nothing."""
    leave(folder, "checkpoints/best.ckpt", "predictions.parquet")
    finish(folder, {"epochs": 1})


def test_a_run_is_free_then_gone_on_with_then_complete(tmp_path: Path) -> None:
    assert not is_complete(tmp_path, CONFIG)
    claim(tmp_path, CONFIG, overwrite=False)
    leave(tmp_path, "checkpoints/last.ckpt")
    assert not is_complete(tmp_path, CONFIG)
    end(tmp_path)
    assert is_complete(tmp_path, CONFIG)
    assert load_run(tmp_path).config == CONFIG


def test_another_run_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    claim(tmp_path, CONFIG, overwrite=False)
    end(tmp_path)
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
    end(tmp_path)
    assert load_run(tmp_path).config == other


def test_overwrite_throws_the_old_run_away_and_nothing_else(tmp_path: Path) -> None:
    claim(tmp_path, CONFIG, overwrite=False)
    end(tmp_path)
    leave(tmp_path, "checkpoints/last.ckpt", "notes.txt")
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


def trained(folder: Path, config: dict[str, Any]) -> None:
    claim(folder, config, overwrite=False)
    end(folder)


def test_runs_are_found_by_model_the_windows_by_span_and_the_baseline_last(tmp_path: Path) -> None:
    study = tmp_path / "bnb"
    spans = {"60m": "60min", "15m": "15min", "15m/seed=1": "15min", "4h": "4h"}
    for name, span in spans.items():
        trained(study / name, CONFIG | {"window": {"span": span}, "model": {"name": name}})
    trained(study / "boosted", CONFIG | {"window": {}, "model": {"trees": {}}})
    found = find_runs(study)
    assert list(found) == ["15m", "60m", "4h", "boosted"]
    assert [run.folder for run in found["15m"]] == [study / "15m", study / "15m/seed=1"]
    assert [found[name][0].is_baseline for name in found] == [False, False, False, True]


def test_a_study_without_runs_or_with_an_unfinished_one_is_named(tmp_path: Path) -> None:
    trained(tmp_path / "bnb" / "15m", CONFIG | {"window": {"span": "15min"}})
    with pytest.raises(
        RunError, match=r"there is no study bnbb in .*; expected one of bnb; type study"
    ):
        find_runs(tmp_path / "bnbb")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"study empty has no run; .* window=30m study=empty"):
        find_runs(tmp_path / "empty")
    claim(tmp_path / "bnb" / "30m", CONFIG, overwrite=False)
    with pytest.raises(RunError, match="is not finished"):
        find_runs(tmp_path / "bnb")


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    with holding(tmp_path):
        refused = told_by_another(tmp_path)
    assert f"RunError: process {os.getpid()} on {platform.node()} is at work in" in refused
    assert told_by_another(tmp_path) == "held"


def told_by_another(folder: Path) -> str:
    """What a process says that would hold the folder, a fork: to begin anew takes seconds."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads; they only rest
        child = os.fork()
    if child == 0:
        try:
            with holding(folder):
                os.write(writing, b"held")
        except RunError as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()


def test_the_ledger_counts_each_kind_of_event(tmp_path: Path) -> None:
    for event in ("train", "look", "train"):
        record(tmp_path, event, run="15m")
    assert recorded(tmp_path, "train") == 2
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["train", "look", "train"]
    with (tmp_path / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"event": "look", "ti')  # cut short by a crash
    record(tmp_path, "look")
    assert recorded(tmp_path, "look") == 3
    # what cannot be told may have been either
    assert recorded(tmp_path, "train") == 3


def test_a_training_that_is_given_again_is_one(tmp_path: Path) -> None:
    for name, config in (("15m", CONFIG), ("15m", CONFIG), ("30m", CONFIG)):
        record(tmp_path, "train", run=name, config=digest(config), resumed=name == "15m")
    assert recorded(tmp_path, "train") == 2
    moved = CONFIG | {"paths": {"outputs": "/elsewhere"}}
    record(tmp_path, "train", run="15m", config=digest(moved))
    assert recorded(tmp_path, "train") == 2
    record(tmp_path, "train", run="15m", config=digest(CONFIG | {"bars": "other"}))
    assert recorded(tmp_path, "train") == 3


def test_a_ledger_that_is_missing_counts_nothing(tmp_path: Path) -> None:
    assert recorded(tmp_path, "look") == 0


def test_no_damage_of_the_ledger_makes_a_look_less(tmp_path: Path) -> None:
    for event in ("train", "look", "look", "train"):
        record(tmp_path, event, run="15m")
    path = tmp_path / "ledger.jsonl"
    content = path.read_bytes()
    for place, bit in product(range(len(content)), range(8)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        assert recorded(tmp_path, "train") >= 2
        assert recorded(tmp_path, "look") >= 2


def test_a_line_that_only_half_had_room_is_no_line(tmp_path: Path, small_disk: Disk) -> None:
    disk = small_disk(4096)
    written = count()

    def fill() -> None:
        while True:
            record(disk, "look", rows=next(written))

    with pytest.raises(DiskError, match=r"ledger.jsonl needs \d+ bytes and its disk has"):
        fill()
    assert recorded(disk, "look") == next(written) - 1 > 20
    assert recorded(disk, "train") == 0


@pytest.mark.parametrize("name", ["evaluation", "ledger.jsonl"])
def test_a_run_takes_no_name_of_what_else_a_study_holds(name: str) -> None:
    with pytest.raises(ConfigError, match=f"a model called {name}; expected a name that is no"):
        run_name(name)


# --- damage ---------------------------------------------------------------------------------------


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 0x10
    path.write_bytes(content)


FILES = ("config.yaml", "metrics.json", "predictions.parquet", "checkpoints/best.ckpt")


@pytest.mark.parametrize("place", [0, 7, -1])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_of_a_finished_run_is_named(tmp_path: Path, name: str, place: int) -> None:
    trained(tmp_path, CONFIG)
    for file in FILES[2:]:
        (tmp_path / file).write_bytes(bytes(range(100)))
    finish(tmp_path, {"epochs": 1})
    assert damaged_files(tmp_path) == []
    flip(tmp_path / name, place)
    run = load_run(tmp_path)
    assert damaged_files(tmp_path) == [name]
    what = name.split(".")[0]
    with pytest.raises(
        RunError, match=rf"/{name} is not as it was written; .*(of the checkpoint|=true)"
    ):
        getattr(run, what if hasattr(run, what) else "checkpoint")


@pytest.mark.parametrize("name", ["config.yaml", "predictions.parquet", "checkpoints/best.ckpt"])
def test_a_missing_file_of_a_finished_run_is_named(tmp_path: Path, name: str) -> None:
    trained(tmp_path, CONFIG)
    (tmp_path / name).unlink()
    assert damaged_files(tmp_path) == [name]


@pytest.mark.parametrize("name", ["predictions.parquet", "metrics.json"])
def test_what_a_checkpoint_can_make_again_is_made_again(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    trained(tmp_path, CONFIG)
    flip(tmp_path / name, 1)
    assert not is_complete(tmp_path, CONFIG)
    assert (tmp_path / "metrics.json").is_file()  # nothing is touched before the folder is held
    claim(tmp_path, CONFIG, overwrite=False)
    assert caplog.messages == [f"{tmp_path}/{name} is not as it was written: making it anew"]
    with pytest.raises(RunError, match="is not finished"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["config.yaml", "checkpoints/best.ckpt"])
def test_what_none_can_make_again_is_refused_and_left(tmp_path: Path, name: str) -> None:
    trained(tmp_path, CONFIG)
    (tmp_path / name).write_text(("bars: abc\n" if name == "config.yaml" else "") + "{")
    with pytest.raises(RunError, match=f"/{name} (is not as it was written|cannot be read)"):
        is_complete(tmp_path, CONFIG)
    assert (tmp_path / "metrics.json").is_file()


def test_a_best_checkpoint_alone_holds_a_folder(tmp_path: Path) -> None:
    claim(tmp_path, CONFIG, overwrite=False)
    leave(tmp_path, "checkpoints/best.ckpt")  # killed before the last one was written
    with pytest.raises(RunError, match="holds another run"):
        is_complete(tmp_path, CONFIG | {"bars": "other"})


def test_yaml_that_would_run_is_not_run(tmp_path: Path) -> None:
    claim(tmp_path, CONFIG, overwrite=False)
    leave(tmp_path, "checkpoints/last.ckpt")
    runs = f"!!python/object/apply:os.mkdir [{tmp_path}/made]"
    (tmp_path / "config.yaml").write_text(f"bars: {runs}\n")
    with pytest.raises(RunError, match=r"config.yaml cannot be read \(could not determine a"):
        begun(tmp_path)
    assert not (tmp_path / "made").exists()


def test_what_killed_writers_left_goes_but_not_that_of_runs_below(tmp_path: Path) -> None:
    below = tmp_path / "seed=1"
    leave(tmp_path, "checkpoints/.last.ckpt.7.partial", ".config.yaml.7.partial")
    with holding(below):
        leave(below, ".config.yaml.8.partial")
        with holding(tmp_path):
            pass
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.partial")] == [
        "seed=1/.config.yaml.8.partial"
    ]
