"""From nodes of the configuration to the objects that they name."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lightning
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import Callback
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from gafcnn.app.runs import BEST
from gafcnn.data.augmentation import Augmentation, Drawn, class_counts
from gafcnn.data.bars import fingerprint, gaps, has_volume, interval_of
from gafcnn.data.labels import Label
from gafcnn.data.multi_symbol import check_together, per_symbol
from gafcnn.data.samples import LabelledSamples, Splitter
from gafcnn.data.sources import Market
from gafcnn.data.windows import Window, decision_rows
from gafcnn.durations import format_duration, parse_duration
from gafcnn.errors import ConfigError
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import open_series, open_store
from gafcnn.images.store_spec import image_plan, series_plan
from gafcnn.images.writing import build_series, build_store, check_room
from gafcnn.models.batch_norm import shared_batch_norm
from gafcnn.models.checkpoints import WholeCheckpoints
from gafcnn.models.class_weights import class_weights
from gafcnn.models.devices import Device
from gafcnn.models.image_sources import ImagesOnTheFly, ImageSource, PooledImages, StoredImages
from gafcnn.models.module import GafModule
from gafcnn.models.networks import start_from
from gafcnn.models.objectives import outputs_for
from gafcnn.models.processes import Processes, environment
from gafcnn.progress import counting

log = logging.getLogger(__name__)

Made = TypeVar("Made")

LEAST_POINTS = 8
STORED = "stored"  # the option of images that says where they are made, not what of
_MISFITS = (TypeError, ImportError, type(None))  # an error that says that a node fits no target
PROGRESS = "progress"  # among the callbacks
COMPILE = "compile"  # the option of a trainer that is about the network, not for Lightning


def made(node: DictConfig, kind: type[Any] = object, /, **more: Any) -> Any:
    """What a node with a `_target_` describes.

    Args:
        node: The node.
        kind: What it has to be.
        **more: Further options.

    Raises:
        Exception: What the target raised, without Hydra's wrapping.
        ConfigError: Where there is no such target, it does not take the node's options, or what it
            makes is of another kind.
    """
    try:
        found = instantiate(node, _convert_="all", **more)
    except (InstantiationException, ImportError) as error:
        cause = error.__cause__
        if isinstance(error, InstantiationException) and not isinstance(cause, _MISFITS):
            raise cause from None
        told = " ".join(str(error).split())
        raise ConfigError(
            re.sub(r", set env var \w+=1 to see chained exception\.", ";", told),
            expected="the options that this _target_ takes",
            instead="compare with its file in conf/",
        ) from error
    if not isinstance(found, kind):
        raise ConfigError(
            f"{node.get('_target_')} makes a {type(found).__name__}",
            expected=f"a {kind.__name__}",
            instead="correct the _target_: compare with its file in conf/",
        )
    return found


def _of_lightning(node: DictConfig, kind: type[Any], **more: Any) -> Any:
    """The same of what Lightning offers, which refuses options in many ways.

    Raises:
        ConfigError: It does.
    """
    try:
        return made(node, kind, **more)
    except (ValueError, AttributeError, KeyError, MisconfigurationException) as error:
        raise ConfigError(
            f"{node.get('_target_')} refuses its options ({' '.join(str(error).split())})",
            expected="those that Lightning documents",
            instead="compare with its file in conf/",
        ) from error


def plain(node: DictConfig) -> dict[str, Any]:
    """A node as dicts, lists and scalars, all interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)  # pyright: ignore[reportReturnType]


def is_baseline(cfg: DictConfig) -> bool:
    """Whether the configuration asks for boosted trees, not for a network."""
    return "trees" in cfg.model


def load_markets(cfg: DictConfig) -> list[Market]:
    """The bars of each symbol that `cfg.market` names, and a line about them.

    Raises:
        ConfigError: It names none or one twice, or bars of one symbol are longer than another's.
    """
    markets = [_load(options) for options in per_symbol(plain(cfg.market))]
    check_together(markets)
    return markets


def _load(options: dict[str, Any]) -> Market:
    market: Market = made(OmegaConf.create(options), Market)
    bars, missing = market.bars, gaps(market.bars)
    log.info(
        "%s: %s bars from %s to %s UTC, %s%s",
        market.symbol,
        f"{len(bars):,}",
        f"{bars.index[0]:%Y-%m-%d %H:%M}",
        f"{bars.index[-1]:%Y-%m-%d %H:%M}",
        f"{len(missing)} gaps ({missing['missing'].sum():,} bars)" if len(missing) else "no gap",
        "" if has_volume(bars) else ", no volume",
    )
    return market


def fingerprints(markets: Sequence[Market]) -> str | dict[str, str]:
    """What tells bars from others: of one symbol its fingerprint, of several each one's."""
    found = {market.symbol: fingerprint(market.bars) for market in markets}
    return found if len(markets) > 1 else found[markets[0].symbol]


def load_window(cfg: DictConfig, market: Market) -> Window:
    """The window, if it has enough points over these bars to make a picture.

    Raises:
        ConfigError: Where it has not: two points can only say whether prices rose. Or where it
            shows other candles than those that the label tells the patterns of.
    """
    window, interval = _of(Window, cfg.window), interval_of(market.bars)
    points = window.points(interval)
    if points < LEAST_POINTS:
        raise ConfigError(
            f"window {window.name} has {points} points over bars of {format_duration(interval)}",
            expected=f"{LEAST_POINTS} or more",
            instead="take a window of coarser steps, such as window=15m_x10, or finer bars",
        )
    candle = window.span // points
    if candle != interval and not made(cfg.label).horizon:
        raise ConfigError(
            f"window {window.name} is of candles of {format_duration(candle)}, and its label tells the "
            f"patterns of bars of {format_duration(interval)}",
            expected="candles that are the bars",
            instead=f"set market.interval={format_duration(candle)}, or window.step={format_duration(interval)}",
        )
    return window


def load_spec(cfg: DictConfig) -> ImageSpec:
    """What the images of `cfg.images` are made of, wherever they are made.

    Raises:
        ImagesError, SamplesError: They cannot be.
    """
    on_the_fly = not _is_stored(cfg)
    images = _of(ImageSpec, cfg.images, STORED)
    if on_the_fly:
        images.check_on_the_fly()
    return images


def load_images(cfg: DictConfig, markets: Sequence[Market]) -> ImageSource:
    """The window's images over these bars; what is on disk of them is written if it is not there.

    Raises:
        ConfigError, ImagesError, SamplesError: The bars cannot fill the window, or its images
            cannot be made.
    """
    if len(markets) > 1 and _is_stored(cfg):
        window, images = load_window(cfg, markets[0]), load_spec(cfg)
        check_room({_store(cfg, one): one.bars for one in markets}, window, images)
    sources = [_images_of(cfg, market) for market in markets]
    return sources[0] if len(sources) == 1 else PooledImages(sources)


def _images_of(cfg: DictConfig, market: Market) -> ImageSource:
    window, images, folder = load_window(cfg, market), load_spec(cfg), _store(cfg, market)
    if _is_stored(cfg):
        return StoredImages(build_store(folder, market.bars, window, images))
    rows = decision_rows(market.bars, window.lookback)
    offsets = window.offsets(interval_of(market.bars))
    store = build_series(folder, market.bars, window, images.fields)
    return ImagesOnTheFly(store, rows, offsets, images)


def images_on_disk(cfg: DictConfig, market: Market) -> ImageSource | None:
    """The window's images over these bars as they lie on disk, or their series; nothing is written.

    None where there are none, or of other bars or options.

    Raises:
        StoreError: They are damaged.
    """
    window, images, folder = load_window(cfg, market), load_spec(cfg), _store(cfg, market)
    if _is_stored(cfg):
        plan = image_plan(folder, market.bars, window, images, 1)
        if not plan.is_there() or not plan.is_told_by((store := open_store(folder)).metadata):
            return None
        return StoredImages(store)
    plan = series_plan(folder, market.bars, window, images.fields, 1)
    if not plan.is_there() or not plan.is_told_by((series := open_series(folder)).metadata):
        return None
    rows = decision_rows(market.bars, window.lookback)
    offsets = window.offsets(interval_of(market.bars))
    return ImagesOnTheFly(series, rows, offsets, images)


def _of(kind: Callable[..., Made], node: DictConfig, *less: str) -> Made:
    """What a section without a `_target_` describes, by its options less some.

    Raises:
        ConfigError: It has others, or lacks one.
    """
    options = {key: value for key, value in plain(node).items() if key not in less}
    try:
        return kind(**options)
    except TypeError as error:
        raise ConfigError(
            f"{node._get_full_key(None)} does not take its options ({error})",
            expected="those of its file in conf/",
            instead="correct them, or leave them out",
        ) from error


def _is_stored(cfg: DictConfig) -> bool:
    return cfg.images.get(STORED) is not False  # a run may be older than the option


def _store(cfg: DictConfig, market: Market) -> Path:
    """The folder of a symbol's images, or of their series."""
    kind = "gaf" if _is_stored(cfg) else "series"
    return Path(cfg.paths.data, kind, f"{market.symbol}_{cfg.window.name}")


def load_samples(cfg: DictConfig, markets: Sequence[Market]) -> LabelledSamples:
    """Decision times, labels and split over these bars, symbol after symbol."""
    lookback = parse_duration("window.lookback", cfg.window.lookback)
    bars = {market.symbol: market.bars for market in markets}
    return LabelledSamples.make(bars, lookback, made(cfg.label, Label), made(cfg.split, Splitter))


def drawn_samples(cfg: DictConfig, market: Market, samples: LabelledSamples) -> list[Drawn]:
    """Further training samples, from bars that never were, where `cfg.augmentation` asks for them.

    Raises:
        ConfigError: The label looks ahead, or the bars are too few to be shuffled.
    """
    node = OmegaConf.select(cfg, "augmentation")
    if not node:
        return []
    augmentation: Augmentation = made(node, Augmentation)
    lookback = parse_duration("window.lookback", cfg.window.lookback)
    with counting("drawing samples", len(augmentation), "sources") as advance:
        drawn = []
        for part in augmentation.draw(market.bars, samples, lookback, made(cfg.label)):
            drawn.append(part)
            advance(1)
    return drawn


def train_weights(
    cfg: DictConfig, samples: LabelledSamples, drawn: Sequence[Drawn]
) -> list[float] | None:
    """What a training sample of each class counts, drawn ones among them.

    Raises:
        LearningError: `model.class_weights` cannot be of these classes.
    """
    counts = samples.counts("train") + class_counts(drawn, len(samples.classes))
    return class_weights(plain(cfg.model)["class_weights"], samples.classes, counts)


def new_module(cfg: DictConfig) -> GafModule:
    """The network of `cfg.model`, at its start, with its training rules."""
    model, images = plain(cfg.model), load_spec(cfg)
    network = model["network"] | {
        "channels": len(images.channels),
        "outputs": outputs_for(made(cfg.label).classes),
        "size": images.size,
    }
    module = GafModule(network, lr=model["lr"], weight_decay=model["weight_decay"])
    start_from(module.network, model["weights"])
    return module


def new_trainer(
    cfg: DictConfig, folder: Path, device: Device, processes: Processes, more: Sequence[Callback]
) -> lightning.Trainer:
    """A trainer on these devices that writes checkpoints and logs into the run's folder."""
    progress = _progress(cfg)
    others = {name: node for name, node in cfg.callbacks.items() if name != PROGRESS}
    callbacks = [*progress, *(_of_lightning(node, Callback) for node in others.values() if node)]
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            # as checkpoints name it, or a training that goes on would forget its best epoch
            callback.dirpath = str((folder / BEST).parent.resolve())
    loggers = [
        _of_lightning(node, Logger, save_dir=str(folder))
        for node in (cfg.logger or {}).values()
        if node
    ]
    options = {key: value for key, value in plain(cfg.trainer).items() if key != COMPILE}
    return _of_lightning(
        OmegaConf.create(options),
        lightning.Trainer,
        accelerator=device.kind,
        devices=processes.devices,
        num_nodes=processes.nodes,
        plugins=[environment(), shared_batch_norm(device.kind), WholeCheckpoints()],
        use_distributed_sampler=False,
        callbacks=[*callbacks, *more],
        logger=loggers or False,
        default_root_dir=str(folder),
        enable_progress_bar=bool(progress),
    )


def new_predictor(cfg: DictConfig, device: Device, devices: int | list[int]) -> lightning.Trainer:
    """A trainer of one process that only predicts: in order, and each sample once."""
    progress = _progress(cfg)
    return lightning.Trainer(
        accelerator=device.kind,
        devices=devices,
        plugins=[environment()],
        precision=cfg.trainer.precision,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=progress,
        enable_progress_bar=bool(progress),
    )


def _progress(cfg: DictConfig) -> list[Callback]:
    """The progress bar of the configuration; none where nobody sees it, as in a log file."""
    node, console = cfg.callbacks.get(PROGRESS), Console()
    seen = console.is_terminal or console.is_jupyter
    return [_of_lightning(node, Callback)] if node and seen else []
