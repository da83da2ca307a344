"""Callbacks of a training."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, WeightAveraging
from torch import Tensor

log = logging.getLogger(__name__)


class EpochSeed(Callback):
    """Seed torch at each epoch from the seed, the epoch and the process.

    Dropout then draws the same numbers in epoch k however often the training was resumed, and no
    state of a random generator has to be stored.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed before the first step of the epoch, after the loader has drawn its own numbers."""
        if batch_idx > 0:
            return
        # for rank 0 the same numbers as for (seed, epoch)
        entropy = (self.seed, trainer.current_epoch, trainer.global_rank)
        words = np.random.SeedSequence(entropy).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))


class StayStopped(Callback):
    """End a resumed training at once if early stopping had ended it.

    Early stopping restores its counter, but not that it ended the training: without this callback,
    a run killed between its last epoch and its predictions would train one more epoch.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the restored counter."""
        stopping = [c for c in trainer.early_stopping_callbacks if isinstance(c, EarlyStopping)]
        if any(callback.wait_count >= callback.patience for callback in stopping):
            trainer.should_stop = True


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


class BestWeights(Callback):
    """Keep the weights of the best epoch in memory. Comes before `AveragedWeights` in the list.

    Args:
        monitor: The metric of validation that chooses the epoch.
        mode: "min" or "max".

    Attributes:
        epoch: That epoch, from 1; None before the first finite value of the metric.
        state: The state dict of the module after it.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        self.monitor, self.sign = monitor, 1 if mode == "min" else -1
        self.best, self.epoch, self.state = np.inf, None, {}

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights if they are better; here they are the averaged ones."""
        value = self.sign * float(trainer.callback_metrics[self.monitor])
        if value < self.best:
            self.best, self.epoch = value, trainer.current_epoch + 1
            state = pl_module.state_dict()
            self.state = {name: value.detach().cpu().clone() for name, value in state.items()}


class EpochLog(Callback):
    """Keep the metrics of every epoch, log a line for each, and measure the throughput.

    The throughput is that of the training loop: reading, forward, backward, step, without
    validation. Its mean leaves out the first epoch of a process, when caches are cold.

    Attributes:
        rows: For each epoch its number from 1, the losses and the metrics of validation.
        totals: Samples, seconds, and seconds of waiting for data, from the end of one step until
            the next batch is read.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.totals = np.zeros(3)
        self._cold, self._start, self._end, self._waited = True, 0.0, 0.0, 0.0
        self._loss, self._samples = torch.zeros(()), 0

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
        self._loss, self._samples = torch.zeros((), device=pl_module.device), 0
        self._waited = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add the time since the last step."""
        self._waited += trainer.datamodule.read_at - self._end  # pyright: ignore[reportAttributeAccessIssue]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a batch, without waiting for the device."""
        self._end = time.perf_counter()
        self._loss += outputs["loss"].detach() * len(batch[1])
        self._samples += len(batch[1])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch, and log its line."""
        seen, seconds = self._samples * trainer.world_size, max(self._end - self._start, 1e-9)
        if not self._cold:
            self.totals += seen, seconds, self._waited
        self._cold, epoch = False, trainer.current_epoch + 1
        row = {"epoch": epoch, "train/loss": float(self._loss) / max(self._samples, 1)}
        metrics = trainer.callback_metrics.items()
        row |= {name: float(value) for name, value in metrics if name.startswith("val/")}
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        name = "val/auc" if "val/auc" in row else "val/balanced_accuracy"
        epochs = trainer.max_epochs or epoch
        left = (time.perf_counter() - self._start) * (epochs - epoch)
        log.info(
            "epoch %d of %d: training loss %.4f, validation loss %.4f, %s %.4f, %s samples/s, "
            "at most %s left",
            epoch, epochs, row["train/loss"], row["val/loss"], _TITLES[name], row[name],
            f"{seen / seconds:,.0f}", f"{left / 60:.0f} min" if left >= 120 else f"{left:.0f} s",
        )  # fmt: skip


_TITLES = {"val/auc": "AUC", "val/balanced_accuracy": "balanced accuracy"}
