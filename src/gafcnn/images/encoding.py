"""Encoding of series as images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gafcnn.errors import ImagesError
from gafcnn.images.kinds import GADF, GASF, IMAGE_KINDS, OUTER_PRODUCTS, RANGES, ImageKind
from gafcnn.images.spec import UNITS, ImageSpec

# gafcnn.images.gaf imports numba, so functions here import it when they draw

_LARGEST = 1e300  # sums and ranges of such values are still finite
_BLOCK = 256  # series whose pictures of a registered kind are in memory at a time, as float64

Floats = NDArray[np.float64]


def encode(
    series: ArrayLike,
    size: int = 64,
    dtype: str = "float32",
    *,
    kinds: Iterable[str] = OUTER_PRODUCTS,
    range: Iterable[float] = RANGES[0],  # noqa: A002 - the name of the option
    scaling: str = "per_field",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Encode series as images, by default a GASF and a GADF each.

    By default each series is scaled by its own minimum and maximum, so an image shows neither the
    level nor the scale of prices; a constant series lies in the middle of the range. With more
    points than pixels, series are first averaged over `size` segments, with bounds at `floor(k
    points / size)` as in pyts. With fewer points, the `points x points` field is resized bilinearly
    (half-pixel centres, clamped edges); for a Gramian Angular Field that equals the outer product
    of interpolated vectors.

    In the range [-1, 1], the GASF of x equals the GASF of -x: whether a series rises or falls is
    not visible in it, nor its sign with `fixed` scaling. In [0, 1] it is.

    Args:
        series: Finite values, oldest first: shape (n, points) or (n, fields, points).
        size: Pixels per side.
        dtype: "float32" or "float16" for pixels in [-1, 1], "int8" for round(127 x).
        kinds: Names of registered kinds: "gasf", "gadf", "markov", "recurrence", or your own.
        range: What series are scaled to: (-1, 1) or (0, 1).
        scaling: "per_field" scales each series by its own extremes, "jointly" by those of all
            fields of a sample, "fixed" by x = v / (1 + |v|), so that 0 is the middle of the range.
        out: Array to draw into and return, of the shape and dtype of the result; it saves the time
            to allocate memory.

    Returns:
        Shape (n, fields * kinds, size, size): the kinds of the first field in the order given, then
        those of the next field.

    Raises:
        ConfigError: An option is invalid.
        ImagesError: A value is not finite, or the shape of `series` or `out` is wrong.
    """
    options: Any = {"kinds": kinds, "range": range, "scaling": scaling}
    return draw(series, ImageSpec(size, dtype, **options), out)  # pyright: ignore


def draw(series: ArrayLike, spec: ImageSpec, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Encode series as `spec` describes, whatever its fields; see `encode`."""
    from gafcnn.images.gaf import draw_gaf, scaled

    values = checked_series(series)
    n, fields, points = values.shape
    kinds, size, unit = spec.kinds, spec.size, UNITS[spec.dtype]
    shape = (n, fields * len(kinds), size, size)
    images = np.empty(shape, spec.dtype) if out is None else out
    if images.shape != shape or images.dtype != spec.dtype or not images.flags.c_contiguous:
        raise ImagesError(
            f"out is an array of {images.dtype} of shape {images.shape}",
            expected=f"a contiguous array of {spec.dtype} of shape {shape}",
            instead="pass such an array, or leave it out",
        )
    # numba has no float16 on CPUs
    drawn = images if spec.dtype != "float16" else np.empty(images.shape, np.float32)
    drawn = drawn.reshape(n, fields, len(kinds), size, size)
    knots = min(points, size)
    centres = _centres(knots, size)

    def draw_part(part: slice) -> None:
        x = scaled(values[part], knots, spec.range, spec.scaling)
        draw_gaf(x, centres, math.sqrt(unit), *places, drawn[part])

    places = [kinds.index(kind) if kind in kinds else -1 for kind in (GASF, GADF)]
    if max(places) >= 0:
        _in_threads(draw_part, n)
    for place, kind in enumerate(kinds):
        if kind not in OUTER_PRODUCTS:
            _draw_registered(IMAGE_KINDS[kind], values, spec, drawn[:, :, place])
    if spec.dtype == "float16":
        images[:] = drawn.reshape(images.shape)
    return images


def _draw_registered(
    kind: ImageKind, series: Floats, spec: ImageSpec, images: NDArray[Any]
) -> None:
    """Draw a registered kind into images of shape (n, fields, size, size)."""
    from gafcnn.images.gaf import scaled

    n, fields, points = series.shape
    knots, unit = min(points, spec.size) if kind.average else points, UNITS[spec.dtype]
    for start in range(0, n, _BLOCK):
        part = slice(start, start + _BLOCK)
        x = scaled(series[part], knots, kind.range or spec.range, spec.scaling)
        for field in range(fields):
            pixels = unit * _resized(kind.draw(x[:, field], spec.size), spec.size)
            images[part, field] = np.rint(pixels) if unit != 1 else pixels


def draw_polar(series: ArrayLike, spec: ImageSpec) -> NDArray[np.float32]:
    """Return the vectors whose outer products Gramian Angular Fields are, see `ImageSpec`."""
    from gafcnn.images.gaf import polar, scaled

    values = checked_series(series)
    knots = min(values.shape[-1], spec.size)
    x = scaled(values, knots, spec.range, spec.scaling)
    return polar(x, _centres(knots, spec.size), math.sqrt(UNITS[spec.dtype]))


def point_weights(points: int, size: int) -> Floats:
    """Return how much each point of a series contributes to each row (or column) of pixels.

    With fewer points than pixels, a pixel is interpolated between two points; with more, it
    averages the points of its segment. The c of `ImageSpec.encode_polar` is these weights times x.

    Args:
        points: Points of the series.
        size: Pixels per side.

    Returns:
        Shape (size, points); rows sum to 1.
    """
    from gafcnn.images.gaf import segments

    knots = min(points, size)
    centres = _centres(knots, size)
    # linear interpolation between the knots
    of_knots = np.maximum(1 - np.abs(centres[:, None] - np.arange(knots)), 0)
    lengths = np.diff(segments(points, knots))
    of_points = np.repeat(np.eye(knots), lengths, axis=1)
    return of_knots @ (of_points / lengths[:, None])


def checked_series(series: ArrayLike) -> Floats:
    """Return series as float64 of shape (n, fields, points).

    Raises:
        ImagesError: A value is not finite or beyond 1e300, or the shape is wrong.
    """
    try:
        values = np.ascontiguousarray(series, dtype=np.float64)
        found = f"the series have shape {values.shape}"
    except (TypeError, ValueError) as error:
        values, found = np.empty(0), f"the series are not an array of numbers ({error})"
    if values.ndim == 2:
        values = values[:, None, :]
    if values.ndim != 3 or not values.size:
        raise ImagesError(
            found,
            expected="shape (n, points) or (n, fields, points), without an axis of length 0",
            instead="pass a single series as series[None, :]",
        )
    if not (valid := np.abs(values) <= _LARGEST).all():
        sample, field, point = np.argwhere(~valid)[0]
        raise ImagesError(
            f"point {point} of field {field} of sample {sample} is {values[sample, field, point]}",
            expected=f"finite values of at most {_LARGEST:g}",
            instead="leave out samples whose window is incomplete",
        )
    return values


def _centres(knots: int, size: int) -> Floats:
    """Return the centres of the pixels, counted in knots: shape (size,)."""
    return np.clip((np.arange(size) + 0.5) * knots / size - 0.5, 0, knots - 1)


def _resized(pictures: Floats, size: int) -> Floats:
    """Return pictures (n, k, k) resized bilinearly to (n, size, size)."""
    knots = pictures.shape[1]
    centres = _centres(knots, size)
    left = centres.astype(np.int64)
    right = np.minimum(left + 1, knots - 1)
    weight = centres - left
    rows = (1 - weight)[:, None] * pictures[:, left] + weight[:, None] * pictures[:, right]
    return (1 - weight) * rows[:, :, left] + weight * rows[:, :, right]


def _in_threads(draw_part: Callable[[slice], None], n: int) -> None:
    """Draw n samples in as many parts as numba has threads."""
    import numba

    # threads around a kernel without the GIL: numba's parallel=True is as fast, but after it, GNU
    # OpenMP kills a forked worker process that encodes
    threads = min(numba.config.NUMBA_NUM_THREADS, n)  # pyright: ignore
    if threads == 1:  # starting one takes longer than drawing an image
        draw_part(slice(0, n))
        return
    ends = np.linspace(0, n, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(draw_part, [slice(*part) for part in pairwise(ends)]))
