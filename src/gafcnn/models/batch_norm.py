"""BatchNorm over the whole of a batch that several processes share.

Torch's own (`torch.nn.SyncBatchNorm`) computes on GPUs alone; on the CPU this stands in for it.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from lightning.pytorch.plugins import LayerSync, TorchSyncBatchNorm
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def shared_batch_norm(kind: str) -> LayerSync:
    """What makes a network's BatchNorm one over all processes, on such a device."""
    return _OnTheCPU() if kind == "cpu" else TorchSyncBatchNorm()


class _OnTheCPU(LayerSync):
    def apply(self, model: nn.Module) -> nn.Module:
        """Give each BatchNorm another forward, which leaves its class and its state as they are."""
        for norm in _norms(model):
            norm.forward = MethodType(_shared_forward, norm)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Take it away again."""
        for norm in _norms(model):
            del norm.forward
        return model


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def _shared_forward(norm: _BatchNorm, values: Tensor) -> Tensor:
    """BatchNorm's forward; in training with the mean and the variance over all processes.

    Args:
        norm: The layer, which keeps running statistics.
        values: Of shape (n, channels, ...), n of them in this process.
    """
    if not norm.training:
        return type(norm).forward(norm, values)
    exact = values.to(torch.promote_types(values.dtype, torch.float32))
    others = [axis for axis in range(values.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(values.ndim)]
    count = _over_all(exact.new_tensor(float(values.numel() // values.shape[1])))
    mean = _over_all(exact.sum(others)) / count
    centred = exact - mean.view(shape)
    variance = _over_all(centred.square().sum(others)) / count
    momentum, unbiased = norm.momentum or 0.0, variance * count / (count - 1)
    pairs = (norm.running_mean, mean), (norm.running_var, unbiased)
    with torch.no_grad():
        for kept, new in pairs:
            if kept is not None:
                kept.lerp_(new.to(kept.dtype), momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return (centred * scale.view(shape) + norm.bias.view(shape)).to(values.dtype)


class _Sum(torch.autograd.Function):
    """A sum over processes, and over what comes back to it from each."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # noqa: ARG004
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def _over_all(own: Tensor) -> Tensor:
    return _Sum.apply(own)  # pyright: ignore[reportReturnType]
