"""What every test may rely on."""

from __future__ import annotations

import gc
import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# a deadline would be a timed test
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]


def pytest_collection_finish() -> None:
    """Collect garbage less often, and never among the many objects that were imported."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


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
def pyts_image() -> ModuleType:
    """pyts.image, uncompiled: to compile its kernels at import takes half a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numba.config.DISABLE_JIT", True)
        import pyts.image
    pyts.preprocessing._discretizer.List = list  # numba's own needs compilation
    return pyts.image


@pytest.fixture(scope="session")
def last_bit() -> float:
    """How far a probability of one row may lie from that of the same row in a batch: not at all.

    That no bit differs was measured on x86 with AVX2. A processor with wider vectors, or none of
    these, sums in another order, and may do so differently for one row and for many.
    """
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text() if cpu.is_file() else ""
    return 0.0 if "avx2" in flags and "avx512" not in flags else 1e-6


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
