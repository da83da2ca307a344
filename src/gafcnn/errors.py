"""The exceptions of gafcnn, all of them, as a tree.

    GafcnnError
    ├── ConfigError            an option, or a combination of options, that makes no sense
    ├── DiskError              a disk that is full, or a place that cannot be written
    ├── DamageError            what lies on disk is not as it was written
    ├── BarsError              bars that cannot be trusted: file, row, value, remedy
    │   └── DownloadError      an exchange that could not be reached or did not answer with bars
    ├── SamplesError           windows, labels or splits that the bars cannot fill
    │   └── LeakError          a label that would be known only after a later part has begun
    ├── ImagesError            a series, or an image's shape, that makes no image
    │   └── StoreError         a store that is incomplete, damaged or of another making
    ├── LearningError          weights and checkpoints that cannot be used
    ├── PredictionsError       predictions that cannot be read, joined or scored
    └── RunError               a run that is missing, unfinished or different from the one asked for

Every message is one sentence: what was found, what was expected, what to do instead.
"""

from __future__ import annotations

from typing import Self


class GafcnnError(Exception):
    """Whatever gafcnn refuses to do, and how to make it possible.

    Args:
        found: What is wrong, with the name and the value at fault.
        expected: What would have been right, as a noun phrase.
        instead: What to do or to type, as a clause.
    """

    def __init__(self, found: str, *, expected: str, instead: str) -> None:
        self.found, self.expected, self.instead = found, expected, instead
        super().__init__(f"{found}; expected {expected}; {instead}.")

    def __reduce__(self) -> tuple[object, ...]:
        # a sweep's worker process sends its errors home by pickle, which knows no keyword arguments
        return _rebuild, (type(self), self.found, self.expected, self.instead)


def _rebuild(kind: type[GafcnnError], found: str, expected: str, instead: str) -> GafcnnError:
    error = kind.__new__(kind)
    GafcnnError.__init__(error, found, expected=expected, instead=instead)
    return error


class ConfigError(GafcnnError):
    """An option, or a combination of options, that makes no sense."""


class DiskError(GafcnnError):
    """A disk that is full, or a place that cannot be written."""


class DamageError(GafcnnError):
    """What lies on disk is not as it was written."""


class BarsError(GafcnnError):
    """Bars that cannot be trusted."""

    @classmethod
    def at(cls, source: object, place: str, found: str, *, expected: str, instead: str) -> Self:
        """The same sentence, opened by the file (or other source) and the row or line at fault."""
        return cls(f"{source}, {place}: {found}", expected=expected, instead=instead)


class DownloadError(BarsError):
    """An exchange that could not be reached, or did not answer with bars."""


class SamplesError(GafcnnError):
    """Windows, labels or splits that the bars cannot fill."""


class LeakError(SamplesError):
    """A label that would be known only after a later part of the split has begun."""


class ImagesError(GafcnnError):
    """A series, or the shape of an image, that makes no image."""


class StoreError(ImagesError):
    """An image store that is incomplete, damaged or of another making."""


class LearningError(GafcnnError):
    """Weights and checkpoints that cannot be used."""


class PredictionsError(GafcnnError):
    """Predictions that cannot be read, joined or scored."""


class RunError(GafcnnError):
    """A run that is missing, unfinished or different from the one asked for."""
