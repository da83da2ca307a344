from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import lightning
import pytest
import torch
from lightning.fabric.plugins.precision.precision import _PRECISION_INPUT

from gafcnn.errors import LearningError
from gafcnn.models.devices import (
    PRECISIONS,
    Device,
    accelerators,
    best_precision,
    check_precision,
    choose,
    cpu_of,
    find_device,
)
from gafcnn.models.module import GafModule
from gafcnn.models.networks import NETWORKS

SMALL = {"name": "small_cnn", "channels": 2, "outputs": 1, "size": 16, "width": 4}


@pytest.mark.parametrize(
    ("kind", "bf16", "network", "precision"),
    [
        ("cuda", True, "resnet18", "bf16-mixed"),
        ("cuda", True, "small_cnn", "bf16-mixed"),
        ("cuda", True, "another", "bf16-mixed"),
        ("cuda", False, "resnet18", "32-true"),
        ("cuda", False, "small_cnn", "32-true"),
        ("cuda", False, "another", "32-true"),
        ("cpu", True, "resnet18", "bf16-mixed"),
        ("cpu", True, "small_cnn", "32-true"),
        ("cpu", True, "another", "32-true"),
        ("cpu", False, "resnet18", "32-true"),
        ("cpu", False, "small_cnn", "32-true"),
        ("cpu", False, "another", "32-true"),
        ("mps", False, "resnet18", "32-true"),
        ("mps", False, "small_cnn", "32-true"),
        ("tpu", False, "resnet18", "32-true"),
    ],
)
def test_the_best_precision_of_each_device_and_network(
    kind: str, bf16: bool, network: str, precision: str
) -> None:
    assert best_precision(Device(kind, "", bf16), network) == precision
    assert {"resnet18", "small_cnn"} == set(NETWORKS)  # a new one is to be measured, and told here


@pytest.mark.parametrize(
    ("accelerator", "there", "kind"),
    [
        ("auto", ["cpu"], "cpu"),
        ("auto", ["cpu", "cuda"], "cuda"),
        ("auto", ["cpu", "mps"], "mps"),
        ("auto", ["cpu", "mps", "cuda"], "cuda"),
        ("gpu", ["cpu", "cuda"], "cuda"),
        ("gpu", ["cpu", "mps"], "mps"),
        ("cpu", ["cpu", "cuda"], "cpu"),
        ("cuda", ["cpu", "cuda"], "cuda"),
        ("mps", ["cpu", "mps"], "mps"),
        ("tpu", ["cpu", "tpu"], "tpu"),
    ],
)
def test_an_accelerator_is_the_first_that_is_meant_and_there(
    accelerator: str, there: list[str], kind: str
) -> None:
    assert choose(accelerator, there) == kind


@pytest.mark.parametrize(
    ("accelerator", "named"), [("gpu", "CUDA or MPS"), ("cuda", "CUDA"), ("mps", "MPS")]
)
def test_a_device_that_is_not_there_is_named(accelerator: str, named: str) -> None:
    with pytest.raises(LearningError) as caught:
        choose(accelerator, ["cpu"])
    assert str(caught.value) == (
        f"trainer.accelerator={accelerator}, but torch sees no {named} device; expected one, with "
        "its driver and a torch that is built for it; set trainer=default, which takes what there "
        "is."
    )


@pytest.mark.parametrize(
    ("capabilities", "name", "bf16"),
    [
        ({}, "a CPU without bf16 matrix units", False),
        # has AVX-512 but no units for bf16: mkldnn calls it supported, and emulates
        ({"avx512_f": True, "avx512_bf16": False}, "a CPU without bf16 matrix units", False),
        ({"neon": True, "bf16": True}, "a CPU without bf16 matrix units", False),
        ({"avx512_bf16": True}, "a CPU with bf16 matrix units (avx512_bf16)", True),
        (
            {"avx512_bf16": True, "cpu_name": "AMD EPYC"},
            "a CPU with bf16 matrix units (avx512_bf16)",
            True,
        ),
        # half the ports of float32: no gain
        (
            {"avx512_bf16": True, "cpu_name": "Intel Xeon"},
            "a CPU without bf16 matrix units",
            False,
        ),
        (
            {"amx_bf16": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"},
            "a CPU with bf16 matrix units (amx_bf16, avx512_bf16)",
            True,
        ),
        (
            {"amx_tile": True, "amx_bf16": True, "avx512_bf16": True},
            "a CPU with bf16 matrix units (amx_bf16, avx512_bf16)",
            True,
        ),
    ],
)
def test_a_cpu_is_told_by_its_units(capabilities: dict[str, Any], name: str, bf16: bool) -> None:
    assert cpu_of(capabilities) == Device("cpu", name, bf16)


def test_the_cpu_of_this_machine_is_as_the_system_tells() -> None:
    told = Path("/proc/cpuinfo")
    if not told.is_file():
        pytest.skip("a system that does not tell of its processor in a file")
    words = set(told.read_text().split())
    units = {"amx_bf16"} if "GenuineIntel" in words else {"amx_bf16", "avx512_bf16"}
    assert find_device("cpu").bf16 == bool(units & words)
    assert find_device("auto").kind in ("cpu", "cuda", "mps")


def test_what_lightning_takes_is_allowed() -> None:
    strings = {name for part in get_args(_PRECISION_INPUT) for name in get_args(part)}
    assert set(PRECISIONS) - {None} == strings
    assert {"auto", "gpu", "cpu", "cuda", "mps"} <= set(accelerators())
    for precision in ("32-true", "bf16-mixed", None):
        quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False}
        made = lightning.Trainer(accelerator="cpu", devices=1, precision=precision, **quiet)
        assert made.precision == precision or (precision is None and made.precision == "32-true")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_half_precision_is_not_taken_for_another_on_a_cpu(precision: Any) -> None:
    check_precision(precision, Device("cuda", "", bf16=True))
    if precision in ("16-mixed", "16", 16):
        with pytest.raises(LearningError, match=f"trainer.precision={precision} on a CPU, where"):
            check_precision(precision, Device("cpu", "", bf16=True))
    else:
        check_precision(precision, Device("cpu", "", bf16=True))


def test_a_compiled_network_keeps_the_names_and_the_numbers_of_the_plain_one() -> None:
    torch.manual_seed(0)
    plain = GafModule(SMALL).eval()
    compiled = GafModule(SMALL).eval()
    compiled.network.compile(backend="eager")  # traced, and not translated: that takes minutes
    compiled.load_state_dict(plain.state_dict())
    assert list(compiled.state_dict()) == list(plain.state_dict())
    images = torch.rand(3, 2, 16, 16) * 2 - 1
    with torch.no_grad():
        assert torch.equal(compiled(images), plain(images))
