from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from torch.nn.functional import interpolate

import gafcnn
from gafcnn.errors import ImagesError
from gafcnn.images.encoding import encode

ROUNDING = 1e-6


Fields = Callable[..., NDArray[np.float64]]


@pytest.fixture(scope="module")
def pyts_fields(pyts_image: ModuleType) -> Fields:
    """Both fields of each series, shape (n, points), by pyts: shape (n, 2, size, size)."""

    def fields(
        series: NDArray[np.float64], size: int, ends: tuple[int, int] = (-1, 1)
    ) -> NDArray[np.float64]:
        kinds = [
            pyts_image.GramianAngularField(size, sample_range=ends, method=kind).transform(series)
            for kind in ("summation", "difference")
        ]
        return np.stack(kinds, axis=1)

    return fields


def walks(n: int, points: int, seed: int = 0) -> NDArray[np.float64]:
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


@pytest.mark.parametrize("ends", [(-1, 1), (0, 1)])
@pytest.mark.parametrize("points", [64, 65, 100, 128, 1000])
def test_as_many_points_as_pixels_or_more_are_as_pyts_has_them(
    points: int, ends: tuple[int, int], pyts_fields: Fields
) -> None:
    series = walks(20, points)
    images = encode(series, range=ends)
    np.testing.assert_allclose(images, pyts_fields(series, 64, ends), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 40), more=st.integers(0, 200), seed=st.integers(0, 2**31))
def test_any_segments_are_as_pyts_has_them(
    size: int, more: int, seed: int, pyts_fields: Fields
) -> None:
    series = walks(2, size + more, seed)
    np.testing.assert_allclose(encode(series, size), pyts_fields(series, size), atol=1e-5)


@pytest.mark.parametrize(
    ("points", "size"),
    [(15, 32), (15, 64), (30, 64), (60, 64), (15, 224), (30, 224), (60, 224), (100, 224)],
)
def test_fewer_points_are_the_field_of_pyts_resized_bilinearly(
    points: int, size: int, pyts_fields: Fields
) -> None:
    series = walks(5, points)
    fields = torch.from_numpy(pyts_fields(series, points))
    resized = interpolate(fields, (size, size), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(encode(series, size), resized.numpy(), atol=1e-5)


# --- what every image has -------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(series=whole_numbers, size=st.integers(1, 20))
def test_fields_are_symmetric_antisymmetric_and_within_their_range(
    series: NDArray[np.int64], size: int
) -> None:
    images = encode(series, size)
    gasf, gadf = images[:, 0::2], images[:, 1::2]
    np.testing.assert_array_equal(gasf, gasf.swapaxes(2, 3))
    np.testing.assert_array_equal(gadf, -gadf.swapaxes(2, 3))
    assert np.abs(images).max() <= 1 + ROUNDING


@settings(max_examples=50, deadline=None)
@given(series=whole_numbers, shift=st.integers(-(2**30), 2**30), scale=st.sampled_from([0.25, 8]))
def test_neither_level_nor_scale_changes_an_image(
    series: NDArray[np.int64], shift: int, scale: float
) -> None:
    np.testing.assert_array_equal(encode(series, 9), encode(series * scale + shift, 9))


@settings(max_examples=50, deadline=None)
@given(series=whole_numbers)
def test_a_series_upside_down_changes_the_sign_of_the_difference_field_alone(
    series: NDArray[np.int64],
) -> None:
    images, reverse = encode(series, 9), encode(-series, 9)
    np.testing.assert_allclose(reverse[:, 0::2], images[:, 0::2], atol=ROUNDING)
    np.testing.assert_allclose(reverse[:, 1::2], -images[:, 1::2], atol=ROUNDING)


@pytest.mark.parametrize("scaling", ["per_field", "fixed"])
def test_the_range_from_0_to_1_keeps_the_sign_that_the_other_loses(scaling: str) -> None:
    series = walks(5, 30)

    def gasf(values: NDArray[np.float64], ends: tuple[int, int]) -> NDArray[np.float32]:
        return encode(values, 30, kinds=["gasf"], range=ends, scaling=scaling)

    np.testing.assert_allclose(gasf(series, (-1, 1)), gasf(-series, (-1, 1)), atol=ROUNDING)
    difference = np.abs(gasf(series, (0, 1)) - gasf(-series, (0, 1)))
    assert difference.max(axis=(1, 2, 3)).min() > 0.5


@pytest.mark.parametrize("points", [1, 15, 64, 100, 190])  # of 100 and 190 segments differ
def test_a_constant_series_is_an_image(points: int) -> None:
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
def test_images_are_the_same_to_the_last_bit_from_version_to_version(
    points: int, size: int, dtype: str, checksum: int
) -> None:
    series = (np.arange(12 * points) ** 2 * 7919 % 10007 / 64).reshape(6, 2, points)
    series[3, 1] = 5
    assert zlib.crc32(encode(series, size, dtype).tobytes()) == checksum


def test_each_field_has_two_channels_of_its_own() -> None:
    series = np.stack([walks(7, 30, seed) for seed in range(3)], axis=1)
    images = encode(series)
    assert images.shape == (7, 6, 64, 64)
    for field in range(3):
        np.testing.assert_array_equal(
            images[:, 2 * field : 2 * field + 2], encode(series[:, field])
        )


@pytest.mark.parametrize("kinds", [["gadf", "gasf"], ["gasf"], ["gadf"]])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_kinds_come_in_the_order_asked_for(kinds: list[str], dtype: str) -> None:
    series = np.stack([walks(7, 30, seed) for seed in range(2)], axis=1)
    both, images = encode(series, 20, dtype), encode(series, 20, dtype, kinds=kinds)
    assert images.shape == (7, 2 * len(kinds), 20, 20)
    for field in range(2):
        for place, kind in enumerate(kinds):
            np.testing.assert_array_equal(
                images[:, len(kinds) * field + place], both[:, 2 * field + (kind == "gadf")]
            )


def test_an_image_does_not_depend_on_the_others() -> None:
    series = walks(101, 30)
    alone = np.concatenate([encode(series[n : n + 1]) for n in range(101)])
    np.testing.assert_array_equal(encode(series), alone)


# --- how it is stored -----------------------------------------------------------------------------


@pytest.mark.parametrize("points", [15, 64, 100])
def test_int8_is_the_nearest_of_255_steps(points: int) -> None:
    series = walks(50, points)
    images = encode(series, dtype="int8")
    assert images.dtype == np.int8
    assert np.abs(images / 127 - encode(series)).max() <= 0.5 / 127 + ROUNDING
    assert images.max() == 127


def test_float16_is_float32_rounded() -> None:
    series = walks(150, 30)
    images = encode(series, dtype="float16")
    assert images.dtype == np.float16
    np.testing.assert_array_equal(images, encode(series).astype(np.float16))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_images_are_drawn_into_what_is_given(dtype: str) -> None:
    series = np.stack([walks(5, 20), walks(5, 20, seed=1)], axis=1)
    kinds = ["recurrence", "gasf"]
    out = np.full((5, 4, 16, 16), 99, dtype)
    assert encode(series, 16, dtype, kinds=kinds, out=out) is out
    np.testing.assert_array_equal(out, encode(series, 16, dtype, kinds=kinds))


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((5, 2, 8, 9), "int8"),
        np.zeros((5, 2, 8, 8)),
        np.zeros((5, 2, 8, 16), "int8")[..., ::2],
    ],
)
def test_what_cannot_be_drawn_into_is_told(out: NDArray[Any]) -> None:
    with pytest.raises(ImagesError) as caught:
        encode(walks(5, 20), 8, "int8", out=out)
    assert str(caught.value) == (
        f"the images are to be drawn into {out.dtype} of shape {out.shape}; expected a contiguous "
        "array of int8 of shape (5, 2, 8, 8); give such an array, or none."
    )
    assert not out.any()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_series_of_any_numbers_are_taken_and_left_alone(dtype: str) -> None:
    series = np.arange(30, dtype=np.int16).reshape(2, 15)
    series.flags.writeable = False
    np.testing.assert_array_equal(encode(series, dtype=dtype), encode(series.tolist(), dtype=dtype))


# --- what makes no image --------------------------------------------------------------------------

SHAPES = "; expected shape (n, points) or (n, fields, points) with nothing of length 0; "


@pytest.mark.parametrize(
    ("series", "options", "sentence"),
    [
        (
            [[1, 2]], {"size": 0},
            "the image size is 0; expected a whole number of pixels, 1 or more; "
            "set images.size=64.",
        ),
        ([[1, 2]], {"size": 64.0}, "the image size is 64.0; "),
        ([[1, 2]], {"size": True}, "the image size is True; "),
        (
            [[1, 2]], {"dtype": "uint8"},
            "the image dtype is 'uint8'; expected float32 or float16 or int8; "
            "set images.dtype=int8.",
        ),
        (
            [[1, 2]], {"kinds": ["gasf", "markof"]},
            "the image kind 'markof' is unknown; expected a list of gasf, gadf, markov, "
            "recurrence, each once; did you mean markov?",
        ),
        ([[1, 2]], {"kinds": ["picture"]}, "the image kind 'picture' is unknown; "),
        (
            [[1, 2]], {"kinds": ["gadf", "gasf", "gadf"]},
            "the image kind 'gadf' stands twice; expected a list of gasf, gadf, markov, "
            "recurrence, each once; leave one of them out.",
        ),
        ([[1, 2]], {"kinds": []}, "the image kinds are []; "),
        ([[1, 2]], {"kinds": "gasf"}, "the image kinds are 'gasf'; "),
        ([[1, 2]], {"kinds": None}, "the image kinds are None; "),
        (
            [[1, 2]], {"range": [1, 0]},
            "the image range is [1, 0]; expected [-1, 1], or [0, 1], which keeps the sign of a "
            "series in its GASF; set images.range=[-1,1].",
        ),
        ([[1, 2]], {"range": 1}, "the image range is 1; "),
        ([[1, 2]], {"range": None}, "the image range is None; "),
        (
            [[1, 2]], {"scaling": "minmax"},
            "the image scaling is 'minmax'; expected per_field or jointly or fixed; "
            "set images.scaling=per_field.",
        ),
        (
            [1, 2], {},
            f"the series are of shape (2,){SHAPES}give a single series as series[None, :].",
        ),
        (np.ones((2, 2, 2, 2)), {}, f"the series are of shape (2, 2, 2, 2){SHAPES}"),
        (np.ones((0, 64)), {}, f"the series are of shape (0, 64){SHAPES}"),
        (np.ones((3, 2, 0)), {}, f"the series are of shape (3, 2, 0){SHAPES}"),
        ([["a", "b"]], {}, "the series are no array of numbers ("),
        ([[1, 2], [3]], {}, "the series are no array of numbers ("),
        (
            [[1, 2], [3, np.nan]], {},
            "point 1 of field 0 of sample 1 is nan; expected finite values, none beyond 1e+300; "
            "leave out the samples whose window is not filled.",
        ),
        ([[[1, 2], [-np.inf, 2]]], {}, "point 0 of field 1 of sample 0 is -inf; "),
        ([[-1.7e308, 1.7e308]], {}, "point 0 of field 0 of sample 0 is -1.7e+308; "),
    ],
)  # fmt: skip
def test_what_makes_no_image_is_said_in_a_sentence(
    series: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ImagesError, match="^" + re.escape(sentence)):
        encode(series, **options)


# --- where it runs --------------------------------------------------------------------------------

ENCODE = "from gafcnn.images import encode; assert encode([[1.0, 2.0, 4.0]], 3)[0, 0, 0, 0] == 1;"


def test_a_forked_process_may_encode_after_its_parent_did() -> None:
    forked = "import os; child = os.fork(); encode([[1.0, 2.0]] * 99); child or os._exit(0);"
    code = f"{ENCODE} {forked} assert os.waitpid(child, 0)[1] == 0"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
def test_no_place_for_compiled_code_is_no_hindrance(tmp_path: Path) -> None:
    shutil.copytree(
        Path(gafcnn.__file__).parent,
        tmp_path / "gafcnn",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for folder in (tmp_path / "gafcnn").glob("**/"):
        (folder / "__pycache__").touch()  # now no folder can have that name, not even root's
    nowhere = {
        "HOME": os.devnull,
        "XDG_CACHE_HOME": os.devnull,
        "NUMBA_CACHE_DIR": "",
        "PYTHONPATH": str(tmp_path),
    }
    shown = subprocess.run(
        [sys.executable, "-c", f"{ENCODE} import gafcnn; print(gafcnn.__file__)"],
        env=os.environ | nowhere,
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert Path(shown.stdout.strip()).is_relative_to(tmp_path)
