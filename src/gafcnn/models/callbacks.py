"""What the trainer is told to do besides training."""

from __future__ import annotations

import time
from typing import Any

import lightning
import numpy as np
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping, WeightAveraging
from torch import Tensor


class EpochSeed(Callback):
    """Seed torch anew at each epoch, by seed, epoch and process alone.

    Dropout then draws in epoch k what it would draw in an undisturbed training, however often
    the training was resumed before; no state of a random generator has to be kept.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Seed before the epoch's first step, after the loader has drawn what it draws."""
        if batch_idx > 0:
            return
        # of the first process, and of one alone, the numbers are those of (seed, epoch)
        entropy = (self.seed, trainer.current_epoch, trainer.global_rank)
        words = np.random.SeedSequence(entropy).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))


class StopWhereStopped(Callback):
    """End a resumed training at once where early stopping had ended it already.

    Early stopping keeps how long it has waited, but not that it said stop: without this, a run
    killed between its last epoch and its predictions would train one epoch more.
    """

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Look at the restored early stopping."""
        stopping = [c for c in trainer.early_stopping_callbacks if isinstance(c, EarlyStopping)]
        if any(callback.wait_count >= callback.patience for callback in stopping):
            trainer.should_stop = True


class AveragedWeights(WeightAveraging):
    """Validate, keep and use the running mean of the network's weights, not their last values.

    After n steps the mean keeps `min(decay, (1 + n) / (10 + n))` of itself, so that it follows at
    first and a short training is not a mean over its random start (Polyak and Juditsky, 1992, on
    averaging; the ramp is TensorFlow's `ExponentialMovingAverage`).

    Args:
        decay: What the mean keeps of itself at a step, in the long run; from 0 up to, but not
            including, 1. With 0.998 it looks back some 500 steps.
    """

    def __init__(self, decay: float = 0.998) -> None:
        def mean(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            keep = min(decay, (1 + int(steps)) / (10 + int(steps)))
            return average + (1 - keep) * (current - average)

        super().__init__(avg_fn=mean)


class Throughput(Callback):
    """Samples a second of the training loop: reading, scaling, forward, backward, step.

    And the share of it that is spent waiting for data: from the end of one step until the next
    batch is read, with what is logged meanwhile; sending it and making images of it is the device's
    work. The first epoch of a process is left out (caches are cold, kernels are chosen), and so is
    validation.
    """

    def __init__(self) -> None:
        self._samples, self._seconds, self._waited, self._epochs = 0, 0.0, 0.0, 0
        self._start, self._end, self._seen, self._between = 0.0, 0.0, 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a resumed run counts on."""
        return {"samples": self._samples, "seconds": self._seconds, "waited": self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from a checkpoint; anew from one of a version that did not count the waiting."""
        if "waited" in state_dict:
            self._samples, self._seconds = state_dict["samples"], state_dict["seconds"]
            self._waited = state_dict["waited"]

    @property
    def samples_per_second(self) -> float | None:
        """None before a second epoch has been trained."""
        return self._samples / self._seconds if self._seconds else None

    @property
    def data_wait_share(self) -> float | None:
        """From 0 to 1; None before a second epoch has been trained."""
        return self._waited / self._seconds if self._seconds else None

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Start the clock."""
        self._start = self._end = time.perf_counter()
        self._seen, self._between = 0, 0.0

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count how long the batch was waited for."""
        self._between += trainer.datamodule.read_at - self._end  # pyright: ignore[reportAttributeAccessIssue]

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count, and stop the clock with the epoch's last batch."""
        self._end = time.perf_counter()
        self._seen += len(batch[1]) * trainer.world_size  # processes have equal parts of a batch
        if batch_idx + 1 < trainer.num_training_batches:
            return
        self._epochs += 1
        if self._epochs > 1:
            self._samples += self._seen
            self._seconds += self._end - self._start
            self._waited += self._between
