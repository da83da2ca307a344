"""A network that learns from the images of a window, as a scikit-learn estimator."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import interval_of
from gafcnn.data.candlestick import Candlestick
from gafcnn.data.samples import Samples
from gafcnn.data.windows import Window, WindowReader, as_window
from gafcnn.durations import format_duration
from gafcnn.errors import ConfigError, LearningError
from gafcnn.images.spec import ImageSpec
from gafcnn.models.class_weights import ClassWeights
from gafcnn.models.estimator import (
    Estimator,
    check_batch_size,
    draw_samples,
    log_classes,
    plain,
    samples_fingerprint,
    training_weights,
)
from gafcnn.models.networks import NETWORKS, load_weights, training_defaults
from gafcnn.settings import create

if TYPE_CHECKING:
    from gafcnn.models.image_sources import ImageSource
    from gafcnn.models.module import GafModule

MIN_POINTS = 8
DEFAULT_SPEC = ImageSpec()
BATCH = 256  # images that are predicted at a time

# parameters that make a training another one; the rest says where and how fast it is computed
_IDENTITY = (
    "window", "network", "image_spec", "weights", "lr", "weight_decay", "batch_size",
    "class_weights", "augmentation", "max_epochs", "patience", "monitor", "monitor_mode",
    "average_weights", "seed",
)  # fmt: skip

log = logging.getLogger(__name__)


class GafClassifier(Estimator):
    """A network that learns from Gramian Angular Field images of a window of bars.

    Args:
        window: The window that an image shows: a `Window`, or a name such as "30m".
        network: The name of a registered network, or a mapping with its name as `kind` and its
            options: `{"kind": "small_cnn", "width": 16}`.
        image_spec: How images are encoded.
        images: "on_the_fly" keeps series in memory and encodes images batch by batch; "stored"
            encodes them once into memory-mapped files under `data_folder`.
        weights: Pretrained weights of resnet18: "imagenet", a file, or None.
        lr: Learning rate at the start; None for the network's default.
        weight_decay: AdamW's weight decay; None for the network's default.
        batch_size: Samples per batch; None for the network's default.
        class_weights: None, "balanced" or a list, for a label of several classes.
        augmentation: An `Augmentation` (or its options) for rare classes; None for none.
        max_epochs: The largest number of epochs.
        patience: Epochs without a better `monitor` after which training ends.
        monitor: The metric of validation that chooses the best epoch: "val/loss", "val/accuracy"
            and "val/auc", or for several classes "val/balanced_accuracy" and "val/macro_f1".
        monitor_mode: "min" or "max".
        average_weights: Decay of a running mean of the weights, see
            `gafcnn.models.callbacks.AveragedWeights`; None for the last weights of an epoch.
        accelerator: "auto" for CUDA, else MPS, else the CPU; or a device.
        devices: Number of devices, or which; more than one with `strategy="ddp"`.
        strategy: Lightning's strategy. With "ddp" the other processes end with the training.
        precision: "auto", or a precision of Lightning; see `gafcnn.models.devices`.
        compile: Whether to use `torch.compile`, or one of its modes.
        loggers: Options of Lightning's loggers by name, such as `{"csv": {}}`.
        progress: Whether to show a progress bar; None shows one on terminals and in notebooks.
        seed: Seed of the initial weights, the order of the samples and dropout.
        folder: Folder for checkpoints and logs, from which a killed training resumes; None writes
            nothing.
        data_folder: Folder for stored images.
        name: Name in the predictions table; by default that of the window.

    Attributes:
        module_: The trained network, a `GafModule` on the CPU.
        classes_: Names of the classes.
        history_: DataFrame of the losses and metrics of each epoch.
        metrics_: Scores on the labelled validation samples, the share of the larger class included.
        best_epoch_: The epoch whose weights are used, from 1.
        facts_: What is known of the training: epochs, steps, samples per second, device, precision.
    """

    module_: GafModule
    history_: pd.DataFrame
    best_epoch_: int

    def __init__(
        self,
        window: Window | str = "30m",
        *,
        network: str | Mapping[str, Any] = "small_cnn",
        image_spec: ImageSpec | Mapping[str, Any] = DEFAULT_SPEC,
        images: Literal["on_the_fly", "stored"] = "on_the_fly",
        weights: str | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
        class_weights: ClassWeights = None,
        augmentation: Any = None,
        max_epochs: int = 50,
        patience: int = 10,
        monitor: str = "val/loss",
        monitor_mode: Literal["min", "max"] = "min",
        average_weights: float | None = None,
        accelerator: str = "auto",
        devices: int | str | list[int] = 1,
        strategy: str = "auto",
        precision: str | int = "auto",
        compile: bool | str = False,  # noqa: A002 - the option's name
        loggers: Mapping[str, Mapping[str, Any] | None] | None = None,
        progress: bool | None = None,
        seed: int = 0,
        folder: str | Path | None = None,
        data_folder: str | Path | None = None,
        name: str | None = None,
    ) -> None:
        self.window = window
        self.network = network
        self.image_spec = image_spec
        self.images = images
        self.weights = weights
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.class_weights = class_weights
        self.augmentation = augmentation
        self.max_epochs = max_epochs
        self.patience = patience
        self.monitor = monitor
        self.monitor_mode = monitor_mode
        self.average_weights = average_weights
        self.accelerator = accelerator
        self.devices = devices
        self.strategy = strategy
        self.precision = precision
        self.compile = compile
        self.loggers = loggers
        self.progress = progress
        self.seed = seed
        self.folder = folder
        self.data_folder = data_folder
        self.name = name

    def check(self, samples: Samples) -> None:
        """Validate the parameters against samples, without loading torch.

        Raises:
            ConfigError: The window does not fit the bars, or a parameter is invalid.
            LearningError: The class weights do not fit the label, or a part lacks classes.
        """
        window, _ = self._window, self._spec
        for symbol in samples.symbols:
            check_window(window, samples, interval_of(samples.bars[symbol]))
        if self._kind not in NETWORKS:
            NETWORKS[self._kind]  # raises with the known names
        if self.images not in ("on_the_fly", "stored"):
            raise ConfigError(
                f"images={self.images!r}",
                expected="on_the_fly or stored",
                instead="set images=on_the_fly",
            )
        if self.images == "stored" and self.data_folder is None:
            raise ConfigError(
                "images='stored' without a data_folder",
                expected="the folder of the stored images",
                instead="pass data_folder='data', or images='on_the_fly'",
            )
        if self.monitor_mode not in ("min", "max"):
            raise ConfigError(
                f"monitor_mode={self.monitor_mode!r}",
                expected="min or max",
                instead="set monitor_mode=min for a loss, max for any other metric",
            )

    def fit(self, samples: Samples) -> Self:
        """Train the network, or resume its training in `folder`.

        Training and validation use labelled samples only.

        Returns:
            The estimator.

        Raises:
            ConfigError, LearningError: See `check`; or the device, the weights or the network are
                not available.
        """
        self.check(samples)
        # torch and Lightning take seconds to import
        import torch

        from gafcnn.models.datamodule import GafDataModule
        from gafcnn.models.devices import find_device
        from gafcnn.models.module import GafModule
        from gafcnn.models.training import TrainingOptions, fit, predict

        samples.check()
        device = find_device(self.accelerator)
        defaults = training_defaults(self._kind)
        batch_size = self.batch_size or defaults.batch_size
        torch.manual_seed(self.seed)
        module = GafModule(
            self._network_options(samples),
            lr=defaults.lr if self.lr is None else self.lr,
            weight_decay=defaults.weight_decay if self.weight_decay is None else self.weight_decay,
        )
        load_weights(module.network, self.weights)
        drawn = draw_samples(self.augmentation, samples)
        module.set_class_weights(training_weights(self.class_weights, samples, drawn))
        n, train, val = len(samples.times), samples.labelled("train"), samples.labelled("val")
        labels = np.concatenate([samples.label, *(part.label for part in drawn)])
        train = np.concatenate([train, np.arange(n, len(labels))])
        check_batch_size(batch_size, len(train))
        log_classes(samples, drawn)
        module.description = self._description(samples, samples_fingerprint(samples, drawn))
        source = self._source(samples, drawn)
        data = GafDataModule(source, labels, train, val, batch_size, self.seed, n)
        training = fit(
            module,
            data,
            TrainingOptions(
                device=device,
                precision=self.precision,
                max_epochs=self.max_epochs,
                patience=self.patience,
                monitor=self.monitor,
                mode=self.monitor_mode,
                average_weights=self.average_weights,
                devices=self.devices,
                strategy=self.strategy,
                compile=self.compile,
                loggers=self.loggers,
                progress=self.progress,
                seed=self.seed,
                folder=None if self.folder is None else Path(self.folder),
            ),
        )
        self.module_, self.classes_ = module, tuple(samples.classes)
        self.history_ = pd.DataFrame(training.rows).set_index("epoch")
        self.facts_, self.best_epoch_ = training.facts, training.facts["best_epoch"]
        self.metrics_ = self._score(samples, predict(module, source, val, device, BATCH))
        self._log_result("epochs")
        return self

    @classmethod
    def load(cls, path: str | Path, **params: Any) -> Self:
        """Load the best network of a training.

        Args:
            path: The folder of the training, or a checkpoint.
            **params: Parameters to set, such as `accelerator`.

        Raises:
            LearningError: There is no checkpoint, or it is damaged.
        """
        from gafcnn.models.checkpoints import BEST, REMEDY
        from gafcnn.models.module import GafModule

        path = Path(path)
        path = path / BEST if path.is_dir() else path
        module = GafModule.load(path)
        if not (stored := module.description):
            raise LearningError(
                f"{path} does not describe its training",
                expected="a checkpoint of GafClassifier",
                instead=REMEDY,
            )
        model = cls(**{**stored["estimator"], **params})
        model.module_, model.classes_ = module, tuple(stored["classes"])
        return model

    def predict_samples(self, samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return P(up) of samples, shape (n,); for several classes (n, classes)."""
        from gafcnn.models.devices import find_device
        from gafcnn.models.training import predict

        self._check_fitted(samples.classes)
        check_window(self._window, samples, interval_of(samples.bars[samples.symbols[0]]))
        source, device = self._source(samples), find_device(self.accelerator)
        return predict(self.module_, source, rows, device, BATCH)

    def predict_at(
        self, bars: pd.DataFrame, rows: NDArray[np.int64], symbol: str = ""
    ) -> NDArray[np.float64]:
        """Return P(up) at rows of bars, shape (n,); for several classes (n, classes)."""
        from gafcnn.models.devices import find_device
        from gafcnn.models.image_sources import SeriesInMemory
        from gafcnn.models.training import predict

        self._check_fitted()
        rows = np.asarray(rows, dtype=np.int64)
        WindowReader(bars, self._window, self._spec.fields)(rows)  # raises where bars are missing
        source = SeriesInMemory([(bars, rows)], self._window, self._spec)
        device = find_device(self.accelerator)
        return predict(self.module_, source, np.arange(len(rows)), device, BATCH)

    @property
    def model_name(self) -> str:
        """The name of the model in the predictions table: that of the window by default."""
        return self.name or self._window.name

    @property
    def lookback(self) -> pd.Timedelta:
        """The bars without a gap that a prediction needs, as a length of time."""
        return self._window.lookback

    @property
    def _window(self) -> Window:
        return as_window(self.window)

    @property
    def _spec(self) -> ImageSpec:
        if isinstance(self.image_spec, ImageSpec):
            return self.image_spec
        return create(ImageSpec, "images", self.image_spec)

    @property
    def _kind(self) -> str:
        """The name of the network."""
        return self.network if isinstance(self.network, str) else str(self.network.get("kind"))

    def _network_options(self, samples: Samples) -> dict[str, Any]:
        own = {"kind": self.network} if isinstance(self.network, str) else plain(self.network)
        classes = len(samples.classes)
        return own | {
            "channels": len(self._spec.channels),
            "outputs": 1 if classes == 2 else classes,
            "size": self._spec.size,
        }

    def _source(self, samples: Samples, drawn: Sequence[Any] = ()) -> ImageSource:
        from gafcnn.models.image_sources import encode_on_the_fly, read_stored

        window, spec = replace(self._window, lookback=samples.lookback), self._spec
        if self.images == "on_the_fly":
            return encode_on_the_fly(samples, window, spec, drawn)
        return read_stored(samples, window, spec, Path(str(self.data_folder)), drawn)

    def _description(self, samples: Samples, fingerprint: str) -> dict[str, Any]:
        """Return what a checkpoint holds besides the weights, as plain data."""
        values = {name: plain(getattr(self, name)) for name in _IDENTITY}
        values |= {"window": plain(self._window), "image_spec": plain(self._spec)}
        return {
            "estimator": {**values, "name": self.name},
            "classes": list(samples.classes),
            "identity": {**values, "samples": fingerprint},
        }


def check_window(window: Window, samples: Samples, interval: pd.Timedelta) -> None:
    """Validate that a window suits bars of this interval, and the lookback of the samples.

    Raises:
        ConfigError: It has fewer than 8 points, is longer than the lookback, or shows other candles
            than those whose patterns are the label.
    """
    points = window.points(interval)
    if points < MIN_POINTS:
        raise ConfigError(
            f"window {window.name} has {points} points over bars of {format_duration(interval)}",
            expected=f"{MIN_POINTS} or more",
            instead="use a window of more points, such as window=10x15m, or finer bars",
        )
    offsets = window.offsets(interval)
    candle = interval * int(offsets[1] - offsets[0])
    span = candle * points
    if span > samples.lookback:
        raise ConfigError(
            f"window {window.name} shows {format_duration(span)}, and the samples' lookback is "
            f"{format_duration(samples.lookback)}",
            expected="a lookback that is as long as the window",
            instead=f"call make_samples(..., lookback={format_duration(span)!r}), or set "
            f"window.lookback={format_duration(span)}",
        )
    if candle != interval and isinstance(samples.label_definition, Candlestick):
        raise ConfigError(
            f"window {window.name} shows candles of {format_duration(candle)}, and the label is "
            f"the pattern of bars of {format_duration(interval)}",
            expected="candles that are the bars",
            instead=f"set market.interval={format_duration(candle)}, or "
            f"window.step={format_duration(interval)}",
        )
