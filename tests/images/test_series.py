"""A store of series is written and trusted as one of images is, see test_store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.errors import DiskError, GafcnnError, ImagesError, StoreError
from gafcnn.images.store import open_series
from gafcnn.images.writing import build_series

Bars = Callable[..., pd.DataFrame]
Contents = Callable[[Path], dict[str, bytes]]
FIELDS = ["close", "gap"]


@pytest.fixture(scope="module")
def bars(walk: Bars) -> pd.DataFrame:
    bars = walk(400)
    return bars.drop(index=bars.index[[90, 91, 200]])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bars: pd.DataFrame, window: Window) -> Path:
    """A store of the bars in chunks of 100; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("whole")
    return build_series(folder, bars, window, FIELDS, chunk=100).folder


@pytest.fixture
def store(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store"))


def test_it_holds_what_every_window_is_read_from(
    whole: Path, bars: pd.DataFrame, window: Window, contents: Contents
) -> None:
    store, reader = open_series(whole), WindowReader(bars, window, FIELDS)
    assert isinstance(store.series, np.memmap)
    assert store.series.dtype == np.float64
    np.testing.assert_array_equal(store.times, bars.index.to_numpy("datetime64[ns]"))
    rows = decision_rows(bars, window.lookback)
    series = store.series[rows[:, None] + reader.offsets].transpose(0, 2, 1)
    np.testing.assert_array_equal(series, reader(rows))
    assert contents(whole).keys() == {"series.npy", "times.npy", "metadata.json"}
    assert store.metadata["spec"]["fields"] == FIELDS
    assert len(store.metadata["checksums"]) == 4


def test_the_data_set_of_the_paper_takes_less_than_10_megabytes(
    tmp_path: Path, walk: Bars, window: Window, contents: Contents
) -> None:
    bars = walk(207_360 + 59)
    build_series(tmp_path, bars, window)
    assert len(decision_rows(bars, window.lookback)) == 207_360
    assert sum(len(content) for content in contents(tmp_path).values()) < 10e6


def test_a_store_of_the_same_is_left_as_it_is(
    store: Path, bars: pd.DataFrame, window: Window
) -> None:
    before = {path.name: path.stat().st_ino for path in store.iterdir()}
    build_series(store, bars, window, FIELDS, chunk=7)
    assert {path.name: path.stat().st_ino for path in store.iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "options", "what"),
    [
        (lambda bars: bars.iloc[:-1], {}, "bars"),
        (lambda bars: bars, {"fields": ["close"]}, "fields"),
        (lambda bars: bars, {"window": Window("15m", "30min", "2min")}, "window"),
    ],
)
def test_a_store_of_others_is_told_and_replaced(
    changed: Callable[[pd.DataFrame], pd.DataFrame],
    options: dict[str, Any],
    what: str,
    store: Path,
    tmp_path: Path,
    bars: pd.DataFrame,
    window: Window,
    caplog: pytest.LogCaptureFixture,
    contents: Contents,
) -> None:
    old = open_series(store)
    first = np.array(old.series[100:110])
    asked = {"bars": changed(bars), "window": window, "fields": FIELDS} | options
    build_series(store, **asked)
    assert caplog.messages == [f"{store} holds series of other {what}: writing it anew"]
    build_series(tmp_path / "fresh", **asked)
    assert contents(store) == contents(tmp_path / "fresh")
    np.testing.assert_array_equal(old.series[100:110], first)


def flip(where: int) -> Callable[[Path], None]:
    def flipped(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[where] ^= 1
        path.write_bytes(content)

    return flipped


@pytest.mark.parametrize(
    ("name", "damage", "how"),
    [
        ("series.npy", Path.unlink, "is missing"),
        ("metadata.json", flip(100), "is damaged, and with it the checksums of all chunks"),
    ],
)
def test_a_damaged_store_is_refused_by_name_told_and_written_anew(
    name: str,
    damage: Callable[[Path], None],
    how: str,
    store: Path,
    whole: Path,
    bars: pd.DataFrame,
    window: Window,
    caplog: pytest.LogCaptureFixture,
    contents: Contents,
) -> None:
    damage(store / name)
    with pytest.raises(StoreError) as caught:
        open_series(store)
    assert str(caught.value).startswith(f"{store / name} {how}; expected the file as it was")
    build_series(store, bars, window, FIELDS, chunk=100)
    assert caplog.messages == [f"{store / name} {how}: writing it anew"]
    assert contents(store) == contents(whole)


def test_a_disk_without_room_is_told_before_the_work(
    tmp_path: Path, bars: pd.DataFrame, window: Window
) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DiskError) as caught:
            build_series(tmp_path, bars, window, FIELDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told = str(caught.value)
    assert told.startswith(f"{tmp_path}/series.npy.partial needs 6,480 bytes and its disk has ")
    assert told.endswith(
        "(File too large); expected room for all series; "
        "free some, or set paths.data to another disk."
    )


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"window": Window("x", "8h", None, "8h")}, "the longest gap-free stretch is 199 bars"),
        ({"window": Window("x", "15min", "2min")}, "window.span is 15min"),
        ({"fields": ["closs"]}, "the field 'closs' is unknown"),
    ],
)
def test_what_cannot_be_built_leaves_no_trace(
    options: dict[str, Any], found: str, tmp_path: Path, bars: pd.DataFrame, window: Window
) -> None:
    with pytest.raises(GafcnnError, match=f"^{found}"):
        build_series(tmp_path / "store", **({"bars": bars, "window": window} | options))
    assert not (tmp_path / "store").exists()


def test_series_that_make_no_image_are_refused_where_a_window_shows_them(
    tmp_path: Path, walk: Bars, window: Window
) -> None:
    bars = walk(400)
    bars.iloc[40, bars.columns.get_loc("close")] = np.inf  # before any window of 15 bars
    build_series(tmp_path / "store", bars, window)
    bars.iloc[50, bars.columns.get_loc("close")] = np.inf
    with pytest.raises(ImagesError) as caught:
        build_series(tmp_path / "other", bars, window)
    assert str(caught.value).startswith("point 5 of field 0 of sample 0 is inf; expected finite")
    assert not (tmp_path / "other").exists()
