"""Callbacks of a training."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from gafcnn.models.checkpoints import BEST, LAST

log = logging.getLogger(__name__)


class EpochSeed(Callback):
    """Seed torch at each epoch from the seed, the epoch and the process.

    Dropout then draws the same numbers in epoch k however often the training was resumed, and no
    state of a random generator has to be stored.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed torch; for rank 0 with the same numbers as for (seed, epoch)."""
        entropy = (self.seed, trainer.current_epoch, trainer.global_rank)
        words = np.random.SeedSequence(entropy).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))


class AveragedWeights(WeightAveraging):
    """Validate, keep and use the running mean of the weights instead of their last values.

    After n steps the mean keeps `min(decay, (1 + n) / (10 + n))` of itself, so that a short
    training is not a mean over its random start (Polyak and Juditsky, 1992, on averaging; the ramp
    is that of TensorFlow's `ExponentialMovingAverage`).

    Args:
        decay: What the mean keeps of itself at a step in the long run, in [0, 1). With 0.998 it
            covers about 500 steps.
    """

    def __init__(self, decay: float = 0.998) -> None:
        def mean(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            keep = min(decay, (1 + int(steps)) / (10 + int(steps)))
            return average + (1 - keep) * (current - average)

        super().__init__(avg_fn=mean)


class EpochLog(Callback):
    """Keep the metrics of every epoch, log a line for each, and measure the throughput.

    The throughput is that of the training loop: reading, forward, backward, step, without
    validation. Its mean leaves out the first epoch of a process, when caches are cold.

    Attributes:
        rows: For each epoch its number from 1, the losses and the metrics of validation.
        totals: Samples, seconds, and seconds from the end of one step until the next batch is
            ready.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.totals, self._epoch = np.zeros(3), np.zeros(3)
        self._cold, self._start, self._end = True, 0.0, 0.0
        self._loss = torch.zeros(())

    @property
    def throughput(self) -> dict[str, float | None]:
        """Samples per second and the share of waiting; None before the end of a second epoch."""
        samples, seconds, waited = map(float, self.totals)
        return {
            "samples_per_second": samples / seconds if seconds else None,
            "data_wait_share": waited / seconds if seconds else None,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the totals."""
        return {"rows": self.rows, "totals": self.totals.tolist()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the rows and the totals of a checkpoint."""
        self.rows, self.totals = list(state_dict["rows"]), np.array(state_dict["totals"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and the mean of the training loss."""
        self._start = self._end = time.perf_counter()
        self._epoch, self._loss = np.zeros(3), torch.zeros((), device=pl_module.device)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add the time since the last step."""
        self._epoch[2] += time.perf_counter() - self._end

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a batch, without waiting for the device."""
        self._end, n = time.perf_counter(), len(batch[1])
        self._loss += outputs["loss"].detach() * n
        self._epoch[:2] = self._epoch[0] + n, self._end - self._start

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch, and log its line."""
        samples, seconds, waited = map(float, self._epoch)
        if not self._cold:
            self.totals += samples * trainer.world_size, seconds, waited
        self._cold, epoch = False, trainer.current_epoch + 1
        row = {"epoch": epoch, "train/loss": float(self._loss) / max(samples, 1)}
        metrics = trainer.callback_metrics.items()
        row |= {name: float(value) for name, value in metrics if name.startswith("val/")}
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        name = "AUC" if "val/auc" in row else "balanced accuracy"
        epochs = trainer.max_epochs or epoch
        left = (time.perf_counter() - self._start) * (epochs - epoch)
        log.info(
            "epoch %d of %d: training loss %.4f, validation loss %.4f, %s %.4f, %s samples/s, "
            "at most %s left",
            epoch, epochs, row["train/loss"], row["val/loss"], name,
            row[f"val/{name.lower().replace(' ', '_')}"],
            f"{samples * trainer.world_size / max(seconds, 1e-9):,.0f}",
            f"{left / 60:.0f} min" if left >= 120 else f"{left:.0f} s",
        )  # fmt: skip


class BestEpoch(Callback):
    """Keep the weights of the best epoch, write checkpoints, and end a training that stagnates.

    Comes after `EpochLog`, whose rows a checkpoint holds, and before `AveragedWeights`.

    Args:
        monitor: The metric of validation that chooses the epoch.
        mode: "min" or "max".
        patience: Epochs without a better one after which training ends.
        folder: Folder for checkpoints of the best and of the last epoch; None writes none.

    Attributes:
        epoch: The best epoch, from 1; 0 before the first finite value of the metric.
        state: The state dict of the module after it; empty if that was before a resume.
    """

    def __init__(self, monitor: str, mode: str, patience: int, folder: Path | None) -> None:
        self.monitor, self.sign = monitor, 1 if mode == "min" else -1
        self.patience, self.folder, self.state = patience, folder, dict[str, Tensor]()
        self.best, self.epoch, self.ended = np.inf, 0, False

    def state_dict(self) -> dict[str, Any]:
        """Return the best epoch, its metric, and whether the training has ended."""
        return {"best": self.best, "epoch": self.epoch, "ended": self.ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.best, self.epoch, self.ended = (state_dict[key] for key in ("best", "epoch", "ended"))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a resumed training at once if it had ended early."""
        trainer.should_stop = self.ended

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights if they are better; here they are the averaged ones."""
        value, epoch = float(trainer.callback_metrics[self.monitor]), trainer.current_epoch + 1
        if self.sign * value < self.best:
            self.best, self.epoch = self.sign * value, epoch
            state = pl_module.state_dict()
            self.state = {name: value.detach().cpu().clone() for name, value in state.items()}
        elif epoch - self.epoch >= self.patience or not np.isfinite(value):
            self.ended = trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write checkpoints; a training that is killed loses one epoch at most."""
        if self.folder is not None:
            for name in [BEST] * (self.epoch == trainer.current_epoch + 1) + [LAST]:
                trainer.save_checkpoint(self.folder / name)
