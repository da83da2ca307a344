"""Single samples on a page: what a network saw, what it rested on, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from gafcnn.report.explained_images import Attributions, explained_image
from gafcnn.report.plotting import sample_image
from gafcnn.report.publishing import Picture


@dataclass(frozen=True)
class Sample:
    """One sample to be shown, and what came of it.

    Attributes:
        window: The window whose image it is.
        series: What the image was made of, the closes or another field, by UTC time, the last at
            `t`; its name is the field's.
        channels: What of the image to show, by name: ndarrays of shape (size, size) in [-1, 1].
        told: What was called, and what came or was there, in words.
        right: Whether it was called right.
        attributions: What the call rested on; None where that is not known.
    """

    window: str
    series: pd.Series
    channels: Mapping[str, NDArray[Any]]
    told: str
    right: bool
    attributions: Attributions | None = None

    @property
    def title(self) -> str:
        """All of it in a line."""
        t = f"{self.series.index[-1]:%Y-%m-%d %H:%M}"
        return f"{self.window}, t = {t} UTC: {self.told}, {'right' if self.right else 'wrong'}"

    def picture(self, number: int) -> Picture:
        """The sample drawn; where it is explained, its line tells of that, too."""
        name, told = f"sample_{number}_{self.window}", self.title
        if self.attributions is None:
            return Picture.of(name, told, sample_image(self.series, self.channels, told))
        figure = explained_image(self.series, self.channels, self.attributions, told)
        largest = self.attributions.told(pd.DatetimeIndex(self.series.index))
        return Picture.of(name, f"{told}; {largest}", figure)


def sample_pictures(samples: Iterable[Sample]) -> list[Picture]:
    """A picture of each sample, numbered in their order."""
    return [sample.picture(number) for number, sample in enumerate(samples, start=1)]
