"""What a training is computed on, and in which precision.

    device                               where trainer.precision=auto
    CUDA with bf16 (Ampere and later)    bf16-mixed
    CUDA without, MPS, any other         32-true
    CPU with AMX, AMD's with avx512_bf16 bf16-mixed for the networks of `GAIN_ON_CPU`, else 32-true
    CPU without                          32-true

On an Intel CPU avx512_bf16 alone gains nothing: it has half the ports of float32's products, so
that a step of resnet18 takes longer there than in float32.

`bf16-mixed` is autocast (Micikevicius et al., "Mixed Precision Training", ICLR 2018, with bfloat16
in place of float16): products in bfloat16, weights, sums and the optimiser in float32. It has the
range of float32, needs no scaling of the loss, and goes on on any device. float16 does not: where
that is all a GPU has units for, a training is in float32 unless `16-mixed` is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.accelerators import AcceleratorRegistry

from gafcnn.errors import LearningError

AUTO = "auto"
PRECISIONS = (
    "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true",
    "transformer-engine", "transformer-engine-float16", 64, 32, 16, "64", "32", "16", "bf16", None,
)  # fmt: skip
"""What `trainer.precision` may say besides `auto`: all that Lightning takes."""

FULL, BFLOAT = "32-true", "bf16-mixed"
HALF = ("16-mixed", 16, "16")

GAIN_ON_CPU = frozenset({"resnet18"})
"""Networks that bf16 makes markedly faster on a CPU with units for it (AMD Zen 4: half as fast
again; AMX: twice as fast). Of small_cnn, some layers gain and others lose: it stays in float32."""

# the first of them that is there
_MEANT = {AUTO: ("cuda", "mps", "cpu"), "gpu": ("cuda", "mps")}


@dataclass(frozen=True)
class Device:
    """What a training is computed on.

    Attributes:
        kind: The accelerator, as Lightning names it: `cpu`, `cuda`, `mps`.
        name: What it is, for a line that goes on with the precision.
        bf16: Whether it has units for products in bfloat16.
    """

    kind: str
    name: str
    bf16: bool


def best_precision(device: Device, network: str) -> str:
    """What `trainer.precision=auto` stands for on a device.

    Args:
        device: What the training is computed on.
        network: Its name, a key of `gafcnn.models.networks.NETWORKS`.
    """
    gains = device.kind == "cuda" or (device.kind == "cpu" and network in GAIN_ON_CPU)
    return BFLOAT if device.bf16 and gains else FULL


def accelerators() -> tuple[str, ...]:
    """What `trainer.accelerator` may say: all that Lightning takes."""
    return (*_MEANT, *sorted(AcceleratorRegistry.available_accelerators()))


def find_device(accelerator: str) -> Device:
    """The device that an accelerator stands for on this machine.

    Of several GPUs, the first speaks for all.

    Args:
        accelerator: One of `accelerators()`; `auto` is CUDA, else MPS, else the CPU, and `gpu` is
            CUDA, else MPS.

    Raises:
        LearningError: There is none.
    """
    known = AcceleratorRegistry.available_accelerators()
    there = {name for name in known if AcceleratorRegistry[name]["accelerator"].is_available()}
    kind = choose(accelerator, there)
    if kind == "cpu":
        # a torch that does not tell yet has none, and is no slower for it
        return cpu_of(getattr(torch.cpu, "get_capabilities", dict)())
    if kind == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device(kind, f"CUDA {torch.cuda.get_device_name()}", bf16)
    return Device(kind, kind.upper(), bf16=False)


def choose(accelerator: str, there: Collection[str]) -> str:
    """The kind of device that is meant, of those that are there.

    Raises:
        LearningError: None of them is.
    """
    meant = _MEANT.get(accelerator, (accelerator,))
    for kind in meant:
        if kind in there:
            return kind
    raise LearningError(
        f"trainer.accelerator={accelerator}, but torch sees no "
        f"{' or '.join(kind.upper() for kind in meant)} device",
        expected="one, with its driver and a torch that is built for it",
        instead="set trainer=default, which takes what there is",
    )


def cpu_of(capabilities: Mapping[str, Any]) -> Device:
    """A CPU by what it is capable of, see `torch.cpu.get_capabilities`.

    Not by `torch.ops.mkldnn._is_mkldnn_bf16_supported`, which is true of every CPU with AVX-512:
    without units of its own it computes in bfloat16 more slowly than in float32.
    """
    units = [name for name in ("amx_bf16", "avx512_bf16") if capabilities.get(name)]
    if not units or (units == ["avx512_bf16"] and "Intel" in capabilities.get("cpu_name", "")):
        return Device("cpu", "a CPU without bf16 matrix units", bf16=False)
    return Device("cpu", f"a CPU with bf16 matrix units ({', '.join(units)})", bf16=True)


def check_precision(precision: str | int | None, device: Device) -> None:
    """Assert that a training on this device would be in the precision that it says.

    Raises:
        LearningError: It would not: Lightning would take bfloat16 for float16 on a CPU.
    """
    if device.kind == "cpu" and precision in HALF:
        raise LearningError(
            f"trainer.precision={precision} on a CPU, where torch does not mix in float16",
            expected=f"{BFLOAT} or {FULL}, or a GPU",
            instead=f"set trainer.precision={AUTO}, in a study of its own (study=...) where the "
            "run has begun on a GPU",
        )
