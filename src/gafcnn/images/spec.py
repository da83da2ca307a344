"""The settings of images, and the encoding of series as they say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from gafcnn.data.features import FIELDS, relative_to_last
from gafcnn.errors import ConfigError, ImagesError
from gafcnn.images.kinds import BAR_FIELDS, IMAGE_KINDS, OHLC, OUTER_PRODUCTS, RANGES, Floats
from gafcnn.settings import settings

# gafcnn.images.gaf and bar_images import numba, so functions here import them when they draw

_UNITS = {"float32": 1.0, "float16": 1.0, "int8": 127.0}  # what a pixel of value 1 is stored as
_PERCENT = 0.01  # the unit of logarithms of prices in images of fixed scaling
_LARGEST = 1e300  # sums and ranges of such values are still finite
_BLOCK = 256  # series whose pictures of a registered kind are in memory at a time, as float64


@settings("images")
class ImageSpec:
    """The images of a window: which fields of its candles, as which kinds of image.

    Args:
        size: Pixels per side.
        dtype: Type of stored pixels.
        fields: Names of registered fields, see `gafcnn.data.features`.
        kinds: Names of registered kinds, see `gafcnn.images.kinds`.
        range: What series are scaled to: (-1, 1) or (0, 1).
        scaling: How series are scaled, see `gafcnn.images.encode`; "fixed" takes prices as their
            log to the last one, in percent.
        assets: Symbols whose bars at the same times are drawn as further channels, with the same
            fields and kinds. Series of an asset are scaled "jointly" by themselves.

    Raises:
        ConfigError: An option is invalid.
    """

    size: Annotated[int, Field(ge=1)] = 64
    dtype: Literal["int8", "float16", "float32"] = "int8"
    fields: tuple[str, ...] = ("close",)
    kinds: tuple[str, ...] = OUTER_PRODUCTS
    range: tuple[Literal[-1, 0], Literal[1]] = RANGES[0]
    scaling: Literal["per_field", "jointly", "fixed"] = "per_field"
    assets: tuple[str, ...] = ()
    _named: ClassVar[bool] = True  # whether the fields say what the series are

    def __post_init__(self) -> None:
        FIELDS.all_of(self.fields, "images.fields")
        IMAGE_KINDS.all_of(self.kinds, "images.kinds")
        twice = len(set(self.assets)) < len(self.assets) or "" in self.assets
        if twice or (self.assets and any(":" in name for name in self.fields)):
            raise ConfigError(
                f"images.assets is {list(self.assets)}, images.fields is {list(self.fields)}",
                expected="symbols, each once, and fields without a symbol beside them",
                instead="set images.assets=[BTCUSDT] images.fields=[close], for example",
            )

    @property
    def channels(self) -> tuple[tuple[str, str], ...]:
        """Field and kind of each channel, in order; bar images come last, of the field "bars"."""
        own = [(name, kind) for name in self._own_fields for kind in self._own_kinds]
        return (*own, *((f"{prefix}bars", OHLC) for prefix in self._bars))

    @property
    def read_fields(self) -> tuple[str, ...]:
        """Names of the fields that a `WindowReader` has to read for the images, in order."""
        of_bars = [prefix + name for prefix in self._bars for name in BAR_FIELDS]
        return tuple(dict.fromkeys([*self._own_fields, *of_bars]))

    @property
    def _own_kinds(self) -> tuple[str, ...]:
        """Kinds that draw one picture of each field."""
        return tuple(kind for kind in self.kinds if not IMAGE_KINDS[kind].fields)

    @property
    def _own_fields(self) -> tuple[str, ...]:
        fields = self.fields if self._own_kinds else ()
        return tuple(prefix + name for prefix in self._prefixes for name in fields)

    @property
    def _bars(self) -> tuple[str, ...]:
        """What the names of the fields of each bar image begin with."""
        return self._prefixes if OHLC in self.kinds else ()

    @property
    def _prefixes(self) -> tuple[str, ...]:
        return ("", *(f"{asset}:" for asset in self.assets))

    @property
    def scale(self) -> float:
        """The factor that brings stored pixels to [-1, 1]."""
        return 1 / _UNITS[self.dtype]

    @property
    def outer_products(self) -> bool:
        """Whether all kinds are outer products of the vectors of `encode_polar`."""
        return set(self.kinds) <= set(OUTER_PRODUCTS)

    def encode(self, series: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Encode series (n, fields, points) as pixels (n, channels, size, size), in `out` if given.

        The fields are `read_fields`, see also `gafcnn.images.encode`.
        """
        import numba

        from gafcnn.images.bar_images import draw_bars
        from gafcnn.images.gaf import draw_gaf

        values = checked_series(series)
        n, fields, points = values.shape
        own, bars, names, size = self._own_kinds, self._bars, self.read_fields, self.size
        if bars or self.assets or self._named:
            if fields != len(names):
                raise ImagesError(
                    f"the series have {fields} field{'s' * (fields != 1)}",
                    expected=f"shape (n, {len(names)}, points), of the fields {', '.join(names)}",
                    instead="pass these fields in this order",
                )
            fields = len(self._own_fields)
        self.check_points(points)
        shape = (n, fields * len(own) + len(bars), size, size)
        images = np.empty(shape, self.dtype) if out is None else out
        if images.shape != shape or images.dtype != self.dtype or not images.flags.c_contiguous:
            raise ImagesError(
                f"out is an array of {images.dtype} of shape {images.shape}",
                expected=f"a contiguous array of {self.dtype} of shape {shape}",
                instead="pass such an array, or leave it out",
            )
        # numba has no float16 on CPUs
        drawn = images if self.dtype != "float16" else np.empty(shape, np.float32)
        pictures = drawn[:, : fields * len(own)].reshape(n, fields, len(own), size, size)
        numbers = {kind: number for number, kind in enumerate(OUTER_PRODUCTS)}
        kinds = np.array([numbers.get(kind, -1) for kind in own])
        places = np.array([[names.index(prefix + name) for name in BAR_FIELDS] for prefix in bars])
        unit, fixed = _UNITS[self.dtype], self.scaling == "fixed"

        def draw_part(part: slice) -> None:
            if (kinds >= 0).any():
                vectors = self.encode_polar(values[part, :fields])
                draw_gaf(vectors, kinds, self.dtype == "int8", pictures[part])
            if bars:
                draw_bars(values[part], places, fixed, unit, drawn[part])

        # threads around a kernel without the GIL: numba's parallel=True is as fast, but after it,
        # GNU OpenMP kills a forked worker process that encodes
        threads = min(numba.config.NUMBA_NUM_THREADS, n)  # pyright: ignore
        ends = np.linspace(0, n, threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(draw_part, [slice(*part) for part in pairwise(ends)]))
        for place, kind in enumerate(own):
            if kind not in OUTER_PRODUCTS:
                self._draw_registered(kind, values[:, :fields], pictures[:, :, place])
        if self.dtype == "float16":
            images[:] = drawn
        return images

    def check_points(self, points: int) -> None:
        """Check that images have enough pixels for as many points.

        Raises:
            ConfigError: A bar image has less than three columns for each.
        """
        if OHLC in self.kinds and 3 * points > self.size:
            fewer = f", or use a window of at most {self.size // 3} points"
            raise ConfigError(
                f"images.size is {self.size} for bar images of {points} bars",
                expected=f"3 pixels for each bar, {3 * points} or more",
                instead=f"set images.size={3 * points}{fewer if self.size > 2 else ''}",
            )

    def shown(self, series: ArrayLike) -> NDArray[np.float32]:
        """Encode series (n, fields, points) as a network sees them: (n, channels, size, size).

        Pixels are rounded as stored, then scaled to [-1, 1].
        """
        return self.encode(series).astype(np.float32) * np.float32(self.scale)

    def encode_polar(self, series: ArrayLike) -> NDArray[np.float32]:
        """Return the vectors whose outer products the Gramian Angular Fields of series are.

        `encode` draws exactly `c_i c_j - s_i s_j` for a GASF and `s_i c_j - c_i s_j` for a GADF in
        float32, rounded to integers for int8.

        Returns:
            Of series (n, fields, points) shape (n, fields, 2, size): c, then s, at the centres of
            the pixels, in units of the square root of what 1 is stored as.
        """
        from gafcnn.images.gaf import interpolated

        values = checked_series(series)
        x = self._scaled(values, min(values.shape[2], self.size), self.range)
        scale = math.sqrt(_UNITS[self.dtype])
        return interpolated(np.stack([x, np.sqrt(1 - x * x)], axis=2), self.size, scale, np.float32)

    def _scaled(self, values: Floats, knots: int, range: tuple[int, int]) -> Floats:  # noqa: A002
        """Scale series, those of each asset by themselves."""
        from gafcnn.images.gaf import scaled

        n, fields, points = values.shape
        if self.scaling == "fixed" and self._named:
            values = relative_to_last(values, self._own_fields, _PERCENT)
        by_asset = values.reshape(-1, fields // len(self._prefixes), points)
        return scaled(by_asset, knots, range, self.scaling).reshape(n, fields, knots)

    def _draw_registered(self, name: str, values: Floats, images: NDArray[Any]) -> None:
        """Draw a registered kind into images of shape (n, fields, size, size)."""
        from gafcnn.images.gaf import interpolated

        kind, (n, fields, points) = IMAGE_KINDS[name], values.shape
        knots, unit = min(points, self.size) if kind.average else points, _UNITS[self.dtype]
        for start in range(0, n, _BLOCK):
            part = slice(start, start + _BLOCK)
            x = self._scaled(values[part], knots, kind.range or self.range)
            for field in range(fields):
                pictures = kind.draw(x[:, field], self.size)
                rows = interpolated(pictures.swapaxes(1, 2), self.size).swapaxes(1, 2)
                pixels = interpolated(rows, self.size, unit)
                images[part, field] = np.rint(pixels) if unit != 1 else pixels


class _Unnamed(ImageSpec):
    """Images of series whose meaning is not known."""

    _named = False


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
        kinds: Names of registered kinds: "gasf", "gadf", "markov", "recurrence", "ohlc", or your
            own. "ohlc" needs six fields: open, high, low, close, volume (0 if there is none) and a
            moving average of the close; it is 0 or 1, row 0 at the top. See
            `gafcnn.images.bar_images`.
        range: What series are scaled to: (-1, 1) or (0, 1).
        scaling: "per_field" scales each series by its own extremes, "jointly" by those of all
            fields of a sample, "fixed" by x = v / (1 + |v|), so that 0 is the middle of the range.
            For "ohlc", v is 100 log(price / last close). Other series are taken as they are: pass
            100 log(price / last price) for prices, as an `ImageSpec` with named fields does.
        out: Array to draw into and return, of the shape and dtype of the result; it saves the time
            to allocate memory.

    Returns:
        Shape (n, fields * kinds, size, size): the kinds of the first field in the order given, then
        those of the next field; "ohlc" comes after them.

    Raises:
        ConfigError: An option is invalid.
        ImagesError: A value is not finite, or the shape of `series` or `out` is wrong.
    """
    options: Any = {"dtype": dtype, "kinds": kinds, "range": range, "scaling": scaling}
    spec = _Unnamed(size, **options)
    return (replace(spec, fields=BAR_FIELDS) if OHLC in spec.kinds else spec).encode(series, out)


def checked_series(series: ArrayLike) -> Floats:
    """Return series as float64 of shape (n, fields, points).

    Raises:
        ImagesError: A value is not finite or beyond 1e300, the shape is wrong, or they are a
            DataFrame, of which rows or columns could be the series.
    """
    if isinstance(series, pd.DataFrame) and series.shape[1] > 1:
        raise ImagesError(
            f"the series are a DataFrame with the columns {', '.join(map(str, series.columns))}",
            expected="an array whose rows are series, oldest value first",
            instead="pass frame.to_numpy().T if columns are series, frame.to_numpy() if rows are",
        )
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
            instead="pass a single series as np.asarray(series)[None, :]",
        )
    if not (valid := np.abs(values) <= _LARGEST).all():
        sample, field, point = np.argwhere(~valid)[0]
        raise ImagesError(
            f"point {point} of field {field} of sample {sample} is {values[sample, field, point]}",
            expected=f"finite values of at most {_LARGEST:g}",
            instead="leave out samples whose window is incomplete",
        )
    return values
