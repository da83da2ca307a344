from __future__ import annotations

import logging
import os
import pty
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pytest

from gafcnn.atomic_io import read_sealed
from gafcnn.data.windows import Window
from gafcnn.errors import DiskError, GafcnnError, ImagesError, StoreError
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import open_series, open_store
from gafcnn.images.writing import build_series, build_store, check_room

Bars = Callable[..., pd.DataFrame]
Contents = Callable[[Path], dict[str, bytes]]
Killed = Callable[..., bool]
Forked = Callable[[Callable[[], object]], int]
WINDOW = Window("15m", "15min", None, "60min")
FILES = {"images.npy", "times.npy", "metadata.json"}


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    stats = {name: (folder / name).stat() for name in FILES}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def recorded(folder: Path) -> int:
    """How many chunks are."""
    journal = read_sealed(folder / "progress.json") or {"checksums": []}
    return sum(checksum is not None for checksum in journal["checksums"])


def flip(path: Path, *places: int) -> None:
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= 1
    path.write_bytes(content)


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
    contents: Contents,
) -> None:
    old = open_store(store)
    first = np.array(old.images[:5])
    asked = {"bars": changed(bars), "window": window} | options
    build_store(store, **asked)
    assert caplog.messages == [f"{store} holds images of other {what}: writing it anew"]
    build_store(tmp_path / "fresh", **asked)
    assert contents(store) == contents(tmp_path / "fresh")
    np.testing.assert_array_equal(old.images[:5], first)  # who has it open still reads the old one


# --- writers that are killed, and a power that is cut ---------------------------------------------

SMALL = ImageSpec(8)


@dataclass(frozen=True)
class Kind:
    """How a store of small images, or of series, is written in four chunks, and opened."""

    write: Callable[[Path, pd.DataFrame], object]
    open: Callable[[Path], object]
    array: str


KINDS = {
    "images": Kind(
        lambda folder, bars: build_store(folder, bars, WINDOW, SMALL, chunk=100),
        open_store,
        "images.npy",
    ),
    "series": Kind(
        lambda folder, bars: build_series(folder, bars, WINDOW, ["close", "gap"], chunk=100),
        open_series,
        "series.npy",
    ),
}


@pytest.fixture
def memory(folder_in_memory: Callable[[], Path]) -> Path:
    return folder_in_memory()


def of_others(kind: Kind, folder: Path, bars: pd.DataFrame) -> None:
    kind.write(folder, bars.assign(close=bars["close"] + 1))


def damaged(kind: Kind, folder: Path, bars: pd.DataFrame) -> None:
    kind.write(folder, bars)
    size = (folder / kind.array).stat().st_size
    flip(folder / kind.array, 60, 128, size // 2)
    os.truncate(folder / kind.array, size - 1)
    flip(folder / "times.npy", 200)


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize(
    ("name", "begin", "every"),
    [
        ("images", of_others, 7),
        ("images", damaged, 5),
        ("series", of_others, 12),
        pytest.param("images", of_others, 1, marks=pytest.mark.slow),
        pytest.param("images", damaged, 1, marks=pytest.mark.slow),
        pytest.param("series", of_others, 1, marks=pytest.mark.slow),
    ],
)
def test_whenever_a_writer_ends_no_half_is_opened_and_the_next_one_makes_it_whole(
    name: str,
    begin: Callable[[Kind, Path, pd.DataFrame], None],
    every: int,
    power: bool,
    memory: Path,
    bars: pd.DataFrame,
    killed: Killed,
    contents: Contents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It replaces a store of other bars, or repairs one, and ends before each step in turn."""
    caplog.set_level("INFO", "gafcnn")
    kind = KINDS[name]
    begin(kind, memory / "begun", bars)
    kind.write(memory / "whole", bars)
    begun, whole = contents(memory / "begun"), contents(memory / "whole")
    kills = 0
    for moment in count(0, every):
        left = Path(shutil.copytree(memory / "begun", memory / f"left{moment}"))
        if not killed(partial(kind.write, left, bars), moment, (left, moment) if power else None):
            break
        held, done = contents(left), recorded(left)
        with suppress(StoreError):
            kind.open(left)
            assert held.items() >= whole.items() or held.items() >= begun.items()
        finished = held.items() >= whole.items()
        if begin is of_others:
            told = held.get("metadata.json")
            assert finished == (told == whole["metadata.json"]), "it is written last"
            assert told or done == 4, "the old store stands until the new one is on disk"
        caplog.clear()
        kind.write(left, bars)
        assert contents(left).items() >= whole.items()
        going_on = f"going on with {left} after {done} chunks" in caplog.messages
        assert going_on == (done > 0 and not finished), "what was recorded is on disk"
        shutil.rmtree(left)
        kills += 1
    assert kills * every > (100 if begin is of_others else 30)


@pytest.mark.parametrize("seed", range(4))
def test_a_writer_killed_again_and_again_comes_to_its_end(
    seed: int,
    memory: Path,
    bars: pd.DataFrame,
    killed_after: Callable[..., bool],
    contents: Contents,
) -> None:
    """At any instant, as a scheduler would, not between two steps."""
    kind, rng = KINDS["images"], random.Random(seed)
    begun = time.perf_counter()
    kind.write(memory / "whole", bars)
    seconds = time.perf_counter() - begun
    for _ in range(5):
        killed_after(partial(kind.write, memory / "left", bars), rng.uniform(0, 1.5 * seconds))
        with suppress(StoreError):
            kind.open(memory / "left")
            assert contents(memory / "left").items() >= contents(memory / "whole").items()
    kind.write(memory / "left", bars)
    assert contents(memory / "left").items() >= contents(memory / "whole").items()


@pytest.fixture
def half(memory: Path, bars: pd.DataFrame, killed: Killed) -> Path:
    """A store of small images of which two chunks of four were recorded."""
    folder = memory / "half"
    while recorded(folder) < 2:
        folder.mkdir(exist_ok=True)
        assert killed(partial(KINDS["images"].write, folder, bars), 40)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, bars: pd.DataFrame) -> Path:
    """The store that `half` was to be."""
    folder = tmp_path_factory.mktemp("small")
    KINDS["images"].write(folder, bars)
    return folder


@pytest.mark.parametrize(
    ("places", "kept"), [((), 2), ((128 + 150 * 128,), 1), ((128,), 1), ((130, 20_000), 0)]
)
def test_recorded_chunks_are_kept_where_their_checksums_hold(
    places: tuple[int, ...],
    kept: int,
    half: Path,
    small: Path,
    bars: pd.DataFrame,
    caplog: pytest.LogCaptureFixture,
    contents: Contents,
) -> None:
    caplog.set_level("INFO", "gafcnn")
    flip(half / "images.npy.partial", *places)
    KINDS["images"].write(half, bars)
    assert caplog.messages == ([f"going on with {half} after {kept} chunks"] if kept else [])
    assert contents(half) == contents(small)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 3)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def rename_a_key(path: Path) -> None:
    path.write_text(path.read_text().replace("checksums", "checksumt"))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *product(("images.npy.partial", "progress.json"), (Path.unlink, cut, lengthen, empty)),
        ("progress.json", rename_a_key),
    ],
)
def test_a_record_that_does_not_fit_is_not_gone_on_with(
    name: str,
    damage: Callable[[Path], None],
    half: Path,
    small: Path,
    bars: pd.DataFrame,
    contents: Contents,
) -> None:
    damage(half / name)
    KINDS["images"].write(half, bars)
    assert contents(half) == contents(small)


def test_what_was_begun_of_other_bars_is_begun_anew(
    half: Path, tmp_path: Path, walk: Bars, contents: Contents
) -> None:
    others = walk(400, seed=2)
    KINDS["images"].write(half, others)
    KINDS["images"].write(tmp_path / "fresh", others)
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


@contextmanager
def writing(
    forked: Forked, folder: Path, bars: pd.DataFrame, begin: Callable[[IO[str]], None]
) -> Iterator[tuple[int, IO[str]]]:
    """A process that writes a store in chunks of 100: its number, and the line to talk with it.

    It says what is logged, and in the end how often it put images in place and how many it opened.
    """
    ours, others = socket.socketpair()

    def write() -> None:
        line = others.makefile("rw")
        logging.getLogger("gafcnn").addHandler(logging.StreamHandler(line))
        names: list[str] = []
        before_renaming(names.append)
        begin(line)
        store = build_store(folder, bars, WINDOW, chunk=100)
        say(line, f"{names.count('images.npy.partial')} {len(store.times)}")

    with ours, others, ours.makefile("rw") as line:
        process = forked(write)
        others.close()  # where the process ends, so does what it says
        try:
            yield process, line
        finally:
            os.kill(process, signal.SIGKILL)  # one that has ended keeps its number until here
            os.waitpid(process, 0)


def say(line: IO[str], text: str) -> None:
    line.write(f"{text}\n")
    line.flush()


def before_renaming(act: Callable[[str], None]) -> None:
    """Call `act` before any file is renamed, with its name."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "os.rename":
            act(Path(os.fspath(args[0])).name)

    sys.addaudithook(hook)


def pausing(line: IO[str]) -> None:
    """Say "writing" before the second chunk is recorded, and go on once a line comes in."""
    records = count(1)

    def pause(name: str) -> None:
        if name.startswith(".progress.json") and next(records) == 2:
            say(line, "writing")
            line.readline()

    before_renaming(pause)


def at_once(line: IO[str]) -> None:
    """Write without a pause."""


@pytest.mark.parametrize("others", [400, 420])
def test_of_two_processes_one_writes_and_the_other_waits(
    tmp_path: Path,
    whole: Path,
    bars: pd.DataFrame,
    walk: Bars,
    forked: Forked,
    contents: Contents,
    others: int,
) -> None:
    with writing(forked, tmp_path, bars, pausing) as (first, line):
        assert line.readline() == "writing\n"
        with writing(forked, tmp_path, walk(others), at_once) as (_, waiting):
            assert waiting.readline().startswith(f"waiting for process {first} on ")
            say(line, "go on")
            shown = [process.readlines()[-1].split() for process in (line, waiting)]
    assert [wrote for wrote, _ in shown] == ["1", "0" if others == 400 else "1"]
    assert [int(opened) for _, opened in shown] == [341, others - 59]
    if others == 400:
        assert contents(tmp_path) == contents(whole)


# --- what writing takes ---------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    script = Path(__file__).with_name("writer.py")
    command = [sys.executable, str(script), str(tmp_path), "5000", "20000"]
    wrote = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert wrote.stderr == ""  # no progress bar where there is no terminal
    peaks = [int(peak) / 1024 for peak in wrote.stdout.split()]
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


# --- what a disk refuses -------------------------------------------------------------------------


def test_a_disk_without_room_is_told_before_the_work(
    store: Path, whole: Path, bars: pd.DataFrame, window: Window, contents: Contents
) -> None:
    size = 2**20
    with pytest.raises(DiskError) as caught:
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
    with pytest.raises(DiskError) as caught:
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
    with pytest.raises(DiskError, match="need 2,793,600 bytes more and the disk of"):
        check_room({whole: bars, tmp_path / "another": bars}, window)


def test_a_file_that_may_not_be_so_large_is_told_before_the_work(
    store: Path, whole: Path, walk: Bars, window: Window, contents: Contents
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DiskError) as caught:
            build_store(store, walk(300), window)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"{store}/images.npy.partial needs 1,974,400 bytes and ")
    assert "(File too large); expected room for all images; " in str(caught.value)
    assert contents(store) == contents(whole)


PAGE = 4096
REFUSED = (
    r"{folder}/([a-z.]+) needs [\d,]+ bytes and its disk has [\d,]+ free "
    r"\(No space left on device\); expected room for [a-z ]+; free some, [^;]+(; [^;]+)?\."
)


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk but for so many bytes; the file to delete."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - leave)
    assert shutil.disk_usage(disk).free == leave
    return filler


def refusal(write: Callable[[], object]) -> str:
    try:
        write()
    except DiskError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", KINDS)
def test_wherever_a_disk_is_full_it_is_told_and_with_room_the_same_call_goes_on(
    name: str,
    tmp_path: Path,
    walk: Bars,
    small_disk: Callable[[int], Path],
    contents: Contents,
) -> None:
    kind, bars, disk = KINDS[name], walk(700), small_disk(2**20)
    kind.write(tmp_path / "whole", bars)
    whole = contents(tmp_path / "whole")
    needed = -(-len(whole[kind.array]) // PAGE) * PAGE
    refused = []
    for leave in (0, *range(needed - PAGE, 2**20, PAGE)):
        folder, filler = disk / f"store{leave}", fill(disk, leave)
        told = refusal(partial(kind.write, folder, bars))
        filler.unlink()
        kind.write(folder, bars)
        assert contents(folder) == whole
        shutil.rmtree(folder)
        if not told:
            break
        matched = re.fullmatch(REFUSED.format(folder=folder), told)
        assert matched, told
        refused.append(matched.group(1))
    writers = [f"{kind.array}.partial", "progress.json", "times.npy", "metadata.json"]
    assert list(dict.fromkeys(refused)) == writers


def test_what_is_damaged_on_a_full_disk_is_repaired_where_it_needs_no_room(
    bars: pd.DataFrame, small_disk: Callable[[int], Path], contents: Contents
) -> None:
    kind, disk = KINDS["images"], small_disk(2**20)
    folder = disk / "store"
    kind.write(folder, bars)
    whole = contents(folder)
    filler = fill(disk, 0)
    flip(folder / "images.npy", 128)
    kind.write(folder, bars)
    assert contents(folder) == whole
    os.truncate(folder / "images.npy", 30_000)
    filler.unlink()
    filler = fill(disk, 0)
    found = f"^{folder}/images.npy needs 13,776 bytes and its disk has 0 free "
    with pytest.raises(DiskError, match=found):
        kind.write(folder, bars)
    filler.unlink()
    kind.write(folder, bars)
    assert contents(folder) == whole


def test_a_whole_store_where_one_may_only_read_is_opened_and_left_alone(
    memory: Path,
    bars: pd.DataFrame,
    without_rights: Callable[[Callable[[], object]], str],
    contents: Contents,
) -> None:
    kind, folder = KINDS["images"], memory / "store"
    kind.write(folder, bars)
    before, names = contents(folder), sorted(path.name for path in folder.iterdir())
    folder.chmod(0o555)
    for act in (partial(kind.write, folder, bars), partial(kind.open, folder)):
        assert without_rights(act) == ""
    assert contents(folder) == before
    assert sorted(path.name for path in folder.iterdir()) == names


CLOSED = (
    r"DiskError: {path} cannot be (read|written) \(Permission denied\); expected a (store|place) "
    r"that this user may (read|write to); allow it, or [^;]+\."
)


def unfinished(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    (folder / ".lock").chmod(0o444)


def unfinished_and_lockable(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    (folder / ".lock").chmod(0o666)


def hurt(folder: Path) -> None:
    flip(folder / "images.npy", 128)
    (folder / ".lock").chmod(0o444)


@pytest.mark.parametrize(
    ("name", "damage", "closed", "mode"),
    [
        (".lock", unfinished, ".", 0o555),
        (".lock", hurt, ".", 0o555),
        ("images.npy.partial", unfinished_and_lockable, ".", 0o555),
        ("images.npy", lambda _: None, "images.npy", 0),
        ("times.npy", lambda _: None, "times.npy", 0),
        ("metadata.json", lambda _: None, ".", 0o666),
    ],
)
def test_where_one_may_not_write_or_read_it_is_told(
    name: str,
    damage: Callable[[Path], None],
    closed: str,
    mode: int,
    memory: Path,
    bars: pd.DataFrame,
    without_rights: Callable[[Callable[[], object]], str],
    contents: Contents,
) -> None:
    kind, folder = KINDS["images"], memory / "store"
    kind.write(folder, bars)
    damage(folder)
    before = contents(folder)
    (folder / closed).chmod(mode)
    told = without_rights(partial(kind.write, folder, bars))
    (folder / closed).chmod(0o755)
    assert re.fullmatch(CLOSED.format(path=folder / name), told), told
    assert contents(folder) == before


def test_a_disk_that_is_mounted_to_be_read_is_read(
    bars: pd.DataFrame, small_disk: Callable[[int], Path]
) -> None:
    kind, disk = KINDS["images"], small_disk(2**20)
    kind.write(disk / "whole", bars)
    kind.write(disk / "unfinished", bars)
    (disk / "unfinished" / "metadata.json").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    kind.write(disk / "whole", bars)
    kind.open(disk / "whole")
    for folder in (disk / "unfinished", disk / "none"):
        found = rf"^{folder}(/.lock)? cannot be written \(Read-only file system\); expected a place"
        with pytest.raises(DiskError, match=found):
            kind.write(folder, bars)


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
