from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from numpy.typing import NDArray
from sklearn import metrics

from gafcnn.data.samples import LabelledSamples
from gafcnn.errors import LearningError
from gafcnn.images.store import ImageStore
from gafcnn.models.callbacks import AveragedWeights, EpochSeed, StopWhereStopped, Throughput
from gafcnn.models.checkpoints import WholeCheckpoints, load_plain
from gafcnn.models.datamodule import GafDataModule
from gafcnn.models.image_sources import ImagesOnTheFly, ImageSource, StoredImages
from gafcnn.models.module import GafModule

SMALL = {"name": "small_cnn", "channels": 2, "outputs": 1, "size": 16, "width": 4}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


def fit(
    folder: Path,
    source: ImageSource,
    samples: LabelledSamples,
    epochs: int,
    callbacks: Any = None,
    precision: Any = "32-true",
    **more: Any,
) -> tuple[lightning.Trainer, GafModule]:
    torch.manual_seed(0)
    module = GafModule(SMALL, lr=1e-2)
    last = ModelCheckpoint(
        folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=False
    )
    trainer = lightning.Trainer(
        max_epochs=5,
        accelerator="cpu",
        precision=precision,
        limit_train_batches=8,
        callbacks=[EpochSeed(0), Throughput(), last, StopAfter(epochs), *(callbacks or [])],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        plugins=[WholeCheckpoints()],
    )
    trainer.fit(module, GafDataModule(source, samples, 32), weights_only=True, **more)
    return trainer, module


class StopAfter(lightning.Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if trainer.current_epoch + 1 >= self.epochs:
            trainer.should_stop = True


@pytest.mark.parametrize("moved", [False, True])
def test_the_best_epoch_stays_the_best_where_the_folder_was_moved(
    tmp_path: Path, stored: StoredImages, samples: LabelledSamples, moved: bool
) -> None:
    def best(folder: Path) -> list[ModelCheckpoint]:
        return [ModelCheckpoint(folder, filename="best", monitor="epoch", mode="min",
                                enable_version_counter=False)]  # fmt: skip

    begun, place = tmp_path / "begun", tmp_path / ("elsewhere" if moved else "begun")
    fit(begun, stored, samples, 2, best(begun))
    begun.rename(place)
    trainer, _ = fit(place, stored, samples, 5, best(place), ckpt_path=str(place / "last.ckpt"))
    assert trainer.current_epoch == 5
    assert load_plain(place / "best.ckpt", "")["epoch"] == 0
    kept = {getattr(one, "best_model_path", "") for one in trainer.checkpoint_callbacks}
    assert str(place / "best.ckpt") in kept
    assert not begun.exists() or not moved


def test_a_checkpoint_of_another_network_or_of_none_is_told(
    tmp_path: Path, stored: StoredImages, samples: LabelledSamples
) -> None:
    fit(tmp_path, stored, samples, 1)
    assert not GafModule.load(tmp_path / "last.ckpt").training
    held = load_plain(tmp_path / "last.ckpt", "")
    others: dict[str, Any] = {
        "width": held["hyper_parameters"] | {"network": SMALL | {"width": 8}},
        "name": held["hyper_parameters"] | {"network": SMALL | {"name": "large_cnn"}},
        "more": held["hyper_parameters"] | {"command": "x"},
        "none": {},
    }
    for name, other in others.items():
        torch.save(held | {"hyper_parameters": other}, tmp_path / f"{name}.ckpt")
        with pytest.raises(
            LearningError, match=rf"{name}.ckpt holds no network \(.*overwrite=true"
        ):
            GafModule.load(tmp_path / f"{name}.ckpt")
    torch.save({"epoch": 1}, tmp_path / "empty.ckpt")
    with pytest.raises(LearningError, match=r"empty.ckpt holds no network"):
        GafModule.load(tmp_path / "empty.ckpt")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_training_that_stops_and_goes_on_ends_bit_for_bit_as_one_that_did_not(
    tmp_path: Path, stored: StoredImages, samples: LabelledSamples, precision: Any
) -> None:
    _, undisturbed = fit(tmp_path / "a", stored, samples, 3, precision=precision)
    fit(tmp_path / "b", stored, samples, 2, precision=precision)
    last = str(tmp_path / "b" / "last.ckpt")
    trainer, resumed = fit(tmp_path / "b", stored, samples, 3, precision=precision, ckpt_path=last)
    assert trainer.current_epoch == 3
    one, other = undisturbed.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_on_the_fly_that_stops_and_goes_on_ends_as_one_on_stored_images(
    tmp_path: Path, stored: StoredImages, on_the_fly: ImagesOnTheFly, samples: LabelledSamples
) -> None:
    _, undisturbed = fit(tmp_path / "a", stored, samples, 3)
    fit(tmp_path / "b", on_the_fly, samples, 2)
    _, resumed = fit(
        tmp_path / "b", on_the_fly, samples, 3, ckpt_path=str(tmp_path / "b" / "last.ckpt")
    )
    one, other = undisturbed.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_averaged_weights_are_those_that_a_checkpoint_holds_and_a_resumed_training_ends_with(
    tmp_path: Path, stored: StoredImages, samples: LabelledSamples
) -> None:
    class Keep(lightning.Callback):
        def __init__(self) -> None:
            self.seen: list[torch.Tensor] = []

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            self.seen.append(pl_module.state_dict()["network.head.2.weight"].clone())

    keep = Keep()
    averaging = AveragedWeights(decay=0.9)
    _, undisturbed = fit(tmp_path / "a", stored, samples, 3, [averaging, keep])
    by_hand = keep.seen[0]
    for step, weight in enumerate(keep.seen[1:], start=1):
        kept = min(0.9, (1 + step) / (10 + step))
        by_hand = kept * by_hand + (1 - kept) * weight
    ended = undisturbed.state_dict()["network.head.2.weight"]
    assert torch.allclose(ended, by_hand, atol=1e-6)
    assert not torch.allclose(ended, keep.seen[-1], atol=1e-4)

    last = str(tmp_path / "b" / "last.ckpt")
    fit(tmp_path / "b", stored, samples, 2, [AveragedWeights(decay=0.9)])
    _, resumed = fit(
        tmp_path / "b", stored, samples, 3, [AveragedWeights(decay=0.9)], ckpt_path=last
    )
    loaded = GafModule.load_from_checkpoint(last, weights_only=True)
    for other in (resumed, loaded):
        one, held = undisturbed.state_dict(), other.state_dict()
        assert all(torch.equal(one[name], held[name]) for name in one)


def test_a_training_that_early_stopping_ended_stays_ended(
    tmp_path: Path, stored: StoredImages, samples: LabelledSamples
) -> None:
    def stopping() -> list[Any]:
        never = EarlyStopping(
            "val/loss", patience=1, min_delta=100.0, check_on_train_epoch_end=False
        )  # nothing gains that much
        return [never, StopWhereStopped()]

    trainer, ended = fit(tmp_path, stored, samples, 5, stopping())
    assert trainer.current_epoch == 2
    last = str(tmp_path / "last.ckpt")
    again, resumed = fit(tmp_path, stored, samples, 5, stopping(), ckpt_path=last)
    assert again.global_step == trainer.global_step
    one, other = ended.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_loads_without_running_code_and_predicts_the_same(
    tmp_path: Path, stored: StoredImages, samples: LabelledSamples
) -> None:
    _, module = fit(tmp_path, stored, samples, 1)
    path = tmp_path / "last.ckpt"
    hyper = torch.load(path, weights_only=True)["hyper_parameters"]
    assert hyper == {"network": SMALL, "lr": 1e-2, "weight_decay": 1e-5}
    loaded = GafModule.load(path)
    images = torch.rand(3, 2, 16, 16) * 2 - 1
    assert torch.equal(loaded(images), module.cpu().eval()(images))


def test_logged_metrics_are_sklearn_s_on_labelled_validation(
    tmp_path: Path, stored: StoredImages, samples: LabelledSamples
) -> None:
    trainer, module = fit(tmp_path, stored, samples, 1)
    data = GafDataModule(stored, samples, 32)
    data.setup("validate")
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.val_dataloader()]
    with torch.no_grad():
        logits = torch.cat([module.eval()(images) for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    p_up = logits.sigmoid().numpy()
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["val/accuracy"] == pytest.approx(np.mean((p_up > 0.5) == labels.numpy()))
    assert logged["val/auc"] == pytest.approx(metrics.roc_auc_score(labels, p_up), abs=1e-6)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert logged["val/loss"] == pytest.approx(float(loss), rel=1e-5)


def test_logits_between_zero_and_one_are_not_taken_for_probabilities() -> None:
    module = GafModule(SMALL)
    module.log = module.log_dict = lambda *_, **__: None  # pyright: ignore[reportAttributeAccessIssue]
    module.forward = lambda images: torch.tensor([0.2, 0.4, 0.3, 0.1])  # up, all of them
    module.validation_step((torch.zeros(4, 2, 16, 16), torch.tensor([1.0, 1.0, 1.0, 0.0])), 0)
    assert module.val_metrics.compute()["val/accuracy"] == 0.75


def test_throughput_leaves_out_the_first_epoch(
    tmp_path: Path, stored: StoredImages, samples: LabelledSamples
) -> None:
    one, _ = fit(tmp_path / "one", stored, samples, 1)
    two, _ = fit(tmp_path / "two", stored, samples, 2)
    counted = [c for t in (one, two) for c in t.callbacks if isinstance(c, Throughput)]  # pyright: ignore[reportAttributeAccessIssue]
    assert counted[0].samples_per_second is None
    assert counted[1].samples_per_second
    assert counted[1].samples_per_second > 0


def test_throughput_counts_anew_after_a_version_that_did_not_count_the_waiting() -> None:
    counted = Throughput()
    counted.load_state_dict({"samples": 5, "seconds": 2.0})
    assert (counted.samples_per_second, counted.data_wait_share) == (None, None)
    counted.load_state_dict({"samples": 5, "seconds": 2.0, "waited": 0.5})
    assert (counted.samples_per_second, counted.data_wait_share) == (2.5, 0.25)


def test_what_is_waited_for_data_is_told(
    tmp_path: Path, store: ImageStore, samples: LabelledSamples
) -> None:
    class Slow(StoredImages):
        def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
            time.sleep(0.02)
            return super().read(positions)

    one, _ = fit(tmp_path / "one", Slow(store), samples, 1)
    two, _ = fit(tmp_path / "two", Slow(store), samples, 2)
    counted = [c for t in (one, two) for c in t.callbacks if isinstance(c, Throughput)]  # pyright: ignore[reportAttributeAccessIssue]
    assert counted[0].data_wait_share is None
    told = counted[1].state_dict()
    assert 8 * 0.02 <= told["waited"] < told["seconds"]
    assert counted[1].data_wait_share == told["waited"] / told["seconds"]
