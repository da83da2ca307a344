"""Fields: numbers computed for each candle that an image can show, by name.

A candle is one point of a window: the bars of one `window.step` combined into one open, high, low,
close and volume. The candle before is one step earlier. Prices are compared
exactly: where two are equal, their difference is 0.

Ratios use the denominators of TA-Lib's candle settings (https://ta-lib.org): the mean body
(BodyLong, BodyShort) or the mean range (ShadowVeryShort) of the ten candles before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gafcnn.errors import ConfigError
from gafcnn.registry import Registry

Floats: TypeAlias = NDArray[np.float64]

MEAN_CANDLES = 10  # candles before, over which the denominator of a ratio is averaged
LARGEST_RATIO = 100.0  # ratios are clipped to this on both sides


@dataclass(frozen=True, eq=False)  # DataFrames have no single answer to ==
class Candles:
    """The candle that ends at every row: arrays of shape (n_bars,), NaN where bars are too few.

    Values of a row are computed from rows up to it, even across a gap: a caller has to check for
    gaps, as `WindowReader` does.

    Attributes:
        bars: Bars indexed by close time.
        step: Bars per candle.
    """

    bars: pd.DataFrame
    step: int = 1

    @cached_property
    def open(self) -> Floats:
        """The first open."""
        return self._steps("open")[:, 0]

    @cached_property
    def high(self) -> Floats:
        """The highest high."""
        return np.max(self._steps("high"), axis=-1)

    @cached_property
    def low(self) -> Floats:
        """The lowest low."""
        return np.min(self._steps("low"), axis=-1)

    @cached_property
    def close(self) -> Floats:
        """The last close."""
        return self.bars["close"].to_numpy(np.float64)

    @cached_property
    def volume(self) -> Floats:
        """The sum of the volumes."""
        return np.sum(self._steps("volume"), axis=-1)

    @property
    def top(self) -> Floats:
        """The upper end of the real body."""
        return np.maximum(self.open, self.close)

    @property
    def bottom(self) -> Floats:
        """The lower end of the real body."""
        return np.minimum(self.open, self.close)

    def before(self, values: Floats, candles: int = 1) -> Floats:
        """Return the values this many candles earlier."""
        back = candles * self.step
        return np.concatenate([np.full(min(back, len(values)), np.nan), values[:-back]])

    def mean_before(self, values: Floats) -> Floats:
        """Return the mean over the ten candles before; each row is summed separately."""
        total = np.zeros(len(values))
        for candles in range(1, MEAN_CANDLES + 1):
            total += self.before(values, candles)
        return total / MEAN_CANDLES

    def _steps(self, column: str) -> Floats:
        """The column over the bars of each candle: shape (n_bars, step)."""
        values = self.bars[column].to_numpy(np.float64)
        before = np.full(self.step - 1, np.nan)
        return sliding_window_view(np.concatenate([before, values]), self.step)


FieldFunction: TypeAlias = Callable[[Candles], Floats]


@dataclass(frozen=True)
class Field:
    """A registered field.

    Attributes:
        name: Its name in options.
        description: What it is, in one line.
        family: "candle" for what a trader would name, "rule" for the rule of a pattern.
        back: How many earlier candles it reads.
        compute: Computes it for all candles: shape (n_bars,).
    """

    name: str
    description: str
    family: Literal["candle", "rule"]
    back: int
    compute: FieldFunction


FIELDS: Registry[Field] = Registry("field", "images.fields", ("gafcnn.data.talib_rules",))
"""All fields by name."""


def register_field(
    name: str, *, back: int = 0, family: Literal["candle", "rule"] = "candle"
) -> Callable[[FieldFunction], FieldFunction]:
    """Register a function of candles as a field; its docstring is the description.

    Args:
        name: Its name in options.
        back: How many earlier candles it reads.
        family: See `Field`.

    Raises:
        ConfigError: Another module has registered the name.
    """

    def decorate(function: FieldFunction) -> FieldFunction:
        description = (function.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        FIELDS.register(name)(Field(name, description, family, back, function))
        return function

    return decorate


def known_fields(fields: Iterable[str]) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        ConfigError: A name is unknown or occurs twice, or there is none.
    """
    names = () if isinstance(fields, str) else tuple(fields)
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"the fields are {fields!r}",
            expected="a list of one or more fields, each once",
            instead="set images.fields=[close], for example",
        )
    for name in names:
        FIELDS[name]
    return names


def _gap(candles: Candles) -> Floats:
    return candles.open - candles.before(candles.close)


def _overlap(c: Candles) -> Floats:
    return np.minimum(c.top, c.before(c.top)) - np.maximum(c.bottom, c.before(c.bottom))


# each field: its function, how many earlier candles it reads, and its description
_WITHOUT_RATIOS: dict[str, tuple[FieldFunction, int, str]] = {
    "open": (lambda c: c.open, 0, "First price"),
    "high": (lambda c: c.high, 0, "Highest price"),
    "low": (lambda c: c.low, 0, "Lowest price"),
    "close": (lambda c: c.close, 0, "Last price"),
    "volume": (lambda c: c.volume, 0, "Traded volume"),
    "gap_sign": (lambda c: np.sign(_gap(c)), 1, "Sign of the gap: -1, 0 or 1"),
}

_WITH_RATIOS: dict[str, tuple[FieldFunction, int, str]] = {
    "body": (lambda c: c.close - c.open, 0, "Real body, signed: close - open"),
    "upper_shadow": (lambda c: c.high - c.top, 0, "Shadow above: high - max(open, close)"),
    "lower_shadow": (lambda c: c.bottom - c.low, 0, "Shadow below: min(open, close) - low"),
    "range": (lambda c: c.high - c.low, 0, "Whole candle: high - low"),
    "gap": (_gap, 1, "Open - close of the candle before"),
    "overlap": (_overlap, 1, "Overlap with the body before; negative if they are apart"),
    "top_step": (lambda c: c.top - c.before(c.top), 1, "Change of the top of the body"),
    "bottom_step": (lambda c: c.bottom - c.before(c.bottom), 1, "Change of the bottom of the body"),
}

DENOMINATORS: dict[str, FieldFunction] = {
    "body": lambda c: c.mean_before(np.abs(c.close - c.open)),
    "range": lambda c: c.mean_before(c.high - c.low),
}
"""The denominators of ratios, by name."""


def _ratio(numerator: str, denominator: str) -> FieldFunction:
    def ratio(candles: Candles) -> Floats:
        value, unit = _WITH_RATIOS[numerator][0](candles), DENOMINATORS[denominator](candles)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where((value == 0) & (unit == 0), 0.0, value / unit)
        return np.clip(ratios, -LARGEST_RATIO, LARGEST_RATIO)

    ratio.__doc__ = f"{numerator} / mean {denominator} of the {MEAN_CANDLES} candles before."
    return ratio


for _name, (_function, _back, _description) in (_WITHOUT_RATIOS | _WITH_RATIOS).items():
    FIELDS.register(_name)(Field(_name, _description, "candle", _back, _function))
for _denominator in DENOMINATORS:
    for _numerator in _WITH_RATIOS:
        register_field(f"{_numerator}_to_mean_{_denominator}", back=MEAN_CANDLES)(
            _ratio(_numerator, _denominator)
        )
