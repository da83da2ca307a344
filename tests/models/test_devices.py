from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gafcnn.errors import LearningError
from gafcnn.models.devices import Device, choose_precision, cpu_device, find_device


@pytest.mark.parametrize(
    ("kind", "bf16", "network", "precision"),
    [
        ("cuda", True, "resnet18", "bf16-mixed"),
        ("cuda", True, "small_cnn", "bf16-mixed"),
        ("cuda", False, "resnet18", "32-true"),
        ("cpu", True, "resnet18", "bf16-mixed"),
        ("cpu", True, "small_cnn", "32-true"),
        ("cpu", True, "another", "32-true"),
        ("cpu", False, "resnet18", "32-true"),
        ("mps", False, "resnet18", "32-true"),
    ],
)
def test_auto_precision(kind: str, bf16: bool, network: str, precision: str) -> None:
    assert choose_precision("auto", Device(kind, "", bf16), network) == precision


def test_other_precisions_are_passed_on_except_float16_on_a_cpu() -> None:
    for precision in ("16-mixed", "16", 16):
        assert choose_precision(precision, Device("cuda", "", bf16=True), "x") == precision
        with pytest.raises(LearningError, match=f"precision={precision} on a CPU"):
            choose_precision(precision, Device("cpu", "", bf16=True), "x")
    assert choose_precision("64-true", Device("cpu", "", bf16=True), "x") == "64-true"


@pytest.mark.parametrize(
    ("accelerator", "cuda", "mps", "kind"),
    [
        ("auto", False, False, "cpu"),
        ("auto", True, True, "cuda"),
        ("auto", False, True, "mps"),
        ("gpu", False, True, "mps"),
        ("cpu", True, False, "cpu"),
        ("gpu", False, False, None),
        ("cuda", False, True, None),
        ("abacus", True, True, None),
    ],
)
def test_an_accelerator_is_the_first_one_available(
    accelerator: str, cuda: bool, mps: bool, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    if kind is None:
        with pytest.raises(LearningError, match=f"accelerator={accelerator}"):
            find_device(accelerator)
    else:
        assert find_device(accelerator).kind == kind


@pytest.mark.parametrize(
    ("capabilities", "bf16"),
    [
        ({}, False),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"neon": True, "bf16": True}, False),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, False),  # half the ports of float32
        ({"amx_bf16": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, True),
    ],
)
def test_a_cpu_gains_from_bf16_by_its_units(capabilities: dict[str, Any], bf16: bool) -> None:
    assert cpu_device(capabilities).bf16 == bf16


def test_this_cpu_is_recognised() -> None:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        pytest.skip("no /proc/cpuinfo here")
    words = set(path.read_text().split())
    units = {"amx_bf16"} if "GenuineIntel" in words else {"amx_bf16", "avx512_bf16"}
    assert find_device("cpu").bf16 == bool(units & words)
