"""A network that learns from the images of a window, as a scikit-learn estimator."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.augmentation import Drawn
from gafcnn.data.bars import interval_of
from gafcnn.data.candlestick import Candlestick
from gafcnn.data.samples import Samples
from gafcnn.data.windows import Window, WindowReader
from gafcnn.durations import format_duration
from gafcnn.errors import ConfigError
from gafcnn.images.spec import ImageSpec
from gafcnn.models.class_weights import ClassWeights
from gafcnn.models.estimator import Estimator, plain, window_from
from gafcnn.models.networks import training_defaults
from gafcnn.settings import create

if TYPE_CHECKING:
    from gafcnn.models.image_sources import ImageSource
    from gafcnn.models.module import GafModule

DEFAULT_SPEC = ImageSpec()

# parameters that make a training another one; the rest says where and how fast it is computed
_IDENTITY = (
    "window", "network", "image_spec", "weights", "lr", "weight_decay", "batch_size",
    "class_weights", "augmentation", "max_epochs", "patience", "monitor", "monitor_mode",
    "average_weights", "seed",
)  # fmt: skip


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
        facts_: Facts of the training: epochs, steps, samples per second, device, precision.
    """

    module_: GafModule
    history_: pd.DataFrame
    best_epoch_: int

    def __init__(
        self,
        window: Window | str | dict[str, Any] = "30m",
        *,
        network: str | dict[str, Any] = "small_cnn",
        image_spec: ImageSpec | dict[str, Any] = DEFAULT_SPEC,
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
        """Check the parameters against samples, before torch is imported.

        Raises:
            ConfigError: The window does not fit the bars, or a parameter is invalid.
        """
        for bars in samples.bars.values():
            self._check_window(samples, interval_of(bars))
        n, batch_size = len(samples.labelled("train")), self._setting("batch_size")
        if not 2 <= batch_size <= n:
            raise ConfigError(
                f"batch_size={batch_size} with {n:,} labelled training samples",
                expected=f"a batch size from 2 to {n:,}",
                instead="use a smaller batch size, or more bars",
            )
        if self.images not in ("on_the_fly", "stored") or self.monitor_mode not in ("min", "max"):
            raise ConfigError(
                f"images={self.images!r} and monitor_mode={self.monitor_mode!r}",
                expected="images of on_the_fly or stored, and a mode of min or max",
                instead="correct the name",
            )
        if self.images == "stored" and self.data_folder is None:
            raise ConfigError(
                "images='stored' without a data_folder",
                expected="the folder of the stored images",
                instead="pass data_folder='data', or images='on_the_fly'",
            )

    def fit(self, samples: Samples) -> Self:
        """Train the network, or resume its training in `folder`.

        Training and validation use labelled samples only. torch's random generator is seeded.

        Returns:
            The estimator.

        Raises:
            ConfigError: See `check`.
            LearningError: The device, the weights or the network are not available, a part has
                fewer than two classes, or no epoch had a finite metric.
        """
        self.check(samples)
        # torch and Lightning take seconds to import
        import torch

        from gafcnn.models.datamodule import GafDataModule
        from gafcnn.models.devices import find_device
        from gafcnn.models.module import GafModule
        from gafcnn.models.training import fit, predict

        device = find_device(self.accelerator)
        torch.manual_seed(self.seed)
        module = GafModule(
            self._network_options(samples), self._setting("lr"), self._setting("weight_decay")
        )
        module.load_pretrained(self.weights)
        drawn, weights = self._draw(samples)
        module.set_class_weights(weights)
        module.description = self._description(samples)
        source, n, val = self._source(samples, drawn), len(samples), samples.labelled("val")
        labels = np.concatenate([samples.label, *(part.label for part in drawn)])
        train = np.concatenate([samples.labelled("train"), np.arange(n, len(labels))])
        data = GafDataModule(
            source, labels, train, val, self._setting("batch_size"), self.seed, additional=n
        )
        rows, facts = fit(self, module, data, device)
        self.module_, self.classes_, self.facts_ = module, samples.classes, facts
        self.history_, self.best_epoch_ = pd.DataFrame(rows).set_index("epoch"), facts["best_epoch"]
        self._score(samples, predict(module, source, val, device), "epochs")
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
        from gafcnn.models.checkpoints import BEST
        from gafcnn.models.module import GafModule

        module = GafModule.load(Path(path) / BEST if Path(path).is_dir() else Path(path))
        model = cls(**{**module.description["parameters"], **params})
        model.set_params(window=model._window, image_spec=model._spec)
        model.module_, model.classes_ = module, tuple(module.description["classes"])
        return model

    def predict_samples(self, samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return P(up) of samples, shape (n,); for several classes (n, classes)."""
        self._check_fitted(samples.classes)
        for bars in samples.bars.values():
            self._check_window(samples, interval_of(bars))
        return self._predict(self._source(samples), rows)

    def predict_at(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return P(up) at rows of bars, shape (n,); for several classes (n, classes)."""
        self._check_fitted()
        from gafcnn.models.image_sources import SeriesInMemory

        rows = np.asarray(rows, dtype=np.int64)
        WindowReader(bars, self._window, self._spec.fields)(rows)  # raises if bars are missing
        source = SeriesInMemory([(bars, rows)], self._window, self._spec)
        return self._predict(source, np.arange(len(rows)))

    @property
    def model_name(self) -> str:
        """The name of the model in the predictions table: that of the window by default."""
        return self.name or self._window.name

    @property
    def lookback(self) -> pd.Timedelta:
        """The gap-free stretch of bars that a prediction needs."""
        return self._window.lookback

    @property
    def _window(self) -> Window:
        return window_from(self.window)

    @property
    def _spec(self) -> ImageSpec:
        spec = self.image_spec
        return spec if isinstance(spec, ImageSpec) else create(ImageSpec, "images", spec)

    @property
    def _kind(self) -> str:
        """The name of the network."""
        return self.network if isinstance(self.network, str) else self.network["kind"]

    def _setting(self, name: str) -> Any:
        """Return a parameter, or the network's default for it."""
        value = getattr(self, name)
        return training_defaults(self._kind)[name] if value is None else value

    def _network_options(self, samples: Samples) -> dict[str, Any]:
        own = {} if isinstance(self.network, str) else self.network
        return plain(own) | {
            "kind": self._kind,
            "channels": len(self._spec.channels),
            "outputs": 1 if samples.task == "direction" else len(samples.classes),
            "size": self._spec.size,
        }

    def _check_window(self, samples: Samples, interval: pd.Timedelta) -> None:
        """Check that the window suits bars of this interval, the lookback and the label."""
        window = self._window
        window.check_image(interval)
        if window.span > samples.lookback:
            span = format_duration(window.span)
            raise ConfigError(
                f"window {window.name} shows {span}, and the samples' lookback is "
                f"{format_duration(samples.lookback)}",
                expected="a lookback that is as long as the window",
                instead=f"call make_samples(..., lookback={span!r})",
            )
        candle = window.step_of(interval)
        if candle != interval and isinstance(samples.definition, Candlestick):
            step, bar = format_duration(candle), format_duration(interval)
            raise ConfigError(
                f"window {window.name} shows candles of {step}, and the label is the pattern of "
                f"bars of {bar}",
                expected="candles that are the bars",
                instead=f"set market.interval={step}, or window.step={bar}",
            )

    def _source(self, samples: Samples, drawn: Sequence[Drawn] = ()) -> ImageSource:
        from gafcnn.models.image_sources import image_source

        folder = Path(str(self.data_folder)) if self.images == "stored" else None
        return image_source(samples, self._window, self._spec, folder, drawn)

    def _predict(self, source: ImageSource, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        from gafcnn.models.devices import find_device
        from gafcnn.models.training import predict

        return predict(self.module_, source, positions, find_device(self.accelerator))

    def _description(self, samples: Samples) -> dict[str, Any]:
        """Return what a checkpoint holds besides the weights, as plain data."""
        values = {name: plain(getattr(self, name)) for name in _IDENTITY}
        values |= {"window": plain(self._window), "image_spec": plain(self._spec)}
        prices = (bars["close"].to_numpy() for bars in samples.bars.values())
        fingerprint = 0
        for array in (samples.times, samples.label, samples.split.train, *prices):
            fingerprint = zlib.crc32(array.tobytes(), fingerprint)
        return {
            "parameters": {**values, "name": self.name},
            "classes": list(samples.classes),
            "identity": {**values, "samples": fingerprint},
        }
