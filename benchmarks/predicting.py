"""How much faster all test rows are predicted in batches than by one forward pass a row.

python benchmarks/predicting.py [--rows 2048] [--single 128] [--rounds 3] [--models small_cnn,...]

In turns: Lightning's `predict` of every row, as a training ends, and the same module over single
rows, without gradients; of these only so many, whose time a row is taken for that of all.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import lightning
import numpy as np
import torch
from on_the_fly import BATCHES, SPEC, WINDOW
from timing import machine, seconds
from torch import Tensor

from gafcnn.data.labels import Direction
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.simulated import simulate
from gafcnn.data.splits import Chronological
from gafcnn.durations import parse_duration
from gafcnn.images.writing import build_store
from gafcnn.models.datamodule import GafDataModule
from gafcnn.models.image_sources import StoredImages
from gafcnn.models.module import GafModule

TARGET = 20


def main() -> None:
    """Time both in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2048, help="of validation and test")
    parser.add_argument("--single", type=int, default=128, help="rows that are predicted alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default=",".join(BATCHES))
    asked = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # Lightning's advice, see gafcnn.app.network_learner
    print(f"{machine()}, {torch.get_num_threads()} threads: {asked.rows:,} rows")
    print(
        f"{'rows a second':14}{'in batches':>12}{'alone':>10}{'ratio':>8}{'target':>8}{'apart':>10}"
    )
    bars, _ = simulate(asked.rows * 5, horizon=parse_duration("horizon", "15min"))
    with tempfile.TemporaryDirectory() as folder:
        source = StoredImages(build_store(Path(folder), bars, WINDOW, SPEC))
        samples = LabelledSamples.make(bars, WINDOW.lookback, Direction("15min"), Chronological())
        for model in asked.models.split(","):
            torch.manual_seed(0)
            network = {"name": model, "channels": len(SPEC.channels), "outputs": 1}
            module = GafModule(network | {"size": SPEC.size}).eval()
            data = GafDataModule(source, samples, BATCHES[model])
            compare(model, module, data, asked.single, asked.rounds)


def compare(model: str, module: GafModule, data: GafDataModule, single: int, rounds: int) -> None:
    """Print the rates of both, their ratio, and the largest difference of two predictions."""
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    read = data.predict_dataloader()[0].dataset
    rows = [read[np.array([row])] for row in range(single)]

    def batched() -> Tensor:
        parts = trainer.predict(module, datamodule=data)
        return torch.cat([batch for part in parts or [] for batch in part])

    def alone() -> Tensor:
        with torch.inference_mode():
            made = (data.on_after_batch_transfer(row, 0) for row in rows)
            return torch.cat([module.predict_step(row, 0) for row in made])

    together = batched()
    apart = (together[:single] - alone()).abs().max()
    times = [[a_row(batched, len(together)), a_row(alone, single)] for _ in range(rounds)]
    ratio = median(one / many for many, one in times)
    many, one = (1 / median(of) for of in zip(*times, strict=True))
    print(f"{model:14}{many:12,.0f}{one:10,.0f}{ratio:8.1f}{TARGET:8}{apart:10.1g}", flush=True)


def a_row(predict: Callable[[], Tensor], rows: int) -> float:
    """Seconds a row."""
    return seconds(predict) / rows


if __name__ == "__main__":
    main()
