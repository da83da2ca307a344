"""Training and prediction rates: stored images, images on the fly, and a plain loop of torchvision.

    python benchmarks/training.py [--networks small_cnn,resnet18] [--batches 64] [--rounds 3]
    python benchmarks/training.py --networks resnet18 --batches 64,1024,4096      on a GPU
    python benchmarks/training.py --auc 10                          what both loops learn, by seed

Trainings take turns. "stored" and "on the fly" are `GafClassifier` with its defaults; "plain" is
torchvision's ResNet18 in float32 with contiguous images that lie in memory, AdamW, and a DataLoader
that collects samples one by one. "waiting" is the share of time spent waiting for data.
Predictions in batches are compared with one forward pass per row.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from functools import partial
from itertools import islice
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from timing import machine, seconds
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

import gafcnn as gc
from gafcnn.data.windows import WindowReader
from gafcnn.models.module import GafModule
from gafcnn.models.networks import training_defaults

WINDOW = gc.Window("60min")
FROZEN = ("layer1", "layer2")
RESNET = {"kind": "resnet18", "freeze": [*FROZEN]}
WARM = 3  # steps of the plain loop that are not counted
SINGLE = 128  # rows that are predicted one by one


def main() -> None:
    """Measure all networks and batch sizes, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="small_cnn,resnet18")
    parser.add_argument("--batches", help="batch sizes; by default that of each network")
    parser.add_argument("--steps", type=int, default=30, help="per epoch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", default=False, help="a mode of torch.compile")
    parser.add_argument("--auc", type=int, default=0, help="number of seeds to compare the AUC of")
    parser.add_argument("--epochs", type=int, default=3, help="of the trainings for --auc")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{machine()}, {torch.get_num_threads()} threads, {device}")
    if options.auc:
        return compare_auc(options.auc, options.epochs, options.steps)
    print(f"{'samples/s':12}{'batch':>7}{'stored':>10}{'on the fly':>12}{'plain':>9}", end="")
    print(f"{'fly/stored':>12}{'stored/plain':>14}{'waiting':>16}")
    for network in options.networks.split(","):
        default = training_defaults(network)["batch_size"]
        for size in map(int, (options.batches or str(default)).split(",")):
            compare_rates(network, size, options)
    print(f"\n{'rows/s':12}{'in batches':>12}{'one by one':>12}{'ratio':>8}{'difference':>12}")
    for network in options.networks.split(","):
        compare_predictions(network)
    return None


def market(rows: int) -> gc.Samples:
    """Return samples of a simulated market, about so many labelled ones for training."""
    bars, _ = gc.simulate(int(rows * 1.7) + 2000, strength=0.75)
    return gc.make_samples(bars, split=gc.Chronological(0.05, 0.2), lookback=WINDOW.lookback)


def compare_rates(network: str, size: int, options: argparse.Namespace) -> None:
    """Print samples per second of all ways to train, which take turns."""
    samples, rounds = market(size * options.steps), []
    common: dict[str, Any] = {"batch_size": size, "max_epochs": 2, "compile": options.compile}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            facts = [
                gc.GafClassifier(
                    WINDOW, network=network, images=images, data_folder=folder, **common
                ).fit(samples).facts_
                for images in ("stored", "on_the_fly")
            ]  # fmt: skip
            plain = np.nan
            if network == "resnet18" and not torch.cuda.is_available():
                plain = Plain(samples, size).rate(options.steps)
            rates = [fact["samples_per_second"] for fact in facts]
            rounds.append([*rates, plain, *(fact["data_wait_share"] for fact in facts)])
    values = np.array(rounds)
    stored, fly, plain, *waits = np.median(values, axis=0)
    print(f"{network:12}{size:7}{stored:10,.0f}{fly:12,.0f}{plain:9,.0f}", end="")
    print(f"{median(values[:, 1] / values[:, 0]):12.3f}", end="")
    print(f"{median(values[:, 0] / values[:, 2]):14.2f}{waits[0]:8.1%}{waits[1]:8.1%}", flush=True)


def compare_predictions(network: str) -> None:
    """Print the rates of predictions in batches and one by one, and the largest difference."""
    samples = market(2048)
    model = gc.GafClassifier(WINDOW, network=network, max_epochs=1, accelerator="cpu").fit(samples)
    rows = samples.split.val
    batched = seconds(partial(model.predict_samples, samples, rows)) / len(rows)
    images = read_images(samples, rows[:SINGLE])
    found: list[Tensor] = []
    single = seconds(
        lambda: found.extend(model.module_.probabilities(image) for image in images.split(1))
    )
    single /= len(images)
    together = model.predict_samples(samples, rows[:SINGLE])
    apart = np.abs(torch.cat(found).numpy() - together).max()
    ratio = single / batched
    print(f"{network:12}{1 / batched:12,.0f}{1 / single:12,.0f}{ratio:8.1f}{apart:12.1g}")


def read_images(samples: gc.Samples, rows: np.ndarray) -> Tensor:
    """Return the images of samples, float32 in [-1, 1]."""
    [bars] = samples.bars.values()
    series = WindowReader(bars, WINDOW)(samples.bar_rows("")[rows])
    return torch.from_numpy(gc.ImageSpec().shown(series))


class Plain:
    """A loop as one writes it first, from the same initial weights as `GafClassifier`."""

    def __init__(self, samples: gc.Samples, batch: int, seed: int = 0, epochs: int = 1) -> None:
        self.network = resnet18()
        self.network.conv1 = nn.Conv2d(2, 64, 7, stride=2, padding=3, bias=False)
        start = initial_network(seed)
        self.network.fc = start.fc  # pyright: ignore[reportAttributeAccessIssue]
        self.network.load_state_dict(start.state_dict())
        for stage in FROZEN:
            self.network.get_submodule(stage).requires_grad_(requires_grad=False)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=1e-5)
        rows = samples.labelled("train")
        labels = torch.from_numpy(samples.label[rows].astype(np.float32))
        data = TensorDataset(read_images(samples, rows), labels)
        self.loader = DataLoader(data, batch, shuffle=True, drop_last=True)
        steps = epochs * len(self.loader)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)

    def train(self, batches: Any) -> int:
        """Train on batches; return the number of samples."""
        self.network.train()
        for stage in FROZEN:
            self.network.get_submodule(stage).eval()
        n = 0
        for images, labels in batches:
            self.optimizer.zero_grad()
            logits = self.network(images).squeeze(1)
            functional.binary_cross_entropy_with_logits(logits, labels).backward()
            self.optimizer.step()
            self.schedule.step()
            n += len(labels)
        return n

    def rate(self, steps: int) -> float:
        """Return samples per second, without the first steps."""
        batches, seen = iter(self.loader), []
        self.train(islice(batches, WARM))
        return 1 / (seconds(lambda: seen.append(self.train(islice(batches, steps)))) / seen[0])


def initial_network(seed: int) -> Any:
    """Return the network that `GafClassifier` starts from."""
    torch.manual_seed(seed)
    return GafModule({**RESNET, "channels": 2, "outputs": 1, "size": 64}).network


def compare_auc(seeds: int, epochs: int, steps: int) -> None:
    """Print the validation AUC of both loops after the same epochs, and the mean difference."""
    samples, differences = market(64 * steps), []
    val = samples.labelled("val")
    images, label = read_images(samples, val), samples.label[val]
    for seed in range(seeds):
        plain = Plain(samples, 64, seed, epochs)
        for _ in range(epochs):
            plain.train(plain.loader)
        plain.network.eval()
        with torch.no_grad():
            logits = torch.cat([plain.network(batch) for batch in images.split(256)])
        ours = gc.GafClassifier(WINDOW, network=RESNET, max_epochs=epochs, seed=seed).fit(samples)
        areas = [float(roc_auc_score(label, logits.squeeze(1))), ours.history_["val/auc"].iloc[-1]]
        differences.append(areas[1] - areas[0])
        print(f"seed {seed}: plain {areas[0]:.4f}, gafcnn {areas[1]:.4f}", flush=True)
    error = np.std(differences, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.nan
    print(f"gafcnn - plain: {np.mean(differences):+.4f}, standard error {error:.4f}")


if __name__ == "__main__":
    main()
