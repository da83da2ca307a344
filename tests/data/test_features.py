"""Fields: hand cases, pandas, TA-Lib; exact where prices are equal, no gap and no future bar."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gafcnn.data.features import FIELDS, Candles, register_field
from gafcnn.data.labels import PATTERNS, patterns
from gafcnn.data.simulated import tick_walk
from gafcnn.data.windows import Window, WindowReader
from gafcnn.errors import ConfigError, SamplesError

Bars = Callable[..., pd.DataFrame]
COLUMNS = ("open", "high", "low", "close", "volume")
SHAPES = (
    "body", "upper_shadow", "lower_shadow", "range", "gap", "overlap", "top_step", "bottom_step"
)  # fmt: skip
RATIOS = tuple(f"{name}_to_mean_{unit}" for unit in ("body", "range") for name in SHAPES)


EXTRAS = ("quote_volume", "trades", "taker_buy_volume")


def with_extras(bars: pd.DataFrame) -> pd.DataFrame:
    """Bars with the number of trades, further volumes and an index of the market."""
    volume = bars["volume"].to_numpy()
    more = {"quote_volume": volume * 100, "trades": volume * 3, "taker_buy_volume": volume / 4}
    return bars.assign(**more, market=1 + volume / 10)


def compute(bars: pd.DataFrame, name: str, step: int = 1) -> list[float]:
    return FIELDS[name].compute(Candles(bars, step)).tolist()


def test_three_candles_by_hand(make_bars: Bars) -> None:
    # a white candle, a black one that opens at its close, and one that opens above
    bars = make_bars([12, 11, 16], open=[10, 12, 14], high=[13, 12.5, 16], low=[9.5, 10, 13])
    expected = {
        "open": [10, 12, 14], "body": [2, -1, 2], "range": [3.5, 2.5, 3],
        "upper_shadow": [1, 0.5, 0], "lower_shadow": [0.5, 1, 1],
        "gap": [np.nan, 0, 3], "gap_sign": [np.nan, 0, 1],
        "overlap": [np.nan, 1, -2],  # 11 to 12 is within 10 to 12; 14 to 16 is 2 above 11 to 12
        "top_step": [np.nan, 0, 4], "bottom_step": [np.nan, 1, 3],
    }  # fmt: skip
    for name, values in expected.items():
        assert_array_equal(compute(bars, name), values, err_msg=name)


def test_zero_divided_by_zero_is_zero_and_ratios_are_clipped(make_bars: Bars) -> None:
    still = make_bars(np.full(12, 10.0))
    assert {compute(still, name)[10] for name in RATIOS} == {0.0}
    leap = make_bars([*[10.0] * 11, 5.0], open=[10.0] * 12, high=[10.0] * 12, low=[*[10.0] * 11, 5])
    assert compute(leap, "body_to_mean_body")[-1] == -100
    assert compute(leap, "range_to_mean_range")[-1] == 100


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), step=st.integers(1, 4))
def test_fields_equal_those_of_bars_resampled_by_pandas(
    random_bars: Bars, seed: int, step: int
) -> None:
    bars = with_extras(random_bars(step * 13, seed=seed))
    groups = np.repeat(np.arange(13), step)
    sums = dict.fromkeys(("volume", *EXTRAS), "sum")
    coarse = bars.groupby(groups).agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "market": "last", **sums}
    )
    ends = coarse[["open", "close"]]
    top, bottom, before = ends.max(axis=1), ends.min(axis=1), coarse.shift()
    peers = {name: coarse[name] for name in COLUMNS} | {
        "volume_or_zero": coarse["volume"],
        "market": coarse["market"],
        "relative_close": coarse["close"] / coarse["market"],
        "quote_volume": coarse["quote_volume"],
        "trades": coarse["trades"],
        "trade_size": coarse["volume"] / coarse["trades"],
        "taker_buy_share": coarse["taker_buy_volume"] / coarse["volume"],
        "body": coarse["close"] - coarse["open"],
        "upper_shadow": coarse["high"] - top,
        "lower_shadow": bottom - coarse["low"],
        "range": coarse["high"] - coarse["low"],
        "gap": coarse["open"] - before["close"],
        "gap_sign": np.sign(coarse["open"] - before["close"]),
        "overlap": np.minimum(top, top.shift()) - np.maximum(bottom, bottom.shift()),
        "top_step": top - top.shift(),
        "bottom_step": bottom - bottom.shift(),
    }
    for unit, values in (("body", peers["body"].abs()), ("range", peers["range"])):
        mean = values.shift().rolling(10).mean()
        peers |= {f"{name}_to_mean_{unit}": (peers[name] / mean).clip(-100, 100) for name in SHAPES}
    assert peers.keys() == {name for name in FIELDS if not name.endswith("_rule")}
    for name, peer in peers.items():
        assert_allclose(
            compute(bars, name, step)[step - 1 :: step], peer, rtol=1e-9, atol=1e-12, err_msg=name
        )


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_reads_the_candles_that_it_declares(random_bars: Bars, name: str) -> None:
    back, step = FIELDS[name].back, 3
    bars = with_extras(random_bars(100 + (back + 1) * step))
    needed = bars.iloc[100:]
    assert compute(needed, name, step)[-1] == compute(bars, name, step)[-1]
    if back:
        assert np.isnan(compute(needed.iloc[step:], name, step)).all()


def test_the_documentation_lists_every_field(root: Path) -> None:
    text = (root / "docs" / "images.md").read_text(encoding="utf-8")
    listed = {}
    for names, back in re.findall(r"^\| (`.*`) \|.*\| (\d+) \|$", text, re.MULTILINE):
        listed |= dict.fromkeys(re.findall("`(.*?)`", names), int(back))
    fields = {re.sub(".*_to_mean", "<x>_to_mean", name): FIELDS[name].back for name in FIELDS}
    assert fields == listed


@pytest.mark.parametrize("step", [1, 3])
def test_an_average_is_the_mean_of_the_last_closes(random_bars: Bars, step: int) -> None:
    bars = random_bars(30 * step)
    peer = bars["close"].iloc[step - 1 :: step].rolling(5).mean()
    window = Window(points=5, step=f"{step}min", lookback="30min")
    rows = np.arange(10 * step - 1, 30 * step, step)
    series = WindowReader(bars, window, ["average", "average_5"])(rows)
    assert_allclose(series[:, :, -1].T, [peer.iloc[9:]] * 2, rtol=1e-12)
    with pytest.raises(ConfigError, match=rf"'average' reads 4 candles.*lookback.* {9 * step}min"):
        WindowReader(bars, replace(window, lookback=f"{8 * step}min"), ["average"])
    bars = bars.assign(close=0.1)  # whose mean is rounded to another number
    assert (WindowReader(bars, window, ["average"])(rows) == 0.1).all()


def test_own_field(random_bars: Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FIELDS, "middle", None)  # to be removed after the test

    @register_field("middle", back=2)
    def middle(candles: Candles) -> np.ndarray:
        """The middle of the range, two candles ago."""
        return candles.before((candles.high + candles.low) / 2, 2)

    bars = random_bars(20)
    series = WindowReader(bars, Window("5min", lookback="7min"), ["middle"])(np.array([19]))
    assert series[0, 0, -1] == (bars["high"].iloc[17] + bars["low"].iloc[17]) / 2
    assert FIELDS["middle"].back == 2
    with pytest.raises(ConfigError, match="close"):
        register_field("close")(middle)


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "needed"),
    [(Window("60min"), "70min"), (Window("30min", "5min", lookback="79min"), "80min")],
)
def test_the_lookback_includes_earlier_candles(
    random_bars: Bars, window: Window, needed: str
) -> None:
    bars, fields = random_bars(100), ["close", "gap", "body_to_mean_body"]
    with pytest.raises(ConfigError, match=rf"body_to_mean_body.*lookback.*{needed}"):
        WindowReader(bars, window, fields)
    WindowReader(bars, replace(window, lookback=needed), fields)


@pytest.mark.parametrize(("name", "row"), [("close", 8), ("gap", 9), ("gap_to_mean_body", 18)])
def test_a_field_does_not_span_a_gap(random_bars: Bars, name: str, row: int) -> None:
    bars = random_bars(40, missing=[5])  # a stretch begins at row 5
    reader = WindowReader(bars, Window("4min", lookback="14min"), [name])
    assert np.isfinite(reader(np.array([row]))).all()
    with pytest.raises(SamplesError, match=f"row {row - 1} does not end"):
        reader(np.array([row - 1]))


def test_a_market_without_volume(random_bars: Bars) -> None:
    bars = random_bars(30).assign(volume=np.nan, market=1.0)
    window = Window("15min", lookback="30min")
    needed = ("volume", "quote_volume", "trades", "trade_size", "taker_buy_share")
    others = [name for name in FIELDS if name not in needed]
    assert np.isfinite(WindowReader(bars, window, others)(np.array([29]))).all()
    for name in needed:
        with pytest.raises(SamplesError, match=f"'{name}'.* 30 bars"):
            WindowReader(bars, window, ["close", name])


@pytest.mark.parametrize(
    ("fields", "facts"),
    [(("close", "body", "body"), "body"), (("bodi",), "'bodi'.* mean body\\?"), ((7,), "7"),
     (("body_to_mean_bdy",), "mean body_to_mean_body\\?"), ((), r"\(\)"), ("close", "'close'")],
)  # fmt: skip
def test_unknown_fields(make_bars: Bars, fields: Any, facts: str) -> None:
    with pytest.raises(ConfigError, match=facts):
        WindowReader(make_bars(np.ones(60)), Window("15min"), fields)


# --- rules of patterns ----------------------------------------------------------------------------

RULES = {name: field for name, field in FIELDS.items() if name.endswith("_rule")}


def decided(bars: pd.DataFrame) -> np.ndarray:
    """The pattern of each bar, from the rule fields of three candles."""
    candles = Candles(bars)
    now = {name: field.compute(candles) for name, field in RULES.items()}
    one = {name: candles.before(values, 1) for name, values in now.items()}
    two = {name: candles.before(values, 2) for name, values in now.items()}
    white, black = (now["colour_rule"] == sign for sign in (1, -1))
    long_now, short_now = now["body_rule"] > 0, now["body_rule"] < 0
    star = {sign: (two["body_rule"] > 0) & (one["body_rule"] <= 0) & (one["star_rule"] == sign)
            & long_now & (now["penetration_rule"] > 0) for sign in (-1, 1)}  # fmt: skip
    top, bottom = now["top_rule"], now["bottom_rule"]
    turn = {sign: (now["colour_rule"] == sign) & (one["colour_rule"] == -sign) for sign in (1, -1)}
    engulfs = (top >= 0) & (bottom <= 0) & ((top > 0) | (bottom < 0))
    inside = (one["body_rule"] > 0) & (now["body_rule"] <= 0) & (top <= 0) & (bottom >= 0)
    shadow = short_now & (now["upper_shadow_rule"] > 0) & (now["lower_shadow_rule"] < 0)
    present = {
        "morning_star": star[-1] & (two["colour_rule"] == -1) & white,
        "evening_star": star[1] & (two["colour_rule"] == 1) & black,
        "bullish_engulfing": engulfs & turn[1],
        "bearish_engulfing": engulfs & turn[-1],
        "shooting_star": shadow & (now["star_rule"] == 1),
        "inverted_hammer": shadow & (now["star_rule"] == -1),
        "bullish_harami": inside & (one["colour_rule"] == -1),
        "bearish_harami": inside & (one["colour_rule"] == 1),
    }
    count = np.sum(list(present.values()), axis=0)
    which = np.array([present[name] for name in PATTERNS[1:]]).argmax(axis=0) + 1
    return np.where(count == 0, 0, np.where(count == 1, which, -1))


def test_rule_fields_determine_every_pattern_of_talib() -> None:
    bars = tick_walk(40_000, seed=5)
    label = patterns(bars)
    # TA-Lib's running sums are rounded, so a body that equals the mean may be judged differently
    same = decided(bars)[20:] == label[20:]
    assert same.mean() > 0.9999
    assert (np.bincount(label[20:] + 1, minlength=10) > 10).all()


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_field_is_a_sign(name: str) -> None:
    values = RULES[name].compute(Candles(tick_walk(3000)))[RULES[name].back :]
    assert set(np.unique(values)) <= {-1.0, 0.0, 1.0}
    assert len(np.unique(values)) >= 2
