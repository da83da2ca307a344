from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from gafcnn.errors import LearningError
from gafcnn.models.networks import build_network
from gafcnn.models.resnet import GafResNet18


def images(n: int = 4, channels: int = 2, size: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((n, channels, size, size), generator=generator) * 2 - 1


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


def test_parameter_counts() -> None:
    network = GafResNet18()
    assert sum(p.numel() for p in network.parameters()) == 11_239_425
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 10_565_889


def test_only_the_first_convolution_and_the_head_differ_from_torchvision() -> None:
    ours, theirs = GafResNet18().state_dict(), resnet18().state_dict()
    different = ours.keys() ^ theirs.keys()
    assert {name.split(".")[0] for name in different} == {"fc"}
    assert {n for n in ours.keys() & theirs.keys() if ours[n].shape != theirs[n].shape} == {
        "conv1.weight"
    }


@pytest.mark.parametrize("stages", [("layer1", "layer2"), ("conv1", "bn1", "layer1"), ()])
def test_frozen_stages_stay_bit_identical_through_training_steps(stages: tuple[str, ...]) -> None:
    """Freezing gradients alone would let BatchNorm statistics change."""
    torch.manual_seed(0)
    network = GafResNet18(freeze=stages)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        network.eval()
        network.train()  # as the trainer does around each validation
        optimizer.zero_grad()
        network(images()).sum().backward()
        optimizer.step()
    after = network.state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"} - set(stages)


def test_imagenet_weights_are_averaged_over_colours(downloaded: dict[str, torch.Tensor]) -> None:
    network = GafResNet18(channels=3)
    network.load_pretrained("imagenet")
    loaded = network.state_dict()
    mean = downloaded["conv1.weight"].mean(dim=1)
    for channel in range(3):
        torch.testing.assert_close(loaded["conv1.weight"][:, channel], mean)
    same = [n for n in downloaded if n.split(".")[0] not in ("conv1", "fc")]
    assert same
    assert all(torch.equal(loaded[name], downloaded[name]) for name in same)


def test_weights_from_a_path(downloaded: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save(downloaded, path)
    network = GafResNet18()
    network.load_pretrained(str(path))
    loaded = network.state_dict()["layer4.1.conv2.weight"]
    assert torch.equal(loaded, downloaded["layer4.1.conv2.weight"])


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


def test_unsuitable_weights_are_rejected(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pth"
    with pytest.raises(LearningError, match=r"missing\.pth.*No such file"):
        GafResNet18().load_pretrained(str(missing))

    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(LearningError, match=r"damaged\.pth cannot be read"):
        GafResNet18().load_pretrained(str(damaged))

    other = tmp_path / "other.pth"
    torch.save({"layer1.weight": torch.zeros(1)}, other)
    with pytest.raises(LearningError, match="do not fit at"):
        GafResNet18().load_pretrained(str(other))


@pytest.mark.parametrize("shape", [(64, 3, 3, 3), (32, 3, 7, 7), (64, 147)])
def test_a_first_convolution_of_another_shape_is_rejected(
    downloaded: dict[str, torch.Tensor], tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "own.pth"
    torch.save(downloaded | {"conv1.weight": torch.zeros(shape)}, path)
    with pytest.raises(LearningError, match=r"own.pth do not fit at conv1.weight \(1 tensors"):
        GafResNet18(channels=12).load_pretrained(str(path))


def test_unknown_stages_and_small_images_are_rejected() -> None:
    with pytest.raises(LearningError, match="layer9"):
        build_network("resnet18", freeze=("layer9",))
    with pytest.raises(LearningError, match="images.size=16"):
        GafResNet18(size=16)
