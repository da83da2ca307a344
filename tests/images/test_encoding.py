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

from gafcnn.errors import ImagesError
from gafcnn.images import ImageSpec, encode, point_weights
from gafcnn.images.gaf import scaled
from gafcnn.images.kinds import RANGES

ROUNDING = 1e-6
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


def test_more_points_than_pixels_by_hand() -> None:
    # the means of the first two and of the last three
    images = encode([[0.0, 2.0, 7.0, 8.0, 9.0]], size=2)
    np.testing.assert_array_equal(images, [[[[1, -1], [-1, 1]], [[0, 0], [0, 0]]]])


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
    fields = torch.from_numpy(pyts_fields(series, points))
    resized = interpolate(fields, (size, size), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(encode(series, size), resized.numpy(), atol=1e-5)


# --- what every image has -------------------------------------------------------------------------


@settings(max_examples=30)
@given(series=whole_numbers, size=st.integers(1, 20))
def test_symmetry_and_range(series: NDArray[np.int64], size: int) -> None:
    images = encode(series, size)
    gasf, gadf = images[:, 0::2], images[:, 1::2]
    np.testing.assert_array_equal(gasf, gasf.swapaxes(2, 3))
    np.testing.assert_array_equal(gadf, -gadf.swapaxes(2, 3))
    assert np.abs(images).max() <= 1 + ROUNDING


@settings(max_examples=30)
@given(series=whole_numbers, shift=st.integers(-(2**30), 2**30), scale=st.sampled_from([0.25, 8]))
def test_level_and_scale_do_not_matter(series: NDArray[np.int64], shift: int, scale: float) -> None:
    np.testing.assert_array_equal(encode(series, 9), encode(series * scale + shift, 9))


@settings(max_examples=30)
@given(series=whole_numbers)
def test_negated_series(series: NDArray[np.int64]) -> None:
    images, reverse = encode(series, 9), encode(-series, 9)
    np.testing.assert_allclose(reverse[:, 0::2], images[:, 0::2], atol=ROUNDING)
    np.testing.assert_allclose(reverse[:, 1::2], -images[:, 1::2], atol=ROUNDING)


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


def test_channels_of_fields() -> None:
    series = np.stack([walks(7, 30, seed) for seed in range(3)], axis=1)
    alone = [encode(series[:, field]) for field in range(3)]
    np.testing.assert_array_equal(encode(series), np.concatenate(alone, axis=1))


def test_images_are_independent() -> None:
    series = walks(101, 30)
    alone = np.concatenate([encode(series[n : n + 1]) for n in range(101)])
    np.testing.assert_array_equal(encode(series), alone)


# --- how it is stored -----------------------------------------------------------------------------


@pytest.mark.parametrize("points", [15, 64, 100])
def test_int8_rounds_to_nearest(points: int) -> None:
    series = walks(50, points)
    images = encode(series, dtype="int8")
    assert images.dtype == np.int8
    assert np.abs(images / 127 - encode(series)).max() <= 0.5 / 127 + ROUNDING
    assert images.max() == 127


def test_float16_is_float32_rounded() -> None:
    images, exact = (encode(walks(150, 30), dtype=dtype) for dtype in ("float16", "float32"))
    assert images.dtype == np.float16
    np.testing.assert_array_equal(images, exact.astype(np.float16))


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


# --- points of pixels -----------------------------------------------------------------------------


def test_point_weights_by_hand() -> None:
    # centres at -0.125 (clamped to 0), 0.625, 1.375 and 2.125 (clamped to 2)
    weights = [[1, 0, 0], [0.375, 0.625, 0], [0, 0.625, 0.375], [0, 0, 1]]
    np.testing.assert_array_equal(point_weights(3, 4), weights)
    weights = [[0.5, 0.5, 0, 0, 0], [0, 0, 1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_array_equal(point_weights(5, 2), weights)


@settings(max_examples=30)
@given(points=st.integers(2, 80), size=st.integers(1, 80), seed=st.integers(0, 99))
def test_point_weights_are_those_of_the_cosines(points: int, size: int, seed: int) -> None:
    series = walks(1, points, seed)[:, None]
    weights = point_weights(points, size)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    cosines = ImageSpec(size, "float32").encode_polar(series)[0, 0, 0]
    seen = weights @ series[0, 0]
    # scaling by the extremes is linear
    slope, level = np.polyfit(seen, cosines, 1) if np.ptp(seen) > 1e-9 else (0.0, cosines.mean())
    np.testing.assert_allclose(slope * seen + level, cosines, atol=1e-5)


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


# --- processes ------------------------------------------------------------------------------------

ENCODE = "from gafcnn.images import encode; assert encode([[1.0, 2.0, 4.0]], 3)[0, 0, 0, 0] == 1;"


def test_importing_images_does_not_import_numba() -> None:
    code = "import gafcnn.images, sys; assert not {'numba', 'pyts', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_encoding_after_a_fork() -> None:
    forked = "import os; child = os.fork(); encode([[1.0, 2.0]] * 99); child or os._exit(0);"
    code = f"{ENCODE} {forked} assert os.waitpid(child, 0)[1] == 0"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
