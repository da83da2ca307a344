"""Settings classes: one definition validates Python arguments, YAML and stored runs.

A settings class is a frozen pydantic dataclass. Invalid values raise `ConfigError`, which names the
option as it is typed on the command line (`label.horizon`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

import pandas as pd
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from gafcnn.durations import format_duration
from gafcnn.errors import ConfigError

C = TypeVar("C", bound=type)
T = TypeVar("T")

_TYPES = ("bool", "constrained-int", "float", "int", "str")


@dataclass_transform(frozen_default=True)
def settings(section: str) -> Callable[[C], C]:
    """Turn a class of annotated fields into a settings class.

    Positional and keyword arguments, defaults, `__eq__` and `__repr__` work as in a dataclass.
    Sequences should be annotated as `tuple[X, ...]`, lengths of time as `durations.Duration`. The
    section of the configuration is "" for the top.
    """

    def decorate(cls: C) -> C:
        config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
        made = pydantic_dataclass(cls, frozen=True, config=config)  # pyright: ignore[reportCallIssue, reportArgumentType]
        validate = made.__init__

        @wraps(validate)
        def init(self: Any, *args: Any, **options: Any) -> None:
            try:
                validate(self, *args, **options)
            except ValidationError as error:
                raise _config_error(section, made, error) from None

        made.__init__ = init
        return made  # pyright: ignore[reportReturnType]

    return decorate


def create(cls: type[T], section: str, options: Mapping[str, Any]) -> T:
    """Create a settings class from plain options, such as a section of a YAML file.

    Any other class is called with the options as keyword arguments.

    Raises:
        ConfigError: An option is unknown, missing or out of range; the message names it.
    """
    if not is_dataclass(cls):
        known = signature(cls)
        try:
            known.bind(**options)
        except TypeError as error:
            raise ConfigError(
                f"{section}: {error}",
                expected=f"the arguments of {cls.__name__}{known}",
                instead="correct the names of the options",
            ) from None
        return cls(**options)
    try:
        return TypeAdapter(cls).validate_python(dict(options))
    except ValidationError as error:
        raise _config_error(section, cls, error) from None


def as_plain(value: Any) -> Any:
    """Return settings as dicts, lists, strings, numbers and None, ready for YAML and JSON.

    A class that was registered under a name has it as `kind`.
    """
    cls, kind = type(value), getattr(type(value), "kind", None)
    tag = {"kind": kind} if isinstance(kind, str) else {}
    if tag or is_dataclass(cls):
        # a plain class has attributes that are named like its arguments
        names = [one.name for one in fields(cls)] if is_dataclass(cls) else [*arguments(cls)]
        if absent := [name for name in names if not hasattr(value, name)]:
            raise ConfigError(
                f"an object of {cls.__name__} has no attribute {absent[0]}",
                expected="an attribute for each argument of __init__, so that it can be stored",
                instead=f"set self.{absent[0]} in __init__",
            )
        return tag | {name: as_plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): as_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(one) for one in value]
    if isinstance(value, pd.Timedelta):
        return format_duration(value)
    return str(value) if isinstance(value, Path | pd.Timestamp) else value


def arguments(of: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of a class or function with their defaults; "???" where there is none.

    A default that is no plain data is left out.
    """
    found = {}
    of_class: Any = of  # for type checkers
    made = {one.name: one.default_factory for one in (fields(of) if is_dataclass(of) else ())}
    for name, one in signature(of_class).parameters.items():
        if one.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            make = made.get(name, MISSING)
            default = one.default if make is MISSING else make()
            plain = "???" if default is Parameter.empty else as_plain(default)
            with suppress(TypeError, ValueError):
                json.dumps(plain)
                found[name] = plain
    return found


def _config_error(section: str, cls: type, error: ValidationError) -> ConfigError:
    """Return the first validation error as a message that names the option."""
    first = error.errors()[0]
    names = [one.name for one in fields(cls)]  # pyright: ignore[reportArgumentType]
    # positional arguments are reported by their number
    path = [names[at] if isinstance(at, int) and not i else at for i, at in enumerate(first["loc"])]
    unknown = first["type"] in ("unexpected_keyword_argument", "extra_forbidden")
    if not unknown:  # without the types of a union, such as "Window" or "constrained-int"
        path = [at for at in path if isinstance(at, int) or (at not in _TYPES and at.islower())]
    key = ".".join(str(part) for part in ([section] if section else []) + path)
    if unknown:
        near = get_close_matches(str(path[-1]), names, n=1)
        return ConfigError(
            f"{key} is not an option",
            expected=f"one of {', '.join(names)}",
            instead=f"did you mean {near[0]}?" if near else "correct the name",
        )
    if first["type"] in ("missing", "missing_argument"):
        return ConfigError(f"{key} has no value", expected="a value", instead=f"set {key}=VALUE")
    expected = first["msg"]
    for prefix in ("Value error, ", "Input should be ", "expected "):
        expected = expected.removeprefix(prefix)
    if not path:  # of a calculation with several options
        found = f"{key or cls.__name__} of {first['input']} fails ({expected})"
        return ConfigError(found, expected="other values", instead="correct them")
    if expected.startswith(("less", "greater")):
        expected = f"a value {expected}"
    default = as_plain(getattr(cls, str(path[0]), None))
    known = isinstance(default, str | int | float | bool | list) and default != ""
    return ConfigError(
        f"{key} is {first['input']!r}",
        expected=expected,
        instead=f"correct {key}" + (f"; the default is {default}" if known else ""),
    )
