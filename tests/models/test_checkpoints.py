from __future__ import annotations

import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.errors import DiskError, LearningError
from gafcnn.models.module import load_plain
from gafcnn.models.training import AtomicCheckpoints

STATE = {
    "epoch": 3,
    "state_dict": {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.tensor(7)},
    "callbacks": {"stopping": {"wait": 2, "best": torch.tensor(0.5)}},
}


class Hostile:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "last.ckpt"
    AtomicCheckpoints().save_checkpoint(STATE, path)
    return path


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_checkpoint_is_read_as_written_without_leftovers(stored: Path) -> None:
    assert same(load_plain(stored), STATE)
    assert same(AtomicCheckpoints().load_checkpoint(stored), STATE)
    assert [path.name for path in stored.parent.iterdir()] == ["last.ckpt"]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_detected_or_harmless(stored: Path, data: st.DataObject) -> None:
    content = bytearray(stored.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    damaged = stored.with_name("damaged.ckpt")
    damaged.write_bytes(content)
    loaded = STATE
    with suppress(LearningError):
        loaded = load_plain(damaged)
    damaged.unlink()
    assert same(loaded, STATE)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_rejected(stored: Path, tmp_path: Path, share: float) -> None:
    content = stored.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: int(share * len(content))])
    with pytest.raises(LearningError, match=r"cut.ckpt cannot be read"):
        load_plain(tmp_path / "cut.ckpt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LearningError, match=r"none.ckpt.*No such file"):
        load_plain(tmp_path / "none.ckpt")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, *, zipped: bool) -> None:
    path, created = tmp_path / "evil.ckpt", tmp_path / "created"
    torch.save({"state_dict": Hostile(created)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(LearningError, match=r"evil.ckpt cannot be read"):
        load_plain(path)
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Hostile(created)))
    with pytest.raises(LearningError, match=r"plain.pkl cannot be read"):
        load_plain(plain)
    assert not created.exists()


def test_another_zip_file_is_rejected(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.ckpt", "w") as archive:
        archive.writestr("bars.csv", "1,2,3")
    with pytest.raises(LearningError, match=r"other.ckpt cannot be read"):
        load_plain(tmp_path / "other.ckpt")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, small_disk: Any) -> None:
    folder = small_disk(100_000)
    AtomicCheckpoints().save_checkpoint(STATE, folder / "last.ckpt")
    with pytest.raises(DiskError, match=r"last.ckpt"):
        AtomicCheckpoints().save_checkpoint({"a": torch.zeros(30_000)}, folder / "last.ckpt")
    assert same(load_plain(folder / "last.ckpt"), STATE)
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
