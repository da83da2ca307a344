"""Download or read bars, and encode the images of a window: what a training needs but a GPU."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gafcnn.app.loading import load_for
from gafcnn.app.train_settings import TrainSettings
from gafcnn.images.store import build_store, store_folder
from gafcnn.settings import create

log = logging.getLogger(__name__)


def prepare(options: Mapping[str, Any]) -> None:
    """Load bars, and store the images of a window where `images.stored` says so.

    Args:
        options: The options of `conf/prepare.yaml`.

    Raises:
        GafcnnError: The options, the bars or the images are invalid, or the disk is full.
    """
    settings = create(TrainSettings, "", options)
    for symbol, bars in load_for(settings).items():
        if settings.images.stored and settings.shows_window:
            folder = store_folder(settings.paths.data, symbol, settings.window)
            store = build_store(folder, bars, settings.window, settings.images.spec)
            log.info("%s images of %s are in %s", f"{len(store.times):,}", symbol, folder)
