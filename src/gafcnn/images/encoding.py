"""Encoding: from series to images, of the kinds that are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gafcnn.errors import ImagesError
from gafcnn.images.gaf import GADF, GASF, draw_gaf, polar
from gafcnn.images.pyts_kinds import FURTHER, draw_further
from gafcnn.images.scaling import RANGES, SCALINGS, scaled, segments

KINDS = (GASF, GADF, *FURTHER)
"""What pictures of a series there are."""

DEFAULT_KINDS = (GASF, GADF)

UNITS = {"float32": 1.0, "float16": 1.0, "int8": 127.0}
"""What a pixel of value 1 is stored as, by dtype."""

_LARGEST = 1e300  # sums and ranges of such values are still finite


def encode(
    series: ArrayLike,
    size: int = 64,
    dtype: str = "float32",
    *,
    kinds: Iterable[str] = DEFAULT_KINDS,
    range: Iterable[float] = RANGES[0],  # noqa: A002 - the option's name
    scaling: str = SCALINGS[0],
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Make images of each series, by default a GASF and a GADF.

    By default each series is scaled on its own, so an image knows neither the level nor the scale
    of prices; a constant series lies in the middle of the range (for [-1, 1] at x = 0: GASF -1,
    GADF 0 everywhere). More points than pixels are first replaced by the means of `size` segments,
    bounds at `floor(k points / size)`, as pyts does. Fewer points give the `points x points` field
    resized bilinearly (half-pixel centres, clamped edges), which for a Gramian Angular Field is the
    same outer product over interpolated c and s.

    With the range [-1, 1], the GASF of x equals the GASF of -x: whether a series rises or falls is
    not in it, and for `fixed` scaling its sign is not. With [0, 1] it is.

    Args:
        series: Finite values, oldest first: shape (n, points) or (n, fields, points).
        size: Pixels a side.
        dtype: "float32" or "float16" for pixels in [-1, 1] (to within rounding), "int8" for
            round(127 x).
        kinds: Some of `KINDS`, see `gafcnn.images.gaf` and `gafcnn.images.pyts_kinds`.
        range: What series are scaled to before anything is made of them: (-1, 1) or (0, 1).
        scaling: How they are, see `gafcnn.images.scaling`: "per_field", "jointly" or "fixed".
        out: To draw into and return, of what shape and dtype would be returned; a new array where
            there is none. New memory takes longer to come by than images take to draw.

    Returns:
        ndarray of shape (n, fields * kinds, size, size): the kinds of the first field, in the order
        they were asked for, then those of the next.

    Raises:
        ImagesError: A value is not finite, the shape is another, or an option makes no image; or
            `out` does not hold such images.
    """
    check_size(size)
    check_dtype(dtype)
    check_scaling(scaling)
    kinds, ends = known_kinds(kinds), known_range(range)
    series = checked_series(series)
    n, fields, points = series.shape
    knots, centres = _knots(points, size)
    images = _room(out, (n, fields * len(kinds), size, size), dtype)
    # numba knows no float16 on the CPU
    drawn = images if dtype != "float16" else np.empty(images.shape, np.float32)
    drawn = drawn.reshape(n, fields, len(kinds), size, size)

    def draw(part: slice) -> None:
        x = scaled(series[part], knots, ends, scaling)
        draw_gaf(x, centres, math.sqrt(UNITS[dtype]), kinds, drawn[part])

    _in_threads(draw, n)
    for place, kind in enumerate(kinds):
        if kind in FURTHER:
            x = scaled(series, knots, ends, scaling)
            draw_further(kind, series, x, ends, centres, UNITS[dtype], drawn[:, :, place])
    if dtype == "float16":
        images[:] = drawn.reshape(images.shape)
    return images


def encode_polar(
    series: ArrayLike,
    size: int = 64,
    dtype: str = "float32",
    *,
    range: Iterable[float] = RANGES[0],  # noqa: A002 - the option's name
    scaling: str = SCALINGS[0],
) -> NDArray[np.float32]:
    """Make the two vectors of each series whose outer products its Gramian Angular Fields are.

    What `encode` draws, to the last bit, is `c_i c_j - s_i s_j` for a GASF and
    `s_i c_j - c_i s_j` for a GADF in float32, rounded to whole numbers where the dtype is of them.

    Args:
        series: As for `encode`.
        size: Pixels a side.
        dtype: What pixels shall be stored as.
        range: What series are scaled to: (-1, 1) or (0, 1).
        scaling: How they are: "per_field", "jointly" or "fixed".

    Returns:
        ndarray of shape (n, fields, 2, size): c, then s, at the pixels' centres, in units of the
        square root of what 1 is stored as.

    Raises:
        ImagesError: As `encode`.
    """
    series = checked_series(series)
    knots, centres = _knots(series.shape[-1], size)
    x = scaled(series, knots, known_range(range), scaling)
    return polar(x, centres, math.sqrt(UNITS[dtype]))


def point_weights(points: int, size: int) -> NDArray[np.float64]:
    """How much of each pixel's row, or column, is of each point of the series.

    Fewer points than pixels: a pixel lies between two points and is of both, by nearness. More: it
    is of all points of its segment alike. The c of `encode_polar` is these weights times x.

    Args:
        points: Of the series.
        size: Pixels a side.

    Returns:
        ndarray of shape (size, points), whose rows sum to 1.

    Raises:
        ImagesError: There is no such size.
    """
    check_size(size)
    knots, centres = _knots(points, size)
    left = centres.astype(np.int64)
    nearness = centres - left
    of_knots, pixels = np.zeros((size, knots)), np.arange(size)
    of_knots[pixels, left] = 1 - nearness
    of_knots[pixels, np.minimum(left + 1, knots - 1)] += nearness
    bounds = segments(points, knots)
    of_points = np.repeat(np.eye(knots), np.diff(bounds), axis=1)
    return of_knots @ (of_points / np.diff(bounds)[:, None])


def check_size(size: int) -> None:
    """Assert that images can have so many pixels a side.

    Raises:
        ImagesError: It is not a positive whole number.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ImagesError(
            f"the image size is {size!r}",
            expected="a whole number of pixels, 1 or more",
            instead="set images.size=64",
        )


def check_dtype(dtype: str) -> None:
    """Assert that pixels can be of this dtype.

    Raises:
        ImagesError: It is unknown.
    """
    _check_choice("dtype", dtype, tuple(UNITS), "int8")


def check_scaling(scaling: str) -> None:
    """Assert that series can be scaled so.

    Raises:
        ImagesError: It is unknown.
    """
    _check_choice("scaling", scaling, SCALINGS, SCALINGS[0])


def known_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """The kinds, if each is one, and none stands twice.

    Raises:
        ImagesError: They are not; the nearest name is told.
    """
    names = tuple(map(str, kinds)) if isinstance(kinds, list | tuple) else ()
    wrong = [kind for place, kind in enumerate(names) if kind not in KINDS or kind in names[:place]]
    if names and not wrong:
        return names
    found, instead = f"the image kinds are {kinds!r}", "set images.kinds=[gasf,gadf]"
    if wrong and wrong[0] in KINDS:
        found, instead = f"the image kind {wrong[0]!r} stands twice", "leave one of them out"
    elif wrong:
        found = f"the image kind {wrong[0]!r} is unknown"
        if nearest := get_close_matches(str(wrong[0]), KINDS, n=1):
            instead = f"did you mean {nearest[0]}?"
    raise ImagesError(found, expected=f"a list of {', '.join(KINDS)}, each once", instead=instead)


def known_range(ends: Iterable[float]) -> tuple[int, int]:
    """The ends of the range, if series can be scaled to it.

    Raises:
        ImagesError: They cannot.
    """
    given = tuple(ends) if isinstance(ends, list | tuple) else ()
    for known in RANGES:
        if given == known:
            return known
    raise ImagesError(
        f"the image range is {ends!r}",
        expected="[-1, 1], or [0, 1], which keeps the sign of a series in its GASF",
        instead="set images.range=[-1,1]",
    )


def _check_choice(option: str, value: str, known: tuple[str, ...], usual: str) -> None:
    if not isinstance(value, str) or value not in known:
        raise ImagesError(
            f"the image {option} is {value!r}",
            expected=" or ".join(known),
            instead=f"set images.{option}={usual}",
        )


def checked_series(series: ArrayLike) -> NDArray[np.float64]:
    """The series with an axis of fields: shape (n, fields, points).

    Raises:
        ImagesError: A value is not finite or beyond 1e300, or the shape is another.
    """
    try:
        values = np.ascontiguousarray(series, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _no_series(f"the series are no array of numbers ({error})") from error
    if values.ndim == 2:
        values = values[:, None, :]
    if np.ndim(series) not in (2, 3) or not values.size:
        raise _no_series(f"the series are of shape {np.shape(series)}")
    if not (tame := is_tame(values)).all():
        sample, field, point = np.argwhere(~tame)[0]
        raise ImagesError(
            f"point {point} of field {field} of sample {sample} is {values[sample, field, point]}",
            expected=f"finite values, none beyond {_LARGEST:g}",
            instead="leave out the samples whose window is not filled",
        )
    return values


def is_tame(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the values an image can be made of: those that are finite and not beyond 1e300."""
    return np.abs(values) <= _LARGEST


def _knots(points: int, size: int) -> tuple[int, NDArray[np.float64]]:
    """How many knots so many points are brought to, and the pixels' centres, counted in knots."""
    knots = min(points, size)
    return knots, np.clip((np.arange(size) + 0.5) * knots / size - 0.5, 0, knots - 1)


def _no_series(found: str) -> ImagesError:
    return ImagesError(
        found,
        expected="shape (n, points) or (n, fields, points) with nothing of length 0",
        instead="give a single series as series[None, :]",
    )


def _room(out: NDArray[Any] | None, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """What to draw into.

    Raises:
        ImagesError: It was given, and holds no such images.
    """
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise ImagesError(
            f"the images are to be drawn into {out.dtype} of shape {out.shape}",
            expected=f"a contiguous array of {dtype} of shape {shape}",
            instead="give such an array, or none",
        )
    return out


def _in_threads(draw: Callable[[slice], None], n: int) -> None:
    """Draw n samples, in as many parts as numba has threads."""
    # threads of our own around a kernel without the GIL: numba's parallel=True is as fast, but
    # after it a forked worker process that encodes is killed by GNU OpenMP
    most: int = numba.config.NUMBA_NUM_THREADS  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]
    threads = min(most, n)
    if threads == 1:  # to start one takes longer than to draw an image
        draw(slice(0, n))
        return
    ends = np.linspace(0, n, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(draw, [slice(*part) for part in pairwise(ends)]))
