"""The training loop of a network: epochs, checkpoints, resuming."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning import Callback
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from numpy.typing import NDArray

from gafcnn.atomic_io import disk_error, is_full
from gafcnn.errors import ConfigError, LearningError
from gafcnn.models.callbacks import (
    AveragedWeights,
    BestWeights,
    EpochLog,
    EpochSeed,
    StayStopped,
    Throughput,
    progress_bar,
)
from gafcnn.models.checkpoints import BEST, LAST, REMEDY, AtomicCheckpoints, load_plain
from gafcnn.models.datamodule import GafDataModule
from gafcnn.models.devices import AUTO, Device, choose_precision
from gafcnn.models.image_sources import ImageSource
from gafcnn.models.loggers import create_loggers
from gafcnn.models.module import DESCRIPTION, GafModule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOptions:
    """Options of a training; see `gafcnn.models.classifier.GafClassifier`.

    Attributes:
        folder: Folder of checkpoints and logs; None keeps the best weights in memory.
    """

    device: Device
    precision: Any
    max_epochs: int
    patience: int
    monitor: str
    mode: str
    average_weights: float | None
    devices: int | str | list[int]
    strategy: str
    compile: bool | str
    loggers: Mapping[str, Mapping[str, Any] | None] | None
    progress: bool | None
    seed: int
    folder: Path | None


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        rows: Losses and metrics of each epoch.
        facts: What is known of it, as plain data: epochs, best_epoch, steps, samples_per_second,
            data_wait_share, device, threads, processes, precision.
    """

    rows: list[dict[str, float]]
    facts: dict[str, Any]


def fit(module: GafModule, data: GafDataModule, options: TrainingOptions) -> Training:
    """Train a network, or resume its training; afterwards it has the weights of its best epoch.

    Helper processes of a shared training end here: they exit when the training ends.

    Raises:
        LearningError: No epoch had a finite metric, a checkpoint does not fit, the devices are not
            available, or another process ended.
        ConfigError: Lightning does not accept an option.
        DiskError: The disk of the folder is full.
    """
    check_monitor(module, options.monitor)
    _quiet_lightning()
    throughput = Throughput()
    epochs = EpochLog(throughput)
    best = BestWeights(options.monitor, options.mode)
    start = None if options.folder is None else _last_intact(options.folder, module)
    with _expected_warnings():
        module.description["precision"] = precision = _precision(module, options, start)
        trainer = _trainer(options, precision, [throughput, epochs, best])
        if options.compile:
            # in place: the names in a checkpoint stay those of the plain network
            mode = None if options.compile is True else options.compile
            module.network.compile(mode=mode)
        _run(trainer, module, data, start)
    processes = trainer.world_size
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        if trainer.global_rank > 0:
            raise SystemExit(0)
    best_epoch = _load_best(module, best, epochs.rows, options)
    facts = {
        "epochs": len(epochs.rows),
        "best_epoch": best_epoch,
        "steps": trainer.global_step,
        "samples_per_second": throughput.samples_per_second,
        "data_wait_share": throughput.data_wait_share,
        "device": options.device.name,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "precision": trainer.precision,
    }
    return Training(epochs.rows, facts)


def predict(
    module: GafModule,
    source: ImageSource,
    positions: NDArray[np.int64],
    device: Device,
    batch_size: int,
) -> NDArray[np.float64]:
    """Return probabilities of samples: shape (n,), or (n, classes) for several classes.

    Args:
        module: The network.
        source: Images of the samples.
        positions: Which samples, n of them.
        device: The device to compute on; the network is moved there and back.
        batch_size: Samples per batch.
    """
    module.eval().to(device.kind)
    try:
        found = [
            module.probabilities(
                source.to_images(torch.from_numpy(source.read(batch)).to(device.kind))
            ).cpu()
            for batch in np.split(positions, range(batch_size, len(positions), batch_size))
        ]
    finally:
        module.to("cpu")
    return torch.cat(found).double().numpy()


def check_monitor(module: GafModule, monitor: str) -> None:
    """Validate the name of the metric that chooses the best epoch.

    Raises:
        ConfigError: Validation has no such metric.
    """
    names = ["val/loss", *module.val_metrics.keys()]
    if monitor not in names:
        raise ConfigError(
            f"monitor={monitor}",
            expected=f"one of {', '.join(names)}",
            instead="set monitor=val/loss",
        )


def _precision(module: GafModule, options: TrainingOptions, start: Path | None) -> Any:
    """Return the precision of a training; a resumed one keeps that in which it began."""
    if start is not None and options.precision == AUTO:
        return load_plain(start, REMEDY)[DESCRIPTION]["precision"]
    return choose_precision(options.precision, options.device, module.hparams["network"]["kind"])


def _trainer(
    options: TrainingOptions, precision: Any, callbacks: list[Callback]
) -> lightning.Trainer:
    folder, monitored = options.folder, {"monitor": options.monitor, "mode": options.mode}
    loggers = create_loggers(options.loggers, folder)
    bar = progress_bar(progress=options.progress)
    callbacks = [
        *bar,
        # after validation, but before the checkpoint that stores its counter
        EarlyStopping(
            **monitored, patience=options.patience, check_on_train_epoch_end=False, verbose=False
        ),
        EpochSeed(options.seed),
        StayStopped(),
        *callbacks,
    ]
    if loggers:
        callbacks.append(LearningRateMonitor(logging_interval="epoch"))
    if options.average_weights is not None:
        callbacks.append(AveragedWeights(options.average_weights))
    if folder is not None:
        shared = {
            "dirpath": (folder / BEST).parent.resolve(),
            "enable_version_counter": False,
            "save_on_train_epoch_end": False,
        }
        callbacks.append(ModelCheckpoint(filename=Path(BEST).stem, **monitored, **shared))
        # every epoch, so that a training that is killed loses one epoch at most
        callbacks.append(ModelCheckpoint(filename=Path(LAST).stem, **shared))
    # not Slurm, whose tasks Lightning would take for processes of this training
    launched = TorchElasticEnvironment.detect()
    try:
        return lightning.Trainer(
            accelerator=options.device.kind,
            devices=options.devices,
            strategy=options.strategy,
            precision=precision,
            max_epochs=options.max_epochs,
            # every epoch's batches are shared by `EpochBatches`
            use_distributed_sampler=False,
            sync_batchnorm=options.device.kind == "cuda",
            plugins=[
                TorchElasticEnvironment() if launched else LightningEnvironment(),
                AtomicCheckpoints(),
            ],
            callbacks=callbacks,
            logger=loggers or False,
            enable_checkpointing=folder is not None,
            default_root_dir=folder,
            enable_progress_bar=bool(bar),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    except (ValueError, TypeError, MisconfigurationException, RuntimeError) as error:
        raise ConfigError(
            f"Lightning does not accept the trainer's options ({' '.join(str(error).split())})",
            expected="options that Lightning documents, and devices that are available",
            instead="correct the section trainer, or set trainer=default",
        ) from error


def _run(
    trainer: lightning.Trainer, module: GafModule, data: GafDataModule, start: Path | None
) -> None:
    """Train from the start, or from a checkpoint."""
    folder = trainer.default_root_dir if trainer.checkpoint_callback else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
    except SIGTERMException:  # Lightning would end the process with exit code 0
        if folder is not None:
            log.warning("stopped by SIGTERM; the same command resumes the training")
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from None  # which Lightning turns into a SystemExit
    except OSError as error:
        if not is_full(error):
            raise
        # a logger's; checkpoints raise DiskError themselves
        raise disk_error(Path(error.filename or folder or "."), 0, error) from error
    except RuntimeError as error:
        if trainer.world_size > 1 and (
            isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
        ):
            raise LearningError(
                "another process that shares the training has ended",
                expected="all of them until the last step",
                instead="give the same command again, which resumes from the last epoch",
            ) from error
        if start is None or trainer.global_step:
            raise
        raise LearningError(
            f"{start} is of another network ({str(error).splitlines()[0]})",
            expected="a checkpoint of this training",
            instead=REMEDY,
        ) from error


def _last_intact(folder: Path, module: GafModule) -> Path | None:
    """Return the newest intact checkpoint of the same training; None to start from scratch.

    Raises:
        LearningError: The checkpoint is of a training with other options or samples.
    """
    # the best checkpoint is as complete as the last one
    for path in (folder / LAST, folder / BEST):
        if not path.is_file():
            continue
        try:
            checkpoint = load_plain(path, REMEDY)
        except LearningError as damage:
            log.warning("%s: resuming from an earlier checkpoint", damage.found)
            continue
        stored = checkpoint.get(DESCRIPTION, {}).get("identity", {})
        own = module.description.get("identity", {})
        if different := [name for name in own if stored.get(name) != own[name]]:
            name = different[0]
            raise LearningError(
                f"{path} is of a training with {name}={stored.get(name)}",
                expected=f"one with {name}={own[name]}, as in this one",
                instead="use another folder, or delete the checkpoints",
            )
        log.info("resuming after epoch %d of %s", checkpoint["epoch"] + 1, path)
        return path
    return None


def _load_best(
    module: GafModule,
    best: BestWeights,
    rows: list[dict[str, float]],
    options: TrainingOptions,
) -> int:
    """Load the weights of the best epoch; return its number from 1.

    Raises:
        LearningError: There is none.
    """
    path = None if options.folder is None else options.folder / BEST
    if path is not None and path.is_file():
        checkpoint = load_plain(path, REMEDY)
        module.load_state_dict(checkpoint["state_dict"])
        module.eval()
        return checkpoint["epoch"] + 1
    if best.state is None:
        raise LearningError(
            f"no epoch of {len(rows)} had a finite {options.monitor}",
            expected="a finite validation metric after at least one epoch",
            instead="lower lr, or set max_epochs to 1 or more",
        )
    module.load_state_dict(best.state)
    module.eval()
    choose = min if options.mode == "min" else max
    finite = [row for row in rows if np.isfinite(row[options.monitor])]
    return int(choose(finite, key=lambda row: row[options.monitor])["epoch"])


def _quiet_lightning() -> None:
    """Leave the console to the messages of this library."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False  # it has a handler of its own, so each line would come twice


@contextmanager
def _expected_warnings() -> Iterator[None]:
    """Suppress advice that does not apply here."""
    with warnings.catch_warnings():
        # a batch is one gather from memory: worker processes would copy it once more
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # a resumed run has its folder already
        warnings.filterwarnings("ignore", ".*[Cc]heckpoint directory .* exists and is not empty.*")
        # frozen stages are in eval mode on purpose
        warnings.filterwarnings("ignore", ".*module\\(s\\) in eval mode.*")
        # Lightning uses a name that torch is about to drop
        warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")
        yield
