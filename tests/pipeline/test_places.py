"""Where a command is given: odd names, links, places that may only be read, and no home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Words = tuple[str, ...]
Give = Callable[..., subprocess.CompletedProcess[str]]

NOT_ABOVE_RIGHTS = [
    "setpriv",
    *(f"--{caps}=-dac_override,-dac_read_search,-fowner" for caps in ("bounding-set", "inh-caps")),
]


@pytest.fixture
def give(root: Path) -> Give:
    """Give a command without a home, as a user whom the rights of files bind."""
    bound: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere, and there is no setpriv to give that up")
        bound = NOT_ABOVE_RIGHTS

    def run(folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        line = [*bound, sys.executable, str(root / script), *words]
        bare = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            line, cwd=folder, env=bare, capture_output=True, text=True, timeout=300
        )

    return run


@pytest.fixture
def place(judged_study: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder with a space and an umlaut in its name, its data behind a link, to read only."""
    folder = tmp_path / "mein Ordner ü"
    shutil.copytree(judged_study / "outputs", folder / "outputs")
    shutil.copytree(judged_study / "data", tmp_path / "wirkliche Daten")
    (folder / "data").symlink_to(tmp_path / "wirkliche Daten")
    closed = [path for path in (tmp_path / "wirkliche Daten").rglob("*") if path.is_dir()]
    for path in closed:
        path.chmod(0o555)
    yield folder
    for path in [*closed, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755)


@pytest.mark.slow
def test_a_training_reads_data_that_may_only_be_read(place: Path, tiny: Words, give: Give) -> None:
    words = [*tiny, "trainer.max_epochs=1", "study=other", f"paths.data='{place}/data'"]
    done = give(place, "train.py", "window=15m", *words)
    assert done.returncode == 0, done.stderr
    assert (place / "outputs" / "other" / "15m" / "metrics.json").is_file()
    assert not (place / "~").exists()


@pytest.mark.slow
def test_what_is_not_there_is_told_where_it_may_not_be_made(
    place: Path, tiny: Words, give: Give
) -> None:
    done = give(place, "prepare.py", "window=15m", *tiny, "images.size=24")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: data/gaf/SIMULATED_15m/images.npy.partial cannot be written (Permission denied); "
    )


@pytest.mark.slow
def test_a_finished_run_needs_no_place_to_write_and_a_new_one_is_told(
    place: Path, tiny: Words, give: Give
) -> None:
    for path in (place / "outputs", *(place / "outputs").rglob("*")):
        path.chmod(0o555)
    done = give(place, "train.py", "window=15m", *tiny)
    assert done.returncode == 0, done.stderr
    assert "outputs/tiny/15m is complete: nothing to do" in done.stdout
    for words in (["study=tiny"], ["study=none"]):
        told = give(place, "train.py", "window=15m_x10", *tiny, *words).stderr
        assert told.startswith("error: outputs/")
        assert "cannot be written (Permission denied); expected a place that this user" in told
    (place / "outputs").chmod(0o755)


@pytest.mark.slow
def test_an_evaluation_needs_no_home(place: Path, give: Give) -> None:
    done = give(place, "evaluate.py", "study=tiny", "judging.resamples=100")
    assert done.returncode == 0, done.stderr
