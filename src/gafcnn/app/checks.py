"""What a configuration must be before anything is done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gafcnn.app.factory import COMPILE, STORED, is_baseline, load_spec, made, plain
from gafcnn.app.trust import IMPORTS, check_configs, import_own
from gafcnn.app.validation import (
    ANYTHING,
    FLAG,
    LENGTH,
    MADE,
    NAME,
    NOTHING,
    OFF,
    PACKAGE,
    PATH,
    SECTION,
    SHARE,
    TEXT,
    Kind,
    Rule,
    check_finite,
    either,
    follow,
    if_there,
    listed,
    number,
    one_of,
    or_null,
    shown,
    whole,
)
from gafcnn.data.labels import DIRECTIONS, Label
from gafcnn.data.multi_symbol import per_symbol
from gafcnn.data.samples import Splitter
from gafcnn.durations import multiple_of, parse_duration
from gafcnn.errors import ConfigError
from gafcnn.evaluation.trading_rules import TradingRules
from gafcnn.models.class_weights import check_weights
from gafcnn.models.devices import AUTO, PRECISIONS, accelerators
from gafcnn.models.networks import NETWORKS
from gafcnn.models.processes import DDP


@dataclass(frozen=True)
class Figures:
    """What a training can be watched and judged by.

    Attributes:
        monitors: What is logged of an epoch, of training and of validation.
        objectives: What metrics.json says of validation.
        usual: The objective where none is asked for.
    """

    monitors: tuple[str, ...]
    objectives: tuple[str, ...]
    usual: str

    def logged(self) -> tuple[str, ...]:
        """The names that `monitor` may have."""
        return tuple(f"{part}/{name}" for part in ("train", "val") for name in self.monitors)


OF_DIRECTIONS = Figures(
    ("loss", "accuracy", "auc"), ("accuracy", "auc", "log_loss", "brier"), usual="auc"
)
OF_CLASSES = Figures(
    ("loss", "accuracy", "balanced_accuracy", "macro_f1"),
    ("accuracy", "balanced_accuracy", "balanced_accuracy_without_0", "macro_f1", "log_loss"),
    usual="balanced_accuracy",
)
FEATURES = ("indicators", "window")


def check(cfg: DictConfig) -> None:
    """Assert that a training's options are of their kind and in their range.

    Hydra knows the names of the options and no more; what is wrong would otherwise be told by
    whichever library meets it first, perhaps after an hour of training.

    Raises:
        ConfigError: For the first option that is not.
        ImagesError, SamplesError: No images can be made with those of `cfg.images`.
    """
    follow(_RULES, cfg)
    import_own(cfg.get(IMPORTS) or ())
    figures = _figures(cfg)
    made(cfg.split, Splitter)
    follow((("objective", or_null(one_of(*figures.objectives))),), cfg)
    if is_baseline(cfg):
        follow(_rules_of_trees("model"), cfg)
    else:
        follow((("callbacks", SECTION), ("logger", or_null(SECTION))), cfg)
        follow(_rules_of_networks(cfg, figures), cfg)
    check_finite(cfg)
    _check_horizon(cfg)
    check_weights(plain(cfg.model)["class_weights"], len(made(cfg.label, Label).classes))
    load_spec(cfg)
    markets = per_symbol(plain(cfg.market))
    _check_files(markets)
    if len(markets) > 1:
        _check_several(cfg, figures)
    if is_baseline(cfg) and figures is OF_CLASSES and cfg.model.features == "indicators":
        raise ConfigError(
            "model.features=indicators with a label of patterns, which are among the indicators",
            expected="features that do not tell the label",
            instead="set model.features=window, or take model=xgboost_patterns",
        )


def _check_files(markets: Sequence[Mapping[str, Any]]) -> None:
    """Assert that files of bars are there, before pretrained weights are downloaded, say.

    Raises:
        ConfigError: One is not.
    """
    for path in [options["path"] for options in markets if "path" in options]:
        if not isinstance(path, str) or not Path(path).is_file():
            raise ConfigError(
                f"market.path={shown(path)} is not a file",
                expected="a file of bars: csv, csv.gz, Binance kline zip, parquet or feather",
                instead="correct market.path",
            )


def _check_several(cfg: DictConfig, figures: Figures) -> None:
    """Assert that what is asked of several symbols can be judged of them.

    Raises:
        ConfigError: The label is of patterns, which are judged on the bars of one.
    """
    if figures is OF_CLASSES:
        raise ConfigError(
            "a label of patterns with several symbols",
            expected="the bars of one symbol, on which patterns are judged",
            instead="train each symbol in a study of its own, or take label=direction",
        )
    if OmegaConf.select(cfg, "augmentation"):
        raise ConfigError(
            "augmentation with several symbols",
            expected="the bars of one symbol, to draw from",
            instead="set augmentation=none",
        )


def _check_horizon(cfg: DictConfig) -> None:
    """Assert that a label looks ahead by whole bars, where it is known what these will be.

    Raises:
        ConfigError: It does not.
    """
    interval, horizon = OmegaConf.select(cfg, "market.interval"), made(cfg.label, Label).horizon
    if interval is not None and horizon:
        multiple_of("label.horizon", horizon, parse_duration("market.interval", interval))


def objective_of(cfg: DictConfig) -> str:
    """The validation figure that a sweeper is given: that asked for, or the label's usual one."""
    return cfg.objective or _figures(cfg).usual


def _figures(cfg: DictConfig) -> Figures:
    return OF_DIRECTIONS if made(cfg.label, Label).classes == DIRECTIONS else OF_CLASSES


def check_evaluation(cfg: DictConfig) -> None:
    """Assert that an evaluation's options are in order, and its study's configs to be trusted.

    Raises:
        ConfigError: For the first option that is not.
        RunError: The config of a run names what may not be made of it.
    """
    follow(_RULES_OF_EVALUATION, cfg)
    check_finite(cfg)
    made(cfg.trading, TradingRules)
    check_configs(Path(cfg.paths.outputs, str(cfg.study)), list(cfg.trust))


def check_prediction(cfg: DictConfig) -> None:
    """Assert that the options of a decision are in order, and its study's configs to be trusted.

    Raises:
        ConfigError: For the first option that is not.
        RunError: The config of a run names what may not be made of it.
    """
    follow(_RULES_OF_PREDICTION, cfg)
    check_finite(cfg)
    made(cfg.trading, TradingRules)
    if OmegaConf.select(cfg, "market"):
        _check_files(per_symbol(plain(cfg.market)))
    check_configs(Path(cfg.paths.outputs, str(cfg.study)), list(cfg.trust))


def check_export(cfg: DictConfig) -> None:
    """Assert that the options of an export are in order, and its study's configs to be trusted.

    Raises:
        ConfigError: For the first option that is not.
        RunError: The config of a run names what may not be made of it.
    """
    follow(_RULES_OF_A_STUDY, cfg)
    check_configs(Path(cfg.paths.outputs, str(cfg.study)), list(cfg.trust))


_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_NAMED = [name for name in PRECISIONS if isinstance(name, str) and "-" in name]
_SEED = whole(0, 2**32 - 1)  # NumPy's largest

_RULES: tuple[Rule, ...] = (
    ("study", NAME),
    ("seed", _SEED),
    ("overwrite", FLAG),
    (IMPORTS, if_there(or_null(listed(PACKAGE, "a list of names of modules, such as [mine]")))),
    ("swept", listed(TEXT, "a list of keys")),
    ("paths", SECTION),
    ("paths.data", PATH),
    ("paths.outputs", PATH),
    ("market", MADE),
    ("market.seed", if_there(_SEED)),
    ("market.interval", if_there(or_null(LENGTH))),
    ("window", SECTION),
    ("window.name", NAME),
    ("window.span", LENGTH),
    ("window.step", if_there(or_null(LENGTH))),
    ("window.lookback", LENGTH),
    ("label", MADE),
    ("split", MADE),
    ("augmentation", if_there(either(MADE, NOTHING, told=f"{MADE.told}, or null"))),
    ("images", SECTION),
    (f"images.{STORED}", if_there(or_null(FLAG))),
    ("model", SECTION),
    ("model.name", NAME),
    ("model.class_weights", ANYTHING),
)


def _rules_of_trees(section: str) -> tuple[Rule, ...]:
    return (
        (section, SECTION),
        (f"{section}.name", NAME),
        (f"{section}.rounds", whole(1)),
        (f"{section}.patience", whole(1)),
        (f"{section}.features", if_there(or_null(one_of(*FEATURES)))),
        (f"{section}.trees", SECTION),
    )


_RULES_OF_A_STUDY: tuple[Rule, ...] = (
    ("study", NAME),
    ("paths", SECTION),
    ("paths.data", PATH),
    ("paths.outputs", PATH),
    ("windows", or_null(listed(TEXT, "a list of names, each once"))),
    ("trust", listed(PACKAGE, "a list of names of packages, such as [mylabels]")),
)
_RULES_OF_TRADING: tuple[Rule, ...] = (
    ("trading", MADE),
    ("ensemble", SECTION),
    ("ensemble.methods", listed(TEXT, "a list of names, each once")),
)
_RULES_OF_EVALUATION: tuple[Rule, ...] = (
    *_RULES_OF_A_STUDY,
    *_RULES_OF_TRADING,
    ("judging", SECTION),
    ("judging.resamples", either(one_of(0), whole(100), told="0 for no intervals, or 100 or more")),
    ("judging.seed", _SEED),
    ("receipts", FLAG),
    *_rules_of_trees("baseline"),
    *_rules_of_trees("pattern_baseline"),
)
_RULES_OF_PREDICTION: tuple[Rule, ...] = (
    *_RULES_OF_A_STUDY,
    *_RULES_OF_TRADING,
    ("market", if_there(or_null(MADE))),
    ("max_age", or_null(LENGTH)),
    ("settle", LENGTH),
    ("json", FLAG),
    ("watch", FLAG),
)
_RULES_OF_NETWORKS: tuple[Rule, ...] = (
    ("model.network", SECTION),
    ("model.network.width", if_there(whole(1))),
    ("model.network.hidden", if_there(whole(0))),
    ("model.network.dropout", if_there(SHARE)),
    ("model.weights", or_null(TEXT)),
    ("model.lr", number(0)),
    ("model.weight_decay", number(0, or_equal=True)),
    ("model.batch_size", whole(2)),
    ("trainer", MADE),
    ("trainer.max_epochs", whole(1)),
    ("trainer.accelerator", one_of(*accelerators(), told=f"one of {', '.join(accelerators())}")),
    (
        "trainer.devices",
        either(
            whole(1),
            one_of(AUTO),
            listed(whole(0), "a list of devices"),
            told="a whole number, 1 or more, auto, or a list of devices, counted from 0, each once",
        ),
    ),
    ("trainer.strategy", one_of("auto", DDP)),
    (
        "trainer.precision",
        one_of(AUTO, *PRECISIONS, told=f"{AUTO}, or of Lightning's {', '.join(_NAMED)}"),
    ),
    (
        f"trainer.{COMPILE}",
        one_of(
            *(True, False, *_MODES),
            told=f"true, false, or a mode of torch.compile: {', '.join(_MODES)}",
        ),
    ),
    ("trainer.log_every_n_steps", if_there(whole(1))),
    ("trainer.enable_model_summary", if_there(FLAG)),
    ("trainer.num_sanity_val_steps", if_there(whole(-1))),
    ("callbacks.averaged.decay", if_there(SHARE)),
    ("callbacks.early_stopping.patience", if_there(whole(0))),
    ("callbacks.early_stopping.check_on_train_epoch_end", if_there(FLAG)),
)


def _rules_of_networks(cfg: DictConfig, figures: Figures) -> tuple[Rule, ...]:
    """Those of a network, and of what its training is told and watched by."""
    monitor, mode = one_of(*figures.logged()), one_of("min", "max")
    return (
        *_RULES_OF_NETWORKS,
        ("model.network.name", one_of(*NETWORKS)),  # as they are now: imports may have added one
        ("monitor", monitor),
        ("monitor_mode", mode),
        *((f"callbacks.{name}", or_null(MADE)) for name in cfg.callbacks),
        *((f"logger.{name}", or_null(MADE)) for name in cfg.get("logger") or {}),
        ("logger.csv.name", if_there(NAME)),
        ("logger.tensorboard.name", if_there(NAME)),
        ("logger.mlflow.uri", if_there(TEXT)),
        ("logger.mlflow.artifacts", if_there(TEXT)),
        ("logger.wandb.project", if_there(NAME)),
        ("logger.wandb.mode", if_there(one_of("offline", "online", "disabled"))),
        *_rules_of_checkpoints("best", "the run is predicted by its best epoch"),
        *_rules_of_checkpoints("last", "a killed run goes on from its last epoch"),
        ("callbacks.best.monitor", monitor),
        ("callbacks.best.mode", mode),
        ("callbacks.early_stopping.monitor", if_there(monitor)),
        ("callbacks.early_stopping.mode", if_there(mode)),
    )


def _rules_of_checkpoints(name: str, why: str) -> tuple[Rule, ...]:
    key = f"callbacks.{name}"
    return (
        (key, Kind(MADE.holds, f"a checkpoint callback: {why}")),
        (f"{key}.filename", one_of(name)),
        (f"{key}.enable_version_counter", OFF),
        (f"{key}.save_on_train_epoch_end", OFF),
    )
