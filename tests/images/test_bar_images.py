"""Bar images: pixel by pixel, against a plain loop, scaling, channels of assets, and errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from gafcnn.data.market_columns import with_market
from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.errors import ConfigError, ImagesError
from gafcnn.images.kinds import BAR_FIELDS
from gafcnn.images.spec import ImageSpec, encode
from gafcnn.images.store import build_store

from .conftest import random_walk

WINDOW = Window("8min", lookback="60min")
# open, high, low, close, volume and average of two bars; a row of the picture is a price
TWO = [[2.0, 4], [5, 7], [1, 0], [4, 6], [1, 2], [3, 6]]
PICTURE = """
........#.
........##
.....#.##.
.....####.
.....#..#.
....##..#.
.....#..#.
........#.
........#.
.....#..#.
"""


def pixels(picture: str) -> NDArray[np.float64]:
    return np.array([[mark == "#" for mark in row] for row in picture.split()], dtype=np.float64)


def draw(series: Any, size: int, **options: Any) -> NDArray[Any]:
    return encode(np.asarray(series, np.float64)[None], size, kinds=["ohlc"], **options)[0, 0]


def bars_of(n: int, points: int, seed: int) -> NDArray[Any]:
    """The six series of random bars with gaps between them, shape (n, 6, points)."""
    rng = np.random.default_rng(seed)
    opened, close = 50 * np.exp(rng.normal(0, 0.01, (2, n, points)).cumsum(axis=2))
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) / 1.003
    average = np.cumsum(close, axis=1) / np.arange(1, points + 1)
    return np.stack([opened, high, low, close, rng.poisson(1, (n, points)), average], axis=1)


@pytest.mark.parametrize(("dtype", "unit"), [("int8", 127), ("float32", 1), ("float16", 1)])
def test_two_bars_by_hand(dtype: str, unit: int) -> None:
    found = draw(TWO, 10, dtype=dtype)
    assert found.dtype == dtype
    assert_array_equal(found, unit * pixels(PICTURE))


def test_without_volume_prices_have_the_whole_height() -> None:
    assert_array_equal(draw([*TWO[:4], [0, 0], TWO[5]], 8), pixels(PICTURE)[:8, 2:])
    second = draw([*TWO[:4], [0, 5], TWO[5]], 10)[8:]
    assert_array_equal(second, pixels(PICTURE)[8:] * (np.arange(10) > 6))


@pytest.mark.parametrize("scaling", ["per_field", "fixed"])
def test_equal_prices_are_a_line_in_the_middle(scaling: str) -> None:
    still = [[0.1, 0.1]] * 4 + [[0, 0], [0.1, 0.1]]
    assert_array_equal(np.flatnonzero(draw(still, 7, scaling=scaling).any(axis=1)), [3])
    assert draw(still, 7, scaling=scaling)[3].tolist() == [0, 1, 1, 1, 1, 1, 1]


def test_fixed_scaling_by_hand() -> None:
    """1 % is half of the way from the last close to the border, 3 % are three quarters."""
    price = 50 * np.exp([[0.03, 0.01, 0.0]] * 4)
    price[1], price[2], price[3] = price[0], price[0], 50  # highs and lows are opens
    price[2, 2] = 50 * np.exp(-0.01)
    average = np.full((1, 3), 50.0)
    picture = draw([*price, [0, 0, 0], *average], 9, scaling="fixed")
    rows = {column: np.flatnonzero(picture[:, column]).tolist() for column in (0, 3, 6, 7)}
    assert rows == {0: [1], 3: [2, 4], 6: [4], 7: [4, 5, 6]}


def by_loop(series: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Draw one picture slowly, by other means than the kernel."""
    _, high, low, _, volume, average = series
    points, image = len(high), np.zeros((size, size))
    height = size - (size // 5 if volume.any() else 0)
    bottom, top = min(low.min(), average.min()), max(high.max(), average.max())
    rows = np.floor((1 - (series - bottom) / (top - bottom)) * (height - 1) + 0.5).astype(int)
    for k, x in enumerate(range(size - 3 * points + 1, size, 3)):
        image[rows[0, k], x - 1] = image[rows[3, k], x + 1] = 1
        image[rows[1, k] : rows[2, k] + 1, x] = 1
        if height < size:
            filled = int(np.floor(size // 5 * volume[k] / volume.max() + 0.5))
            image[size - filled :, x] = 1
        rise = rows[5, k] - rows[5, max(k - 1, 0)]
        steps = max(3, abs(rise))
        for s in range(steps + 1 if k else 1):
            image[int(rows[5, k] - rise / steps * s + 0.5), x - int(3 / steps * s + 0.5)] = 1
    return image


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), points=st.integers(1, 12), extra=st.integers(0, 20))
def test_pictures_equal_those_of_a_plain_loop(seed: int, points: int, extra: int) -> None:
    series, size = bars_of(2, points, seed), max(3 * points + extra, 5)
    found = encode(series, size, kinds=["ohlc"])
    for one, image in zip(series, found[:, 0], strict=True):
        assert_array_equal(image, by_loop(one, size))


def test_channels_of_kinds_and_assets() -> None:
    spec = ImageSpec(30, kinds=("gasf", "ohlc", "gadf"), fields=("high",), assets=("BTC",))
    own = [("high", "gasf"), ("high", "gadf"), ("BTC:high", "gasf"), ("BTC:high", "gadf")]
    assert spec.channels == (*own, ("bars", "ohlc"), ("BTC:bars", "ohlc"))
    assert set(spec.read_fields) == {p + name for p in ("", "BTC:") for name in BAR_FIELDS}
    assert ImageSpec(kinds=("ohlc",), fields=("body",)).read_fields == BAR_FIELDS
    for options in (
        {"assets": ("B", "B")},
        {"assets": ("",)},
        {"assets": "B", "fields": ["C:low"]},
    ):
        with pytest.raises(ConfigError, match=r"images\.assets"):
            ImageSpec(**options)


@pytest.mark.parametrize("scaling", ["per_field", "jointly", "fixed"])
def test_an_asset_is_drawn_as_if_alone(scaling: Any) -> None:
    series = np.concatenate([bars_of(3, 10, 0), 7 * bars_of(3, 10, 1)], axis=1)
    kinds = ("gasf", "recurrence", "ohlc")
    spec = ImageSpec(32, "float32", BAR_FIELDS, kinds, scaling=scaling, assets=("BTC",))
    images, alone = spec.encode(series), replace(spec, assets=())
    one, other = alone.encode(series[:, :6]), alone.encode(series[:, 6:])
    assert_array_equal(images[:, :24], np.concatenate([one[:, :12], other[:, :12]], axis=1))
    assert_array_equal(images[:, 24:], np.concatenate([one[:, 12:], other[:, 12:]], axis=1))
    unnamed = encode(series[:, :6], 32, kinds=kinds, scaling=scaling)
    # fixed scaling takes series without names as they are
    first = 12 if scaling == "fixed" else 0
    assert_array_equal(unnamed[:, first:], one[:, first:])


def test_stores_depend_on_the_bars_of_assets(bars: pd.DataFrame, tmp_path: Path) -> None:
    spec = ImageSpec(24, kinds=("gasf", "ohlc"), assets=("BTC",))
    other = random_walk(400, seed=1).iloc[100:]
    both = with_market({"A": bars, "BTC": other}, spec.read_fields)["A"]
    changed = with_market({"A": bars, "BTC": other * 1.001}, spec.read_fields)["A"]
    for frame in (both, changed):
        images = build_store(tmp_path, frame, WINDOW, spec)
        series = WindowReader(frame, WINDOW, spec.read_fields)(decision_rows(bars, "60min"))
        assert_array_equal(images, spec.encode(series))


@pytest.mark.parametrize(("size", "points"), [(59, 20), (2, 1), (64, 22)])
def test_too_many_bars_for_the_pixels(
    size: int, points: int, bars: pd.DataFrame, tmp_path: Path
) -> None:
    series = bars_of(1, points, 0)
    with pytest.raises(ConfigError, match=rf"size is {size}.*{points} bars.*size={3 * points}"):
        encode(series, size, kinds=["ohlc"])
    assert encode(series, 3 * points, kinds=["ohlc"]).any()
    with pytest.raises(ConfigError, match="size=24"):
        build_store(tmp_path / "store", bars, WINDOW, ImageSpec(16, kinds=("ohlc",)))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("fields", [1, 5, 7])
def test_wrong_number_of_fields(fields: int) -> None:
    with pytest.raises(ImagesError, match=r"field.*\(n, 6, points\).*open, high, low, close"):
        encode(np.ones((3, fields, 10)), 64, kinds=["ohlc"])
