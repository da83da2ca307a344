from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, ResNet

from gafcnn.models.convolutions import as_product, normed
from gafcnn.models.resnet import GafResNet18, classifier


class Plain(ResNet):
    """The network as torchvision computes it."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.conv1 = nn.Conv2d(2, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.fc = classifier(512, 1)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def both(freeze: tuple[str, ...] = ("layer1", "layer2")) -> tuple[GafResNet18, Plain]:
    """The fast and the plain network, of the same weights in float64, all of them moved."""
    torch.manual_seed(0)
    fast, plain = GafResNet18(freeze=freeze).double(), Plain().double()
    state = fast.state_dict()
    for name, value in state.items():
        if name.endswith(("running_mean", "running_var", "bn1.weight", "bn2.bias")):
            value.add_(drawn(*value.shape).abs())
    fast.load_state_dict(state)
    plain.load_state_dict(state)
    for stage in freeze:
        plain.get_submodule(stage).requires_grad_(requires_grad=False)
    return fast, plain


def for_training(plain: Plain, freeze: tuple[str, ...]) -> None:
    plain.train()
    for stage in freeze:
        plain.get_submodule(stage).eval()


def undropped(*networks: nn.Module) -> None:
    for network in networks:
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0


@pytest.mark.parametrize("freeze", [("layer1", "layer2"), ("conv1", "bn1", "layer4"), ()])
def test_fast_and_plain_networks_learn_the_same(freeze: tuple[str, ...]) -> None:
    """Logits, gradients and running statistics, over steps of the optimiser."""
    fast, plain = both(freeze)
    undropped(fast, plain)
    for_training(plain, freeze)
    optimizers = [
        torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1e-2)
        for network in (fast, plain)
    ]
    for seed in range(2):
        x = drawn(2, 2, 64, 64, seed=seed)
        logits = []
        for network, optimizer in zip((fast, plain), optimizers, strict=True):
            optimizer.zero_grad()
            logits.append(network(x))
            logits[-1].square().sum().backward()
            optimizer.step()
        torch.testing.assert_close(logits[0], logits[1], rtol=1e-8, atol=1e-8)
        others = dict(plain.named_parameters())
        for name, value in fast.named_parameters():
            torch.testing.assert_close(value.grad, others[name].grad, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(fast.state_dict(), plain.state_dict(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", [32, 64, 100])
def test_fast_and_plain_networks_predict_the_same(size: int) -> None:
    fast, plain = (network.eval() for network in both())
    x = drawn(3, 2, size, size)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-10, atol=1e-10)


def test_a_checkpoint_of_either_is_one_of_the_other() -> None:
    fast, plain = both()
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert {n: v.shape for n, v in fast.state_dict().items()} == {
        n: v.shape for n, v in plain.state_dict().items()
    }


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 3),
    channels=st.integers(1, 4),
    out=st.integers(1, 4),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    stride=st.integers(1, 3),
    biased=st.booleans(),
)
def test_the_matrix_product_is_the_convolution(
    n: int, channels: int, out: int, height: int, width: int, stride: int, biased: bool
) -> None:
    x = drawn(n, channels, height, width).requires_grad_()
    weight = drawn(out, channels, 3, 3, seed=1).requires_grad_()
    bias = drawn(out, seed=2) if biased else None
    product = as_product(x, weight, bias, stride)
    convolution = functional.conv2d(x, weight, bias, stride, padding=1)
    torch.testing.assert_close(product, convolution)
    upstream = drawn(*product.shape, seed=3)
    torch.testing.assert_close(
        torch.autograd.grad(product, (x, weight), upstream),
        torch.autograd.grad(convolution, (x, weight), upstream),
    )


def test_a_kernel_of_ones_over_two_by_two_sums_them_all() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert as_product(x, torch.ones(1, 1, 3, 3)).tolist() == [[[[10.0, 10.0], [10.0, 10.0]]]]


def norm_of(channels: int, kind: Callable[[int], nn.Module] = nn.BatchNorm2d) -> nn.Module:
    norm = kind(channels).double()
    for number, value in enumerate(norm.state_dict().values()):
        if value.is_floating_point():
            value.copy_(drawn(channels, seed=number).abs() + 0.5)
    return norm


def test_a_batch_norm_that_neither_learns_nor_moves_is_folded() -> None:
    conv, norm = nn.Conv2d(3, 5, 3, padding=1, bias=False).double(), norm_of(5).eval()
    norm.requires_grad_(requires_grad=False)
    called = []
    norm.register_forward_hook(lambda *_: called.append("norm"))
    x = drawn(2, 3, 8, 8)
    folded = normed(x, conv, norm)
    assert not called
    torch.testing.assert_close(folded, norm(conv(x)))
    (of_folded,), (of_plain,) = (
        torch.autograd.grad(y.square().sum(), [conv.weight]) for y in (folded, norm(conv(x)))
    )
    torch.testing.assert_close(of_folded, of_plain)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"padding": 0},
        {"padding": 2, "dilation": 2},
        {"padding": 1, "groups": 4},
        {"padding": 1, "stride": (1, 2)},
        {"padding": 1, "bias": True},
    ],
)
@pytest.mark.parametrize("affine", [True, False])
def test_any_convolution_is_computed_as_it_is_defined(
    options: dict[str, Any], affine: bool
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, **{"bias": False} | options).double()
    norm = nn.BatchNorm2d(8, affine=affine).double()
    norm.running_mean = drawn(8)
    norm.eval()
    for size in (2, 3, 8) if options["padding"] else (3, 8):
        x = drawn(2, 4, size, size)
        with torch.no_grad():
            torch.testing.assert_close(normed(x, conv, norm), norm(conv(x)))


@pytest.mark.parametrize("mode", ["moves", "learns", "is no BatchNorm"])
def test_any_other_norm_is_called_as_it_is(mode: str) -> None:
    conv, norm = nn.Conv2d(3, 5, 3, padding=1, bias=False).double(), norm_of(5).eval()
    if mode == "moves":
        norm.train().requires_grad_(requires_grad=False)
    if mode == "is no BatchNorm":
        norm = nn.GroupNorm(1, 5).double().eval().requires_grad_(requires_grad=False)
    called = []
    norm.register_forward_hook(lambda *_: called.append("norm"))
    normed(drawn(2, 3, 8, 8), conv, norm)
    assert called == ["norm"]
