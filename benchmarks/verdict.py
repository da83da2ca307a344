"""Time from bars to a verdict: three windows of ResNet18, trained and evaluated out of sample.

    python benchmarks/verdict.py [--days 7] [--epochs 1]

The commands of this library are compared with a plain script: images by pyts, resized bilinearly
and kept on disk in float64; a loop over torchvision's ResNet18 of which layer1 and layer2 are
frozen; and the mean of the three, whose trades are counted without an interval. Both see the same
minutes of a simulated market, in processes of their own, one after the other. The commands also
train boosted trees, choose thresholds, resample, draw, and write all of it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyts.image import GramianAngularField
from timing import machine, seconds
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

import gafcnn as gc

ROOT = Path(__file__).parents[1]
WINDOWS, AHEAD = (15, 30, 60), 15  # minutes
CHUNK = 1024  # images at a time
TRAINED, VALIDATED = 0.8, 0.9  # of the samples, in order of time


def main() -> None:
    """Run both, and print their seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain_script(options.days, options.epochs)
        return
    windows = ",".join(f"{minutes}m" for minutes in WINDOWS)
    study = ("market=simulated", f"market.days={options.days}", "study=verdict")
    network = ("model=resnet18", "model.weights=null", f"trainer.max_epochs={options.epochs}")
    plain = (__file__, "--plain", f"--days={options.days}", f"--epochs={options.epochs}")
    print(f"{machine()}, {options.days} days of minutes, epochs: {options.epochs}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        run = partial(subprocess.run, cwd=folder, check=True, stderr=subprocess.DEVNULL)
        train = [sys.executable, ROOT / "train.py", "-m", *study, *network, f"window={windows}"]
        evaluate = [sys.executable, ROOT / "evaluate.py", "study=verdict"]
        times = [
            seconds(partial(run, command, stdout=subprocess.DEVNULL))
            for command in (train, evaluate)
        ]
        print(f"gafcnn: training {times[0]:.0f} s, evaluation {times[1]:.0f} s", flush=True)
        whole = seconds(partial(run, [sys.executable, *plain]))
    print(f"plain script {whole:.0f} s, {whole / sum(times):.2f} times as long")


def plain_script(days: int, epochs: int) -> None:
    """Do it as one does at first; the images are in the working folder."""
    close = gc.simulate(days * 1440)[0]["close"].to_numpy()
    rows = np.arange(max(WINDOWS) - 1, len(close) - AHEAD)
    ahead = close[rows + AHEAD] / close[rows] - 1
    first, last = int(TRAINED * len(rows)), int(VALIDATED * len(rows))
    forecasts, times = [], dict.fromkeys(("images", "training"), 0.0)
    for minutes in WINDOWS:
        path = Path(f"{minutes}m.npy")
        times["images"] += seconds(partial(write_images, path, close, rows, minutes))
        images = torch.from_numpy(np.load(path, mmap_mode="r+"))
        labels = torch.from_numpy((ahead > 0).astype(np.float32))
        network, data = plain_network(), TensorDataset(images[:first], labels[:first])
        times["training"] += seconds(partial(train, network, data, epochs))
        network.eval()
        with torch.no_grad():
            logits = [network(some.float()) for some in images[last:].split(256)]
        forecasts.append(torch.cat(logits).squeeze(1).sigmoid().numpy())
    side = np.sign(np.mean(forecasts, axis=0) - 0.5)
    returns = side * ahead[last:]
    sharpe = returns.mean() / returns.std() * np.sqrt(365 * 1440 / AHEAD)
    print(", ".join(f"{what} {spent:.0f} s" for what, spent in times.items()))
    print(f"accuracy {np.mean(returns > 0):.3f}, Sharpe ratio {sharpe:.1f}", flush=True)


def write_images(
    path: Path, close: NDArray[np.float64], rows: NDArray[np.int64], minutes: int
) -> None:
    """Write both fields of the windows that end at these rows, 64 x 64 pixels in float64."""
    shape = (len(rows), 2, 64, 64)
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=shape)
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        series = close[some[:, None] + np.arange(1 - minutes, 1)]
        for channel, method in enumerate(("summation", "difference")):
            field = GramianAngularField(image_size=minutes, method=method).fit_transform(series)
            resized = functional.interpolate(
                torch.from_numpy(field)[:, None], (64, 64), mode="bilinear"
            )
            images[start : start + CHUNK, channel] = resized[:, 0]
    images.flush()


def plain_network() -> Any:
    """Return torchvision's ResNet18 for two channels and one output, partly frozen."""
    network = resnet18()
    network.conv1 = nn.Conv2d(2, 64, 7, stride=2, padding=3, bias=False)
    network.fc = nn.Linear(512, 1)
    for stage in (network.layer1, network.layer2):
        stage.requires_grad_(requires_grad=False)
    return network


def train(network: Any, data: TensorDataset, epochs: int) -> None:
    """Train with AdamW, in batches of 64."""
    network.train()
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=1e-5)
    for _ in range(epochs):
        for images, labels in DataLoader(data, 64, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            logits = network(images.float()).squeeze(1)
            functional.binary_cross_entropy_with_logits(logits, labels).backward()
            optimizer.step()


if __name__ == "__main__":
    main()
