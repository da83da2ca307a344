"""The options of a training, as settings: built from plain data, and stored with each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import pandas as pd
from pydantic import BeforeValidator, Field

from gafcnn.app.run_folder import run_name
from gafcnn.data.augmentation import Augmentation
from gafcnn.data.labels import LABELS
from gafcnn.data.sources import SOURCES
from gafcnn.data.splits import SPLITS
from gafcnn.data.windows import Window
from gafcnn.errors import ConfigError
from gafcnn.images.spec import ImageSpec
from gafcnn.registry import Registry
from gafcnn.settings import as_plain, create, settings

if TYPE_CHECKING:
    from gafcnn.models.boosted_trees import BoostedTrees
    from gafcnn.models.classifier import GafClassifier

MODELS: Registry[Any] = Registry("model", "model.kind")

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.\-]{0,99}$")]
"""A field that is part of a folder's name."""

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Count: TypeAlias = Annotated[int, Field(ge=1, strict=True)]
Decay: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
ClassWeights: TypeAlias = Literal["balanced"] | tuple[float, ...] | None


def registered(registry: Registry[Any], section: str) -> BeforeValidator:
    """Return the validator of a field that holds an object of a registry, created from options."""

    def build(value: Any) -> Any:
        return registry.create(value, section) if isinstance(value, Mapping) else value

    return BeforeValidator(build)


def or_none(kind: type[Any], section: str) -> BeforeValidator:
    """Return the validator of a field that holds settings, or None for no options at all."""

    def build(value: Any) -> Any:
        return (
            create(kind, section, value) if value and isinstance(value, Mapping) else value or None
        )

    return BeforeValidator(build)


def _without_nulls(value: Any) -> Any:
    """Return options without those that are null, which have their defaults."""
    if not isinstance(value, Mapping):
        return value
    return {key: option for key, option in value.items() if option is not None}


@settings("paths")
class Paths:
    """Where files are.

    Attributes:
        data: Folder of bars and stored images.
        outputs: Folder of studies.
    """

    data: Path = Path("data")
    outputs: Path = Path("outputs")


@settings("images")
class Images(ImageSpec):
    """How images are encoded.

    Attributes:
        stored: Whether they are encoded once and memory-mapped, or batch by batch.
    """

    stored: bool = True

    @property
    def spec(self) -> ImageSpec:
        """How images are encoded, wherever that happens."""
        return ImageSpec(**{one.name: getattr(self, one.name) for one in fields(ImageSpec)})


@settings("trainer")
class Trainer:
    """How a network is trained; see `gafcnn.models.classifier.GafClassifier`."""

    max_epochs: Count = 50
    patience: Annotated[int, Field(ge=0, strict=True)] = 10
    average_weights: Decay | None = None
    accelerator: str = "auto"
    devices: Count | Literal["auto"] | tuple[Annotated[int, Field(ge=0)], ...] = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: str | int = "auto"
    compile: (
        bool | Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
    ) = False
    progress: bool | None = None


@MODELS.register("gaf")
@settings("model")
class NetworkModel:
    """A network that learns from images; see `gafcnn.models.classifier.GafClassifier`.

    Attributes:
        name: The name in predictions and folders; by default the window's.
    """

    network: Mapping[str, Any]
    name: Name | None = None
    weights: str | None = None
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    batch_size: Annotated[int, Field(ge=2, strict=True)] | None = None
    class_weights: ClassWeights = None


@MODELS.register("trees")
@settings("model")
class TreesModel:
    """Boosted trees; see `gafcnn.models.boosted_trees.BoostedTrees`.

    Attributes:
        name: The name in predictions and folders.
    """

    name: Name = "xgboost"
    features: Literal["indicators", "window"] | None = None
    class_weights: ClassWeights = None
    trees: Mapping[str, Any] = Field(default_factory=dict)
    rounds: Count = 3000
    patience: Count = 100


@settings("")
class TrainSettings:
    """The options of a training.

    Attributes:
        label: What is predicted.
        market: The source of the bars.
        window: What an image spans; its lookback is that of the samples.
        split: Which samples are for training, validation and test.
        images: How images are encoded.
        model: A network or trees.
        trainer: How a network is trained.
        augmentation: Additional training samples.
        logger: Options of Lightning's loggers, by name.
        study: The folder of the study under `paths.outputs`.
        seed: Seed of the training.
        monitor: The metric that chooses the best epoch.
        monitor_mode: Whether it is to be small or large.
        objective: The validation score that a sweeper optimises; None for the label's usual one.
        paths: Where files are.
        imports: The user's own modules, which the command imports.
        swept: The options that tell the runs of a sweep apart, as typed: model.lr=0.001.
        overwrite: Whether to delete another or a complete run of the same name.
    """

    label: Annotated[
        Any, registered(LABELS, "label")
    ]  # before the market, which may refer to its horizon
    market: Annotated[Any, registered(SOURCES, "market")]
    window: Annotated[Window, BeforeValidator(_without_nulls)]
    split: Annotated[Any, registered(SPLITS, "split")]
    model: Annotated[Any, registered(MODELS, "model")]
    images: Images = Field(default_factory=Images)
    trainer: Trainer = Field(default_factory=Trainer)
    augmentation: Annotated[Augmentation | None, or_none(Augmentation, "augmentation")] = None
    logger: Mapping[str, Any] = Field(default_factory=dict)
    study: Name = "study"
    seed: Seed = 0
    monitor: str = "val/loss"
    monitor_mode: Literal["min", "max"] = "min"
    objective: str | None = None
    paths: Paths = Field(default_factory=Paths)
    imports: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.model, TreesModel):
            return
        looks_ahead = self.horizon > pd.Timedelta(0)
        if self.model.features == "indicators" and not looks_ahead:
            raise ConfigError(
                "model.features=indicators for a label that does not look ahead",
                expected="features=window, because the indicators contain candlestick patterns",
                instead="set model.features=window, or model=xgboost_patterns",
            )
        features = self.model.features or ("indicators" if looks_ahead else "window")
        object.__setattr__(self, "model", replace(self.model, features=features))

    @property
    def name(self) -> str:
        """The name of the model in predictions and folders."""
        return self.model.name or self.window.name

    @property
    def is_baseline(self) -> bool:
        """Whether the model is boosted trees."""
        return isinstance(self.model, TreesModel)

    @property
    def horizon(self) -> pd.Timedelta:
        """How far the label looks ahead."""
        return self.label.horizon

    @property
    def shows_window(self) -> bool:
        """Whether the model is shown the values of the window."""
        return not isinstance(self.model, TreesModel) or self.model.features == "window"

    @property
    def fold(self) -> int | None:
        """The fold of a walk-forward split, if there is one."""
        return getattr(self.split, "fold", None)

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        # the name of the baseline says which model it is
        swept = [
            word for word in self.swept if not (self.is_baseline and word.startswith("model="))
        ]
        name = run_name(self.name, self.seed, self.fold, swept)
        return self.paths.outputs / self.study / name

    def estimator(self, folder: Path | None = None) -> GafClassifier | BoostedTrees:
        """Return the model, ready to be fitted; it writes into `folder`."""
        model = self.model
        shared = {
            "window": self.window,
            "class_weights": _as_list(model.class_weights),
            "augmentation": self.augmentation,
            "seed": self.seed,
            "folder": folder,
            "name": self.name,
        }
        if isinstance(model, TreesModel):
            from gafcnn.models.boosted_trees import BoostedTrees

            return BoostedTrees(
                features=model.features,
                fields=self.images.fields,
                rounds=model.rounds,
                patience=model.patience,
                trees=dict(model.trees),
                **shared,
            )
        from gafcnn.models.classifier import GafClassifier

        trainer = {one.name: getattr(self.trainer, one.name) for one in fields(self.trainer)}
        return GafClassifier(
            network=dict(model.network),
            image_spec=self.images.spec,
            images="stored" if self.images.stored else "on_the_fly",
            weights=model.weights,
            lr=model.lr,
            weight_decay=model.weight_decay,
            batch_size=model.batch_size,
            monitor=self.monitor,
            monitor_mode=self.monitor_mode,
            loggers=dict(self.logger),
            data_folder=self.paths.data,
            **trainer | {"devices": _as_list(self.trainer.devices)},
            **shared,
        )


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


# --- the user's own parts as options of the configuration -----------------------------------------


def own_options() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield what was registered outside the library as options of the configuration's groups.

    Yields:
        The group, the name of the option, the section that it fills, and its keys with defaults;
        "???" where there is none.
    """
    from gafcnn.evaluation.trading_rules import COSTS
    from gafcnn.models.networks import NETWORKS

    for group, registry in (("label", LABELS), ("split", SPLITS), ("costs", COSTS)):
        for name, kind in registry.own().items():
            yield group, name, group, {"kind": name, **_defaults(kind)}
    for name, kind in SOURCES.own().items():
        # as for the library's markets, the study has the name of the market
        node = {"study": name, "market": {"kind": name, **_defaults(kind)}}
        yield "market", name, "_global_", node
    for name, builder in NETWORKS.own().items():
        network = {"kind": name, **_parameters(builder)}
        yield "model", name, "model", {"kind": "gaf", **_defaults(NetworkModel), "network": network}


def _defaults(kind: Any) -> dict[str, Any]:
    """Return the fields of a settings class with their defaults."""
    if not is_dataclass(kind):
        raise ConfigError(
            f"{kind.__module__}.{kind.__name__} has no fields",
            expected="a settings class, whose fields become options",
            instead='decorate it with @settings("..."), from gafcnn.settings',
        )
    found = {}
    for one in fields(kind):
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        found[one.name] = "???" if default is MISSING else as_plain(default)
    return found


def _parameters(builder: Any) -> dict[str, Any]:
    """Return the options of a network with their defaults."""
    from inspect import Parameter, signature

    given = ("channels", "outputs", "size")
    return {
        name: "???" if parameter.default is Parameter.empty else as_plain(parameter.default)
        for name, parameter in signature(builder).parameters.items()
        if name not in given
    }
