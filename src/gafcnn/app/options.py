"""The options of the commands, as settings: built from plain data; a run stores those of train."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Field

from gafcnn.app.runs import EVALUATION, EXPORT, LATER, LEDGER, estimator_class
from gafcnn.data.augmentation import Augmentation
from gafcnn.data.cross_section import Universe
from gafcnn.data.exchange import utc_time
from gafcnn.data.labels import LABELS, Direction, Label
from gafcnn.data.samples import Samples, make_samples, task_of
from gafcnn.data.sources import SOURCES
from gafcnn.data.splits import SPLITS
from gafcnn.data.windows import Window
from gafcnn.durations import Duration
from gafcnn.errors import ConfigError
from gafcnn.evaluation.portfolio import PortfolioRules
from gafcnn.evaluation.trading_rules import COSTS, TradingRules
from gafcnn.images.spec import ImageSpec
from gafcnn.registry import Registry
from gafcnn.settings import arguments, as_plain, create, settings

if TYPE_CHECKING:
    from gafcnn.models.estimator import Estimator

MODELS: Registry[Any] = Registry("model")
METHODS = ("mean", "weighted", "vote", "stacking")


def built(build: Callable[[Mapping[str, Any]], Any]) -> BeforeValidator:
    """Return the validator of a field that is built from options; an object is left as it is."""

    def check(value: Any) -> Any:
        if isinstance(value, str | int | float):
            raise ValueError("expected options by name, or null")
        return build(value) if isinstance(value, Mapping) else value

    return BeforeValidator(check)


def registered(registry: Registry[Any], section: str) -> BeforeValidator:
    """Return the validator of a field that holds an object of a registry."""
    return built(lambda options: registry.create(options, section))


def _checked(holds: Callable[[Any], bool], expected: str) -> AfterValidator:
    """Return the validator of a field of which something must hold."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


_as_tuple = BeforeValidator(lambda of: (of,) if isinstance(of, str | Path) else of or ())
_enough = _checked(lambda number: number == 0 or number >= 100, "0, or 100 or more")
_NAME, _NAMING = re.compile(r"[A-Za-z0-9][\w.\-]{0,99}"), "a name of letters, digits, - _ ."

Name: TypeAlias = Annotated[str, _checked(lambda text: bool(_NAME.fullmatch(text)), _NAMING)]
"""A field that is part of a folder's name."""

Names: TypeAlias = Annotated[
    tuple[str, ...],
    _as_tuple,
    _checked(lambda names: 0 < len(names) == len(set(names)), "a list of names, each once"),
]
Files: TypeAlias = Annotated[
    tuple[Path, ...],
    _as_tuple,
    _checked(lambda of: len({path.stem for path in of}) == len(of), "files of different names"),
]
Modules: TypeAlias = Annotated[tuple[str, ...], _as_tuple]
Flag: TypeAlias = Annotated[bool, Field(strict=True)]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Count: TypeAlias = Annotated[int, Field(ge=1, strict=True)]
ClassWeights: TypeAlias = Literal["balanced"] | tuple[float, ...] | None
Market: TypeAlias = Annotated[Any, registered(SOURCES, "market")]
Labels: TypeAlias = Annotated[Any, registered(LABELS, "label")]
Parts: TypeAlias = Annotated[Any, registered(SPLITS, "split")]


@settings("paths")
class Paths:
    """The folder of bars and stored images, and that of studies."""

    data: Path = Path("data")
    outputs: Path = Path("outputs")


@settings("images")
class Images(ImageSpec):
    """How images are encoded, and whether once into memory-mapped files or batch by batch."""

    stored: Flag = True

    @property
    def spec(self) -> ImageSpec:
        """How images are encoded, wherever that happens."""
        return ImageSpec(**{one.name: getattr(self, one.name) for one in fields(ImageSpec)})


@settings("trainer")
class Trainer:
    """How a network is trained; see `gafcnn.models.classifier.GafClassifier`."""

    max_epochs: Count = 50
    patience: Annotated[int, Field(ge=0, strict=True)] = 10
    average_weights: Annotated[float, Field(ge=0, lt=1)] | None = None
    accelerator: str = "auto"
    devices: Count | Literal["auto"] | tuple[Annotated[int, Field(ge=0)], ...] = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: str | int = "auto"
    compile: (
        Flag | Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
    ) = False
    progress: Flag | None = None


@MODELS.register("gaf")
@settings("model")
class NetworkModel:
    """A network that learns from images; see `gafcnn.models.classifier.GafClassifier`."""

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
    """Boosted trees; see `gafcnn.models.boosted_trees.BoostedTrees`."""

    name: Name = "xgboost"
    features: Literal["indicators", "window", "cross_section"] | None = None
    objective: Literal["regression", "ranking"] | None = None
    class_weights: ClassWeights = None
    trees: Mapping[str, Any] = Field(default_factory=dict)
    rounds: Count = 3000
    patience: Count = 100


@MODELS.register("minirocket")
@settings("model")
class RocketModel:
    """Convolutions of the series with a ridge; see `gafcnn.models.rocket.MiniRocket`."""

    name: Name = "minirocket"
    features: Annotated[int, Field(ge=84, strict=True)] = 9996
    scaling: Literal["per_field", "fixed"] = "fixed"


@MODELS.register("momentum")
@settings("model")
class MomentumModel:
    """The past return; see `gafcnn.models.momentum.Momentum`."""

    name: Name = "momentum"
    lookback: Duration = pd.Timedelta("7D")
    skip: Duration = pd.Timedelta(0)
    scaled: Flag = False
    reverse: Flag = False


@settings("")
class TrainSettings:
    """The options of `conf/train.yaml`, which describes them."""

    label: Labels  # before the market, which may refer to its horizon
    market: Market
    window: Annotated[Window, built(lambda of: {k: v for k, v in of.items() if v is not None})]
    split: Parts
    model: Annotated[Any, registered(MODELS, "model")]
    offset: Annotated[Any, registered(MODELS, "offset")] = None
    universe: Universe = Field(default_factory=Universe)
    images: Images = Field(default_factory=Images)
    trainer: Trainer = Field(default_factory=Trainer)
    augmentation: Annotated[
        Augmentation | None,
        built(lambda given: create(Augmentation, "augmentation", given) if given else None),
    ] = None
    logger: Mapping[str, Any] = Field(default_factory=dict)
    study: Name = "study"
    seed: Seed = 0
    seeds: Count = 1
    monitor: str = "val/loss"
    monitor_mode: Literal["min", "max"] = "min"
    objective: str | None = None
    paths: Paths = Field(default_factory=Paths)
    imports: Modules = ()
    swept: tuple[str, ...] = ()
    overwrite: Flag = False

    def __post_init__(self) -> None:
        reserved = (EVALUATION, EXPORT, LATER, LEDGER)
        for name in (self.window.name, self.name):
            if name in reserved or not _NAME.fullmatch(name):
                raise ConfigError(
                    f"the window or model is called {name}",
                    expected=f"{_NAMING}, and none of {', '.join(reserved)}",
                    instead="choose another window.name or model.name",
                )
        if self.offset is not None and not (self.is_network and hasattr(self.offset, "trees")):
            found = f"offset is of the kind {self.offset.kind}, for a model {self.model.kind}"
            instead = "set model=small_cnn model@offset=xgboost, or leave the offset out"
            raise ConfigError(found, expected="trees, for a network", instead=instead)
        if not isinstance(self.model, TreesModel):
            return
        features = self.model.features or ("indicators" if self.label.horizon else "window")
        if task_of(self.label) == "ranking":
            features = self.model.features or "cross_section"
        if features == "indicators" and not self.label.horizon:
            found = "model.features=indicators, which contain the patterns of this label"
            instead = "set it, or model=xgboost_patterns"
            raise ConfigError(found, expected="model.features=window", instead=instead)
        object.__setattr__(self, "model", replace(self.model, features=features))

    @property
    def name(self) -> str:
        """The name of the model in predictions and folders."""
        return self.model.name or self.window.name

    @property
    def is_network(self) -> bool:
        """Whether the model is a network, which learns from images."""
        return isinstance(self.model, NetworkModel)

    @property
    def shows_window(self) -> bool:
        """Whether the model is shown the values of the window."""
        if isinstance(self.model, TreesModel):
            return self.model.features == "window"
        return not isinstance(self.model, MomentumModel)

    @property
    def folder(self) -> Path:
        """The folder of the run: outputs/bnb/30m/seed=1/fold=2."""
        words = [word.replace("/", "_") for word in self.swept]
        if not self.is_network:  # its name says which model it is
            words = [word for word in words if not word.startswith("model=")]
        fold = getattr(self.split, "fold", None)
        words += [f"seed={self.seed}"] + ([] if fold is None else [f"fold={fold}"])
        return self.paths.outputs.joinpath(self.study, self.name, *words)

    def samples(self, bars: Mapping[str, pd.DataFrame]) -> Samples:
        """Return the samples that a run with these options learns from and is judged on."""
        return make_samples(
            bars,
            label=self.label,
            split=self.split,
            lookback=self.window.lookback,
            overnight=self.window.overnight,
            universe=self.universe,
        )

    def estimator(self, folder: Path | None = None) -> Estimator:
        """Return the model with those options that it has, ready to be fitted into `folder`."""
        own, assets = self.images.fields, self.images.assets
        options = {
            "window": self.window,
            "fields": [*own, *(f"{asset}:{name}" for asset in assets for name in own)],
            "augmentation": self.augmentation,
            "image_spec": self.images.spec,
            "images": "stored" if self.images.stored else "on_the_fly",
            "monitor": self.monitor,
            "monitor_mode": self.monitor_mode,
            "loggers": dict(self.logger),
            "data_folder": self.paths.data,
            **as_plain(self.trainer),
            **as_plain(self.model),
        }
        options |= {"seed": self.seed, "folder": folder, "name": self.name}
        make = estimator_class(self.model.kind)
        known = signature(make).parameters
        return make(**{name: value for name, value in options.items() if name in known})


@settings("judging")
class Judging:
    """Resamples of the bootstrap for confidence intervals, 0 for none; and their seed."""

    resamples: Annotated[int, Field(strict=True), _enough] = 2000
    seed: Seed = 0


@settings("ensemble")
class EnsembleOptions:
    """The ensembles of the windows, by name."""

    methods: Names = METHODS


@settings("")
class StudyOptions:
    """The options that all commands on a study share, as `conf/export.yaml` describes them."""

    study: Name | None = None
    windows: Names | None = None
    paths: Paths = Field(default_factory=Paths)
    imports: Modules = ()

    @property
    def folder(self) -> Path:
        """The folder of the study.

        Raises:
            ConfigError: No study is named.
        """
        if self.study is None:
            expected, instead = "the name of a study", "set study=NAME"
            raise ConfigError("study has no value", expected=expected, instead=instead)
        return self.paths.outputs / self.study


@settings("")
class EvaluateOptions(StudyOptions):
    """The options of `conf/evaluate.yaml`, which describes them."""

    baseline: Annotated[Any, registered(MODELS, "baseline")] = None
    pattern_baseline: Annotated[Any, registered(MODELS, "pattern_baseline")] = None
    ranking_baseline: Annotated[Any, registered(MODELS, "ranking_baseline")] = None
    trading: TradingRules = Field(default_factory=TradingRules)
    costs: Annotated[Any, registered(COSTS, "costs")] = None
    portfolio: PortfolioRules = Field(default_factory=PortfolioRules)
    ensemble: EnsembleOptions = Field(default_factory=EnsembleOptions)
    judging: Judging = Field(default_factory=Judging)
    receipts: Flag = False
    predictions: Files = ()
    on: Annotated[tuple[Path, ...], _as_tuple] = ()
    after: Annotated[Any, BeforeValidator(lambda text: utc_time(str(text)) if text else None)] = (
        None
    )
    market: Market = None
    label: Labels = None
    split: Parts = None

    def __post_init__(self) -> None:
        if self.study is not None and (self.market is not None) != self.on_market:
            found = f"market={getattr(self.market, 'kind', 'null')} beside study={self.study}"
            expected = "no market, as the study has its own bars; or both market and on=market"
            instead = "remove market=..., or study=... to judge a table alone, or set on=market"
            raise ConfigError(found, expected=expected, instead=instead)
        if self.study and (self.label not in (None, Direction()) or self.split):
            raise ConfigError("label or split of a finished study", "those it has", "remove it")
        if self.on or self.after is not None:
            self._check_later()
        if self.study is None and self.predictions and self.market is None:
            instead = "add market=file market.path=bars.parquet, or the study=... that has them"
            raise ConfigError("predictions=... alone", expected="their bars", instead=instead)

    def _check_later(self) -> None:
        if self.study is None or not self.on:
            found, expected = "on=... or after=... alone", "a study and its later bars"
            instead = "set study=NAME on=later.parquet, and after=... if they begin too early"
            raise ConfigError(found, expected=expected, instead=instead)
        default = create(EvaluateOptions, "", {})
        for name in ("trading", "costs", "portfolio", "ensemble", "predictions", "receipts"):
            if getattr(self, name) != getattr(default, name):
                raise ConfigError(
                    f"{name}=... beside on=...",
                    expected="neither: a study is judged on later bars as it was evaluated last",
                    instead=f"remove it, or evaluate with {name}=... and without on=... before",
                )

    @property
    def on_market(self) -> bool:
        """Whether later bars are those of `market`; a file of this name is ./market."""
        return self.on == (Path("market"),)

    @property
    def rules(self) -> TradingRules:
        """The trading rules with their cost model."""
        return self.trading if self.costs is None else replace(self.trading, costs=self.costs)

    def rules_of(self, label: Label) -> TradingRules | PortfolioRules:
        """Return the rules that apply to a label.

        Raises:
            ConfigError: The others are set, which would have no effect.
        """
        ranking = task_of(label) == "ranking"
        unused, section = (self.rules, "trading") if ranking else (self.portfolio, "portfolio")
        if unused != type(unused)():
            used = "portfolio" if ranking else "trading"
            found = f"options of {section} for a label {getattr(label, 'kind', label)}"
            expected, instead = f"those of {used}", f"set {used}.cost_bps=..., for example"
            raise ConfigError(found, expected=expected, instead=instead)
        return self.portfolio if ranking else self.rules


def own_options() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield what was registered outside the library as options of the configuration's groups.

    Yields:
        The group, the name of the option, the section that it fills, and its keys with defaults;
        "???" where there is none.
    """
    from gafcnn.models.networks import NETWORKS

    for group, registry in (("label", LABELS), ("split", SPLITS), ("costs", COSTS)):
        for name, kind in registry.own().items():
            yield group, name, group, {"kind": name, **arguments(kind)}
    for name, kind in SOURCES.own().items():
        # as for the library's markets, the study has the name of the market
        node = {"study": name, "market": {"kind": name, **arguments(kind)}}
        yield "market", name, "_global_", node
    for name, builder in NETWORKS.own().items():
        network = {"kind": name, **arguments(builder)}
        for given in ("channels", "outputs", "size"):
            network.pop(given, None)
        yield "model", name, "model", {"kind": "gaf", **arguments(NetworkModel), "network": network}
