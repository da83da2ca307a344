"""Samples a second of the default training by batch size, on a GPU where there is one.

python benchmarks/gpu.py [--batches 64,1024,4096] [--models resnet18,small_cnn]

Three times the same training, as trainer=gpu sets it up: on one batch that lies in the device's
memory already, on stored images, on the fly. What the first is ahead of the others is what reading,
making and sending images costs.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import lightning
import torch
from lightning import LightningDataModule
from on_the_fly import SPEC, WINDOW, sources
from timing import machine
from torch.utils.data import DataLoader

from gafcnn.data.labels import Direction
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological
from gafcnn.durations import parse_duration
from gafcnn.models.callbacks import Throughput
from gafcnn.models.datamodule import GafDataModule
from gafcnn.models.dataset import Batch
from gafcnn.models.devices import best_precision, find_device
from gafcnn.models.image_sources import ImageSource
from gafcnn.models.module import GafModule

MOST_STEPS = 300
KINDS = ("in memory", "stored", "on the fly")


class OneBatch(LightningDataModule):
    """A batch that is there already, again and again."""

    def __init__(self, batch: Batch, steps: int) -> None:
        super().__init__()
        self.batches, self.read_at = [batch] * steps, 0.0

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batch, as often as there are steps."""
        return DataLoader(self.batches, batch_size=None)  # pyright: ignore[reportArgumentType]

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Note when the batch was there, as `GafDataModule` does."""
        self.read_at = time.perf_counter()
        return batch


def main() -> None:
    """Time all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", default="64,1024,4096")
    parser.add_argument("--models", default="resnet18")
    parser.add_argument("--bars", type=int, default=207_500, help="of the simulated market")
    parser.add_argument("--samples", type=int, default=200_000, help="of an epoch, at most")
    parser.add_argument("--compile", nargs="*", default=["no"], help="no, default, reduce-overhead")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")  # Lightning's advice
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    device = find_device("auto")
    name = f", {torch.cuda.get_device_name()}" if device.kind == "cuda" else ""
    print(f"{machine()}{name}")
    bars, _ = simulate(asked.bars, horizon=parse_duration("horizon", "15min"))
    samples = LabelledSamples.make(bars, WINDOW.lookback, Direction("15min"), Chronological())
    with tempfile.TemporaryDirectory() as folder:
        stored, made = sources(bars, Path(folder))
        print(f"{len(stored.times):,} images of {SPEC.size} x {SPEC.size} pixels")
        print(
            f"{'network':12}{'compile':18}{'batch':>6}" + "".join(f"{kind:>12}" for kind in KINDS)
        )
        n = min(asked.samples, len(samples.labelled("train")))
        sizes = [int(size) for size in asked.batches.split(",")]
        for model, how, size in product(asked.models.split(","), asked.compile, sizes):
            steps = min(n // size, MOST_STEPS)
            rates = [
                rate(data, model, how, steps, device.kind)
                for data in datas((stored, made), samples, size, steps, device.kind)
            ]
            told = "".join(f"{rate:12,.0f}" for rate in rates)
            print(f"{model:12}{how:18}{size:6}{told}", flush=True)


def datas(
    of: Sequence[ImageSource], samples: LabelledSamples, size: int, steps: int, device: str
) -> Iterator[LightningDataModule]:
    """The batch in memory, then batches of each source."""
    made = [GafDataModule(one, samples, size, pin_memory=device == "cuda") for one in of]
    batch = next(iter(made[0].train_dataloader()))
    images, labels = made[0].on_after_batch_transfer(batch, 0)
    yield OneBatch((images.to(device), labels.to(device)), steps)
    yield from made


def rate(data: LightningDataModule, model: str, how: str, steps: int, kind: str) -> float:
    """Samples a second of an epoch, after one that is not timed."""
    torch.manual_seed(0)
    module = GafModule({"name": model, "channels": 2, "outputs": 1, "size": SPEC.size})
    if how != "no":
        module.network.compile(mode=how)
    counted = Throughput()
    trainer = lightning.Trainer(
        accelerator=kind,
        devices=1,
        precision=best_precision(find_device(kind), model),  # pyright: ignore[reportArgumentType]
        max_epochs=3,
        limit_train_batches=steps,
        limit_val_batches=0,
        callbacks=[counted],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    assert counted.samples_per_second is not None
    return counted.samples_per_second


if __name__ == "__main__":
    main()
