"""Stores: contents, damage, killed writers, full disks, several writers."""

from __future__ import annotations

import itertools
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import gafcnn.images.store
from gafcnn.atomic_io import locked, read_sealed
from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.errors import BarsError, ConfigError, DiskError, GafcnnError, ImagesError, StoreError
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import build_store, open_store, store_folder

Bars = pd.DataFrame
Log = pytest.LogCaptureFixture

WINDOW = Window("15min")
SMALL = ImageSpec(8)  # 128 bytes per image
CHUNK = 60 * 128  # 60 of 220 images: 4 chunks
FILES = {"images.npy", "times.npy", "manifest.json"}


def build(folder: Path, bars: Bars) -> NDArray[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gafcnn.images.store, "_CHUNK_BYTES", CHUNK)
        return build_store(folder, bars, WINDOW, SMALL)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.iterdir() if not path.name.startswith(".lock"))
    return {path.name: path.read_bytes() for path in files}


def identities(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bars: Bars) -> Path:
    """A complete store; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("whole")
    build(folder, bars)
    return folder


@pytest.fixture
def store(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store"))


# --- contents -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        ImageSpec(),
        ImageSpec(16, "float32", ("close", "volume")),
        ImageSpec(9, "float16", ("high",), ("recurrence", "gasf"), (0, 1), "fixed"),
    ],
)
def test_images_of_all_decision_times(
    spec: ImageSpec, tmp_path: Path, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gafcnn.images.store, "_CHUNK_BYTES", 100_000)
    images = build_store(tmp_path, bars, WINDOW, spec)
    times = np.load(tmp_path / "times.npy", allow_pickle=False)
    rows = decision_rows(bars, "60min")
    series = WindowReader(bars, WINDOW, spec.fields)(rows)
    np.testing.assert_array_equal(images, spec.encode(series))
    np.testing.assert_array_equal(times, bars.index.to_numpy("datetime64[ns]")[rows])
    assert times.dtype == "datetime64[ns]"
    assert contents(tmp_path).keys() == FILES


def test_files_are_plain_arrays_mapped_read_only(whole: Path) -> None:
    images = open_store(whole)
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0
    np.testing.assert_array_equal(np.load(whole / "images.npy", allow_pickle=False), images)
    size = sum(len(content) for content in contents(whole).values())
    assert size < 220 * (2 * 8 * 8 + 8) + 4096  # a byte per pixel, 8 per time


def test_a_store_of_the_same_images_is_left_alone(store: Path, bars: Bars) -> None:
    before = identities(store)
    build(store, bars.copy())
    build_store(store, bars, Window("15min", "1min", name="other name"), SMALL)
    assert identities(store) == before


def changed_close(bars: Bars) -> pd.DataFrame:
    return bars.assign(close=bars["close"] + 1e-9)


@pytest.mark.parametrize(
    ("change", "window", "spec", "fact"),
    [
        (changed_close, WINDOW, SMALL, "bars"),
        (lambda bars: bars, Window("30min"), SMALL, "window"),
        (lambda bars: bars, WINDOW, ImageSpec(9), "size"),
        (lambda bars: bars, WINDOW, replace(SMALL, kinds=("gadf", "gasf")), "kinds"),
        (changed_close, WINDOW, ImageSpec(8, range=(0, 1)), "bars and range"),
    ],
)
def test_a_store_of_other_images_is_replaced(
    change: Callable[[Bars], Bars], window: Window, spec: ImageSpec, fact: str, store: Path,
    tmp_path: Path, bars: Bars, caplog: Log,
) -> None:  # fmt: skip
    old = open_store(store)
    first = np.array(old[:5])
    other = change(bars)
    build_store(store, other, window, spec)
    assert f"holds images that differ in {fact};" in caplog.text
    build_store(tmp_path / "fresh", other, window, spec)
    assert contents(store) == contents(tmp_path / "fresh")
    np.testing.assert_array_equal(old[:5], first)  # who has the old one open keeps it


def test_images_of_an_edited_function_are_replaced(
    tmp_path: Path, bars: Bars, register: Any
) -> None:
    spec = ImageSpec(8, "float32", kinds=("gasf",))
    for value in (0.25, 0.5):
        path = tmp_path / f"own_{value}.py"
        path.write_text(
            f"def own(series, size):\n    return series[:, :, None] * 0 + [{value}] * 15\n"
        )
        code: dict[str, Any] = {"__name__": "own"}
        exec(compile(path.read_text(), str(path), "exec"), code)
        register("own")(code["own"])
        images = build_store(tmp_path / "store", bars, WINDOW, replace(spec, kinds=("own",)))
        assert (images == value).all()


def test_store_folder() -> None:
    assert store_folder("data", "BNB", WINDOW) == Path("data/gaf/BNB_15m")
    assert store_folder("data", "", WINDOW) == Path("data/gaf/15m")


# --- damage ---------------------------------------------------------------------------------------


def edited(edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(edit(path.read_bytes()))


def flip(place: int) -> Callable[[Path], object]:
    def flipped(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[place] ^= 1
        return bytes(changed)

    return edited(flipped)


cut, lengthen = edited(lambda content: content[:-3]), edited(lambda content: content + b"\0")
empty = edited(lambda content: content[:0])


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *itertools.product(("images.npy", "times.npy"), (Path.unlink, cut, empty, pickled)),
        *itertools.product(("images.npy",), (lengthen, flip(60), flip(128), flip(-1))),
        ("times.npy", flip(-3)),
        *itertools.product(("manifest.json",), (cut, empty, flip(100))),
    ],
)
def test_a_damaged_store_is_refused_and_rebuilt(
    name: str, damage: Callable[[Path], object], store: Path, whole: Path, bars: Bars, caplog: Log
) -> None:
    damage(store / name)
    with pytest.raises(StoreError, match=f"^{re.escape(str(store / name))} "):
        open_store(store)
    build(store, bars)
    assert str(store / name) in caplog.text
    assert contents(store) == contents(whole)


def test_a_store_without_a_manifest_is_not_opened(store: Path) -> None:
    (store / "manifest.json").unlink()
    with pytest.raises(StoreError, match="no complete store"):
        open_store(store)


# --- killed writers -------------------------------------------------------------------------------


def killed(write: Callable[[], object], step: int) -> bool:
    """Whether a forked process that writes was killed, before its `step`-th access to files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads only wait
        child = os.fork()
    if child == 0:
        try:
            steps = itertools.count()
            sync = os.fsync

            def count(event: str, args: Any) -> None:
                files = event in ("os.rename", "os.remove", "os.mkdir", "fsync")
                opened = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wa+")
                if (files or opened) and next(steps) == step:
                    os.kill(os.getpid(), signal.SIGKILL)

            def counted_sync(descriptor: int) -> None:
                count("fsync", ())
                sync(descriptor)

            os.fsync = counted_sync
            sys.addaudithook(count)
            write()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def recorded(folder: Path) -> int:
    """Return how many chunks are recorded of an unfinished store."""
    return len((read_sealed(folder / "manifest.partial.json") or {"checksums": []})["checksums"])


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_writer_leaves_nothing_that_opens_and_is_resumed(
    replaced: bool, every: int, tmp_path: Path, whole: Path, bars: Bars, caplog: Log
) -> None:
    caplog.set_level(logging.INFO, "gafcnn")
    build(tmp_path / "other", changed_close(bars))
    resumed, step = set(), 0
    for step in itertools.count(0, every):
        folder = tmp_path / str(step)
        if replaced:
            shutil.copytree(tmp_path / "other", folder)
        if not killed(partial(build, folder, bars), step):
            break
        with suppress(StoreError):  # complete, of either bars
            open_store(folder)
            content, wanted = (
                (read_sealed(one / "manifest.json") or {})["content"] for one in (folder, whole)
            )
            assert content == wanted or (replaced and not recorded(folder))
        done = recorded(folder) if folder.exists() else 0
        finished = (folder / "manifest.json").exists()
        caplog.clear()
        build(folder, bars)
        assert contents(folder).items() >= contents(whole).items()
        assert ("resuming" in caplog.text) == (done > 0 and not finished)
        resumed.add(done)
    assert resumed == {0, 1, 2, 3, 4} if every == 1 else len(resumed) > 2
    assert step > 30


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory, bars: Bars) -> Path:
    folder = tmp_path_factory.mktemp("killed") / "half"
    for step in itertools.count(15):
        if recorded(folder) == 2:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        assert killed(partial(build, folder, bars), step)
    raise AssertionError


@pytest.fixture
def half(tmp_path: Path, unfinished: Path) -> Path:
    """A store of which two chunks of four are recorded."""
    return Path(shutil.copytree(unfinished, tmp_path / "half"))


@pytest.mark.parametrize(("places", "kept"), [((), 2), ((128 + 60 * 128,), 1), ((128, 9000), 0)])
def test_recorded_chunks_are_kept_if_their_checksums_hold(
    places: tuple[int, ...], kept: int, half: Path, whole: Path, bars: Bars, caplog: Log
) -> None:
    caplog.set_level(logging.INFO, "gafcnn")
    for place in places:
        flip(place)(half / "images.npy")
    build(half, bars)
    assert f"{kept} of 4 chunks" in caplog.text
    assert contents(half) == contents(whole)


@pytest.mark.parametrize("name", ["images.npy", "manifest.partial.json"])
@pytest.mark.parametrize("damage", [Path.unlink, cut, empty])
def test_an_unfinished_store_that_does_not_fit_is_begun_again(
    name: str, damage: Callable[[Path], object], half: Path, whole: Path, bars: Bars
) -> None:
    damage(half / name)
    build(half, bars)
    assert contents(half) == contents(whole)


def test_an_unfinished_store_of_other_bars_is_begun_again(
    half: Path, tmp_path: Path, bars: Bars
) -> None:
    build(half, changed_close(bars))
    build(tmp_path / "fresh", changed_close(bars))
    assert contents(half) == contents(tmp_path / "fresh")


def test_chunks_before_an_invalid_value_are_kept(tmp_path: Path, bars: Bars) -> None:
    wild = bars.copy()
    wild.iloc[350, wild.columns.get_loc("close")] = 1e301
    with pytest.raises(ImagesError, match=r"1e\+301"):
        build(tmp_path, wild)
    assert recorded(tmp_path) == 2


def test_a_second_writer_waits_for_the_first(
    tmp_path: Path, whole: Path, bars: Bars, caplog: Log
) -> None:
    waiting, folder = threading.Event(), tmp_path / "store"
    folder.mkdir()
    handler = logging.Handler()
    handler.emit = lambda record: waiting.set() if "waiting" in record.msg else None
    logging.getLogger("gafcnn").addHandler(handler)
    second = threading.Thread(target=build, args=(folder, bars))
    with locked(folder / ".lock"):
        second.start()
        assert waiting.wait(60)
        assert contents(folder) == {}
    second.join(60)
    logging.getLogger("gafcnn").removeHandler(handler)
    assert f"process {os.getpid()} on " in caplog.text
    assert contents(folder) == contents(whole)


MEMORY = """
import sys
from pathlib import Path
from gafcnn.data.simulated import simulate
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import build_store
bars, _ = simulate(20_000)
for n in (5_000, 20_000):
    build_store(Path(sys.argv[1], str(n)), bars.iloc[:n], "15m", ImageSpec())
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    first, second = map(float, output.stdout.split())
    assert second - first < 50, "117 MiB more of images"


# --- disks ----------------------------------------------------------------------------------------


def test_a_disk_without_room_is_reported_before_the_work(
    store: Path, whole: Path, bars: Bars
) -> None:
    needed = 220 * 2 * 2**40
    with pytest.raises(DiskError, match=f"images.npy needs {needed:,} bytes"):
        build_store(store, bars, WINDOW, ImageSpec(2**20))
    assert contents(store) == contents(whole)


def test_a_full_disk_is_reported_and_with_room_the_same_call_continues(
    whole: Path, bars: Bars, small_disk: Callable[[int], Path]
) -> None:
    disk, page = small_disk(2**20), 4096
    refused = set()
    for free in range(0, 60_000, page):
        folder, filler = disk / "store", disk / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - free)
        try:
            build(folder, bars)
        except DiskError as error:
            refused.add(Path(error.found.split()[0]).name)
            filler.unlink()
            build(folder, bars)
        assert contents(folder) == contents(whole)
        filler.unlink(missing_ok=True)
        shutil.rmtree(folder)
    assert refused >= {"images.npy", "manifest.partial.json"}


# --- errors before the work -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"window": Window("60min"), "spec": ImageSpec(fields=("gap",))}, ConfigError),
        ({"window": Window("15min", "2min")}, ConfigError),
        ({"window": Window("8h", lookback="8h")}, GafcnnError),
        ({"window": "hourly"}, ConfigError),
        ({"bars": pd.DataFrame({"close": [1.0, 2.0]})}, BarsError),
    ],
)
def test_what_cannot_be_built_leaves_no_folder(
    options: dict[str, Any], error: type[GafcnnError], tmp_path: Path, bars: Bars
) -> None:
    arguments = {"bars": bars, "window": WINDOW, "spec": SMALL} | options
    with pytest.raises(error):
        build_store(tmp_path / "store", **arguments)
    assert not (tmp_path / "store").exists()


def test_a_file_in_the_place_of_the_folder(tmp_path: Path, bars: Bars) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(DiskError, match="store"):
        build(tmp_path / "store", bars)
    assert (tmp_path / "store").read_text() == "mine"
