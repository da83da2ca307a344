from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gafcnn.data.labels import NULL
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.windows import Window
from gafcnn.errors import LeakError, LearningError, StoreError
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import ImageStore
from gafcnn.images.writing import build_store
from gafcnn.models.datamodule import GafDataModule
from gafcnn.models.image_sources import ImagesOnTheFly, ImageSource, StoredImages
from gafcnn.models.processes import Processes


@pytest.fixture
def data(stored: StoredImages, samples: LabelledSamples) -> GafDataModule:
    module = GafDataModule(stored, samples, batch_size=32)
    module.setup("fit")
    return module


def test_training_and_validation_see_labelled_samples_only(data: GafDataModule) -> None:
    for loader in (data.train_dataloader(), data.val_dataloader()):
        labels = torch.cat([labels for _, labels in loader])
        assert set(labels.tolist()) == {0.0, 1.0}


def test_prediction_sees_every_sample_of_validation_and_test_in_order(
    data: GafDataModule, store: ImageStore, samples: LabelledSamples
) -> None:
    for loader, positions in zip(
        data.predict_dataloader(), (samples.split.val, samples.split.test), strict=True
    ):
        images = torch.cat([images for images, _ in loader])
        labels = torch.cat([labels for _, labels in loader])
        assert torch.equal(images, torch.from_numpy(np.array(store.images[positions])))
        assert (labels == NULL).any()


def test_images_are_read_from_the_memory_map_and_scaled_where_they_are_used(
    data: GafDataModule, store: ImageStore
) -> None:
    assert isinstance(store.images, np.memmap)
    assert not store.images.flags.writeable
    images, labels = next(iter(data.train_dataloader()))
    assert images.dtype == torch.int8
    scaled, _ = data.on_after_batch_transfer((images, labels), 0)
    assert scaled.dtype == torch.float32
    torch.testing.assert_close(scaled, images.float() / 127)
    assert scaled.abs().max() <= 1


def test_batches_are_pinned_where_that_is_asked_for(
    stored: StoredImages, samples: LabelledSamples
) -> None:
    for asked in (False, True):
        data = GafDataModule(stored, samples, batch_size=32, pin_memory=asked)
        data.setup("fit")
        loaders = [data.train_dataloader(), data.val_dataloader(), *data.predict_dataloader()]
        assert [loader.pin_memory for loader in loaders] == [asked] * 4


def test_a_split_that_leaks_is_refused_at_set_up(
    stored: StoredImages, samples: LabelledSamples
) -> None:
    reaching = np.append(samples.split.train, samples.split.val[0] - 1)
    leaking = replace(samples, split=replace(samples.split, train=reaching))
    with pytest.raises(LeakError):
        GafDataModule(stored, leaking).setup("fit")


def test_a_store_of_other_decision_times_is_refused(
    stored: StoredImages, samples: LabelledSamples
) -> None:
    later = samples.times + np.timedelta64(1, "m")
    known_at = samples.outcomes.known_at + np.timedelta64(1, "m")
    other = replace(samples, times=later, outcomes=replace(samples.outcomes, known_at=known_at))
    with pytest.raises(StoreError, match="not the bars'"):
        GafDataModule(stored, other).setup("fit")


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_batch_that_cannot_be_filled_is_refused(
    stored: StoredImages, samples: LabelledSamples, size: int
) -> None:
    with pytest.raises(LearningError, match=f"model.batch_size={size} with"):
        GafDataModule(stored, samples, batch_size=size)


def test_a_batch_that_cannot_be_shared_is_refused(
    stored: StoredImages, samples: LabelledSamples
) -> None:
    with pytest.raises(LearningError) as caught:
        GafDataModule(stored, samples, batch_size=32, processes=Processes(1, 3))
    assert str(caught.value) == (
        "model.batch_size=32 shared by 3 processes; expected a multiple of 3, for each has as "
        "large a part of every batch; set model.batch_size=30, say."
    )
    few = replace(samples, split=replace(samples.split, val=samples.labelled("val")[:3]))
    with pytest.raises(LearningError, match="3 labelled validation samples shared by 4 processes"):
        GafDataModule(stored, few, batch_size=32, processes=Processes(0, 4))


def test_training_and_validation_are_shared_and_prediction_is_not(
    stored: StoredImages, samples: LabelledSamples
) -> None:
    alone = GafDataModule(stored, samples, batch_size=32)
    both = [GafDataModule(stored, samples, 32, processes=Processes(k, 2)) for k in (0, 1)]
    for data in (alone, *both):
        data.setup("fit")
    for loader in ("train_dataloader", "val_dataloader"):
        parts = zip(*(getattr(data, loader)() for data in both), strict=True)
        for (images, labels), own in zip(getattr(alone, loader)(), parts, strict=True):
            assert torch.equal(torch.cat([part[0] for part in own]), images)
            assert torch.equal(torch.cat([part[1] for part in own]), labels)
    whole, again = (data.predict_dataloader() for data in (alone, both[1]))
    assert [len(loader) for loader in again] == [len(loader) for loader in whole]


def test_a_store_written_anew_at_its_place_does_not_change_what_is_read(
    bars: pd.DataFrame, samples: LabelledSamples, tmp_path: Path
) -> None:
    """Another run of the same symbol and window may want other images while this one trains."""
    window = Window("15m", "15min")
    store = build_store(tmp_path, bars, window, ImageSpec(16), progress=False)
    data = GafDataModule(StoredImages(store), samples)
    before = np.array(store.images)
    other = build_store(tmp_path, bars * 2 - bars**1.01, window, ImageSpec(16), progress=False)
    assert not np.array_equal(other.images, before)
    data.setup("predict")
    got = torch.cat([images for images, _ in data.predict_dataloader()[0]]).numpy()
    np.testing.assert_array_equal(got, before[samples.split.val])


def test_images_on_the_fly_are_batches_of_the_same_numbers(
    stored: StoredImages, on_the_fly: ImagesOnTheFly, samples: LabelledSamples
) -> None:
    def shown(source: ImageSource) -> list[tuple[torch.Tensor, torch.Tensor]]:
        data = GafDataModule(source, samples, batch_size=32)
        data.setup("fit")
        loaders = [data.train_dataloader(), data.val_dataloader(), *data.predict_dataloader()]
        return [data.on_after_batch_transfer(batch, 0) for loader in loaders for batch in loader]

    for (images, labels), (made, other) in zip(shown(stored), shown(on_the_fly), strict=True):
        assert torch.equal(images, made)
        assert torch.equal(labels, other)


def test_series_of_other_decision_times_are_refused(
    on_the_fly: ImagesOnTheFly, samples: LabelledSamples
) -> None:
    later = samples.times + np.timedelta64(1, "m")
    known_at = samples.outcomes.known_at + np.timedelta64(1, "m")
    other = replace(samples, times=later, outcomes=replace(samples.outcomes, known_at=known_at))
    with pytest.raises(StoreError, match=f"{on_the_fly.folder} holds 741 decision times, not the"):
        GafDataModule(on_the_fly, other).setup("fit")
