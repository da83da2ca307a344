"""What a configuration must be before anything is done with it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gafcnn.errors import ConfigError
from gafcnn.pipeline.assembly import is_baseline, load_spec

OBJECTIVES = ("accuracy", "auc", "log_loss", "brier")
MONITORS = tuple(
    f"{part}/{name}" for part in ("train", "val") for name in ("loss", "accuracy", "auc")
)


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
    of_model = _RULES_OF_TREES if is_baseline(cfg) else _RULES_OF_NETWORKS
    _follow(_RULES + of_model, cfg)
    load_spec(cfg)


def check_evaluation(cfg: DictConfig) -> None:
    """Assert that an evaluation's options are of their kind and in their range.

    Raises:
        ConfigError: For the first option that is not.
    """
    _check_study(cfg)
    _follow(_RULES_OF_EVALUATION, cfg)


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


def _absent_or(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or right(value)


_RULES: tuple[Rule, ...] = (
    ("seed", _whole(0), "a whole number, 0 or more"),
    ("objective", lambda value: value in OBJECTIVES, " or ".join(OBJECTIVES)),
)
_RULES_OF_EVALUATION: tuple[Rule, ...] = (
    (
        "judging.resamples",
        lambda value: value == 0 or _whole(100)(value),
        "0 for no intervals, or 100 or more",
    ),
    ("judging.seed", _whole(0), "a whole number, 0 or more"),
    ("receipts", lambda value: isinstance(value, bool), "true or false"),
)
_RULES_OF_TREES: tuple[Rule, ...] = (
    ("model.rounds", _whole(1), "a whole number, 1 or more"),
    ("model.patience", _whole(1), "a whole number, 1 or more"),
)
_RULES_OF_NETWORKS: tuple[Rule, ...] = (
    ("model.lr", _number(0), "a number above 0"),
    ("model.weight_decay", _number(0, or_equal=True), "a number, 0 or more"),
    ("model.batch_size", _whole(2), "a whole number, 2 or more"),
    ("model.network.width", _absent_or(_whole(1)), "a whole number, 1 or more"),
    ("trainer.max_epochs", _whole(1), "a whole number, 1 or more"),
    ("callbacks.early_stopping.patience", _absent_or(_whole(0)), "a whole number, 0 or more"),
    ("callbacks.best", bool, "a checkpoint callback: the run is predicted by its best epoch"),
    ("callbacks.last", bool, "a checkpoint callback: a killed run goes on from its last epoch"),
    ("monitor", lambda value: value in MONITORS, " or ".join(MONITORS)),
    ("monitor_mode", lambda value: value in ("min", "max"), "min or max"),
)
