from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.errors import DiskError, LearningError
from gafcnn.models.checkpoints import WholeCheckpoints, load_plain

STATE = {
    "epoch": 3,
    "state_dict": {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.tensor(7)},
    "callbacks": {"stopping": {"wait": 2, "best": torch.tensor(0.5)}},
}
WAY_OUT = "train the run anew with overwrite=true"


class Runs:
    """What would make a folder when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "last.ckpt"
    WholeCheckpoints().save_checkpoint(STATE, path)
    return path


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_checkpoint_comes_back_as_it_was_and_nothing_is_left_beside_it(kept: Path) -> None:
    assert same(load_plain(kept, WAY_OUT), STATE)
    assert same(WholeCheckpoints().load_checkpoint(kept), STATE)
    assert [path.name for path in kept.parent.iterdir()] == ["last.ckpt"]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_found_or_changes_nothing(kept: Path, data: st.DataObject) -> None:
    content = bytearray(kept.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    damaged = kept.with_name("damaged.ckpt")
    damaged.write_bytes(content)
    loaded, told = STATE, ""
    try:
        loaded = load_plain(damaged, WAY_OUT)
    except LearningError as error:
        told = str(error)
    damaged.unlink()
    assert same(loaded, STATE)
    assert not told or re.fullmatch(rf"{damaged} cannot be read \(.+\); .+; {WAY_OUT}\.", told)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_refused(kept: Path, tmp_path: Path, share: float) -> None:
    content = kept.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: int(share * len(content))])
    with pytest.raises(LearningError, match=r"cut.ckpt cannot be read"):
        load_plain(tmp_path / "cut.ckpt", WAY_OUT)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LearningError, match=r"none.ckpt cannot be read .*No such file"):
        load_plain(tmp_path / "none.ckpt", WAY_OUT)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_would_run_code_runs_none(tmp_path: Path, *, zipped: bool) -> None:
    path, made = tmp_path / "evil.ckpt", tmp_path / "made"
    torch.save({"state_dict": Runs(made)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(LearningError, match=r"evil.ckpt cannot be read \(.*; expected tensors and"):
        load_plain(path, WAY_OUT)
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Runs(made)))
    with pytest.raises(LearningError, match=r"plain.pkl cannot be read"):
        load_plain(plain, WAY_OUT)
    assert not made.exists()


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.ckpt", "w") as archive:
        archive.writestr("bars.csv", "1,2,3")
    with pytest.raises(LearningError, match=r"other.ckpt cannot be read"):
        load_plain(tmp_path / "other.ckpt", WAY_OUT)


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path: Path, small_disk: Any) -> None:
    folder = small_disk(100_000)
    WholeCheckpoints().save_checkpoint(STATE, folder / "last.ckpt")
    with pytest.raises(DiskError, match=r"last.ckpt needs 1\d\d,\d\d\d bytes and its disk has "):
        WholeCheckpoints().save_checkpoint({"a": torch.zeros(30_000)}, folder / "last.ckpt")
    assert same(load_plain(folder / "last.ckpt", WAY_OUT), STATE)
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
