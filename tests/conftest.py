"""What every test may rely on."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.defaults_list import DefaultsList, Overrides, create_defaults_list
from hypothesis import settings

# a deadline would be a timed test
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder, with conf/ and the scripts."""
    return ROOT


@pytest.fixture(scope="session")
def real_bars_folder() -> Path:
    """Real market data beside the project; tests of it skip where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real bars in {folder.parent.name}/{folder.name} beside the project")
    return folder


@pytest.fixture(scope="session")
def last_bit() -> float:
    """How far a probability of one row may lie from that of the same row in a batch: not at all.

    That no bit differs was measured on x86 with AVX2. A processor with wider vectors, or none of
    these, sums in another order, and may do so differently for one row and for many.
    """
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text() if cpu.is_file() else ""
    return 0.0 if "avx2" in flags and "avx512" not in flags else 1e-6


@pytest.fixture(scope="session", autouse=True)
def conf_read_once() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Hydra reads a file of conf/ once, and puts the same options of groups together once.

    It does so twice for every command, which is most of what one costs that is typed in a test.
    Keys that are typed are set on a copy, by Hydra itself; what it refuses is not kept.
    What is given leaves Hydra as it is for a while.
    """
    read = FileConfigSource.load_config
    put_together = ConfigLoaderImpl._compose_config_from_defaults_list
    kept: dict[Hashable, Any] = {}

    def once(key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in kept:
            kept[key] = make()
        return kept[key]

    def sources(repo: Any) -> str:
        return repr([(source.provider, source.path) for source in repo.get_sources()])

    def load(self: FileConfigSource, config_path: str) -> Any:
        return deepcopy(once((self.path, config_path), lambda: read(self, config_path)))

    def make_list(
        repo: Any, config_name: str | None, overrides_list: Any, **how: bool
    ) -> DefaultsList:
        typed = Overrides(repo, overrides_list).config_overrides
        groups = [str(one.input_line) for one in overrides_list if one not in typed]
        key = (sources(repo), config_name, *groups, *how.items())
        made = once(key, lambda: create_defaults_list(repo, config_name, overrides_list, **how))
        return DefaultsList(made.defaults, made.defaults_tree, typed, made.overrides)

    def compose(self: ConfigLoaderImpl, defaults: Any, repo: Any) -> Any:
        key = (sources(repo), repr(defaults))
        return deepcopy(once(key, lambda: put_together(self, defaults=defaults, repo=repo)))

    patch = pytest.MonkeyPatch()

    def begin() -> None:
        patch.setattr(FileConfigSource, "load_config", load)
        # copied for every question to it; a copy's list of sources is replaced and never changed
        patch.setattr(ConfigRepository, "__deepcopy__", lambda self, _: copy(self), raising=False)
        patch.setattr("hydra._internal.config_loader_impl.create_defaults_list", make_list)
        patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose)

    @contextmanager
    def as_it_is() -> Iterator[None]:
        patch.undo()
        try:
            yield
        finally:
            begin()

    begin()
    yield as_it_is
    patch.undo()


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A test that sets a level does not set it for the next."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """What makes an empty disk of so many bytes, rounded up to pages, and gives its folder.

    It is a tmpfs: to mount one takes root, or `unshare --map-root-user --mount pytest ...`.
    """
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        folder = tmp_path / f"disk{len(mounted) + 1}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(folder)]
        try:
            subprocess.run(command, capture_output=True, check=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no mount command here")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no small disk can be mounted: {error.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        # lazily: who maps a file of it holds it until the mapping is gone
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
