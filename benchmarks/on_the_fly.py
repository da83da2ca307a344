"""What images on the fly cost: the same training on stored images and on series, in turns.

python benchmarks/on_the_fly.py [--steps 30] [--rounds 3] [--models small_cnn,resnet18]

Each round trains as many steps on stored images, then on the fly; the first of each are not timed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import chain, cycle
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from timing import machine

from gafcnn.data.bars import interval_of
from gafcnn.data.labels import Direction
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological
from gafcnn.data.windows import Window, decision_rows
from gafcnn.durations import parse_duration
from gafcnn.images.spec import ImageSpec
from gafcnn.images.writing import build_series, build_store
from gafcnn.models.datamodule import GafDataModule
from gafcnn.models.dataset import Batch
from gafcnn.models.image_sources import ImagesOnTheFly, ImageSource, StoredImages
from gafcnn.models.module import GafModule

WINDOW, SPEC = Window("60m", "60min"), ImageSpec()
BATCHES = {"small_cnn": 256, "resnet18": 64}  # as conf/model has them
WARM = 3  # steps


class Training:
    """A network, and the batches that it is trained on; it goes on where it was."""

    def __init__(self, source: ImageSource, samples: LabelledSamples, model: str) -> None:
        torch.manual_seed(0)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        network = {"name": model, "channels": len(SPEC.channels), "outputs": 1, "size": SPEC.size}
        self.module = GafModule(network).to(self.device).train()
        self.data = GafDataModule(source, samples, BATCHES[model])
        self.optimizer = torch.optim.AdamW(p for p in self.module.parameters() if p.requires_grad)
        # one epoch after another
        self.batches = chain.from_iterable(cycle([self.data.train_dataloader()]))

    def pace(self, steps: int) -> tuple[float, float]:
        """Samples a second of so many steps, and the share of it in which they wait for data.

        What is waited for is a batch that is read; sending it and making images of it is a part of
        the step.
        """
        self._wait()
        begun = time.perf_counter()
        seen, waited = 0, 0.0
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(self.batches)
            waited += time.perf_counter() - asked
            seen += self._step(batch)
        self._wait()
        taken = time.perf_counter() - begun
        return seen / taken, waited / taken

    def _step(self, batch: Batch) -> int:
        read, labels = (part.to(self.device) for part in batch)
        images, labels = self.data.on_after_batch_transfer((read, labels), 0)
        loss = self.module.task.loss(self.module(images), labels, None)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return len(labels)

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def main() -> None:
    """Time both in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=20_000, help="of the simulated market")
    parser.add_argument("--steps", type=int, default=30, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default=",".join(BATCHES), help="none: the disk alone")
    asked = parser.parse_args()
    bars, _ = simulate(asked.bars, horizon=parse_duration("horizon", "15min"))
    with tempfile.TemporaryDirectory() as folder:
        stored, made = sources(bars, Path(folder))
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        print(f"{machine()}, {torch.get_num_threads()} threads, {device}")
        print(f"{len(stored.times):,} images of {SPEC.size} x {SPEC.size} pixels", end="")
        sizes = [disk(source) for source in (stored, made)]
        print(f" on disk: stored {sizes[0]:,} bytes, on the fly {sizes[1]:,}")
        print(f"{'':12}{'samples a second':>22}{'':8}{'waiting for data':>22}")
        print(f"{'':12}{'stored':>10}{'on the fly':>12}{'ratio':>8}", end="")
        print(f"{'stored':>10}{'on the fly':>12}")
        samples = LabelledSamples.make(bars, WINDOW.lookback, Direction("15min"), Chronological())
        for model in filter(None, asked.models.split(",")):
            paces = compared(
                [Training(source, samples, model) for source in (stored, made)],
                asked.steps,
                asked.rounds,
            )
            ratio = median(made / stored for (stored, _), (made, _) in paces)
            rates, waits = np.median(paces, axis=0).T
            print(f"{model:12}{rates[0]:10,.0f}{rates[1]:12,.0f}{ratio:8.3f}", end="")
            print(f"{waits[0]:10.1%}{waits[1]:12.1%}", flush=True)


def compared(trainings: list[Training], steps: int, rounds: int) -> list[list[tuple[float, float]]]:
    """The pace of each training, a row each round."""
    for training in trainings:
        training.pace(WARM)
    return [[one.pace(steps) for one in trainings] for _ in range(rounds)]


def sources(bars: pd.DataFrame, folder: Path) -> tuple[StoredImages, ImagesOnTheFly]:
    """The same images, stored and on the fly."""
    stored = StoredImages(build_store(folder / "gaf", bars, WINDOW, SPEC))
    series = build_series(folder / "series", bars, WINDOW, SPEC.fields)
    offsets = WINDOW.offsets(interval_of(bars))
    rows = decision_rows(bars, WINDOW.lookback)
    return stored, ImagesOnTheFly(series, rows, offsets, SPEC)


def disk(source: ImageSource) -> int:
    """The bytes of a source's folder."""
    return sum(path.stat().st_size for path in source.folder.iterdir())


if __name__ == "__main__":
    main()
