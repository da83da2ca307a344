"""What every test may rely on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
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


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A test that sets a level does not set it for the next."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield
    logger.setLevel(level)
