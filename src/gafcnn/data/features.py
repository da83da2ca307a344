"""Fields: numbers computed for each candle that an image can show, by name.

A candle is one point of a window: the bars of one `window.step` combined into one open, high, low,
close and volume. The candle before is one step earlier. Prices are compared
exactly: where two are equal, their difference is 0.

Ratios use the denominators of TA-Lib's candle settings (https://ta-lib.org): the mean body
(BodyLong, BodyShort) or the mean range (ShadowVeryShort) of the ten candles before.

Fields that end in `_rule` restate the rules of TA-Lib's candlestick patterns as signs, 0 at a
threshold. They measure what reading an image costs, and are not meant for forecasting. The rules
are those of TA-Lib's C sources (ta_CDLMORNINGSTAR.c and its neighbours, with the default settings
of ta_global.c): a body is long above the mean body of the ten candles before, and short below it; a
shadow is long if it is longer than its own body, and very short below a tenth of the mean range; a
star's body is apart from the body before; a morning star's close reaches 0.3 of the first body back
into it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gafcnn.data.bars import COLUMNS
from gafcnn.registry import Registry

Floats: TypeAlias = NDArray[np.float64]

MEAN_CANDLES = 10  # candles before, over which the denominator of a ratio is averaged
LARGEST_RATIO = 100.0  # ratios are clipped to this on both sides
VERY_SHORT = 0.1  # of the mean range: ShadowVeryShort
PENETRATION = 0.3  # of the first body: optInPenetration
_LEVEL = re.compile(r"open|high|low|close|average(_\d+)?|market|relative_close")  # of prices


class Candles:
    """The candle of `step` bars that ends at each row: shape (n_bars,), NaN where bars are too few.

    Values of a row are computed from rows up to it, even across a gap: a caller has to check for
    gaps, as `WindowReader` does.

    Attributes:
        open: The first open; likewise `high`, the highest high, `low`, the lowest low, `close`, the
            last close, and `volume`, the sum of the volumes.
        top: The upper end of the real body, and `bottom`, the lower one.
        body: The real body, signed: close - open.
    """

    def __init__(self, bars: pd.DataFrame, step: int = 1) -> None:
        self.bars, self.step = bars, step
        opened, high, low, close, volume = map(self._by_candle, COLUMNS)
        self.open, self.close = opened[:, 0], close[:, -1]
        self.high, self.low, self.volume = high.max(axis=1), low.min(axis=1), volume.sum(axis=1)
        self.top, self.bottom = np.maximum(self.open, self.close), np.minimum(self.open, self.close)
        self.body = self.close - self.open

    def total(self, name: str) -> Floats:
        """Return the sum of a column of `gafcnn.data.bars.EXTRAS`, NaN if the bars lack it."""
        if name not in self.bars:
            return np.full(len(self.bars), np.nan)
        return self._by_candle(name).sum(axis=1)

    @property
    def market(self) -> Floats:
        """The index of all symbols at the close, of bars from `gafcnn.with_market`."""
        return self._by_candle("market")[:, -1]

    def before(self, values: Floats, candles: int = 1) -> Floats:
        """Return the values this many candles earlier."""
        back = candles * self.step
        return np.concatenate([np.full(min(back, len(values)), np.nan), values[:-back]])

    def _by_candle(self, name: str) -> Floats:
        """Return a column of the bars of each candle: shape (n_bars, step)."""
        values = self.bars[name].to_numpy(np.float64)
        if self.step == 1:  # a view of the bars
            return values[:, None]
        return sliding_window_view(np.r_[np.full(self.step - 1, np.nan), values], self.step)

    def mean_before(self, values: Floats) -> Floats:
        """Return the mean over the ten candles before; each row is summed separately."""
        total = np.zeros(len(values))
        for candles in range(1, MEAN_CANDLES + 1):
            total += self.before(values, candles)
        return total / MEAN_CANDLES


FieldFunction: TypeAlias = Callable[[Candles], Floats]


class Field(NamedTuple):
    """A registered field."""

    compute: FieldFunction  # of all candles, shape (n_bars,)
    back: int  # how many earlier candles it reads
    market: bool = False  # whether it reads `Candles.market`


class Fields(Registry[Field]):
    """Fields by name, with or without an asset: "close", "BTCUSDT:close".

    "average_20" is the mean of the last 20 closes, "average" that of as many as a window shows.
    """

    def __getitem__(self, name: str) -> Field:
        own = split_asset(name)[1]
        if found := re.fullmatch(r"average(?:_([1-9]\d*))?", own):
            candles = int(found[1] or 1)
            return Field(partial(_average, candles=candles), candles - 1)
        return super().__getitem__(own)


FIELDS = Fields("field")
"""All fields by name."""


def register_field(
    name: str, *, back: int = 0, market: bool = False
) -> Callable[[FieldFunction], FieldFunction]:
    """Register a function of candles as a field, under its name in options.

    It reads `back` earlier candles, and with `market` also `Candles.market`.

    Raises:
        ConfigError: Another module has registered the name.
    """

    def decorate(function: FieldFunction) -> FieldFunction:
        FIELDS.register(name)(Field(function, back, market))
        return function

    return decorate


def find_field(name: str, points: int) -> Field:
    """Return a field of a window with as many points, of which "average" is the mean close."""
    return FIELDS[f"{name}_{points}" if split_asset(name)[1] == "average" else name]


def split_asset(name: str) -> tuple[str, str]:
    """Return the asset ("" for none) and the field of a name such as "BTCUSDT:close"."""
    asset, _, field = str(name).rpartition(":")
    return asset, field


def relative_to_last(series: Floats, fields: Sequence[str], unit: float = 1) -> Floats:
    """Return series (n, fields, points) with prices as log(price / last price) / unit.

    Fields that are no prices are unchanged.
    """
    relative = series.copy()
    for at, name in enumerate(fields):
        if _LEVEL.fullmatch(split_asset(name)[1]):
            values, last = series[:, at], series[:, at, -1:]
            above = (values > 0) & (last > 0)  # both are 0 for an asset that is not listed yet
            ratios = np.divide(values, last, out=np.ones_like(values), where=above)
            relative[:, at] = np.log(ratios) / unit
    return relative


def _average(c: Candles, candles: int) -> Floats:
    earlier = [c.before(c.close, k) for k in range(1, candles)]
    low, high, total = c.close, c.close, c.close
    for close in earlier:
        low, high, total = np.minimum(low, close), np.maximum(high, close), total + close
    # rounding moves the mean of equal closes, and scaling by the extremes would magnify that
    return np.clip(total / candles, low, high)


def _volume_or_zero(c: Candles) -> Floats:
    volume = np.nan_to_num(c.volume)
    volume[: c.step - 1] = np.nan
    return volume


def _star(c: Candles) -> Floats:
    top, bottom = c.before(c.top), c.before(c.bottom)
    return np.where(np.isnan(top), np.nan, (c.bottom > top) * 1.0 - (c.top < bottom) * 1.0)


def _penetration(c: Candles) -> Floats:
    first = c.before(c.body, 2)
    reached = c.before(c.close, 2) - PENETRATION * first
    return np.sign((c.close - reached) * -np.sign(first))


def _quotient(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, 0 where both are 0."""
    return np.divide(part, whole, out=np.where(np.isnan(whole), np.nan, 0.0), where=whole != 0)


def _mean_body(c: Candles) -> Floats:
    return c.mean_before(np.abs(c.body))


def _mean_range(c: Candles) -> Floats:
    return c.mean_before(c.high - c.low)


def _ratio(numerator: FieldFunction, denominator: FieldFunction) -> FieldFunction:
    def ratio(candles: Candles) -> Floats:
        value, unit = numerator(candles), denominator(candles)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where((value == 0) & (unit == 0), 0.0, value / unit)
        return np.clip(ratios, -LARGEST_RATIO, LARGEST_RATIO)

    return ratio


# each field: how many earlier candles it reads, and its function
_WITHOUT_RATIOS: dict[str, tuple[int, FieldFunction]] = {
    **{name: (0, lambda c, name=name: getattr(c, name)) for name in COLUMNS},
    # of bars without volume 0
    "volume_or_zero": (0, _volume_or_zero),
    # of bars that have these columns
    "quote_volume": (0, lambda c: c.total("quote_volume")),
    "trades": (0, lambda c: c.total("trades")),
    "trade_size": (0, lambda c: _quotient(c.volume, c.total("trades"))),
    "taker_buy_share": (0, lambda c: _quotient(c.total("taker_buy_volume"), c.volume)),
    "gap_sign": (1, lambda c: np.sign(c.open - c.before(c.close))),
    # 1 for a long body, -1 for a short one
    "body_rule": (MEAN_CANDLES, lambda c: np.sign(np.abs(c.body) - _mean_body(c))),
    # 1 if the upper shadow is longer than the body
    "upper_shadow_rule": (0, lambda c: np.sign(c.high - c.top - np.abs(c.body))),
    # -1 for a very short lower shadow
    "lower_shadow_rule": (
        MEAN_CANDLES,
        lambda c: np.sign(c.bottom - c.low - VERY_SHORT * _mean_range(c)),
    ),
    # 1 for a white candle, close >= open, -1 for a black one
    "colour_rule": (0, lambda c: np.where(c.close >= c.open, 1.0, -1.0)),
    # 1 if the body is entirely above the body before, -1 if below, 0 if they meet
    "star_rule": (1, _star),
    # 1 if the top (the bottom) of the body is higher than before, -1 if lower
    "top_rule": (1, lambda c: np.sign(c.top - c.before(c.top))),
    "bottom_rule": (1, lambda c: np.sign(c.bottom - c.before(c.bottom))),
    # 1 if the close is beyond 0.3 of the body two candles before, back into it, else -1
    "penetration_rule": (2, _penetration),
}
_WITH_RATIOS: dict[str, tuple[int, FieldFunction]] = {
    "body": (0, lambda c: c.body),
    "upper_shadow": (0, lambda c: c.high - c.top),
    "lower_shadow": (0, lambda c: c.bottom - c.low),
    "range": (0, lambda c: c.high - c.low),
    "gap": (1, lambda c: c.open - c.before(c.close)),
    # with the body before; negative if they are apart
    "overlap": (
        1,
        lambda c: np.minimum(c.top, c.before(c.top)) - np.maximum(c.bottom, c.before(c.bottom)),
    ),
    "top_step": (1, lambda c: c.top - c.before(c.top)),
    "bottom_step": (1, lambda c: c.bottom - c.before(c.bottom)),
}

for _name, (_back, _function) in (_WITHOUT_RATIOS | _WITH_RATIOS).items():
    register_field(_name, back=_back)(_function)
register_field("market", market=True)(lambda c: c.market)
register_field("relative_close", market=True)(lambda c: c.close / c.market)
for _name, (_, _function) in _WITH_RATIOS.items():
    register_field(f"{_name}_to_mean_body", back=MEAN_CANDLES)(_ratio(_function, _mean_body))
    register_field(f"{_name}_to_mean_range", back=MEAN_CANDLES)(_ratio(_function, _mean_range))
