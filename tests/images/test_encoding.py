"""Encoding: by hand, against pyts and scikit-learn, and properties of every image."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.preprocessing import minmax_scale
from torch.nn.functional import interpolate

from gafcnn.data.features import relative_to_last
from gafcnn.errors import ConfigError, ImagesError
from gafcnn.images.gaf import scaled
from gafcnn.images.kinds import RANGES
from gafcnn.images.spec import ImageSpec, encode
from gafcnn.settings import as_plain, create

ROUNDING = 1e-6
PYTS = ["markov", "recurrence"]
SCALINGS = ("per_field", "jointly", "fixed")

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def pyts_fields(pyts_image: ModuleType) -> Callable[..., Floats]:
    """Both fields of series of shape (n, points), by pyts: shape (n, 2, size, size)."""

    def fields(series: Floats, size: int, ends: tuple[int, int] = (-1, 1)) -> Floats:
        kinds = [
            pyts_image.GramianAngularField(size, sample_range=ends, method=kind).transform(series)
            for kind in ("summation", "difference")
        ]
        return np.stack(kinds, axis=1)

    return fields


def walks(n: int, points: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, points)).cumsum(axis=1)


def resized(pictures: Floats, size: int) -> Floats:
    images = torch.from_numpy(pictures)[:, None]
    return interpolate(images, (size, size), mode="bilinear", align_corners=False)[:, 0].numpy()


whole_numbers = hnp.arrays(
    np.int64,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=9),
    elements=st.integers(-1000, 1000),
)


# --- the formula ----------------------------------------------------------------------------------


def test_three_points_by_hand() -> None:
    # 1, 2, 4 scaled is -1, -1/3, 1, with sines 0, a, 0
    a = np.sqrt(8) / 3
    gasf = [[1, 1 / 3, -1], [1 / 3, -7 / 9, -1 / 3], [-1, -1 / 3, 1]]
    gadf = [[0, a, 0], [-a, 0, a], [0, -a, 0]]
    np.testing.assert_allclose(encode([[1.0, 2.0, 4.0]], size=3), [[gasf, gadf]], atol=ROUNDING)


def test_fewer_points_than_pixels_by_hand() -> None:
    # -1 and 1, seen at the centres of four pixels; both sines are 0
    seen = np.array([-1, -0.5, 0.5, 1])
    images = encode([[3.0, 8.0]], size=4)
    np.testing.assert_allclose(images[0, 0], np.outer(seen, seen), atol=ROUNDING)
    np.testing.assert_array_equal(images[0, 1], 0)


@settings(max_examples=20)
@example(size=64, more=0, seed=0, ends=(0, 1))
@example(size=64, more=1, seed=0, ends=(-1, 1))
@example(size=64, more=936, seed=0, ends=(0, 1))
@given(
    size=st.integers(2, 40),
    more=st.integers(0, 200),
    seed=st.integers(0, 2**31),
    ends=st.sampled_from(RANGES),
)
def test_pyts_with_points_for_all_pixels(
    size: int, more: int, seed: int, ends: tuple[int, int], pyts_fields: Callable[..., Floats]
) -> None:
    series = walks(5, size + more, seed)
    images = encode(series, size, range=ends)
    np.testing.assert_allclose(images, pyts_fields(series, size, ends), atol=1e-5)


@pytest.mark.parametrize(
    ("points", "size"),
    [(15, 32), (15, 64), (30, 64), (60, 64), (15, 224), (30, 224), (60, 224), (100, 224)],
)
def test_pyts_resized_for_fewer_points_than_pixels(
    points: int, size: int, pyts_fields: Callable[..., Floats]
) -> None:
    series = walks(5, points)
    fields = pyts_fields(series, points)
    expected = np.stack([resized(fields[:, kind], size) for kind in range(2)], axis=1)
    np.testing.assert_allclose(encode(series, size), expected, atol=1e-5)


# --- what every image has -------------------------------------------------------------------------


@settings(max_examples=30)
@given(series=whole_numbers, size=st.integers(1, 20))
def test_symmetry_range_and_sign(series: NDArray[np.int64], size: int) -> None:
    images = encode(series, size)
    gasf, gadf = images[:, 0::2], images[:, 1::2]
    np.testing.assert_array_equal(gasf, gasf.swapaxes(2, 3))
    np.testing.assert_array_equal(gadf, -gadf.swapaxes(2, 3))
    assert np.abs(images).max() <= 1 + ROUNDING
    negated = encode(-series, size)
    np.testing.assert_allclose(negated[:, 0::2], gasf, atol=ROUNDING)
    np.testing.assert_allclose(negated[:, 1::2], -gadf, atol=ROUNDING)


@settings(max_examples=30)
@given(series=whole_numbers, shift=st.integers(-(2**30), 2**30), scale=st.sampled_from([0.25, 8]))
def test_level_and_scale_do_not_matter(series: NDArray[np.int64], shift: int, scale: float) -> None:
    np.testing.assert_array_equal(encode(series, 9), encode(series * scale + shift, 9))


@pytest.mark.parametrize("scaling", ["per_field", "fixed"])
def test_range_0_to_1_keeps_the_sign(scaling: str) -> None:
    series = walks(5, 30)

    def gasf(values: Floats, ends: tuple[int, int]) -> NDArray[np.float32]:
        return encode(values, 30, kinds=["gasf"], range=ends, scaling=scaling)

    np.testing.assert_allclose(gasf(series, (-1, 1)), gasf(-series, (-1, 1)), atol=ROUNDING)
    difference = np.abs(gasf(series, (0, 1)) - gasf(-series, (0, 1)))
    assert difference.max(axis=(1, 2, 3)).min() > 0.5


@pytest.mark.parametrize("points", [1, 15, 64, 100, 190])  # of 100 and 190 segments differ
def test_constant_series(points: int) -> None:
    images = encode(np.full((2, points), 0.1))
    np.testing.assert_array_equal(images[:, 0], -1)
    np.testing.assert_array_equal(images[:, 1], 0)
    middle = encode(np.full((2, points), 0.1), range=(0, 1))  # x = 1/2: the angle is pi / 3
    np.testing.assert_allclose(middle[:, 0], -0.5, atol=ROUNDING)
    np.testing.assert_array_equal(middle[:, 1], 0)


@pytest.mark.parametrize(
    ("points", "size", "dtype", "checksum"),
    [
        (15, 64, "int8", 0xA702D8AE),
        (15, 64, "float16", 0x358F4BAA),
        (15, 64, "float32", 0xE0C5F8B1),
        (64, 64, "int8", 0x4645C191),
        (64, 64, "float32", 0xA4AFF49A),
        (100, 48, "int8", 0xF54A4924),
        (100, 48, "float32", 0xAA9A22A5),
    ],
)
def test_images_of_earlier_versions_to_the_last_bit(
    points: int, size: int, dtype: str, checksum: int
) -> None:
    series = (np.arange(12 * points) ** 2 * 7919 % 10007 / 64).reshape(6, 2, points)
    series[3, 1] = 5
    assert zlib.crc32(encode(series, size, dtype).tobytes()) == checksum


def test_images_are_independent() -> None:
    series, kinds = walks(300, 8), ["gasf", "gadf", *PYTS]  # more than one block
    alone = np.concatenate([encode(series[n : n + 1], 9, kinds=kinds) for n in range(300)])
    np.testing.assert_array_equal(encode(series, 9, kinds=kinds), alone)


# --- how it is stored -----------------------------------------------------------------------------


@pytest.mark.parametrize("points", [15, 64, 100])
def test_int8_rounds_to_nearest(points: int) -> None:
    series = walks(50, points)
    images = encode(series, dtype="int8")
    assert images.dtype == np.int8
    assert np.abs(images / 127 - encode(series)).max() <= 0.5 / 127 + ROUNDING
    assert images.max() == 127
    shown = ImageSpec().shown(series[:, None])
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(np.rint(shown * 127), images)
    np.testing.assert_allclose(shown, images * ImageSpec().scale, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_out(dtype: str) -> None:
    series = np.stack([walks(5, 20), walks(5, 20, seed=1)], axis=1)
    kinds = ["recurrence", "gasf"]
    out = np.full((5, 4, 16, 16), 99, dtype)
    assert encode(series, 16, dtype, kinds=kinds, out=out) is out
    np.testing.assert_array_equal(out, encode(series, 16, dtype, kinds=kinds))


def test_out_of_the_wrong_shape_or_dtype() -> None:
    narrow, wide = np.zeros((5, 2, 8, 9), "int8"), np.zeros((5, 2, 8, 16), "int8")
    for out in (narrow, np.zeros((5, 2, 8, 8)), wide[..., ::2]):
        with pytest.raises(ImagesError, match=r"int8 of shape \(5, 2, 8, 8\)"):
            encode(walks(5, 20), 8, "int8", out=out)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_input_types(dtype: str) -> None:
    series = np.arange(30, dtype=np.int16).reshape(2, 15)
    series.flags.writeable = False
    np.testing.assert_array_equal(encode(series, dtype=dtype), encode(series.tolist(), dtype=dtype))


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "found"),
    [
        ([1, 2], "the series have shape (2,)"),
        (np.ones((2, 2, 2, 2)), "the series have shape (2, 2, 2, 2)"),
        (np.ones((0, 64)), "the series have shape (0, 64)"),
        (np.ones((3, 2, 0)), "the series have shape (3, 2, 0)"),
        (
            pd.DataFrame({"open": [1.0], "close": [2.0]}),
            "the series are a DataFrame with the columns",
        ),
        ([["a", "b"]], "the series are not an array of numbers"),
        ([[1, 2], [3]], "the series are not an array of numbers"),
        ([[1, 2], [3, np.nan]], "point 1 of field 0 of sample 1 is nan"),
        ([[[1, 2], [-np.inf, 2]]], "point 0 of field 1 of sample 0 is -inf"),
        ([[-1.7e308, 1.7e308]], "point 0 of field 0 of sample 0 is -1.7e+308"),
    ],
)
def test_invalid_series(series: Any, found: str) -> None:
    with pytest.raises(ImagesError) as caught:
        encode(series)
    assert caught.value.found.startswith(found)


# --- scaling --------------------------------------------------------------------------------------

batches = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.floats(-1e6, 1e6),
)


@pytest.mark.parametrize(
    ("scaling", "ends", "expected"),
    [
        ("per_field", (-1, 1), [[-1, -1 / 3, 1], [-7 / 9, 1, -1]]),
        ("per_field", (0, 1), [[0, 1 / 3, 1], [1 / 9, 1, 0]]),
        ("jointly", (-1, 1), [[-5 / 9, -1 / 3, 1 / 9], [-7 / 9, 1, -1]]),
        ("jointly", (0, 1), [[2 / 9, 3 / 9, 5 / 9], [1 / 9, 1, 0]]),
        ("fixed", (-1, 1), [[1 / 2, 2 / 3, 4 / 5], [0, 8 / 9, -1 / 2]]),
        ("fixed", (0, 1), [[3 / 4, 5 / 6, 9 / 10], [1 / 2, 17 / 18, 1 / 4]]),
    ],
)
def test_scaling_two_fields_by_hand(scaling: str, ends: tuple[int, int], expected: list) -> None:
    sample = np.array([[[1.0, 2.0, 4.0], [0.0, 8.0, -1.0]]])
    np.testing.assert_allclose(scaled(sample, 3, ends, scaling), [expected], rtol=1e-15)


@pytest.mark.parametrize("field", ["close", "BTC:high", "average_20", "market", "relative_close"])
def test_fixed_scaling_shows_the_size_of_moves_and_not_the_level_of_prices(field: str) -> None:
    spec = ImageSpec(8, "float32", (field, "body"), scaling="fixed")
    moves = np.array([0.0, 1.0, -2.0, 0.0])  # in percent of the last price
    prices, bodies = np.exp(moves / 100), np.array([1.0, -3.0, 0.0, 1.0])
    series = np.stack([prices, bodies])[None]
    by_hand = encode(np.stack([moves, bodies])[None], 8, scaling="fixed")
    for level in (1e-5, 1.0, 60_000.0):
        images = spec.encode(series * [[level], [1.0]])
        np.testing.assert_allclose(images, by_hand, atol=1e-5)
    twice = spec.encode(np.stack([prices**2, bodies])[None])
    assert np.abs(twice[:, :2] - by_hand[:, :2]).max() > 0.1
    assert not np.array_equal(encode(series, 8, scaling="fixed")[:, :2], by_hand[:, :2])


def test_fixed_scaling_of_no_price_and_of_own_fields() -> None:
    spec = ImageSpec(4, "float32", scaling="fixed")
    images = spec.encode(np.zeros((1, 1, 4)))  # of an asset that is not listed yet
    assert not np.ptp(images, axis=(2, 3)).any()
    levels = ["close", "average", "ETH:open"]
    series = np.full((1, 4, 3), 2.0)
    changed = relative_to_last(series, [*levels, "close_in_range"], 0.01)
    assert changed[0].tolist() == [[0, 0, 0]] * 3 + [[2, 2, 2]]


def test_averages_come_before_scaling() -> None:
    series = np.array([[[0.0, 2.0, 7.0, 8.0, 9.0]]])
    np.testing.assert_array_equal(scaled(series, 2), [[[-1, 1]]])
    np.testing.assert_allclose(scaled(series, 2, scaling="fixed"), [[[1 / 2, 8 / 9]]])


@settings(max_examples=30)
@given(series=batches, ends=st.sampled_from(RANGES))
def test_scaling_is_that_of_scikit_learn(series: Floats, ends: tuple[int, int]) -> None:
    x = scaled(series, series.shape[2], ends)
    differ = np.ptp(series, axis=2) > 1e-9  # scikit-learn takes closer extremes as equal
    peers = [minmax_scale(sample, ends, axis=1) for sample in series]
    np.testing.assert_allclose(x[differ], np.array(peers)[differ], atol=1e-6)
    np.testing.assert_array_equal(x[np.ptp(series, axis=2) == 0], np.mean(ends))


@settings(max_examples=30)
@given(series=batches, ends=st.sampled_from(RANGES), scaling=st.sampled_from(SCALINGS))
def test_scaling_keeps_range_and_order(series: Floats, ends: tuple[int, int], scaling: str) -> None:
    x = scaled(series, series.shape[2], ends, scaling)
    assert ends[0] <= x.min() <= x.max() <= ends[1]
    order = np.argsort(series, axis=2, kind="stable")
    assert (np.diff(np.take_along_axis(x, order, axis=2), axis=2) >= 0).all()


@settings(max_examples=30)
@given(series=batches)
def test_joint_scaling_is_that_of_the_fields_in_one_series(series: Floats) -> None:
    n, fields, points = series.shape
    whole = scaled(series.reshape(n, 1, fields * points), fields * points)
    jointly = scaled(series, points, scaling="jointly")
    np.testing.assert_array_equal(jointly, whole.reshape(series.shape))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_images_are_the_outer_products_of_their_vectors(dtype: Any) -> None:
    spec, series = ImageSpec(20, dtype, ("open", "close"), range=(0, 1)), walks(6, 30)
    series = series.reshape(3, 2, 30)
    c, s = spec.encode_polar(series).transpose(2, 0, 1, 3)
    outer = [x[..., :, None] * c[..., None, :] - y[..., :, None] * s[..., None, :]
             for x, y in ((c, s), (s, c))]  # fmt: skip
    images = np.stack(outer, axis=2).reshape(3, 4, 20, 20)
    np.testing.assert_array_equal(
        spec.encode(series), np.rint(images) if dtype == "int8" else images
    )


# --- kinds of pyts --------------------------------------------------------------------------------


def test_three_points_of_pyts_kinds_by_hand() -> None:
    # 1, 2 and 4 are 1, 2 and 3 of 3 apart; each is in a quartile of its own
    images = encode([[1.0, 2.0, 4.0]], 3, kinds=["recurrence", "markov"])
    plot = [[-1, -1 / 3, 1], [-1 / 3, -1, 1 / 3], [1, 1 / 3, -1]]
    np.testing.assert_allclose(images[0, 0], plot, atol=1e-6)
    np.testing.assert_allclose(images[0, 1], [[-1, 1, -1], [-1, -1, 1], [-1, -1, -1]], atol=1e-6)


@pytest.mark.parametrize(("points", "size"), [(30, 30), (15, 32), (64, 16), (65, 16)])
@pytest.mark.parametrize("scaling", ["per_field", "fixed"])
def test_markov(points: int, size: int, scaling: str, pyts_image: ModuleType) -> None:
    series = walks(5, points)
    fields = pyts_image.MarkovTransitionField(min(points, size), n_bins=4).transform(series)
    expected = 2 * resized(fields, size) - 1
    for ends in ((-1, 1), (0, 1)):
        images = encode(series, size, kinds=["markov"], range=ends, scaling=scaling)
        np.testing.assert_allclose(images[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("points", "size"), [(30, 30), (15, 32), (64, 16)])
def test_recurrence(points: int, size: int, pyts_image: ModuleType) -> None:
    series = walks(5, points)
    means = series.reshape(5, min(points, size), -1).mean(axis=2)
    plots = pyts_image.RecurrencePlot().transform(means)
    expected = 2 * resized(plots / plots.max(axis=(1, 2), keepdims=True), size) - 1
    for ends in ((-1, 1), (0, 1)):
        images = encode(series, size, kinds=["recurrence"], range=ends)
        np.testing.assert_allclose(images[:, 0], expected, atol=1e-5)


def test_recurrence_with_fixed_scaling_by_hand() -> None:
    images = encode([[0.0, 1.0, -1.0]], 3, kinds=["recurrence"], scaling="fixed")
    # 0, 1/2 and -1/2 of a range of 2
    np.testing.assert_allclose(images[0, 0, 0], [-1, -0.5, -0.5])
    np.testing.assert_allclose(images[0, 0, 1], [-0.5, -1, 0])


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_order_of_kinds(dtype: str) -> None:
    series = np.stack([walks(3, 12, seed) for seed in range(2)], axis=1)
    kinds = ["markov", "gadf", "recurrence", "gasf"]
    images = encode(series, 16, dtype, kinds=kinds)
    assert images.dtype == dtype
    for place, (field, kind) in enumerate((f, k) for f in range(2) for k in kinds):
        alone = encode(series[:, field], 16, dtype, kinds=[kind])
        np.testing.assert_array_equal(images[:, place], alone[:, 0])


def test_equal_values_give_an_image_without_a_warning() -> None:
    series = [[2.0] * 12, [0.0, 1.0] * 6, [-1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]
    images = encode(series, 12, "int8", kinds=PYTS)
    assert (images[0, 0] == 127).all(), "a constant is always followed by itself"
    assert (images[0, 1] == -127).all()
    np.testing.assert_array_equal(images[1, 1, 0], [-127, 127] * 6)


def test_the_smallest_series_and_images() -> None:
    np.testing.assert_array_equal(encode([[5.0]], 2, kinds=PYTS), np.full((1, 2, 2, 2), -1))
    # two points in one pixel: one of four pairs follows; their mean is 0 from itself
    np.testing.assert_array_equal(encode([[1.0, 3.0]], 1, kinds=PYTS), [[[[-0.5]], [[-1.0]]]])


# --- a user's own ---------------------------------------------------------------------------------


def test_own_kind(register: Any) -> None:
    calls = []

    @register("columns")
    def columns(series: Floats, size: int) -> Floats:
        calls.append((series.shape, series.min(), series.max(), size))
        return np.broadcast_to(series[:, None], (len(series), series.shape[1], series.shape[1]))

    series = walks(3, 10)
    images = encode(series, 20, kinds=["gasf", "columns"], range=(0, 1))
    assert calls == [((3, 10), 0, 1, 20)]
    x = (series - series.min(1, keepdims=True)) / np.ptp(series, axis=1, keepdims=True)
    expected = resized(np.repeat(x[:, None], 10, axis=1), 20)
    np.testing.assert_allclose(images[:, 1], expected, atol=1e-6)
    alone = encode(series, 20, kinds=["gasf"], range=(0, 1))
    np.testing.assert_array_equal(images[:, 0], alone[:, 0])
    spec = ImageSpec(20, kinds=("columns",), range=(0, 1))
    assert not spec.outer_products
    np.testing.assert_allclose(spec.shown(series[:, None])[:, 0], expected, atol=0.51 / 127)


@pytest.mark.parametrize("average", [True, False])
def test_averages_for_more_points_than_pixels(average: bool, register: Any) -> None:
    @register("corner", average=average, range=(-1, 1))
    def corner(series: Floats, size: int) -> Floats:
        assert series.shape == (2, 8 if average else 40)
        assert series.min() == -1
        return np.zeros((len(series), size, size))

    assert not encode(walks(2, 40), 8, kinds=["corner"], range=(0, 1)).any()


@pytest.mark.parametrize(
    ("draw", "fact"),
    [
        (lambda series, size: np.zeros((len(series), size)), r"shape \(3, 8\)"),
        (lambda series, size: np.zeros((len(series), size, size + 1)), r"shape \(3, 8, 9\)"),
        (lambda series, size: np.zeros((1, size, size)), r"shape \(1, 8, 8\)"),
        (lambda series, size: np.full((len(series), size, size), 1.5), "1.5"),
        (lambda series, size: np.full((len(series), size, size), np.nan), "nan"),
    ],
)
def test_own_kind_that_returns_no_images(draw: Any, fact: str, register: Any) -> None:
    register("wrong")(draw)
    with pytest.raises(ImagesError, match=f"'wrong'.*{fact}"):
        encode(walks(3, 8), 8, kinds=["wrong"])


def test_a_name_is_registered_once(register: Any) -> None:
    for _ in range(2):  # as a notebook cell that runs twice
        register("mine")(lambda series, size: np.zeros((len(series), size, size)))
    with pytest.raises(ConfigError, match="'gasf'"):
        register("gasf")(lambda series, size: np.zeros((len(series), size, size)))


# --- settings -------------------------------------------------------------------------------------


def test_channels_in_order() -> None:
    spec = ImageSpec(fields=("body", "gap"), kinds=("gadf", "markov"))
    first, second = (("body", "gadf"), ("body", "markov")), (("gap", "gadf"), ("gap", "markov"))
    assert spec.channels == first + second
    assert ImageSpec().channels == (("close", "gasf"), ("close", "gadf"))
    assert ImageSpec().outer_products
    assert not spec.outer_products


def test_a_spec_encodes_as_its_options_do() -> None:
    series = np.random.default_rng(0).normal(size=(4, 2, 12))
    spec = ImageSpec(10, "float32", ("body", "gap"), ("gadf",), (0, 1), "jointly")
    images = spec.encode(series)
    assert images.shape == (4, len(spec.channels), 10, 10)
    options: Any = {"kinds": ["gadf"], "range": [0, 1], "scaling": "jointly"}
    np.testing.assert_array_equal(images, encode(series, 10, "float32", **options))
    with pytest.raises(ConfigError, match=r"^images\.size is 0"):
        encode(series, 0)


def test_plain_data() -> None:
    options = {"size": 64, "dtype": "int8", "fields": ["close"], "kinds": ["gasf", "gadf"]}
    options |= {"range": [-1, 1], "scaling": "per_field", "assets": []}
    assert as_plain(ImageSpec()) == options
    assert create(ImageSpec, "images", options) == ImageSpec()
    assert hash(create(ImageSpec, "images", options)) == hash(ImageSpec())


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"size": 0}, "images.size is 0"),
        ({"size": 64.5}, "images.size is 64.5"),
        ({"dtype": "float64"}, "images.dtype is 'float64'"),
        ({"dtype": None}, "images.dtype is None"),
        ({"fields": []}, "fields"),
        ({"fields": ["closs"]}, "did you mean close"),
        ({"kinds": ["gasf", "gasf"]}, "images.kinds is ('gasf', 'gasf')"),
        ({"kinds": []}, "images.kinds is ()"),
        ({"kinds": ["markof"]}, "did you mean markov"),
        ({"kinds": "gasf"}, "images.kinds is 'gasf'"),
        ({"range": [0, 2]}, "images.range.1 is 2"),
        ({"range": 1}, "images.range is 1"),
        ({"scaling": "robust"}, "images.scaling is 'robust'"),
        ({"sise": 3}, "did you mean size"),
    ],
)
def test_invalid_options(options: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ImageSpec(**options)
    assert fact in str(caught.value)


# --- processes ------------------------------------------------------------------------------------


def test_encoding_after_a_fork() -> None:
    encoded = (
        "from gafcnn.images import encode; assert encode([[1.0, 2.0, 4.0]], 3)[0, 0, 0, 0] == 1;"
    )
    forked = "import os; child = os.fork(); encode([[1.0, 2.0]] * 99); child or os._exit(0);"
    code = f"{encoded} {forked} assert os.waitpid(child, 0)[1] == 0"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
