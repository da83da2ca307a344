"""Images on the fly are the stored ones, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gafcnn.data.windows import Window, WindowReader, decision_rows
from gafcnn.errors import ImagesError
from gafcnn.images.scaling import RANGES, SCALINGS
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import SeriesStore
from gafcnn.images.writing import build_series, build_store
from gafcnn.models.image_sources import ImagesOnTheFly, ImageSource, PooledImages, StoredImages


def made_of(series: NDArray[np.float64], spec: ImageSpec) -> torch.Tensor:
    """Images made on the fly of series, shape (n, fields, points)."""
    n, fields, points = series.shape
    values = series.transpose(0, 2, 1).reshape(n * points, fields)
    times = np.arange(n * points).astype("datetime64[ns]")
    store = SeriesStore(Path("nowhere"), values, times, {})
    rows, offsets = np.arange(1, n + 1) * points - 1, np.arange(1 - points, 1)
    source = ImagesOnTheFly(store, rows, offsets, spec)
    read = source.read(np.arange(n))
    np.testing.assert_array_equal(read, series)
    return source.to_images(torch.from_numpy(source.sent(read)))


def stored_of(series: NDArray[np.float64], spec: ImageSpec) -> torch.Tensor:
    """What a network is shown of the images of series, once they are stored."""
    return torch.from_numpy(spec.encode(series)).float().mul_(spec.scale)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.view(torch.int32), other.view(torch.int32))


def test_three_points_by_hand() -> None:
    # 1, 2, 4 scaled is -1, -1/3, 1, with sines 0, a, 0
    a = np.sqrt(8) / 3
    gasf = [[1, 1 / 3, -1], [1 / 3, -7 / 9, -1 / 3], [-1, -1 / 3, 1]]
    gadf = [[0, a, 0], [-a, 0, a], [0, -a, 0]]
    images = made_of(np.array([[[1.0, 2.0, 4.0]]]), ImageSpec(3, "float32"))
    np.testing.assert_allclose(images, [[gasf, gadf]], atol=1e-6)


FIELDS = ("open", "high", "low", "close")


@settings(max_examples=150)
@given(
    fields=st.integers(1, 4),
    points=st.integers(1, 70),
    size=st.integers(1, 40),
    dtype=st.sampled_from(["int8", "float16", "float32"]),
    kinds=st.sampled_from([["gasf"], ["gadf"], ["gasf", "gadf"], ["gadf", "gasf"]]),
    ends=st.sampled_from(RANGES),
    scaling=st.sampled_from(SCALINGS),
    whole=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_images_on_the_fly_are_the_stored_ones_to_the_last_bit(
    fields: int, points: int, size: int, dtype: str, kinds: list[str], ends: Any, scaling: str,
    whole: bool, seed: int,
) -> None:  # fmt: skip
    series = np.random.default_rng(seed).normal(0, 3, (3, fields, points)).cumsum(axis=-1)
    if whole:  # ties and constant series
        series = np.rint(series / 4)
    spec = ImageSpec(size, dtype, FIELDS[:fields], kinds, ends, scaling)
    assert same_bits(made_of(series, spec), stored_of(series, spec))


@pytest.mark.parametrize(
    ("window", "fields"),
    [
        (Window("x", "15min"), ["close"]),
        (Window("x", "30min", "2min", "60min"), ["close", "body_to_mean_body", "gap_sign"]),
        (Window("x", "60min"), ["volume", "range"]),
    ],
)
@pytest.mark.parametrize("size", [16, 48])
def test_from_disk_they_are_the_stored_ones_of_bars_with_gaps(
    size: int, window: Window, fields: list[str], bars: pd.DataFrame, tmp_path: Path
) -> None:
    bars = bars.drop(index=bars.index[[150, 151, 400]])
    bars = bars.assign(open=bars["close"].shift(1, fill_value=600.0))
    bars = bars.assign(high=bars[["open", "close"]].max(axis=1) + 1)
    spec = ImageSpec(size, "int8", fields)
    stored = StoredImages(build_store(tmp_path / "images", bars, window, spec))
    series = build_series(tmp_path / "series", bars, window, fields)
    rows = decision_rows(bars, window.lookback)
    source = ImagesOnTheFly(series, rows, WindowReader(bars, window, fields).offsets, spec)
    np.testing.assert_array_equal(source.times, stored.times)
    positions = np.random.default_rng(0).permutation(len(rows))
    one, other = (
        of.to_images(torch.from_numpy(of.sent(of.read(positions)))) for of in (stored, source)
    )
    assert same_bits(one, other)


@pytest.mark.parametrize("stored", [True, False])
def test_images_of_several_symbols_are_read_as_one(
    stored: bool, bars: pd.DataFrame, tmp_path: Path
) -> None:
    window, spec = Window("15m", "15min"), ImageSpec(8)
    sources: list[ImageSource] = []
    for number, n in enumerate((300, 200, 250)):
        some, folder = bars.iloc[number : number + n], tmp_path / "gaf" / f"S{number}_15m"
        some.attrs = bars.attrs
        if stored:
            sources.append(StoredImages(build_store(folder, some, window, spec)))
            continue
        rows, offsets = decision_rows(some, window.lookback), WindowReader(some, window).offsets
        series = build_series(folder, some, window)
        sources.append(ImagesOnTheFly(series, rows, offsets, spec))
    pooled = PooledImages(sources)
    n = len(pooled.times)
    assert pooled.folder == tmp_path / "gaf"
    assert pooled.about == f"{n} images" == "573 images"
    np.testing.assert_array_equal(pooled.times, np.concatenate([one.times for one in sources]))
    each = np.concatenate([one.read(np.arange(len(one.times))) for one in sources])
    for positions in (np.random.default_rng(0).permutation(n), np.arange(n), np.array([n - 1, 0])):
        read = pooled.read(positions)
        np.testing.assert_array_equal(read, each[positions])
        sent = pooled.sent(read)
        np.testing.assert_array_equal(sent, sources[0].sent(read))
        images = pooled.to_images(torch.from_numpy(sent))
        assert same_bits(images, sources[0].to_images(torch.from_numpy(sent)))
    windows = WindowReader(bars, window)(decision_rows(bars, window.lookback)[:5])
    np.testing.assert_array_equal(pooled.kept(windows), sources[0].kept(windows))


@pytest.mark.parametrize("kind", ["markov", "recurrence"])
def test_other_kinds_are_stored_only(kind: str) -> None:
    spec = ImageSpec(8, kinds=["gasf", kind])
    with pytest.raises(ImagesError) as caught:
        made_of(np.ones((1, 1, 3)), spec)
    assert str(caught.value) == (
        f"images of the kind {kind!r} cannot be made on the fly; expected gasf or gadf; "
        "set images=stored."
    )
