"""Parse and format lengths of time such as "15min", "4h" and "1D"."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
import pandas as pd
from pydantic import PlainValidator

from gafcnn.errors import ConfigError

DurationLike: TypeAlias = pd.Timedelta | timedelta | np.timedelta64 | str
"""What is accepted as a length of time: "15min", "1h", `pd.Timedelta(hours=1)`."""

NO_TIME: pd.Timedelta = pd.Timedelta(0)  # pyright: ignore[reportAssignmentType]


def _validated(value: Any) -> pd.Timedelta:
    """Return a non-negative length of time in nanoseconds; raise a ValueError for other values."""
    try:
        length = pd.Timedelta(value)
    except (TypeError, ValueError):
        length = pd.NaT
    # pandas reads 15 and "15" as 15 nanoseconds, which nobody means; zero needs no unit
    lacks_unit = str(value).strip().replace(".", "", 1).isdigit() and length != NO_TIME
    if not isinstance(length, pd.Timedelta) or length < NO_TIME or lacks_unit:
        raise ValueError('expected a length of time with its unit, such as "15min" or "1h"')
    return length.as_unit("ns")


if TYPE_CHECKING:
    # a type checker takes the type of a field for that of its argument
    Duration: TypeAlias = Any
    OptionalDuration: TypeAlias = Any
else:
    Duration = Annotated[pd.Timedelta, PlainValidator(_validated)]
    OptionalDuration = Duration | None
"""A field of a settings class: holds a `pd.Timedelta`, accepts any `DurationLike`."""


def parse_duration(key: str, value: DurationLike) -> pd.Timedelta:
    """Return the length of time given for the option `key`.

    Raises:
        ConfigError: `value` is not a length of time, is negative, or is a number without a unit.
    """
    try:
        return _validated(value)
    except ValueError as error:
        expected = str(error).removeprefix("expected ")
        instead = f"write {key}=15min, for example"
        raise ConfigError(f"{key} is {value!r}", expected=expected, instead=instead) from None


def format_duration(length: pd.Timedelta) -> str:
    """Return a length of time as an option spells it: "90min", "64h", "1D"."""
    for unit in ("D", "h", "min", "s", "ms"):
        size = pd.to_timedelta(1, unit=unit)
        if length % size == NO_TIME:
            return f"{length // size}{unit}"
    return f"{length.value}ns"


def multiple_of(
    key: str, length: pd.Timedelta, unit: pd.Timedelta, unit_name: str = "the bars' interval"
) -> int:
    """Return how many times `unit` fits into `length`: a whole number of at least 1.

    Raises:
        ConfigError: `length` is not a multiple of `unit`.
    """
    count = length // unit
    if count < 1 or length != unit * count:
        fits = " or ".join(format_duration(unit * n) for n in (count, count + 1) if n > 0)
        raise ConfigError(
            f"{key} is {format_duration(length)}",
            expected=f"a multiple of {unit_name}, {format_duration(unit)}",
            instead=f"set {key} to {fits}",
        )
    return count
