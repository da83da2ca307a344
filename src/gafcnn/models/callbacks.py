"""Callbacks of a training."""

from __future__ import annotations

import logging
import time
from typing import Any

import lightning
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
        state: The state dict of the module at that epoch; None before the first finite value.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        self.monitor, self.sign = monitor, 1 if mode == "min" else -1
        self.best, self.state = np.inf, None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights if they are better; they are the averaged ones here."""
        value = self.sign * float(trainer.callback_metrics[self.monitor])
        if value < self.best:
            self.best = value
            state = pl_module.state_dict()
            self.state = {name: value.detach().cpu().clone() for name, value in state.items()}


class Throughput(Callback):
    """Measure samples per second of the training loop: reading, forward, backward, step.

    And the share of time that is spent waiting for data, from the end of one step until the next
    batch is read. The first epoch of a process is left out (caches are cold), and so is validation.
    """

    def __init__(self) -> None:
        self._samples, self._seconds, self._waited, self._epochs = 0, 0.0, 0.0, 0
        self._start, self._end, self._seen, self._between = 0.0, 0.0, 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, so that a resumed run continues them."""
        return {"samples": self._samples, "seconds": self._seconds, "waited": self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the counts of a checkpoint."""
        self._samples, self._seconds = state_dict["samples"], state_dict["seconds"]
        self._waited = state_dict["waited"]

    @property
    def samples_per_second(self) -> float | None:
        """Samples per second; None before the end of the second epoch."""
        return self._samples / self._seconds if self._seconds else None

    @property
    def data_wait_share(self) -> float | None:
        """Share of time spent waiting, in [0, 1]; None before the end of the second epoch."""
        return self._waited / self._seconds if self._seconds else None

    @property
    def last_epoch(self) -> float:
        """Samples per second of the last epoch."""
        return self._seen / max(self._end - self._start, 1e-9)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = self._end = time.perf_counter()
        self._seen, self._between = 0, 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add the time since the last step."""
        self._between += trainer.datamodule.read_at - self._end  # pyright: ignore[reportAttributeAccessIssue]

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the samples; with the last batch of the epoch, add the epoch."""
        self._end = time.perf_counter()
        self._seen += len(batch[1]) * trainer.world_size  # processes have equal parts of a batch
        if batch_idx + 1 < trainer.num_training_batches:
            return
        self._epochs += 1
        if self._epochs > 1:
            self._samples += self._seen
            self._seconds += self._end - self._start
            self._waited += self._between


class EpochLog(Callback):
    """Keep the metrics of every epoch, and log a line for each.

    Args:
        throughput: The callback that counts samples, before this one in the list.

    Attributes:
        rows: For each epoch its number from 1, the losses and the metrics of validation.
    """

    def __init__(self, throughput: Throughput) -> None:
        self.rows: list[dict[str, float]] = []
        self._throughput, self._started = throughput, 0.0
        self._loss, self._samples = torch.zeros(()), 0

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and the mean of the training loss."""
        self._started = time.perf_counter()
        self._loss, self._samples = torch.zeros((), device=pl_module.device), 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Add the loss of a batch, without waiting for the device."""
        n = len(batch[1])
        self._loss += outputs["loss"].detach() * n
        self._samples += n

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row, and log the line."""
        metrics = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        loss = float(self._loss) / max(self._samples, 1)
        epoch = trainer.current_epoch + 1
        self.rows.append({"epoch": epoch, "train/loss": loss, **metrics})
        name = next((n for n in ("val/auc", "val/balanced_accuracy") if n in metrics), "val/loss")
        seconds = (time.perf_counter() - self._started) * ((trainer.max_epochs or epoch) - epoch)
        log.info(
            "epoch %d of %s: training loss %.4f, validation loss %.4f, %s %.4f, %s samples/s, "
            "at most %s left",
            epoch,
            trainer.max_epochs,
            loss,
            metrics["val/loss"],
            {"val/auc": "AUC"}.get(name, name.removeprefix("val/").replace("_", " ")),
            metrics[name],
            f"{self._throughput.last_epoch:,.0f}",
            f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s",
        )  # fmt: skip


def progress_bar(*, progress: bool | None) -> list[lightning.Callback]:
    """Return a progress bar, if wanted; None shows one on terminals and in notebooks."""
    from lightning.pytorch.callbacks import RichProgressBar
    from rich.console import Console

    console = Console()
    shown = console.is_terminal or console.is_jupyter if progress is None else progress
    return [RichProgressBar()] if shown else []
