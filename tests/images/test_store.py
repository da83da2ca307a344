from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.errors import StoreError
from gafcnn.images.encoding import encode
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import open_store
from gafcnn.images.writing import build_store

Bars = Callable[..., pd.DataFrame]
Contents = Callable[[Path], dict[str, bytes]]
FILES = {"images.npy", "times.npy", "metadata.json"}


# --- what a store holds ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "size", "dtype", "chunk"),
    [
        (("close",), 64, "int8", 4096),
        (("close", "volume"), 16, "float32", 7),
        (["high"], 9, "float16", 50),
    ],
)
def test_a_store_holds_the_image_of_every_decision_time(
    fields: Any,
    size: int,
    dtype: str,
    chunk: int,
    tmp_path: Path,
    walk: Bars,
    window: Window,
    contents: Contents,
) -> None:
    bars = walk(300)
    bars = bars.drop(index=bars.index[[90, 91, 200]])
    images = ImageSpec(size, dtype, fields)
    store = build_store(tmp_path, bars, window, images, chunk=chunk)
    rows = decision_rows(bars, "60min")
    series = WindowReader(bars, window, fields)(rows)
    np.testing.assert_array_equal(store.images, encode(series, size, dtype))
    np.testing.assert_array_equal(store.times, bars.index.to_numpy("datetime64[ns]")[rows])
    assert store.times.dtype == "datetime64[ns]"
    assert contents(tmp_path).keys() == FILES


def test_a_store_of_other_fields_and_kinds(
    tmp_path: Path, bars: pd.DataFrame, window: Window, pyts_image: ModuleType
) -> None:
    images = ImageSpec(8, "int8", ["body", "gap_sign"], ["recurrence", "gasf"], [0, 1], "fixed")
    store = build_store(tmp_path, bars, window, images, chunk=50)
    series = WindowReader(bars, window, images.fields)(decision_rows(bars, "60min"))
    assert store.images.shape[1:] == (4, 8, 8)
    np.testing.assert_array_equal(store.images, images.encode(series))


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
        "range": [-1, 1],
        "scaling": "per_field",
    }
    assert store.metadata["shape"] == [n, 2, 64, 64]
    assert store.metadata["chunk"] == 100
    assert len(store.metadata["checksums"]) == -(-n // 100)
    assert store.scale == store.metadata["scale"] == 1 / 127
    assert re.fullmatch("[0-9a-f]{64}", store.metadata["fingerprint"])


def test_an_int8_store_is_an_eighth_of_float64(
    whole: Path, bars: pd.DataFrame, contents: Contents
) -> None:
    """The system before this one kept float64 images: 13 GB a window, 25 GB in memory."""
    store = open_store(whole)
    as_float64 = store.images.size * np.dtype(np.float64).itemsize
    assert store.images.nbytes * 8 == as_float64
    overhead = sum(len(content) for content in contents(whole).values()) - store.images.nbytes
    assert overhead < 8 * len(store.times) + 4096


def test_float_images_need_no_scale(tmp_path: Path, bars: pd.DataFrame, window: Window) -> None:
    store = build_store(tmp_path, bars, window, ImageSpec(8, "float32"))
    assert store.scale == 1
    assert np.abs(store.images).max() <= 1 + 1e-6


def test_images_are_mapped_and_cannot_be_changed(whole: Path) -> None:
    store = open_store(whole)
    assert isinstance(store.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 0


def test_two_stores_of_the_same_bars_are_the_same_bytes(
    tmp_path: Path, whole: Path, bars: pd.DataFrame, window: Window, contents: Contents
) -> None:
    build_store(tmp_path, bars.copy(), window, chunk=100)
    assert contents(tmp_path) == contents(whole)


# --- a store is accepted whole, or not at all -----------------------------------------------------

AGAIN = "expected the file as it was written; give its train.py or prepare.py again, which writes"


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 3)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(*places: int) -> Callable[[Path], None]:
    def flipped(path: Path) -> None:
        content = bytearray(path.read_bytes())
        for place in places:
            content[place] ^= 1
        path.write_bytes(content)

    return flipped


def replace_by(content: str) -> Callable[[Path], None]:
    def replaced(path: Path) -> None:
        path.write_text(content)

    return replaced


@pytest.mark.parametrize(
    ("name", "damage", "how"),
    [
        ("images.npy", Path.unlink, "is missing"),
        ("images.npy", cut, "is not the array of int8 and shape (341, 2, 64, 64) it was"),
        ("images.npy", empty, "is not the array of int8 and shape (341, 2, 64, 64) it was"),
        ("images.npy", lengthen, "is not the array of int8 and shape (341, 2, 64, 64) it was"),
        ("images.npy", flip(60), "is not the array of int8 and shape (341, 2, 64, 64) it was"),
        ("images.npy", flip(128), "is damaged in chunk 1 of 4"),
        ("images.npy", flip(128 + 250 * 8192), "is damaged in chunk 3 of 4"),
        ("images.npy", flip(-1), "is damaged in chunk 4 of 4"),
        ("images.npy", flip(128, -1), "is damaged in chunks 1 and 4 of 4"),
        ("times.npy", Path.unlink, "is missing"),
        ("times.npy", cut, "is not the array of datetime64[ns] and shape (341,) it was"),
        ("times.npy", flip(-3), "is damaged"),
        *(
            ("metadata.json", damage, "is damaged, and with it the checksums of all chunks")
            for damage in (cut, empty, flip(100), replace_by('{"seal": 2745614147}'))
        ),
    ],
)
def test_a_damaged_store_is_refused_by_name(
    name: str, damage: Callable[[Path], None], how: str, store: Path
) -> None:
    damage(store / name)
    with pytest.raises(StoreError) as caught:
        open_store(store)
    what = "the store anew" if name == "metadata.json" else "anew only what is damaged"
    assert str(caught.value) == f"{store / name} {how}; {AGAIN} {what}."


def test_of_many_damaged_chunks_the_first_are_told(
    tmp_path: Path, bars: pd.DataFrame, window: Window
) -> None:
    store = build_store(tmp_path, bars, window, ImageSpec(8), chunk=10).folder
    flip(*range(128, 128 + 341 * 128, 1280))(store / "images.npy")
    with pytest.raises(StoreError, match="in chunks 1, 2, 3, 4 and 31 more of 35; expected"):
        open_store(store)


def test_a_store_without_metadata_is_not_finished(store: Path) -> None:
    (store / "metadata.json").unlink()
    with pytest.raises(StoreError) as caught:
        open_store(store)
    assert str(caught.value) == (
        f"{store} holds no finished store of images; "
        "expected metadata.json, which is written last; "
        "run python prepare.py, which writes the store or goes on where it was stopped."
    )


def test_the_files_are_plain_arrays_for_numpy(whole: Path) -> None:
    store = open_store(whole)
    for array, name in ((store.images, "images.npy"), (store.times, "times.npy")):
        plain = np.load(whole / name, allow_pickle=False)
        np.testing.assert_array_equal(plain, array)
        assert plain.dtype == array.dtype


def test_no_array_is_unpickled(store: Path) -> None:
    np.save(store / "times.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="times.npy is not the array of datetime64"):
        open_store(store)
