"""Convolutions and BatchNorms computed as suits their place: the same numbers, sooner.

Two things cost a ResNet over small images more than its arithmetic asks for. On a CPU, libraries of
convolutions take several times as long for maps of 2 x 2 as the one matrix product that such a
convolution is (Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for
Document Processing", 2006). And a BatchNorm that neither learns nor follows its batches is a scale
and a shift for each channel, which the convolution before it can bring along (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018, section 3.2). Results differ from the plain ones by rounding alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase

from gafcnn.models.rows import evenly, only_predicts

SMALL = 4  # pixels of a map, up to which the matrix product is the faster one (2 x 2)
KERNEL = 3
LEAST_ROWS = 4  # of fewer, libraries make a product by an algorithm of its own

_USUAL = (KERNEL, KERNEL), (1, 1), (1, 1), 1
"""Size, padding, dilation and groups of a convolution that may be a matrix product."""


def normed(x: Tensor, conv: nn.Conv2d | Packed, norm: nn.Module) -> Tensor:
    """What the BatchNorm makes of the convolution: `norm(conv(x))`.

    Neither module is called where both are computed at once: hooks belong on the blocks.

    Args:
        x: Maps of shape (n, channels, height, width).
        conv: Any convolution, or a packed one.
        norm: The BatchNorm after it, or another norm, which is called as it is.
    """
    if isinstance(conv, Packed):
        return norm(conv(x))
    if not isinstance(norm, _NormBase) or _changes(norm) or conv.bias is not None:
        return norm(_convolved(x, conv, conv.weight, conv.bias))
    weight, bias = _folded(conv, norm)
    return _convolved(x, conv, weight, bias)


def fold(parent: nn.Module, conv: str, norm: str) -> None:
    """Replace a convolution and the BatchNorm after it by the one convolution that both are.

    In place, once, and for predictions alone: what `normed` computes of them is the same to the
    last bit, without folding anew each time. For a single sample that took longer than its
    convolutions.

    Args:
        parent: The module that both belong to.
        conv: The convolution's name there.
        norm: The BatchNorm's, which stays as a module that does nothing.
    """
    both = getattr(parent, conv), getattr(parent, norm)
    if isinstance(both[1], nn.Identity):
        return
    with torch.no_grad():
        weight, bias = _folded(*both)
    both[0].weight = nn.Parameter(weight, requires_grad=False)
    both[0].bias = nn.Parameter(bias, requires_grad=False)
    setattr(parent, norm, nn.Identity())


class Packed(nn.Module):
    """A convolution to predict with on a CPU, its weights laid out once as oneDNN reads them.

    Otherwise oneDNN lays them out anew at every call, which of a single sample takes as long as the
    convolution, and of small maps several times as long. They are laid out at the first call, for
    maps of that size; other sizes are as right, and slow.

    Args:
        conv: Any convolution.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self._laid_out: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what is laid out, which is of this process."""
        return super().__getstate__() | {"_laid_out": None}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._laid_out = None
        super()._load_from_state_dict(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """What the convolution makes of maps of shape (n, channels, height, width)."""
        conv = self.conv
        if not _is_for_onednn(x):
            return _convolved(x, conv, conv.weight, conv.bias)
        how = conv.padding, conv.stride, conv.dilation, conv.groups
        if self._laid_out is None:
            lay_out = torch._C._nn.mkldnn_reorder_conv2d_weight  # pyright: ignore[reportAttributeAccessIssue]
            self._laid_out = lay_out(conv.weight.to_mkldnn(), *how, [*x.shape])
        # what torch.compile makes of a convolution whose weights do not change
        convolve = torch.ops.mkldnn._convolution_pointwise
        return convolve(x, self._laid_out, conv.bias, *how, "none", [], "")


def pack(network: nn.Module) -> None:
    """Replace each convolution of a network by its packed one, in place, where it is not yet."""
    for parent in [module for module in network.modules() if not isinstance(module, Packed)]:
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, Packed(child))


class Convolution(nn.Conv2d):
    """A convolution that a sample alone goes through as it goes through in a batch."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        return _as_in_a_batch(input, self, weight, bias)


def as_product(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """The convolution of a 3 x 3 kernel over maps padded by 1, as one matrix product.

    Args:
        x: Maps of shape (n, channels, height, width); fastest where they are channels_last.
        weight: Kernels of shape (out, channels, 3, 3), likewise.
        bias: Of shape (out,).
        stride: Pixels from one window to the next.
    """
    kernels = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
    windows = _windows(x, stride)
    rows = evenly(partial(_product, kernels, bias), windows.flatten(0, 2), LEAST_ROWS)
    return rows.unflatten(0, windows.shape[:3]).permute(0, 3, 1, 2)


def _product(kernels: Tensor, bias: Tensor | None, windows: Tensor) -> Tensor:
    return functional.linear(windows, kernels, bias)


def _windows(x: Tensor, stride: int) -> Tensor:
    """What each position of the kernel sees: shape (n, rows, columns, 9 * channels)."""
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    height, width = x.shape[2:]
    rows, columns = (
        [slice(first, first + length, stride) for first in range(KERNEL)]
        for length in (height, width)
    )
    return torch.cat([padded[:, row, column] for row in rows for column in columns], dim=-1)


def _changes(norm: _NormBase) -> bool:
    """Whether it learns, follows its batches, or has nothing that could be folded."""
    learns = torch.is_grad_enabled() and any(p.requires_grad for p in norm.parameters())
    return norm.training or learns or not (norm.affine and norm.track_running_stats)


def _folded(conv: nn.Conv2d, norm: _NormBase) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that both are.

    Computed anew each time, in microseconds: nothing has to be kept in step with the modules.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def _convolved(x: Tensor, conv: nn.Conv2d, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if x.device.type == "cpu" and _is_small(x, conv):
        return as_product(x, weight, bias, conv.stride[0])
    return _as_in_a_batch(x, conv, weight, bias)


def _as_in_a_batch(x: Tensor, conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution, by oneDNN however few samples there are, see `gafcnn.models.rows`."""
    how = conv.stride, conv.padding, conv.dilation, conv.groups
    if _is_for_onednn(x):
        stride, padding, dilation, groups = how
        return torch.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups)  # pyright: ignore[reportArgumentType]
    return functional.conv2d(x, weight, bias, *how)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _is_for_onednn(x: Tensor) -> bool:
    floats = only_predicts(x) and x.dtype == torch.float32
    return floats and torch.backends.mkldnn.is_available()


def _is_small(x: Tensor, conv: nn.Conv2d) -> bool:
    height, width = (-(-length // conv.stride[0]) for length in x.shape[2:])
    usual = (conv.kernel_size, conv.padding, conv.dilation, conv.groups) == _USUAL
    return usual and conv.stride[0] == conv.stride[1] and height * width <= SMALL
