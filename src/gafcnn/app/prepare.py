"""Download or read bars, and encode the images of a window: what a training needs but a GPU."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd

from gafcnn.app.options import TrainSettings
from gafcnn.data.bars import fill_quiet, fingerprint, gaps, has_volume, interval_of
from gafcnn.data.labels import DIRECTIONS
from gafcnn.data.market_columns import with_market
from gafcnn.data.reading import FileSource
from gafcnn.data.samples import MOST_NAMES
from gafcnn.data.sources import Source, load_bars
from gafcnn.durations import multiple_of
from gafcnn.images.store import build_store, store_folder
from gafcnn.settings import create

log = logging.getLogger(__name__)


def prepare(options: Mapping[str, Any]) -> None:
    """Load bars, and store the images of a window if `images.stored`, by `conf/prepare.yaml`.

    Raises:
        GafcnnError: The options, the bars or the images are invalid, or the disk is full.
    """
    settings = create(TrainSettings, "", options)
    spec = settings.images.spec
    for symbol, bars in with_market(load_for(settings), spec.read_fields).items():
        if settings.images.stored and settings.shows_window:
            folder = store_folder(settings.paths.data, symbol, settings.window)
            images = build_store(folder, bars, settings.window, spec)
            log.info("%s images of %s are in %s", f"{len(images):,}", symbol, folder)


def load_for(settings: TrainSettings) -> dict[str, pd.DataFrame]:
    """Return the bars of a training, after checking that its window and label fit their interval.

    Raises:
        ConfigError: They do not; before anything is downloaded, if the interval is an option.
        BarsError: The bars are invalid.
    """

    def check(interval: pd.Timedelta) -> None:
        if settings.shows_window:
            settings.window.check_image(interval)
        ahead = vars(settings.label).get("horizon")  # None if it is no option
        if ahead or (ahead is not None and settings.label.classes == DIRECTIONS):
            multiple_of("label.horizon", ahead, interval)

    interval = getattr(settings.market, "interval", None)
    if interval is not None:
        check(interval)
    bars = load(settings.market)
    check(interval_of(next(iter(bars.values()))))
    return bars


def load(source: Source) -> dict[str, pd.DataFrame]:
    """Return the bars of each symbol by `gafcnn.data.sources.load_bars`; log what they are."""
    bars = load_bars(source)
    if len(bars) > MOST_NAMES:
        ends = [frame.index[at] for frame in bars.values() for at in (0, -1)]
        lacking = [len(gaps(frame)) for frame in bars.values()]
        log.info(
            "%d symbols, %s bars from %s to %s UTC, %d symbols with gaps (%s in all)",
            *(len(bars), f"{sum(map(len, bars.values())):,}"),
            *(f"{moment:%Y-%m-%d %H:%M}" for moment in (min(ends), max(ends))),
            *(sum(n > 0 for n in lacking), f"{sum(lacking):,}"),
        )
        return bars
    for symbol, frame in bars.items():
        missing, (first, last) = gaps(frame), frame.index[[0, -1]]
        lacking = f"gaps: {len(missing)} ({missing['missing'].sum():,} bars missing)"
        found = f"{len(frame):,} bars from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        found += f", {lacking if len(missing) else 'no gap'}"
        found += "" if has_volume(frame) else ", no volume"
        log.info("%s: %s%s", symbol, found, _would_fill(source, frame) if len(missing) else "")
    return bars


def _would_fill(source: Any, bars: pd.DataFrame) -> str:
    """Return how many bars the option `fill` of a file would add, if it is not set."""
    # bars are filled before they are resampled: coarse ones do not say how many
    if not isinstance(source, FileSource) or source.fill or source.interval:
        return ""
    filled = len(fill_quiet(bars, source.fill_limit)) - len(bars)
    return f"; market.fill=quiet would fill {filled:,} of them" if filled else ""


def fingerprints(bars: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return what identifies the bars of each symbol."""
    return {symbol: fingerprint(frame) for symbol, frame in bars.items()}
