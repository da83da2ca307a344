from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gafcnn.data.windows import Window
from gafcnn.errors import ImagesError
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import ImageStore
from gafcnn.images.writing import build_series
from gafcnn.models.dataset import EpochBatches, Extra, GafDataset
from gafcnn.models.image_sources import ImagesOnTheFly, StoredImages
from gafcnn.models.processes import ALONE, Processes


class Counting(np.ndarray):
    """An array that counts how often it is indexed."""

    reads = 0

    def __getitem__(self, key: Any) -> Any:
        Counting.reads += 1
        return np.asarray(super().__getitem__(key))


LABELS = np.array([0, 1] * 400, dtype=np.int8)


def test_a_batch_is_one_indexing_operation(store: ImageStore) -> None:
    counted = replace(store, array=store.images.view(Counting))
    positions = np.array([9, 2, 4, 7])
    dataset = GafDataset(StoredImages(counted), LABELS, positions)
    Counting.reads = 0
    got, labels = dataset[np.array([3, 0])]
    assert Counting.reads == 1
    assert got.dtype == torch.int8
    assert torch.equal(got, torch.from_numpy(store.images[[7, 9]]))
    assert labels.tolist() == [1.0, 1.0]


def test_a_batch_of_series_is_one_indexing_operation(bars: pd.DataFrame, tmp_path: Path) -> None:
    series = build_series(tmp_path, bars, Window("x", "15min"), ["close", "high"])
    counted = replace(series, array=series.series.view(Counting))
    rows, offsets = np.arange(100, 700), np.arange(-14, 1)
    source = ImagesOnTheFly(counted, rows, offsets, ImageSpec(16, fields=["close", "high"]))
    Counting.reads = 0
    sent, labels = GafDataset(source, LABELS, np.array([9, 2, 4, 7]))[np.array([3, 0])]
    assert Counting.reads == 1
    assert sent.shape == (2, 2, 2, 16)
    assert sent.dtype == torch.float32
    assert labels.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [0, 3, 5, 1], [4, 5], [0, 1]])
def test_samples_that_are_in_no_store_come_after_the_others(
    chosen: list[int], stored: StoredImages, on_the_fly: ImagesOnTheFly
) -> None:
    drawn = np.random.default_rng(5).normal(size=(2, 1, 15))
    shown = []
    for source in (stored, on_the_fly):
        extra = Extra(source.kept(drawn), np.array([2, 3], dtype=np.int8))
        dataset = GafDataset(source, LABELS, np.array([7, 8, 9, 10]), extra)
        assert len(dataset) == 6
        sent, labels = dataset[np.array(chosen)]
        shown.append(source.to_images(sent))
        assert labels.tolist() == [
            [1, 0, 1, 0, 2, 3][n] for n in sorted(chosen, key=lambda n: n > 3)
        ]
    assert torch.equal(*shown)
    alone = ImageSpec(16).encode(drawn)[[n - 4 for n in chosen if n > 3]]
    torch.testing.assert_close(
        shown[0][len(chosen) - len(alone) :], torch.from_numpy(alone).float() / 127
    )


def test_of_samples_in_no_store_series_are_kept_where_images_are_made_on_the_fly(
    stored: StoredImages, on_the_fly: ImagesOnTheFly
) -> None:
    drawn = np.random.default_rng(5).normal(size=(2, 1, 15))
    np.testing.assert_array_equal(on_the_fly.kept(drawn), drawn)
    np.testing.assert_array_equal(stored.kept(drawn), ImageSpec(16).encode(drawn))
    drawn[1, 0, 3] = np.nan
    for source in (stored, on_the_fly):
        with pytest.raises(ImagesError, match="point 3 of field 0 of sample 1 is nan"):
            source.kept(drawn)


def test_every_sample_is_seen_once_an_epoch_but_for_a_last_smaller_batch() -> None:
    batches = EpochBatches(103, 10, shuffle=True, seed=3)
    seen = np.concatenate(list(batches))
    assert len(batches) == 10
    assert len(seen) == len(set(seen)) == 100


@given(
    parts=st.integers(1, 5),
    share=st.integers(1, 7),
    n=st.integers(2, 200),
    epoch=st.integers(0, 3),
)
def test_processes_see_together_the_batches_that_one_sees_alone(
    parts: int, share: int, n: int, epoch: int
) -> None:
    def batches(processes: Processes, *, shuffle: bool) -> list[np.ndarray]:
        made = EpochBatches(n, parts * share, shuffle=shuffle, seed=3, processes=processes)
        made.set_epoch(epoch)
        assert len(list(made)) == len(made)
        return list(made)

    every = [Processes(rank, parts) for rank in range(parts)]
    learned = [batches(one, shuffle=True) for one in every]
    for alone, own in zip(batches(ALONE, shuffle=True), zip(*learned, strict=True), strict=True):
        assert {len(part) for part in own} == {share}  # whose means have the mean of all as theirs
        np.testing.assert_array_equal(np.concatenate(own), alone)
    assume(n >= parts)
    watched = [batches(one, shuffle=False) for one in every]
    steps = [np.concatenate(own) for own in zip(*watched, strict=True)]
    np.testing.assert_array_equal(np.concatenate(steps), np.arange(n))
    assert min(len(part) for own in watched for part in own) > 0
    assert max(len(step) for step in steps) < parts * share + parts


def test_validation_keeps_the_order_and_the_last_batch() -> None:
    batches = list(EpochBatches(23, 10, shuffle=False))
    assert [len(batch) for batch in batches] == [10, 10, 3]
    assert np.concatenate(batches).tolist() == list(range(23))


def test_the_order_of_an_epoch_does_not_depend_on_those_before() -> None:
    undisturbed, resumed = (EpochBatches(50, 7, shuffle=True, seed=1) for _ in range(2))
    for epoch in (0, 1):
        undisturbed.set_epoch(epoch)
        list(undisturbed)
    undisturbed.set_epoch(2)
    order = np.concatenate(list(undisturbed))
    resumed.set_epoch(2)
    assert np.array_equal(order, np.concatenate(list(resumed)))
    resumed.set_epoch(1)
    assert not np.array_equal(order, np.concatenate(list(resumed)))
