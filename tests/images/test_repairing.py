from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.data.windows import Window
from gafcnn.errors import StoreError
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import open_store
from gafcnn.images.writing import build_series, build_store

Bars = Callable[..., pd.DataFrame]
Contents = Callable[[Path], dict[str, bytes]]
IMAGE = 2 * 64 * 64
ANEW = ": writing it anew"
LOST = "metadata.json is damaged, and with it the checksums of all chunks"


def cut(n: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, path.stat().st_size - n)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 9)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(*places: int) -> Callable[[Path], None]:
    def flipped(path: Path) -> None:
        content = bytearray(path.read_bytes())
        for place in places:
            content[place] ^= 1
        path.write_bytes(content)

    return flipped


FRAME = "the header and the length of images.npy"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"images.npy": flip(128)}, "chunk 1 of 4 of images.npy"),
        ({"images.npy": flip(-1, 128 + 250 * IMAGE)}, "chunks 3 and 4 of 4 of images.npy"),
        ({"images.npy": cut(3)}, f"chunk 4 of 4 of images.npy and {FRAME}"),
        ({"images.npy": cut(150 * IMAGE)}, f"chunks 2, 3 and 4 of 4 of images.npy and {FRAME}"),
        ({"images.npy": empty}, f"chunks 1, 2, 3 and 4 of 4 of images.npy and {FRAME}"),
        ({"images.npy": lengthen}, FRAME),
        ({"images.npy": flip(60)}, FRAME),
        ({"times.npy": flip(-1)}, "times.npy"),
        ({"times.npy": cut(8)}, "times.npy"),
        ({"times.npy": Path.unlink}, "times.npy"),
        (
            {"images.npy": flip(0, 128), "times.npy": empty},
            f"chunk 1 of 4 of images.npy and {FRAME} and times.npy",
        ),
    ],
)
def test_what_is_damaged_is_told_and_written_anew_and_nothing_else(
    damage: dict[str, Callable[[Path], None]],
    told: str,
    store: Path,
    whole: Path,
    bars: pd.DataFrame,
    window: Window,
    contents: Contents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    inodes = {path.name: path.stat().st_ino for path in store.iterdir()}
    for name, hurt in damage.items():
        hurt(store / name)
    build_store(store, bars, window)  # in the chunks it was written in, whatever is asked for
    assert caplog.messages == [f"{store} is damaged: writing {told} anew"]
    assert contents(store) == contents(whole)
    kept = {name for name, inode in inodes.items() if (store / name).stat().st_ino == inode}
    assert kept >= {"images.npy", "metadata.json"}


def test_only_the_images_of_a_damaged_chunk_are_made(
    store: Path, bars: pd.DataFrame, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    encode = ImageSpec.encode

    def counting(self: ImageSpec, series: np.ndarray, out: np.ndarray) -> np.ndarray:
        made.append(len(series))
        return encode(self, series, out)

    monkeypatch.setattr(ImageSpec, "encode", counting)
    flip(-1, 128 + 100 * IMAGE)(store / "images.npy")
    build_store(store, bars, window)
    assert made == [100, 41]


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("images.npy", Path.unlink, ["images.npy is missing"]),
        ("metadata.json", Path.unlink, []),
        ("metadata.json", empty, [LOST]),
        ("metadata.json", flip(100), [LOST]),
        ("metadata.json", cut(3), [LOST]),
    ],
)
def test_without_checksums_or_without_an_array_all_is_written_anew(
    name: str,
    damage: Callable[[Path], None],
    told: list[str],
    store: Path,
    whole: Path,
    bars: pd.DataFrame,
    window: Window,
    contents: Contents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(store / name)
    build_store(store, bars, window, chunk=100)
    assert caplog.messages == [f"{store}/{what}{ANEW}" for what in told]
    assert contents(store) == contents(whole)


def test_a_damaged_store_of_other_bars_is_not_repaired(
    store: Path,
    tmp_path: Path,
    walk: Bars,
    window: Window,
    contents: Contents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flip(128)(store / "images.npy")
    build_store(store, walk(400, seed=1), window, chunk=100)
    assert caplog.messages == [f"{store} holds images of other bars: writing it anew"]
    build_store(tmp_path / "fresh", walk(400, seed=1), window, chunk=100)
    assert contents(store) == contents(tmp_path / "fresh")


def test_a_store_whose_images_come_out_otherwise_today_is_written_anew(
    store: Path,
    tmp_path: Path,
    bars: pd.DataFrame,
    window: Window,
    contents: Contents,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a processor that rounds otherwise: half of these and half of those is no store."""
    encode = ImageSpec.encode

    def otherwise(self: ImageSpec, series: np.ndarray, out: np.ndarray) -> np.ndarray:
        return np.negative(encode(self, series, out), out=out)

    monkeypatch.setattr(ImageSpec, "encode", otherwise)
    flip(128)(store / "images.npy")
    build_store(store, bars, window, chunk=100)
    assert caplog.messages == [
        f"{store} is damaged: writing chunk 1 of 4 of images.npy anew",
        f"{store}/images.npy: what is made again is not what it was",
        f"{store}/images.npy is damaged in chunk 1 of 4{ANEW}",
    ]
    build_store(tmp_path / "fresh", bars, window, chunk=100)
    assert contents(store) == contents(tmp_path / "fresh")


def test_series_are_repaired_as_images_are(
    tmp_path: Path,
    bars: pd.DataFrame,
    window: Window,
    contents: Contents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = build_series(tmp_path, bars, window, ["close", "gap"], chunk=100).folder
    before = contents(store)
    flip(-1, 128)(store / "series.npy")
    build_series(store, bars, window, ["close", "gap"])
    told = "chunks 1 and 4 of 4 of series.npy"
    assert caplog.messages == [f"{store} is damaged: writing {told} anew"]
    assert contents(store) == before


# --- any damage -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, walk: Bars, window: Window) -> Path:
    """A store of 41 small images in chunks of 10."""
    folder = tmp_path_factory.mktemp("small")
    return build_store(folder, walk(100), window, ImageSpec(8), chunk=10).folder


FLIPS = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
DAMAGE = st.dictionaries(
    st.sampled_from(["images.npy", "times.npy", "metadata.json"]),
    st.lists(FLIPS, min_size=1, max_size=4),
    min_size=1,
)


def is_alike(folder: Path, other: Path) -> bool:
    """Whether two stores are the same bytes, but for spaces that mean nothing to JSON."""
    stores = [open_store(folder) for folder in (folder, other)]
    return (stores[0].metadata == stores[1].metadata) and all(
        (folder / name).read_bytes() == (other / name).read_bytes()
        for name in ("images.npy", "times.npy")
    )


def refusal(folder: Path) -> str | None:
    try:
        open_store(folder)
    except StoreError as error:
        return str(error)
    return None


@settings(max_examples=60)
@given(damage=DAMAGE, length=st.none() | st.floats(0, 1.2))
def test_any_bytes_may_be_others_and_any_length_another(
    damage: dict[str, list[tuple[float, int]]],
    length: float | None,
    small: Path,
    folder_in_memory: Callable[[], Path],
    walk: Bars,
    window: Window,
    contents: Contents,
) -> None:
    folder = folder_in_memory()
    shutil.copytree(small, folder, dirs_exist_ok=True)
    for name, flips in damage.items():
        content = bytearray((folder / name).read_bytes())
        for place, bits in flips:
            content[int(place * len(content))] ^= bits
        if length is not None:
            content = content.ljust(int(length * len(content)), b"\0")[: int(length * len(content))]
        (folder / name).write_bytes(content)
    hurt = [name for name in damage if contents(folder)[name] != contents(small)[name]]
    if told := refusal(folder):
        assert any(f"{folder / name} " in told for name in hurt), told
        assert "prepare.py" in told
    else:
        assert is_alike(folder, small)
    build_store(folder, walk(100), window, ImageSpec(8), chunk=10)
    assert is_alike(folder, small)
