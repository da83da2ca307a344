"""The networks of the library: a small one, and ResNet18 for GAF images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet, ResNet18_Weights
from torchvision.ops import Conv2dNormActivation

from gafcnn.errors import LearningError
from gafcnn.models.networks import register_network

RGB = 3


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
                f"images.size={size} is too small for strides={list(strides)} and kernel={kernel}",
                expected=f"more pixels per side than the {math.prod(strides)} that they merge",
                instead="set a larger images.size, or smaller model.network.strides",
            )
        features = filters[-1] * remaining * remaining
        layers = [
            Conv2dNormActivation(before, after, kernel, stride, padding)
            for before, after, stride in zip(filters[:-1], filters[1:], strides, strict=True)
        ]
        self.features = nn.Sequential(*layers)
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


@register_network("resnet18", lr=1e-4, weight_decay=1e-5, batch_size=64)
class GafResNet18(ResNet):
    """torchvision's ResNet18 (He et al. 2015) with another first convolution and another head.

    With two channels, one output and the default `freeze` it has 11,239,425 parameters, 10,565,889
    of them trainable. Its state dict has torchvision's names.

    Args:
        channels: Channels of an image; 2 for GASF and GADF of one field.
        outputs: Logits per image; 1 for a direction.
        size: Pixels per side, at least 32.
        freeze: Stages among conv1, bn1, layer1, layer2, layer3 and layer4 that keep their
            parameters *and* their BatchNorm statistics.

    Raises:
        LearningError: The image is too small.
        AttributeError: ResNet18 has no such stage.
    """

    def __init__(
        self,
        channels: int = 2,
        outputs: int = 1,
        size: int = 64,
        freeze: Sequence[str] = ("layer1", "layer2"),
    ) -> None:
        if size < 32:
            raise LearningError(
                f"images.size={size} is too small for ResNet18, which halves it five times",
                expected="at least 32 pixels per side",
                instead="set images.size=64, or model=small_cnn",
            )
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.fc = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(512, 128),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(128),
            nn.Dropout(0.3),
            nn.Linear(128, outputs),
        )  # pyright: ignore[reportAttributeAccessIssue]
        self.frozen = tuple(freeze)
        for stage in self.frozen:
            self.get_submodule(stage).requires_grad_(requires_grad=False)
        self.train()

    @property
    def cam_layer(self) -> nn.Module:
        """The layer that Grad-CAM weighs: 8 x 8 for 64 pixels, where the last one has 2 x 2."""
        return self.layer2

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Set the mode of all stages except the frozen ones.

        `requires_grad=False` alone would let the running statistics of BatchNorm change, and the
        trainer's `.train()` would undo a single `.eval()`.
        """
        super().train(mode)
        for stage in self.frozen:
            self.get_submodule(stage).eval()
        return self

    def load_pretrained(self, weights: str) -> None:
        """Load ResNet18 weights into all stages except the head.

        Weights for three channels are for colours: every channel of the first convolution starts
        from their mean. Weights for as many channels as the network has are used as they are.

        Args:
            weights: `imagenet` for torchvision's IMAGENET1K_V1 (downloaded once into TORCH_HOME),
                or the path of a state dict with torchvision's names.

        Raises:
            LearningError: The weights are not available or do not fit.
        """
        from gafcnn.models.module import load_plain  # imports Lightning, which takes seconds

        remedy, enum = "set model.weights to such a file, or to imagenet or null", ResNet18_Weights
        try:
            if weights == "imagenet":
                found = enum.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
            else:
                found = load_plain(Path(weights), remedy)
        except (OSError, RuntimeError) as error:
            file = Path(enum.IMAGENET1K_V1.url).name
            raise LearningError(
                f"the ImageNet weights of ResNet18 could not be downloaded ({error})",
                expected=f"{file} in {torch.hub.get_dir()}/checkpoints, or a network",
                instead="set model.weights=<path of that file>, or =null for random weights",
            ) from error
        found = found if isinstance(found, Mapping) else {}
        state = {name: value for name, value in found.items() if not name.startswith("fc.")}
        channels, first = self.conv1.in_channels, state.get("conv1.weight")
        if first is not None and first.shape[1] == RGB:
            state["conv1.weight"] = first.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1)
        own = {n: v.shape for n, v in self.state_dict().items() if not n.startswith("fc.")}
        wrong = sorted(own.keys() ^ state.keys()) or [n for n in own if own[n] != state[n].shape]
        if wrong:
            raise LearningError(
                f"the weights {weights} do not fit at {wrong[0]} ({len(wrong)} tensors in all)",
                expected=f"a state dict of torchvision's ResNet18 for {RGB} channels (colours), or "
                f"for the {channels} of these images",
                instead="set model.weights=imagenet, or the path of such a file",
            )
        self.load_state_dict(state, strict=False)
