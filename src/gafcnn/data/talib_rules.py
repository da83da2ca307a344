"""Fields that restate the rules of TA-Lib's candlestick patterns as signs, 0 at a threshold.

They measure what reading an image costs: images of them contain the thresholds that define the
patterns. They are not meant for forecasting.

The rules are those of TA-Lib's C sources (ta_CDLMORNINGSTAR.c and its neighbours, with the default
settings of ta_global.c): a body is long above the mean body of the ten candles before, and short
below it; a shadow is long if it is longer than its own body, and very short below a tenth of the
mean range; a star's body is apart from the body before; a morning star's close reaches 0.3 of the
first body back into it.
"""

from __future__ import annotations

import numpy as np

from gafcnn.data.features import (
    DENOMINATORS,
    FIELDS,
    MEAN_CANDLES,
    Candles,
    Floats,
    register_field,
)

VERY_SHORT = 0.1  # of the mean range: ShadowVeryShort
PENETRATION = 0.3  # of the first body: optInPenetration


@register_field("body_rule", back=MEAN_CANDLES, family="rule")
def _body_rule(candles: Candles) -> Floats:
    """1 for a long body, -1 for a short one."""
    return np.sign(np.abs(FIELDS["body"].compute(candles)) - DENOMINATORS["body"](candles))


@register_field("upper_shadow_rule", family="rule")
def _upper_shadow_rule(candles: Candles) -> Floats:
    """1 if the upper shadow is longer than the body."""
    shadow = FIELDS["upper_shadow"].compute(candles)
    return np.sign(shadow - np.abs(FIELDS["body"].compute(candles)))


@register_field("lower_shadow_rule", back=MEAN_CANDLES, family="rule")
def _lower_shadow_rule(candles: Candles) -> Floats:
    """-1 for a very short lower shadow."""
    shadow = FIELDS["lower_shadow"].compute(candles)
    return np.sign(shadow - VERY_SHORT * DENOMINATORS["range"](candles))


@register_field("colour_rule", family="rule")
def _colour_rule(candles: Candles) -> Floats:
    """1 for a white candle, close >= open, -1 for a black one."""
    return np.where(candles.close >= candles.open, 1.0, -1.0)


@register_field("star_rule", back=1, family="rule")
def _star_rule(candles: Candles) -> Floats:
    """1 if the body is entirely above the body before, -1 if below, 0 if they meet."""
    top, bottom = candles.before(candles.top), candles.before(candles.bottom)
    above, below = candles.bottom > top, candles.top < bottom
    return np.where(np.isnan(top), np.nan, above * 1.0 - below * 1.0)


@register_field("top_rule", back=1, family="rule")
def _top_rule(candles: Candles) -> Floats:
    """1 if the top of the body is higher than before, -1 if lower."""
    return np.sign(candles.top - candles.before(candles.top))


@register_field("bottom_rule", back=1, family="rule")
def _bottom_rule(candles: Candles) -> Floats:
    """1 if the bottom of the body is higher than before, -1 if lower."""
    return np.sign(candles.bottom - candles.before(candles.bottom))


@register_field("penetration_rule", back=2, family="rule")
def _penetration_rule(candles: Candles) -> Floats:
    """1 if the close is beyond 0.3 of the body two candles before, back into it, else -1."""
    first = candles.before(FIELDS["body"].compute(candles), 2)
    reached = candles.before(candles.close, 2) - PENETRATION * first
    return np.sign((candles.close - reached) * -np.sign(first))
