"""One training shared by several processes, a device each: which they are, and how they meet.

Either Lightning starts them - the first runs the command, and calls the others once it has made
all that a training needs - or torchrun does, all at once, and the others wait for the first.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cache

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from gafcnn.errors import LearningError
from gafcnn.models.devices import Device

DDP = "ddp"
FREE = 2  # processes that a CPU may have, however few its cores
_SUMMONS, _TRAIN, _NOTHING = "summons", "train", "nothing"


@dataclass(frozen=True)
class Processes:
    """The processes of one training, as one of them sees them.

    Attributes:
        rank: Which of them this is, from 0. The first leads: it alone writes, and predicts.
        count: How many there are, on all nodes.
        devices: Of this node, as Lightning takes them: how many, or which.
        nodes: How many machines they are on.
    """

    rank: int = 0
    count: int = 1
    devices: int | list[int] = 1
    nodes: int = 1

    def summon(self, *, needed: bool) -> None:
        """Tell the others, where they wait, that all is made and they are needed, or are not."""
        if self.count > 1 and TorchElasticEnvironment.detect():
            _store(self.rank, self.count).set(_SUMMONS, _TRAIN if needed else _NOTHING)

    def summoned(self) -> bool:
        """Wait for the first process to have made all; whether this one is needed."""
        if not TorchElasticEnvironment.detect():
            return True  # Lightning starts it only then
        store = _store(self.rank, self.count)
        while not store.check([_SUMMONS]):
            time.sleep(0.1)
        return store.get(_SUMMONS).decode() == _TRAIN


ALONE = Processes()


@cache  # the first process may be the one that keeps it
def _store(rank: int, count: int) -> Store:
    return next(rendezvous("env://", rank, count))[0]


def environment() -> ClusterEnvironment:
    """What tells Lightning of the processes: torchrun, or Lightning itself, and no other.

    Of Slurm, Lightning would take the tasks for processes of a training, and its signals for its
    own: a second way of being started again.
    """
    return TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()


def processes_of(strategy: str | None, devices: int | str | list[int], device: Device) -> Processes:
    """The processes that `trainer.strategy` and `trainer.devices` ask for, seen from this one.

    Args:
        strategy: `ddp` for several processes, else None or `auto`.
        devices: How many, which, or in a word all: of the GPUs, or what torchrun started.
        device: What they compute on.

    Raises:
        LearningError: There are not so many devices, torchrun started another number, or there are
            to be several without `ddp`.
    """
    launched = TorchElasticEnvironment.detect()
    started = int(os.environ["WORLD_SIZE"]) if launched else 1
    if started > 1 and strategy != DDP:
        raise LearningError(
            f"torchrun started {started} processes, and trainer.strategy={strategy or 'auto'}",
            expected=f"trainer.strategy={DDP}, of a network, for a training that is shared",
            instead="set trainer=ddp, or start the command with python alone",
        )
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if launched else _there(device)
    asked = here if isinstance(devices, str) else devices
    count = asked if isinstance(asked, int) else len(asked)
    if launched and count != here:
        raise LearningError(
            f"torchrun started {here} processes on this node, and trainer.devices={devices}",
            expected="one process a device",
            instead="leave trainer.devices=auto, or start as many",
        )
    _check_there(asked, device)
    if launched:
        return Processes(int(os.environ["RANK"]), started, asked, started // here)
    if count > 1 and strategy != DDP:
        raise LearningError(
            f"trainer.devices={devices} and trainer.strategy={strategy or 'auto'}",
            expected=f"one device, or trainer.strategy={DDP} for a training that is shared",
            instead="set trainer=ddp",
        )
    rank = int(os.environ.get("LOCAL_RANK", 0)) if count > 1 else 0
    return Processes(rank, count, asked)


def _there(device: Device) -> int:
    """How many devices of a kind there are; of a CPU one is enough."""
    return torch.cuda.device_count() if device.kind == "cuda" else 1


def _check_there(asked: int | list[int], device: Device) -> None:
    if device.kind == "cpu":
        if isinstance(asked, list):
            raise LearningError(
                f"trainer.devices={asked} on {device.name}",
                expected="how many processes, for those of a CPU are not told apart",
                instead=f"set trainer.devices={len(asked)}",
            )
        if asked > (most := max(os.cpu_count() or 1, FREE)):
            raise LearningError(
                f"trainer.devices={asked} on a CPU of {os.cpu_count()} cores",
                expected=f"{most} processes at most",
                instead=f"set trainer.devices={most}, or fewer",
            )
        return
    there = _there(device)
    if (max(asked) if isinstance(asked, list) else asked - 1) >= there:
        raise LearningError(
            f"trainer.devices={asked}, where there {'is' if there == 1 else 'are'} {there} of "
            f"{device.name}",
            expected="devices that are there, by their number or a list that counts from 0",
            instead="set trainer.devices=auto with trainer=ddp, which takes them all, or =1",
        )
