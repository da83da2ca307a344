from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gafcnn.learning import EpochBatches, GafDataset


class Counting(np.ndarray):
    """An array that counts how often it is indexed."""

    reads = 0

    def __getitem__(self, key: Any) -> Any:
        Counting.reads += 1
        return np.asarray(super().__getitem__(key))


def stored(n: int) -> NDArray[np.int8]:
    return np.arange(n * 2 * 4 * 4, dtype=np.int64).reshape(n, 2, 4, 4).astype(np.int8)


def test_a_batch_is_one_indexing_operation() -> None:
    images = stored(10).view(Counting)
    positions = np.array([9, 2, 4, 7])
    dataset = GafDataset(images, np.array([0, 1] * 5, dtype=np.int8), positions)
    Counting.reads = 0
    got, labels = dataset[np.array([3, 0])]
    assert Counting.reads == 1
    assert got.dtype == torch.int8
    assert torch.equal(got, torch.from_numpy(stored(10)[[7, 9]]))
    assert labels.tolist() == [1.0, 1.0]


def test_every_sample_is_seen_once_an_epoch_but_for_a_last_smaller_batch() -> None:
    batches = EpochBatches(103, 10, shuffle=True, seed=3)
    seen = np.concatenate(list(batches))
    assert len(batches) == 10
    assert len(seen) == len(set(seen)) == 100


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
