"""The bars of a command: loaded, logged, and identified by fingerprints."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pandas as pd

from gafcnn.app.train_settings import TrainSettings
from gafcnn.data.bars import fingerprint, gaps, has_volume, interval_of
from gafcnn.data.sources import Source, load_bars
from gafcnn.durations import multiple_of

log = logging.getLogger(__name__)


def load(source: Source) -> dict[str, pd.DataFrame]:
    """Return the bars of each symbol, and log a line about them.

    Raises:
        BarsError, ConfigError: See `gafcnn.data.sources.load_bars`.
    """
    bars = load_bars(source)
    for symbol, frame in bars.items():
        missing = gaps(frame)
        log.info(
            "%s: %s bars from %s to %s UTC, %s%s",
            symbol,
            f"{len(frame):,}",
            f"{frame.index[0]:%Y-%m-%d %H:%M}",
            f"{frame.index[-1]:%Y-%m-%d %H:%M}",
            f"{len(missing)} gaps ({missing['missing'].sum():,} bars)"
            if len(missing)
            else "no gap",
            "" if has_volume(frame) else ", no volume",
        )
    return bars


def load_for(settings: TrainSettings) -> dict[str, pd.DataFrame]:
    """Return the bars of a training, after checking that its window and label fit their interval.

    Raises:
        ConfigError: They do not; before anything is downloaded, if the interval is an option.
        BarsError: The bars are invalid.
    """
    interval = getattr(settings.market, "interval", None)
    if interval is not None:
        _check_interval(settings, interval)
    bars = load(settings.market)
    _check_interval(settings, interval_of(next(iter(bars.values()))))
    return bars


def _check_interval(settings: TrainSettings, interval: pd.Timedelta) -> None:
    if settings.horizon:
        multiple_of("label.horizon", settings.horizon, interval)
    if settings.shows_window:
        settings.window.check_image(interval)


def fingerprints(bars: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return what identifies the bars of each symbol."""
    return {symbol: fingerprint(frame) for symbol, frame in bars.items()}
