"""Fields: the numbers of a candle that an image may show, by name.

A candle is what one point of a window stands for: the bars of one `window.step`, as one open, high,
low, close and volume. The candle before is the one a step earlier. Prices are compared as they are:
where two are equal, their difference is exactly 0.

The ratios are counted in the yardsticks of TA-Lib's candle settings (https://ta-lib.org): the mean
body (BodyLong, BodyShort) or the mean range (ShadowVeryShort) of the ten candles before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gafcnn.errors import SamplesError

Floats = NDArray[np.float64]

YARDSTICK = 10  # candles before, over which the mean that a ratio is counted in is taken
MOST = 100.0  # what a ratio is clipped to, on both sides


@dataclass(frozen=True, eq=False)  # frames have no single answer to ==
class Candles:
    """The candle that ends at every row: arrays of shape (n_bars,), NaN where bars are too few.

    What lies in a row is made of rows up to it, whether or not there is a gap between them: that a
    gap is not read over is the reader's to assert.

    Attributes:
        bars: Bars indexed by close time.
        step: How many bars make a candle.
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
        """The sum of volumes."""
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
        """The values so many candles earlier."""
        back = candles * self.step
        return np.concatenate([np.full(min(back, len(values)), np.nan), values[:-back]])

    def mean_before(self, values: Floats) -> Floats:
        """The mean over the ten candles before, each row summed by itself: sums do not drift."""
        total = np.zeros(len(values))
        for candles in range(1, YARDSTICK + 1):
            total += self.before(values, candles)
        return total / YARDSTICK

    def _steps(self, column: str) -> Floats:
        """The column over the bars of each candle: shape (n_bars, step)."""
        values = self.bars[column].to_numpy(np.float64)
        before = np.full(self.step - 1, np.nan)
        return sliding_window_view(np.concatenate([before, values]), self.step)


@dataclass(frozen=True)
class Field:
    """One number of every candle.

    Attributes:
        name: What options call it.
        about: What it is, in a line.
        kind: "candle" for what a trader would name, "rule" for what restates a pattern's rule.
        back: How many earlier candles it reads.
        of: Computes it of all candles: shape (n_bars,).
    """

    name: str
    about: str
    kind: Literal["candle", "rule"]
    back: int
    of: Callable[[Candles], Floats]


FIELDS: dict[str, Field] = {}
"""All fields by name; `field` adds to them."""


def field(
    name: str, *, back: int = 0, kind: Literal["candle", "rule"] = "candle"
) -> Callable[[Callable[[Candles], Floats]], Callable[[Candles], Floats]]:
    """Add a function of candles to the fields; its docstring says what it is.

    Args:
        name: What options shall call it.
        back: How many earlier candles it reads.
        kind: Its family.

    Raises:
        SamplesError: Another module has a field of this name.
    """

    def register(function: Callable[[Candles], Floats]) -> Callable[[Candles], Floats]:
        if name in FIELDS and FIELDS[name].of.__module__ != function.__module__:
            raise SamplesError(
                f"there is a field {name!r} already, {FIELDS[name].about.lower()}",
                expected="a name of its own",
                instead="call yours otherwise",
            )
        about = (function.__doc__ or "").strip().rstrip(".")
        FIELDS[name] = Field(name, about, kind, back, function)
        return function

    return register


def known_fields(fields: Iterable[str]) -> tuple[str, ...]:
    """The names, if all are those of fields and there is at least one.

    Raises:
        SamplesError: They are not; the nearest name is told.
    """
    names = () if isinstance(fields, str) or not isinstance(fields, Iterable) else tuple(fields)
    unknown = [name for name in names if not isinstance(name, str) or name not in FIELDS]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if names and not unknown and not twice:
        return names
    if twice and not unknown:
        raise SamplesError(
            f"the field {twice[0]!r} stands twice",
            expected="each field once",
            instead="leave one of them out of images.fields",
        )
    nearest = get_close_matches(str(unknown[0]), FIELDS, n=1) if unknown else []
    raise SamplesError(
        f"the field {unknown[0]!r} is unknown" if unknown else f"the fields are {fields!r}",
        expected=f"a list of {', '.join(FIELDS)}",
        instead=f"did you mean {nearest[0]}?" if nearest else "write images.fields=[close], say",
    )


@field("open")
def _open(candles: Candles) -> Floats:
    """First price."""
    return candles.open


@field("high")
def _high(candles: Candles) -> Floats:
    """Highest price."""
    return candles.high


@field("low")
def _low(candles: Candles) -> Floats:
    """Lowest price."""
    return candles.low


@field("close")
def _close(candles: Candles) -> Floats:
    """Last price."""
    return candles.close


@field("volume")
def _volume(candles: Candles) -> Floats:
    """How much was traded."""
    return candles.volume


@field("body")
def _body(candles: Candles) -> Floats:
    """The real body, signed: close - open."""
    return candles.close - candles.open


@field("upper_shadow")
def _upper_shadow(candles: Candles) -> Floats:
    """What is above the body: high - max(open, close)."""
    return candles.high - candles.top


@field("lower_shadow")
def _lower_shadow(candles: Candles) -> Floats:
    """What is below the body: min(open, close) - low."""
    return candles.bottom - candles.low


@field("range")
def _range(candles: Candles) -> Floats:
    """The whole candle: high - low."""
    return candles.high - candles.low


@field("gap", back=1)
def _gap(candles: Candles) -> Floats:
    """Open - close of the candle before."""
    return candles.open - candles.before(candles.close)


@field("gap_sign", back=1)
def _gap_sign(candles: Candles) -> Floats:
    """-1, 0 or 1 as the open is below, at or above the close of the candle before."""
    return np.sign(_gap(candles))


@field("overlap", back=1)
def _overlap(candles: Candles) -> Floats:
    """What the body shares with the body before, min(tops) - max(bottoms); negative apart."""
    top = np.minimum(candles.top, candles.before(candles.top))
    return top - np.maximum(candles.bottom, candles.before(candles.bottom))


@field("top_step", back=1)
def _top_step(candles: Candles) -> Floats:
    """How much higher the body ends than the body before."""
    return candles.top - candles.before(candles.top)


@field("bottom_step", back=1)
def _bottom_step(candles: Candles) -> Floats:
    """How much higher the body begins than the body before."""
    return candles.bottom - candles.before(candles.bottom)


RATIOS = (
    "body", "upper_shadow", "lower_shadow", "range", "gap", "overlap", "top_step", "bottom_step"
)  # fmt: skip
"""The fields of which there are ratios."""

YARDSTICKS: dict[str, Callable[[Candles], Floats]] = {
    "body": lambda candles: candles.mean_before(np.abs(_body(candles))),
    "range": lambda candles: candles.mean_before(_range(candles)),
}
"""What ratios are counted in, by name."""


def _ratio(of: str, yardstick: str) -> Callable[[Candles], Floats]:
    def ratio(candles: Candles) -> Floats:
        value, unit = FIELDS[of].of(candles), YARDSTICKS[yardstick](candles)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where((value == 0) & (unit == 0), 0.0, value / unit)
        return np.clip(shares, -MOST, MOST)

    ratio.__doc__ = f"{of} / mean {yardstick} of the {YARDSTICK} candles before."
    return ratio


for _yardstick in YARDSTICKS:
    for _of in RATIOS:
        field(f"{_of}_to_mean_{_yardstick}", back=YARDSTICK)(_ratio(_of, _yardstick))
