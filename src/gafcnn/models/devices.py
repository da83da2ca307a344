"""The device of a training, and its precision.

    device                               precision="auto"
    CUDA with bf16 (Ampere and later)    bf16-mixed
    CUDA without, MPS, any other         32-true
    CPU with AMX, AMD with avx512_bf16   bf16-mixed for `FASTER_IN_BF16`, else 32-true
    CPU without                          32-true

On an Intel CPU, avx512_bf16 alone gains nothing: it has half the ports of float32 products, so a
step of resnet18 takes longer than in float32.

`bf16-mixed` is autocast (Micikevicius et al., "Mixed Precision Training", ICLR 2018, with bfloat16
in place of float16): products in bfloat16; weights, sums and the optimiser in float32. It has the
range of float32, needs no scaling of the loss, and continues on any device. `16-mixed` does not, so
it is used only if it is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from gafcnn.errors import LearningError

FASTER_IN_BF16 = frozenset({"resnet18"})
"""Networks that bf16 makes clearly faster on a CPU with units for it (AMD Zen 4: 1.5 times; AMX:
twice). Some layers of small_cnn gain and others lose: it stays in float32."""


class Device(NamedTuple):
    """A device to compute on.

    Attributes:
        kind: The accelerator, as Lightning and torch name it: `cpu`, `cuda`, `mps`.
        name: A description.
        bf16: Whether it has units for products in bfloat16.
    """

    kind: str
    name: str
    bf16: bool


def find_device(accelerator: str) -> Device:
    """Return the device that an accelerator stands for on this machine; of GPUs, the first.

    Args:
        accelerator: `auto` is CUDA, else MPS, else the CPU; `gpu` is CUDA, else MPS; or a name.

    Raises:
        LearningError: This machine has none.
    """
    available = [
        *["cuda"] * torch.cuda.is_available(), *["mps"] * torch.backends.mps.is_available(), "cpu",
    ]  # fmt: skip
    choices = {"auto": available, "gpu": ["cuda", "mps"]}.get(accelerator, [accelerator])
    kind = next((kind for kind in available if kind in choices), None)
    if kind is None:
        raise LearningError(
            f"trainer.accelerator={accelerator}, but torch finds no such device",
            expected=f"one of auto, {', '.join(available)}",
            instead="set trainer.accelerator=auto, or install a torch for the device",
        )
    if kind == "cpu":
        return cpu_device(getattr(torch.cpu, "get_capabilities", dict)())  # torch >= 2.7
    if kind == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device(kind, f"CUDA {torch.cuda.get_device_name()}", bf16)
    return Device(kind, kind.upper(), bf16=False)


def cpu_device(capabilities: Mapping[str, Any]) -> Device:
    """Return the CPU with the given capabilities, see `torch.cpu.get_capabilities`."""
    units = [name for name in ("amx_bf16", "avx512_bf16") if capabilities.get(name)]
    if not units or (units == ["avx512_bf16"] and "Intel" in capabilities.get("cpu_name", "")):
        return Device("cpu", "a CPU without bf16 matrix units", bf16=False)
    return Device("cpu", f"a CPU with bf16 matrix units ({', '.join(units)})", bf16=True)


def choose_precision(precision: str | int | None, device: Device, network: str) -> Any:
    """Return the precision of a training, with `auto` resolved.

    Args:
        precision: `auto`, or a precision of Lightning.
        device: The device.
        network: The name of the network.

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
