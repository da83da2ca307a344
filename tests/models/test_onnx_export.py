"""Exported networks give the same probabilities in another runtime."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load

from gafcnn.data.samples import Samples
from gafcnn.errors import ConfigError, LearningError
from gafcnn.models.classifier import GafClassifier
from gafcnn.models.onnx_export import OnnxPredictor, largest_difference, to_onnx, to_safetensors

Train = Callable[..., GafClassifier]


@pytest.fixture(scope="module")
def exported(trained: GafClassifier) -> bytes:
    return to_onnx(trained, {"run": "15m"})


def test_probabilities_are_those_of_the_batch_predictions(
    trained: GafClassifier, exported: bytes, samples: Samples, bars: pd.DataFrame
) -> None:
    predictor = OnnxPredictor(exported)
    rows = samples.bar_rows("")
    expected = trained.predict_samples(samples, np.arange(len(samples)))
    np.testing.assert_allclose(predictor.predict_at(bars, rows), expected, atol=1e-5)
    newest = predictor.predict_at(bars.iloc[-60:], np.array([59]))
    np.testing.assert_allclose(newest, expected[-1:], atol=1e-5)
    assert predictor.window == trained._window
    assert predictor.image_spec == trained.image_spec
    assert predictor.classes == ("down", "up")


def test_several_classes(trained_classes: GafClassifier, bars: pd.DataFrame) -> None:
    rows = np.arange(100, 150)
    p = OnnxPredictor(to_onnx(trained_classes)).predict_at(bars, rows)
    np.testing.assert_allclose(p, trained_classes.predict_at(bars, rows), atol=1e-5)


@pytest.mark.slow
def test_resnet18(train: Train, samples: Samples) -> None:
    options = {"network": "resnet18", "max_epochs": 1, "image_spec": {"size": 32}}
    model = train(samples, **options, precision="32-true")
    images = np.random.default_rng(0).uniform(-1, 1, (20, 2, 32, 32)).astype(np.float32)
    assert largest_difference(to_onnx(model), model, images) < 1e-5


def test_the_file_names_its_input_output_and_run(exported: bytes) -> None:
    model = onnx.load_from_string(exported)
    onnx.checker.check_model(model)
    [taken], [given] = model.graph.input, model.graph.output
    assert (taken.name, given.name) == ("images", "p_up")
    sides = [side.dim_param or side.dim_value for side in taken.type.tensor_type.shape.dim]
    assert sides == ["batch", 2, 16, 16]
    properties = {prop.key: prop.value for prop in model.metadata_props}
    assert properties["run"] == "15m"
    assert json.loads(properties["gafcnn"])["classes"] == ["down", "up"]


def test_another_network_is_noticed(train: Train, exported: bytes, samples: Samples) -> None:
    other = train(samples, max_epochs=1, seed=1)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 2, 16, 16)).astype(np.float32)
    with pytest.raises(LearningError, match="differs by 0"):
        largest_difference(exported, other, images)


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_file_without_a_network_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(LearningError, match=r"x.onnx"):
        OnnxPredictor(tmp_path / "x.onnx")


def test_a_missing_extra_is_named(
    trained: GafClassifier, exported: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnx", "onnxruntime", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    calls = ((to_onnx, trained), (to_safetensors, trained), (OnnxPredictor, exported))
    for function, model in calls:
        with pytest.raises(ConfigError, match=r"gafcnn\[export\]"):
            function(model)


def test_safetensors_hold_the_state_dict(trained: GafClassifier, tmp_path: Path) -> None:
    written = to_safetensors(trained, {"run": "15m"})
    state, found = trained.module_.network.state_dict(), load(written)
    assert set(found) == set(state)
    assert all(torch.equal(found[name], value) for name, value in state.items())
    (tmp_path / "x.safetensors").write_bytes(written)
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata() == {"run": "15m"}
