"""Fields are what they say, exact where prices are equal, and know neither gap nor future."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.data.features import FIELDS, Candles, field
from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.errors import ConfigError, SamplesError

Bars = Callable[..., pd.DataFrame]
COLUMNS = ("open", "high", "low", "close", "volume")
SHAPES = (
    "body", "upper_shadow", "lower_shadow", "range", "gap", "overlap", "top_step", "bottom_step"
)  # fmt: skip
RATIOS = tuple(f"{of}_to_mean_{yard}" for yard in ("body", "range") for of in SHAPES)


def of(bars: pd.DataFrame, name: str, step: int = 1) -> list[float]:
    return FIELDS[name].of(Candles(bars, step)).tolist()


@pytest.fixture(scope="module")
def three(make_bars: Bars) -> pd.DataFrame:
    """A white candle, a black one that opens at its close, and one that opens above."""
    return make_bars(
        [12.0, 11.0, 16.0],
        open=[10.0, 12.0, 14.0],
        high=[13.0, 12.5, 16.0],
        low=[9.5, 10.0, 13.0],
        volume=[1.0, 2.0, 4.0],
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("open", [10, 12, 14]),
        ("high", [13, 12.5, 16]),
        ("low", [9.5, 10, 13]),
        ("close", [12, 11, 16]),
        ("volume", [1, 2, 4]),
        ("body", [2, -1, 2]),
        ("upper_shadow", [1, 0.5, 0]),
        ("lower_shadow", [0.5, 1, 1]),
        ("range", [3.5, 2.5, 3]),
        ("gap", [np.nan, 0, 3]),
        ("gap_sign", [np.nan, 0, 1]),
        # 11 to 12 within 10 to 12; then 14 to 16 and 11 to 12, apart by 2
        ("overlap", [np.nan, 1, -2]),
        ("top_step", [np.nan, 0, 4]),
        ("bottom_step", [np.nan, 1, 3]),
    ],
)
def test_three_candles_by_hand(three: pd.DataFrame, name: str, values: list[float]) -> None:
    np.testing.assert_array_equal(of(three, name), values)


def test_a_candle_of_several_bars_is_compared_with_the_one_a_step_earlier(make_bars: Bars) -> None:
    bars = make_bars(
        [3, 4, 1, 5],
        open=[2, 3, 6, 1],
        high=[3, 7, 6, 9],
        low=[1, 3, 1, 0.5],
    )
    last = {name: of(bars, name, step=2)[-1] for name in SHAPES}
    # 2 to 4, then 6 to 5, in a range of 8.5
    assert last == {
        "body": -1,
        "upper_shadow": 3,
        "lower_shadow": 4.5,
        "range": 8.5,
        "gap": 2,
        "overlap": -1,
        "top_step": 2,
        "bottom_step": 3,
    }


def test_ratios_are_counted_in_the_ten_candles_before(make_bars: Bars) -> None:
    # ten candles of body 2 in a range of 4, then one of body -3 with shadows 1 and 2
    bars = make_bars(
        [*[12.0] * 10, 9.0],
        open=[*[10.0] * 10, 12.0],
        high=[*[13.0] * 10, 13.0],
        low=[*[9.0] * 10, 7.0],
    )
    last = {name: of(bars, name)[-1] for name in RATIOS}
    assert last == {
        "body_to_mean_body": -1.5,
        "upper_shadow_to_mean_body": 0.5,
        "lower_shadow_to_mean_body": 1,
        "range_to_mean_body": 3,
        "gap_to_mean_body": 0,
        "overlap_to_mean_body": 1,
        "top_step_to_mean_body": 0,
        "bottom_step_to_mean_body": -0.5,
        "body_to_mean_range": -0.75,
        "upper_shadow_to_mean_range": 0.25,
        "lower_shadow_to_mean_range": 0.5,
        "range_to_mean_range": 1.5,
        "gap_to_mean_range": 0,
        "overlap_to_mean_range": 0.5,
        "top_step_to_mean_range": 0,
        "bottom_step_to_mean_range": -0.25,
    }


def test_nothing_to_nothing_is_nothing_and_ratios_have_a_limit(make_bars: Bars) -> None:
    still = make_bars(np.full(12, 10.0))
    assert {of(still, name)[10] for name in RATIOS} == {0.0}
    leap = make_bars([*[10.0] * 11, 5.0], open=[10.0] * 12, high=[10.0] * 12, low=[*[10.0] * 11, 5])
    assert of(leap, "body_to_mean_body")[-1] == -100
    assert of(leap, "range_to_mean_range")[-1] == 100


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), step=st.integers(1, 4))
def test_fields_are_those_of_resampled_bars_by_pandas(
    random_bars: Bars, seed: int, step: int
) -> None:
    bars = random_bars(step * 13, seed=seed)
    groups = np.repeat(np.arange(13), step)
    coarse = bars.groupby(groups).agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    ends = coarse[["open", "close"]]
    top, bottom, before = ends.max(axis=1), ends.min(axis=1), coarse.shift()
    peers = {name: coarse[name] for name in COLUMNS} | {
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
    for name, yardstick in (("body", peers["body"].abs()), ("range", peers["range"])):
        mean = yardstick.shift().rolling(10).mean()
        peers |= {f"{of}_to_mean_{name}": (peers[of] / mean).clip(-100, 100) for of in SHAPES}
    assert peers.keys() == {name for name, known in FIELDS.items() if known.kind == "candle"}
    for name, peer in peers.items():
        np.testing.assert_allclose(
            of(bars, name, step)[step - 1 :: step], peer, rtol=1e-9, atol=1e-12, err_msg=name
        )


def test_the_yardsticks_are_those_of_talib(random_bars: Bars) -> None:
    bars = random_bars(20_000)
    # a marubozu: a long real body (BodyLong) with very short shadows (ShadowVeryShort)
    shadows = [of(bars, f"{side}_shadow_to_mean_range") for side in ("upper", "lower")]
    long = np.abs(of(bars, "body_to_mean_body")) > 1
    restated = long & (np.array(shadows) < 0.1).all(axis=0)
    told = talib.CDLMARUBOZU(*(bars[name] for name in COLUMNS[:4])).to_numpy() != 0
    assert 100 < told.sum() < len(bars) / 2
    np.testing.assert_array_equal(restated, told)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_reads_as_many_candles_as_it_says(random_bars: Bars, name: str) -> None:
    back, step = FIELDS[name].back, 3
    bars = random_bars(100 + (back + 1) * step)
    needed = bars.iloc[100:]
    assert of(needed, name, step)[-1] == of(bars, name, step)[-1]
    if back:
        assert np.isnan(of(needed.iloc[step:], name, step)).all()


def test_every_field_says_what_it_is() -> None:
    assert all(known.name == name and known.about for name, known in FIELDS.items())
    assert FIELDS["body_to_mean_range"].about == "body / mean range of the 10 candles before"


def test_the_documentation_has_a_line_for_every_field(root: Path) -> None:
    text = (root / "docs" / "images.md").read_text(encoding="utf-8")
    for known in FIELDS.values():
        if known.kind == "candle":
            about = known.about[0].lower() + known.about[1:]
            of, ratio, yardstick = known.name.partition("_to_mean_")
            line = f"`<x>{ratio}{yardstick}`" if ratio else f"`{of}` | {about} | {known.back} |"
            assert f"| {line}" in text


def test_a_field_of_ones_own_is_read_like_any_other(
    random_bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FIELDS, "middle", FIELDS["close"])  # and no more, once this test is over
    del FIELDS["middle"]

    @field("middle", back=2, kind="rule")
    def middle(candles: Candles) -> np.ndarray:
        """The middle of the range, two candles ago."""
        return candles.before((candles.high + candles.low) / 2, 2)

    bars = random_bars(20)
    series = WindowReader(bars, Window("w", "5min", None, "7min"), ["middle"])(np.array([19]))
    assert series[0, 0, -1] == (bars["high"].iloc[17] + bars["low"].iloc[17]) / 2
    assert FIELDS["middle"].about == "The middle of the range, two candles ago"


# --- what a reader may rely on --------------------------------------------------------------------


def test_fields_that_look_back_need_a_lookback_that_holds_it(random_bars: Bars) -> None:
    bars = random_bars(100)
    with pytest.raises(ConfigError) as caught:
        WindowReader(bars, Window("w", "60min"), ["close", "gap", "body_to_mean_body"])
    assert str(caught.value) == (
        "the field 'body_to_mean_body' reads 10 candles of 1min before window.span=1h; "
        "expected all of them within window.lookback, 1h; set window.lookback to 70min or more."
    )
    with pytest.raises(ConfigError, match="set window.lookback to 80min or more"):
        WindowReader(bars, Window("w", "30min", "5min", "79min"), ["body_to_mean_body"])
    WindowReader(bars, Window("w", "60min", None, "70min"), ["body_to_mean_body"])
    WindowReader(bars, Window("w", "30min", "5min", "80min"), ["body_to_mean_body"])


@pytest.mark.parametrize(("name", "row"), [("close", 8), ("gap", 9), ("gap_to_mean_body", 18)])
def test_nothing_before_a_gap_is_read(random_bars: Bars, name: str, row: int) -> None:
    bars = random_bars(40, missing=[5])  # a stretch begins at row 5
    reader = WindowReader(bars, Window("w", "4min", None, "14min"), [name])
    assert np.isfinite(reader(np.array([row]))).all()
    with pytest.raises(SamplesError, match=rf"^row {row - 1} does not end \d+ bars without a gap"):
        reader(np.array([row - 1]))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    step=st.sampled_from([1, 2]),
    cut=st.integers(40, 90),
    missing=st.sets(st.integers(0, 99), max_size=2),
)
def test_no_field_knows_the_future_or_what_is_before_the_lookback(
    random_bars: Bars, seed: int, step: int, cut: int, missing: set[int]
) -> None:
    bars = random_bars(100, missing=missing, seed=seed)
    window = Window("w", "4min", f"{step}min", "24min")
    rows = decision_rows(bars, window.lookback)
    past = rows[rows < cut]
    if not len(past):
        return
    altered = bars.copy()
    altered.iloc[cut:] *= 3.0
    altered.iloc[: past[-1] - 23] *= 0.5
    last = past[-1:]
    shown = WindowReader(bars, window, FIELDS)(last)
    assert np.isfinite(shown).all()
    np.testing.assert_array_equal(WindowReader(altered, window, FIELDS)(last), shown)


def test_volume_is_refused_where_there_is_none(random_bars: Bars) -> None:
    bars = random_bars(30)
    bars["volume"] = np.nan
    window = Window("w", "15min", None, "30min")
    others = [name for name in FIELDS if name != "volume"]
    assert np.isfinite(WindowReader(bars, window, others)(np.array([29]))).all()
    with pytest.raises(SamplesError) as caught:
        WindowReader(bars, window, ["close", "volume"])
    assert str(caught.value) == (
        "the 30 bars from 2024-01-01 00:01 to 2024-01-01 00:30 UTC have no volume to make the "
        "field 'volume' of; expected bars with a column volume, or fields that are made of prices; "
        "write images.fields=[close], say."
    )


def test_a_field_that_stands_twice_is_refused(make_bars: Bars) -> None:
    with pytest.raises(SamplesError, match="^the field 'body' stands twice; expected each field"):
        WindowReader(make_bars(np.ones(60)), Window("w", "15min"), ("close", "body", "body"))


@pytest.mark.parametrize(
    ("fields", "found", "instead"),
    [
        (("close", "vwap"), "the field 'vwap' is unknown", "write images.fields=[close], say"),
        (("bodi",), "the field 'bodi' is unknown", "did you mean body?"),
        (("body_to_mean_bdy",), "the field 'body_to_mean_bdy'", "did you mean body_to_mean_body?"),
        ((7,), "the field 7 is unknown", "write images.fields=[close], say"),
        ((), "the fields are ()", "write images.fields=[close], say"),
        ("close", "the fields are 'close'", "write images.fields=[close], say"),
        (None, "the fields are None", "write images.fields=[close], say"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_and_the_known_ones(
    make_bars: Bars, fields: tuple[str, ...], found: str, instead: str
) -> None:
    with pytest.raises(SamplesError) as caught:
        WindowReader(make_bars(np.ones(60)), Window("w", "15min"), fields)
    sentence = str(caught.value)
    assert sentence.startswith(found)
    assert "; expected a list of open, high, low, close, volume, body, upper_shadow, " in sentence
    assert sentence.endswith(f"; {instead}.")
