"""ResNet18 over GAF images: any number of channels, stages that are frozen and stay frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet, ResNet18_Weights

from gafcnn.errors import LearningError
from gafcnn.models.checkpoints import load_plain
from gafcnn.models.convolutions import fold, normed
from gafcnn.models.rows import EvenSequential

RGB = 3
STAGES = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")


class Block(BasicBlock):
    """torchvision's block of two convolutions, each computed with the BatchNorm after it."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps of shape (n, channels, height, width), of the stage after the block's stride."""
        y = self.relu(normed(x, self.conv1, self.bn1))
        y = normed(y, self.conv2, self.bn2)
        if self.downsample is not None:
            x = normed(x, *self.downsample.children())  # pyright: ignore[reportArgumentType]
        y += x
        return self.relu(y)

    def fold(self) -> None:
        """Make each convolution and its BatchNorm one, in place, to predict alone."""
        fold(self, "conv1", "bn1")
        fold(self, "conv2", "bn2")
        if self.downsample is not None:
            fold(self.downsample, "0", "1")


class GafResNet18(ResNet):
    """torchvision's ResNet18 (He et al. 2015) with its first convolution and its head replaced.

    Names and values of its state dict are the plain network's, and so are its results; some of them
    are computed faster (see `gafcnn.models.convolutions`).

    With two channels, one output and the default `freeze` it has 11,239,425 parameters, 10,565,889
    of them trainable.

    Args:
        channels: Channels of an image; 2 for GASF and GADF of one field.
        outputs: Logits per image; 1 for a direction.
        size: Pixels a side. Any size of at least 32 is taken: the last stage pools what is left.
        freeze: Stages that keep their parameters *and* their BatchNorm statistics.

    Raises:
        LearningError: For a stage that ResNet18 does not have, or an image smaller than its stem.
    """

    def __init__(
        self,
        channels: int = 2,
        outputs: int = 1,
        size: int = 64,
        freeze: Sequence[str] = ("layer1", "layer2"),
    ) -> None:
        if unknown := sorted(set(freeze) - set(STAGES)):
            raise LearningError(
                f"model.network.freeze names {unknown[0]!r}",
                expected=f"stages among {', '.join(STAGES)}",
                instead="correct the name, or freeze nothing with model.network.freeze=[]",
            )
        if size < 32:
            raise LearningError(
                f"images.size={size} leaves nothing after ResNet18's five halvings",
                expected="at least 32 pixels a side",
                instead="set images.size=64 or take model=small_cnn",
            )
        super().__init__(Block, [2, 2, 2, 2])
        self.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.fc = classifier(512, outputs)  # pyright: ignore[reportAttributeAccessIssue]
        self.frozen = tuple(freeze)
        for stage in self.frozen:
            self.get_submodule(stage).requires_grad_(requires_grad=False)
        self.train()

    @property
    def cam_layer(self) -> nn.Module:
        """The layer whose maps Grad-CAM weighs: of 64 pixels 8 x 8, not the 2 x 2 of the end."""
        return self.layer2

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (n, outputs) for images of shape (n, channels, size, size)."""
        x = normed(x, self.conv1, self.bn1)
        # the largest of what is left above zero is what is left of the largest: a quarter of the
        # work, and the same gradients
        x = self.relu(self.maxpool(x))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(self.avgpool(x).flatten(1))

    def fold(self) -> None:
        """Make each convolution and its BatchNorm one, in place, to predict alone."""
        fold(self, "conv1", "bn1")
        for module in self.modules():
            if isinstance(module, Block):
                module.fold()

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Set the mode of all stages but the frozen ones.

        `requires_grad=False` alone would let BatchNorm's running statistics move, and a single
        `.eval()` would be undone by the trainer's next `.train()`.
        """
        super().train(mode)
        for stage in self.frozen:
            self.get_submodule(stage).eval()
        return self


def classifier(features: int, outputs: int) -> nn.Sequential:
    """Dropout(0.5), Linear to 128, ReLU, BatchNorm, Dropout(0.3), Linear to the logits."""
    return EvenSequential(
        nn.Dropout(0.5),
        nn.Linear(features, 128),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(128),
        nn.Dropout(0.3),
        nn.Linear(128, outputs),
    )


def load_pretrained(network: GafResNet18, weights: str) -> None:
    """Start all stages but the head from ResNet18 weights, in place.

    Weights for three channels are of colours: every channel of the first convolution starts from
    their mean. Weights for as many channels as the network has are taken as they are.

    Args:
        network: The network to fill.
        weights: `imagenet` for torchvision's IMAGENET1K_V1 (downloaded once into TORCH_HOME), or
            the path of a state dict with torchvision's ResNet18 names.

    Raises:
        LearningError: Where the weights cannot be had or do not fit. Never a silent random start.
    """
    state = _imagenet() if weights == "imagenet" else _read_state(Path(weights))
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    if (first := state.get("conv1.weight")) is not None and first.ndim == 4:
        state["conv1.weight"] = _for_channels(first, network.conv1.in_channels, weights)
    wanted = {n: v for n, v in network.state_dict().items() if not n.startswith("fc.")}
    wrong = sorted(set(wanted) ^ set(state)) or [
        name for name, value in wanted.items() if value.shape != state[name].shape
    ]
    if wrong:
        raise LearningError(
            f"the weights {weights} do not fit at {wrong[0]} ({len(wrong)} tensors in all)",
            expected="a state dict of torchvision's ResNet18",
            instead="set model.weights=imagenet or the path of such a file",
        )
    network.load_state_dict(state, strict=False)


def _for_channels(first: Tensor, channels: int, weights: str) -> Tensor:
    """The first convolution's weights, of shape (64, channels, 7, 7)."""
    known = first.shape[1]
    if known == RGB:
        return first.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1)
    if known != channels:
        raise LearningError(
            f"the weights {weights} are for images of {known} channels",
            expected=f"weights for {RGB} (colours) or for {channels}, as these images have",
            instead="take the images.fields and images.kinds that they were trained on, or "
            "model.weights=imagenet",
        )
    return first


def _imagenet() -> dict[str, Tensor]:
    enum = ResNet18_Weights.IMAGENET1K_V1
    try:
        return dict(enum.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise LearningError(
            f"the ImageNet weights of ResNet18 could not be fetched ({error})",
            expected=f"{Path(enum.url).name} in {torch.hub.get_dir()}/checkpoints, or a network",
            instead="set model.weights=<path of that file>, or =null for a random start",
        ) from error


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise LearningError(
            f"model.weights={path} is not a file",
            expected="a state dict of torchvision's ResNet18",
            instead="correct the path, or set model.weights=imagenet or model.weights=null",
        )
    state = load_plain(path, "fetch the file again, or set model.weights=imagenet")
    if not isinstance(state, Mapping):
        raise LearningError(
            f"model.weights={path} holds a {type(state).__name__}",
            expected="a state dict of torchvision's ResNet18",
            instead="take such a file, or set model.weights=imagenet",
        )
    return dict(state)
