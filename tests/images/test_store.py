from __future__ import annotations

import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.errors import DiskError, GafcnnError, ImagesError, StoreError
from gafcnn.images import ImageSpec, build_store, check_room, encode, open_store
from gafcnn.samples import Window, WindowReader, decision_rows

Bars = Callable[..., pd.DataFrame]
FILES = {"images.npy", "times.npy", "metadata.json"}


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a store's folder, the lock and who holds it left out."""
    files = (path for path in folder.iterdir() if not path.name.startswith(".lock"))
    return {path.name: path.read_bytes() for path in files}


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    stats = {name: (folder / name).stat() for name in FILES}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


@contextmanager
def start(
    action: str, folder: Path, bars: int, chunk: int = 4096
) -> Iterator[subprocess.Popen[str]]:
    """A process that writes a store of `random_walk(bars)`, see writer.py; ended with the block."""
    script = Path(__file__).with_name("writer.py")
    with subprocess.Popen(
        [sys.executable, str(script), action, str(folder), str(bars), str(chunk)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(stream: IO[str] | None) -> str:
    """The next line that a process says."""
    assert stream is not None
    return stream.readline().rstrip()


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
        (["high"], 9, "float16", 50),
    ],
)
def test_a_store_holds_the_image_of_every_decision_time(
    fields: Any, size: int, dtype: str, chunk: int, tmp_path: Path, walk: Bars, window: Window
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


def test_an_int8_store_is_an_eighth_of_float64(whole: Path, bars: pd.DataFrame) -> None:
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
        (lambda bars: bars, {"images": ImageSpec(32)}, "size"),
        (lambda bars: bars, {"images": ImageSpec(dtype="float32")}, "dtype"),
        (lambda bars: bars, {"images": ImageSpec(fields=["close", "high"])}, "fields"),
        (lambda bars: bars, {"images": ImageSpec(kinds=["gadf", "gasf"])}, "kinds"),
        (
            lambda bars: bars,
            {"images": ImageSpec(range=[0, 1], scaling="fixed")},
            "range and scaling",
        ),
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
    os.truncate(path, path.stat().st_size - 3)


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
        ("images.npy", cut, "is not the array of int8 and shape (341, 2, 64, 64) it was"),
        ("images.npy", empty, "is not the array of int8 and shape (341, 2, 64, 64) it was"),
        ("images.npy", lengthen, "is not the array of int8 and shape (341, 2, 64, 64) it was"),
        ("images.npy", flip(60), "is not the array of int8 and shape (341, 2, 64, 64) it was"),
        ("images.npy", flip(128), "is damaged in chunk 1 of 4"),
        ("images.npy", flip(128 + 250 * 8192), "is damaged in chunk 3 of 4"),
        ("images.npy", flip(-1), "is damaged in chunk 4 of 4"),
        ("times.npy", Path.unlink, "is missing"),
        ("times.npy", cut, "is not the array of datetime64[ns] and shape (341,) it was"),
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
    assert str(caught.value) == f"{store / name} {how}; expected the file as it was written; {ANEW}"
    build_store(store, bars, window, chunk=100)
    assert contents(store) == contents(whole)


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


# --- writers that are killed, and writers that meet -----------------------------------------------


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, walk: Bars, window: Window) -> Path:
    """The store that those who were killed had begun to replace."""
    return build_store(tmp_path_factory.mktemp("old"), walk(400, seed=1), window).folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What writers left who were killed before the first, second, ... change of a file's name."""
    folder = tmp_path_factory.mktemp("killed")
    with start("die", folder, bars=400, chunk=100) as writer:
        _, told = writer.communicate(timeout=120)
    assert writer.returncode == 0, told
    return sorted(folder.iterdir(), key=lambda path: int(path.name))


def recorded(folder: Path) -> int:
    journal = folder / "progress.json"
    return len(json.loads(journal.read_text())["checksums"]) if journal.exists() else 0


def test_the_old_store_stands_until_the_new_one_is_on_disk(
    killed: list[Path], old: Path, whole: Path
) -> None:
    assert {recorded(folder) for folder in killed} == {0, 1, 2, 3, 4}
    for folder in killed:
        held = contents(folder).items()
        if (folder / "metadata.json").exists():
            assert held >= contents(old).items() or held >= contents(whole).items()
        else:
            assert recorded(folder) == 4
            with pytest.raises(StoreError, match="holds no finished store of images"):
                open_store(folder)


def test_a_writer_killed_at_any_moment_is_gone_on_with(
    killed: list[Path],
    tmp_path: Path,
    whole: Path,
    bars: pd.DataFrame,
    window: Window,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "gafcnn")
    for folder in killed:
        left = Path(shutil.copytree(folder, tmp_path / folder.name))
        done, finished = recorded(left), contents(left).items() >= contents(whole).items()
        build_store(left, bars, window, chunk=100)
        assert contents(left).items() >= contents(whole).items()
        going_on = f"going on with {left} after {done} chunks" in caplog.messages
        assert going_on == (done > 0 and not finished)


@pytest.fixture
def half(killed: list[Path], tmp_path: Path) -> Path:
    """A store of which two chunks of four were recorded."""
    folder = next(folder for folder in killed if recorded(folder) == 2)
    return Path(shutil.copytree(folder, tmp_path / "half"))


@pytest.mark.parametrize(("where", "after"), [(None, 2), (128 + 150 * 8192, 1), (128, 0)])
def test_recorded_chunks_are_kept_where_their_checksums_hold(
    where: int | None,
    after: int,
    half: Path,
    whole: Path,
    bars: pd.DataFrame,
    window: Window,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "gafcnn")
    if where is not None:
        flip(where)(half / "images.npy.partial")
    build_store(half, bars, window, chunk=100)
    going_on = [f"going on with {half} after {after} chunks"] if after else []
    assert caplog.messages[1:] == going_on  # after a line about the store of other bars
    assert contents(half) == contents(whole)


@pytest.mark.parametrize("damage", [Path.unlink, cut, lengthen, empty])
@pytest.mark.parametrize("name", ["images.npy.partial", "progress.json"])
def test_a_record_that_does_not_fit_is_not_gone_on_with(
    name: str,
    damage: Callable[[Path], None],
    half: Path,
    whole: Path,
    bars: pd.DataFrame,
    window: Window,
) -> None:
    damage(half / name)
    build_store(half, bars, window, chunk=100)
    assert contents(half) == contents(whole)


def test_what_was_begun_of_other_bars_is_begun_anew(
    half: Path, tmp_path: Path, walk: Bars, window: Window
) -> None:
    others = walk(400, seed=2)
    build_store(half, others, window, chunk=100)
    build_store(tmp_path / "fresh", others, window, chunk=100)
    assert contents(half) == contents(tmp_path / "fresh")


def test_what_was_made_before_a_fault_is_kept(
    tmp_path: Path, bars: pd.DataFrame, window: Window
) -> None:
    wild = bars.copy()
    wild.iloc[350, wild.columns.get_loc("close")] = 1e301
    with pytest.raises(ImagesError, match="^point 14 of field 0 of sample 91 is 1e\\+301"):
        build_store(tmp_path, wild, window, chunk=100)
    assert recorded(tmp_path) == 2
    assert not (tmp_path / "metadata.json").exists()


def test_of_two_processes_one_writes_and_the_other_waits(tmp_path: Path, whole: Path) -> None:
    with start("pause", tmp_path, bars=400, chunk=100) as first:
        assert said(first.stdout) == "writing"
        with start("write", tmp_path, bars=400, chunk=100) as second:
            assert said(second.stderr).startswith(f"waiting for process {first.pid} on ")
            shown = [process.communicate("\n", timeout=120)[0] for process in (first, second)]
    wrote = [printed.split()[-1] for printed in shown]
    assert wrote == ["1", "0"]
    assert contents(tmp_path) == contents(whole)


# --- what writing takes ---------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    peaks = []
    for bars in (5_000, 20_000):
        with start("write", tmp_path / str(bars), bars) as writer:
            shown, told = writer.communicate(timeout=120)
        peaks.append(int(shown.split()[0]) / 1024)
        assert told == ""  # no progress bar where there is no terminal
        shutil.rmtree(tmp_path / str(bars))
    assert max(peaks) < 1000
    assert peaks[1] - peaks[0] < 50, "117 MiB more of images"


def test_a_terminal_is_shown_the_rate_and_the_time_left(
    tmp_path: Path, bars: pd.DataFrame, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    outside, inside = pty.openpty()
    with os.fdopen(inside, "w") as terminal, redirect_stderr(terminal):
        build_store(tmp_path / "quiet", bars, window, chunk=100, progress=False)
        build_store(tmp_path / "shown", bars, window, chunk=100)
        shown = os.read(outside, 2**16).decode()
    os.close(outside)
    assert re.search(r"images 15m .*341/341.* [\d,]+ images/s.*\d:\d\d:\d\d", shown, re.DOTALL)
    assert shown.count("\n") == 1


def test_a_disk_without_room_is_told_before_the_work(
    store: Path, whole: Path, bars: pd.DataFrame, window: Window
) -> None:
    size = 2**20
    with pytest.raises(StoreError) as caught:
        build_store(store, bars, window, ImageSpec(size))
    assert re.fullmatch(
        rf"{store}/images.npy.partial needs {341 * 2 * size**2 + 128:,} bytes and its disk has "
        r"[\d,]+ free \(No space left on device\); expected room for all images; "
        r"free some, set paths.data to another disk, or take a smaller images.size.",
        str(caught.value),
    )
    assert contents(store) == contents(whole)


def test_a_disk_is_asked_for_the_room_of_all_stores_before_the_first(
    tmp_path: Path, bars: pd.DataFrame, window: Window
) -> None:
    size = int((0.75 * shutil.disk_usage(tmp_path).free / (341 * 2)) ** 0.5)
    stores = {tmp_path / "gaf" / name: bars for name in ("one", "two")}
    check_room({tmp_path / "gaf" / "one": bars}, window, ImageSpec(size))
    with pytest.raises(StoreError) as caught:
        check_room(stores, window, ImageSpec(size))
    needed = 2 * (341 * 2 * size**2 + 128)
    assert re.fullmatch(
        rf"the images of 2 symbols need {needed:,} bytes more and the disk of {tmp_path} has "
        r"[\d,]+ free; expected room for all images; free some, set paths.data to another disk, or "
        r"take a smaller images.size, or images=on_the_fly.",
        str(caught.value),
    )
    assert not [*tmp_path.iterdir()]


def test_a_store_that_is_there_needs_no_room(
    store: Path,
    whole: Path,
    bars: pd.DataFrame,
    window: Window,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    check_room({whole: bars}, window)
    with pytest.raises(StoreError, match="need 2,793,600 bytes more and the disk of"):
        check_room({whole: bars, tmp_path / "another": bars}, window)


def test_a_file_that_may_not_be_so_large_is_told_before_the_work(
    store: Path, whole: Path, walk: Bars, window: Window
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreError) as caught:
            build_store(store, walk(300), window)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"{store}/images.npy.partial needs 1,974,400 bytes and ")
    assert "(File too large); expected room for all images; " in str(caught.value)
    assert contents(store) == contents(whole)


# --- what cannot be built -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (
            {"images": ImageSpec(fields=["gap"]), "window": Window("x", "60min")},
            "the field 'gap' reads 1 candle of 1min before window.span=1h",
        ),
        ({"window": Window("x", "15min", "2min")}, "window.span is 15min"),
        ({"window": Window("x", "8h", None, "8h")}, "there are only 400 bars"),
    ],
)
def test_what_cannot_be_built_leaves_no_trace(
    options: dict[str, Any],
    found: str,
    tmp_path: Path,
    bars: pd.DataFrame,
    window: Window,
) -> None:
    with pytest.raises(GafcnnError, match=f"^{re.escape(found)}"):
        build_store(tmp_path / "store", **({"bars": bars, "window": window} | options))
    assert not (tmp_path / "store").exists()


def test_a_file_in_the_place_of_the_folder_is_told(
    tmp_path: Path, bars: pd.DataFrame, window: Window
) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(DiskError, match=r"/store cannot be written \(File exists\); expected"):
        build_store(tmp_path / "store", bars, window)
    assert (tmp_path / "store").read_text() == "mine"
