from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from gafcnn.errors import LearningError
from gafcnn.models.devices import Device
from gafcnn.models.processes import Processes, environment, processes_of

CPU = Device("cpu", "a CPU without bf16 matrix units", bf16=False)
GPU = Device("cuda", "CUDA H100", bf16=True)
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _two_gpus_and_no_torchrun(monkeypatch: Patch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def by_torchrun(monkeypatch: Patch, rank: int, here: int, world: int) -> None:
    given = {"TORCHELASTIC_RUN_ID": "x", "RANK": rank, "LOCAL_RANK": rank % here}
    for name, value in {**given, "LOCAL_WORLD_SIZE": here, "WORLD_SIZE": world}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    ("strategy", "devices", "device", "processes"),
    [
        (None, 1, CPU, Processes(0, 1, 1)),
        ("auto", "auto", CPU, Processes(0, 1, 1)),
        ("auto", [1], GPU, Processes(0, 1, [1])),
        ("ddp", "auto", CPU, Processes(0, 1, 1)),
        ("ddp", 3, CPU, Processes(0, 3, 3)),
        ("ddp", "auto", GPU, Processes(0, 2, 2)),
        ("ddp", [1, 0], GPU, Processes(0, 2, [1, 0])),
    ],
)
def test_processes_are_as_many_as_devices(
    strategy: str | None, devices: Any, device: Device, processes: Processes
) -> None:
    assert processes_of(strategy, devices, device) == processes
    assert isinstance(environment(), LightningEnvironment)


def test_a_process_that_lightning_started_knows_its_rank(monkeypatch: Patch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    second = processes_of("ddp", 2, CPU)
    assert second == Processes(1, 2, 2)
    assert second.summoned()  # or it would not be there
    assert processes_of("auto", 1, CPU) == Processes()  # alone, whoever left that name behind


def test_torchrun_says_how_many_there_are(monkeypatch: Patch) -> None:
    by_torchrun(monkeypatch, rank=5, here=4, world=8)
    assert processes_of("ddp", "auto", CPU) == Processes(5, 8, 4, 2)
    assert processes_of("ddp", 4, CPU) == Processes(5, 8, 4, 2)
    with pytest.raises(LearningError, match="trainer.devices=4, where there are 2 of CUDA H100"):
        processes_of("ddp", "auto", GPU)
    assert isinstance(environment(), TorchElasticEnvironment)
    with pytest.raises(LearningError) as caught:
        processes_of("ddp", 2, CPU)
    assert str(caught.value) == (
        "torchrun started 4 processes on this node, and trainer.devices=2; expected one process a "
        "device; leave trainer.devices=auto, or start as many."
    )
    with pytest.raises(LearningError) as caught:
        processes_of("auto", 1, CPU)
    assert str(caught.value) == (
        "torchrun started 8 processes, and trainer.strategy=auto; expected trainer.strategy=ddp, "
        "of a network, for a training that is shared; set trainer=ddp, or start the command with "
        "python alone."
    )


def test_torchrun_may_start_one_or_those_of_a_list(monkeypatch: Patch) -> None:
    by_torchrun(monkeypatch, rank=0, here=1, world=1)
    assert processes_of("auto", 1, GPU) == Processes()
    assert processes_of("ddp", "auto", GPU) == Processes(0, 1, 1)
    by_torchrun(monkeypatch, rank=1, here=2, world=2)
    assert processes_of("ddp", [1, 0], GPU) == Processes(1, 2, [1, 0])


@pytest.mark.parametrize(
    ("strategy", "devices", "device", "told"),
    [
        (
            "auto", 2, CPU,
            "trainer.devices=2 and trainer.strategy=auto; expected one device, or trainer.strategy="
            "ddp for a training that is shared; set trainer=ddp.",
        ),
        (
            "ddp", 4, GPU,
            "trainer.devices=4, where there are 2 of CUDA H100; expected devices that are there, "
            "by their number or a list that counts from 0; set trainer.devices=auto with "
            "trainer=ddp, which takes them all, or =1.",
        ),
        ("ddp", [0, 2], GPU, "trainer.devices=[0, 2], where there are 2 of CUDA H100; expected"),
        (
            "ddp", [0, 1], CPU,
            "trainer.devices=[0, 1] on a CPU without bf16 matrix units; expected how many "
            "processes, for those of a CPU are not told apart; set trainer.devices=2.",
        ),
        (
            "ddp", 5, CPU,
            "trainer.devices=5 on a CPU of 4 cores; expected 4 processes at most; set "
            "trainer.devices=4, or fewer.",
        ),
    ],
)  # fmt: skip
def test_devices_that_cannot_be_had_are_refused(
    strategy: str, devices: Any, device: Device, told: str
) -> None:
    with pytest.raises(LearningError) as caught:
        processes_of(strategy, devices, device)
    assert told in str(caught.value)
