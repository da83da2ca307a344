"""Fields that restate the rules of TA-Lib's candlestick patterns: each a sign, 0 at a threshold.

They stand apart from what a trader would name. Images of them hold the thresholds that the
patterns are defined by, so that recognising the patterns from them asks little of a network: they
show what is lost where images have to be read for it.

The rules are those of TA-Lib's C sources (ta_CDLMORNINGSTAR.c and its neighbours, with the default
settings of ta_global.c): a body is long above the mean body of the ten candles before, and short
below it; a shadow is long where it is longer than its own body, and very short below a tenth of the
mean range; a star's body stands apart from the body before; a morning star's close reaches 0.3 of
the first body back into it.
"""

from __future__ import annotations

import numpy as np

from gafcnn.data.features import FIELDS, YARDSTICK, YARDSTICKS, Candles, Floats, field

VERY_SHORT = 0.1  # of the mean range: ShadowVeryShort
PENETRATION = 0.3  # of the first body: optInPenetration


@field("body_rule", back=YARDSTICK, kind="rule")
def _body_rule(candles: Candles) -> Floats:
    """1 for a long body, -1 for a short one."""
    return np.sign(np.abs(FIELDS["body"].of(candles)) - YARDSTICKS["body"](candles))


@field("upper_shadow_rule", kind="rule")
def _upper_shadow_rule(candles: Candles) -> Floats:
    """1 where the upper shadow is longer than the body."""
    shadow = FIELDS["upper_shadow"].of(candles)
    return np.sign(shadow - np.abs(FIELDS["body"].of(candles)))


@field("lower_shadow_rule", back=YARDSTICK, kind="rule")
def _lower_shadow_rule(candles: Candles) -> Floats:
    """-1 for a very short lower shadow."""
    shadow = FIELDS["lower_shadow"].of(candles)
    return np.sign(shadow - VERY_SHORT * YARDSTICKS["range"](candles))


@field("colour_rule", kind="rule")
def _colour_rule(candles: Candles) -> Floats:
    """1 for a white candle, close >= open, -1 for a black one."""
    return np.where(candles.close >= candles.open, 1.0, -1.0)


@field("star_rule", back=1, kind="rule")
def _star_rule(candles: Candles) -> Floats:
    """1 where the body is all above the body before, -1 all below, 0 where they meet."""
    top, bottom = candles.before(candles.top), candles.before(candles.bottom)
    above, below = candles.bottom > top, candles.top < bottom
    return np.where(np.isnan(top), np.nan, above * 1.0 - below * 1.0)


@field("top_rule", back=1, kind="rule")
def _top_rule(candles: Candles) -> Floats:
    """1 where the body ends higher than the body before, -1 where lower."""
    return np.sign(candles.top - candles.before(candles.top))


@field("bottom_rule", back=1, kind="rule")
def _bottom_rule(candles: Candles) -> Floats:
    """1 where the body begins higher than the body before, -1 where lower."""
    return np.sign(candles.bottom - candles.before(candles.bottom))


@field("penetration_rule", back=2, kind="rule")
def _penetration_rule(candles: Candles) -> Floats:
    """1 where the close is beyond 0.3 of the body two before, back into it, -1 where not."""
    first = candles.before(FIELDS["body"].of(candles), 2)
    reached = candles.before(candles.close, 2) - PENETRATION * first
    return np.sign((candles.close - reached) * -np.sign(first))
