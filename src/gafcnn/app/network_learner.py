"""Learning by a network: images, epochs, checkpoints."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities.exceptions import SIGTERMException
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from gafcnn.app.factory import (
    COMPILE,
    is_baseline,
    load_images,
    load_spec,
    load_window,
    new_module,
    new_predictor,
    new_trainer,
    plain,
    train_weights,
)
from gafcnn.app.runs import BEST, LAST, begun, check_unshared
from gafcnn.atomic_io import check_free_space, disk_error, disk_errors, is_full
from gafcnn.data.augmentation import Drawn
from gafcnn.data.samples import LabelledSamples
from gafcnn.data.sources import Market
from gafcnn.data.windows import WindowReader
from gafcnn.errors import LearningError
from gafcnn.models.callbacks import EpochSeed, StopWhereStopped, Throughput
from gafcnn.models.checkpoints import load_plain
from gafcnn.models.datamodule import GafDataModule, check_batch_size
from gafcnn.models.dataset import Extra
from gafcnn.models.devices import AUTO, best_precision, check_precision, find_device
from gafcnn.models.image_sources import ImageSource
from gafcnn.models.module import GafModule
from gafcnn.models.processes import DDP, Processes, processes_of

_ANEW = "train the run anew with overwrite=true"
_CHUNK = 4096  # drawn samples that are read at a time

log = logging.getLogger(__name__)


class NetworkLearner:
    """A network that learns from a window's images.

    Args:
        cfg: `conf/train.yaml`, composed and `settled`.
        folder: The run's.
        processes: Those that share the training, of which this is one.

    Raises:
        LearningError: The network, its weights or the device cannot be had.
    """

    def __init__(self, cfg: DictConfig, folder: Path, processes: Processes) -> None:
        self._cfg, self._folder, self._processes = cfg, folder, processes
        self._device = find_device(cfg.trainer.accelerator)
        self._module = new_module(cfg)
        self._throughput = Throughput()
        n = processes.count
        shared = f", {n} process{'es' * (n > 1)}" if cfg.trainer.strategy == DDP else ""
        log.info("on %s: %s%s", self._device.name, cfg.trainer.precision, shared)

    def prepare(
        self, markets: Sequence[Market], samples: LabelledSamples, drawn: Sequence[Drawn] = ()
    ) -> None:
        """Make what the training needs, and meet all that can be refused."""
        cfg = self._cfg
        self._module.weigh(train_weights(cfg, samples, drawn))
        # all that is refused comes before images are written
        load_window(cfg, markets[0])
        more = sum(len(part.label) for part in drawn)
        check_batch_size(cfg.model.batch_size, samples, more, self._processes)
        source = load_images(cfg, markets)
        extra = _extra(cfg, markets[0], drawn, source) if drawn else None
        self._data = GafDataModule(
            source,
            samples,
            cfg.model.batch_size,
            cfg.seed,
            extra=extra,
            processes=self._processes,
            pin_memory=self._device.kind == "cuda",
        )
        _quiet_lightning()
        told = [EpochSeed(cfg.seed), StopWhereStopped(), self._throughput]
        self._trainer = new_trainer(cfg, self._folder, self._device, self._processes, told)

    def learn(self) -> NDArray[np.float64]:
        """Train, or go on with it; then predict all samples of validation, then of test."""
        if not (self._folder / LAST).is_file():
            # for the best and the last, and one of them beside its place
            needed = 3 * _checkpoint_bytes(self._module)
            with disk_errors(self._folder, needed):
                check_free_space(self._folder, needed)
        self._processes.summon(needed=True)
        with _known_warnings():
            self._fit()
            at = self._trainer.strategy.root_device.index
            predictor = new_predictor(self._cfg, self._device, 1 if at is None else [at])
            on_cpu, compiled = self._device.kind == "cpu", self._cfg.trainer[COMPILE]
            return _predict(
                predictor,
                self._module,
                self._data,
                self._folder / BEST,
                pack=on_cpu and not compiled,
            )

    def help(self) -> None:
        """Share a training that the first process leads: nothing is written, nothing predicted."""
        with _known_warnings():
            self._fit()

    def facts(self) -> dict[str, Any]:
        """What metrics.json says of the training."""
        # from the checkpoints: a trainer that had only the predictions left counts no epochs
        best, end = (load_plain(self._folder / name, _ANEW) for name in (BEST, LAST))
        return {
            "epochs": end["epoch"] + 1,
            "best_epoch": best["epoch"] + 1,
            "steps": end["global_step"],
            "samples_per_second": self._throughput.samples_per_second,
            "data_wait_share": self._throughput.data_wait_share,
            "device": self._device.name,
            "threads": torch.get_num_threads(),
            "processes": self._processes.count,
            "precision": self._trainer.precision,
        }

    def _fit(self) -> None:
        if how := self._cfg.trainer[COMPILE]:
            # in place: the names in a checkpoint stay those of the plain network
            self._module.network.compile(mode=None if how is True else how)
        _fit(self._trainer, self._module, self._data, self._folder)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # the first goes on alone


def processes_for(cfg: DictConfig) -> Processes:
    """The processes that share the training that `cfg` asks for, seen from this one.

    Raises:
        ConfigError: They are asked for inside a sweep.
        LearningError: They cannot be had.
    """
    if is_baseline(cfg):
        return processes_of(None, 1, find_device("cpu"))
    options = cfg.trainer
    swept = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if swept:
        check_unshared(options.strategy)
    devices = plain(options)["devices"]
    return processes_of(options.strategy, devices, find_device(options.accelerator))


def settled(cfg: DictConfig, folder: Path) -> DictConfig:
    """The configuration with the precision that `auto` stands for, which is a part of the run.

    A run that has begun goes on in the precision that it began with, wherever it goes on.

    Args:
        cfg: `conf/train.yaml`, composed.
        folder: The run's.

    Raises:
        LearningError: There is no such device, or it does not compute in such a precision.
    """
    device, precision = find_device(cfg.trainer.accelerator), cfg.trainer.precision
    if precision == AUTO:
        held = (None if cfg.overwrite else begun(folder)) or {}
        best = best_precision(device, cfg.model.network.name)
        precision = held.get("trainer", {}).get("precision", best)
    check_precision(precision, device)
    return OmegaConf.merge(cfg, {"trainer": {"precision": precision}})  # pyright: ignore[reportReturnType]


def _extra(cfg: DictConfig, market: Market, drawn: Sequence[Drawn], source: ImageSource) -> Extra:
    """Samples that are in no store, kept in memory as the source keeps them."""
    window, fields = load_window(cfg, market), load_spec(cfg).fields
    n, start = sum(len(part.rows) for part in drawn), 0
    kept = np.empty(0)
    for part in drawn:
        read = WindowReader(part.bars, window, fields)
        for rows in np.split(part.rows, range(_CHUNK, len(part.rows), _CHUNK)):
            some = source.kept(read(rows))
            if not start:  # all at once: parts that are joined later would be in memory twice
                kept = np.empty((n, *some.shape[1:]), some.dtype)
                log.info("%s drawn samples take %.0f MB of memory", f"{n:,}", kept.nbytes / 1e6)
            kept[start : start + len(rows)] = some
            start += len(rows)
    return Extra(kept, np.concatenate([part.label for part in drawn]))


def _fit(trainer: lightning.Trainer, module: GafModule, data: GafDataModule, folder: Path) -> None:
    """Train from the start, or from the last whole checkpoint where there is one."""
    start = _whole(folder)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
    except SIGTERMException:  # which would end the process as if all were done
        log.warning("stopped by SIGTERM; the same command goes on where this one was")
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise  # of a queue, say, that stops a job in order to start it again
        raise KeyboardInterrupt from None  # which is what Lightning makes this of
    except OSError as error:  # of a logger: checkpoints say it themselves
        if not is_full(error):
            raise
        raise disk_error(
            Path(error.filename or folder), _checkpoint_bytes(module), error
        ) from error
    except RuntimeError as error:
        if trainer.world_size > 1 and _is_of_another(error):
            raise LearningError(
                "another process that shares the training has ended",
                expected="all of them until the last step",
                instead="give the same command again, which goes on from the last epoch",
            ) from error
        if start is None or trainer.global_step:
            raise
        raise LearningError(
            f"{start} is of another network ({str(error).splitlines()[0]})",
            expected="the checkpoint that an epoch of this run left",
            instead=_ANEW,
        ) from error


def _whole(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run; None where it begins."""
    # the best one holds as much as the last one, of its own epoch
    for path in (folder / LAST, folder / BEST):
        if path.is_file():
            try:
                load_plain(path, _ANEW)
            except LearningError as damage:
                log.warning("%s: going on from an earlier state", damage.found)
            else:
                return path
    return None


def _checkpoint_bytes(module: GafModule) -> int:
    """About how many bytes a checkpoint takes: the network, and AdamW's two moments."""
    trained = sum(p.nbytes for p in module.parameters() if p.requires_grad)
    return 2 * trained + sum(value.nbytes for value in module.state_dict().values())


def _is_of_another(error: Exception) -> bool:
    """Whether an error is that another process can no longer be reached."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def _predict(
    trainer: lightning.Trainer, module: GafModule, data: GafDataModule, best: Path, *, pack: bool
) -> NDArray[np.float64]:
    """Probabilities of all samples of validation, then of test, by the best checkpoint.

    Packed where a decision on the newest bar will be, so that both say the same to the last bit.
    """
    if not best.is_file():
        raise LearningError(
            f"the training left no best checkpoint in {best.parent}",
            expected="a finite validation figure after at least one epoch",
            instead="lower model.lr, or set trainer.max_epochs to 1 or more, with overwrite=true",
        )
    module.load_state_dict(load_plain(best, _ANEW)["state_dict"])
    if pack:
        module.pack()
    parts = trainer.predict(module, datamodule=data)
    return torch.cat([batch for part in parts or [] for batch in part]).double().numpy()


def _quiet_lightning() -> None:
    """Leave the console to what concerns this run."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False  # it has a handler of its own: each line would come twice


@contextmanager
def _known_warnings() -> Iterator[None]:
    """Without the advice that does not hold here."""
    with warnings.catch_warnings():
        # a batch is one gather from a memory map: processes would only copy it once more
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # a resumed run has its folder already, and so it should
        warnings.filterwarnings("ignore", ".*[Cc]heckpoint directory .* exists and is not empty.*")
        # frozen stages are in eval mode on purpose
        warnings.filterwarnings("ignore", ".*module\\(s\\) in eval mode.*")
        # Lightning calls torch by a name that torch is about to drop
        warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")
        yield
