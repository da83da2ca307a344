"""A small convolutional network: where the signal is faint, few parameters learn more of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from gafcnn.errors import LearningError
from gafcnn.models.convolutions import Convolution
from gafcnn.models.rows import EvenSequential


class SmallCNN(nn.Module):
    """A few convolutions, a flatten head, dropout; no pooling.

    A pixel of a GAF image means a pair of *times*, so where a thing stands matters: the head sees
    every position (flatten), and nothing is pooled away. With the default layers it has 2,000 to
    100,000 parameters by `width`.

    Args:
        channels: Channels of an image.
        outputs: Logits per image.
        size: Pixels a side, at least the product of the strides.
        width: What the filters of the layers are multiples of.
        multiples: For each convolution, its filters as a multiple of `width`.
        strides: For each convolution, by what it divides both sides; 1 leaves them.
        kernel: Pixels a side of every convolution's kernel. An odd one is padded, so that without
            a stride it leaves the size; an even one is not, and takes `kernel - 1` pixels off.
        hidden: Units between the flattened features and the logits; 0 for none.
        dropout: Share of the flattened features that is dropped in training.

    Raises:
        LearningError: The layers are described by lists of two lengths, or by something that is no
            positive whole number, or the image is too small for them.
    """

    def __init__(
        self,
        channels: int = 2,
        outputs: int = 1,
        size: int = 64,
        width: int = 8,
        multiples: Sequence[int] = (1, 2, 2),
        strides: Sequence[int] = (2, 2, 2),
        kernel: int = 3,
        hidden: int = 0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _check(multiples, strides, kernel)
        filters = [channels, *(width * multiple for multiple in multiples)]
        left = _sides_left(size, strides, kernel)
        features = filters[-1] * left * left
        self.features = nn.Sequential(
            *(
                convolution(before, after, kernel, stride)
                for before, after, stride in zip(filters, filters[1:], strides, strict=False)
            )
        )
        between = [nn.Linear(features, hidden), nn.ReLU(inplace=True)] if hidden else []
        self.head = EvenSequential(
            nn.Flatten(), nn.Dropout(dropout), *between, nn.Linear(hidden or features, outputs)
        )

    @property
    def cam_layer(self) -> nn.Module:
        """The layer whose maps Grad-CAM weighs: the last before every place goes its own way."""
        return self.features[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n, outputs) for images of shape (n, channels, size, size)."""
        return self.head(self.features(images))


def convolution(channels: int, filters: int, kernel: int, stride: int) -> nn.Sequential:
    """A convolution, BatchNorm, ReLU."""
    return nn.Sequential(
        Convolution(channels, filters, kernel, stride, padding=_padding(kernel), bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )


def _padding(kernel: int) -> int:
    return kernel // 2 if kernel % 2 else 0


def _check(multiples: Sequence[int], strides: Sequence[int], kernel: int) -> None:
    whole = all(type(number) is int and number > 0 for number in (*multiples, *strides, kernel))
    if not whole or not len(multiples) == len(strides) > 0:
        raise LearningError(
            f"model.network.multiples={list(multiples)} and strides={list(strides)} with "
            f"kernel={kernel} describe no layers",
            expected="two lists of one length, of whole numbers of 1 or more, and such a kernel",
            instead="write model.network.multiples=[1,2,2] and model.network.strides=[2,2,2], say",
        )


def _sides_left(size: int, strides: Sequence[int], kernel: int) -> int:
    """Pixels a side after all convolutions.

    Raises:
        LearningError: There are none, or fewer to begin with than the strides divide by.
    """
    least = max(math.prod(strides), _before(1, strides, kernel))
    if size < least:
        raise LearningError(
            f"images.size={size} is too small for small_cnn's strides of {list(strides)} with a "
            f"kernel of {kernel}",
            expected=f"at least {least} pixels a side",
            instead=f"set images.size={least} or more, or model.network.strides to smaller ones",
        )
    for stride in strides:
        size = (size + 2 * _padding(kernel) - kernel) // stride + 1
    return size


def _before(left: int, strides: Sequence[int], kernel: int) -> int:
    """Pixels a side before all convolutions, at least, that leave so many after them."""
    for stride in reversed(strides):
        left = (left - 1) * stride + kernel - 2 * _padding(kernel)
    return left
