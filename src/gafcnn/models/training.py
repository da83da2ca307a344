"""The training of a network: its loop, callbacks, checkpoints and loggers."""

from __future__ import annotations

import io
import logging
import os
import signal
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lightning
import lightning.pytorch.loggers
import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, WeightAveraging
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from torch import Tensor

from gafcnn.atomic_io import disk_error, is_full, write_bytes
from gafcnn.data.bars import release_memory
from gafcnn.errors import ConfigError, LearningError
from gafcnn.models.batches import Batches
from gafcnn.models.estimator import DESCRIPTION
from gafcnn.models.module import BEST, LAST, GafModule, load_plain

if TYPE_CHECKING:
    from gafcnn.models.classifier import GafClassifier

LOGGERS = {
    "csv": "CSVLogger",
    "tensorboard": "TensorBoardLogger",
    "mlflow": "MLFlowLogger",
    "wandb": "WandbLogger",
}
"""Lightning's loggers by name."""

FASTER_IN_BF16 = frozenset({"resnet18"})
"""Networks that bf16 makes clearly faster on a CPU with units for it (AMD Zen 4: 1.5 times; AMX:
twice). Some layers of small_cnn gain and others lose: it stays in float32."""

log = logging.getLogger(__name__)


def fit(
    model: GafClassifier, module: GafModule, train: Batches, val: Batches, device: Device
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Train a network, or resume its training; afterwards it has the weights of its best epoch.

    Returned are the metrics of each epoch, and the facts of the training, as plain data. The other
    processes of a shared training exit at its end.

    Raises:
        LearningError: No epoch had a finite metric, or a checkpoint does not fit.
        ConfigError: Lightning does not accept an option.
        DiskError: The disk is full.
    """
    release_memory()
    epochs = Epochs(model)
    names = ["val/loss", *module.val_metrics.keys()]
    if model.monitor not in names:
        raise ConfigError(
            f"monitor={model.monitor}",
            expected=f"one of {', '.join(names)}",
            instead="set monitor=val/loss and monitor_mode=min",
        )
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False  # it has a handler of its own, so each line would come twice
    start, precision = _resume(epochs.folder, module)
    if model.precision != "auto" or precision is None:
        precision = choose_precision(model.precision, device, module.hparams["network"]["kind"])
    module.description["precision"] = precision
    with warnings.catch_warnings():
        # frozen stages are in eval mode on purpose; LeafSpec is a name of torch that Lightning uses
        for advice in (r"module\(s\) in eval mode", "treespec, LeafSpec"):
            warnings.filterwarnings("ignore", f".*{advice}.*")
        trainer = _trainer(model, device, precision, epochs)
        if model.compile:  # in place: the names in a checkpoint stay those of the plain network
            module.network.compile(mode=None if model.compile is True else model.compile)
        train.trainer = val.trainer = trainer
        try:
            trainer.fit(module, train, val, ckpt_path=start, weights_only=True)
        except SIGTERMException:  # Lightning would end the process with exit code 0
            log.warning("stopped by SIGTERM; with a folder, the same command resumes the training")
            raise SystemExit(128 + signal.SIGTERM) from None
        except SystemExit as end:
            if not isinstance(end.__context__, KeyboardInterrupt):
                raise
            raise KeyboardInterrupt from None  # which Lightning turns into a SystemExit
        except OSError as error:  # a logger's; checkpoints raise DiskError themselves
            if not is_full(error):
                raise
            raise disk_error(Path(error.filename or "."), 0, error) from error
    for logger in trainer.loggers:
        # a run of Weights & Biases ends here; otherwise the next training would continue it
        getattr(getattr(logger, "experiment", None), "finish", lambda: None)()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        if trainer.global_rank > 0:
            raise SystemExit(0)
    if not epochs.best_epoch:
        raise LearningError(
            f"no epoch had a finite {model.monitor}",
            expected="a finite validation metric after at least one epoch",
            instead="lower lr",
        )
    # the best epoch may have been before a resume
    best = epochs.best_state or load_plain(Path(epochs.folder or "") / BEST)["state_dict"]
    module.load_state_dict(best)
    module.eval()
    samples, seconds, waited = epochs.totals
    facts = {
        "epochs": len(epochs.rows),
        "best_epoch": epochs.best_epoch,
        "steps": trainer.global_step,
        # known at the end of a second epoch
        "samples_per_second": samples / seconds if seconds else None,
        "data_wait_share": waited / seconds if seconds else None,
        "device": device.name,
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
        "precision": precision,
    }
    return epochs.rows, facts


def _resume(folder: Path | None, module: GafModule) -> tuple[Path | None, Any]:
    """Return the last checkpoint of this training and its precision; None if there is none."""
    if folder is None or not (folder / LAST).is_file():
        return None, None
    path = folder / LAST
    remedy = "use another folder, or delete the checkpoints (overwrite=true on the command line)"
    checkpoint = load_plain(path, remedy)
    stored = checkpoint.get(DESCRIPTION, {})
    before = {**stored.get("parameters", {}), "samples": stored.get("samples")}
    now = {**module.description["parameters"], "samples": module.description["samples"]}
    if other := [name for name, value in now.items() if before.get(name) != value]:
        raise LearningError(
            f"{path} is of a training with {other[0]}={before.get(other[0])}",
            expected=f"{other[0]}={now[other[0]]}, as in this one",
            instead=remedy,
        )
    log.info("resuming after epoch %d, from %s", checkpoint["epoch"] + 1, path)
    return path, stored["precision"]


def _trainer(model: GafClassifier, device: Device, precision: Any, epochs: Epochs) -> Trainer:
    loggers = _create_loggers(model.loggers or {}, epochs.folder)
    if (bar := model.progress) is None:
        bar = Console().is_terminal or Console().is_jupyter
    callbacks: list[Callback] = [epochs]
    callbacks += [LearningRateMonitor(logging_interval="epoch")] if loggers else []
    if model.average_weights is not None:
        callbacks.append(AveragedWeights(model.average_weights))
    # not Slurm, whose tasks Lightning would take for processes of this training
    launched = TorchElasticEnvironment.detect()
    environment = TorchElasticEnvironment() if launched else LightningEnvironment()
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if launched else model.devices
    nodes = int(os.environ["WORLD_SIZE"]) // int(os.environ["LOCAL_WORLD_SIZE"]) if launched else 1
    try:
        return Trainer(
            accelerator=device.kind,
            devices=here,
            num_nodes=nodes,
            strategy=model.strategy,
            precision=precision,
            max_epochs=model.max_epochs,
            use_distributed_sampler=False,  # `Batches` give each process its part
            sync_batchnorm=device.kind == "cuda",
            plugins=[environment, AtomicCheckpoints()],
            callbacks=callbacks,
            logger=loggers or False,
            enable_checkpointing=False,  # which `Epochs` does
            default_root_dir=epochs.folder,
            enable_progress_bar=bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(
            f"Lightning does not accept the trainer's options ({' '.join(str(error).split())})",
            expected="options that Lightning documents, and devices that are available",
            instead="correct them, or leave them out",
        ) from error


def _create_loggers(
    loggers: Mapping[str, Mapping[str, Any] | None], folder: Path | None
) -> list[Logger]:
    """Create Lightning's loggers from their options; all but MLflow write into the folder."""
    # no telemetry, unless an environment variable turns it on
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    created = []
    for name, options in loggers.items():
        if options is None:
            continue
        place: dict[str, Any] = {} if name == "mlflow" or folder is None else {"save_dir": folder}
        place |= {"name": name} if name in ("csv", "tensorboard") else {}
        try:
            kind = getattr(lightning.pytorch.loggers, LOGGERS[name])
            created.append(kind(**place | {**options}))
        except (KeyError, TypeError, ValueError, ModuleNotFoundError) as error:
            raise ConfigError(
                f"logger {name} cannot be created ({' '.join(str(error).split())})",
                expected=f"one of {', '.join(LOGGERS)}, a folder, and options of Lightning's class",
                instead="correct logger, or run pip install 'gafcnn[tensorboard,tracking]'",
            ) from error
    return created


class AveragedWeights(WeightAveraging):
    """Validate, keep and use the running mean of the weights instead of their last values.

    After n steps the mean keeps `min(decay, (1 + n) / (10 + n))` of itself, so that a short
    training is not a mean over its random start (Polyak and Juditsky, 1992, on averaging; the ramp
    is that of TensorFlow's `ExponentialMovingAverage`). `decay` is in [0, 1); with 0.998 the mean
    covers about 500 steps.
    """

    def __init__(self, decay: float = 0.998) -> None:
        def mean(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            keep = min(decay, (1 + int(steps)) / (10 + int(steps)))
            return average + (1 - keep) * (current - average)

        super().__init__(avg_fn=mean)


class Epochs(Callback):
    """Seed, measure and log each epoch, keep the best one, write checkpoints, and stop early.

    Seeds depend on the seed, the epoch and the process: dropout then draws the same numbers in
    epoch k however often the training was resumed, and no state of a random generator is stored.

    The throughput is that of the training loop: reading, forward, backward, step, without
    validation. Its mean leaves out the first epoch of a process, when caches are cold.

    Comes before `AveragedWeights`, so that it keeps the averaged weights.

    Attributes:
        folder: Folder for checkpoints of the best and of the last epoch; None writes none.
        rows: For each epoch its number from 1, the losses and the metrics of validation.
        totals: Samples, seconds, and seconds from the end of one step until the next batch is
            ready.
        best_epoch: The best epoch, from 1; 0 before the first finite value of the metric.
        best_state: The state dict of the module after it; empty if that was before a resume.
    """

    STORED = ("rows", "totals", "best", "best_epoch", "ended")

    def __init__(self, model: GafClassifier) -> None:
        self.model, self.sign = model, 1 if model.monitor_mode == "min" else -1
        self.folder = None if model.folder is None else Path(model.folder)
        self.rows, self.totals = list[dict[str, float]](), [0.0, 0.0, 0.0]
        self.best, self.best_epoch, self.ended = np.inf, 0, False
        self.best_state, self._cold = dict[str, Tensor](), True

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training continues."""
        return {name: getattr(self, name) for name in self.STORED}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        vars(self).update(state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a resumed training at once if it had ended early."""
        trainer.should_stop = self.ended

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed torch, start the clock and the mean of the training loss."""
        entropy = (self.model.seed, trainer.current_epoch, trainer.global_rank)
        words = np.random.SeedSequence(entropy).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))
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

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights if they are better; here they are the averaged ones."""
        value = float(trainer.callback_metrics[self.model.monitor])
        epoch = trainer.current_epoch + 1
        if self.sign * value < self.best:
            self.best, self.best_epoch = self.sign * value, epoch
            state = pl_module.state_dict()
            self.best_state = {name: one.detach().cpu().clone() for name, one in state.items()}
        elif epoch - self.best_epoch >= self.model.patience or not np.isfinite(value):
            self.ended = trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch, log its line, and write checkpoints: a killed training loses one epoch."""
        epoch = trainer.current_epoch + 1
        row = {"epoch": epoch, "train/loss": float(self._loss) / max(int(self._epoch[0]), 1)}
        self._epoch[0] *= trainer.world_size
        if not self._cold:
            self.totals = np.add(self.totals, self._epoch).tolist()
        self._cold = False
        metrics = trainer.callback_metrics.items()
        row |= {name: float(value) for name, value in metrics if name.startswith("val/")}
        self.rows.append(row)
        if trainer.is_global_zero:
            epochs = trainer.max_epochs or epoch
            left = (time.perf_counter() - self._start) * (epochs - epoch)
            scores = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if "/" in name)
            log.info(
                "epoch %d of %d: %s, %s samples/s%s", epoch, epochs, scores,
                f"{self._epoch[0] / max(self._epoch[1], 1e-9):,.0f}",
                f", at most {left / 60:.0f} min left" if left >= 120
                else f", at most {left:.0f} s left" * (epoch < epochs),
            )  # fmt: skip
        if self.folder is not None:
            for name in [BEST] * (self.best_epoch == epoch) + [LAST]:
                trainer.save_checkpoint(self.folder / name)


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, which replace the old file only when they are on disk.

    Lightning renames a file before it is synced: after a power cut the new file may be empty and
    the old one gone.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint atomically."""
        file = io.BytesIO()
        torch.save(checkpoint, file)
        write_bytes(Path(path), file.getbuffer())


class Device(NamedTuple):
    """A device: its kind (`cpu`, `cuda`, `mps`), a description, and whether it has bf16 units."""

    kind: str
    name: str
    bf16: bool


def find_device(accelerator: str) -> Device:
    """Return the device that an accelerator stands for on this machine; of GPUs, the first.

    `auto` is CUDA, else MPS, else the CPU; `gpu` is CUDA, else MPS; others are names. A machine
    without it raises a LearningError.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    available = [*(kind for kind in found if found[kind]), "cpu"]
    choices = {"auto": available, "gpu": ["cuda", "mps"]}.get(accelerator, [accelerator])
    kind = next((kind for kind in available if kind in choices), None)
    if kind is None:
        raise LearningError(
            f"trainer.accelerator={accelerator}, but torch finds no such device",
            expected=f"one of auto, {', '.join(available)}",
            instead="set trainer.accelerator=auto, or install a torch for the device",
        )
    if kind == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device(kind, f"CUDA {torch.cuda.get_device_name()}", bf16)
    if kind == "mps":
        return Device(kind, "MPS", bf16=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # torch >= 2.7
    units = [name for name in ("amx_bf16", "avx512_bf16") if capabilities.get(name)]
    # Intel's avx512_bf16 has half the ports of float32 products, and gains nothing
    if not units or (units == ["avx512_bf16"] and "Intel" in capabilities.get("cpu_name", "")):
        return Device(kind, "a CPU without bf16 matrix units", bf16=False)
    return Device(kind, f"a CPU with bf16 matrix units ({', '.join(units)})", bf16=True)


def choose_precision(precision: str | int | None, device: Device, network: str) -> Any:
    """Return the precision of a training, with `auto` resolved.

        CUDA with bf16 (Ampere and later)    bf16-mixed
        CPU with AMX, AMD with avx512_bf16   bf16-mixed for `FASTER_IN_BF16`, else 32-true
        any other                            32-true

    `bf16-mixed` is autocast (Micikevicius et al., "Mixed Precision Training", ICLR 2018, with
    bfloat16 in place of float16): products in bfloat16; weights, sums and the optimiser in float32.
    It has the range of float32, needs no scaling of the loss, and continues on any device.
    `16-mixed` does not, so it is used only if it is set. Other precisions are Lightning's.

    Raises:
        LearningError: float16 on a CPU, where Lightning would use bfloat16.
    """
    if precision == "auto":
        faster = device.kind == "cuda" or network in FASTER_IN_BF16
        return "bf16-mixed" if device.bf16 and faster else "32-true"
    if device.kind == "cpu" and str(precision) in ("16", "16-mixed"):
        raise LearningError(
            f"trainer.precision={precision} on a CPU",
            expected="bf16-mixed or 32-true, or a GPU",
            instead="set trainer.precision=auto",
        )
    return precision
