"""What a configuration must be before anything is done with it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from gafcnn.errors import ConfigError
from gafcnn.learning import AUTO, DDP, PRECISIONS, accelerators, check_weights
from gafcnn.market import per_symbol
from gafcnn.pipeline.assembly import COMPILE, STORED, is_baseline, load_spec, made, plain
from gafcnn.pipeline.trust import check_configs
from gafcnn.samples import DIRECTIONS


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

Rule = tuple[str, Callable[[Any], bool], str]
"""A key, whether a value is right for it, and which would be."""


def check(cfg: DictConfig) -> None:
    """Assert that a training's options are of their kind and in their range.

    Hydra knows the names of the options and no more; what is wrong would otherwise be told by
    whichever library meets it first, perhaps after an hour of training.

    Raises:
        ConfigError: For the first option that is not.
        ImagesError, SamplesError: No images can be made with those of `cfg.images`.
    """
    _check_study(cfg)
    figures = _figures(cfg)
    of_model = _RULES_OF_TREES if is_baseline(cfg) else _rules_of_networks(figures)
    objective = _absent_or(lambda value: value in figures.objectives)
    _follow((("objective", objective, " or ".join(figures.objectives)), *_RULES, *of_model), cfg)
    check_weights(plain(cfg.model)["class_weights"], len(made(cfg.label).classes))
    load_spec(cfg)
    if len(per_symbol(plain(cfg.market))) > 1:
        _check_several(cfg, figures)
    if is_baseline(cfg) and figures is OF_CLASSES and cfg.model.features == "indicators":
        raise ConfigError(
            "model.features=indicators with a label of patterns, which are among the indicators",
            expected="features that do not tell the label",
            instead="set model.features=window, or take model=xgboost_patterns",
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


def objective_of(cfg: DictConfig) -> str:
    """The validation figure that a sweeper is given: that asked for, or the label's usual one."""
    return cfg.objective or _figures(cfg).usual


def _figures(cfg: DictConfig) -> Figures:
    return OF_DIRECTIONS if made(cfg.label).classes == DIRECTIONS else OF_CLASSES


def check_evaluation(cfg: DictConfig) -> None:
    """Assert that an evaluation's options are in order, and its study's configs to be trusted.

    Raises:
        ConfigError: For the first option that is not.
        RunError: The config of a run names what may not be made of it.
    """
    _check_study(cfg)
    _follow(_RULES_OF_EVALUATION, cfg)
    check_configs(Path(cfg.paths.outputs, str(cfg.study)), list(cfg.trust))


def _follow(rules: tuple[Rule, ...], cfg: DictConfig) -> None:
    for key, right, expected in rules:
        value = OmegaConf.select(cfg, key)
        if not right(value):
            raise ConfigError(
                f"{key}={value}", expected=expected, instead=f"set {key} to such a value"
            )


def _check_study(cfg: DictConfig) -> None:
    """Assert that the study's name is the name of a folder, and of one inside outputs/.

    Raises:
        ConfigError: Where it is not.
    """
    if not _is_name(cfg.study):
        raise ConfigError(
            f"study={cfg.study}",
            expected="letters, digits, dots, dashes and underscores, a letter or digit first",
            instead="choose such a name",
        )


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and bool(re.fullmatch(r"[A-Za-z0-9][\w.\-]*", str(value)))


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and value >= least


def _number(above: float, *, or_equal: bool = False) -> Callable[[Any], bool]:
    def right(value: Any) -> bool:
        known = isinstance(value, int | float) and not isinstance(value, bool)
        return known and math.isfinite(value) and (value > above or (or_equal and value == above))

    return right


def _share(value: Any) -> bool:
    return _number(0, or_equal=True)(value) and value < 1


def _absent_or(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or right(value)


def _precision(value: Any) -> bool:
    return not isinstance(value, bool | float) and value in (AUTO, *PRECISIONS)


def _devices(value: Any) -> bool:
    if isinstance(value, ListConfig):
        return len(value) == len(set(value)) > 0 and all(_whole(0)(one) for one in value)
    return value == AUTO or _whole(1)(value)


def _packages(value: Any) -> bool:
    named = isinstance(value, ListConfig) and all(isinstance(one, str) for one in value)
    return named and all(part.isidentifier() for one in value for part in one.split("."))


_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_NAMED = [name for name in PRECISIONS if isinstance(name, str) and "-" in name]
_RULES: tuple[Rule, ...] = (
    ("seed", _whole(0), "a whole number, 0 or more"),
    (f"images.{STORED}", _absent_or(lambda value: isinstance(value, bool)), "true or false"),
)
_RULES_OF_EVALUATION: tuple[Rule, ...] = (
    (
        "judging.resamples",
        lambda value: value == 0 or _whole(100)(value),
        "0 for no intervals, or 100 or more",
    ),
    ("judging.seed", _whole(0), "a whole number, 0 or more"),
    ("receipts", lambda value: isinstance(value, bool), "true or false"),
    ("trust", _packages, "a list of names of packages, such as [mylabels]"),
)
_RULES_OF_TREES: tuple[Rule, ...] = (
    ("model.rounds", _whole(1), "a whole number, 1 or more"),
    ("model.patience", _whole(1), "a whole number, 1 or more"),
    ("model.features", _absent_or(lambda value: value in FEATURES), " or ".join(FEATURES)),
)
_RULES_OF_NETWORKS: tuple[Rule, ...] = (
    ("model.lr", _number(0), "a number above 0"),
    ("model.weight_decay", _number(0, or_equal=True), "a number, 0 or more"),
    ("model.batch_size", _whole(2), "a whole number, 2 or more"),
    ("model.network.width", _absent_or(_whole(1)), "a whole number, 1 or more"),
    ("trainer.max_epochs", _whole(1), "a whole number, 1 or more"),
    (
        "trainer.accelerator",
        lambda value: isinstance(value, str) and value in accelerators(),
        f"one of {', '.join(accelerators())}",
    ),
    (
        "trainer.devices",
        _devices,
        "a whole number, 1 or more, auto, or a list of devices, counted from 0, each once",
    ),
    ("trainer.strategy", lambda value: value in ("auto", DDP), f"auto or {DDP}"),
    ("trainer.precision", _precision, f"{AUTO}, or of Lightning's {', '.join(_NAMED)}"),
    (
        f"trainer.{COMPILE}",
        lambda value: isinstance(value, bool) or value in _MODES,
        f"true, false, or a mode of torch.compile: {', '.join(_MODES)}",
    ),
    ("model.network.hidden", _absent_or(_whole(0)), "a whole number, 0 or more"),
    ("model.network.dropout", _absent_or(_share), "a share of at least 0 and less than 1"),
    ("callbacks.averaged.decay", _absent_or(_share), "a share of at least 0 and less than 1"),
    ("callbacks.early_stopping.patience", _absent_or(_whole(0)), "a whole number, 0 or more"),
    ("callbacks.best", bool, "a checkpoint callback: the run is predicted by its best epoch"),
    ("callbacks.last", bool, "a checkpoint callback: a killed run goes on from its last epoch"),
    ("monitor_mode", lambda value: value in ("min", "max"), "min or max"),
)


def _rules_of_networks(figures: Figures) -> tuple[Rule, ...]:
    names = figures.logged()
    return (*_RULES_OF_NETWORKS, ("monitor", lambda value: value in names, " or ".join(names)))
