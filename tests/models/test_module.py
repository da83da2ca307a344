"""Loss, metrics and probabilities; batches and images; checkpoints."""

from __future__ import annotations

import os
import pickle
import zipfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from gafcnn.data.cross_section import Rank
from gafcnn.data.samples import make_samples
from gafcnn.data.splits import Chronological
from gafcnn.data.windows import Window
from gafcnn.errors import DiskError, LearningError
from gafcnn.images.spec import ImageSpec
from gafcnn.images.store import build_store
from gafcnn.models.batches import Batches, SeriesInMemory, StoredImages
from gafcnn.models.classifier import GafClassifier
from gafcnn.models.module import BalancedAccuracy, GafModule, load_plain
from gafcnn.models.training import AtomicCheckpoints

NINE = {"kind": "small_cnn", "channels": 2, "outputs": 9, "size": 16, "width": 4}
ONE, FOUR = NINE | {"outputs": 1}, NINE | {"outputs": 4}


# --- the module -----------------------------------------------------------------------------------


def test_metrics_are_those_of_scikit_learn() -> None:
    p = torch.rand(300, 4, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    labels = torch.randint(0, 3, (300,), generator=torch.Generator().manual_seed(1))
    predicted = p.argmax(dim=1)
    assert (predicted == 3).any()  # a class that does not occur
    collection = GafModule(FOUR).val_metrics
    for part in (slice(0, 100), slice(100, 300)):
        collection.update(p[part], labels[part])
    found = {name[4:]: float(value) for name, value in collection.compute().items()}
    recalls = metrics.recall_score(labels, predicted, labels=[0, 1, 2], average=None)
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))


def test_balanced_accuracy_of_no_samples_is_nan() -> None:
    metric = BalancedAccuracy(3)
    metric.update(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert metric.compute().isnan()


@pytest.mark.parametrize("outputs", [1, 4])
def test_log_odds_are_those_of_the_probabilities(outputs: int) -> None:
    module, logits = GafModule(NINE | {"outputs": outputs}), torch.randn(50, outputs, 1, 1)
    module.network = torch.nn.Flatten()
    p = module.probabilities(logits)
    p = torch.stack([1 - p, p], dim=1) if outputs == 1 else p
    predicted = p.argmax(dim=1)
    for classes in (predicted, (predicted + 1) % p.shape[1]):
        own = p.gather(1, classes[:, None])[:, 0]
        torch.testing.assert_close(module.log_odds(logits, classes), torch.log(own / (1 - own)))


def test_a_class_weight_of_two_counts_each_sample_twice() -> None:
    module, generator = GafModule(FOUR), torch.Generator().manual_seed(2)
    labels = torch.randint(0, 4, (300,), generator=generator)
    logits = torch.randn(300, 4, generator=generator)
    twice = torch.cat([torch.arange(300), (labels == 1).nonzero().squeeze(1)])
    expected = module.loss(logits[twice], labels[twice].float())
    module.class_weights = torch.tensor([1.0, 2.0, 1.0, 1.0])
    torch.testing.assert_close(module.loss(logits, labels.float()), expected)
    assert "class_weights" not in module.state_dict()


def test_probabilities_sum_to_one_or_are_a_sigmoid() -> None:
    images = torch.rand(5, 2, 16, 16)
    p = GafModule(NINE).eval().probabilities(images)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(5))
    module = GafModule(ONE).eval()
    torch.testing.assert_close(module.probabilities(images), module(images).sigmoid())


def test_logits_between_zero_and_one_are_not_read_as_probabilities() -> None:
    module = GafModule(ONE)
    module.log = module.log_dict = lambda *_, **__: None  # pyright: ignore[reportAttributeAccessIssue]
    module.forward = lambda images: torch.tensor([0.2, 0.4, 0.3, 0.1])  # all predict up
    module.validation_step((torch.zeros(4, 2, 16, 16), torch.tensor([1.0, 1.0, 1.0, 0.0])), 0)
    assert module.val_metrics.compute()["val/accuracy"] == 0.75


# --- images ---------------------------------------------------------------------------------------


def on_the_fly(series: NDArray[np.float64], spec: ImageSpec) -> torch.Tensor:
    """Images of series of shape (n, fields, points), encoded by `SeriesInMemory`."""
    n, _, points = series.shape
    source = SeriesInMemory.__new__(SeriesInMemory)
    source._spec, source._offsets = spec, np.arange(1 - points, 1)
    source._series = [[field.ravel() for field in series.transpose(1, 0, 2)]]
    source._rows, source._ends = [np.arange(1, n + 1) * points - 1], np.array([n])
    return source.to_images(torch.from_numpy(source.read(np.arange(n))))


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.view(torch.int32), other.view(torch.int32))


@settings(max_examples=100)
@given(
    fields=st.integers(1, 4),
    points=st.integers(1, 70),
    size=st.integers(1, 40),
    dtype=st.sampled_from(["int8", "float16", "float32"]),
    kinds=st.sampled_from([("gasf",), ("gadf",), ("gasf", "gadf"), ("gadf", "gasf")]),
    ends=st.sampled_from([(-1, 1), (0, 1)]),
    scaling=st.sampled_from(["per_field", "jointly", "fixed"]),
    ties=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_outer_products_are_the_stored_images_to_the_last_bit(
    fields: int, points: int, size: int, dtype: Any, kinds: Any, ends: Any, scaling: Any,
    ties: bool, seed: int,
) -> None:  # fmt: skip
    series = np.random.default_rng(seed).normal(0, 3, (3, fields, points)).cumsum(axis=-1)
    series = np.rint(series / 4) if ties else series
    spec = ImageSpec(size, dtype, ("open", "high", "low", "close")[:fields], kinds, ends, scaling)
    stored = torch.from_numpy(spec.encode(series)).float().mul_(spec.scale)
    assert same_bits(on_the_fly(series, spec), stored)


@pytest.mark.parametrize(
    ("window", "fields"),
    [
        (Window("15min"), ("close",)),
        (Window("30min", "2min", lookback="60min"), ("close", "body_to_mean_body", "gap_sign")),
        (Window("60min"), ("volume", "range")),
    ],
)
def test_stored_images_of_symbols_with_gaps_are_those_on_the_fly(
    window: Window, fields: tuple[str, ...], bars: pd.DataFrame, tmp_path: Any
) -> None:
    holes = bars.drop(index=bars.index[[150, 151, 400]])
    samples = make_samples({"A": bars, "B": holes})
    spec, positions = ImageSpec(16, fields=fields), np.random.default_rng(0).permutation(900)
    fly = SeriesInMemory([(samples.bars[s], samples.bar_rows(s)) for s in "AB"], window, spec)
    window = replace(window, lookback=samples.lookback)
    stores = [build_store(tmp_path / s, samples.bars[s], window, spec) for s in "AB"]
    stored = StoredImages(stores, spec)
    positions = np.concatenate([positions, len(samples) - 1 - positions])
    images = [
        source.to_images(torch.from_numpy(source.read(positions))) for source in (fly, stored)
    ]
    assert same_bits(*images)


def test_stored_images_are_those_of_the_decisions(bars: pd.DataFrame, tmp_path: Any) -> None:
    # decided every ten minutes, of a symbol too short for any, and of one with a gap
    samples = make_samples(
        {"A": bars, "B": bars[:20], "C": bars.drop(index=bars.index[[150, 400]])},
        label=Rank("5min"),
        split=Chronological(0.2, 0.2, every="10min"),
    )
    spec, images = ImageSpec(16), []
    for kind in ("stored", "on_the_fly"):
        model = GafClassifier("15m", images=kind, data_folder=tmp_path, image_spec=spec)
        model._describe(samples)
        source = model._source(samples)
        sent = torch.from_numpy(source.read(np.arange(len(samples))[::-1]))
        images.append(source.to_images(sent))
    assert same_bits(*images)


# --- batches --------------------------------------------------------------------------------------


def batches(
    n: int, size: int, *, shuffle: bool, additional: int | None = None, **trainer: int
) -> list[NDArray[np.int64]]:
    """Read the batches of an epoch from a source whose images are the positions themselves."""
    source: Any = SimpleNamespace(read=lambda positions: positions, offsets=None)
    labels, seed = np.arange(n, dtype=np.uint8), 3 if shuffle else None
    epoch = Batches(source, labels, np.arange(n), size, seed, additional)
    device = SimpleNamespace(root_device=torch.device("cpu"))
    alone = {"global_rank": 0, "world_size": 1, "current_epoch": 0, "strategy": device}
    epoch.trainer = SimpleNamespace(**alone | trainer)
    found = [read.numpy() for read, labels in epoch if labels.tolist() == read.tolist()]
    assert len(found) == len(epoch)
    return found


def test_an_epoch_has_every_sample_once_in_an_order_of_its_own() -> None:
    """Training drops a smaller last batch; validation keeps it, and the order."""
    epoch = batches(103, 10, shuffle=True, current_epoch=2)
    assert [len(batch) for batch in epoch] == [10] * 10
    order = np.random.default_rng((3, 2)).permutation(103)[:100]
    assert np.array_equal(np.concatenate(epoch), order)
    epoch = batches(23, 10, shuffle=False)
    assert [len(batch) for batch in epoch] == [10, 10, 3]
    assert np.concatenate(epoch).tolist() == list(range(23))


def test_additional_samples_come_last_in_a_batch() -> None:
    plain, sorted_ = batches(40, 8, shuffle=True), batches(40, 8, shuffle=True, additional=30)
    for one, other in zip(plain, sorted_, strict=True):
        assert np.array_equal(np.concatenate([one[one < 30], one[one >= 30]]), other)


@given(count=st.integers(1, 5), share=st.integers(1, 7), n=st.integers(2, 200))
def test_processes_share_each_batch_equally(count: int, share: int, n: int) -> None:
    for shuffle in (True, False):
        read = partial(batches, n, count * share, shuffle=shuffle)
        alone, parts = read(), [read(global_rank=r, world_size=count) for r in range(count)]
        for batch, own in zip(alone, zip(*parts, strict=True), strict=True):
            assert len({len(part) for part in own}) == 1
            assert set(np.concatenate(own)) == set(batch)


# --- checkpoints ----------------------------------------------------------------------------------

STATE = {
    "epoch": 3,
    "state_dict": {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.tensor(7)},
    "callbacks": {"stopping": {"wait": 2, "best": torch.tensor(0.5)}},
}


assert_same = partial(torch.testing.assert_close, rtol=0, atol=0)


class Hostile:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "last.ckpt"
    AtomicCheckpoints().save_checkpoint(STATE, path)
    return path


def test_a_checkpoint_is_read_as_written_without_leftovers(stored: Path) -> None:
    assert_same(load_plain(stored), STATE)
    assert [path.name for path in stored.parent.iterdir()] == ["last.ckpt"]


def test_a_part_that_looks_like_a_folder_is_damaged(stored: Path) -> None:
    """torch would return uninitialised memory for it."""
    content = bytearray(stored.read_bytes())
    name = content.rindex(b"archive/data/2")  # in the directory, after the attributes
    content[name - 8] ^= 0x10
    damaged = stored.with_name("folder.ckpt")
    damaged.write_bytes(content)
    with pytest.raises(LearningError, match="data/2 is damaged"):
        load_plain(damaged)
    damaged.unlink()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_detected_or_harmless(stored: Path, data: st.DataObject) -> None:
    content = bytearray(stored.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    damaged = stored.with_name("damaged.ckpt")
    damaged.write_bytes(content)
    loaded = STATE
    with suppress(LearningError):
        loaded = load_plain(damaged)
    damaged.unlink()
    assert_same(loaded, STATE)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, *, zipped: bool) -> None:
    path, created = tmp_path / "evil.ckpt", tmp_path / "created"
    torch.save({"state_dict": Hostile(created)}, path, _use_new_zipfile_serialization=zipped)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Hostile(created)))
    for name in ("evil.ckpt", "plain.pkl"):
        with pytest.raises(LearningError, match=f"{name} cannot be read"):
            load_plain(tmp_path / name)
    assert not created.exists()


def test_missing_truncated_and_other_files_are_named(stored: Path, tmp_path: Path) -> None:
    content = stored.read_bytes()
    for share in (0.0, 0.01, 0.5, 0.99):
        (tmp_path / f"{share}.ckpt").write_bytes(content[: int(share * len(content))])
    with zipfile.ZipFile(tmp_path / "other.ckpt", "w") as archive:
        archive.writestr("bars.csv", "1,2,3")
    for path in (*tmp_path.iterdir(), tmp_path / "none.ckpt"):
        reason = ".*No such file" if path.stem == "none" else " cannot be read"
        with pytest.raises(LearningError, match=path.name + reason):
            load_plain(path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, small_disk: Any) -> None:
    folder = small_disk(100_000)
    AtomicCheckpoints().save_checkpoint(STATE, folder / "last.ckpt")
    with pytest.raises(DiskError, match=r"last.ckpt"):
        AtomicCheckpoints().save_checkpoint({"a": torch.zeros(30_000)}, folder / "last.ckpt")
    assert_same(load_plain(folder / "last.ckpt"), STATE)
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
