from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gafcnn.errors import ImagesError, SamplesError, StoreError
from gafcnn.images import ImageStore, build_store, encode, open_store
from gafcnn.samples import Window, WindowReader, decision_rows

Bars = Callable[..., pd.DataFrame]
FILES = {"images.npy", "times.npy", "metadata.json"}


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a store's folder, the lock left out."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    stats = {name: (folder / name).stat() for name in FILES}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def start(action: str, folder: Path, bars: int, chunk: int = 4096) -> subprocess.Popen[str]:
    """A process that writes a store of `random_walk(bars)`, see writer.py."""
    script = Path(__file__).with_name("writer.py")
    return subprocess.Popen(
        [sys.executable, str(script), action, str(folder), str(bars), str(chunk)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def bars(walk: Bars) -> pd.DataFrame:
    return walk(400)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bars: pd.DataFrame, window: Window) -> Path:
    """A store of the bars in chunks of 100; to be copied, not changed."""
    return build_store(tmp_path_factory.mktemp("whole"), bars, window, chunk=100).folder


@pytest.fixture
def store(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store"))


# --- what a store holds ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "size", "dtype", "chunk"),
    [
        (("close",), 64, "int8", 4096),
        (("close", "volume"), 16, "float32", 7),
        (["high"], 9, "float16", 1),
    ],
)
def test_a_store_holds_the_image_of_every_decision_time(
    fields: Any, size: int, dtype: str, chunk: int, tmp_path: Path, walk: Bars, window: Window
) -> None:
    bars = walk(300)
    bars = bars.drop(index=bars.index[[90, 91, 200]])
    store = build_store(
        tmp_path, bars, window, fields=fields, size=size, dtype=dtype, chunk=chunk
    )
    rows = decision_rows(bars, "60min")
    series = WindowReader(bars, window, fields)(rows)
    np.testing.assert_array_equal(store.images, encode(series, size, dtype))
    np.testing.assert_array_equal(store.times, bars.index.to_numpy("datetime64[ns]")[rows])
    assert store.times.dtype == "datetime64[ns]"
    assert contents(tmp_path).keys() == FILES


def test_a_store_says_what_it_is(whole: Path, bars: pd.DataFrame) -> None:
    store = open_store(whole)
    n = len(bars) - 59
    assert store.metadata["spec"] == {
        "window": {
            "name": "15m",
            "span": "P0DT0H15M0S",
            "step": "P0DT0H1M0S",
            "lookback": "P0DT1H0M0S",
        },
        "size": 64,
        "dtype": "int8",
        "fields": ["close"],
        "kinds": ["gasf", "gadf"],
    }
    assert store.metadata["shape"] == [n, 2, 64, 64]
    assert store.metadata["chunk"] == 100
    assert len(store.metadata["checksums"]) == -(-n // 100)
    assert store.scale == store.metadata["scale"] == 1 / 127
    assert re.fullmatch("[0-9a-f]{64}", store.metadata["fingerprint"])


def test_an_int8_store_is_an_eighth_of_float64(whole: Path, bars: pd.DataFrame) -> None:
    """The system before this one kept float64 images: 13 GB a window, 25 GB in memory."""
    store = open_store(whole)
    as_float64 = store.images.size * np.dtype(np.float64).itemsize
    assert store.images.nbytes * 8 == as_float64
    overhead = sum(len(content) for content in contents(whole).values()) - store.images.nbytes
    assert overhead < 8 * len(store.times) + 4096


def test_float_images_need_no_scale(tmp_path: Path, bars: pd.DataFrame, window: Window) -> None:
    store = build_store(tmp_path, bars, window, size=8, dtype="float32")
    assert store.scale == 1
    assert np.abs(store.images).max() <= 1 + 1e-6


def test_images_are_mapped_and_cannot_be_changed(whole: Path) -> None:
    store = open_store(whole)
    assert isinstance(store.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 0


def test_two_stores_of_the_same_bars_are_the_same_bytes(
    tmp_path: Path, whole: Path, bars: pd.DataFrame, window: Window
) -> None:
    build_store(tmp_path, bars.copy(), window, chunk=100)
    assert contents(tmp_path) == contents(whole)


# --- whether it is written ------------------------------------------------------------------------


def test_a_store_of_the_same_bars_and_options_is_left_as_it_is(
    store: Path, bars: pd.DataFrame, window: Window
) -> None:
    before = identities(store)
    explicit = Window("15m", "15min", "1min", "60min")
    for asked, chunk in ((window, 100), (window, 4096), (explicit, 100)):
        build_store(store, bars, asked, chunk=chunk)
    assert identities(store) == before


@pytest.mark.parametrize(
    ("changed", "options", "what"),
    [
        (lambda bars: bars.iloc[:-1], {}, "bars"),
        (lambda bars: bars.assign(close=bars["close"] + 1e-9), {}, "bars"),
        (lambda bars: bars, {"size": 32}, "size"),
        (lambda bars: bars, {"dtype": "float32"}, "dtype"),
        (lambda bars: bars, {"fields": ["close", "high"]}, "fields"),
        (lambda bars: bars, {"window": Window("30m", "30min", None, "60min")}, "window"),
    ],
)
def test_a_store_of_others_is_replaced(
    changed: Callable[[pd.DataFrame], pd.DataFrame],
    options: dict[str, Any],
    what: str,
    store: Path,
    tmp_path: Path,
    bars: pd.DataFrame,
    window: Window,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = open_store(store)
    first = np.array(old.images[:5])
    asked = {"bars": changed(bars), "window": window} | options
    build_store(store, **asked)
    assert caplog.messages == [f"{store} holds images of other {what}: writing it anew"]
    build_store(tmp_path / "fresh", **asked)
    assert contents(store) == contents(tmp_path / "fresh")
    np.testing.assert_array_equal(old.images[:5], first)  # who has it open still reads the old one


# --- a store is accepted whole, or not at all -----------------------------------------------------

ANEW = "run python prepare.py again, which writes it anew, or delete the folder."


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(where: int) -> Callable[[Path], None]:
    def flipped(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[where] ^= 1
        path.write_bytes(content)

    return flipped


@pytest.mark.parametrize(
    ("name", "damage", "how"),
    [
        ("images.npy", Path.unlink, "is missing"),
        ("images.npy", cut, "is cut short, or no array of numbers"),
        ("images.npy", empty, "is cut short, or no array of numbers"),
        ("images.npy", lengthen, "is not of the shape, dtype and length that metadata.json says"),
        ("images.npy", flip(0), "is cut short, or no array of numbers"),
        ("images.npy", flip(128), "is damaged in chunk 1 of 4"),
        ("images.npy", flip(128 + 250 * 8192), "is damaged in chunk 3 of 4"),
        ("images.npy", flip(-1), "is damaged in chunk 4 of 4"),
        ("times.npy", Path.unlink, "is missing"),
        ("times.npy", cut, "is cut short, or no array of numbers"),
        ("times.npy", lengthen, "is not of the shape, dtype and length that metadata.json says"),
        ("times.npy", flip(-3), "is damaged"),
        ("metadata.json", cut, "is damaged"),
        ("metadata.json", empty, "is damaged"),
        ("metadata.json", flip(100), "is damaged"),
    ],
)
def test_a_damaged_store_is_refused_by_name_and_written_anew(
    name: str,
    damage: Callable[[Path], None],
    how: str,
    store: Path,
    whole: Path,
    bars: pd.DataFrame,
    window: Window,
) -> None:
    damage(store / name)
    with pytest.raises(StoreError) as caught:
        open_store(store)
    if name == "metadata.json" and how == "is damaged":
        assert not str(caught.value).endswith(".;")
    assert str(caught.value) == f"{store / name} {how}; expected the file as it was written; {ANEW}"
    build_store(store, bars, window, chunk=100)
    assert contents(store) == contents(whole)


def test_a_store_without_metadata_is_not_finished(store: Path) -> None:
    (store / "metadata.json").unlink()
    with pytest.raises(StoreError) as caught:
        open_store(store)
    assert str(caught.value) == (
        f"{store} holds no finished image store; expected metadata.json, which is written last; "
        "run python prepare.py, which writes the store or goes on where it was stopped."
    )


def test_no_byte_of_the_header_can_change_what_is_read(store: Path) -> None:
    path, images = store / "images.npy", np.array(open_store(store).images)
    for where in range(128):
        flip(where)(path)
        try:
            np.testing.assert_array_equal(open_store(store).images, images)
        except StoreError:
            pass
        flip(where)(path)


def test_no_array_is_unpickled(store: Path) -> None:
    np.save(store / "times.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match=r"times.npy is cut short, or no array of numbers"):
        open_store(store)


# --- writers that are killed, and writers that meet -----------------------------------------------


def test_a_writer_killed_at_any_moment_is_gone_on_with(
    tmp_path: Path, walk: Bars, window: Window
) -> None:
    """Killed before each renaming and removal of a file; nothing half-written is ever accepted."""
    dying = start("die", tmp_path / "dying", bars=400, chunk=100)
    assert dying.wait(timeout=120) == 0, dying.communicate()[1]
    bars = walk(400)
    whole = contents(build_store(tmp_path / "whole", bars, window, chunk=100).folder)
    moments = sorted((tmp_path / "dying").iterdir(), key=lambda path: int(path.name))
    assert len(moments) > 4 + 3  # four chunks, and images, times and metadata put in place
    for moment in moments:
        if (moment / "metadata.json").exists():
            open_store(moment)
        else:
            with pytest.raises(StoreError, match="holds no finished image store"):
                open_store(moment)
        build_store(moment, bars, window, chunk=100)
        assert contents(moment) == whole
