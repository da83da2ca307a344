"""A network that is exported says what it said, in another runtime and of any number of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load

from gafcnn.errors import LearningError
from gafcnn.models.module import GafModule
from gafcnn.models.networks import build_network
from gafcnn.models.onnx_export import INPUT, answers, checked, to_onnx, weights_of

SMALL = {"name": "small_cnn", "channels": 2, "outputs": 1, "size": 16, "width": 4}
NINE = {"name": "small_cnn", "channels": 4, "outputs": 9, "size": 16, "hidden": 8}
RESNET = {"name": "resnet18", "channels": 2, "outputs": 1, "size": 64}


def network(options: dict[str, Any], seed: int = 0) -> GafModule:
    """A network all of whose values have moved from where they begin."""
    torch.manual_seed(seed)
    module = GafModule(options).eval()
    with torch.no_grad():
        for value in module.network.state_dict().values():
            if value.dtype == torch.float32 and value.ndim == 1:
                value.add_(torch.rand(value.shape))
    return module


def images(n: int, options: dict[str, Any]) -> NDArray[np.float32]:
    shape = n, options["channels"], options["size"], options["size"]
    return np.random.default_rng(n).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def exported() -> Callable[[dict[str, Any]], bytes]:
    """What exports a network, once for all tests."""
    known: dict[str, bytes] = {}

    def export(options: dict[str, Any]) -> bytes:
        name = repr(options)
        if name not in known:
            known[name] = to_onnx(network(options), {"run": "30m", "bars": "ab12"})
        return known[name]

    return export


@pytest.mark.parametrize(
    "options", [SMALL, NINE, pytest.param(RESNET, marks=pytest.mark.slow)], ids=lambda o: o["name"]
)
def test_any_number_of_images_is_answered_as_by_torch(
    options: dict[str, Any], exported: Callable[[dict[str, Any]], bytes]
) -> None:
    module, model = network(options), exported(options)
    batches = {f"{n}": images(n, options) for n in (1, 3, 64)}
    assert max(checked(model, module, batches).values()) < 1e-5
    for batch in batches.values():
        said = answers(model, batch)
        assert said.dtype == np.float32
        if options["outputs"] == 1:
            assert said.shape == (len(batch),)
        else:
            np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-5)


def test_the_file_says_what_it_takes_what_it_gives_and_what_it_is(
    exported: Callable[[dict[str, Any]], bytes],
) -> None:
    model = onnx.load_from_string(exported(NINE))
    onnx.checker.check_model(model)
    [taken], [given] = model.graph.input, model.graph.output
    assert (taken.name, given.name) == (INPUT, "probabilities")
    sides = [side.dim_param or side.dim_value for side in taken.type.tensor_type.shape.dim]
    assert sides == ["batch", 4, 16, 16]
    assert {prop.key: prop.value for prop in model.metadata_props} == {"run": "30m", "bars": "ab12"}
    assert [opset.version for opset in model.opset_import if not opset.domain] == [18]


@pytest.mark.slow
def test_a_network_that_says_something_else_is_refused_with_how_much_it_differs() -> None:
    model = to_onnx(network(SMALL, seed=1), {})
    with pytest.raises(LearningError) as error:
        checked(model, network(SMALL), {"random images": images(8, SMALL)})
    told = str(error.value)
    assert told.startswith("the exported network differs by 0.")
    assert "from the trained one on random images; expected probabilities within 1e-05; " in told


def test_weights_are_the_state_dict_itself(tmp_path: Any) -> None:
    module = network(RESNET)
    written = weights_of(module, {"run": "30m"})
    state = module.network.state_dict()
    found = load(written)
    assert set(found) == set(state)
    assert all(torch.equal(found[name], value) for name, value in state.items())
    other = build_network(**RESNET)
    other.load_state_dict(found)
    (tmp_path / "x.safetensors").write_bytes(written)
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata() == {"run": "30m"}
