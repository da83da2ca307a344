"""The training loop of a network: epochs, checkpoints, resuming."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import lightning.pytorch.loggers
import torch
from lightning import Callback
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console

from gafcnn.atomic_io import disk_error, is_full
from gafcnn.errors import ConfigError, LearningError
from gafcnn.models.callbacks import AveragedWeights, BestEpoch, EpochLog, EpochSeed
from gafcnn.models.checkpoints import BEST, LAST, REMEDY, AtomicCheckpoints, load_plain
from gafcnn.models.datamodule import GafDataModule
from gafcnn.models.devices import Device, choose_precision
from gafcnn.models.module import DESCRIPTION, GafModule

if TYPE_CHECKING:
    from gafcnn.models.classifier import GafClassifier

LOGGERS = {
    "csv": "CSVLogger",
    "tensorboard": "TensorBoardLogger",
    "mlflow": "MLFlowLogger",
    "wandb": "WandbLogger",
}
"""Lightning's loggers by name."""

log = logging.getLogger(__name__)


def fit(
    model: GafClassifier, module: GafModule, data: GafDataModule, device: Device
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Train a network, or resume its training; afterwards it has the weights of its best epoch.

    The other processes of a shared training exit at its end.

    Args:
        model: The parameters of the training.
        module: The network.
        data: The samples.
        device: The device to train on.

    Returns:
        Losses and metrics of each epoch; and the facts of the training, as plain data.

    Raises:
        LearningError: No epoch had a finite metric, or a checkpoint does not fit.
        ConfigError: Lightning does not accept an option.
        DiskError: The disk is full.
    """
    folder = None if model.folder is None else Path(model.folder)
    names = ["val/loss", *module.val_metrics.keys()]
    if model.monitor not in names or model.monitor_mode not in ("min", "max"):
        raise ConfigError(
            f"monitor={model.monitor} with monitor_mode={model.monitor_mode}",
            expected=f"one of {', '.join(names)}, and min or max",
            instead="set monitor=val/loss and monitor_mode=min",
        )
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False  # it has a handler of its own, so each line would come twice
    start, precision = _resume(folder, module)
    if model.precision != "auto" or precision is None:
        kind = module.hparams["network"]["kind"]
        precision = choose_precision(model.precision, device, kind)
    module.description["precision"] = precision
    epochs = EpochLog()
    best = BestEpoch(model.monitor, model.monitor_mode, model.patience, folder)
    with warnings.catch_warnings():
        for advice in (
            r"module\(s\) in eval mode",  # frozen stages are, on purpose
            "treespec, LeafSpec",  # a name of torch that Lightning uses
        ):
            warnings.filterwarnings("ignore", f".*{advice}.*")
        trainer = _trainer(model, folder, device, precision, [epochs, best])
        if model.compile:  # in place: the names in a checkpoint stay those of the plain network
            module.network.compile(mode=None if model.compile is True else model.compile)
        _run(trainer, module, data, start)
    for logger in trainer.loggers:
        # a run of Weights & Biases ends here; otherwise the next training would continue it
        getattr(getattr(logger, "experiment", None), "finish", lambda: None)()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        if trainer.global_rank > 0:
            raise SystemExit(0)
    if not best.epoch:
        raise LearningError(
            f"no epoch had a finite {model.monitor}",
            expected="a finite validation metric after at least one epoch",
            instead="lower lr, or set max_epochs to 1 or more",
        )
    # the best epoch may have been before a resume
    module.load_state_dict(
        best.state or load_plain(Path(folder or "") / BEST, REMEDY)["state_dict"]
    )
    module.eval()
    facts = {
        "epochs": len(epochs.rows),
        "best_epoch": best.epoch,
        "steps": trainer.global_step,
        **epochs.throughput,
        "device": device.name,
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
        "precision": precision,
    }
    return epochs.rows, facts


def _resume(folder: Path | None, module: GafModule) -> tuple[Path | None, Any]:
    """Return the newest intact checkpoint of this training and its precision; None for none."""
    # the best checkpoint is as complete as the last one
    for path in () if folder is None else (folder / LAST, folder / BEST):
        if not path.is_file():
            continue
        try:
            checkpoint = load_plain(path, REMEDY)
        except LearningError as damage:
            log.warning("%s: resuming from an earlier checkpoint", damage.found)
            continue
        stored = checkpoint.get(DESCRIPTION, {})
        before, now = (
            {**one.get("parameters", {}), "samples": one.get("samples")}
            for one in (stored, module.description)
        )
        if other := [name for name, value in now.items() if before.get(name) != value]:
            raise LearningError(
                f"{path} is of a training with {other[0]}={before.get(other[0])}",
                expected=f"{other[0]}={now[other[0]]}, as in this one",
                instead="use another folder, or delete the checkpoints",
            )
        log.info("resuming after epoch %d, from %s", checkpoint["epoch"] + 1, path)
        return path, stored["precision"]
    return None, None


def _trainer(
    model: GafClassifier,
    folder: Path | None,
    device: Device,
    precision: Any,
    callbacks: list[Callback],
) -> lightning.Trainer:
    loggers = _create_loggers(model.loggers or {}, folder)
    if (bar := model.progress) is None:
        bar = Console().is_terminal or Console().is_jupyter
    callbacks = [EpochSeed(model.seed), *callbacks]
    callbacks += [RichProgressBar()] if bar else []
    callbacks += [LearningRateMonitor(logging_interval="epoch")] if loggers else []
    if model.average_weights is not None:
        callbacks.append(AveragedWeights(model.average_weights))
    # not Slurm, whose tasks Lightning would take for processes of this training
    launched = TorchElasticEnvironment.detect()
    environment = TorchElasticEnvironment() if launched else LightningEnvironment()
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if launched else model.devices
    nodes = int(os.environ["WORLD_SIZE"]) // int(os.environ["LOCAL_WORLD_SIZE"]) if launched else 1
    try:
        return lightning.Trainer(
            accelerator=device.kind,
            devices=here,
            num_nodes=nodes,
            strategy=model.strategy,
            precision=precision,
            max_epochs=model.max_epochs,
            use_distributed_sampler=False,  # `Batches` gives each process its part
            sync_batchnorm=device.kind == "cuda",
            plugins=[environment, AtomicCheckpoints()],
            callbacks=callbacks,
            logger=loggers or False,
            enable_checkpointing=False,  # which `BestEpoch` does
            default_root_dir=folder,
            enable_progress_bar=bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(
            f"Lightning does not accept the trainer's options ({' '.join(str(error).split())})",
            expected="options that Lightning documents, and devices that are available",
            instead="correct them, or set trainer=default",
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


def _run(
    trainer: lightning.Trainer, module: GafModule, data: GafDataModule, start: Path | None
) -> None:
    """Train from the start, or from a checkpoint."""
    try:
        trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
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
