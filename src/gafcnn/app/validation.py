"""What kinds of value an option may have, and how a sentence names them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from gafcnn.durations import parse_duration
from gafcnn.errors import ConfigError

_LACKING = object()  # what an option is that is not there at all
_LARGE = 2**63  # from which on no library takes a whole number for one
_LONGEST = 100  # of a name that is a part of a folder's
_SHOWN = 60  # characters of a value that a sentence shows


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        holds: Whether a value is of it.
        told: What it is, as a noun phrase.
    """

    holds: Callable[[Any], bool]
    told: str


Rule = tuple[str, Kind]
"""A key, and what kind of value it has."""


def follow(rules: tuple[Rule, ...], cfg: DictConfig) -> None:
    """Assert that options are of their kinds.

    Raises:
        ConfigError: For the first that is not.
    """
    for key, kind in rules:
        value = OmegaConf.select(cfg, key, default=_LACKING)
        if not kind.holds(value):
            found = f"there is no {key}" if value is _LACKING else f"{key}={shown(value)}"
            raise ConfigError(found, expected=kind.told, instead=f"set {key} to such a value")


def check_finite(cfg: DictConfig) -> None:
    """Assert that no option is nan or infinite: neither equals itself, or is JSON.

    Raises:
        ConfigError: One is.
    """
    for key, value in _leaves(OmegaConf.to_container(cfg, resolve=True), ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(
                f"{key}={value}", expected="a finite number", instead=f"set {key} to one"
            )


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict | list):
        yield key, node
        return
    for name, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(child, f"{key}.{name}" if key else str(name))


def shown(value: Any) -> str:
    """A value as a sentence shows it: on one line, and not all of it where it is long."""
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def whole(least: int, most: int | None = None) -> Kind:
    """A whole number of at least so much."""

    def holds(value: Any) -> bool:
        return type(value) is int and value >= least and (most is None or value <= most)

    limit = "" if most is None else f", up to {most}"
    return Kind(holds, f"a whole number, {least} or more{limit}")


def number(above: float, *, or_equal: bool = False) -> Kind:
    """A finite number above another, or equal to it."""

    def holds(value: Any) -> bool:
        known = type(value) in (int, float) and math.isfinite(value) and abs(value) < _LARGE
        return known and (value > above or (or_equal and value == above))

    return Kind(holds, f"a number, {above} or more" if or_equal else f"a number above {above}")


def one_of(*names: Any, told: str | None = None) -> Kind:
    """One of these values, of their own type: 1 is no true."""

    def holds(value: Any) -> bool:
        return any(type(value) is type(name) and value == name for name in names)

    return Kind(holds, told or " or ".join(map(str, names)))


def listed(kind: Kind, told: str) -> Kind:
    """A list of values of a kind, each once."""

    def holds(value: Any) -> bool:
        if not isinstance(value, ListConfig) or not all(map(kind.holds, value)):
            return False
        return len(set(value)) == len(value)

    return Kind(holds, told)


def either(*kinds: Kind, told: str) -> Kind:
    """A value of one of several kinds."""
    return Kind(lambda value: any(kind.holds(value) for kind in kinds), told)


def or_null(kind: Kind) -> Kind:
    """A value of a kind, or none."""
    return Kind(lambda value: value is None or kind.holds(value), f"{kind.told}, or null")


def if_there(kind: Kind) -> Kind:
    """A value of a kind, where there is such an option."""
    return Kind(lambda value: value is _LACKING or kind.holds(value), kind.told)


def _is_length(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(parse_duration("", value))
    except ConfigError:
        return False


def _is_name(value: Any) -> bool:
    fits = isinstance(value, str) and len(value.encode()) <= _LONGEST
    return fits and bool(re.fullmatch(r"[A-Za-z0-9][\w.\-]*", value))


def _is_package(value: Any) -> bool:
    return isinstance(value, str) and all(part.isidentifier() for part in value.split("."))


ANYTHING = Kind(lambda value: value is not _LACKING, "a value, or null")
FLAG = Kind(lambda value: isinstance(value, bool), "true or false")
OFF = Kind(lambda value: value is False, "false")
SHARE = Kind(
    lambda value: number(0, or_equal=True).holds(value) and value < 1,
    "a share of at least 0 and less than 1",
)
TEXT = Kind(lambda value: isinstance(value, str) and bool(value.strip()), "some text")
PATH = Kind(TEXT.holds, "the path of a folder")
NAME = Kind(
    _is_name,
    "letters, digits, dots, dashes and underscores, a letter or digit first, no mere number, and "
    f"at most {_LONGEST} bytes",
)
LENGTH = Kind(_is_length, 'a length of time with its unit, such as "15min" or "1h"')
PACKAGE = Kind(_is_package, "the name of a package")
SECTION = Kind(lambda value: isinstance(value, DictConfig), "the options of its file in conf/")
NOTHING = Kind(lambda value: value is None or value == {}, "null")
MADE = Kind(
    lambda value: SECTION.holds(value) and PACKAGE.holds(value.get("_target_")),
    "a _target_ and its options, as in its file in conf/",
)
