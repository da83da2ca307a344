"""A step of the default training against the plain loop that it replaces, in turns.

python benchmarks/training.py [--rounds 5] [--steps 20]     samples a second of both
python benchmarks/training.py --auc 10 [--epochs 3]         what both learn, seed by seed

The plain loop: torchvision's ResNet18 as it is, float32, contiguous images, AdamW, and a DataLoader
that gathers float32 samples one by one. Ours: the training of train.py, Lightning and
metrics and all, but for its checkpoints and loggers.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from statistics import median
from typing import Any

import lightning
import numpy as np
import torch
from on_the_fly import BATCHES, SPEC, WINDOW
from scipy.stats import t
from sklearn.metrics import roc_auc_score
from timing import machine
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

from gafcnn.data.labels import Direction
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological
from gafcnn.durations import parse_duration
from gafcnn.images.writing import build_store
from gafcnn.models.callbacks import EpochSeed, Throughput
from gafcnn.models.datamodule import GafDataModule
from gafcnn.models.devices import best_precision, find_device
from gafcnn.models.image_sources import StoredImages
from gafcnn.models.module import GafModule
from gafcnn.models.resnet import classifier

BATCH = BATCHES["resnet18"]
FROZEN = ("layer1", "layer2")
NETWORK = {"name": "resnet18", "channels": 2, "outputs": 1, "size": 64, "freeze": [*FROZEN]}
WARM = 3  # steps


class Plain:
    """The loop that one writes first."""

    def __init__(
        self, source: StoredImages, samples: LabelledSamples, seed: int = 0, epochs: int = 1
    ) -> None:
        torch.manual_seed(seed)
        self.network = resnet18()
        self.network.conv1 = nn.Conv2d(2, 64, 7, stride=2, padding=3, bias=False)
        self.network.fc = classifier(512, 1)  # pyright: ignore[reportAttributeAccessIssue]
        # from the same start as ours
        self.network.load_state_dict(new_module(seed).network.state_dict())
        for stage in FROZEN:
            self.network.get_submodule(stage).requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.network.parameters() if p.requires_grad], lr=1e-4, weight_decay=1e-5
        )
        rows = samples.labelled("train")
        arrays = images_of(source, rows), torch.from_numpy(samples.label[rows].astype(np.float32))
        self.loader = DataLoader(TensorDataset(*arrays), BATCH, shuffle=True, drop_last=True)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, epochs * len(self.loader)
        )

    def train(self, steps: int | None = None) -> Iterator[int]:
        """An epoch, or so many steps of it; the samples of each."""
        self.network.train()
        for stage in FROZEN:
            self.network.get_submodule(stage).eval()
        for images, labels in islice(self.loader, steps):
            self.optimizer.zero_grad()
            logits = self.network(images).squeeze(1)
            functional.binary_cross_entropy_with_logits(logits, labels).backward()
            self.optimizer.step()
            self.schedule.step()
            yield len(labels)

    def samples_per_second(self, steps: int) -> float:
        """Of so many steps, after some that are not timed."""
        training = self.train(WARM + steps)
        for _ in range(WARM):
            next(training)
        begun = time.perf_counter()
        seen = sum(training)
        return seen / (time.perf_counter() - begun)


class Ours:
    """The training of train.py with its defaults."""

    def __init__(self, source: StoredImages, samples: LabelledSamples, seed: int = 0) -> None:
        self.module, self.seed = new_module(seed), seed
        self.data = GafDataModule(source, samples, BATCH, seed)

    def fit(self, **options: Any) -> lightning.Trainer:
        """Train it, as `options` of the trainer say."""
        trainer = lightning.Trainer(
            precision=best_precision(find_device("cpu"), "resnet18"),  # pyright: ignore[reportArgumentType]
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            **options,
        )
        trainer.fit(self.module, datamodule=self.data)
        return trainer

    def samples_per_second(self, steps: int) -> float:
        """Of so many steps, after an epoch of few that is not timed."""
        rates = Throughput()
        self.fit(max_epochs=2, limit_train_batches=steps, callbacks=[rates])
        assert rates.samples_per_second is not None
        return rates.samples_per_second


def main() -> None:
    """Time both, or train both, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--auc", type=int, default=0, help="seeds to train both with")
    parser.add_argument("--first", type=int, default=0, help="of these seeds")
    parser.add_argument("--epochs", type=int, default=3, help="of each of these trainings")
    parser.add_argument("--bars", type=int, default=6_000, help="of the simulated market")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")  # Lightning's advice
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    device = find_device("cpu")
    precision = best_precision(device, "resnet18")
    print(f"{machine()}; {device.name}: {precision} against plain float32")
    bars, _ = simulate(asked.bars, strength=0.75, horizon=parse_duration("horizon", "15min"))
    samples = LabelledSamples.make(
        bars, WINDOW.lookback, Direction("15min"), Chronological(0.1, 0.3)
    )
    with tempfile.TemporaryDirectory() as folder:
        source = StoredImages(build_store(folder, bars, WINDOW, SPEC))
        if asked.auc:
            compare_aucs(source, samples, range(asked.first, asked.first + asked.auc), asked.epochs)
        else:
            compare_rates(source, samples, asked.steps, asked.rounds)


def compare_rates(source: StoredImages, samples: LabelledSamples, steps: int, rounds: int) -> None:
    """Samples a second, in turns."""
    trainings = Plain(source, samples), Ours(source, samples)
    rates = [[one.samples_per_second(steps) for one in trainings] for _ in range(rounds)]
    plain, ours = np.median(rates, axis=0)
    ratios = sorted(ours / plain for plain, ours in rates)
    print(f"plain {plain:,.0f} samples a second, ours {ours:,.0f}")
    print(f"ratio {median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}] of {rounds} rounds")


def compare_aucs(source: StoredImages, samples: LabelledSamples, seeds: range, epochs: int) -> None:
    """The AUC on validation of both from the same start, and the interval of the difference."""
    rows = samples.labelled("val")
    images, labels = images_of(source, rows), samples.label[rows]
    differences = []
    for seed in seeds:
        plain, ours = Plain(source, samples, seed, epochs), Ours(source, samples, seed)
        for _ in range(epochs):
            sum(plain.train())
        ours.fit(max_epochs=epochs, callbacks=[EpochSeed(seed)])
        areas = [auc(network, images, labels) for network in (plain.network, ours.module.network)]
        differences.append(areas[1] - areas[0])
        print(f"seed {seed}: plain {areas[0]:.4f}, ours {areas[1]:.4f}", flush=True)
    mean, half = np.mean(differences), t.ppf(0.975, len(seeds) - 1) * np.std(differences, ddof=1)
    half /= np.sqrt(len(seeds))
    print(
        f"ours - plain {mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}] over {len(seeds)} seeds"
    )


def auc(network: nn.Module, images: Tensor, labels: np.ndarray) -> float:
    """The area under the ROC curve of a network, in float32."""
    network.eval()
    with torch.no_grad():
        logits = torch.cat([network(batch) for batch in images.split(256)])
    return float(roc_auc_score(labels, logits.squeeze(1)))


def images_of(source: StoredImages, rows: np.ndarray) -> Tensor:
    """Images as float32 in [-1, 1]."""
    return source.to_images(torch.from_numpy(source.sent(source.read(rows))))


def new_module(seed: int) -> GafModule:
    """The default network at its random start."""
    torch.manual_seed(seed)
    return GafModule(NETWORK)


if __name__ == "__main__":
    main()
