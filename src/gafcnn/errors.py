"""The exceptions of gafcnn.

Every message is one sentence: what was found, what was expected, what to do instead.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class GafcnnError(Exception):
    """An error that gafcnn raises on purpose, with its remedy.

    Args:
        found: What is wrong, with the name and the value.
        expected: What would be right, as a noun phrase.
        instead: What to do or to type, as a clause.
    """

    def __init__(self, found: str, expected: str, instead: str) -> None:
        super().__init__(found, expected, instead)
        self.found, self.expected, self.instead = found, expected, instead

    def __str__(self) -> str:
        end = "" if self.instead.endswith("?") else "."
        text = f"{self.found}; expected {self.expected}; {self.instead}{end}"
        return " ".join(text.splitlines())  # names of files may hold line breaks


class ConfigError(GafcnnError):
    """An invalid option, or combination of options."""


class DiskError(GafcnnError):
    """A full disk, or a file that is not accessible."""


class DamageError(GafcnnError):
    """A file that is not as it was written."""


class BarsError(GafcnnError):
    """Invalid bars."""


class DownloadError(BarsError):
    """An exchange that does not answer, or not with bars."""


class SamplesError(GafcnnError):
    """Bars that cannot fill the windows, labels or splits."""


class LeakError(SamplesError):
    """A label that is known only after a later part of the split has begun."""


class ImagesError(GafcnnError):
    """A series that cannot be encoded, or an array of the wrong shape."""


class StoreError(ImagesError):
    """An image store that is incomplete, damaged or of other images."""


class LearningError(GafcnnError):
    """Weights, checkpoints or models that cannot be used."""


class PredictionsError(GafcnnError):
    """Predictions that cannot be read, joined or scored."""


class RunError(GafcnnError):
    """A run that is missing, unfinished or different from the one asked for."""


def import_extra(name: str, extra: str) -> Any:
    """Import a module of a package that one of the extras installs.

    Raises:
        ConfigError: The package is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name.partition('.')[0]} is not installed",
            expected=f"the packages of the extra {extra}",
            instead=f"run pip install 'gafcnn[{extra}]'",
        ) from error
