"""A network that learns from the images of a window, as a scikit-learn estimator."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, InstanceOf
from sklearn.base import clone

from gafcnn.data.augmentation import Augmentation, Drawn
from gafcnn.data.bars import interval_of
from gafcnn.data.labels import Candlestick
from gafcnn.data.samples import Samples
from gafcnn.data.windows import Window, WindowReader, as_window, close_times, decision_rows
from gafcnn.durations import format_duration
from gafcnn.errors import ConfigError, LearningError
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import build_store, store_folder
from gafcnn.models.estimator import ClassWeights, Estimator, Part, plain
from gafcnn.models.networks import training_defaults
from gafcnn.models.out_of_fold import Offsets, checksum
from gafcnn.settings import create

if TYPE_CHECKING:
    from gafcnn.models.batches import ImageSource
    from gafcnn.models.module import GafModule

DEFAULT_SPEC = ImageSpec()
BATCH = 256  # samples that are predicted at a time
_BLANK = 0.95  # share of images of one grey, above which a channel shows nothing

log = logging.getLogger(__name__)
CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]


@dataclass(eq=False, repr=False)
class GafClassifier(Estimator):
    """A network that learns from Gramian Angular Field images of a window of bars.

    For a label of a cross-section it learns one network for all symbols, whose forecasts of the
    target are scores.

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
        batch_size: Samples per batch, or all if they are fewer; None for the network's default.
        class_weights: None, "balanced" or a list, for a label of several classes.
        augmentation: An `Augmentation` (or its options) for rare classes; None for none.
        max_epochs: The largest number of epochs.
        patience: Epochs without a better `monitor` after which training ends.
        monitor: The metric of validation that chooses the best epoch: "val/loss", "val/accuracy"
            and "val/auc"; for several classes "val/balanced_accuracy" and "val/macro_f1"; for a
            continuous target "val/correlation".
        monitor_mode: "min" or "max".
        average_weights: Decay of a running mean of the weights, see
            `gafcnn.models.training.AveragedWeights`; None for the last weights of an epoch.
        accelerator: "auto" for CUDA, else MPS, else the CPU; or a device.
        devices: Number of devices, or which; more than one with `strategy="ddp"`.
        strategy: Lightning's strategy. With "ddp" the other processes end with the training.
        precision: "auto", or a precision of Lightning; see
            `gafcnn.models.training.choose_precision`.
        compile: Whether to use `torch.compile`, or one of its modes.
        loggers: Options of Lightning's loggers by name, such as `{"csv": {}}`.
        progress: Whether to show a progress bar; None shows one on terminals and in notebooks.
        seed: Seed of the initial weights, the order of the samples and dropout.
        seeds: Number of networks, with the seeds `seed`, `seed + 1` and so on, whose mean forecasts
            are the predictions (Lakshminarayanan, Pritzel and Blundell, 2017).
        offset: Forecasts of another model, see `gafcnn.models.out_of_fold`, that are added to the
            network's output. The network starts at zero and learns what the other model has left.
            Files hold a checksum of the table only: pass it to `load` again.
        folder: Folder for checkpoints and logs, from which a killed training resumes, those of
            several seeds in its folders `seed=0` and so on; None writes nothing.
        data_folder: Folder for stored images.
        name: Name in the predictions table; by default that of the window.

    Attributes:
        module_: The trained network, a `GafModule` on the CPU; for one seed.
        models_: The fitted model of each seed, if there are several.
        seed_scores_: DataFrame of the scores of each of several seeds on validation.
        classes_: Names of the classes.
        history_: DataFrame of the losses and metrics of each epoch.
        metrics_: Scores on the labelled validation samples, the share of the larger class included;
            for several seeds those of the mean, and as `seeds` the lowest and the highest of each.
        best_epoch_: The epoch whose weights are used, from 1; for one seed.
        facts_: Facts of the training: epochs, steps, samples per second, device, precision.
    """

    window: Window | str | Mapping[str, Any] = "30m"
    _: KW_ONLY
    network: str | Mapping[str, Any] = "small_cnn"
    image_spec: ImageSpec | Mapping[str, Any] = DEFAULT_SPEC
    images: Literal["on_the_fly", "stored"] = "on_the_fly"
    weights: str | None = None
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    batch_size: Annotated[int, Field(ge=2, strict=True)] | None = None
    class_weights: ClassWeights = None
    augmentation: Augmentation | Mapping[str, Any] | None = None
    max_epochs: Annotated[int, Field(ge=1, strict=True)] = 50
    patience: Annotated[int, Field(ge=0, strict=True)] = 10
    monitor: str = "val/loss"
    monitor_mode: Literal["min", "max"] = "min"
    average_weights: Annotated[float, Field(ge=0, lt=1)] | None = None
    accelerator: str = "auto"
    devices: int | str | list[int] = 1
    strategy: str = "auto"
    precision: str | int = "auto"
    compile: Annotated[bool, Field(strict=True)] | CompileMode = False
    loggers: Mapping[str, Mapping[str, Any] | None] | None = None
    progress: bool | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    seeds: Annotated[int, Field(ge=1, strict=True)] = 1
    offset: InstanceOf[pd.DataFrame] | None = None
    folder: str | Path | None = None
    data_folder: str | Path | None = None
    name: str | None = None
    module_: GafModule = field(init=False)
    history_: pd.DataFrame = field(init=False)
    best_epoch_: int = field(init=False)
    models_: list[Self] = field(init=False)
    seed_scores_: pd.DataFrame = field(init=False)

    def check(self, samples: Samples, y: None = None) -> None:
        """Check the parameters, also against samples, before torch is imported.

        Raises:
            ConfigError: The window does not fit the bars, or a parameter is invalid.
            LearningError: A part has labelled samples of fewer than two classes.
        """
        super().check(samples, y)
        window = replace(as_window(self.window), lookback=samples.lookback)
        for interval in map(interval_of, samples.bars.values()):
            window.check_image(interval)
            self._spec.check_points(window.count_points(interval))
            candle = window.step_of(interval)
            if candle != interval and isinstance(samples.definition, Candlestick):
                step, bar = format_duration(candle), format_duration(interval)
                raise ConfigError(
                    f"window {window.name} shows candles of {step}, the label is of bars of {bar}",
                    expected="candles that are the bars",
                    instead=f"set market.interval={step}, or window.step={bar}",
                )
        if self.offset is not None and self.augmentation is not None:
            raise ConfigError(
                "an offset with augmentation",
                expected="one of them, as samples that are drawn have no offset",
                instead="set augmentation=None",
            )
        if self.seeds > 1 and self.strategy != "auto":
            raise ConfigError(
                f"seeds={self.seeds} with strategy={self.strategy}",
                expected="one process, as the others end with the first training",
                instead="set strategy='auto', or seeds=1",
            )
        if self.images == "stored" and self.data_folder is None:
            raise ConfigError(
                "images='stored' without data_folder",
                expected="a folder for the stored images",
                instead="pass data_folder='data', or images='on_the_fly'",
            )

    def fit(self, samples: Samples, y: None = None) -> Self:
        """Train the network, or resume its training in `folder`; return the estimator.

        Training and validation use labelled samples only. torch's random generator is seeded.

        Raises:
            ConfigError: See `check`.
            LearningError: The device, the weights or the network are not available, a part has
                fewer than two classes, or no epoch had a finite metric.
        """
        self.check(samples, y)
        if self.seeds > 1:
            return self._fit_seeds(samples)
        # torch and Lightning take seconds to import
        import torch

        from gafcnn.models.batches import Batches
        from gafcnn.models.module import GafModule
        from gafcnn.models.training import find_device, fit

        device = find_device(self.accelerator)
        torch.manual_seed(self.seed)
        outputs = len(samples.classes) if samples.task == "classification" else 1
        loss = "cross_entropy" if samples.classes else "huber"
        shape = {"channels": len(self._spec.channels), "outputs": outputs, "size": self._spec.size}
        options = (float(self._setting(name)) for name in ("lr", "weight_decay"))
        module = GafModule(self._network | shape, *options, loss=loss)
        if self.weights is not None:
            if (load := getattr(module.network, "load_pretrained", None)) is None:
                raise LearningError(
                    f"model.weights={self.weights} for the network {self._network['kind']}",
                    expected="a network with pretrained weights, such as resnet18",
                    instead="leave model.weights out, or set it to null",
                )
            load(self.weights)
        if self.offset is not None:
            module.zero_output()
        drawn, labels, train, weights = self._draw(samples)
        module.class_weights = None if weights is None else torch.tensor(weights)
        module.description = self._describe(samples)
        source, n, val = self._source(samples, drawn), len(samples), samples.labelled("val")
        module.to_images, size = source.to_images, min(self._setting("batch_size"), len(train))
        if source.offsets is not None:
            source.offsets.of(np.concatenate([train, val]))  # raises before the training
        some = train[:: -(-len(train) // BATCH)]
        shown = source.to_images(torch.from_numpy(source.read(some)))
        for channel, one in zip(self._spec.channels, shown.unbind(1), strict=True):
            blank = float((one.amax((1, 2)) == one.amin((1, 2))).float().mean())
            if blank > _BLANK:
                log.warning(
                    "channel %s of %s: %.0f %% of the images are blank; use another field, or "
                    "images.scaling=per_field", *reversed(channel), 100 * blank
                )  # fmt: skip
        batches = Batches(source, labels, train, size, self.seed, additional=n)
        rows, facts = fit(self, module, batches, Batches(source, labels, val, size), device)
        self.module_, self.classes_, self.facts_ = module, samples.classes, facts
        self.history_, self.best_epoch_ = pd.DataFrame(rows).set_index("epoch"), facts["best_epoch"]
        self._score(samples, self._predict(source, val), "epochs")
        return self

    def _fit_seeds(self, samples: Samples) -> Self:
        self.models_, self.classes_ = [], samples.classes
        for seed in range(self.seed, self.seed + self.seeds):
            folder = None if self.folder is None else Path(self.folder) / f"seed={seed}"
            model: Any = clone(self)
            self.models_.append(model.set_params(seed=seed, seeds=1, folder=folder).fit(samples))
        self._describe(samples)
        facts = {str(model.seed): model.facts_ for model in self.models_}
        self.facts_ = {"epochs": sum(one["epochs"] for one in facts.values()), "seeds": facts}
        self.seed_scores_ = pd.DataFrame(
            {name: x for name, x in model.metrics_.items() if isinstance(x, float)}
            for model in self.models_
        ).set_axis(pd.Index([model.seed for model in self.models_], name="seed"))
        val = samples.labelled("val")
        self._score(samples, self._predict(self._source(samples), val), "epochs")
        scores = self.seed_scores_.items()
        self.metrics_["seeds"] = {name: [of.min(), of.max()] for name, of in scores}
        return self

    @classmethod
    def load(cls, path: str | Path, **params: Any) -> Self:
        """Load the best network of a training, by its folder or a checkpoint, and set parameters.

        Raises:
            LearningError: There is no checkpoint, it is damaged, or that of a seed is missing.
        """
        from gafcnn.models.module import BEST, GafModule

        parts = [*Path(path).glob("seed=[0-9]*")]
        if parts and not (Path(path) / BEST).is_file():
            return cls._of_seeds([cls.load(part, **params) for part in parts], path)
        module = GafModule.load(Path(path) / BEST if Path(path).is_dir() else Path(path))
        model = cls(**{**module.description["parameters"], "offset": None, **params})
        model.set_params(window=as_window(model.window), image_spec=model._spec)
        model.module_, model._description = module, module.description
        model._description["parameters"] |= {"image_spec": plain(model._spec)}  # all its options
        model.classes_ = tuple(module.description["classes"])
        return model

    @classmethod
    def _of_seeds(cls, models: Sequence[Self], path: str | Path) -> Self:
        """Return one model of several, each fitted with another seed."""
        models = sorted(models, key=lambda model: model.seed)
        first, seeds = models[0], [model.seed for model in models]
        if seeds != [*range(seeds[0], seeds[0] + len(seeds))]:
            raise LearningError(
                f"the models in {path} have the seeds {', '.join(map(str, seeds))}",
                expected="consecutive seeds",
                instead="load one of the folders, or train with seeds in another folder",
            )
        model: Any = clone(first)
        model.set_params(seeds=len(seeds))
        model.models_, model.classes_ = models, first.classes_
        model._description = first._description | {"parameters": model._parameters()}
        return model

    def _check_fitted(self, found: Samples | pd.DataFrame) -> None:
        super()._check_fitted(found)
        fitted = "offset" in self._description["parameters"]
        if fitted == (self.offset is None):
            raise LearningError(
                f"the model was fitted with{'' if fitted else 'out'} an offset",
                expected="a table of offsets for the samples" if fitted else "no offset",
                instead=f"pass offset={'table' if fitted else None} to load or to set_params",
            )
        if fitted and not isinstance(found, Samples):
            raise LearningError(
                "bars, for a model with an offset",
                expected="samples, whose symbols and times have an offset",
                instead="call predict or predict_samples with gc.make_samples(...)",
            )

    @property
    def _window(self) -> Window:
        window = as_window(self.window)
        return replace(window, lookback=self.lookback, overnight=self.overnight)

    @property
    def _spec(self) -> ImageSpec:
        spec = self.image_spec
        return spec if isinstance(spec, ImageSpec) else create(ImageSpec, "images", spec)

    @property
    def _fields(self) -> tuple[str, ...]:
        return self._spec.read_fields

    @property
    def _network(self) -> dict[str, Any]:
        """The name of the network, as `kind`, and its own options."""
        name = self.network
        return {"kind": name} if isinstance(name, str) else {"kind": None, **plain(name)}

    def _setting(self, name: str) -> Any:
        """Return a parameter, or the network's default for it."""
        value = getattr(self, name)
        return training_defaults(self._network["kind"])[name] if value is None else value

    def _source(self, samples: Samples, drawn: Sequence[Drawn] = ()) -> ImageSource:
        stored = self.images == "stored"
        source = self._stored_images(samples, drawn) if stored else super()._source(samples, drawn)
        source.offsets = None if self.offset is None else Offsets(self.offset, samples)
        return source

    def _stored_images(self, samples: Samples, drawn: Sequence[Drawn]) -> ImageSource:
        from gafcnn.models.batches import StoredImages

        window, spec, arrays, rows = self._window, self._spec, list[NDArray[Any]](), []
        parts = self._parts(samples, drawn)
        for symbol, (bars, decided) in zip(samples.symbols, parts, strict=False):
            if len(decided):
                folder = store_folder(str(self.data_folder), symbol, window)
                arrays.append(build_store(folder, bars, window, spec))
                stored = decision_rows(bars, window.lookback, overnight=window.overnight)
                rows.append(np.searchsorted(stored, decided))
        for bars, decided in parts[len(samples.symbols) :]:
            arrays.append(spec.encode(WindowReader(bars, window, self._fields)(decided)))
            rows.append(np.arange(len(decided)))
        return StoredImages(arrays, spec, rows)

    def _read(self, parts: Sequence[Part]) -> ImageSource:
        from gafcnn.models.batches import SeriesInMemory

        return SeriesInMemory(parts, self._window, self._spec)

    def _predict(self, source: ImageSource, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        import torch

        from gafcnn.models.training import find_device

        kind, found = find_device(self.accelerator).kind, []
        models = self.models_ if self.seeds > 1 else [self]
        modules = [model.module_.eval().to(kind) for model in models]
        for batch in np.split(positions, range(BATCH, len(positions), BATCH)):
            images = source.to_images(torch.from_numpy(source.read(batch)).to(kind))
            offsets = [source.offsets.of(batch)] if source.offsets else []
            more = [torch.from_numpy(one).to(kind) for one in offsets]
            p = [module.probabilities(images, *more).cpu() for module in modules]
            found.append(torch.stack(p).double().mean(dim=0))
        for module in modules:
            module.to("cpu")
        return torch.cat(found).numpy()

    def _describe(self, samples: Samples) -> dict[str, Any]:
        bars, fingerprint = samples.bars.values(), 0
        prices = [frame["close"].to_numpy() for frame in bars]
        times = [*map(close_times, bars), *samples.rows]
        for array in (*times, samples.label, samples.split.train, *prices):
            fingerprint = zlib.crc32(array.tobytes(), fingerprint)
        return super()._describe(samples) | {"samples": fingerprint}

    def _parameters(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "window": plain(as_window(self.window)),
            "image_spec": plain(self._spec),
        }
        if self.offset is not None:
            settings["offset"] = checksum(self.offset)
        return super()._parameters() | settings
