"""A small convolutional network: where the signal is faint, few parameters learn more of it."""

from __future__ import annotations

from torch import Tensor, nn

from gafcnn.errors import LearningError


class SmallCNN(nn.Module):
    """Three strided convolutions, a flatten head, strong dropout; no pooling.

    A pixel of a GAF image means a pair of *times*, so where a thing stands matters: the head sees
    every position (flatten), and nothing is pooled away. 2,000 to 100,000 parameters by `width`.

    Args:
        channels: Channels of an image.
        outputs: Logits per image.
        size: Pixels a side, at least 8.
        width: Filters of the first convolution; the next two have twice as many.
        dropout: Share of the flattened features that is dropped in training.

    Raises:
        LearningError: For an image too small to be halved three times.
    """

    def __init__(
        self,
        channels: int = 2,
        outputs: int = 1,
        size: int = 64,
        width: int = 8,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if size < 8:
            raise LearningError(
                f"images.size={size} cannot be halved three times",
                expected="at least 8 pixels a side for model=small_cnn",
                instead="set images.size=32",
            )
        left = size
        for _ in range(3):
            left = (left + 1) // 2
        self.features = nn.Sequential(
            halve(channels, width), halve(width, 2 * width), halve(2 * width, 2 * width)
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(2 * width * left * left, outputs)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n, outputs) for images of shape (n, channels, size, size)."""
        return self.head(self.features(images))


def halve(channels: int, filters: int) -> nn.Sequential:
    """A convolution that halves both sides (rounding up), BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )
