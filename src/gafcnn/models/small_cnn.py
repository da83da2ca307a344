"""A small convolutional network: few parameters learn more from a weak signal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from gafcnn.errors import LearningError
from gafcnn.models.networks import register_network


@register_network("small_cnn", lr=1e-3, weight_decay=0.05, batch_size=256)
class SmallCNN(nn.Module):
    """A few convolutions, a flattened head and dropout; no pooling.

    A pixel of a GAF image stands for a pair of *times*, so its position matters: the head sees
    every position, and nothing is pooled. With the default layers the network has 2,000 to 100,000
    parameters, depending on `width`.

    Args:
        channels: Channels of an image.
        outputs: Logits per image.
        size: Pixels per side, at least the product of the strides.
        width: Number of filters that `multiples` refers to.
        multiples: Filters of each convolution, as a multiple of `width`.
        strides: Stride of each convolution; 1 keeps the size.
        kernel: Kernel size of every convolution. An odd kernel is padded, so that without a stride
            it keeps the size; an even kernel is not padded and removes `kernel - 1` pixels.
        hidden: Units between the flattened features and the logits; 0 for none.
        dropout: Share of the flattened features that is dropped in training.

    Raises:
        LearningError: The image is too small.
        ValueError: The lists differ in length.
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
        filters = [channels, *(width * multiple for multiple in multiples)]
        padding = kernel // 2 if kernel % 2 else 0
        remaining = size
        for stride in strides:
            remaining = (remaining + 2 * padding - kernel) // stride + 1
        if remaining < 1 or size < math.prod(strides):
            raise LearningError(
                f"images.size={size} is too small for strides of {list(strides)} with a kernel of "
                f"{kernel}",
                expected=f"more pixels per side than the {math.prod(strides)} that they merge",
                instead="set a larger images.size, or smaller model.network.strides",
            )
        features = filters[-1] * remaining * remaining
        self.features = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, kernel, stride, padding, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(inplace=True),
                )
                for before, after, stride in zip(filters[:-1], filters[1:], strides, strict=True)
            )
        )
        between = [nn.Linear(features, hidden), nn.ReLU(inplace=True)] if hidden else []
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout), *between, nn.Linear(hidden or features, outputs)
        )

    @property
    def cam_layer(self) -> nn.Module:
        """The layer that Grad-CAM weighs: the last one that still has positions."""
        return self.features[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape (n, outputs) for images of shape (n, channels, size, size)."""
        return self.head(self.features(images))
