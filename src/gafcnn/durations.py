"""Lengths of time, as options give them and as sentences tell them."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

import numpy as np
import pandas as pd

from gafcnn.errors import ConfigError

Duration: TypeAlias = pd.Timedelta | timedelta | np.timedelta64 | str
"""What a constructor takes for a length of time: "15min", "1h", `pd.Timedelta(hours=1)`."""

_UNITS = {
    "D": timedelta(days=1),
    "h": timedelta(hours=1),
    "min": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def duration(key: str, value: Duration) -> pd.Timedelta:
    """A length of time, not negative, from the value of the option `key`.

    Raises:
        ConfigError: `value` is no length of time, negative, or a number without its unit.
    """
    try:
        length = pd.Timedelta(value)
    except (TypeError, ValueError):
        length = pd.NaT
    # pandas reads 15 and "15" as 15 nanoseconds, which nobody means; zero needs no unit
    lacks_unit = str(value).strip().replace(".", "", 1).isdigit() and length != pd.Timedelta(0)
    if not isinstance(length, pd.Timedelta) or length < pd.Timedelta(0) or lacks_unit:
        raise ConfigError(
            f"{key} is {value!r}",
            expected='a length of time with its unit, such as "15min" or "1h"',
            instead=f"write {key}=15min, say",
        )
    return length.as_unit("ns")


def spelled(length: pd.Timedelta) -> str:
    """A length of time as an option would spell it: "90min", "64h", "1D"."""
    for unit, size in _UNITS.items():
        if length % size == timedelta(0):
            return f"{length // size}{unit}"
    return f"{length.value}ns"


def multiple(
    key: str, length: pd.Timedelta, unit: pd.Timedelta, unit_name: str = "the bars' interval"
) -> int:
    """How many times `unit` goes into `length`, at least once and without a rest.

    Raises:
        ConfigError: It does not.
    """
    count = length // unit
    if count < 1 or length != unit * count:
        fits = " or ".join(spelled(unit * n) for n in (count, count + 1) if n > 0)
        raise ConfigError(
            f"{key} is {spelled(length)}",
            expected=f"a multiple of {unit_name}, {spelled(unit)}",
            instead=f"set {key} to {fits}",
        )
    return count
