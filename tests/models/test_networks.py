from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import resnet18

from gafcnn.errors import GafcnnError, LearningError
from gafcnn.models.architectures import GafResNet18, SmallCNN
from gafcnn.models.module import GafModule
from gafcnn.models.networks import NETWORKS, build_network, register_network, training_defaults


@pytest.mark.parametrize(("width", "least", "most"), [(6, 2_000, 3_000), (32, 50_000, 100_000)])
def test_the_width_of_small_cnn_sets_its_parameters(width: int, least: int, most: int) -> None:
    count = sum(p.numel() for p in SmallCNN(width=width).parameters())
    assert least <= count <= most


@pytest.mark.parametrize("size", [8, 15, 32, 64])
def test_small_cnn_accepts_any_size_from_eight(size: int) -> None:
    network = build_network("small_cnn", channels=3, outputs=2, size=size)
    assert network(torch.zeros(5, 3, size, size)).shape == (5, 2)


def test_an_even_kernel_removes_a_pixel() -> None:
    """The network of Chen and Tsai (2020): 10 pixels, 16 filters twice, 128 hidden units."""
    network = SmallCNN(4, 9, 10, 16, multiples=[1, 1], strides=[1, 1], kernel=2, hidden=128)
    assert network.features(torch.zeros(3, 4, 10, 10)).shape == (3, 16, 8, 8)
    weights = 4 * 16 * 4 + 16 * 16 * 4 + 4 * 16  # kernels, BatchNorm
    assert sum(p.numel() for p in network.parameters()) == weights + 1025 * 128 + 129 * 9


def test_small_cnn_sees_positions() -> None:
    """With global pooling both images would have the same logit."""
    torch.manual_seed(0)
    network = SmallCNN().eval()
    here, there = torch.zeros(2, 1, 2, 64, 64)
    here[..., :16, :16] = 1
    there[..., 32:48, 32:48] = 1
    assert not torch.allclose(network(here), network(there))


@pytest.mark.parametrize(
    ("kind", "options", "found"),
    [
        ("resnet19", {}, "resnet19"),
        ("small_cnn", {"depth": 3}, "depth"),
        ("small_cnn", {"size": 4}, "images.size=4"),
        ("small_cnn", {"size": 2, "multiples": [1, 1], "strides": [1, 1], "kernel": 2}, "size=2"),
        ("small_cnn", {"multiples": [1, 2]}, "small_cnn"),
        ("small_cnn", {"strides": [2, 0, 2]}, "small_cnn"),
        ("small_cnn", {"width": "wide"}, "small_cnn"),
        ("resnet18", {"freeze": ("layer9",)}, "layer9"),
        ("resnet18", {"size": 16}, "images.size=16"),
    ],
)
def test_invalid_options_are_named(kind: str, options: dict[str, Any], found: str) -> None:
    with pytest.raises(GafcnnError, match=found):
        build_network(kind, **options)


def test_own_networks_are_registered_with_their_training_defaults() -> None:
    @register_network("linear", lr=0.5, batch_size=8)
    def linear(channels: int, outputs: int, size: int, bias: bool = True) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(channels * size**2, outputs, bias=bias)
        )

    assert training_defaults("linear") == {"lr": 0.5, "weight_decay": 0.05, "batch_size": 8}
    module = GafModule({"kind": "linear", "channels": 2, "outputs": 1, "size": 4, "bias": False})
    assert module(torch.zeros(3, 2, 4, 4)).tolist() == [0, 0, 0]
    assert {"small_cnn", "resnet18", "linear"} <= set(NETWORKS)
    assert training_defaults("resnet18") == {"lr": 1e-4, "weight_decay": 1e-5, "batch_size": 64}


def test_outputs_of_another_shape_are_named() -> None:
    @register_network("flat")
    def flat(channels: int, outputs: int, size: int) -> torch.nn.Module:
        return torch.nn.Flatten(0)

    module = GafModule({"kind": "flat", "channels": 1, "outputs": 1, "size": 2})
    with pytest.raises(LearningError, match=r"flat returned shape \(12,\); .* here \(3, 1\)"):
        module(torch.zeros(3, 1, 2, 2))


# --- ResNet18 -------------------------------------------------------------------------------------


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Random weights where torchvision looks for the downloaded ones."""
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(7)
    state = resnet18().state_dict()
    torch.save(state, folder / "resnet18-f37072fd.pth")
    return state


def test_only_the_first_convolution_and_the_head_differ_from_torchvision() -> None:
    network = GafResNet18()
    assert sum(p.numel() for p in network.parameters()) == 11_239_425
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 10_565_889
    ours, theirs = network.state_dict(), resnet18().state_dict()
    assert {name.split(".")[0] for name in ours.keys() ^ theirs.keys()} == {"fc"}
    other = {n for n in ours.keys() & theirs.keys() if ours[n].shape != theirs[n].shape}
    assert other == {"conv1.weight"}


@pytest.mark.parametrize("stages", [("layer1", "layer2"), ("conv1", "bn1", "layer1"), ()])
def test_frozen_stages_stay_bit_identical_through_training_steps(stages: tuple[str, ...]) -> None:
    """Freezing gradients alone would let BatchNorm statistics change."""
    torch.manual_seed(0)
    network, images = GafResNet18(freeze=stages), torch.rand(4, 2, 64, 64) * 2 - 1
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        network.eval()
        network.train()  # as the trainer does around each validation
        optimizer.zero_grad()
        network(images).sum().backward()
        optimizer.step()
    after = network.state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"} - set(stages)


def test_weights_are_averaged_over_colours(
    downloaded: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(downloaded, tmp_path / "own.pth")
    mean = downloaded["conv1.weight"].mean(dim=1)
    same = [n for n in downloaded if n.split(".")[0] not in ("conv1", "fc")]
    for weights, channels in (("imagenet", 3), (str(tmp_path / "own.pth"), 2)):
        network = GafResNet18(channels)
        network.load_pretrained(weights)
        loaded = network.state_dict()
        for channel in range(channels):
            torch.testing.assert_close(loaded["conv1.weight"][:, channel], mean)
        assert all(torch.equal(loaded[name], downloaded[name]) for name in same)


def test_weights_need_three_channels_or_those_of_the_network(
    downloaded: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path, own = tmp_path / "own.pth", torch.randn(64, 16, 7, 7)
    torch.save(downloaded | {"conv1.weight": own}, path)
    network = GafResNet18(channels=16)
    network.load_pretrained(str(path))
    assert torch.equal(network.state_dict()["conv1.weight"], own)
    with pytest.raises(LearningError, match="for the 2 of these images"):
        GafResNet18(channels=2).load_pretrained(str(path))


def test_a_failed_download_leaves_the_network_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # a port where nothing listens
    network = GafResNet18()
    before = network.conv1.weight.clone()
    with pytest.raises(LearningError, match=r"model\.weights=<path.*=null") as caught:
        network.load_pretrained("imagenet")
    assert "resnet18-f37072fd.pth" in str(caught.value)
    assert torch.equal(network.conv1.weight, before)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, r"own\.pth.*No such file"),
        (b"PK\x03\x04 not a checkpoint", r"own\.pth cannot be read"),
        ({"layer1.weight": torch.zeros(1)}, "do not fit at"),
        *((torch.zeros(shape), r"own.pth do not fit at conv1.weight \(1 tensors")
          for shape in ((64, 3, 3, 3), (32, 3, 7, 7), (64, 147))),
    ],
)  # fmt: skip
def test_unsuitable_weights_are_rejected(
    content: Any, found: str, downloaded: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "own.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        of_conv1 = isinstance(content, torch.Tensor)
        torch.save(downloaded | {"conv1.weight": content} if of_conv1 else content, path)
    with pytest.raises(LearningError, match=found):
        GafResNet18(channels=12).load_pretrained(str(path))
