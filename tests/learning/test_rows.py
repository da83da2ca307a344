"""What is said of a sample does not depend on what stands beside it, to the last bit."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from gafcnn.models.convolutions import Packed
from gafcnn.models.module import GafModule
from gafcnn.models.rows import ROWS, EvenSequential, evenly

NETWORKS: list[dict[str, Any]] = [
    {"name": "small_cnn", "size": 16, "width": 4},
    {"name": "small_cnn", "size": 64},
    {"name": "small_cnn", "size": 32, "kernel": 1, "strides": [1, 2, 2]},
    {"name": "small_cnn", "size": 24, "outputs": 9, "hidden": 24, "kernel": 2},
    {"name": "resnet18", "size": 64},
    {"name": "resnet18", "size": 48, "outputs": 3},
]


def images(n: int, size: int, channels: int = 2, seed: int = 0) -> Tensor:
    """As they are stored: whole numbers from -127 to 127, over 127."""
    drawn = torch.randint(-127, 128, (n, channels, size, size), generator=seeded(seed))
    return drawn.float() / 127


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(options: dict[str, Any]) -> GafModule:
    """A network all of whose values have moved from where they begin."""
    torch.manual_seed(0)
    module = GafModule({"channels": 2, "outputs": 1, **options}).eval()
    with torch.no_grad():
        for value in module.network.state_dict().values():
            if value.dtype == torch.float32 and value.ndim == 1:
                value.add_(torch.rand(value.shape, generator=seeded(len(value))))
    return module


def predicted(module: GafModule, rows: Tensor, at_a_time: int) -> Tensor:
    with torch.inference_mode():
        parts = [module.predict_step((some, some), 0) for some in rows.split(at_a_time)]
    return torch.cat(parts)


@pytest.mark.parametrize(
    "options", NETWORKS, ids=lambda options: f"{options['name']}-{options['size']}"
)
def test_a_sample_alone_is_given_what_it_is_given_in_any_batch(
    options: dict[str, Any], last_bit: float
) -> None:
    module, rows = network(options), images(75, options["size"])
    together = predicted(module, rows, 64)  # the last batch is of 11
    for at_a_time in (1, 2, 5, 31, 48, 75):
        n = min(8 * at_a_time, 75)
        some = predicted(module, rows[:n], at_a_time)
        assert_close(some, together[:n], rtol=0, atol=last_bit)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_nothing_to_a_sample(threads: int, last_bit: float) -> None:
    module, rows = network(NETWORKS[1]), images(40, 64)
    before = torch.get_num_threads()
    together = predicted(module, rows, 40)
    try:
        torch.set_num_threads(threads)
        assert_close(predicted(module, rows, 1), together, rtol=0, atol=last_bit)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("size", [32, 64])
def test_a_folded_resnet_predicts_the_very_same(size: int, last_bit: float) -> None:
    module, rows = network({"name": "resnet18", "size": size}), images(5, size)
    before = predicted(module, rows, 5)
    module.fold()
    assert not any(isinstance(part, nn.BatchNorm2d) for part in module.network.modules())
    assert_close(predicted(module, rows, 5), before, rtol=0, atol=last_bit)
    assert_close(predicted(module, rows, 1), before, rtol=0, atol=last_bit)


@pytest.mark.parametrize(("size", "channels"), [(32, 2), (32, 6), (48, 2), (64, 2)])
def test_a_packed_resnet_says_of_a_sample_alone_what_it_says_in_a_batch(
    size: int, channels: int, last_bit: float
) -> None:
    options = {"name": "resnet18", "size": size, "channels": channels}
    rows = images(40, size, channels)
    plain, together, alone = (network(options) for _ in range(3))
    together.pack()
    alone.pack()
    assert sum(isinstance(part, Packed) for part in alone.network.modules()) == 20
    # the first call decides how weights are laid out: of one for single samples, of one for many
    batch, single = predicted(together, rows, 32), predicted(alone, rows, 1)
    assert_close(single, batch, rtol=0, atol=last_bit)
    for at_a_time in (2, 3, 7):
        assert_close(predicted(alone, rows, at_a_time), batch, rtol=0, atol=last_bit)
    assert_close(batch, predicted(plain, rows, 40), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [2, 6])
def test_a_map_of_one_pixel_is_that_of_a_batch_as_well(channels: int, last_bit: float) -> None:
    module = network({"name": "resnet18", "size": 32, "channels": channels})
    rows = images(60, 32, channels)
    together = predicted(module, rows, 60)
    for at_a_time in (1, 2, 3, 5):
        assert_close(predicted(module, rows, at_a_time), together, rtol=0, atol=last_bit)


def test_a_packed_network_is_copied_loaded_and_packed_again() -> None:
    module, rows = network({"name": "resnet18", "size": 32}), images(2, 32)
    module.pack()
    before = predicted(module, rows, 2)
    assert torch.equal(predicted(deepcopy(module), rows, 2), before)
    assert torch.equal(predicted(pickle.loads(pickle.dumps(module)), rows, 2), before)
    module.pack()
    assert torch.equal(predicted(module, rows, 2), before)
    another = {name: 1.5 * value for name, value in module.state_dict().items()}
    module.load_state_dict(another)
    fresh = deepcopy(module)
    assert torch.equal(predicted(module, rows, 2), predicted(fresh, rows, 2))
    assert not torch.equal(predicted(module, rows, 2), before)


def test_a_network_that_has_nothing_to_fold_stays_as_it_is(last_bit: float) -> None:
    module, rows = network(NETWORKS[0]), images(3, 16)
    names = list(module.state_dict())
    before = predicted(module, rows, 3)
    module.fold()
    assert list(module.state_dict()) == names
    assert_close(predicted(module, rows, 3), before, rtol=0, atol=last_bit)


@settings(max_examples=20)
@given(n=st.integers(1, 3 * ROWS))
def test_rows_are_made_even_and_those_added_are_dropped(n: int) -> None:
    seen: list[int] = []

    def compute(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x.sigmoid()

    x = torch.linspace(-3, 3, n)
    with torch.no_grad():
        assert evenly(compute, x).shape == (n,)
    assert seen[0] % ROWS == 0
    assert seen[0] - n < ROWS


def test_where_something_is_learned_no_row_is_added() -> None:
    layers = EvenSequential(nn.Flatten(), nn.BatchNorm1d(8)).train()
    x = torch.randn(3, 2, 4, generator=seeded(0))
    plain = nn.functional.batch_norm(x.flatten(1), None, None, training=True)
    assert_close(layers(x), plain)
